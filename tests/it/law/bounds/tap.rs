//! What operators are given, noted on the way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::Array;
use arrow::datatypes::SchemaRef;
use millstream::change::{ChangeBatch, rowtime_millis};
use millstream::connector::text::write_value;
use millstream::operator::{Operator, OperatorFactory};
use millstream::runtime::Circuit;
use millstream::runtime::circuit::{Node, NodeId, NodeKind, NodeNotes};

/// A row that an operator was given.
#[derive(Debug, Clone)]
pub struct Row {
    pub values: Vec<String>,
    /// Whether it came, and did not go.
    pub comes: bool,
    /// Its event time, in milliseconds.
    pub time: Option<i64>,
    /// The end of its window.
    pub window_end: Option<i64>,
    /// The processing time at which it was given.
    pub given: i64,
    /// Whether the watermark had reached it already.
    pub late: bool,
}

/// One input of an operator.
#[derive(Debug)]
pub struct Input {
    pub schema: SchemaRef,
    /// The columns by which rows are sent to workers: what a state TTL counts for is kept by them.
    keys: Vec<usize>,
    notes: NodeNotes,
    /// Whether the time of a row is that of its step.
    by_clock: bool,
    rows: Mutex<Vec<Row>>,
    clock: Arc<AtomicI64>,
}

impl Input {
    /// All rows so far.
    pub fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().clone()
    }

    /// A row's values in the columns by which it was sent to its worker.
    pub fn key<'a>(&self, row: &'a Row) -> Vec<&'a str> {
        self.keys.iter().map(|k| row.values[*k].as_str()).collect()
    }

    fn note(&self, batch: &ChangeBatch) {
        let millis = |column: Option<usize>| column.map(|c| rowtime_millis(batch.rows.column(c)).unwrap());
        let times = millis(self.notes.rowtimes.first().copied());
        let end = self.notes.windows.first().map(|w| w.1).or(self.notes.window_ends.first().copied());
        let ends = millis(end);
        let mut rows = self.rows.lock().unwrap();
        for row in 0..batch.num_rows() {
            let text = |column: &arrow::array::ArrayRef| {
                let mut text = String::new();
                write_value(&mut text, column.as_ref(), row).unwrap();
                text
            };
            let at = |column: &Option<arrow::array::Int64Array>| {
                column.as_ref().filter(|c| c.is_valid(row)).map(|c| c.value(row))
            };
            let given = self.clock.load(Ordering::Relaxed);
            let time = if self.by_clock { Some(given) } else { at(&times) };
            let before = batch.watermarks.as_ref().map(|w| w.value(row));
            rows.push(Row {
                values: batch.rows.columns().iter().map(text).collect(),
                comes: batch.kind(row).is_addition(),
                time,
                window_end: at(&ends),
                given,
                late: time.zip(before).is_some_and(|(time, before)| time <= before),
            });
        }
    }
}

/// The inputs of all operators that keep something, by node.
#[derive(Debug, Default)]
pub struct Taps {
    inputs: HashMap<usize, Vec<Arc<Input>>>,
    clock: Arc<AtomicI64>,
}

impl Taps {
    /// The inputs of a node.
    pub fn of(&self, node: usize) -> &[Arc<Input>] {
        self.inputs.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Sets the time of the step that follows.
    pub fn now(&self, millis: i64) {
        self.clock.store(millis, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Tap(Arc<Input>);

struct Tapping(Arc<Input>);

impl OperatorFactory for Tap {
    fn build(&self) -> millstream::Result<Box<dyn Operator>> {
        Ok(Box::new(Tapping(Arc::clone(&self.0))))
    }

    fn name(&self) -> &'static str {
        "Tap"
    }
}

impl Operator for Tapping {
    fn push(&mut self, _: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> millstream::Result<()> {
        self.0.note(&batch);
        out.push(batch);
        Ok(())
    }
}

/// Whether the clock closes an operator's windows.
pub fn is_by_clock(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Operator(factory) if factory.name() == "ProcessingTimeWindow")
}

/// The circuit with a tap in front of every operator of which a bound is stated.
pub fn tapped(circuit: &Circuit) -> (Circuit, Taps) {
    let mut taps = Taps::default();
    let mut with = Circuit { nodes: Vec::new(), ..circuit.clone() };
    let mut moved: Vec<NodeId> = Vec::new();
    for node in &circuit.nodes {
        let mut inputs: Vec<NodeId> = node.inputs.iter().map(|i| moved[i.0]).collect();
        let mut noted = Vec::new();
        if node.notes.bound.is_some() {
            for input in &mut inputs {
                let before = with.node(*input).clone();
                let keys = match &before.kind {
                    NodeKind::Exchange(keys) => keys.clone(),
                    _ => Vec::new(),
                };
                let notes = NodeNotes { bound: None, detail: String::new(), ..before.notes };
                let tap = Arc::new(Input {
                    schema: Arc::clone(&before.schema),
                    keys,
                    notes: notes.clone(),
                    by_clock: is_by_clock(node),
                    rows: Mutex::default(),
                    clock: Arc::clone(&taps.clock),
                });
                let kind = NodeKind::Operator(Arc::new(Tap(Arc::clone(&tap))));
                *input = with.add(Node { kind, inputs: vec![*input], schema: before.schema, notes });
                noted.push(tap);
            }
        }
        let id = with.add(Node { inputs, ..node.clone() });
        if !noted.is_empty() {
            taps.inputs.insert(id.0, noted);
        }
        moved.push(id);
    }
    (with, taps)
}
