//! Against a model that takes in one row after another, in steps cut anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, Schema};
use datafusion_expr::Operator as BinaryOperator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{TemporalInput, TemporalJoinFactory};
use crate::change::{ChangeBatch, RowKind, Watermark};
use crate::operator::reached::Origin;
use crate::operator::{Operator, OperatorFactory, StepTime};

const DELAY: i64 = 5;

/// A row of either side, and the watermark just before it.
#[derive(Debug, Clone, Copy)]
struct Row {
    side: usize,
    kind: RowKind,
    key: Option<i64>,
    time: i64,
    id: i64,
    before: i64,
}

fn left(key: Option<i64>, time: i64, id: i64) -> Row {
    Row { side: 0, kind: RowKind::Insert, key, time, id, before: i64::MIN }
}

fn right(kind: RowKind, key: Option<i64>, time: i64, id: i64) -> Row {
    Row { side: 1, kind, key, time, id, before: i64::MIN }
}

fn batch(rows: &[Row]) -> ChangeBatch {
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("k", Arc::new(rows.iter().map(|r| r.key).collect::<Int64Array>()), true),
        ("ts", Arc::new(rows.iter().map(|r| Some(r.time)).collect::<TimestampMillisecondArray>()), true),
        ("id", Arc::new(rows.iter().map(|r| Some(r.id)).collect::<Int64Array>()), true),
    ];
    let watermarks = rows.iter().any(|r| r.time <= r.before).then(|| rows.iter().map(|r| Some(r.before)).collect());
    let kinds = rows.iter().any(|r| r.kind != RowKind::Insert).then(|| rows.iter().map(|r| r.kind).collect());
    ChangeBatch { rows: RecordBatch::try_from_iter_with_nullable(columns).unwrap(), kinds, watermarks }
}

fn plan(outer: bool, conditional: bool, newest: bool) -> TemporalJoinFactory {
    let schema = batch(&[]).schema();
    let input = TemporalInput { schema: Arc::clone(&schema), keys: vec![0], time: 1 };
    let less: Arc<dyn PhysicalExpr> =
        Arc::new(BinaryExpr::new(Arc::new(Column::new("id", 5)), BinaryOperator::Lt, Arc::new(Column::new("id", 2))));
    let id = schema.field(2).clone();
    TemporalJoinFactory {
        inputs: [input.clone(), input],
        outer,
        condition: conditional.then_some(less),
        origin: Origin::Same([0, 0]),
        newest,
        outputs: vec![2, 5],
        schema: Arc::new(Schema::new(vec![id.clone(), id.with_name("version")])),
        ttl: None,
    }
}

/// Ids of left rows and of their versions.
type Pair = (i64, Option<i64>);

fn pairs(out: &[ChangeBatch]) -> Vec<Pair> {
    let of = |b: &ChangeBatch| {
        let [l, r] = [0, 1].map(|c| b.rows.column(c).as_primitive::<Int64Type>().clone());
        (0..b.num_rows()).map(|i| (l.value(i), r.is_valid(i).then(|| r.value(i)))).collect::<Vec<_>>()
    };
    out.iter().flat_map(of).collect()
}

/// What must come out, and how much may be held.
struct Model<'a> {
    plan: &'a TemporalJoinFactory,
    /// By key and time the id of the version, and whether it ends what held before.
    versions: BTreeMap<Option<i64>, BTreeMap<i64, (i64, bool)>>,
    newest: BTreeMap<Option<i64>, i64>,
    waiting: Vec<Row>,
    watermark: i64,
}

impl<'a> Model<'a> {
    fn new(plan: &'a TemporalJoinFactory) -> Self {
        let (versions, newest) = (BTreeMap::new(), BTreeMap::new());
        Self { plan, versions, newest, waiting: Vec::new(), watermark: i64::MIN }
    }

    fn row(&mut self, row: Row) -> Vec<Pair> {
        let newest = self.newest.entry(row.key).or_insert(i64::MIN);
        match (row.side, row.kind) {
            (0, _) => self.waiting.push(row),
            (_, RowKind::UpdateBefore) => {}
            (_, kind) if !self.plan.newest || row.time >= *newest => {
                *newest = row.time;
                let versions = self.versions.entry(row.key).or_default();
                versions.insert(row.time, (row.id, !kind.is_addition()));
            }
            _ => {}
        }
        self.advance(self.watermark.max(row.time - DELAY))
    }

    fn advance(&mut self, watermark: i64) -> Vec<Pair> {
        if watermark <= self.watermark {
            return Vec::new();
        }
        self.watermark = watermark;
        let (ready, waiting) = self.waiting.iter().partition(|r| r.time <= watermark);
        self.waiting = waiting;
        let answers = ready.iter().filter_map(|row: &Row| {
            let held = self.versions.get(&row.key).and_then(|v| v.range(..=row.time).next_back());
            let version = held.filter(|(_, (_, ended))| !ended).map(|(_, (id, _))| *id);
            let version = version.filter(|id| self.plan.condition.is_none() || *id < row.id);
            (self.plan.outer || version.is_some()).then_some((row.id, version))
        });
        let answers = answers.collect();
        for versions in self.versions.values_mut() {
            let last = versions.range(..=watermark).next_back().map(|(time, (_, ended))| (*time, *ended));
            if let Some((time, ended)) = last {
                versions.retain(|t, _| *t > time || (*t == time && !ended));
            }
        }
        answers
    }

    fn held(&self) -> usize {
        self.waiting.len() + self.versions.values().map(BTreeMap::len).sum::<usize>()
    }
}

fn step(operator: &mut dyn Operator, rows: &[Row], watermark: i64) -> Vec<Pair> {
    let mut out = Vec::new();
    for side in [0, 1] {
        let own: Vec<Row> = rows.iter().filter(|r| r.side == side).copied().collect();
        for rows in own.chunks(7) {
            operator.push(side, batch(rows), &mut out).unwrap();
        }
    }
    let watermark = Watermark(watermark);
    let time = StepTime { inputs: vec![watermark; 2], watermark, processing_time: 0 };
    operator.advance(&time, &mut out).unwrap();
    pairs(&out)
}

fn random_rows(newest: bool, rng: &mut Xoshiro256PlusPlus) -> Vec<Row> {
    let mut watermark = i64::MIN;
    let disorder = *[0, 4, 30].get(rng.random_range(0..3)).unwrap();
    let row = |id: i64| {
        let time = id / 2 - rng.random_range(0..=disorder);
        let key = (!rng.random_bool(0.1)).then(|| rng.random_range(0..4) + id / 100);
        let kind = match rng.random_range(0..8) {
            _ if newest => RowKind::Insert,
            0 => RowKind::Delete,
            1 => RowKind::UpdateBefore,
            2 => RowKind::UpdateAfter,
            _ => RowKind::Insert,
        };
        let row = if rng.random_bool(0.5) { left(key, time, id) } else { right(kind, key, time, id) };
        let before = watermark;
        watermark = watermark.max(time - DELAY);
        Row { before, ..row }
    };
    (0..300).map(row).collect()
}

#[test]
fn answers_as_a_model_that_takes_one_row_after_another() {
    for seed in 0..200 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let newest = rng.random_bool(0.3);
        let plan = plan(rng.random_bool(0.5), rng.random_bool(0.3), newest);
        let rows = random_rows(newest, &mut rng);
        let mut operator = plan.build().unwrap();
        let mut model = Model::new(&plan);
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (taken, after) = rest.split_at(rng.random_range(1..=rest.len().min(60)));
            rest = after;
            let mut expected: Vec<Pair> = taken.iter().flat_map(|row| model.row(*row)).collect();
            let mut ours = step(operator.as_mut(), taken, model.watermark);
            expected.sort_unstable();
            ours.sort_unstable();
            assert_eq!(ours, expected, "seed {seed}, {} rows left", rest.len());
            assert_eq!(operator.stats().state_rows, model.held() as u64, "seed {seed}, {} rows left", rest.len());
            if rng.random_bool(0.3) {
                let state = operator.snapshot().unwrap();
                operator = plan.build().unwrap();
                operator.restore(state).unwrap();
            }
        }
        let mut expected = model.advance(i64::MAX);
        let mut ours = step(operator.as_mut(), &[], i64::MAX);
        expected.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, expected, "seed {seed} in the end");
    }
}

#[test]
fn a_version_holds_from_its_own_time_until_the_next() {
    let plan = plan(true, false, false);
    let mut operator = plan.build().unwrap();
    let rows = [
        right(RowKind::Insert, Some(1), 10, 100),
        left(Some(1), 9, 1),
        left(Some(1), 10, 2),
        left(Some(1), 19, 3),
        left(Some(1), 20, 4),
        right(RowKind::UpdateBefore, Some(1), 10, 100),
        right(RowKind::UpdateAfter, Some(1), 20, 101),
        right(RowKind::Delete, Some(1), 30, 101),
        left(Some(1), 30, 5),
        left(None, 30, 6),
    ];
    assert_eq!(step(operator.as_mut(), &rows, 8), []);
    let first = [(1, None), (2, Some(100)), (3, Some(100))];
    assert_eq!(step(operator.as_mut(), &[], 19), first);
    assert_eq!(step(operator.as_mut(), &[], 30), [(4, Some(101)), (5, None), (6, None)]);
    assert_eq!(operator.stats().state_rows, 0);
}

#[test]
fn late_rows_go_out_as_late() {
    let plan = plan(true, false, false);
    let mut operator = plan.build().unwrap();
    step(operator.as_mut(), &[right(RowKind::Insert, Some(1), 10, 100)], 20);
    let late = Row { before: 20, ..left(Some(1), 15, 1) };
    assert_eq!(step(operator.as_mut(), &[late], 20), [], "answered when the watermark moves on");
    let mut out = Vec::new();
    let watermark = Watermark(21);
    operator.advance(&StepTime { inputs: vec![watermark; 2], watermark, processing_time: 0 }, &mut out).unwrap();
    assert_eq!(pairs(&out), [(1, Some(100))]);
    assert_eq!(out[0].watermarks.as_ref().unwrap().values(), &[20]);
}

#[test]
fn keys_that_are_gone_give_their_numbers_back() {
    let plan = plan(false, false, false);
    let mut operator = plan.build().unwrap();
    for round in 0..6 {
        let key = |i: i64| Some(round * 3000 + i);
        let rows = (0..3000).flat_map(|i| {
            let time = round * 10;
            let next = round * 10 + 1;
            let comes = right(RowKind::Insert, key(i), time, i);
            [comes, left(key(i), time, i), right(RowKind::Delete, key(i), next, i)]
        });
        let out = step(operator.as_mut(), &rows.collect::<Vec<_>>(), round * 10 + 9);
        assert_eq!(out.len(), 3000);
        assert!(out.iter().all(|(asked, found)| Some(*asked) == *found));
    }
    assert_eq!(operator.stats().state_rows, 0);
    assert!(operator.stats().state_bytes < 2_000_000, "{}", operator.stats().state_bytes);
}

#[test]
fn versions_that_nobody_touches_expire() {
    let plan = TemporalJoinFactory { ttl: Some(100), ..plan(true, false, true) };
    let mut operator = plan.build().unwrap();
    let mut at = |rows: &[Row], watermark: i64, processing_time: i64| {
        let mut out = Vec::new();
        for side in [0, 1] {
            let own: Vec<Row> = rows.iter().filter(|r| r.side == side).copied().collect();
            operator.push(side, batch(&own), &mut out).unwrap();
        }
        let watermark = Watermark(watermark);
        operator.advance(&StepTime { inputs: vec![watermark; 2], watermark, processing_time }, &mut out).unwrap();
        pairs(&out)
    };
    let versions = [right(RowKind::Insert, Some(1), 10, 100), right(RowKind::Insert, Some(2), 10, 200)];
    assert_eq!(at(&versions, 10, 0), []);
    assert_eq!(at(&[left(Some(1), 20, 1)], 20, 60), [(1, Some(100))]);
    assert_eq!(at(&[left(Some(1), 30, 2), left(Some(2), 30, 3)], 30, 120), [(2, Some(100)), (3, None)]);
}
