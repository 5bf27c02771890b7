//! SUM and AVG: both hold a sum and a count. A SUM wraps in the type of its argument, an AVG sums in a wider one.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowNumericType, AsArray, BooleanArray, Decimal128Array, Int64Array,
    PrimitiveArray,
};
use arrow::compute::kernels::numeric::div;
use arrow::compute::{cast, nullif};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};

use super::distinct::Distinct;

/// SUM and AVG.
pub(super) fn functions() -> [AggregateUDF; 2] {
    [Kind::Sum, Kind::Avg].map(|kind| {
        let aliases = match kind {
            Kind::Sum => vec![],
            Kind::Avg => vec!["mean".to_string()],
        };
        AggregateUDF::new_from_impl(Total { kind, aliases, signature: Signature::user_defined(Volatility::Immutable) })
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Avg,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Total {
    kind: Kind,
    aliases: Vec<String>,
    signature: Signature,
}

/// The type that values of a type are summed in.
fn sum_type(kind: Kind, of: &DataType) -> DataType {
    match (kind, of) {
        (_, DataType::Decimal128(_, s)) => DataType::Decimal128(38, *s),
        (Kind::Avg, DataType::Int8 | DataType::Int16 | DataType::Int32) => DataType::Int64,
        (Kind::Avg, DataType::Float32) => DataType::Float64,
        (_, other) => other.clone(),
    }
}

macro_rules! by_type {
    ($data_type:expr, $make:ident, $($arg:expr),*) => {
        match $data_type {
            DataType::Int8 => $make!(Int8Type, $($arg),*),
            DataType::Int16 => $make!(Int16Type, $($arg),*),
            DataType::Int32 => $make!(Int32Type, $($arg),*),
            DataType::Int64 => $make!(Int64Type, $($arg),*),
            DataType::UInt8 => $make!(UInt8Type, $($arg),*),
            DataType::UInt16 => $make!(UInt16Type, $($arg),*),
            DataType::UInt32 => $make!(UInt32Type, $($arg),*),
            DataType::UInt64 => $make!(UInt64Type, $($arg),*),
            DataType::Float32 => $make!(Float32Type, $($arg),*),
            DataType::Float64 => $make!(Float64Type, $($arg),*),
            DataType::Decimal128(..) => $make!(Decimal128Type, $($arg),*),
            other => exec_err!("SUM and AVG take numbers, not {other}"),
        }
    };
}

macro_rules! one_group {
    ($t:ty, $shape:expr) => {
        Ok(Box::new(Groups::<$t>::new($shape)) as Box<dyn Accumulator>)
    };
}

macro_rules! many_groups {
    ($t:ty, $shape:expr) => {
        Ok(Box::new(Groups::<$t>::new($shape)) as Box<dyn GroupsAccumulator>)
    };
}

impl AggregateUDFImpl for Total {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Avg => "avg",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Null] => Ok(vec![DataType::Int32]),
            [DataType::Float16] => Ok(vec![DataType::Float32]),
            [t] if t.is_integer() || t.is_floating() || matches!(t, DataType::Decimal128(..)) => Ok(vec![t.clone()]),
            _ => plan_err!("{} takes one number", self.name().to_uppercase()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.kind, types) {
            (Kind::Avg, [DataType::Decimal128(_, s)]) => Ok(DataType::Decimal128(38, (*s).max(6))),
            (Kind::Sum, [of]) => Ok(sum_type(Kind::Sum, of)),
            (Kind::Avg, [of]) => Ok(of.clone()),
            _ => plan_err!("{} takes one number", self.name().to_uppercase()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let [input] = args.input_fields else { return plan_err!("{} takes one number", self.name()) };
        if args.is_distinct {
            return Ok(vec![Distinct::state_field(args.name, input.data_type())]);
        }
        let field = |name, data_type| Arc::new(Field::new(format_state_name(args.name, name), data_type, true));
        Ok(vec![field("sum", sum_type(self.kind, input.data_type())), field("count", DataType::Int64)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let shape = self.shape(&args)?;
        let one = by_type!(&shape.sum, one_group, shape.clone())?;
        Ok(if args.is_distinct { Box::new(Distinct::new(shape.of, one)) } else { one })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let shape = self.shape(&args)?;
        by_type!(&shape.sum, many_groups, shape.clone())
    }
}

impl Total {
    fn shape(&self, args: &AccumulatorArgs) -> Result<Shape> {
        let [input] = args.expr_fields else { return plan_err!("{} takes one number", self.name()) };
        let of = input.data_type().clone();
        Ok(Shape { kind: self.kind, sum: sum_type(self.kind, &of), of, result: args.return_field.data_type().clone() })
    }
}

#[derive(Debug, Clone)]
struct Shape {
    kind: Kind,
    of: DataType,
    sum: DataType,
    result: DataType,
}

impl Shape {
    /// An argument's values as they are summed.
    fn summed(&self, values: &[ArrayRef]) -> Result<ArrayRef> {
        let values = argument(values, 0)?;
        match (values.data_type(), &self.sum) {
            (DataType::Decimal128(..), DataType::Decimal128(..)) => Ok(Arc::clone(values)),
            (of, sum) if of == sum => Ok(Arc::clone(values)),
            (_, sum) => Ok(cast(values, sum)?),
        }
    }
}

/// A sum and a count for each group.
#[derive(Debug)]
struct Groups<T: ArrowNumericType> {
    shape: Shape,
    sums: Vec<T::Native>,
    counts: Vec<i64>,
}

impl<T: ArrowNumericType> Groups<T> {
    fn new(shape: Shape) -> Self {
        Self { shape, sums: Vec::new(), counts: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, T::default_value());
        self.counts.resize(groups, 0);
    }

    fn add(&mut self, group: usize, value: T::Native, count: i64) {
        if let (Some(sum), Some(n)) = (self.sums.get_mut(group), self.counts.get_mut(group)) {
            *sum = sum.add_wrapping(value);
            *n += count;
        }
    }

    fn only(&mut self, values: &PrimitiveArray<T>, add: bool) {
        self.grow(1);
        let mut total = T::default_value();
        if values.null_count() == 0 {
            values.values().iter().for_each(|v| total = total.add_wrapping(*v));
        } else {
            values.iter().flatten().for_each(|v| total = total.add_wrapping(v));
        }
        let count = i64::try_from(values.len() - values.null_count()).unwrap_or(i64::MAX);
        if let (Some(sum), Some(n)) = (self.sums.first_mut(), self.counts.first_mut()) {
            *sum = if add { sum.add_wrapping(total) } else { sum.sub_wrapping(total) };
            *n += if add { count } else { -count };
        }
    }

    /// Sums and counts as columns; a sum of no values is NULL.
    fn columns(&self, sums: Vec<T::Native>, counts: Vec<i64>) -> Result<(ArrayRef, Int64Array)> {
        let counts = Int64Array::from(counts);
        let sums = PrimitiveArray::<T>::new(sums.into(), None).with_data_type(self.shape.sum.clone());
        let none = BooleanArray::from_unary(&counts, |n| n == 0);
        Ok((nullif(&sums, &none)?, counts))
    }

    fn finish(&self, sums: Vec<T::Native>, counts: Vec<i64>) -> Result<ArrayRef> {
        let (sums, counts) = self.columns(sums, counts)?;
        if let DataType::Decimal128(_, scale) = self.shape.sum {
            return Ok(Arc::new(self.decimals(sums.as_primitive(), scale, &counts)));
        }
        if self.shape.kind == Kind::Sum {
            return Ok(sums);
        }
        let wide = if self.shape.of.is_floating() { DataType::Float64 } else { DataType::Int64 };
        let counts = nullif(&counts, &BooleanArray::from_unary(&counts, |n| n == 0))?;
        Ok(cast(&div(&cast(&sums, &wide)?, &cast(&counts, &wide)?)?, &self.shape.result)?)
    }

    /// What does not fit into 38 digits is NULL.
    fn decimals(&self, sums: &Decimal128Array, scale: i8, counts: &Int64Array) -> Decimal128Array {
        let places = match self.shape.result {
            DataType::Decimal128(_, s) => u32::try_from(s - scale).unwrap_or(0),
            _ => 0,
        };
        let unit = 10i128.pow(places);
        let of = |(sum, count): (Option<i128>, Option<i64>)| {
            let value = match self.shape.kind {
                Kind::Sum => sum?,
                Kind::Avg => half_up(sum?.checked_mul(unit)?, i128::from(count?)),
            };
            (value.unsigned_abs() < 10u128.pow(38)).then_some(value)
        };
        let values: Decimal128Array = sums.iter().zip(counts).map(of).collect();
        values.with_data_type(self.shape.result.clone())
    }
}

fn half_up(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    if rest.unsigned_abs() * 2 >= by.unsigned_abs() { quotient + value.signum() } else { quotient }
}

fn argument(values: &[ArrayRef], index: usize) -> Result<&ArrayRef> {
    match values.get(index) {
        Some(array) => Ok(array),
        None => exec_err!("an aggregate without its argument {index}"),
    }
}

impl<T: ArrowNumericType> GroupsAccumulator for Groups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.grow(groups);
        let values = self.shape.summed(values)?;
        let values = values.as_primitive::<T>();
        if filter.is_none() && values.null_count() == 0 {
            group_indices.iter().zip(values.values()).for_each(|(group, v)| self.add(*group, *v, 1));
            return Ok(());
        }
        for (row, (group, value)) in group_indices.iter().zip(values).enumerate() {
            let kept = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if let (Some(value), true) = (value, kept) {
                self.add(*group, value, 1);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts));
        self.finish(sums, counts)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts));
        let (sums, counts) = self.columns(sums, counts)?;
        Ok(vec![sums, Arc::new(counts)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> Result<()> {
        self.grow(groups);
        let (sums, counts) = (argument(states, 0)?.as_primitive::<T>(), argument(states, 1)?);
        for ((group, sum), count) in group_indices.iter().zip(sums).zip(counts.as_primitive::<Int64Type>()) {
            if let (Some(sum), Some(count)) = (sum, count) {
                self.add(*group, sum, count);
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut alone = Self::new(self.shape.clone());
        let rows: Vec<usize> = (0..argument(values, 0)?.len()).collect();
        GroupsAccumulator::update_batch(&mut alone, values, &rows, filter, rows.len())?;
        GroupsAccumulator::state(&mut alone, EmitTo::All)
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.counts.capacity() * size_of::<i64>()
    }
}

impl<T: ArrowNumericType + Debug> Accumulator for Groups<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.shape.summed(values)?;
        self.only(values.as_primitive::<T>(), true);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = self.shape.summed(values)?;
        self.only(values.as_primitive::<T>(), false);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.grow(1);
        ScalarValue::try_from_array(&self.finish(self.sums.clone(), self.counts.clone())?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.grow(1);
        let (sum, count) = self.columns(self.sums.clone(), self.counts.clone())?;
        Ok(vec![ScalarValue::try_from_array(&sum, 0)?, ScalarValue::try_from_array(&count, 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = argument(states, 0)?.len();
        GroupsAccumulator::merge_batch(self, states, &vec![0; rows], 1)
    }

    fn size(&self) -> usize {
        size_of_val(self) + GroupsAccumulator::size(self)
    }
}
