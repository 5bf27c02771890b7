//! The operator against a model that keeps all rows and aggregates them anew after every step.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Literal, col};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use millstream::change::{ChangeBatch, RowKind, Watermark};
use millstream::operator::group_aggregate::{Aggregate, GroupAggregateFactory};
use millstream::operator::{Operator, OperatorFactory, StepTime};
use millstream::sql::functions::Functions;
use millstream::state::place;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

pub type Row = Vec<ScalarValue>;

/// k, v, d, s, m, f.
pub fn schema() -> SchemaRef {
    let field = |(name, t)| Field::new(name, t, true);
    let columns = [
        ("k", DataType::Int32),
        ("v", DataType::Int64),
        ("d", DataType::Float64),
        ("s", DataType::Utf8),
        ("m", DataType::Decimal128(10, 2)),
        ("f", DataType::Boolean),
        ("t", DataType::Int8),
    ];
    Arc::new(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
}

/// An aggregate from `name[ distinct] arguments [order by column][ filter]`.
pub fn aggregate(text: &str) -> Aggregate {
    let schema = schema();
    let mut words: Vec<&str> = text.split(' ').collect();
    let mut flag = |word: &str| {
        let at = words.iter().position(|w| *w == word);
        at.map(|at| words.remove(at)).is_some()
    };
    let (distinct, filter, ordered) = (flag("distinct"), flag("filter"), flag("order"));
    let order = if ordered { words.pop() } else { None };
    let expr = |word: &str| -> Arc<dyn PhysicalExpr> {
        match word {
            "*" => Arc::new(Literal::new(ScalarValue::from(1i64))),
            "," => Arc::new(Literal::new(ScalarValue::from(","))),
            column => col(column, &schema).unwrap(),
        }
    };
    let function = Functions::flink().aggregate(words[0]).unwrap();
    let builder = AggregateExprBuilder::new(function, words[1..].iter().map(|w| expr(w)).collect());
    let builder = builder.schema(Arc::clone(&schema)).alias(text).with_distinct(distinct);
    let builder = builder.order_by(order.map(|w| PhysicalSortExpr::new_default(expr(w))).into_iter().collect());
    Aggregate { function: Arc::new(builder.build().unwrap()), filter: filter.then(|| col("f", &schema).unwrap()) }
}

const AGGREGATES: &[&str] = &[
    "count *",
    "count v",
    "count v filter",
    "count * filter",
    "sum v",
    "avg v",
    "sum v filter",
    "sum t",
    "avg t",
    "sum d",
    "avg d",
    "sum m",
    "avg m",
    "min v",
    "max v",
    "max v filter",
    "min d",
    "max d",
    "min s",
    "max s",
    "min m",
    "min f",
    "count distinct v",
    "count distinct v filter",
    "sum distinct v",
    "avg distinct v filter",
    "count distinct s",
    "count distinct d",
    "min distinct v",
    "listagg s ,",
    "listagg distinct s , filter",
    "array_agg v order d",
    "array_agg distinct v",
    "array_agg t",
    "collect s",
    "first_value v",
    "last_value s",
    "first_value v order d",
    "bit_and v",
    "bool_and f",
    "median v",
    "approx_distinct v",
];

/// What one aggregate holds of one group.
#[derive(Default)]
struct Held {
    rows: Vec<Row>,
    distinct: Vec<(Row, usize)>,
}

/// All that the model knows.
struct Model {
    aggregates: Vec<Aggregate>,
    /// By key: how many rows, and what each aggregate holds.
    groups: BTreeMap<Option<i32>, (usize, Vec<Held>)>,
}

fn batch(rows: &[Row]) -> RecordBatch {
    let schema = schema();
    let column = |i: usize| ScalarValue::iter_to_array(rows.iter().map(|r: &Row| r[i].clone())).unwrap();
    RecordBatch::try_new(Arc::clone(&schema), (0..schema.fields().len()).map(column).collect()).unwrap()
}

fn inputs(function: &AggregateFunctionExpr) -> Vec<Arc<dyn PhysicalExpr>> {
    function.expressions().into_iter().chain(function.order_bys().iter().map(|s| Arc::clone(&s.expr))).collect()
}

impl Model {
    fn change(&mut self, row: &Row, add: bool) {
        let ScalarValue::Int32(key) = row[0] else { panic!("the key") };
        let empty = || (0, self.aggregates.iter().map(|_| Held::default()).collect());
        let (count, held) = self.groups.entry(key).or_insert_with(empty);
        *count = if add { *count + 1 } else { *count - 1 };
        let rows = batch(std::slice::from_ref(row));
        for (aggregate, held) in self.aggregates.iter().zip(held) {
            if aggregate.filter.is_some() && row[5] != ScalarValue::Boolean(Some(true)) {
                continue;
            }
            let value = |e: Arc<dyn PhysicalExpr>| {
                ScalarValue::try_from_array(&e.evaluate(&rows).unwrap().into_array(1).unwrap(), 0).unwrap()
            };
            let arguments: Row = inputs(&aggregate.function).into_iter().map(value).collect();
            let place = held.distinct.iter().position(|(a, _)| *a == arguments);
            match (add, place) {
                (true, None) => held.distinct.push((arguments.clone(), 1)),
                (true, Some(at)) => held.distinct[at].1 += 1,
                (false, Some(at)) if held.distinct[at].1 > 1 => held.distinct[at].1 -= 1,
                (false, at) => {
                    held.distinct.remove(at.unwrap());
                }
            }
            if add {
                held.rows.push(arguments);
            } else {
                let first = held.rows.iter().position(|r| *r == arguments).unwrap();
                held.rows.remove(first);
            }
        }
        if *count == 0 {
            self.groups.remove(&key);
        }
    }

    /// The answer, by key.
    fn answer(&self) -> HashMap<Option<i32>, Row> {
        let of = |(key, (_, held)): (&Option<i32>, &(usize, Vec<Held>))| {
            let values = self.aggregates.iter().zip(held).map(|(a, held)| evaluate(&a.function, held));
            (*key, values.collect())
        };
        self.groups.iter().map(of).collect()
    }
}

fn evaluate(function: &AggregateFunctionExpr, held: &Held) -> ScalarValue {
    let mut rows: Vec<Row> = match function.is_distinct() {
        true => held.distinct.iter().map(|(r, _)| r.clone()).collect(),
        false => held.rows.clone(),
    };
    if let Some(sort) = function.order_bys().first() {
        let first = sort.options.nulls_first;
        rows.sort_by(|a, b| {
            let (a, b) = (a.last().unwrap(), b.last().unwrap());
            match (a.is_null(), b.is_null()) {
                (false, false) => a.partial_cmp(b).unwrap(),
                (a, b) => {
                    if first {
                        b.cmp(&a)
                    } else {
                        a.cmp(&b)
                    }
                }
            }
        });
    }
    let types = inputs(function).into_iter().map(|e| e.data_type(&schema()).unwrap());
    let column = |(i, t): (usize, DataType)| match rows.is_empty() {
        true => arrow::array::new_empty_array(&t),
        false => ScalarValue::iter_to_array(rows.iter().map(|r| r[i].clone())).unwrap(),
    };
    let columns: Vec<ArrayRef> = types.enumerate().map(column).collect();
    // Distinct values are given, in their order: what hash tables of the function's own would make of it is up to chance.
    let plain = AggregateExprBuilder::new(Arc::new(function.fun().clone()), function.expressions());
    let plain = plain.schema(schema()).alias("plain").order_by(function.order_bys().to_vec()).build().unwrap();
    let mut accumulator = plain.create_accumulator().unwrap();
    accumulator.update_batch(&columns).unwrap();
    accumulator.evaluate().unwrap()
}

fn close(a: &ScalarValue, b: &ScalarValue) -> bool {
    match (a, b) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => {
            a.to_bits() == b.to_bits()
                || (a.is_nan() && b.is_nan())
                || (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
        }
        _ => a == b,
    }
}

/// Folds what comes out; checks that no prefix takes away what is not there, and that each key changes once a step.
#[derive(Default)]
struct Folded {
    rows: HashMap<Option<i32>, Row>,
}

impl Folded {
    fn step(&mut self, out: &[ChangeBatch]) {
        let mut seen: HashMap<Option<i32>, Vec<RowKind>> = HashMap::new();
        for batch in out {
            assert!(batch.watermarks.is_none());
            for i in 0..batch.num_rows() {
                let values = batch.rows.columns().iter().map(|c| ScalarValue::try_from_array(c, i).unwrap());
                let mut values: Row = values.collect();
                let ScalarValue::Int32(key) = values.remove(0) else { panic!("the key") };
                let kind = batch.kind(i);
                seen.entry(key).or_default().push(kind);
                if kind.is_addition() {
                    let before = self.rows.insert(key, values);
                    assert!(before.is_none(), "{key:?} is there already");
                } else {
                    let before = self.rows.remove(&key);
                    assert_eq!(before.as_ref(), Some(&values), "{key:?} goes as it did not come");
                }
            }
        }
        for (key, kinds) in seen {
            use RowKind::*;
            let net = matches!(kinds.as_slice(), [Insert] | [Delete] | [UpdateBefore, UpdateAfter]);
            assert!(net, "{key:?} changes by {kinds:?} in one step");
        }
    }
}

fn random_row(rng: &mut Xoshiro256PlusPlus, keys: i32, special: bool) -> Row {
    let null = |rng: &mut Xoshiro256PlusPlus| rng.random_bool(0.15);
    let specials = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e12, -1e12, 0.1];
    let d = match special && rng.random_bool(0.1) {
        true => specials[rng.random_range(0..specials.len())],
        false => f64::from(rng.random_range(-4..4)) / 4.0,
    };
    let text = ["", "a", "b", "ab", "a longer text that no view holds inline"][rng.random_range(0..5)];
    vec![
        ScalarValue::Int32((!null(rng)).then(|| rng.random_range(0..keys).min(rng.random_range(0..keys)))),
        ScalarValue::Int64((!null(rng)).then(|| rng.random_range(-3..6))),
        ScalarValue::Float64((!null(rng)).then_some(d)),
        ScalarValue::Utf8((!null(rng)).then(|| text.to_string())),
        ScalarValue::Decimal128((!null(rng)).then(|| rng.random_range(-500..500)), 10, 2),
        ScalarValue::Boolean((!null(rng)).then(|| rng.random_bool(0.6))),
        ScalarValue::Int8((!null(rng)).then(|| rng.random_range(-128..=127))),
    ]
}

pub fn factory(
    aggregates: Vec<Aggregate>,
    keys: Vec<usize>,
    changing: bool,
    ttl: Option<i64>,
) -> GroupAggregateFactory {
    let input = schema();
    let mut fields: Vec<Field> = keys.iter().map(|k| input.field(*k).clone()).collect();
    for (i, a) in aggregates.iter().enumerate() {
        fields.push(Field::new(format!("a{i}"), a.function.field().data_type().clone(), true));
    }
    let schema = Arc::new(Schema::new(fields));
    GroupAggregateFactory { keys, aggregates, input, schema, changing, ttl }
}

pub fn time(processing_time: i64) -> StepTime {
    StepTime { inputs: vec![Watermark::MIN], watermark: Watermark::MIN, processing_time }
}

/// Hands an operator's state to two new ones and theirs to a third.
fn rebuilt(factory: &GroupAggregateFactory, operator: &mut Box<dyn Operator>) -> Box<dyn Operator> {
    let mut halves = Vec::new();
    for tables in place(vec![operator.snapshot().unwrap()], 2).unwrap() {
        let mut half = factory.build().unwrap();
        half.restore(tables).unwrap();
        halves.push(half.snapshot().unwrap());
    }
    let mut whole = factory.build().unwrap();
    whole.restore(place(halves, 1).unwrap().remove(0)).unwrap();
    whole
}

/// Runs some aggregates over random changes.
fn prove(seed: u64, names: &[&str], changing: bool) {
    println!("seed {seed}, changing: {changing}, {names:?}");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let aggregates: Vec<Aggregate> = names.iter().map(|n| aggregate(n)).collect();
    let factory = factory(aggregates.clone(), vec![0], changing, None);
    let mut operator = factory.build().unwrap();
    let mut model = Model { aggregates, groups: BTreeMap::new() };
    let mut folded = Folded::default();
    let (mut live, keys) = (Vec::<Row>::new(), rng.random_range(1..12));
    let special = rng.random_bool(0.5);
    for _ in 0..rng.random_range(1..12) {
        let mut out = Vec::new();
        let shrinks = rng.random_bool(0.3);
        for _ in 0..rng.random_range(0..4) {
            let (mut rows, mut kinds) = (Vec::new(), Vec::new());
            for _ in 0..rng.random_range(0..30) {
                if changing && !live.is_empty() && rng.random_bool(if shrinks { 0.8 } else { 0.4 }) {
                    let row = live.swap_remove(rng.random_range(0..live.len()));
                    model.change(&row, false);
                    rows.push(row);
                    kinds.push(if rng.random_bool(0.5) { RowKind::Delete } else { RowKind::UpdateBefore });
                } else {
                    let row = random_row(&mut rng, keys, special);
                    model.change(&row, true);
                    live.push(row.clone());
                    rows.push(row);
                    kinds.push(if rng.random_bool(0.5) { RowKind::Insert } else { RowKind::UpdateAfter });
                }
            }
            if rows.is_empty() {
                continue;
            }
            let kinds = changing.then(|| kinds.into());
            operator.push(0, ChangeBatch { rows: batch(&rows), kinds, watermarks: None }, &mut out).unwrap();
        }
        operator.advance(&time(0), &mut out).unwrap();
        folded.step(&out);
        let answer = model.answer();
        assert_eq!(answer.len(), folded.rows.len(), "another number of groups");
        for (key, wanted) in &answer {
            let found = &folded.rows[key];
            for ((wanted, found), name) in wanted.iter().zip(found).zip(names) {
                assert!(close(wanted, found), "{name} of {key:?} is {found:?}, wanted {wanted:?}");
            }
        }
        let stats = operator.stats();
        assert!(stats.state_rows >= answer.len() as u64);
        if rng.random_bool(0.3) {
            operator = rebuilt(&factory, &mut operator);
            assert_eq!(operator.stats().state_rows, stats.state_rows);
        }
    }
}

fn known() -> Vec<&'static str> {
    AGGREGATES.to_vec()
}

#[test]
fn each_aggregate_over_rows_that_come() {
    for (i, name) in known().into_iter().enumerate() {
        (0..8).for_each(|seed| prove(1000 * i as u64 + seed, &[name], false));
    }
}

#[test]
fn each_aggregate_over_rows_that_come_and_go() {
    for (i, name) in known().into_iter().enumerate() {
        (0..12).for_each(|seed| prove(1000 * i as u64 + seed, &[name], true));
    }
}

#[test]
fn many_aggregates_at_once() {
    for seed in 0..30 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut names = known();
        names.retain(|_| rng.random_bool(0.4));
        prove(seed, &names, seed % 3 != 0);
    }
    prove(0, &[], true);
}
