//! The results are Flink's, for the same values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float32Array, Int8Array, Int32Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, EmitTo, GroupsAccumulator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use crate::sql::functions::Functions;

struct Setup {
    function: Arc<AggregateUDF>,
    fields: Vec<FieldRef>,
    schema: Schema,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Setup {
    fn new(name: &str, of: &DataType) -> Self {
        let function = Functions::flink().aggregate(name).unwrap();
        let field = Arc::new(Field::new("x", of.clone(), true));
        let schema = Schema::new(vec![Arc::clone(&field)]);
        Self { function, fields: vec![field], schema, exprs: vec![Arc::new(Column::new("x", 0))] }
    }

    fn args(&self, is_distinct: bool) -> AccumulatorArgs<'_> {
        let result = self.function.return_type(&[self.fields[0].data_type().clone()]).unwrap();
        AccumulatorArgs {
            return_field: Arc::new(Field::new("result", result, true)),
            schema: &self.schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: "x",
            is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.fields,
        }
    }

    fn one(&self, distinct: bool) -> Box<dyn Accumulator> {
        self.function.accumulator(self.args(distinct)).unwrap()
    }

    fn groups(&self) -> Box<dyn GroupsAccumulator> {
        self.function.create_groups_accumulator(self.args(false)).unwrap()
    }
}

/// The result over all rows, in one go and by merging the states of both halves.
fn result(name: &str, values: &ArrayRef, distinct: bool) -> ScalarValue {
    let setup = Setup::new(name, values.data_type());
    let mut whole = setup.one(distinct);
    whole.update_batch(std::slice::from_ref(values)).unwrap();
    let answer = whole.evaluate().unwrap();
    let mut merged = setup.one(distinct);
    for half in [values.slice(0, 1), values.slice(1, values.len() - 1)] {
        let mut part = setup.one(distinct);
        part.update_batch(&[half]).unwrap();
        let state = part.state().unwrap().iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>().unwrap();
        merged.merge_batch(&state).unwrap();
    }
    assert_eq!(answer, merged.evaluate().unwrap(), "{name}, merged");
    answer
}

fn ints() -> ArrayRef {
    Arc::new(Int32Array::from(vec![1, 2, 2]))
}

fn decimals() -> ArrayRef {
    Arc::new(Decimal128Array::from(vec![110, 225, 225]).with_precision_and_scale(10, 2).unwrap())
}

#[test]
fn totals_have_flinks_types_and_values() {
    assert_eq!(result("sum", &ints(), false), ScalarValue::Int32(Some(5)));
    assert_eq!(result("avg", &ints(), false), ScalarValue::Int32(Some(1)));
    assert_eq!(result("sum", &decimals(), false), ScalarValue::Decimal128(Some(560), 38, 2));
    assert_eq!(result("avg", &decimals(), false), ScalarValue::Decimal128(Some(1_866_667), 38, 6));
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![1.5, 2.5, 2.5]));
    assert_eq!(result("avg", &floats, false), ScalarValue::Float32(Some(2.166_666_7)));
    let tiny: ArrayRef = Arc::new(Int8Array::from(vec![100, 100, 100]));
    assert_eq!(result("sum", &tiny, false), ScalarValue::Int8(Some(44)));
    assert_eq!(result("avg", &tiny, false), ScalarValue::Int8(Some(100)));
}

#[test]
fn distinct_counts_a_value_once() {
    assert_eq!(result("sum", &ints(), true), ScalarValue::Int32(Some(3)));
    assert_eq!(result("avg", &decimals(), true), ScalarValue::Decimal128(Some(1_675_000), 38, 6));
}

#[test]
fn nothing_but_null_is_null() {
    let nulls: ArrayRef = Arc::new(Int32Array::from(vec![None, None]));
    assert_eq!(result("sum", &nulls, false), ScalarValue::Int32(None));
    assert_eq!(result("avg", &nulls, false), ScalarValue::Int32(None));
}

#[test]
fn a_decimal_sum_that_overflows_is_null() {
    let most = 10i128.pow(38) - 1;
    let values: ArrayRef = Arc::new(Decimal128Array::from(vec![most, most]).with_precision_and_scale(38, 0).unwrap());
    assert_eq!(result("sum", &values, false), ScalarValue::Decimal128(None, 38, 0));
}

#[test]
fn what_was_added_can_be_taken_back() {
    let setup = Setup::new("sum", &DataType::Int32);
    let mut sum = setup.one(false);
    sum.update_batch(&[ints()]).unwrap();
    sum.retract_batch(&[ints().slice(0, 2)]).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int32(Some(2)));
    sum.retract_batch(&[ints().slice(2, 1)]).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int32(None));
}

#[test]
fn groups_take_filters_and_merge() {
    let setup = Setup::new("sum", &DataType::Int32);
    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None, Some(4)]));
    let filter = BooleanArray::from(vec![Some(true), None, Some(true), Some(true)]);
    let mut part = setup.groups();
    part.update_batch(&[values], &[0, 0, 1, 2], Some(&filter), 3).unwrap();
    let state = part.state(EmitTo::All).unwrap();
    let mut whole = setup.groups();
    whole.merge_batch(&state, &[1, 0, 1], 2).unwrap();
    let sums = whole.evaluate(EmitTo::All).unwrap();
    assert_eq!(sums.as_primitive::<Int32Type>(), &Int32Array::from(vec![None, Some(5)]));
}

#[test]
fn collect_counts_each_value() {
    let ScalarValue::Map(map) = result("collect", &ints(), false) else { panic!("COLLECT gives a map") };
    assert_eq!(map.keys().as_primitive::<Int32Type>(), &Int32Array::from(vec![1, 2]));
    assert_eq!(map.values().as_primitive::<Int32Type>(), &Int32Array::from(vec![1, 2]));
    assert_eq!(map.len(), 1);
}
