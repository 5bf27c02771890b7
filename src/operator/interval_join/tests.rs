//! Interval joins by hand. Random ones against nested loops: `tests/it/law/joins`.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::operator::join::{JoinColumn, JoinInput};

/// A row's key, time and id.
type Row = (Option<i64>, i64, i64);

fn factory(kind: JoinKind, reach: [i64; 2]) -> IntervalJoinFactory {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let fields = [("k", DataType::Int64), ("ts", time), ("id", DataType::Int64)];
    let schema = Arc::new(Schema::new(fields.map(|(n, t)| Field::new(n, t, true)).to_vec()));
    let input = || JoinInput { schema: Arc::clone(&schema), keys: vec![0], changing: false, ttl: None };
    let outputs = match kind.pairs() {
        true => vec![JoinColumn::Left(2), JoinColumn::Right(2)],
        false => vec![JoinColumn::Left(2)],
    };
    let fields = (0..outputs.len()).map(|i| Field::new(format!("c{i}"), DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let join = JoinFactory { kind, inputs: [input(), input()], nulls_equal: false, condition: None, outputs, schema };
    IntervalJoinFactory { join, time: JoinTime::Rowtime([1, 1]), reach, origin: Origin::Same([0, 0]) }
}

fn batch(rows: &[Row]) -> ChangeBatch {
    let schema = Arc::clone(&factory(JoinKind::Inner, [0, 0]).join.inputs[0].schema);
    let keys = Int64Array::from_iter(rows.iter().map(|r| r.0));
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.1));
    let ids = Int64Array::from_iter_values(rows.iter().map(|r| r.2));
    ChangeBatch::append(RecordBatch::try_new(schema, vec![Arc::new(keys), Arc::new(times), Arc::new(ids)]).unwrap())
}

/// The same rows, each behind a watermark.
fn behind(rows: &[Row], mark: i64) -> ChangeBatch {
    ChangeBatch { watermarks: Some(Int64Array::from_value(mark, rows.len())), ..batch(rows) }
}

/// A step: what comes left and right, and the time behind it.
fn step(join: &mut dyn Operator, inputs: [ChangeBatch; 2], watermark: i64, now: i64) -> Vec<Vec<Option<i64>>> {
    let mut out = Vec::new();
    for (input, batch) in inputs.into_iter().enumerate() {
        join.push(input, batch, &mut out).unwrap();
    }
    let watermark = Watermark(watermark);
    join.advance(&StepTime { inputs: vec![watermark; 2], watermark, processing_time: now }, &mut out).unwrap();
    out.iter().flat_map(|changes| values(&changes.rows)).collect()
}

fn values(rows: &RecordBatch) -> Vec<Vec<Option<i64>>> {
    let value = |column: &arrow::array::ArrayRef, row: usize| {
        column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
    };
    (0..rows.num_rows()).map(|row| rows.columns().iter().map(|c| value(c, row)).collect()).collect()
}

fn pair(left: i64, right: i64) -> Vec<Option<i64>> {
    vec![Some(left), Some(right)]
}

#[test]
fn both_ends_of_an_interval_belong_to_it() {
    // The right row is up to 20 later, or up to 50 earlier.
    let mut join = factory(JoinKind::Inner, [20, 50]).build().unwrap();
    let right = [(Some(1), 49, 0), (Some(1), 50, 1), (Some(1), 120, 2), (Some(1), 121, 3), (Some(2), 100, 4)];
    let out = step(join.as_mut(), [batch(&[(Some(1), 100, 7)]), batch(&right)], 0, 0);
    assert_eq!(out, [pair(7, 1), pair(7, 2)]);
    // From the other side as well.
    let out = step(join.as_mut(), [batch(&[]), batch(&[(Some(1), 50, 5), (Some(1), 122, 6), (None, 100, 8)])], 0, 0);
    assert_eq!(out, [pair(7, 5)]);
}

#[test]
fn rows_are_let_go_when_nothing_on_time_can_match_them() {
    let mut join = factory(JoinKind::Inner, [20, 50]).build().unwrap();
    let inputs = || [batch(&[(Some(1), 100, 1), (Some(1), 90, 2)]), batch(&[(Some(1), 300, 1)])];
    step(join.as_mut(), inputs(), 110, 0);
    assert_eq!(join.stats().state_rows, 3);
    step(join.as_mut(), [batch(&[]), batch(&[])], 111, 0);
    assert_eq!(join.stats().state_rows, 2);
    step(join.as_mut(), [batch(&[]), batch(&[])], 121, 0);
    assert_eq!(join.stats().state_rows, 1);
    step(join.as_mut(), [batch(&[]), batch(&[])], i64::MAX, 0);
    assert_eq!(join.stats().state_rows, 0);
}

#[test]
fn padded_rows_go_out_once_and_never_beside_a_match() {
    let mut join = factory(JoinKind::Full, [20, 50]).build().unwrap();
    let left = [(Some(1), 100, 1), (Some(2), 100, 2), (None, 100, 3)];
    // What can match nothing does not wait.
    let out = step(join.as_mut(), [batch(&left), batch(&[(Some(1), 80, 1), (Some(3), 60, 3)])], 0, 0);
    assert_eq!(out, [vec![Some(3), None], pair(1, 1)]);
    let out = step(join.as_mut(), [batch(&[]), batch(&[])], 120, 0);
    assert_eq!(out, [[None, Some(3)]]);
    let out = step(join.as_mut(), [batch(&[]), batch(&[])], 121, 0);
    assert_eq!(out, [[Some(2), None]]);
    let out = step(join.as_mut(), [batch(&[]), batch(&[])], i64::MAX, 0);
    assert!(out.is_empty());
}

#[test]
fn semi_and_anti_joins_only_grow() {
    let mut semi = factory(JoinKind::Semi, [20, 50]).build().unwrap();
    let right = || batch(&[(Some(1), 100, 1), (Some(1), 101, 2)]);
    let out = step(semi.as_mut(), [batch(&[(Some(1), 100, 1), (Some(2), 100, 2)]), right()], 0, 0);
    assert_eq!(out, [[Some(1)]]);
    let out = step(semi.as_mut(), [batch(&[(Some(1), 101, 3)]), right()], 0, 0);
    assert_eq!(out, [[Some(3)]]);
    let mut anti = factory(JoinKind::Anti, [20, 50]).build().unwrap();
    let out = step(anti.as_mut(), [batch(&[(Some(1), 100, 1), (Some(2), 100, 2)]), right()], 0, 0);
    assert!(out.is_empty());
    assert_eq!(step(anti.as_mut(), [batch(&[]), batch(&[])], 121, 0), [[Some(2)]]);
}

#[test]
fn a_late_row_meets_what_is_held() {
    let mut join = factory(JoinKind::Left, [20, 50]).build().unwrap();
    step(join.as_mut(), [batch(&[]), batch(&[(Some(1), 100, 1)])], 150, 0);
    // The right row is held up to 150.
    let out = step(join.as_mut(), [behind(&[(Some(1), 90, 1)], 150), batch(&[])], 150, 0);
    assert_eq!(out, [pair(1, 1)]);
    // In the same step, but behind a later watermark: too late, and as late as that behind the join.
    let mut out = Vec::new();
    join.push(0, behind(&[(Some(1), 90, 2)], 151), &mut out).unwrap();
    let watermark = Watermark(151);
    join.advance(&StepTime { inputs: vec![watermark; 2], watermark, processing_time: 0 }, &mut out).unwrap();
    let [padded] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(values(&padded.rows), [[Some(2), None]]);
    assert_eq!(padded.watermarks.as_ref().map(|w| w.value(0)), Some(151 - 51));
    assert_eq!(join.stats().state_rows, 0);
}

#[test]
fn a_row_can_wait_for_rows_that_must_be_later() {
    // The left row is at least 10 and at most 30 later than the right.
    let mut join = factory(JoinKind::Inner, [-10, 30]).build().unwrap();
    step(join.as_mut(), [batch(&[]), batch(&[(Some(1), 100, 1)])], 99, 0);
    assert_eq!(step(join.as_mut(), [batch(&[(Some(1), 109, 1)]), batch(&[])], 99, 0), [] as [Vec<Option<i64>>; 0]);
    let left = [(Some(1), 110, 2), (Some(1), 130, 3), (Some(1), 131, 4)];
    assert_eq!(step(join.as_mut(), [batch(&left), batch(&[])], 109, 0), [pair(2, 1), pair(3, 1)]);
}

#[test]
fn by_the_clock_rows_are_let_go_by_the_clock() {
    let plan = IntervalJoinFactory { time: JoinTime::Processing, ..factory(JoinKind::Left, [20, 50]) };
    assert_eq!(plan.watermark_delay(), 0);
    let mut join = plan.build().unwrap();
    let some = |id: i64| batch(&[(Some(1), 7, id)]);
    let other = |id: i64| batch(&[(Some(2), 7, id)]);
    assert!(step(join.as_mut(), [some(1), other(1)], 0, 1000).is_empty());
    assert_eq!(join.next_timer(), Some(1021));
    assert_eq!(step(join.as_mut(), [batch(&[]), some(2)], 0, 1020), [pair(1, 2)]);
    assert!(step(join.as_mut(), [some(3), batch(&[])], 0, 1071).is_empty());
    assert_eq!(step(join.as_mut(), [batch(&[]), batch(&[])], 0, 1092), [[Some(3), None]]);
    assert_eq!(join.stats().state_rows, 0);
}

#[test]
fn state_is_handed_on() {
    let plan = factory(JoinKind::Full, [20, 50]);
    let mut join = plan.build().unwrap();
    let left = [(Some(1), 100, 1), (Some(2), 100, 2)];
    step(join.as_mut(), [batch(&left), batch(&[(Some(1), 80, 1)])], 0, 0);
    let tables = join.snapshot().unwrap();
    let mut other = plan.build().unwrap();
    other.restore(tables).unwrap();
    assert_eq!(other.stats().state_rows, 3);
    let out = step(other.as_mut(), [batch(&[]), batch(&[(Some(1), 110, 2)])], i64::MAX, 0);
    assert_eq!(out, [pair(1, 2), vec![Some(2), None]]);
    let table = StateTable { name: "else".into(), placement: crate::state::Placement::All, rows: Vec::new() };
    assert!(plan.build().unwrap().restore(vec![table]).is_err());
}

#[test]
fn keys_and_rows_that_are_gone_take_no_room() {
    let mut join = factory(JoinKind::Left, [20, 50]).build().unwrap();
    let mut padded = 0;
    for round in 0..60i64 {
        let rows: Vec<Row> = (0..1000).map(|i| (Some(round * 1000 + i), round * 1000 + i, i)).collect();
        padded += step(join.as_mut(), [batch(&rows), batch(&[])], round * 1000 + 999, 0).len();
    }
    assert!(padded > 59_000 && join.stats().state_rows < 100, "{padded} {:?}", join.stats());
    assert!(join.stats().state_bytes < 2_000_000, "{:?}", join.stats());
}

#[test]
fn a_row_that_stays_does_not_keep_those_it_came_with() {
    let mut join = factory(JoinKind::Inner, [20, 50]).build().unwrap();
    for round in 0..60i64 {
        let far = (Some(-1), i64::MAX / 2 + round, round);
        let rows = (0..3000).map(|i| (Some(i % 50), round * 3000 + i, i)).chain([far]).collect::<Vec<Row>>();
        let last = round * 3000 + 2999;
        // That the other side finds those that stay, however often they get new numbers.
        let out = step(join.as_mut(), [batch(&rows), batch(&[(Some(-1), i64::MAX / 2, round)])], last, 0);
        assert_eq!(out.len() as i64, if round <= 50 { 2 * round + 1 } else { 51 }, "round {round}");
    }
    assert!(join.stats().state_rows < 200, "{:?}", join.stats());
    assert!(join.stats().state_bytes < 2_000_000, "{:?}", join.stats());
}

#[test]
fn a_row_that_can_meet_nothing_any_more_is_dropped() {
    for (kind, dropped) in [(JoinKind::Inner, 2), (JoinKind::Left, 1), (JoinKind::Anti, 1), (JoinKind::Full, 0)] {
        let mut join = factory(kind, [20, 50]).build().unwrap();
        join.late_rows().unwrap().keep();
        step(join.as_mut(), [batch(&[]), batch(&[])], 171, 0);
        // A right row at 120 was held up to 170.
        let left = || behind(&[(Some(1), 100, 1), (None, 100, 2), (Some(1), 101, 3)], 171);
        // A left row at 151 was held up to 171.
        let right = || behind(&[(Some(1), 100, 1), (Some(1), 101, 2)], 171);
        step(join.as_mut(), [left(), right()], 171, 0);
        assert_eq!(join.stats().late_rows, dropped, "{kind:?}");
        let late = join.late_rows().unwrap().take();
        let ids = late.iter().flat_map(|l| l.rows.column(2).as_primitive::<Int64Type>().values().to_vec());
        assert_eq!(ids.collect::<Vec<_>>(), vec![1; dropped as usize], "{kind:?}");
        assert!(late.iter().all(|l| l.times.value(0) == 100 && l.watermarks.value(0) == 171));
    }
}

#[test]
fn what_few_ask_for_is_not_indexed() {
    let mut join = factory(JoinKind::Inner, [1000, 0]).join().unwrap();
    let (mut found, mut expected) = (0, 0);
    for round in 0..50i64 {
        let first = round * 1000;
        let left: Vec<Row> = (first..first + 1000).map(|i| (Some(i % 977), i, i)).collect();
        // Once in ten steps a row asks for those of the last thousand milliseconds.
        let right: Vec<Row> = if round % 10 == 9 { vec![(Some(7), first, 0)] } else { Vec::new() };
        let matches = (first - 1000..=first).filter(|i| *i >= 0 && i % 977 == 7).count();
        expected += if right.is_empty() { 0 } else { matches };
        found += step(&mut join, [batch(&left), batch(&right)], first, 0).len();
    }
    let indexed = join.sides[0].index.lines.rows();
    assert_eq!((found, expected > 4, indexed < 100), (expected, true, true), "{indexed} rows are indexed");
}

/// Random steps, and what comes of each.
struct Run {
    outputs: Vec<Vec<Vec<Option<i64>>>>,
    rows: [Vec<Row>; 2],
    reach: [i64; 2],
}

/// Random steps; between them what is indexed is forgotten where the join is `restored`.
fn run(seed: u64, kind: JoinKind, restored: bool) -> Run {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let reach = [rng.random_range(-20..200), rng.random_range(20..200)];
    let keys = *[3, 40, 2000].get(rng.random_range(0..3)).unwrap();
    let most = *[[1, 300], [40, 300], [300, 5], [200, 200]].get(rng.random_range(0..4)).unwrap();
    // With the greater, some of a batch's rows go at each of twenty steps.
    let spread = *[100, 400].get(rng.random_range(0..2)).unwrap();
    let plan = factory(kind, reach);
    let mut join = plan.join().unwrap();
    let (mut outputs, mut rows) = (Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..30i64 {
        let inputs = [0, 1].map(|side| {
            let mut row = |id: i64| {
                let key = if rng.random_bool(0.1) { 0 } else { rng.random_range(0..keys) };
                (Some(key), round * 20 + rng.random_range(0..spread), id)
            };
            let first = rows[side].len() as i64;
            let fresh: Vec<Row> = (first..first + most[side]).map(&mut row).collect();
            rows[side].extend(fresh.clone());
            batch(&fresh)
        });
        outputs.push(step(&mut join, inputs, round * 20, 0));
        if restored {
            let tables = join.snapshot().unwrap();
            join = plan.join().unwrap();
            join.restore(tables).unwrap();
        }
    }
    outputs.push(step(&mut join, [batch(&[]), batch(&[])], i64::MAX, 0));
    Run { outputs, rows, reach }
}

#[test]
fn results_and_their_order_do_not_depend_on_what_is_indexed() {
    for seed in 0..24 {
        let kind = [JoinKind::Inner, JoinKind::Full, JoinKind::Semi, JoinKind::Anti][seed as usize % 4];
        let Run { outputs, rows: [left, right], reach } = run(seed, kind, false);
        assert_eq!(run(seed, kind, true).outputs, outputs, "seed {seed}");
        let meets = |l: &Row, r: &Row| l.0 == r.0 && r.1 - l.1 <= reach[0] && l.1 - r.1 <= reach[1];
        let mut expected: Vec<Vec<Option<i64>>> = Vec::new();
        for l in &left {
            let found: Vec<&Row> = right.iter().filter(|r| meets(l, r)).collect();
            match kind {
                JoinKind::Semi if !found.is_empty() => expected.push(vec![Some(l.2)]),
                JoinKind::Anti if found.is_empty() => expected.push(vec![Some(l.2)]),
                JoinKind::Semi | JoinKind::Anti => {}
                JoinKind::Full if found.is_empty() => expected.push(vec![Some(l.2), None]),
                _ => expected.extend(found.iter().map(|r| pair(l.2, r.2))),
            }
        }
        if kind == JoinKind::Full {
            let alone = right.iter().filter(|r| !left.iter().any(|l| meets(l, r)));
            expected.extend(alone.map(|r| vec![None, Some(r.2)]));
        }
        expected.sort();
        let mut found = outputs.concat();
        found.sort();
        assert_eq!(found, expected, "seed {seed}, {kind:?}");
    }
}
