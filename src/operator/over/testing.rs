//! What the tests of OVER share: plain rows, steps, and tables folded from changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::util::display::array_value_to_string;

use crate::change::{ChangeBatch, Watermark};
use crate::operator::{Operator, OperatorFactory, StepTime};
use crate::state::place;

/// A row: its columns as text, NULL as nothing.
pub(super) type Row = Vec<String>;

pub(super) fn text(value: Option<i64>) -> String {
    value.map_or(String::new(), |v| v.to_string())
}

/// Rows of a key, a time and a value.
pub(super) fn rows(rows: &[(Option<i64>, i64, Option<i64>)]) -> RecordBatch {
    let k: ArrayRef = Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>());
    let t: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.1)));
    let v: ArrayRef = Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("k", k, true), ("t", t, true), ("v", v, true)]).unwrap()
}

pub(super) fn shown(batch: &ChangeBatch, row: usize) -> Row {
    // A column whose type is a time shows as its milliseconds.
    let number = |c: &ArrayRef| match c.data_type() {
        arrow::datatypes::DataType::Timestamp(..) => {
            arrow::compute::cast(c, &arrow::datatypes::DataType::Int64).unwrap()
        }
        _ => Arc::clone(c),
    };
    batch.rows.columns().iter().map(|c| array_value_to_string(&number(c), row).unwrap()).collect()
}

pub(super) fn step(
    operator: &mut dyn Operator,
    batches: Vec<ChangeBatch>,
    watermark: i64,
    now: i64,
) -> Vec<ChangeBatch> {
    let mut out = Vec::new();
    batches.into_iter().for_each(|b| operator.push(0, b, &mut out).unwrap());
    let watermark = Watermark(watermark);
    operator.advance(&StepTime { inputs: vec![watermark], watermark, processing_time: now }, &mut out).unwrap();
    out
}

/// A new operator with the state of another, which may have been two.
pub(super) fn rebuilt(factory: &dyn OperatorFactory, old: &mut dyn Operator) -> Box<dyn Operator> {
    let parts = place(vec![old.snapshot().unwrap()], 3).unwrap();
    let mut new = factory.build().unwrap();
    new.restore(place(parts, 1).unwrap().remove(0)).unwrap();
    new
}

/// A table, folded from changes of which each must make sense where it comes.
#[derive(Default)]
pub(super) struct Folded(BTreeMap<Row, usize>);

impl Folded {
    /// Takes in a step's changes; gives how the rows changed in number, to be net.
    pub fn step(&mut self, out: &[ChangeBatch], seed: u64) {
        let (mut come, mut gone) = (BTreeMap::new(), BTreeMap::new());
        for batch in out {
            for i in 0..batch.num_rows() {
                let row = shown(batch, i);
                if batch.kind(i).is_addition() {
                    *self.0.entry(row.clone()).or_insert(0) += 1;
                    *come.entry(row).or_insert(0) += 1;
                    continue;
                }
                let count =
                    self.0.get_mut(&row).unwrap_or_else(|| panic!("seed {seed}: {row:?} goes and is not there"));
                *count -= 1;
                if *count == 0 {
                    self.0.remove(&row);
                }
                *gone.entry(row).or_insert(0) += 1;
            }
        }
        let both = come.keys().find(|row| gone.contains_key(*row));
        assert!(both.is_none(), "seed {seed}: {both:?} comes and goes in one step");
    }

    pub fn rows(&self) -> Vec<Row> {
        self.0.iter().flat_map(|(row, times)| std::iter::repeat_n(row.clone(), *times)).collect()
    }
}
