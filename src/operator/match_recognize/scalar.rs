//! Single values, as conditions compute with them.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::*;

/// A value of a row, or one that is remembered of rows before.
#[derive(Debug, Clone, Copy)]
pub enum Scalar {
    /// There is no such row.
    Absent,
    /// NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number, a time in its unit, or a decimal in units of its scale.
    Int(i64),
    /// A floating-point number.
    Float(f64),
}

impl PartialEq for Scalar {
    /// Whether they are the same in all that follows: of floating-point numbers, bit by bit.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Scalar::Absent, Scalar::Absent) | (Scalar::Null, Scalar::Null) => true,
            (Scalar::Bool(a), Scalar::Bool(b)) => a == b,
            (Scalar::Int(a), Scalar::Int(b)) => a == b,
            (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits(),
            _ => false,
        }
    }
}

impl Eq for Scalar {}

impl std::hash::Hash for Scalar {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Scalar::Absent => 0u8.hash(state),
            Scalar::Null => 1u8.hash(state),
            Scalar::Bool(b) => b.hash(state),
            Scalar::Int(n) => n.hash(state),
            Scalar::Float(f) => f.to_bits().hash(state),
        }
    }
}

impl Scalar {
    /// Whether there is no value.
    pub fn is_null(self) -> bool {
        matches!(self, Scalar::Absent | Scalar::Null)
    }

    /// Whether it is true: neither false nor NULL.
    pub fn is_true(self) -> bool {
        matches!(self, Scalar::Bool(true))
    }

    /// How two values compare; `None` where one is NULL. Floating-point numbers are in their total order, as Arrow has it.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Int(a), Scalar::Int(b)) => Some(a.cmp(&b)),
            (Scalar::Float(a), Scalar::Float(b)) => Some(a.total_cmp(&b)),
            (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(&b)),
            _ => None,
        }
    }
}

/// Whether values of a type can be held as [`Scalar`]s. Two of one such type compare as their scalars do.
pub fn is_scalar(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..) => true,
        DataType::Decimal128(precision, _) => *precision <= 18,
        _ => false,
    }
}

fn ints<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, to: impl Fn(T::Native) -> Scalar, into: &mut Vec<Scalar>) {
    if column.null_count() == 0 {
        into.extend(column.values().iter().map(|v| to(*v)));
    } else {
        into.extend(column.iter().map(|v| v.map_or(Scalar::Null, &to)));
    }
}

/// A column's values.
pub fn scalars(column: &ArrayRef, into: &mut Vec<Scalar>) {
    into.clear();
    macro_rules! wide {
        ($t:ty) => {
            ints(column.as_primitive::<$t>(), |v| Scalar::Int(i64::from(v)), into)
        };
    }
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            into.extend(values.iter().map(|v| v.map_or(Scalar::Null, Scalar::Bool)));
        }
        DataType::Int8 => wide!(Int8Type),
        DataType::Int16 => wide!(Int16Type),
        DataType::Int32 => wide!(Int32Type),
        DataType::Int64 => wide!(Int64Type),
        DataType::Date32 => wide!(Date32Type),
        DataType::Time32(TimeUnit::Second) => wide!(Time32SecondType),
        DataType::Time32(_) => wide!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Microsecond) => wide!(Time64MicrosecondType),
        DataType::Time64(_) => wide!(Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => wide!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => wide!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => wide!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => wide!(TimestampNanosecondType),
        DataType::Float32 => ints(column.as_primitive::<Float32Type>(), |v| Scalar::Float(f64::from(v)), into),
        DataType::Float64 => ints(column.as_primitive::<Float64Type>(), Scalar::Float, into),
        // Eighteen digits fit.
        DataType::Decimal128(..) => ints(column.as_primitive::<Decimal128Type>(), |v| Scalar::Int(v as i64), into),
        _ => into.resize(column.len(), Scalar::Null),
    }
}
