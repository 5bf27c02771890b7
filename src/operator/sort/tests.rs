//! Against models that know all rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::Int64Type;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Sort;
use crate::change::{ChangeBatch, RowKind, Watermark};
use crate::operator::top_n::OrderColumn;
use crate::operator::{OperatorFactory, StepTime};

/// Rowtime, a number that tells rows apart, and the watermark just before the row.
type Row = (i64, i64, i64);

fn batch(rows: &[Row], kinds: Option<Vec<RowKind>>) -> ChangeBatch {
    let columns: [(&str, ArrayRef); 2] = [
        ("ts", Arc::new(rows.iter().map(|r| Some(r.0)).collect::<TimestampMillisecondArray>())),
        ("id", Arc::new(rows.iter().map(|r| Some(r.1)).collect::<Int64Array>())),
    ];
    let behind = kinds.is_none() && rows.iter().any(|r| r.0 <= r.2);
    let watermarks = behind.then(|| rows.iter().map(|r| Some(r.2)).collect());
    let kinds = kinds.map(Into::into);
    ChangeBatch { rows: RecordBatch::try_from_iter(columns).unwrap(), kinds, watermarks }
}

fn plan(rowtime: Option<usize>, order: &[(usize, bool)]) -> Sort {
    let column = |(column, descending): &(usize, bool)| OrderColumn {
        column: *column,
        descending: *descending,
        nulls_first: !descending,
    };
    let schema = batch(&[], None).schema();
    Sort { order: order.iter().map(column).collect(), rowtime, input: Arc::clone(&schema), schema }
}

fn ids(out: &[ChangeBatch]) -> Vec<i64> {
    out.iter().flat_map(|b| b.rows.column(1).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn at(watermark: i64) -> StepTime {
    let watermark = Watermark(watermark);
    StepTime { inputs: vec![watermark], watermark, processing_time: 0 }
}

/// Row by row: what waits goes out when the watermark moves on, and what comes behind it then is late.
#[derive(Default)]
struct Model {
    waiting: Vec<(i64, i64)>,
    reached: Option<i64>,
    fired: Option<i64>,
    out: Vec<i64>,
    late: u64,
}

impl Model {
    fn reach(&mut self, watermark: i64) {
        if self.reached.is_some_and(|r| watermark <= r) {
            return;
        }
        self.reached = Some(watermark);
        let (mut due, rest): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|(time, _)| *time <= watermark);
        self.waiting = rest;
        due.sort();
        self.fired = due.last().map(|d| d.0).or(self.fired);
        self.out.extend(due.into_iter().map(|d| d.1));
    }

    fn add(&mut self, (time, id, watermark): Row) {
        self.reach(watermark);
        match self.fired.is_some_and(|fired| time <= fired) {
            true => self.late += 1,
            false => self.waiting.push((time, id)),
        }
    }
}

fn random_run(seed: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let plan = plan(Some(0), &[(0, false), (1, false)]);
    let mut operator = plan.build().unwrap();
    let (mut model, mut out) = (Model::default(), Vec::new());
    let (mut watermark, mut next, mut late) = (i64::MIN, 0i64, 0);
    for _ in 0..rng.random_range(1..12) {
        for _ in 0..rng.random_range(0..3) {
            let mut rows = Vec::new();
            for _ in 0..rng.random_range(1..20) {
                next += 1;
                let row = (next + rng.random_range(-12..12), next, watermark);
                watermark = watermark.max(row.0 - 6);
                model.add(row);
                rows.push(row);
            }
            operator.push(0, batch(&rows, None), &mut Vec::new()).unwrap();
        }
        operator.advance(&at(watermark), &mut out).unwrap();
        model.reach(watermark);
        assert_eq!(ids(&out), model.out, "seed {seed}");
        if rng.random_bool(0.3) {
            late += operator.stats().late_rows;
            let state = operator.snapshot().unwrap();
            operator = plan.build().unwrap();
            operator.restore(state).unwrap();
        }
    }
    operator.advance(&at(i64::MAX), &mut out).unwrap();
    model.reach(i64::MAX);
    assert_eq!(ids(&out), model.out, "seed {seed}");
    assert_eq!(late + operator.stats().late_rows, model.late, "seed {seed}");
}

#[test]
fn in_time_equals_the_model() {
    (0..400).for_each(random_run);
}

#[test]
fn at_the_end_of_changing_input() {
    let plan = plan(None, &[(1, true)]);
    let mut operator = plan.build().unwrap();
    let mut out = Vec::new();
    let insert = |id| ((0, id, 0), RowKind::Insert);
    let mut step = |operator: &mut Box<dyn crate::operator::Operator>, changes: &[(Row, RowKind)], mark| {
        let (rows, kinds): (Vec<Row>, Vec<RowKind>) = changes.iter().copied().unzip();
        operator.push(0, batch(&rows, Some(kinds)), &mut Vec::new()).unwrap();
        operator.advance(&at(mark), &mut out).unwrap();
        ids(&out)
    };
    assert!(step(&mut operator, &[insert(1), insert(3), insert(2), insert(3)], 5).is_empty());
    let state = operator.snapshot().unwrap();
    let mut operator = plan.build().unwrap();
    operator.restore(state).unwrap();
    let last = [((0, 2, 0), RowKind::Delete), insert(9)];
    assert_eq!(step(&mut operator, &last, i64::MAX), [9, 3, 3, 1]);
    assert_eq!(operator.stats().state_rows, 0);
}
