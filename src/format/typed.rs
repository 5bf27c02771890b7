//! Columns built from typed values, as binary formats hold them; nested ones too.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, NullArray, PrimitiveBuilder, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

use super::leaf::fitted;
use crate::{Error, Result};

mod nested;

pub(super) use nested::{Column, FieldColumn, ListColumn, MapColumn, RowColumn};

/// A value without parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A whole number, and how many of its digits stand behind the point.
    Decimal(i128, u8),
    /// Days since the epoch.
    Date(i32),
    /// Units of the day, and how many decimal digits of a second a unit is.
    Time(i64, u8),
    /// Units since the epoch, and how many decimal digits of a second a unit is.
    Timestamp(i64, u8),
}

impl Value<'_> {
    /// What it is, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Value::Boolean(_) => "a truth value",
            Value::Integer(_) => "a whole number",
            Value::Float(_) | Value::Double(_) => "a floating-point number",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Decimal(..) => "a decimal number",
            Value::Date(_) => "a date",
            Value::Time(..) => "a time of day",
            Value::Timestamp(..) => "a timestamp",
        }
    }

    fn mismatch(&self, data_type: &DataType) -> String {
        match (self, data_type) {
            (Value::Integer(n), t) if t.is_integer() => format!("{n} is no {t}"),
            _ => format!("{} cannot be a {data_type}", self.kind()),
        }
    }
}

/// A column without parts, under construction.
pub(super) trait Leaf: Send {
    /// Appends a value; on an error nothing is appended.
    fn append(&mut self, value: Value) -> Result<(), String>;

    /// Appends a NULL.
    fn null(&mut self);

    /// The values so far; the column is empty then.
    fn finish(&mut self) -> Result<ArrayRef>;
}

/// An empty column of a type.
pub(super) fn leaf(data_type: &DataType) -> Result<Box<dyn Leaf>> {
    use DataType as D;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let dt = data_type;
    Ok(match data_type {
        D::Null => Box::new(Nulls(0)),
        D::Boolean => Box::new(Booleans(BooleanBuilder::new())),
        D::Utf8 => Box::new(Texts(StringBuilder::new())),
        D::Binary => Box::new(Bytes(BinaryBuilder::new())),
        D::Int8 => Primitives::<Int8Type, _>::boxed(dt, |v| integer(v)?.try_into().ok()),
        D::Int16 => Primitives::<Int16Type, _>::boxed(dt, |v| integer(v)?.try_into().ok()),
        D::Int32 => Primitives::<Int32Type, _>::boxed(dt, |v| integer(v)?.try_into().ok()),
        D::Int64 => Primitives::<Int64Type, _>::boxed(dt, integer),
        D::Float32 => Primitives::<Float32Type, _>::boxed(dt, |v| match v {
            Value::Float(f) => Some(f),
            other => integer(other).map(|n| n as f32),
        }),
        D::Float64 => Primitives::<Float64Type, _>::boxed(dt, |v| match v {
            Value::Double(f) => Some(f),
            Value::Float(f) => Some(f64::from(f)),
            other => integer(other).map(|n| n as f64),
        }),
        D::Date32 => Primitives::<Date32Type, _>::boxed(dt, |v| match v {
            Value::Date(days) => Some(days),
            _ => None,
        }),
        D::Time32(Second) => Primitives::<Time32SecondType, _>::boxed(dt, |v| time(v, 0)?.try_into().ok()),
        D::Time32(_) => Primitives::<Time32MillisecondType, _>::boxed(dt, |v| time(v, 3)?.try_into().ok()),
        D::Time64(Microsecond) => Primitives::<Time64MicrosecondType, _>::boxed(dt, |v| time(v, 6)),
        D::Time64(_) => Primitives::<Time64NanosecondType, _>::boxed(dt, |v| time(v, 9)),
        D::Timestamp(unit, _) => match unit {
            Second => Primitives::<TimestampSecondType, _>::boxed(dt, |v| timestamp(v, 0)),
            Millisecond => Primitives::<TimestampMillisecondType, _>::boxed(dt, |v| timestamp(v, 3)),
            Microsecond => Primitives::<TimestampMicrosecondType, _>::boxed(dt, |v| timestamp(v, 6)),
            Nanosecond => Primitives::<TimestampNanosecondType, _>::boxed(dt, |v| timestamp(v, 9)),
        },
        D::Decimal128(p, s) => {
            Box::new(Decimals { values: PrimitiveBuilder::new().with_data_type(dt.clone()), precision: *p, scale: *s })
        }
        D::Utf8View | D::LargeUtf8 | D::Dictionary(_, _) => via(&D::Utf8, dt)?,
        D::BinaryView | D::LargeBinary | D::FixedSizeBinary(_) => via(&D::Binary, dt)?,
        other => return Err(Error::Unsupported(format!("the type {other} in a binary format"))),
    })
}

fn via(base: &DataType, data_type: &DataType) -> Result<Box<dyn Leaf>> {
    Ok(Box::new(Cast { base: leaf(base)?, data_type: data_type.clone() }))
}

fn integer(value: Value) -> Option<i64> {
    match value {
        Value::Integer(n) => Some(n),
        _ => None,
    }
}

const NANOS_OF_DAY: i64 = 86_400_000_000_000;

fn time(value: Value, digits: u8) -> Option<i64> {
    let Value::Time(units, have) = value else { return None };
    let nanos = rescale(units, have, 9)?;
    (0..NANOS_OF_DAY).contains(&nanos).then(|| rescale(nanos, 9, digits)).flatten()
}

fn timestamp(value: Value, digits: u8) -> Option<i64> {
    let Value::Timestamp(units, have) = value else { return None };
    rescale(units, have, digits)
}

/// Units of a second in other units; what is finer is cut off towards the past.
fn rescale(units: i64, have: u8, want: u8) -> Option<i64> {
    if want >= have {
        return units.checked_mul(10i64.checked_pow(u32::from(want - have))?);
    }
    Some(units.div_euclid(10i64.checked_pow(u32::from(have - want))?))
}

struct Primitives<T: ArrowPrimitiveType, F> {
    values: PrimitiveBuilder<T>,
    data_type: DataType,
    convert: F,
}

impl<T: ArrowPrimitiveType, F: Fn(Value) -> Option<T::Native> + Send + 'static> Primitives<T, F> {
    fn boxed(data_type: &DataType, convert: F) -> Box<dyn Leaf> {
        let values = PrimitiveBuilder::<T>::new().with_data_type(data_type.clone());
        Box::new(Self { values, data_type: data_type.clone(), convert })
    }
}

impl<T: ArrowPrimitiveType, F: Fn(Value) -> Option<T::Native> + Send> Leaf for Primitives<T, F> {
    fn append(&mut self, value: Value) -> Result<(), String> {
        let Some(v) = (self.convert)(value) else { return Err(value.mismatch(&self.data_type)) };
        self.values.append_value(v);
        Ok(())
    }

    fn null(&mut self) {
        self.values.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.values.finish()))
    }
}

struct Booleans(BooleanBuilder);

impl Leaf for Booleans {
    fn append(&mut self, value: Value) -> Result<(), String> {
        let Value::Boolean(v) = value else { return Err(value.mismatch(&DataType::Boolean)) };
        self.0.append_value(v);
        Ok(())
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.0.finish()))
    }
}

/// A column's bytes are counted in 31 bits.
fn check_room(used: usize, more: usize) -> Result<(), String> {
    if used + more > i32::MAX as usize { Err("the values of a batch are too large".into()) } else { Ok(()) }
}

struct Texts(StringBuilder);

impl Leaf for Texts {
    fn append(&mut self, value: Value) -> Result<(), String> {
        let Value::Text(text) = value else { return Err(value.mismatch(&DataType::Utf8)) };
        check_room(self.0.values_slice().len(), text.len())?;
        self.0.append_value(text);
        Ok(())
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.0.finish()))
    }
}

struct Bytes(BinaryBuilder);

impl Leaf for Bytes {
    fn append(&mut self, value: Value) -> Result<(), String> {
        let Value::Bytes(bytes) = value else { return Err(value.mismatch(&DataType::Binary)) };
        check_room(self.0.values_slice().len(), bytes.len())?;
        self.0.append_value(bytes);
        Ok(())
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.0.finish()))
    }
}

struct Decimals {
    values: PrimitiveBuilder<Decimal128Type>,
    precision: u8,
    scale: i8,
}

impl Leaf for Decimals {
    /// Rounds half up; what does not fit the precision becomes NULL, as everywhere in Flink.
    fn append(&mut self, value: Value) -> Result<(), String> {
        let Value::Decimal(digits, scale) = value else {
            return Err(value.mismatch(&DataType::Decimal128(self.precision, self.scale)));
        };
        let power = i64::from(self.scale) - i64::from(scale);
        self.values.append_option(fitted(digits, power, self.precision));
        Ok(())
    }

    fn null(&mut self) {
        self.values.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.values.finish()))
    }
}

struct Nulls(usize);

impl Leaf for Nulls {
    fn append(&mut self, value: Value) -> Result<(), String> {
        Err(value.mismatch(&DataType::Null))
    }

    fn null(&mut self) {
        self.0 += 1;
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(NullArray::new(std::mem::take(&mut self.0))))
    }
}

/// A type that is built as a simpler one and cast at the end.
struct Cast {
    base: Box<dyn Leaf>,
    data_type: DataType,
}

impl Leaf for Cast {
    fn append(&mut self, value: Value) -> Result<(), String> {
        self.base.append(value)
    }

    fn null(&mut self) {
        self.base.null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(cast(&self.base.finish()?, &self.data_type)?)
    }
}
