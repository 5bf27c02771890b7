//! Columns of values without parts, built from the text of records.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, NullArray, PrimitiveBuilder, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::text::{Instant, TimeStyle, parse_date, parse_time, parse_timestamp};
use crate::{Error, Result};

/// What a text was in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Text.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Literal,
}

/// A column under construction.
pub(super) trait Leaf: Send {
    /// Appends a value; on an error nothing is appended.
    fn append(&mut self, text: &str, token: Token) -> Result<(), String>;

    /// Appends a NULL.
    fn null(&mut self);

    /// The values so far; the column is empty then.
    fn finish(&mut self) -> Result<ArrayRef>;
}

/// An empty column of a type.
pub(super) fn leaf(data_type: &DataType, style: TimeStyle) -> Result<Box<dyn Leaf>> {
    use DataType as D;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let dt = data_type;
    Ok(match data_type {
        D::Null => Box::new(Nulls(0)),
        D::Boolean => Box::new(Booleans(BooleanBuilder::new())),
        D::Utf8 => Box::new(Texts(StringBuilder::new())),
        D::Binary => Box::new(Bytes(BinaryBuilder::new())),
        D::Int8 => Primitives::<Int8Type, _>::boxed(dt, |t, k| integer(t, k)?.try_into().ok()),
        D::Int16 => Primitives::<Int16Type, _>::boxed(dt, |t, k| integer(t, k)?.try_into().ok()),
        D::Int32 => Primitives::<Int32Type, _>::boxed(dt, |t, k| integer(t, k)?.try_into().ok()),
        D::Int64 => Primitives::<Int64Type, _>::boxed(dt, integer),
        D::UInt64 => Primitives::<UInt64Type, _>::boxed(dt, |t, _| t.trim().parse().ok()),
        D::Float32 => Primitives::<Float32Type, _>::boxed(dt, |t, _| t.trim().parse().ok()),
        D::Float64 => Primitives::<Float64Type, _>::boxed(dt, |t, _| t.trim().parse().ok()),
        D::Date32 => Primitives::<Date32Type, _>::boxed(dt, |t, _| parse_date(t)),
        D::Time32(Second) => {
            Primitives::<Time32SecondType, _>::boxed(dt, |t, _| Some((parse_time(t)? / 1_000_000_000) as i32))
        }
        D::Time32(_) => {
            Primitives::<Time32MillisecondType, _>::boxed(dt, |t, _| Some((parse_time(t)? / 1_000_000) as i32))
        }
        D::Time64(Microsecond) => {
            Primitives::<Time64MicrosecondType, _>::boxed(dt, |t, _| Some(parse_time(t)? / 1_000))
        }
        D::Time64(_) => Primitives::<Time64NanosecondType, _>::boxed(dt, |t, _| parse_time(t)),
        D::Timestamp(unit, zone) => {
            let zoned = zone.is_some();
            let parse = move |t: &str| parse_timestamp(t, style, zoned);
            match unit {
                Second => Primitives::<TimestampSecondType, _>::boxed(dt, move |t, _| Some(parse(t)?.0)),
                Millisecond => {
                    Primitives::<TimestampMillisecondType, _>::boxed(dt, move |t, _| scale(parse(t)?, 1_000))
                }
                Microsecond => {
                    Primitives::<TimestampMicrosecondType, _>::boxed(dt, move |t, _| scale(parse(t)?, 1_000_000))
                }
                Nanosecond => {
                    Primitives::<TimestampNanosecondType, _>::boxed(dt, move |t, _| scale(parse(t)?, 1_000_000_000))
                }
            }
        }
        D::Decimal128(p, s) => {
            Box::new(Decimals { values: PrimitiveBuilder::new().with_data_type(dt.clone()), precision: *p, scale: *s })
        }
        D::Utf8View | D::LargeUtf8 | D::Dictionary(_, _) => via(&D::Utf8, dt, style)?,
        D::BinaryView | D::LargeBinary | D::FixedSizeBinary(_) => via(&D::Binary, dt, style)?,
        other => return Err(Error::Unsupported(format!("the type {other} in a text format"))),
    })
}

fn via(base: &DataType, data_type: &DataType, style: TimeStyle) -> Result<Box<dyn Leaf>> {
    Ok(Box::new(Cast { base: leaf(base, style)?, data_type: data_type.clone() }))
}

/// One value of a type from its text, as a path or an option gives it; `None` is NULL.
///
/// # Errors
/// When the text is no value of the type.
pub(crate) fn value_from_text(data_type: &DataType, text: Option<&str>) -> Result<ArrayRef> {
    let mut column = leaf(data_type, TimeStyle::Any)?;
    match text {
        Some(t) => column.append(t, Token::Text).map_err(Error::Execution)?,
        None => column.null(),
    }
    column.finish()
}

/// A whole number; of a number with a fraction its whole part, as Flink takes it, but never one that does not fit.
fn integer(text: &str, token: Token) -> Option<i64> {
    let text = text.trim();
    if let Ok(n) = text.parse() {
        return Some(n);
    }
    let float: f64 = text.parse().ok().filter(|_| token == Token::Number)?;
    let whole = float.trunc();
    (whole >= i64::MIN as f64 && whole < i64::MAX as f64 && text.contains(['.', 'e', 'E'])).then_some(whole as i64)
}

fn scale((seconds, nanos): Instant, units: i64) -> Option<i64> {
    seconds.checked_mul(units)?.checked_add(i64::from(nanos) / (1_000_000_000 / units))
}

fn mismatch(text: &str, data_type: &DataType) -> String {
    let short: String = text.chars().take(60).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    let hint = match data_type {
        DataType::Timestamp(_, Some(_)) if text.len() > 10 => " (a time with time zone ends in 'Z')",
        DataType::Timestamp(_, _) if text.as_bytes().get(10) == Some(&b'T') => {
            " (for 'T' between date and time see the option 'json.timestamp-format.standard')"
        }
        _ => "",
    };
    format!("'{short}{more}' is no {data_type}{hint}")
}

struct Primitives<T: ArrowPrimitiveType, F> {
    values: PrimitiveBuilder<T>,
    data_type: DataType,
    parse: F,
}

impl<T: ArrowPrimitiveType, F: Fn(&str, Token) -> Option<T::Native> + Send + 'static> Primitives<T, F> {
    fn boxed(data_type: &DataType, parse: F) -> Box<dyn Leaf> {
        let values = PrimitiveBuilder::<T>::new().with_data_type(data_type.clone());
        Box::new(Self { values, data_type: data_type.clone(), parse })
    }
}

impl<T: ArrowPrimitiveType, F: Fn(&str, Token) -> Option<T::Native> + Send> Leaf for Primitives<T, F> {
    fn append(&mut self, text: &str, token: Token) -> Result<(), String> {
        match (self.parse)(text, token) {
            Some(v) => {
                self.values.append_value(v);
                Ok(())
            }
            None => Err(mismatch(text, &self.data_type)),
        }
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
    /// Flink reads every text but `true` as false; a text that is neither is an error here.
    fn append(&mut self, text: &str, _: Token) -> Result<(), String> {
        let word = text.trim();
        if !word.eq_ignore_ascii_case("true") && !word.eq_ignore_ascii_case("false") {
            return Err(mismatch(text, &DataType::Boolean));
        }
        self.0.append_value(word.eq_ignore_ascii_case("true"));
        Ok(())
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.0.finish()))
    }
}

struct Texts(StringBuilder);

impl Leaf for Texts {
    fn append(&mut self, text: &str, _: Token) -> Result<(), String> {
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
    fn append(&mut self, text: &str, _: Token) -> Result<(), String> {
        let bytes = BASE64.decode(text).map_err(|e| format!("bytes are written in base64: {e}"))?;
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
    fn append(&mut self, text: &str, _: Token) -> Result<(), String> {
        let (digits, exponent) = decimal_digits(text.trim())
            .ok_or_else(|| mismatch(text, &DataType::Decimal128(self.precision, self.scale)))?;
        let value = digits.and_then(|d| fitted(d, exponent + i64::from(self.scale), self.precision));
        self.values.append_option(value);
        Ok(())
    }

    fn null(&mut self) {
        self.values.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.values.finish()))
    }
}

/// A decimal's digits as a number (`None`: more than any decimal has) and its power of ten.
fn decimal_digits(text: &str) -> Option<(Option<i128>, i64)> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value = Some(0i128);
    for b in whole.bytes().chain(fraction.bytes().take(38)) {
        value = value.and_then(|v| v.checked_mul(10)?.checked_add(i128::from(b - b'0')));
    }
    let kept = fraction.len().min(38) as i64;
    let sign = if mantissa.starts_with('-') { -1 } else { 1 };
    Some((value.map(|v| v * sign), i64::from(exponent) - kept))
}

/// A decimal's digits times a power of ten, rounded half up; `None` for what has more digits than the precision.
pub(super) fn fitted(digits: i128, power: i64, precision: u8) -> Option<i128> {
    let limit = 10u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX);
    rescale(digits, power).filter(|v| v.unsigned_abs() < limit)
}

fn rescale(digits: i128, power: i64) -> Option<i128> {
    if digits == 0 {
        return Some(0);
    }
    if power >= 0 {
        return digits.checked_mul(10i128.checked_pow(u32::try_from(power).ok()?)?);
    }
    let Some(divisor) = u32::try_from(-power).ok().and_then(|p| 10i128.checked_pow(p)) else { return Some(0) };
    let (quotient, remainder) = (digits / divisor, digits % divisor);
    Some(if remainder.abs() >= divisor - remainder.abs() { quotient + digits.signum() } else { quotient })
}

struct Nulls(usize);

impl Leaf for Nulls {
    fn append(&mut self, text: &str, _: Token) -> Result<(), String> {
        Err(mismatch(text, &DataType::Null))
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
    fn append(&mut self, text: &str, token: Token) -> Result<(), String> {
        self.base.append(text, token)
    }

    fn null(&mut self) {
        self.base.null();
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(cast(&self.base.finish()?, &self.data_type)?)
    }
}
