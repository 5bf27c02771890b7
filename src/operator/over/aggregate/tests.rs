use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::first_last::first_value_udaf;
use datafusion_functions_aggregate::{
    bit_and_or_xor::bit_or_udaf, count::count_udaf, min_max::min_udaf, sum::sum_udaf,
};
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::Column;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::change::ChangeBatch;
use crate::operator::OperatorFactory;
use crate::operator::over::testing::{Row, rebuilt, rows, shown, step, text};
use crate::operator::over::{AggregateCall, Frame, OverAggregate, OverCall, OverFunction, OverTime};

fn input() -> SchemaRef {
    rows(&[]).schema()
}

fn aggregate(function: Arc<AggregateUDF>, frame: Frame, distinct: bool) -> OverFunction {
    let function = AggregateExprBuilder::new(function, vec![Arc::new(Column::new("v", 2))])
        .schema(input())
        .alias("a")
        .with_distinct(distinct)
        .with_ignore_nulls(true)
        .build()
        .unwrap();
    let call = AggregateCall { function: Arc::new(function), arguments: vec![2], filter: None };
    OverFunction { call: OverCall::Aggregate(call), frame }
}

fn plan(time: OverTime, functions: Vec<OverFunction>, ttl: Option<i64>) -> OverAggregate {
    let results = functions.iter().map(|f| match f.call {
        OverCall::RowNumber | OverCall::Rank | OverCall::DenseRank => DataType::UInt64,
        _ => DataType::Int64,
    });
    let results = results.enumerate().map(|(i, t)| Arc::new(Field::new(format!("r{i}"), t, true)));
    let schema = Arc::new(Schema::new(input().fields().iter().cloned().chain(results).collect::<Vec<_>>()));
    OverAggregate { time, keys: vec![0], functions, width: 3, by_content: false, ttl, input: input(), schema }
}

/// What a function answers, worked out over all rows of its partition up to the last of the current row's time.
type Answer = fn(seen: &[(i64, Option<i64>)], at: usize, frame: &[Option<i64>]) -> Option<i64>;

fn sum(_: &[(i64, Option<i64>)], _: usize, frame: &[Option<i64>]) -> Option<i64> {
    frame.iter().flatten().copied().reduce(|a, b| a + b)
}

fn every_function(frame: fn(Option<u64>, Option<i64>) -> Frame) -> Vec<(OverFunction, Answer)> {
    let n = frame(Some(2), Some(4));
    let more = frame(Some(5), Some(9));
    vec![
        (aggregate(sum_udaf(), n, false), sum),
        (aggregate(sum_udaf(), more, true), |_, _, frame| {
            let mut distinct: Vec<i64> = frame.iter().flatten().copied().collect();
            distinct.sort_unstable();
            distinct.dedup();
            distinct.into_iter().reduce(|a, b| a + b)
        }),
        (aggregate(min_udaf(), n, false), |_, _, frame| frame.iter().flatten().min().copied()),
        (aggregate(count_udaf(), more, false), |_, _, frame| Some(frame.iter().flatten().count() as i64)),
        // Cannot take rows back.
        (aggregate(bit_or_udaf(), n, false), |_, _, frame| frame.iter().flatten().copied().reduce(|a, b| a | b)),
        (OverFunction { call: OverCall::First { column: 2, ignore_nulls: false }, frame: n }, |_, _, frame| frame[0]),
        (OverFunction { call: OverCall::First { column: 2, ignore_nulls: true }, frame: more }, |_, _, frame| {
            frame.iter().flatten().next().copied()
        }),
        (OverFunction { call: OverCall::Last { column: 2, ignore_nulls: false }, frame: n }, |_, _, frame| {
            *frame.last().unwrap()
        }),
        (OverFunction { call: OverCall::Last { column: 2, ignore_nulls: true }, frame: n }, |_, _, frame| {
            frame.iter().flatten().last().copied()
        }),
    ]
}

/// Functions that look back to the first row.
fn unbounded() -> Vec<(OverFunction, Answer)> {
    let of = |call| OverFunction { call, frame: Frame::Rows(None) };
    let all = [Frame::Rows(None), Frame::Range(None)];
    vec![
        (aggregate(sum_udaf(), all[0], false), sum),
        (aggregate(sum_udaf(), all[1], false), sum),
        (aggregate(count_udaf(), all[1], true), |_, _, frame| {
            Some(frame.iter().flatten().collect::<std::collections::BTreeSet<_>>().len() as i64)
        }),
        (aggregate(first_value_udaf(), all[0], false), |_, _, frame| frame.iter().flatten().next().copied()),
        (of(OverCall::Lag { column: 2, offset: 3, default: ScalarValue::Int32(Some(-7)) }), |seen, at, _| {
            at.checked_sub(3).map_or(Some(-7), |at| seen[at].1)
        }),
        (of(OverCall::RowNumber), |_, at, _| Some(at as i64 + 1)),
        (of(OverCall::Rank), |seen, at, _| Some(seen.iter().position(|s| s.0 == seen[at].0).unwrap() as i64 + 1)),
        (of(OverCall::DenseRank), |seen, at, _| {
            Some(seen[..=at].iter().map(|s| s.0).collect::<std::collections::BTreeSet<_>>().len() as i64)
        }),
    ]
}

#[derive(Default)]
struct Model {
    /// Of each partition the rows that went out.
    seen: HashMap<Option<i64>, Vec<(i64, Option<i64>)>>,
    waiting: Vec<(Option<i64>, i64, Option<i64>)>,
    fired: Option<i64>,
    late: u64,
    out: Vec<Row>,
}

impl Model {
    fn row(&mut self, row: (Option<i64>, i64, Option<i64>), watermark: i64, functions: &[(OverFunction, Answer)]) {
        self.fire(watermark, functions);
        let strict = functions.iter().any(|(f, _)| f.frame.is_unbounded());
        let last = self.seen.get(&row.0).and_then(|s| s.last()).map(|s| s.0);
        let is_late = if strict { row.1 <= watermark } else { last.is_some_and(|last| row.1 <= last) };
        if row.1 <= watermark && is_late {
            self.late += 1;
        } else {
            self.waiting.push(row);
        }
    }

    fn fire(&mut self, watermark: i64, functions: &[(OverFunction, Answer)]) {
        if self.fired.is_some_and(|f| watermark <= f) {
            return;
        }
        self.fired = Some(watermark);
        let (mut ready, left): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|r| r.1 <= watermark);
        self.waiting = left;
        ready.sort_by_key(|r| r.1);
        for (k, t, v) in &ready {
            self.seen.entry(*k).or_default().push((*t, *v));
        }
        let mut done: HashMap<Option<i64>, usize> = HashMap::new();
        for (k, t, v) in &ready {
            let seen = &self.seen[k];
            let new = ready.iter().filter(|r| r.0 == *k).count();
            let nth = done.entry(*k).or_default();
            let at = seen.len() - new + *nth;
            *nth += 1;
            let mut row = vec![text(*k), t.to_string(), text(*v)];
            row.extend(functions.iter().map(|(f, answer)| {
                let peers = seen.iter().rposition(|s| s.0 == *t).unwrap();
                let (from, to) = match f.frame {
                    Frame::Rows(n) => (n.map_or(0, |n| at.saturating_sub(n as usize)), at),
                    Frame::Range(ms) => (ms.map_or(0, |ms| seen.iter().position(|s| s.0 >= t - ms).unwrap()), peers),
                    Frame::Recent(_) => unreachable!(),
                };
                let frame: Vec<Option<i64>> = seen[from..=to].iter().map(|s| s.1).collect();
                text(answer(seen, at, &frame))
            }));
            self.out.push(row);
        }
        let reach = functions.iter().map(|(f, _)| if let Frame::Range(ms) = f.frame { ms } else { None });
        if let Some(reach) = reach.collect::<Option<Vec<_>>>().and_then(|r| r.into_iter().max()) {
            self.seen.retain(|_, seen| seen.last().unwrap().0 + reach + 1 > watermark);
        }
    }
}

fn check(seed: u64, functions: Vec<(OverFunction, Answer)>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let factory = plan(OverTime::Rowtime(1), functions.iter().map(|f| f.0.clone()).collect(), None);
    let mut operator = factory.build().unwrap();
    let (mut model, mut out) = (Model::default(), Vec::new());
    let (mut greatest, mut watermark) = (0, i64::MIN);
    let (keys, spread, delay) = (rng.random_range(1..5), rng.random_range(1..12), rng.random_range(0..8));
    let mut late_rows = 0;
    for _ in 0..rng.random_range(1..25) {
        let mut batches = Vec::new();
        for _ in 0..rng.random_range(0..3) {
            let (mut new, mut marks) = (Vec::new(), Vec::new());
            for _ in 0..rng.random_range(0..12) {
                let t = (greatest + rng.random_range(-spread..=2)).max(0);
                let key = rng.random_bool(0.9).then(|| rng.random_range(0..keys));
                new.push((key, t, rng.random_bool(0.8).then(|| rng.random_range(-5..9))));
                marks.push(watermark);
                model.row(*new.last().unwrap(), watermark, &functions);
                greatest = greatest.max(t);
                watermark = watermark.max(greatest - delay);
            }
            let late = new.iter().zip(&marks).any(|(row, w)| row.1 <= *w);
            let watermarks = (late || rng.random_bool(0.2)).then(|| Int64Array::from(marks));
            batches.push(ChangeBatch { rows: rows(&new), kinds: None, watermarks });
        }
        let marked = |b: &ChangeBatch| b.watermarks.is_some();
        batches.retain(|b| b.num_rows() > 0 || marked(b));
        out.extend(step(operator.as_mut(), batches, watermark, 0));
        model.fire(watermark, &functions);
        late_rows = late_rows.max(operator.stats().late_rows);
        if rng.random_bool(0.2) {
            assert_eq!(operator.stats().late_rows, model.late, "seed {seed}");
            model.late = 0;
            operator = rebuilt(&factory, operator.as_mut());
        }
        assert_same(&out, &model.out, seed);
    }
    out.extend(step(operator.as_mut(), vec![], i64::MAX, 0));
    model.fire(i64::MAX, &functions);
    assert_same(&out, &model.out, seed);
    assert_eq!(operator.stats().late_rows, model.late, "seed {seed}");
}

fn assert_same(out: &[ChangeBatch], expected: &[Row], seed: u64) {
    assert!(out.iter().all(|b| b.kinds.is_none()));
    let mut ours: Vec<Row> = out.iter().flat_map(|b| (0..b.num_rows()).map(|i| shown(b, i))).collect();
    let mut expected = expected.to_vec();
    ours.sort();
    expected.sort();
    assert_eq!(ours, expected, "seed {seed}");
}

#[test]
fn rows_see_the_rows_before_them() {
    for seed in 0..150 {
        check(seed, every_function(|n, _| Frame::Rows(n)));
        check(seed + 1000, every_function(|_, ms| Frame::Range(ms)));
        check(seed + 2000, unbounded());
        let mixed = unbounded().into_iter().chain(every_function(|n, _| Frame::Rows(n)));
        let range = every_function(|_, ms| Frame::Range(ms)).into_iter().take(4);
        check(seed + 3000, mixed.chain(range).collect());
    }
}

fn all_rows(out: &[ChangeBatch]) -> Vec<Row> {
    out.iter().flat_map(|b| (0..b.num_rows()).map(|i| shown(b, i))).collect()
}

#[test]
fn arrival_is_answered_at_once() {
    let functions = vec![
        aggregate(sum_udaf(), Frame::Rows(None), false),
        aggregate(sum_udaf(), Frame::Recent(10), false),
        OverFunction { call: OverCall::RowNumber, frame: Frame::Rows(None) },
    ];
    let factory = plan(OverTime::Arrival, functions, Some(100));
    let mut operator = factory.build().unwrap();
    let push = |operator: &mut dyn crate::operator::Operator, v: &[i64], now: i64| {
        let new: Vec<_> = v.iter().map(|v| (Some(1), 0, Some(*v))).collect();
        let out = step(operator, vec![ChangeBatch::append(rows(&new))], i64::MIN, now);
        all_rows(&out).into_iter().map(|r| r[3..].join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(push(operator.as_mut(), &[1, 2], 0), ["1 1 1", "3 3 2"]);
    assert_eq!(push(operator.as_mut(), &[4], 10), ["7 7 3"]);
    let mut operator = rebuilt(&factory, operator.as_mut());
    assert_eq!(push(operator.as_mut(), &[8], 11), ["15 12 4"]);
    assert_eq!(push(operator.as_mut(), &[1], 111), ["1 1 1"]);
}

#[test]
fn what_no_row_touches_is_forgotten() {
    let factory = plan(OverTime::Rowtime(1), vec![aggregate(sum_udaf(), Frame::Rows(None), false)], Some(100));
    let mut operator = factory.build().unwrap();
    let row = |k, t, v| ChangeBatch::append(rows(&[(Some(k), t, Some(v))]));
    let out = step(operator.as_mut(), vec![row(1, 10, 1), row(2, 10, 2)], 20, 0);
    assert_eq!(all_rows(&out).len(), 2);
    step(operator.as_mut(), vec![row(1, 30, 4)], 20, 99);
    let out = step(operator.as_mut(), vec![row(2, 31, 8)], 40, 100);
    assert_eq!(all_rows(&out), [["1", "30", "4", "5"], ["2", "31", "8", "8"]]);
}

#[test]
fn a_filter_leaves_rows_out() {
    let batch = rows(&[(Some(1), 1, Some(1)), (Some(1), 2, Some(2)), (Some(1), 3, Some(4))]);
    let wanted = BooleanArray::from(vec![Some(true), None, Some(true)]);
    let narrow = batch.schema();
    let fields = narrow.fields().iter().cloned().chain([Arc::new(Field::new("f", DataType::Boolean, true))]);
    let wide: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = batch.columns().iter().cloned().chain([Arc::new(wanted) as _]).collect();
    let batch = arrow::array::RecordBatch::try_new(Arc::clone(&wide), columns).unwrap();
    for (frame, last) in [(Frame::Rows(None), "5"), (Frame::Rows(Some(1)), "4"), (Frame::Range(Some(5)), "5")] {
        let mut function = aggregate(sum_udaf(), frame, false);
        if let OverCall::Aggregate(call) = &mut function.call {
            call.filter = Some(3);
        }
        let factory = OverAggregate { input: Arc::clone(&wide), ..plan(OverTime::Rowtime(1), vec![function], None) };
        let mut operator = factory.build().unwrap();
        let out = step(operator.as_mut(), vec![ChangeBatch::append(batch.clone())], 10, 0);
        let sums: Vec<String> = all_rows(&out).into_iter().map(|r| r[3].clone()).collect();
        assert_eq!(sums, ["1", "1", last], "{frame}");
    }
}

/// One partition with very many rows, in small steps: what a row costs does not grow with them.
#[test]
fn a_hot_partition_is_not_quadratic() {
    let far = |_: Option<u64>, _: Option<i64>| Frame::Rows(Some(50_000));
    let functions = every_function(far).into_iter().chain(unbounded()).map(|f| f.0);
    // What cannot take rows back costs as much as the frame has rows.
    let functions =
        functions.filter(|f| !matches!(&f.call, OverCall::Aggregate(a) if a.function.fun().name() == "bit_or"));
    let factory = plan(OverTime::Rowtime(1), functions.collect(), None);
    let mut operator = factory.build().unwrap();
    let mut count = 0;
    for at in 0..1000i64 {
        let new: Vec<_> = (0..100).map(|i| (Some(1), at * 100 + i, Some(i))).collect();
        let out = step(operator.as_mut(), vec![ChangeBatch::append(rows(&new))], at * 100 + 99, 0);
        count += out.iter().map(ChangeBatch::num_rows).sum::<usize>();
    }
    assert_eq!(count, 100_000);
    assert!(operator.stats().state_rows <= 50_002, "{:?}", operator.stats());
}
