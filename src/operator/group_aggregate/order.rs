//! Values of one type as something that compares quickly.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, new_null_array};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::row::{RowConverter, Rows, SortField};

use crate::{Error, Result};

/// Translates a type's values into ones that are ordered as they are, and back.
pub(super) trait Order: Send {
    /// What stands for a value.
    type Value: Ord + Clone + Send;
    /// What stands for a column.
    type Column;

    /// A column's values, translated; where it is NULL, anything.
    fn encode(&self, column: &ArrayRef) -> Result<Self::Column>;

    /// How the value in a row compares with another.
    fn compare(column: &Self::Column, row: usize, other: &Self::Value) -> Ordering;

    /// The value in a row.
    fn value(column: &Self::Column, row: usize) -> Self::Value;

    /// A value at or before all others.
    fn least() -> Self::Value;

    /// Values translated back.
    fn decode(&self, values: &[Option<&Self::Value>]) -> Result<ArrayRef>;

    /// How much memory a value takes beside itself.
    fn heap(_value: &Self::Value) -> usize {
        0
    }
}

/// Types that fit into 64 bits.
pub(super) struct Small(DataType);

impl Small {
    pub fn of(data_type: &DataType) -> Option<Self> {
        use DataType::*;
        let small = data_type.is_integer()
            || matches!(data_type, Boolean | Float32 | Float64 | Date32 | Date64 | Time32(_) | Time64(_))
            || matches!(data_type, Timestamp(..) | Duration(_) | Interval(IntervalUnit::YearMonth))
            || matches!(data_type, Decimal32(..) | Decimal64(..));
        small.then(|| Self(data_type.clone()))
    }
}

/// Turns the bits of a double into a number that is ordered as IEEE's total order is, and back: NaN is the greatest.
fn total_order(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// Calls a macro with the Arrow type of a data type that is kept as it is.
macro_rules! numbers {
    ($data_type:expr, $call:ident) => {
        match $data_type {
            DataType::Int8 => $call!(Int8Type),
            DataType::Int16 => $call!(Int16Type),
            DataType::Int32 => $call!(Int32Type),
            DataType::Int64 => $call!(Int64Type),
            DataType::UInt8 => $call!(UInt8Type),
            DataType::UInt16 => $call!(UInt16Type),
            DataType::UInt32 => $call!(UInt32Type),
            DataType::Date32 => $call!(Date32Type),
            DataType::Date64 => $call!(Date64Type),
            DataType::Time32(TimeUnit::Second) => $call!(Time32SecondType),
            DataType::Time32(_) => $call!(Time32MillisecondType),
            DataType::Time64(TimeUnit::Microsecond) => $call!(Time64MicrosecondType),
            DataType::Time64(_) => $call!(Time64NanosecondType),
            DataType::Timestamp(TimeUnit::Second, _) => $call!(TimestampSecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => $call!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $call!(TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $call!(TimestampNanosecondType),
            DataType::Duration(TimeUnit::Second) => $call!(DurationSecondType),
            DataType::Duration(TimeUnit::Millisecond) => $call!(DurationMillisecondType),
            DataType::Duration(TimeUnit::Microsecond) => $call!(DurationMicrosecondType),
            DataType::Duration(TimeUnit::Nanosecond) => $call!(DurationNanosecondType),
            DataType::Interval(_) => $call!(IntervalYearMonthType),
            DataType::Decimal32(..) => $call!(Decimal32Type),
            DataType::Decimal64(..) => $call!(Decimal64Type),
            other => Err(Error::internal(format!("{other} is not ordered as a number"))),
        }
    };
}

fn typed<T: ArrowPrimitiveType>(values: impl Iterator<Item = Option<T::Native>>, data_type: &DataType) -> ArrayRef {
    Arc::new(values.collect::<PrimitiveArray<T>>().with_data_type(data_type.clone()))
}

impl Order for Small {
    type Value = i64;
    type Column = Vec<i64>;

    fn encode(&self, column: &ArrayRef) -> Result<Vec<i64>> {
        let column = column.as_ref();
        macro_rules! widened {
            ($t:ty) => {{
                let column = column.as_primitive_opt::<$t>().ok_or_else(wrong_type)?;
                Ok(column.values().iter().map(|v| *v as i64).collect())
            }};
        }
        match &self.0 {
            DataType::Boolean => {
                let column = column.as_boolean_opt().ok_or_else(wrong_type)?;
                Ok(column.values().iter().map(i64::from).collect())
            }
            DataType::Float32 => {
                let column = column.as_primitive_opt::<Float32Type>().ok_or_else(wrong_type)?;
                Ok(column.values().iter().map(|v| total_order(f64::from(*v).to_bits() as i64)).collect())
            }
            DataType::Float64 => {
                let column = column.as_primitive_opt::<Float64Type>().ok_or_else(wrong_type)?;
                Ok(column.values().iter().map(|v| total_order(v.to_bits() as i64)).collect())
            }
            DataType::UInt64 => {
                let column = column.as_primitive_opt::<UInt64Type>().ok_or_else(wrong_type)?;
                Ok(column.values().iter().map(|v| (*v as i64) ^ i64::MIN).collect())
            }
            other => numbers!(other, widened),
        }
    }

    fn compare(column: &Vec<i64>, row: usize, other: &i64) -> Ordering {
        column[row].cmp(other)
    }

    fn value(column: &Vec<i64>, row: usize) -> i64 {
        column[row]
    }

    fn least() -> i64 {
        i64::MIN
    }

    fn decode(&self, values: &[Option<&i64>]) -> Result<ArrayRef> {
        let values = values.iter().copied();
        let data_type = &self.0;
        let float = |v: &i64| f64::from_bits(total_order(*v) as u64);
        macro_rules! narrowed {
            ($t:ty) => {
                Ok(typed::<$t>(values.map(|v| v.map(|v| *v as <$t as ArrowPrimitiveType>::Native)), data_type))
            };
        }
        match data_type {
            DataType::Boolean => Ok(Arc::new(values.map(|v| v.map(|v| *v != 0)).collect::<BooleanArray>())),
            DataType::Float32 => Ok(typed::<Float32Type>(values.map(|v| v.map(|v| float(v) as f32)), data_type)),
            DataType::Float64 => Ok(typed::<Float64Type>(values.map(|v| v.map(float)), data_type)),
            DataType::UInt64 => Ok(typed::<UInt64Type>(values.map(|v| v.map(|v| (*v ^ i64::MIN) as u64)), data_type)),
            other => numbers!(other, narrowed),
        }
    }
}

fn wrong_type() -> Error {
    Error::internal("MIN or MAX of another type than was planned")
}

/// Decimals.
pub(super) struct Wide(pub DataType);

impl Order for Wide {
    type Value = i128;
    type Column = ArrayRef;

    fn encode(&self, column: &ArrayRef) -> Result<ArrayRef> {
        column.as_primitive_opt::<Decimal128Type>().ok_or_else(wrong_type)?;
        Ok(Arc::clone(column))
    }

    fn compare(column: &ArrayRef, row: usize, other: &i128) -> Ordering {
        Self::value(column, row).cmp(other)
    }

    fn value(column: &ArrayRef, row: usize) -> i128 {
        column.as_primitive::<Decimal128Type>().value(row)
    }

    fn least() -> i128 {
        i128::MIN
    }

    fn decode(&self, values: &[Option<&i128>]) -> Result<ArrayRef> {
        Ok(typed::<Decimal128Type>(values.iter().map(|v| v.copied()), &self.0))
    }
}

/// Texts and all else, as bytes that are ordered as the values are.
pub(super) struct Bytes {
    converter: RowConverter,
    null: Box<[u8]>,
}

impl Bytes {
    pub fn try_new(data_type: &DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let null = converter.convert_columns(&[new_null_array(data_type, 1)])?;
        Ok(Self { null: null.row(0).data().into(), converter })
    }
}

impl Order for Bytes {
    type Value = Box<[u8]>;
    type Column = Rows;

    fn encode(&self, column: &ArrayRef) -> Result<Rows> {
        Ok(self.converter.convert_columns(&[Arc::clone(column)])?)
    }

    fn compare(column: &Rows, row: usize, other: &Box<[u8]>) -> Ordering {
        column.row(row).data().cmp(other)
    }

    fn value(column: &Rows, row: usize) -> Box<[u8]> {
        column.row(row).data().into()
    }

    fn least() -> Box<[u8]> {
        Box::default()
    }

    fn decode(&self, values: &[Option<&Box<[u8]>>]) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let rows = values.iter().map(|v| parser.parse(v.map_or(&self.null, |v| v)));
        let columns = self.converter.convert_rows(rows)?;
        columns.into_iter().next().ok_or_else(wrong_type)
    }

    fn heap(value: &Box<[u8]>) -> usize {
        value.len()
    }
}
