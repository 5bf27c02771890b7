//! Values without parts as the text of records.

use std::fmt::Write as _;

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::text::{TimeStyle, civil_from_days};
use crate::{Error, Result};

/// How values are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writing {
    /// How timestamps look.
    pub(super) style: TimeStyle,
    /// Decimals never with an exponent.
    pub(super) plain_decimals: bool,
}

/// One value of a column as text, as records and paths write it; `None` for NULL.
///
/// # Errors
/// When the type has no form as text.
pub(crate) fn value_to_text(column: &dyn Array, row: usize) -> Result<Option<String>> {
    if column.is_null(row) {
        return Ok(None);
    }
    let mut out = String::new();
    render(column, row, Writing { style: TimeStyle::Any, plain_decimals: true }, &mut out)?;
    Ok(Some(out))
}

/// Appends a value that is not NULL; returns whether it is a number or a truth value, which JSON writes bare.
pub(super) fn render(column: &dyn Array, row: usize, writing: Writing, out: &mut String) -> Result<bool> {
    use DataType as D;
    match column.data_type() {
        D::Utf8 => out.push_str(column.as_string::<i32>().value(row)),
        D::Boolean => return shown(column.as_boolean().value(row), out),
        D::Int8 => return shown(value::<Int8Type>(column, row), out),
        D::Int16 => return shown(value::<Int16Type>(column, row), out),
        D::Int32 => return shown(value::<Int32Type>(column, row), out),
        D::Int64 => return shown(value::<Int64Type>(column, row), out),
        D::UInt64 => return shown(value::<UInt64Type>(column, row), out),
        D::Float32 => {
            let v = value::<Float32Type>(column, row);
            return Ok(float(v.is_finite(), v.is_nan(), &format!("{v:e}"), out));
        }
        D::Float64 => {
            let v = value::<Float64Type>(column, row);
            return Ok(float(v.is_finite(), v.is_nan(), &format!("{v:e}"), out));
        }
        D::Decimal128(_, scale) => {
            decimal(value::<Decimal128Type>(column, row), i64::from(*scale), writing.plain_decimals, out);
            return Ok(true);
        }
        D::Binary => BASE64.encode_string(column.as_binary::<i32>().value(row), out),
        D::Date32 => date(i64::from(value::<Date32Type>(column, row)), out),
        D::Time32(_) | D::Time64(_) => time(time_nanos(column, row), out),
        D::Timestamp(unit, zone) => {
            timestamp(timestamp_value(column, row, unit), *unit, writing.style, out);
            if zone.is_some() {
                out.push('Z');
            }
        }
        D::Utf8View | D::LargeUtf8 | D::Dictionary(_, _) => return recast(column, row, &D::Utf8, writing, out),
        D::BinaryView | D::LargeBinary | D::FixedSizeBinary(_) => {
            return recast(column, row, &D::Binary, writing, out);
        }
        other => return Err(Error::Unsupported(format!("the type {other} in a text format"))),
    }
    Ok(false)
}

fn recast(column: &dyn Array, row: usize, to: &DataType, writing: Writing, out: &mut String) -> Result<bool> {
    render(&cast(&column.slice(row, 1), to)?, 0, writing, out)
}

fn value<T: ArrowPrimitiveType>(column: &dyn Array, row: usize) -> T::Native {
    column.as_primitive::<T>().value(row)
}

fn shown(value: impl std::fmt::Display, out: &mut String) -> Result<bool> {
    put(out, format_args!("{value}"));
    Ok(true)
}

/// Writing into a `String` cannot fail.
fn put(out: &mut String, what: std::fmt::Arguments) {
    let _ = out.write_fmt(what);
}

/// As Java writes it: `1.0`, `1.0E10`, `NaN`. `shortest` is the shortest text that reads back, as `1.25e-3`.
fn float(finite: bool, nan: bool, shortest: &str, out: &mut String) -> bool {
    if !finite {
        let sign = if shortest.starts_with('-') { "-" } else { "" };
        put(out, format_args!("{}", if nan { "NaN".into() } else { format!("{sign}Infinity") }));
        return false;
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let unsigned = mantissa.trim_start_matches('-');
    if unsigned.len() < mantissa.len() {
        out.push('-');
    }
    let digits = unsigned.replace('.', "");
    if digits == "0" || (-3..7).contains(&exponent) {
        point(&digits, exponent, out);
    } else {
        point(&digits, 0, out);
        put(out, format_args!("E{exponent}"));
    }
    true
}

/// Digits with a point behind the `exponent`-th after the first, and at least one digit on each side.
fn point(digits: &str, exponent: i64, out: &mut String) {
    if exponent < 0 {
        let zeros = "0".repeat((-exponent - 1) as usize);
        return put(out, format_args!("0.{zeros}{digits}"));
    }
    let whole = exponent as usize + 1;
    let padded = format!("{digits:0<whole$}");
    let (before, after) = padded.split_at(whole);
    put(out, format_args!("{before}.{}", if after.is_empty() { "0" } else { after }));
}

/// As Java's BigDecimal writes it: plain, except that very small ones get an exponent where that is wished.
fn decimal(value: i128, scale: i64, plain: bool, out: &mut String) {
    let digits = value.unsigned_abs().to_string();
    if value < 0 {
        out.push('-');
    }
    if scale <= 0 {
        let zeros = if value == 0 { 0 } else { -scale as usize };
        return put(out, format_args!("{digits}{}", "0".repeat(zeros)));
    }
    let exponent = digits.len() as i64 - 1 - scale;
    if !plain && exponent < -6 {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        return put(out, format_args!("{first}{dot}{rest}E{exponent}"));
    }
    let width = scale as usize + 1;
    let padded = format!("{digits:0>width$}");
    let (whole, fraction) = padded.split_at(padded.len() - scale as usize);
    put(out, format_args!("{whole}.{fraction}"));
}

fn date(days: i64, out: &mut String) {
    let (year, month, day) = civil_from_days(days);
    put(out, format_args!("{year:04}-{month:02}-{day:02}"));
}

/// Only as many digits of a second as there are, as Flink writes it.
fn time(nanos: i64, out: &mut String) {
    let seconds = nanos.div_euclid(1_000_000_000);
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    let fraction = nanos.rem_euclid(1_000_000_000);
    if fraction != 0 {
        put(out, format_args!(".{}", format!("{fraction:09}").trim_end_matches('0')));
    }
}

fn time_nanos(column: &dyn Array, row: usize) -> i64 {
    match column.data_type() {
        DataType::Time32(TimeUnit::Second) => i64::from(value::<Time32SecondType>(column, row)) * 1_000_000_000,
        DataType::Time32(_) => i64::from(value::<Time32MillisecondType>(column, row)) * 1_000_000,
        DataType::Time64(TimeUnit::Microsecond) => value::<Time64MicrosecondType>(column, row) * 1_000,
        _ => value::<Time64NanosecondType>(column, row),
    }
}

fn timestamp_value(column: &dyn Array, row: usize, unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => value::<TimestampSecondType>(column, row),
        TimeUnit::Millisecond => value::<TimestampMillisecondType>(column, row),
        TimeUnit::Microsecond => value::<TimestampMicrosecondType>(column, row),
        TimeUnit::Nanosecond => value::<TimestampNanosecondType>(column, row),
    }
}

fn timestamp(value: i64, unit: TimeUnit, style: TimeStyle, out: &mut String) {
    let units = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let seconds = value.div_euclid(units);
    date(seconds.div_euclid(86_400), out);
    out.push(style.separator() as char);
    time(seconds.rem_euclid(86_400) * 1_000_000_000 + value.rem_euclid(units) * (1_000_000_000 / units), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Decimal128Array, Float64Array, TimestampMillisecondArray};
    use std::sync::Arc;

    fn text(column: ArrayRef, plain_decimals: bool) -> Vec<String> {
        let one = |i| {
            let mut out = String::new();
            render(&column, i, Writing { style: TimeStyle::Sql, plain_decimals }, &mut out).unwrap();
            out
        };
        (0..column.len()).map(one).collect()
    }

    #[test]
    fn doubles_as_java_writes_them() {
        let values = vec![0.0, -0.0, 1.0, 1e10, 1.5e-7, 0.001, 9_999_999.0, 1e7, f64::NAN, f64::NEG_INFINITY, -12.25];
        let want =
            ["0.0", "-0.0", "1.0", "1.0E10", "1.5E-7", "0.001", "9999999.0", "1.0E7", "NaN", "-Infinity", "-12.25"];
        assert_eq!(text(Arc::new(Float64Array::from(values)), false), want);
    }

    #[test]
    fn decimals_plain_and_not() {
        let column = || -> ArrayRef {
            Arc::new(Decimal128Array::from(vec![0, -5, 1, 123_456_789_012]).with_precision_and_scale(20, 9).unwrap())
        };
        assert_eq!(text(column(), true), ["0.000000000", "-0.000000005", "0.000000001", "123.456789012"]);
        assert_eq!(text(column(), false), ["0E-9", "-5E-9", "1E-9", "123.456789012"]);
    }

    #[test]
    fn timestamps_have_the_digits_they_need() {
        let column = TimestampMillisecondArray::from(vec![0, 100, -1, 86_400_000]);
        let want = ["1970-01-01 00:00:00", "1970-01-01 00:00:00.1", "1969-12-31 23:59:59.999", "1970-01-02 00:00:00"];
        assert_eq!(text(Arc::new(column), true), want);
    }
}
