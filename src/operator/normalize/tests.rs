use std::collections::BTreeMap;

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::change::Watermark;
use crate::state::place;
use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

/// A key, a value and a kind.
type Row = (Option<i64>, Option<&'static str>, RowKind);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8, true), Field::new("k", DataType::Int64, true)]))
}

fn batch(rows: &[Row]) -> ChangeBatch {
    let values = Arc::new(rows.iter().map(|r| r.1).collect::<StringArray>());
    let keys = Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>());
    let kinds = rows.iter().map(|r| r.2).collect();
    ChangeBatch {
        rows: RecordBatch::try_new(schema(), vec![values, keys]).unwrap(),
        kinds: Some(kinds),
        watermarks: None,
    }
}

fn build(ttl: Option<i64>, each_change: bool) -> Box<dyn Operator> {
    ChangelogNormalize::new(schema(), vec![1], ttl, each_change).build().unwrap()
}

fn step(operator: &mut dyn Operator, batches: &[ChangeBatch], now: i64) -> Vec<ChangeBatch> {
    let mut out = Vec::new();
    for batch in batches {
        operator.push(0, batch.clone(), &mut out).unwrap();
    }
    assert!(out.is_empty());
    let time = StepTime { inputs: vec![Watermark::MIN], watermark: Watermark::MIN, processing_time: now };
    operator.advance(&time, &mut out).unwrap();
    out
}

/// A row as `[v, k]`.
fn row_text(batch: &ChangeBatch, row: usize) -> String {
    let value = batch.rows.column(0).as_string::<i32>();
    let value = if value.is_null(row) { "null" } else { value.value(row) };
    let key = batch.rows.column(1).as_primitive::<Int64Type>();
    let key = if key.is_null(row) { "null".into() } else { key.value(row).to_string() };
    format!("[{value}, {key}]")
}

fn shown(out: &[ChangeBatch]) -> String {
    let all = out.iter().flat_map(|b| (0..b.num_rows()).map(move |row| format!("{}{}", b.kind(row), row_text(b, row))));
    all.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_step_gives_one_net_change_for_a_key() {
    let mut operator = build(None, false);
    let first = [
        batch(&[(Some(1), Some("a"), Insert), (None, Some("n"), UpdateAfter), (Some(2), Some("x"), Insert)]),
        batch(&[(Some(1), Some("b"), Insert), (Some(2), None, Delete), (Some(3), None, Delete)]),
    ];
    assert_eq!(shown(&step(operator.as_mut(), &first, 0)), "+I[b, 1] +I[n, null]");
    let second = [batch(&[
        (Some(1), Some("b"), Insert),
        (None, None, UpdateBefore),
        (None, Some("m"), UpdateAfter),
        (Some(4), Some("d"), UpdateAfter),
    ])];
    assert_eq!(shown(&step(operator.as_mut(), &second, 0)), "-U[n, null] +U[m, null] +I[d, 4]");
    let third = [batch(&[(Some(1), None, Delete), (Some(4), Some("zz"), Delete)])];
    assert_eq!(shown(&step(operator.as_mut(), &third, 0)), "-D[b, 1] -D[d, 4]");
    assert_eq!(operator.stats().state_rows, 1);
}

#[test]
fn every_change_comes_out_with_its_watermark() {
    let mut operator = build(None, true);
    let mut rows = batch(&[
        (Some(1), Some("a"), Insert),
        (Some(1), Some("b"), Insert),
        (Some(1), Some("b"), Insert),
        (Some(1), None, Delete),
        (Some(1), Some("c"), Insert),
    ]);
    rows.watermarks = Some(Int64Array::from(vec![1, 2, 3, 4, 5]));
    let out = step(operator.as_mut(), &[rows], 0);
    assert_eq!(shown(&out), "+I[a, 1] -U[a, 1] +U[b, 1] -D[b, 1] +I[c, 1]");
    assert_eq!(out[0].watermarks.as_ref().unwrap().values(), &[1, 2, 2, 4, 5]);
}

#[test]
fn what_is_not_written_expires() {
    let mut operator = build(Some(10), false);
    step(operator.as_mut(), &[batch(&[(Some(1), Some("a"), Insert), (Some(2), Some("b"), Insert)])], 100);
    let again = step(operator.as_mut(), &[batch(&[(Some(2), Some("b"), Insert)])], 105);
    assert_eq!(shown(&again), "-U[b, 2] +U[b, 2]");
    let later = step(operator.as_mut(), &[batch(&[(Some(1), Some("a"), Insert), (Some(2), None, Delete)])], 110);
    assert_eq!(shown(&later), "+I[a, 1] -D[b, 2]");
}

#[test]
fn a_row_may_be_all_key() {
    let both = ChangelogNormalize::new(schema(), vec![1, 0], None, false);
    let mut operator = both.build().unwrap();
    let out = step(operator.as_mut(), &[batch(&[(Some(1), Some("a"), Insert), (Some(1), Some("b"), Insert)])], 0);
    assert_eq!(shown(&out), "+I[a, 1] +I[b, 1]");
    let out = step(operator.as_mut(), &[batch(&[(Some(1), Some("a"), Insert), (Some(1), Some("b"), Delete)])], 0);
    assert_eq!(shown(&out), "-D[b, 1]");
}

/// Folds changes into what stands, row by row; a row that goes must be there.
fn fold(table: &mut BTreeMap<String, i64>, out: &[ChangeBatch]) {
    for batch in out {
        for row in 0..batch.num_rows() {
            let text = row_text(batch, row);
            let count = table.entry(text.clone()).or_default();
            *count += if batch.kind(row).is_addition() { 1 } else { -1 };
            assert!(*count >= 0, "{text} goes and is not there");
            if *count == 0 {
                table.remove(&text);
            }
        }
    }
}

#[test]
fn any_input_in_any_steps_over_snapshots_is_the_last_row_of_each_key() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    for _ in 0..20 {
        let each_change = rng.random_bool(0.5);
        let ttl = rng.random_bool(0.5).then_some(1_000_000);
        let mut operators = vec![build(ttl, each_change)];
        let (mut model, mut table) = (BTreeMap::new(), BTreeMap::new());
        for now in 0..30 {
            let kinds = [Insert, UpdateAfter, Delete];
            let rows: Vec<Row> = (0..rng.random_range(0..40))
                .map(|_| {
                    let key = rng.random_bool(0.9).then(|| rng.random_range(0..30));
                    let value = rng.random_bool(0.8).then(|| ["a", "b", "c"][rng.random_range(0..3)]);
                    (key, value, kinds[rng.random_range(0..3)])
                })
                .collect();
            for (key, value, kind) in &rows {
                match kind {
                    Delete => drop(model.remove(key)),
                    _ => drop(model.insert(*key, *value)),
                }
            }
            let workers = operators.len();
            let mut dealt = crate::state::Partitioner::new(workers);
            let all = batch(&rows);
            for (operator, own) in
                operators.iter_mut().zip(dealt.rows(&[Arc::clone(all.rows.column(1))], rows.len()).unwrap())
            {
                fold(&mut table, &step(operator.as_mut(), &[all.take(&own).unwrap()], now));
            }
            let expected: Vec<String> = model
                .iter()
                .map(|(k, v)| {
                    let key = k.map_or("null".into(), |k| k.to_string());
                    format!("[{}, {key}]", v.unwrap_or("null"))
                })
                .collect();
            let mut stands: Vec<String> = table.keys().cloned().collect();
            let mut expected = expected;
            stands.sort();
            expected.sort();
            assert_eq!(stands, expected);
            if rng.random_bool(0.3) {
                let tables = operators.iter_mut().map(|o| o.snapshot().unwrap()).collect();
                let workers = rng.random_range(1..4);
                operators = (0..workers).map(|_| build(ttl, each_change)).collect();
                for (operator, tables) in operators.iter_mut().zip(place(tables, workers).unwrap()) {
                    operator.restore(tables).unwrap();
                }
            }
        }
    }
}
