//! Against a model that knows all rows: after every step the folded output is what the model says.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, UInt64Type};
use rand::Rng;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{OrderColumn, TopN};
use crate::change::{ChangeBatch, RowKind, Watermark};
use crate::operator::{Operator, OperatorFactory, StepTime};

/// Partition, what is ordered by, text that is ordered by next, and a number that tells rows apart.
type Row = (Option<i32>, Option<i64>, Option<String>, i64);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("p", DataType::Int32, true),
        Field::new("v", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("id", DataType::Int64, true),
    ]))
}

fn batch(rows: &[(RowKind, Row)], changing: bool) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(_, r)| r.0).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|(_, r)| r.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, r)| r.2.clone()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, r)| Some(r.3)).collect::<Int64Array>()),
    ];
    let kinds = changing.then(|| rows.iter().map(|(k, _)| *k).collect());
    ChangeBatch { rows: RecordBatch::try_new(schema(), columns).unwrap(), kinds, watermarks: None }
}

fn rows_of(batch: &ChangeBatch, ranked: bool) -> Vec<(RowKind, Row, u64)> {
    let (p, v) = (batch.rows.column(0).as_primitive::<Int32Type>(), batch.rows.column(1).as_primitive::<Int64Type>());
    let (s, id) = (batch.rows.column(2).as_string::<i32>(), batch.rows.column(3).as_primitive::<Int64Type>());
    let rank = |i| if ranked { batch.rows.column(4).as_primitive::<UInt64Type>().value(i) } else { 0 };
    let row = |i: usize| {
        let text = s.is_valid(i).then(|| s.value(i).to_string());
        (p.is_valid(i).then(|| p.value(i)), v.is_valid(i).then(|| v.value(i)), text, id.value(i))
    };
    (0..batch.num_rows()).map(|i| (batch.kind(i), row(i), rank(i))).collect()
}

fn plan(order: Vec<OrderColumn>, range: (u64, u64), ranked: bool, changing: bool) -> TopN {
    let mut fields: Vec<Field> = schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    if ranked {
        fields.push(Field::new("rank", DataType::UInt64, false));
    }
    let schema_out = Arc::new(Schema::new(fields));
    TopN {
        partition: vec![0],
        order,
        range,
        ranked,
        changing,
        by_content: false,
        latest_first: false,
        input: schema(),
        schema: schema_out,
        ttl: None,
        windows: None,
    }
}

fn time(step: i64) -> StepTime {
    StepTime { inputs: vec![Watermark::MIN], watermark: Watermark::MIN, processing_time: step }
}

/// The rows at the places of each partition, in a naive way. `rows` stand in the order of their arrival.
fn expected(plan: &TopN, rows: &[Row]) -> BTreeMap<(Row, u64), i64> {
    let mut partitions: BTreeMap<Option<i32>, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|r| partitions.entry(r.0).or_default().push(r));
    let mut all = BTreeMap::new();
    for list in partitions.values_mut() {
        list.sort_by(|a, b| {
            let by = plan.order.iter().map(|o| match o.column {
                1 => compare(&a.1, &b.1, o),
                2 => compare(&a.2, &b.2, o),
                _ => compare(&Some(a.3), &Some(b.3), o),
            });
            by.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
        for (place, row) in (1u64..).zip(list.iter()) {
            if plan.range.0 <= place && place <= plan.range.1 {
                *all.entry(((*row).clone(), if plan.ranked { place } else { 0 })).or_insert(0) += 1;
            }
        }
    }
    all
}

fn compare<T: Ord>(a: &Option<T>, b: &Option<T>, o: &OrderColumn) -> std::cmp::Ordering {
    match (a, b) {
        (Some(a), Some(b)) if o.descending => b.cmp(a),
        (Some(a), Some(b)) => a.cmp(b),
        (None, Some(_)) if o.nulls_first => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (Some(_), None) => compare(b, a, o).reverse(),
        (None, None) => std::cmp::Ordering::Equal,
    }
}

/// Folds changes, checking that every prefix is a multiset and that no row comes and goes in one step.
fn fold(folded: &mut BTreeMap<(Row, u64), i64>, out: &[ChangeBatch], ranked: bool, seed: u64) {
    let mut net: BTreeMap<(Row, u64), (i64, i64)> = BTreeMap::new();
    for (kind, row, rank) in out.iter().flat_map(|b| rows_of(b, ranked)) {
        let sign = if kind.is_addition() { 1 } else { -1 };
        let (come, gone) = net.entry((row.clone(), rank)).or_default();
        if sign > 0 {
            *come += 1
        } else {
            *gone += 1
        }
        let count = folded.entry((row.clone(), rank)).or_insert(0);
        *count += sign;
        assert!(*count >= 0, "seed {seed}: {row:?} goes before it came");
        if *count == 0 {
            folded.remove(&(row, rank));
        }
    }
    let both = net.iter().find(|(_, (come, gone))| *come > 0 && *gone > 0);
    assert!(both.is_none(), "seed {seed}: not net: {both:?}");
}

fn random_plan(rng: &mut Xoshiro256PlusPlus, changing: bool) -> TopN {
    let column = |column, rng: &mut Xoshiro256PlusPlus| OrderColumn {
        column,
        descending: rng.random_bool(0.5),
        nulls_first: rng.random_bool(0.5),
    };
    // Changing rows are told apart by the order: how it breaks ties is its own affair.
    let mut order: Vec<OrderColumn> = match rng.random_range(0..4) {
        0 => vec![],
        1 => vec![column(1, rng)],
        2 => vec![column(2, rng)],
        _ => vec![column(1, rng), column(2, rng)],
    };
    if changing {
        order.push(column(3, rng));
    }
    let first = if rng.random_bool(0.7) { 1 } else { rng.random_range(1..5) };
    let range = (first, first + rng.random_range(0..6));
    plan(order, range, rng.random_bool(0.5), changing)
}

fn random_row(rng: &mut Xoshiro256PlusPlus, id: i64) -> Row {
    let p = rng.random_bool(0.9).then(|| rng.random_range(0..4));
    let v = rng.random_bool(0.9).then(|| rng.random_range(-3..4) * if rng.random_bool(0.1) { i64::MAX / 4 } else { 1 });
    let long = "x".repeat(rng.random_range(0..30));
    (p, v, rng.random_bool(0.9).then(|| format!("{long}{}", rng.random_range(0..3))), id)
}

fn random_run(seed: u64, changing: bool) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let plan = random_plan(&mut rng, changing);
    let mut operator = plan.build().unwrap();
    let mut alive: Vec<Row> = Vec::new();
    let mut next = 0;
    let mut folded = BTreeMap::new();
    for step in 0..rng.random_range(1..15) {
        for _ in 0..rng.random_range(0..3) {
            let mut changes = Vec::new();
            for _ in 0..rng.random_range(1..20) {
                if changing && !alive.is_empty() && rng.random_bool(0.45) {
                    let row = alive.remove(rng.random_range(0..alive.len()));
                    changes.push((RowKind::Delete, row));
                } else {
                    let again = changing && !alive.is_empty() && rng.random_bool(0.2);
                    let row = match again {
                        true => alive[rng.random_range(0..alive.len())].clone(),
                        false => {
                            next += 1;
                            random_row(&mut rng, next)
                        }
                    };
                    alive.push(row.clone());
                    changes.push((RowKind::Insert, row));
                }
            }
            operator.push(0, batch(&changes, changing), &mut Vec::new()).unwrap();
        }
        let mut out = Vec::new();
        operator.advance(&time(step), &mut out).unwrap();
        fold(&mut folded, &out, plan.ranked, seed);
        assert_eq!(folded, expected(&plan, &alive), "seed {seed}, step {step}: {plan:?}");
        if rng.random_bool(0.3) {
            let state = operator.snapshot().unwrap();
            operator = plan.build().unwrap();
            operator.restore(state).unwrap();
        }
    }
}

#[test]
fn appended_rows_equal_the_model() {
    (0..400).for_each(|seed| random_run(seed, false));
}

#[test]
fn changing_rows_equal_the_model() {
    (0..400).for_each(|seed| random_run(seed, true));
}

fn by_value(changing: bool, ranked: bool, last: u64) -> TopN {
    plan(vec![OrderColumn { column: 1, descending: false, nulls_first: false }], (1, last), ranked, changing)
}

fn row(value: i64) -> Row {
    (Some(0), Some(value), None, 0)
}

#[test]
fn a_row_never_seen_is_an_error_with_the_row() {
    let mut operator = by_value(true, false, 3).build().unwrap();
    operator.push(0, batch(&[(RowKind::Insert, row(1)), (RowKind::Delete, row(77))], true), &mut Vec::new()).unwrap();
    let error = operator.advance(&time(0), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("v = 77"), "{error}");
}

#[test]
fn with_a_time_to_live_what_expired_may_be_taken_away() {
    let plan = TopN { ttl: Some(10), ..by_value(true, false, 3) };
    let mut operator = plan.build().unwrap();
    let mut step = |now: i64, changes: &[(RowKind, Row)]| {
        let mut out = Vec::new();
        operator.push(0, batch(changes, true), &mut out).unwrap();
        operator.advance(&time(now), &mut out).unwrap();
        out.iter().flat_map(|b| rows_of(b, false)).map(|(k, r, _)| (k, r.1.unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(step(0, &[(RowKind::Insert, row(1))]), [(RowKind::Insert, 1)]);
    assert_eq!(step(9, &[(RowKind::Insert, row(2))]), [(RowKind::Insert, 2)]);
    assert_eq!(step(18, &[(RowKind::Delete, row(2))]), [(RowKind::Delete, 2)]);
    assert_eq!(step(28, &[(RowKind::Delete, row(1)), (RowKind::Insert, row(3))]), [(RowKind::Insert, 3)]);
    // Rows that are not even known.
    assert_eq!(step(29, &[(RowKind::Delete, row(8)), (RowKind::Insert, row(4))]), [(RowKind::Insert, 4)]);
    assert_eq!(step(30, &[(RowKind::Insert, row(8))]), [(RowKind::Insert, 8)]);
}

#[test]
fn equal_rows_stand_in_the_order_of_arrival_after_compaction() {
    let mut operator = by_value(false, true, 2).build().unwrap();
    let mut step = |rows: &[Row]| {
        let changes: Vec<_> = rows.iter().map(|r| (RowKind::Insert, r.clone())).collect();
        let mut out = Vec::new();
        operator.push(0, batch(&changes, false), &mut out).unwrap();
        operator.advance(&time(0), &mut out).unwrap();
        out.iter().flat_map(|b| rows_of(b, true)).map(|(_, r, rank)| (r.3, rank)).collect::<Vec<_>>()
    };
    assert_eq!(step(&[(Some(1), Some(5), None, 1)]), [(1, 1)]);
    // Each takes the place of another, so that most rows are dead in the end.
    for from in 0..3 {
        let rows: Vec<Row> = (0..4000).map(|i| row(-(from * 4000 + i))).collect();
        step(&rows);
    }
    assert_eq!(step(&[(Some(1), Some(5), None, 2)]), [(2, 2)]);
    assert_eq!(step(&[(Some(1), Some(5), None, 3)]), []);
}

#[test]
fn equal_rows_stand_in_an_order_of_their_own_where_that_of_arrival_is_not_defined() {
    let rows: Vec<Row> = (0..40).map(|id| (Some(0), Some(5), None, id)).collect();
    let shown = |parts: Vec<Vec<Row>>| {
        let mut operator = TopN { by_content: true, ..by_value(false, true, 7) }.build().unwrap();
        let mut folded = BTreeMap::new();
        for (n, part) in parts.into_iter().enumerate() {
            let changes: Vec<_> = part.into_iter().map(|r| (RowKind::Insert, r)).collect();
            let mut out = Vec::new();
            operator.push(0, batch(&changes, false), &mut out).unwrap();
            operator.advance(&time(n as i64), &mut out).unwrap();
            fold(&mut folded, &out, true, 1);
        }
        folded
    };
    let forwards = shown(vec![rows.clone()]);
    assert_eq!(forwards.len(), 7);
    assert_eq!(shown(rows.iter().rev().map(|r| vec![r.clone()]).collect()), forwards);
}

/// A million rows in one partition, added and taken away in a random order, in steps.
#[test]
fn a_hot_partition_is_not_quadratic() {
    let rows = 1_000_000;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let plan = by_value(true, true, 5);
    let mut operator = plan.build().unwrap();
    let shuffled = (0..rows).map(|i| (i * 611_953) % 1_000_003).collect::<Vec<i64>>();
    let step = |operator: &mut Box<dyn Operator>, kind: RowKind, values: &[i64]| {
        let changes: Vec<_> = values.iter().map(|v| (kind, row(*v))).collect();
        operator.push(0, batch(&changes, true), &mut Vec::new()).unwrap();
        let mut out = Vec::new();
        operator.advance(&time(0), &mut out).unwrap();
        out
    };
    let mut folded = BTreeMap::new();
    for part in shuffled.chunks(8192) {
        fold(&mut folded, &step(&mut operator, RowKind::Insert, part), true, 1);
    }
    let mut least = shuffled.clone();
    least.sort_unstable();
    let values = |folded: &BTreeMap<(Row, u64), i64>| {
        let mut all: Vec<_> = folded.keys().map(|(row, rank)| (*rank, row.1.unwrap())).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, v)| v).collect::<Vec<_>>()
    };
    assert_eq!(values(&folded), least[..5]);
    let kept = rng.random_range(10..20);
    for part in shuffled.chunks(8192) {
        let gone: Vec<i64> = part.iter().copied().filter(|v| *v < least[least.len() - kept]).collect();
        fold(&mut folded, &step(&mut operator, RowKind::Delete, &gone), true, 1);
    }
    assert_eq!(values(&folded), least[least.len() - kept..][..5]);
    assert_eq!(operator.stats().state_rows, kept as u64);
}
