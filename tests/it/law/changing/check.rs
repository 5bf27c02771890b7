//! What changes come to, and what must hold of them whatever the query.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use millstream::change::ChangeBatch;
use millstream::runtime::Circuit;
use millstream::runtime::circuit::{Changelog, NodeId, NodeKind};

use crate::law::rows::{Row, batch_rows, sorted};

type Key = (Vec<String>, Vec<u64>);

/// Operators that pass changes on one by one: what comes and goes in one step may do so in their output.
pub const PASSING: &[&str] = &["Calc", "Union", "Unnest", "Expand", "WindowTableFunction"];

/// What a circuit promises of the changes at its sink.
#[derive(Debug)]
pub struct Promise {
    append: bool,
    keys: Vec<Vec<usize>>,
    /// Whether nothing goes and comes back in one step.
    net: bool,
    /// Whether a key changes once a step at most.
    once: bool,
}

impl Promise {
    /// Of the sink of a circuit that has one.
    pub fn of(circuit: &Circuit) -> Self {
        let sink = circuit.nodes.iter().position(|n| matches!(n.kind, NodeKind::Sink(_))).unwrap();
        let notes = &circuit.nodes[sink].notes;
        let above = |mut node: NodeId, through_calc: bool| loop {
            let inner = circuit.node(node);
            match &inner.kind {
                NodeKind::Exchange(_) => node = inner.inputs[0],
                NodeKind::Operator(f) if through_calc && f.name() == "Calc" => node = inner.inputs[0],
                NodeKind::Operator(f) => break !PASSING.contains(&f.name()),
                _ => break false,
            }
        };
        let input = circuit.nodes[sink].inputs[0];
        Self {
            append: notes.changelog == Changelog::Append,
            keys: notes.keys.clone(),
            net: above(input, false),
            once: above(input, true),
        }
    }
}

/// What stands at a sink.
#[derive(Debug, Default)]
pub struct Standing {
    rows: HashMap<Key, (Row, usize)>,
    keys: Vec<HashMap<String, i64>>,
    pub types: Option<Vec<DataType>>,
}

impl Standing {
    /// Applies a step's changes.
    ///
    /// # Errors
    /// What the changes do that they must not.
    pub fn apply(&mut self, changes: &[ChangeBatch], promise: &Promise) -> Result<(), String> {
        self.keys.resize_with(promise.keys.len(), HashMap::new);
        let mut moved: HashMap<Key, (usize, usize)> = HashMap::new();
        let mut touched: Vec<HashMap<String, (usize, usize)>> = vec![HashMap::new(); promise.keys.len()];
        for batch in changes {
            if promise.append && batch.kinds.is_some() {
                return Err(format!("changes where only rows were to come: {:?}", batch.kinds));
            }
            self.types = Some(batch.rows.columns().iter().map(|c| c.data_type().clone()).collect());
            let key_texts = key_texts(&batch.rows, &promise.keys);
            for (i, row) in batch_rows(&batch.rows).into_iter().enumerate() {
                let comes = batch.kind(i).is_addition();
                count(moved.entry(row.exact()).or_default(), comes);
                for (key, (texts, touched)) in key_texts.iter().zip(&mut touched).enumerate() {
                    count(touched.entry(texts[i].clone()).or_default(), comes);
                    *self.keys[key].entry(texts[i].clone()).or_default() += if comes { 1 } else { -1 };
                }
                self.change(row, comes)?;
            }
        }
        if promise.net
            && let Some(((texts, _), _)) = moved.iter().find(|(_, (came, went))| *came > 0 && *went > 0)
        {
            return Err(format!("a row goes and comes in one step: {texts:?}"));
        }
        let once = |t: &(usize, usize)| !promise.once || (t.0 <= 1 && t.1 <= 1);
        for (touched, columns) in touched.iter().zip(&promise.keys) {
            if let Some((key, times)) = touched.iter().find(|(_, t)| !once(t)) {
                return Err(format!("key {columns:?} = {key} comes and goes {times:?} times in one step"));
            }
        }
        for (standing, columns) in self.keys.iter().zip(&promise.keys) {
            if let Some((key, rows)) = standing.iter().find(|(_, rows)| **rows > 1) {
                return Err(format!("key {columns:?} = {key} stands {rows} times"));
            }
        }
        Ok(())
    }

    fn change(&mut self, row: Row, comes: bool) -> Result<(), String> {
        let key = row.exact();
        if comes {
            self.rows.entry(key).or_insert((row, 0)).1 += 1;
            return Ok(());
        }
        match self.rows.get_mut(&key) {
            Some((_, count)) if *count > 1 => *count -= 1,
            Some(_) => drop(self.rows.remove(&key)),
            None => return Err(format!("a row goes that is not there: {row:?}")),
        }
        Ok(())
    }

    /// The rows, in an order that does not depend on how they came.
    pub fn rows(&self) -> Vec<Row> {
        sorted(self.rows.values().flat_map(|(row, count)| std::iter::repeat_n(row.clone(), *count)).collect())
    }
}

fn count((came, went): &mut (usize, usize), comes: bool) {
    *(if comes { came } else { went }) += 1;
}

/// For each key the rows' values in its columns.
fn key_texts(rows: &RecordBatch, keys: &[Vec<usize>]) -> Vec<Vec<String>> {
    let of = |columns: &Vec<usize>| {
        let part = rows.project(columns).unwrap();
        batch_rows(&part).iter().map(|r| format!("{:?}", r.exact())).collect()
    };
    keys.iter().map(of).collect()
}
