//! Against a model that knows all rows, in steps cut anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Deduplicate, Keep};
use crate::change::{ChangeBatch, RowKind, Watermark};
use crate::operator::{OperatorFactory, StepTime};

/// Key, rowtime, a number that tells rows apart, and the watermark just before the row.
type Row = (i64, i64, i64, i64);

fn batch(rows: &[Row]) -> ChangeBatch {
    let columns: [(&str, ArrayRef); 3] = [
        ("k", Arc::new(rows.iter().map(|r| Some(r.0)).collect::<Int64Array>())),
        ("ts", Arc::new(rows.iter().map(|r| Some(r.1)).collect::<TimestampMillisecondArray>())),
        ("id", Arc::new(rows.iter().map(|r| Some(r.2)).collect::<Int64Array>())),
    ];
    let watermarks = rows.iter().any(|r| r.1 <= r.3).then(|| rows.iter().map(|r| Some(r.3)).collect());
    ChangeBatch { rows: RecordBatch::try_from_iter(columns).unwrap(), kinds: None, watermarks }
}

fn plan(keep: Keep, ttl: Option<i64>) -> Deduplicate {
    let schema = batch(&[]).schema();
    Deduplicate { partition: vec![0], keep, input: Arc::clone(&schema), schema, ttl }
}

fn rows_of(out: &[ChangeBatch]) -> Vec<(RowKind, i64, i64, i64)> {
    let rows = |b: &ChangeBatch| {
        let (k, id) = (b.rows.column(0).as_primitive::<Int64Type>(), b.rows.column(2).as_primitive::<Int64Type>());
        let ts = b.rows.column(1).as_primitive::<TimestampMillisecondType>();
        (0..b.num_rows()).map(|i| (b.kind(i), k.value(i), ts.value(i), id.value(i))).collect::<Vec<_>>()
    };
    out.iter().flat_map(rows).collect()
}

/// By key, the time and number of the row that has to be there when the watermark stands at some time.
fn expected(keep: Keep, rows: &[Row], watermark: i64) -> BTreeMap<i64, (i64, i64)> {
    let mut kept = BTreeMap::<i64, (i64, i64)>::new();
    for (key, time, id, before) in rows {
        if matches!(keep, Keep::FirstByRowtime(_)) && time < before {
            continue;
        }
        let entry = kept.entry(*key).or_insert((*time, *id));
        let replaces = match keep {
            Keep::FirstByRowtime(_) => *time < entry.0,
            Keep::LastByRowtime(_) => *time >= entry.0,
            Keep::FirstArrived => false,
            Keep::LastArrived => true,
        };
        if replaces {
            *entry = (*time, *id);
        }
    }
    if matches!(keep, Keep::FirstByRowtime(_)) {
        kept.retain(|_, (time, _)| *time <= watermark);
    }
    kept
}

fn random_run(keep: Keep, seed: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let plan = plan(keep, None);
    let mut operator = plan.build().unwrap();
    let (mut all, mut folded) = (Vec::<Row>::new(), BTreeMap::new());
    let mut watermark = i64::MIN;
    for step in 0..rng.random_range(1..12) {
        for _ in 0..rng.random_range(0..3) {
            let mut rows = Vec::new();
            for _ in 0..rng.random_range(1..30) {
                let time = all.len() as i64 + rng.random_range(-15..15);
                let row = (rng.random_range(0..20) + all.len() as i64 / 10, time, all.len() as i64, watermark);
                watermark = watermark.max(time - 5);
                all.push(row);
                rows.push(row);
            }
            operator.push(0, batch(&rows), &mut Vec::new()).unwrap();
        }
        let mut out = Vec::new();
        let now = Watermark(watermark);
        let time = StepTime { inputs: vec![now], watermark: now, processing_time: step };
        operator.advance(&time, &mut out).unwrap();
        let changes = rows_of(&out);
        for (kind, key, time, id) in &changes {
            match kind.is_addition() {
                true => assert_eq!(folded.insert(*key, (*time, *id)), None, "seed {seed}"),
                false => assert_eq!(folded.remove(key), Some((*time, *id)), "seed {seed}"),
            }
        }
        let touched = changes.iter().map(|c| c.1).collect::<std::collections::BTreeSet<_>>();
        let most = touched.iter().map(|k| changes.iter().filter(|c| c.1 == *k).count()).max().unwrap_or(0);
        assert!(most <= if keep.is_first() { 1 } else { 2 }, "seed {seed}: not net");
        assert_eq!(folded, expected(keep, &all, watermark), "seed {seed}, step {step}, {keep:?}");
        if rng.random_bool(0.3) {
            let state = operator.snapshot().unwrap();
            operator = plan.build().unwrap();
            operator.restore(state).unwrap();
        }
    }
}

#[test]
fn every_way_equals_its_model() {
    for keep in [Keep::FirstByRowtime(1), Keep::LastByRowtime(1), Keep::FirstArrived, Keep::LastArrived] {
        (0..200).for_each(|seed| random_run(keep, seed));
    }
}

#[test]
fn a_time_that_is_null_is_an_error() {
    let rows = batch(&[(1, 1, 1, i64::MIN)]).rows;
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![None]));
    let columns = [("k", rows.column(0).clone()), ("ts", ts), ("id", rows.column(2).clone())];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    for keep in [Keep::FirstByRowtime(1), Keep::LastByRowtime(1)] {
        let mut operator = plan(keep, None).build().unwrap();
        operator.push(0, ChangeBatch::append(rows.clone()), &mut Vec::new()).unwrap();
        let time = StepTime { inputs: vec![], watermark: Watermark::MIN, processing_time: 0 };
        let error = operator.advance(&time, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("'ts'"), "{error}");
    }
}

/// Forgotten keys, and rows that have gone, do not stay in state.
#[test]
fn state_shrinks() {
    for keep in [Keep::FirstByRowtime(1), Keep::LastByRowtime(1), Keep::FirstArrived, Keep::LastArrived] {
        let mut operator = plan(keep, Some(10)).build().unwrap();
        let mut most = 0;
        for step in 0..40 {
            let rows: Vec<Row> = (0..1000).map(|i| (step * 1000 + i, step, i, i64::MIN)).collect();
            operator.push(0, batch(&rows), &mut Vec::new()).unwrap();
            let time = StepTime { inputs: vec![], watermark: Watermark(step), processing_time: step * 5 };
            operator.advance(&time, &mut Vec::new()).unwrap();
            most = most.max(operator.stats().state_rows);
            if step == 20 {
                let state = operator.snapshot().unwrap();
                operator = plan(keep, Some(10)).build().unwrap();
                operator.restore(state).unwrap();
            }
        }
        assert!(most <= 12_000, "{keep:?}: {most}");
    }
}

#[test]
fn an_equal_last_row_is_no_change() {
    for keep in [Keep::LastByRowtime(1), Keep::LastArrived] {
        let mut operator = plan(keep, None).build().unwrap();
        let mut changes = |rows: &[Row]| {
            let mut out = Vec::new();
            operator.push(0, batch(rows), &mut Vec::new()).unwrap();
            let time = StepTime { inputs: vec![], watermark: Watermark::MIN, processing_time: 0 };
            operator.advance(&time, &mut out).unwrap();
            out.iter().map(ChangeBatch::num_rows).sum::<usize>()
        };
        assert_eq!(changes(&[(1, 5, 7, i64::MIN), (2, 5, 7, i64::MIN)]), 2);
        assert_eq!(changes(&[(1, 5, 7, i64::MIN)]), 0);
        assert_eq!(changes(&[(1, 5, 7, i64::MIN), (2, 5, 8, i64::MIN), (3, 5, 9, i64::MIN)]), 3);
    }
}
