//! SUM and AVG: a sum and a count for each group, from which the functions themselves make their results.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, PrimitiveArray};
use arrow::compute::nullif;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use datafusion_expr::EmitTo;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use super::accumulate::{Accumulator, Kept, Part, Rows, Saved};
use super::floats::Floats;
use crate::state::Remap;
use crate::{Error, Result};

/// How sums of some type are kept.
pub(super) trait Sum: Default + Send {
    /// What is kept of a group.
    type Value: Copy + Default + Send;

    /// Adds (sign 1) or takes away (-1) a column's values.
    fn update(&mut self, sums: &mut [Self::Value], rows: &Rows, kept: &Kept, counts: &mut [i64]) -> Result<()>;

    /// Sums as a column of the type that they are summed in.
    fn column(&self, sums: &[Self::Value], groups: &[u32], data_type: &DataType) -> Result<ArrayRef>;

    /// Forgets what it holds of a group beside its value.
    fn clear(&mut self, _group: u32) {}

    /// Follows groups to their new numbers.
    fn remap(&mut self, _remap: &Remap) {}

    /// How much memory that takes.
    fn bytes(&self) -> usize {
        0
    }

    /// The state's types.
    fn types() -> Vec<DataType>;

    /// The state as columns.
    fn save(&self, sums: &[Self::Value], groups: &[u32]) -> Vec<ArrayRef>;

    /// From columns.
    fn load(&mut self, sums: &mut [Self::Value], groups: &[u32], columns: &[ArrayRef]) -> Result<()>;
}

/// Sums and counts of one argument for any number of SUMs and AVGs.
pub(super) struct Totals<S: Sum> {
    kept: Kept,
    functions: Vec<Arc<AggregateFunctionExpr>>,
    /// The type that values are summed in.
    data_type: DataType,
    kind: S,
    sums: Vec<S::Value>,
    counts: Vec<i64>,
}

/// The type that a function sums in, when it is SUM or AVG as this operator knows them: its partial state is a sum and a
/// count.
pub(super) fn sum_type(function: &AggregateFunctionExpr) -> Option<DataType> {
    if !matches!(function.fun().name(), "sum" | "avg") || !function.groups_accumulator_supported() {
        return None;
    }
    let state = function.state_fields().ok()?;
    let [sum, count] = state.as_slice() else { return None };
    let summed = sum.data_type();
    let numeric =
        summed.is_integer() || matches!(summed, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..));
    (numeric && count.data_type() == &DataType::Int64).then(|| summed.clone())
}

/// Sums in a type for some functions.
pub(super) fn totals(
    kept: Kept,
    data_type: DataType,
    functions: Vec<Arc<AggregateFunctionExpr>>,
) -> Box<dyn Accumulator> {
    match data_type {
        DataType::Decimal128(..) => Box::new(Totals::<Decimals>::new(kept, data_type, functions)),
        DataType::Float32 | DataType::Float64 => Box::new(Totals::<Floats>::new(kept, data_type, functions)),
        _ => Box::new(Totals::<Integers>::new(kept, data_type, functions)),
    }
}

impl<S: Sum> Totals<S> {
    fn new(kept: Kept, data_type: DataType, functions: Vec<Arc<AggregateFunctionExpr>>) -> Self {
        Self { kept, functions, data_type, kind: S::default(), sums: Vec::new(), counts: Vec::new() }
    }

    fn counts(&self, groups: &[u32]) -> Int64Array {
        Int64Array::from_iter_values(groups.iter().map(|g| self.counts[*g as usize]))
    }
}

impl<S: Sum> Accumulator for Totals<S> {
    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, S::Value::default());
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, rows: &Rows) -> Result<()> {
        self.kind.update(&mut self.sums, rows, &self.kept, &mut self.counts)
    }

    fn evaluate(&mut self, groups: &[u32], out: &mut Vec<ArrayRef>) -> Result<()> {
        let counts = self.counts(groups);
        let sums = self.kind.column(&self.sums, groups, &self.data_type)?;
        // A sum of no values is NULL.
        let sums = nullif(&sums, &BooleanArray::from_unary(&counts, |n| n == 0))?;
        let states: [ArrayRef; 2] = [sums, Arc::new(counts)];
        let places: Vec<usize> = (0..groups.len()).collect();
        for function in &self.functions {
            let mut finish = function.create_groups_accumulator()?;
            finish.merge_batch(&states, &places, groups.len())?;
            out.push(finish.evaluate(EmitTo::All)?);
        }
        Ok(())
    }

    fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            self.sums[*group as usize] = S::Value::default();
            self.counts[*group as usize] = 0;
            self.kind.clear(*group);
        }
    }

    fn remap(&mut self, remap: &Remap) -> Result<()> {
        remap.apply(&mut self.sums);
        remap.apply(&mut self.counts);
        self.kind.remap(remap);
        Ok(())
    }

    fn parts(&self) -> Vec<Part> {
        let mut types = S::types();
        types.push(DataType::Int64);
        vec![Part::one(types)]
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<Saved>> {
        let mut columns = self.kind.save(&self.sums, groups);
        columns.push(Arc::new(self.counts(groups)));
        Ok(vec![Saved { groups: None, columns }])
    }

    fn load(&mut self, _part: usize, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let Some((counts, sums)) = columns.split_last() else { return Err(wrong_state()) };
        self.kind.load(&mut self.sums, groups, sums)?;
        let counts = counts.as_primitive_opt::<Int64Type>().ok_or_else(wrong_state)?;
        groups.iter().zip(counts.values()).for_each(|(g, n)| self.counts[*g as usize] = *n);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<S::Value>() + self.counts.capacity() * size_of::<i64>() + self.kind.bytes()
    }
}

pub(super) fn wrong_state() -> Error {
    Error::internal("a state of SUM in other columns")
}

/// The column that is summed.
pub(super) fn argument<'a>(rows: &'a Rows, kept: &Kept) -> Result<&'a ArrayRef> {
    kept.valid.first().map_or_else(|| Err(Error::internal("a SUM of nothing")), |input| rows.input(*input))
}

/// Wraps like Flink's integers: sums of narrower types are cut off when they are read.
#[derive(Default)]
pub(super) struct Integers;

/// Calls a macro with the integer type of an array.
macro_rules! integers {
    ($data_type:expr, $call:ident) => {
        match $data_type {
            DataType::Int8 => $call!(Int8Type),
            DataType::Int16 => $call!(Int16Type),
            DataType::Int32 => $call!(Int32Type),
            DataType::Int64 => $call!(Int64Type),
            DataType::UInt8 => $call!(UInt8Type),
            DataType::UInt16 => $call!(UInt16Type),
            DataType::UInt32 => $call!(UInt32Type),
            DataType::UInt64 => $call!(UInt64Type),
            other => Err(Error::internal(format!("a sum of {other}"))),
        }
    };
}

impl Sum for Integers {
    type Value = i64;

    fn update(&mut self, sums: &mut [i64], rows: &Rows, kept: &Kept, counts: &mut [i64]) -> Result<()> {
        let column = argument(rows, kept)?;
        let mask = kept.mask(rows)?;
        macro_rules! add {
            ($t:ty) => {{
                let values = column.as_primitive::<$t>().values();
                rows.each(mask.as_ref(), |group, row, sign| {
                    sums[group] = sums[group].wrapping_add((values[row] as i64).wrapping_mul(sign));
                    counts[group] += sign;
                });
                Ok(())
            }};
        }
        integers!(column.data_type(), add)
    }

    fn column(&self, sums: &[i64], groups: &[u32], data_type: &DataType) -> Result<ArrayRef> {
        macro_rules! cut {
            ($t:ty) => {{
                type Native = <$t as ArrowPrimitiveType>::Native;
                let values = groups.iter().map(|g| sums[*g as usize] as Native);
                Ok(Arc::new(PrimitiveArray::<$t>::from_iter_values(values)) as ArrayRef)
            }};
        }
        integers!(data_type, cut)
    }

    fn types() -> Vec<DataType> {
        vec![DataType::Int64]
    }

    fn save(&self, sums: &[i64], groups: &[u32]) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from_iter_values(groups.iter().map(|g| sums[*g as usize])))]
    }

    fn load(&mut self, sums: &mut [i64], groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let values = columns.first().and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(wrong_state)?;
        groups.iter().zip(values.values()).for_each(|(g, v)| sums[*g as usize] = *v);
        Ok(())
    }
}

/// Wraps at 128 bits; what does not fit into 38 digits becomes NULL when it is read.
#[derive(Default)]
pub(super) struct Decimals;

impl Sum for Decimals {
    type Value = i128;

    fn update(&mut self, sums: &mut [i128], rows: &Rows, kept: &Kept, counts: &mut [i64]) -> Result<()> {
        let column = argument(rows, kept)?.as_primitive_opt::<Decimal128Type>().ok_or_else(wrong_state)?;
        let values = column.values();
        rows.each(kept.mask(rows)?.as_ref(), |group, row, sign| {
            sums[group] = sums[group].wrapping_add(values[row].wrapping_mul(i128::from(sign)));
            counts[group] += sign;
        });
        Ok(())
    }

    fn column(&self, sums: &[i128], groups: &[u32], data_type: &DataType) -> Result<ArrayRef> {
        let values = groups.iter().map(|g| sums[*g as usize]);
        Ok(Arc::new(PrimitiveArray::<Decimal128Type>::from_iter_values(values).with_data_type(data_type.clone())))
    }

    fn types() -> Vec<DataType> {
        vec![DataType::Decimal128(38, 0)]
    }

    fn save(&self, sums: &[i128], groups: &[u32]) -> Vec<ArrayRef> {
        let values = groups.iter().map(|g| sums[*g as usize]);
        let column = PrimitiveArray::<Decimal128Type>::from_iter_values(values);
        vec![Arc::new(column.with_data_type(DataType::Decimal128(38, 0)))]
    }

    fn load(&mut self, sums: &mut [i128], groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let values = columns.first().and_then(|c| c.as_primitive_opt::<Decimal128Type>()).ok_or_else(wrong_state)?;
        groups.iter().zip(values.values()).for_each(|(g, v)| sums[*g as usize] = *v);
        Ok(())
    }
}
