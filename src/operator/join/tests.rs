//! The operator, held against a model that knows nothing of steps: all pairs, anew each time.

mod model;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion_expr::Operator as Op;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use self::model::{Change, Model, Row};
use super::{JoinColumn, JoinFactory, JoinInput, JoinKind};
use crate::change::{ChangeBatch, RowKind, Watermark};
use crate::operator::{Operator, OperatorFactory, StepTime};
use crate::state::place;
use crate::{Error, Result};

const KINDS: [JoinKind; 8] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
    JoinKind::NotIn,
    JoinKind::Mark,
];

fn input(names: [&str; 2], changing: bool, ttl: Option<i64>) -> JoinInput {
    let field = |name| Field::new(name, DataType::Int64, true);
    let schema = Arc::new(Schema::new(names.map(field).to_vec()));
    JoinInput { schema, keys: vec![0], changing, ttl }
}

/// `l(k, v)` and `r(k, w)`, by `k`, and perhaps `v < w`.
pub(super) fn factory(kind: JoinKind, changing: [bool; 2], condition: bool, ttl: Option<i64>) -> JoinFactory {
    let inputs = [input(["lk", "v"], changing[0], ttl), input(["rk", "w"], changing[1], ttl)];
    let less = BinaryExpr::new(Arc::new(Column::new("v", 1)), Op::Lt, Arc::new(Column::new("w", 3)));
    let mut outputs = vec![JoinColumn::Left(0), JoinColumn::Left(1)];
    let mut fields: Vec<_> = inputs[0].schema.fields().iter().cloned().collect();
    if kind.pairs() {
        outputs.extend([JoinColumn::Right(0), JoinColumn::Right(1)]);
        fields.extend(inputs[1].schema.fields().iter().cloned());
    }
    if kind == JoinKind::Mark {
        outputs.push(JoinColumn::Mark);
        fields.push(Arc::new(Field::new("mark", DataType::Boolean, false)));
    }
    JoinFactory {
        kind,
        inputs,
        nulls_equal: false,
        condition: condition.then(|| Arc::new(less) as Arc<dyn PhysicalExpr>),
        outputs,
        schema: Arc::new(Schema::new(fields)),
    }
}

fn batch(factory: &JoinFactory, side: usize, changes: &[Change]) -> ChangeBatch {
    let column = |f: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(changes.iter().map(|c| f(&c.row)).collect::<Int64Array>())
    };
    let columns = vec![column(|r| r.0), column(|r| r.1)];
    let rows = RecordBatch::try_new(Arc::clone(&factory.inputs[side].schema), columns).unwrap();
    let kinds = factory.inputs[side].changing.then(|| changes.iter().map(|c| c.kind).collect());
    ChangeBatch { kinds, ..ChangeBatch::append(rows) }
}

fn step(join: &mut dyn Operator, now: i64, batches: Vec<(usize, ChangeBatch)>) -> Result<Vec<ChangeBatch>> {
    let mut out = Vec::new();
    for (side, batch) in batches {
        join.push(side, batch, &mut out)?;
    }
    assert!(out.is_empty());
    let time = StepTime { inputs: vec![Watermark::MIN; 2], watermark: Watermark::MIN, processing_time: now };
    join.advance(&time, &mut out)?;
    Ok(out)
}

/// The changes in a batch, values as the model has them: a mark is 0 or 1.
fn changes(batch: &ChangeBatch) -> Vec<(Vec<Option<i64>>, RowKind)> {
    let value = |column: &ArrayRef, row: usize| match column.data_type() {
        _ if column.is_null(row) => None,
        DataType::Boolean => Some(i64::from(column.as_boolean().value(row))),
        _ => Some(column.as_primitive::<Int64Type>().value(row)),
    };
    let row = |row: usize| batch.rows.columns().iter().map(|c| value(c, row)).collect();
    (0..batch.num_rows()).map(|i| (row(i), batch.kind(i))).collect()
}

struct Case {
    kind: JoinKind,
    changing: [bool; 2],
    condition: bool,
    nulls_equal: bool,
    /// Which of the columns are given: fewer make rows of the result look alike.
    columns: Vec<usize>,
}

impl Case {
    fn factory(&self, ttl: Option<i64>) -> JoinFactory {
        let mut factory = factory(self.kind, self.changing, self.condition, ttl);
        factory.nulls_equal = self.nulls_equal;
        let columns: Vec<usize> = self.columns.iter().copied().filter(|c| *c < factory.outputs.len()).collect();
        factory.outputs = columns.iter().map(|c| factory.outputs[*c]).collect();
        factory.schema = Arc::new(factory.schema.project(&columns).unwrap());
        factory
    }
}

/// Random changes to a side: few keys and values, NULLs, repeated rows, rows that come and go within a step.
fn random_changes(rng: &mut Xoshiro256PlusPlus, changing: bool, there: &mut Vec<Row>) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..rng.random_range(0..6) {
        if changing && !there.is_empty() && rng.random_bool(0.45) {
            let row = there.swap_remove(rng.random_range(0..there.len()));
            let kind = if rng.random_bool(0.5) { RowKind::Delete } else { RowKind::UpdateBefore };
            changes.push(Change { row, kind });
            continue;
        }
        let mut value = |n: i64| if rng.random_bool(0.15) { None } else { Some(rng.random_range(0..n)) };
        let row = (value(3), value(4));
        there.push(row);
        let kind = if changing && rng.random_bool(0.3) { RowKind::UpdateAfter } else { RowKind::Insert };
        changes.push(Change { row, kind });
    }
    changes
}

fn play(case: &Case, seed: u64, ttl: Option<i64>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let factory = case.factory(ttl);
    let mut join = factory.build().unwrap();
    let mut model = Model::new(case);
    let mut there = [Vec::new(), Vec::new()];
    let about = format!(
        "seed {seed}: {:?}, changing {:?}, condition {}, nulls equal {}, columns {:?}",
        case.kind, case.changing, case.condition, case.nulls_equal, case.columns
    );
    let restored_after = rng.random_range(0..12);
    for number in 0..12 {
        let mut batches = Vec::new();
        for side in [0, 1] {
            let changes = random_changes(&mut rng, case.changing[side], &mut there[side]);
            changes.iter().for_each(|c| model.apply(side, c));
            let cut = rng.random_range(0..=changes.len());
            batches.push((side, batch(&factory, side, &changes[..cut])));
            batches.push((side, batch(&factory, side, &changes[cut..])));
        }
        let out = step(join.as_mut(), number, batches).unwrap_or_else(|e| panic!("{about}, step {number}: {e}"));
        let out: Vec<_> = out.iter().flat_map(changes).collect();
        if !factory.retracts() {
            assert!(out.iter().all(|(_, kind)| *kind == RowKind::Insert), "{about}");
        }
        model.check(&out).unwrap_or_else(|e| panic!("{about}, step {number}: {e}"));
        if number == restored_after {
            let tables = place(vec![join.snapshot().unwrap()], 1).unwrap().remove(0);
            join = factory.build().unwrap();
            join.restore(tables).unwrap();
        }
    }
}

fn random_case(rng: &mut Xoshiro256PlusPlus) -> Case {
    let kind = KINDS[rng.random_range(0..KINDS.len())];
    let columns = match rng.random_range(0..3) {
        0 => vec![0, 1, 2, 3],
        1 => vec![1, 2, 3],
        _ => vec![1, 3],
    };
    Case {
        kind,
        changing: [rng.random_bool(0.6), rng.random_bool(0.6)],
        condition: kind != JoinKind::NotIn && rng.random_bool(0.5),
        nulls_equal: kind != JoinKind::NotIn && rng.random_bool(0.2),
        columns,
    }
}

#[test]
fn every_step_gives_the_net_change() {
    for seed in 0..3000 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let case = random_case(&mut rng);
        play(&case, seed, None);
    }
}

/// A time-to-live that never runs out changes nothing, though matches are then kept by row.
#[test]
fn a_long_time_to_live_changes_nothing() {
    for seed in 10_000..11_500 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let case = random_case(&mut rng);
        play(&case, seed, Some(1_000));
    }
}

/// Whatever runs out, nothing is taken away that is not there, and nothing fails.
#[test]
fn a_short_time_to_live_keeps_every_prefix_valid() {
    for seed in 20_000..21_500 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let case = random_case(&mut rng);
        let factory = case.factory(Some(2));
        let mut join = factory.build().unwrap();
        let mut folded = model::Folded::new();
        let mut there = [Vec::new(), Vec::new()];
        for number in 0..12 {
            let mut batches = Vec::new();
            for side in [0, 1] {
                let changes = random_changes(&mut rng, case.changing[side], &mut there[side]);
                batches.push((side, batch(&factory, side, &changes)));
            }
            let out = step(join.as_mut(), number, batches).unwrap();
            for (row, kind) in out.iter().flat_map(changes) {
                model::fold(&mut folded, &row, kind).unwrap_or_else(|e| panic!("seed {seed}, {:?}: {e}", case.kind));
            }
        }
    }
}

fn insert(k: i64, v: i64) -> Change {
    Change { row: (Some(k), Some(v)), kind: RowKind::Insert }
}

fn delete(k: i64, v: i64) -> Change {
    Change { row: (Some(k), Some(v)), kind: RowKind::Delete }
}

#[test]
fn padded_rows_go_before_their_match_comes() {
    let factory = factory(JoinKind::Left, [false, true], false, None);
    let mut join = factory.build().unwrap();
    let mut one = |side, changes_in: &[Change]| {
        let out = step(join.as_mut(), 0, vec![(side, batch(&factory, side, changes_in))]).unwrap();
        out.iter().flat_map(changes).map(|(row, kind)| (kind.short(), row[3])).collect::<Vec<_>>()
    };
    assert_eq!(one(0, &[insert(1, 1)]), [("+I", None)]);
    assert_eq!(one(1, &[insert(1, 7)]), [("-D", None), ("+I", Some(7))]);
    assert_eq!(one(1, &[delete(1, 7), insert(1, 8)]), [("-D", Some(7)), ("+I", Some(8))]);
    assert_eq!(one(1, &[delete(1, 8)]), [("-D", Some(8)), ("+I", None)]);
    assert_eq!(one(1, &[insert(1, 9), delete(1, 9)]), []);
}

#[test]
fn a_row_that_never_came_is_named() {
    for kind in [JoinKind::Inner, JoinKind::Semi] {
        let factory = factory(kind, [true, true], false, None);
        let mut join = factory.build().unwrap();
        match step(join.as_mut(), 0, vec![(1, batch(&factory, 1, &[delete(4, 5)]))]) {
            Err(Error::Execution(message)) => assert!(message.contains("rk = 4"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn state_is_let_go_in_time() {
    let factory = factory(JoinKind::Inner, [false, true], false, Some(10));
    let mut join = factory.build().unwrap();
    let mut one = |now, side, changes_in: &[Change]| {
        let out = step(join.as_mut(), now, vec![(side, batch(&factory, side, changes_in))]).unwrap();
        let rows = join.stats().state_rows;
        (out.iter().map(ChangeBatch::num_rows).sum::<usize>(), rows)
    };
    assert_eq!(one(0, 0, &[insert(1, 1)]), (0, 1));
    assert_eq!(one(9, 1, &[insert(1, 2)]), (1, 2));
    assert_eq!(one(10, 1, &[insert(1, 3)]), (0, 2));
    assert_eq!(one(11, 0, &[insert(1, 4)]), (2, 3));
    assert_eq!(one(19, 1, &[delete(1, 2)]), (0, 2));
    assert_eq!(one(30, 0, &[insert(2, 2)]), (0, 1));
}

/// Where nothing is ever taken away, a row that has found its match is of no more use.
#[test]
fn settled_rows_are_not_kept() {
    for (kind, given) in [(JoinKind::Semi, 1), (JoinKind::Anti, 2)] {
        let factory = factory(kind, [false, false], false, None);
        let mut join = factory.build().unwrap();
        step(join.as_mut(), 0, vec![(0, batch(&factory, 0, &[insert(1, 1), insert(2, 1)]))]).unwrap();
        assert_eq!(join.stats().state_rows, 2);
        let rows = vec![(1, batch(&factory, 1, &[insert(1, 1)])), (0, batch(&factory, 0, &[insert(1, 3)]))];
        let out = step(join.as_mut(), 0, rows).unwrap();
        // The key that came, and the left row without a match.
        assert_eq!(join.stats().state_rows, 2);
        let out: Vec<_> = out.iter().flat_map(changes).collect();
        assert_eq!(out.len(), 3 - given, "{out:?}");
    }
}

/// State taken from one worker goes on on three, and back.
#[test]
fn state_is_dealt_to_workers() {
    let factory = factory(JoinKind::Full, [true, true], true, None);
    let mut one = factory.build().unwrap();
    let rows: Vec<Change> = (0..50).map(|i| insert(i % 10, i)).collect();
    step(one.as_mut(), 0, vec![(0, batch(&factory, 0, &rows)), (1, batch(&factory, 1, &rows))]).unwrap();
    let dealt = place(vec![one.snapshot().unwrap()], 3).unwrap();
    let mut kept = 0;
    let mut again = Vec::new();
    for tables in dealt {
        let mut worker = factory.build().unwrap();
        worker.restore(tables).unwrap();
        kept += worker.stats().state_rows;
        again.push(worker.snapshot().unwrap());
    }
    assert_eq!(kept, 100);
    let mut back = factory.build().unwrap();
    back.restore(place(again, 1).unwrap().remove(0)).unwrap();
    let gone: Vec<Change> = (0..50).map(|i| delete(i % 10, i)).collect();
    let change = |join: &mut dyn Operator| {
        let out = step(join, 0, vec![(1, batch(&factory, 1, &gone))]).unwrap();
        let mut out: Vec<_> = out.iter().flat_map(changes).collect();
        out.sort();
        out
    };
    assert_eq!(change(one.as_mut()), change(back.as_mut()));
}

/// All rows under one key. Were a change's cost to grow with them, this would take hours.
#[test]
fn a_hot_key_costs_no_more() {
    const ROWS: i64 = 200_000;
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Semi, JoinKind::Anti] {
        let factory = factory(kind, [true, true], false, None);
        let mut join = factory.build().unwrap();
        let mut order: Vec<i64> = (0..ROWS).collect();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        let mut given = 0;
        let mut one = |side: usize, changes_in: &[Change]| {
            let out = step(join.as_mut(), 0, vec![(side, batch(&factory, side, changes_in))]).unwrap();
            given += out.iter().map(ChangeBatch::num_rows).sum::<usize>();
        };
        one(1, &[insert(1, -1)]);
        for chunk in order.chunks(500) {
            one(0, &chunk.iter().map(|v| insert(1, *v)).collect::<Vec<_>>());
        }
        order.reverse();
        for chunk in order.chunks(500) {
            one(0, &chunk.iter().map(|v| delete(1, *v)).collect::<Vec<_>>());
        }
        let expected = if kind == JoinKind::Anti { 0 } else { 2 * ROWS as usize };
        assert_eq!((given, join.stats().state_rows), (expected, 1), "{kind:?}");
    }
}

/// A semi join's left rows are looked at when their key comes to the right side or goes, and at no other time.
#[test]
fn a_hot_key_of_a_semi_join_is_counted() {
    let factory = factory(JoinKind::Semi, [true, true], false, None);
    let mut join = factory.build().unwrap();
    let left: Vec<Change> = (0..50_000).map(|v| insert(1, v)).collect();
    step(join.as_mut(), 0, vec![(0, batch(&factory, 0, &left))]).unwrap();
    let mut given = 0;
    for v in 0..5_000 {
        let out = step(join.as_mut(), 0, vec![(1, batch(&factory, 1, &[insert(1, v)]))]).unwrap();
        given += out.iter().map(ChangeBatch::num_rows).sum::<usize>();
    }
    for v in 1..5_000 {
        let out = step(join.as_mut(), 0, vec![(1, batch(&factory, 1, &[delete(1, v)]))]).unwrap();
        given += out.iter().map(ChangeBatch::num_rows).sum::<usize>();
    }
    assert_eq!(given, 50_000);
}

/// Keys that come and go do not pile up, nor do rows.
#[test]
fn what_is_gone_is_given_up() {
    let factory = factory(JoinKind::Inner, [true, true], false, None);
    let mut join = factory.build().unwrap();
    let mut most = 0;
    for start in 0..200 {
        let keys = start * 100..(start + 1) * 100;
        let rows: Vec<Change> = keys.clone().map(|k| insert(k, k)).collect();
        let out = step(join.as_mut(), 0, vec![(0, batch(&factory, 0, &rows)), (1, batch(&factory, 1, &rows))]).unwrap();
        assert_eq!(out.iter().map(ChangeBatch::num_rows).sum::<usize>(), 100);
        let rows: Vec<Change> = keys.map(|k| delete(k, k)).collect();
        let out = step(join.as_mut(), 0, vec![(0, batch(&factory, 0, &rows)), (1, batch(&factory, 1, &rows))]).unwrap();
        assert_eq!(out.iter().map(ChangeBatch::num_rows).sum::<usize>(), 100);
        most = most.max(join.stats().state_bytes);
    }
    assert_eq!(join.stats().state_rows, 0);
    assert!(most < 2_000_000, "{most} bytes");
}
