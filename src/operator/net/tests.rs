use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::change::Watermark;
use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Int64, true)]))
}

fn batch(rows: &[(RowKind, i64, i64)]) -> ChangeBatch {
    let k = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1)));
    let v = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2)));
    let kinds = rows.iter().map(|r| r.0).collect();
    ChangeBatch { rows: RecordBatch::try_new(schema(), vec![k, v]).unwrap(), kinds: Some(kinds), watermarks: None }
}

fn net(key: Option<Vec<usize>>, upsert: bool, rows: &[(RowKind, i64, i64)]) -> Vec<(RowKind, i64, i64)> {
    let mut operator = NetChanges::new(key, upsert).build().unwrap();
    let mut out = Vec::new();
    let (first, second) = rows.split_at(rows.len() / 2);
    operator.push(0, batch(first), &mut out).unwrap();
    operator.push(0, batch(second), &mut out).unwrap();
    let time = StepTime { inputs: vec![Watermark::MIN], watermark: Watermark::MIN, processing_time: 0 };
    operator.advance(&time, &mut out).unwrap();
    assert!(out.len() <= 1);
    let values = |b: &ChangeBatch, c: usize, row| b.rows.column(c).as_primitive::<Int64Type>().value(row);
    let rows = |b: ChangeBatch| {
        (0..b.num_rows()).map(|row| (b.kind(row), values(&b, 0, row), values(&b, 1, row))).collect::<Vec<_>>()
    };
    out.into_iter().flat_map(rows).collect()
}

#[test]
fn a_key_changes_once_a_step() {
    let rows = [
        (Insert, 1, 0),
        (UpdateBefore, 2, 0),
        (UpdateBefore, 1, 0),
        (UpdateAfter, 1, 1),
        (UpdateAfter, 2, 5),
        (UpdateBefore, 2, 5),
        (UpdateAfter, 2, 7),
        (UpdateBefore, 3, 1),
        (UpdateAfter, 3, 2),
        (Delete, 3, 2),
        (Insert, 4, 1),
        (Delete, 4, 1),
        (UpdateBefore, 5, 1),
        (UpdateAfter, 5, 1),
        (UpdateAfter, 6, 1),
        (UpdateBefore, 7, 1),
        (Delete, 8, 1),
        (Insert, 8, 2),
    ];
    let expected = [
        (Insert, 1, 1),
        (UpdateBefore, 2, 0),
        (UpdateAfter, 2, 7),
        (Delete, 3, 1),
        (UpdateAfter, 6, 1),
        (UpdateBefore, 7, 1),
        (UpdateBefore, 8, 1),
        (UpdateAfter, 8, 2),
    ];
    assert_eq!(net(Some(vec![0]), false, &rows), expected);
    let expected =
        [(Insert, 1, 1), (UpdateAfter, 2, 7), (Delete, 3, 1), (UpdateAfter, 6, 1), (Delete, 7, 1), (UpdateAfter, 8, 2)];
    assert_eq!(net(Some(vec![0]), true, &rows), expected);
}

#[test]
fn without_a_key_equal_rows_cancel_out() {
    let rows = [
        (Insert, 1, 0),
        (UpdateBefore, 2, 0),
        (UpdateAfter, 3, 0),
        (Delete, 1, 0),
        (Insert, 1, 0),
        (UpdateBefore, 3, 0),
        (UpdateAfter, 2, 1),
        (Delete, 4, 0),
        (Delete, 4, 0),
        (Insert, 4, 0),
    ];
    let expected = [(UpdateBefore, 2, 0), (Insert, 1, 0), (UpdateAfter, 2, 1), (Delete, 4, 0)];
    assert_eq!(net(None, false, &rows), expected);
    assert_eq!(net(None, false, &[]), []);
}

#[test]
fn any_changes_keep_their_sum_and_never_take_what_is_not_there() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    for key in [None, Some(vec![0]), Some(vec![])] {
        let mut stands = BTreeMap::<(i64, i64), i64>::new();
        for _ in 0..200 {
            let before = stands.clone();
            let rows: Vec<_> = (0..rng.random_range(0..30))
                .map(|_| {
                    let row = (rng.random_range(0..4), rng.random_range(0..3));
                    let count = stands.entry(row).or_default();
                    let goes = *count > 0 && rng.random_bool(0.5);
                    *count += if goes { -1 } else { 1 };
                    (if goes { Delete } else { Insert }, row.0, row.1)
                })
                .collect();
            let mut folded = before;
            let left = net(key.clone(), false, &rows);
            for (kind, k, v) in &left {
                let count = folded.entry((*k, *v)).or_default();
                *count += if kind.is_addition() { 1 } else { -1 };
                assert!(*count >= 0);
            }
            folded.retain(|_, n| *n > 0);
            stands.retain(|_, n| *n > 0);
            assert_eq!(folded, stands);
            for (_, k, v) in &left {
                let same = left.iter().filter(|l| (l.1, l.2) == (*k, *v));
                let kinds: std::collections::BTreeSet<bool> = same.map(|l| l.0.is_addition()).collect();
                assert_eq!(kinds.len(), 1, "{k}, {v} comes and goes");
            }
        }
    }
}
