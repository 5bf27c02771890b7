//! One group with many rows, many groups that die, groups that expire, and rows that never came.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{Int32Type, Int64Type};
use millstream::Error;
use millstream::change::{ChangeBatch, RowKind};
use millstream::operator::{Operator, OperatorFactory};

use super::model::{aggregate, factory, schema, time};

/// Rows of a key and a number, all else NULL, that all come or all go.
fn changes(keys: &[i32], numbers: &[i64], kind: RowKind) -> ChangeBatch {
    let schema = schema();
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(keys.to_vec())), Arc::new(Int64Array::from(numbers.to_vec()))];
    columns.extend(schema.fields().iter().skip(2).map(|f| new_null_array(f.data_type(), keys.len())));
    let rows = RecordBatch::try_new(schema, columns).unwrap();
    ChangeBatch { rows, kinds: Some(vec![kind; keys.len()].into()), watermarks: None }
}

fn built(names: &[&str], ttl: Option<i64>) -> Box<dyn Operator> {
    let aggregates = names.iter().map(|n| aggregate(n)).collect();
    factory(aggregates, vec![0], true, ttl).build().unwrap()
}

fn step(operator: &mut Box<dyn Operator>, now: i64, batches: Vec<ChangeBatch>) -> Result<Vec<ChangeBatch>, Error> {
    let mut out = Vec::new();
    batches.into_iter().try_for_each(|batch| operator.push(0, batch, &mut out))?;
    operator.advance(&time(now), &mut out)?;
    Ok(out)
}

/// The rows that come out last: keys and whole numbers, without those that are taken back.
fn folded(steps: &[Vec<ChangeBatch>]) -> HashMap<i32, Vec<i64>> {
    let mut rows = HashMap::new();
    for batch in steps.iter().flatten() {
        let keys = batch.rows.column(0).as_primitive::<Int32Type>();
        for row in 0..batch.num_rows() {
            let values = batch.rows.columns()[1..].iter().map(|c| c.as_primitive::<Int64Type>().value(row)).collect();
            match batch.kind(row).is_addition() {
                true => assert!(rows.insert(keys.value(row), values).is_none()),
                false => assert_eq!(rows.remove(&keys.value(row)), Some(values)),
            }
        }
    }
    rows
}

#[test]
fn many_changes_of_one_group() {
    const ROWS: i64 = 200_000;
    const STEP: i64 = 8_192;
    let mut operator = built(&["min v", "max v", "count distinct v", "sum v", "last_value v"], None);
    let mut out = Vec::new();
    for kind in [RowKind::Insert, RowKind::Delete] {
        let mut from = 0;
        while from < ROWS {
            let until = ROWS.min(from + STEP);
            let numbers: Vec<i64> = (from..until).collect();
            let keys = vec![7; numbers.len()];
            out.push(step(&mut operator, 0, vec![changes(&keys, &numbers, kind)]).unwrap());
            if kind == RowKind::Insert {
                assert_eq!(folded(&out)[&7], [0, until - 1, until, until * (until - 1) / 2, until - 1]);
            } else if until < ROWS {
                assert_eq!(folded(&out)[&7][..3], [until, ROWS - 1, ROWS - until]);
            }
            from = until;
        }
    }
    assert!(folded(&out).is_empty());
    assert_eq!(operator.stats().state_rows, 0);
}

/// A step with one row looks at one row, however many the group has.
#[test]
fn the_first_and_the_last_of_many() {
    const ROWS: i64 = 20_000;
    let mut operator = built(&["first_value v", "last_value v"], None);
    let mut given = |kind, number: i64| {
        let out = step(&mut operator, 0, vec![changes(&[7], &[number], kind)]).unwrap();
        folded(&[out.into_iter().map(|b| additions(&b)).collect()]).remove(&7)
    };
    for number in 0..ROWS {
        assert_eq!(given(RowKind::Insert, number), Some(vec![0, number]));
    }
    for number in 0..ROWS - 1 {
        assert_eq!(given(RowKind::Delete, number), Some(vec![number + 1, ROWS - 1]));
    }
    assert_eq!(given(RowKind::Delete, ROWS - 1), None);
}

/// The rows of a batch that come.
fn additions(batch: &ChangeBatch) -> ChangeBatch {
    let comes = |row| batch.kind(row).is_addition();
    batch.filter(&(0..batch.num_rows()).map(|row| Some(comes(row))).collect()).unwrap()
}

#[test]
fn dead_groups_are_let_go() {
    let mut operator = built(&["count *", "max v", "count distinct v", "listagg s ,", "sum d"], None);
    let mut greatest = 0;
    for round in 0..30 {
        let keys: Vec<i32> = (round * 2000..(round + 1) * 2000).collect();
        let numbers: Vec<i64> = keys.iter().map(|k| i64::from(*k)).collect();
        step(&mut operator, 0, vec![changes(&keys, &numbers, RowKind::Insert)]).unwrap();
        // All but one in a hundred go.
        let gone: Vec<i32> = keys.iter().copied().filter(|k| k % 100 != 0).collect();
        let numbers: Vec<i64> = gone.iter().map(|k| i64::from(*k)).collect();
        let out = step(&mut operator, 0, vec![changes(&gone, &numbers, RowKind::Delete)]).unwrap();
        assert_eq!(out.iter().map(ChangeBatch::num_rows).sum::<usize>(), gone.len());
        greatest = greatest.max(operator.stats().state_bytes);
    }
    let left = 30 * 2000 / 100;
    // The group, its greatest value, its distinct value, its row of LISTAGG.
    assert_eq!(operator.stats().state_rows, left * 4);
    assert!(greatest < 8_000_000, "{greatest} bytes");
    let keys: Vec<i32> = (0..left as i32).map(|k| k * 100).collect();
    let numbers: Vec<i64> = keys.iter().map(|k| i64::from(*k)).collect();
    step(&mut operator, 0, vec![changes(&keys, &numbers, RowKind::Delete)]).unwrap();
    assert_eq!(operator.stats().state_rows, 0);
}

#[test]
fn a_row_that_never_came_is_told() {
    let absent = |name: &str, first: i64, second: i64| {
        let mut operator = built(&[name], None);
        step(&mut operator, 0, vec![changes(&[1], &[first], RowKind::Insert)]).unwrap();
        match step(&mut operator, 0, vec![changes(&[second as i32], &[second], RowKind::Delete)]) {
            Err(Error::Execution(text)) => assert!(text.contains(&format!("v = {second}")), "{text}"),
            other => panic!("{name}: {other:?}"),
        }
    };
    absent("count *", 1, 2);
    // The group is there, the value is not.
    for name in ["min v", "count distinct v", "array_agg v"] {
        let mut operator = built(&[name], None);
        step(&mut operator, 0, vec![changes(&[1], &[5], RowKind::Insert)]).unwrap();
        let error = step(&mut operator, 0, vec![changes(&[1], &[6], RowKind::Delete)]).unwrap_err();
        assert!(error.to_string().contains("v = 6"), "{name}: {error}");
    }
}

#[test]
fn what_expired_is_passed_over() {
    let names = ["count *", "min v", "count distinct v", "sum v"];
    let mut operator = built(&names, Some(100));
    let mut out = Vec::new();
    let mut run = |operator: &mut Box<dyn Operator>, now, batch| out.push(step(operator, now, vec![batch]).unwrap());
    run(&mut operator, 0, changes(&[1, 1, 2], &[10, 20, 30], RowKind::Insert));
    run(&mut operator, 60, changes(&[2], &[40], RowKind::Insert));
    // Group 1 is gone by now, silently; taking its rows away changes nothing.
    run(&mut operator, 100, changes(&[1, 1], &[10, 20], RowKind::Delete));
    assert_eq!(operator.stats().state_rows, 1 + 2 + 2);
    // What comes later begins anew.
    let mut again = built(&names, Some(100));
    again.restore(operator.snapshot().unwrap()).unwrap();
    for operator in [&mut operator, &mut again] {
        let batch = changes(&[1, 2], &[10, 50], RowKind::Insert);
        let found = step(operator, 159, vec![batch]).unwrap();
        let shown = |b: &ChangeBatch, row: usize| -> (RowKind, Vec<i64>) {
            let value = |c: &ArrayRef| c.as_primitive::<Int64Type>().value(row);
            (b.kind(row), b.rows.columns()[1..].iter().map(value).collect())
        };
        let rows: Vec<_> = found.iter().flat_map(|b| (0..b.num_rows()).map(|row| shown(b, row))).collect();
        let wanted = [
            (RowKind::Insert, vec![1, 10, 1, 10]),
            (RowKind::UpdateBefore, vec![2, 30, 2, 70]),
            (RowKind::UpdateAfter, vec![3, 30, 3, 120]),
        ];
        assert_eq!(rows, wanted);
        assert!(step(operator, 259, vec![]).unwrap().is_empty());
        assert_eq!(operator.stats().state_rows, 0);
    }
}
