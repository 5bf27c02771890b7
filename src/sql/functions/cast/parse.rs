//! Text to other types: blanks around it are left aside; what cannot be read fails, or is NULL for TRY_CAST.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int64Array, PrimitiveArray, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use chrono::NaiveDateTime;
use datafusion_common::{Result, exec_err};

use crate::sql::functions::format::{parse_date, parse_time, parse_timestamp};
use crate::sql::functions::temporal::{epoch, from_ticks, to_ticks};

/// Text as values of another type.
pub(super) fn from_text(array: &ArrayRef, to: &DataType, lenient: bool) -> Result<ArrayRef> {
    let texts = Texts { array: array.as_string(), to, lenient };
    Ok(match to {
        DataType::Boolean => Arc::new(texts.read(boolean)?.into_iter().collect::<BooleanArray>()),
        DataType::Int8 => texts.primitive::<Int8Type>(|s| whole(s)?.try_into().ok())?,
        DataType::Int16 => texts.primitive::<Int16Type>(|s| whole(s)?.try_into().ok())?,
        DataType::Int32 => texts.primitive::<Int32Type>(|s| whole(s)?.try_into().ok())?,
        DataType::Int64 => texts.primitive::<Int64Type>(whole)?,
        DataType::Float32 => texts.primitive::<Float32Type>(|s| double(s)?.parse().ok())?,
        DataType::Float64 => texts.primitive::<Float64Type>(|s| double(s)?.parse().ok())?,
        DataType::Decimal128(p, s) => texts.primitive::<Decimal128Type>(|text| decimal(text, *p, *s))?,
        DataType::Date32 => texts.time(|s| Some(parse_date(s)?.into()))?,
        DataType::Time32(_) | DataType::Time64(_) => texts.time(|s| Some(epoch().date().and_time(parse_time(s)?)))?,
        DataType::Timestamp(..) => texts.time(parse_timestamp)?,
        _ => {
            let options = arrow::compute::CastOptions { safe: lenient, ..Default::default() };
            arrow::compute::cast_with_options(array, to, &options)?
        }
    })
}

struct Texts<'a> {
    array: &'a StringArray,
    to: &'a DataType,
    lenient: bool,
}

impl Texts<'_> {
    fn read<T>(&self, f: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>> {
        let one = |s: Option<&str>| {
            let Some(s) = s else { return Ok(None) };
            match f(s.trim()) {
                None if !self.lenient => exec_err!("'{}' cannot be cast to {}", shortened(s), self.to),
                value => Ok(value),
            }
        };
        self.array.iter().map(one).collect()
    }

    fn primitive<T: ArrowPrimitiveType>(&self, f: impl Fn(&str) -> Option<T::Native>) -> Result<ArrayRef> {
        let values: PrimitiveArray<T> = self.read(f)?.into_iter().collect();
        Ok(Arc::new(values.with_data_type(self.to.clone())))
    }

    fn time(&self, f: impl Fn(&str) -> Option<NaiveDateTime>) -> Result<ArrayRef> {
        let values = self.read(|s| to_ticks(f(s)?, self.to))?;
        from_ticks(values.into_iter().collect::<Int64Array>(), self.to)
    }
}

fn shortened(s: &str) -> String {
    s.chars().take(80).collect()
}

fn boolean(s: &str) -> Option<bool> {
    let is = |words: [&str; 5]| words.iter().any(|w| w.eq_ignore_ascii_case(s));
    if is(["true", "t", "yes", "y", "1"]) {
        return Some(true);
    }
    is(["false", "f", "no", "n", "0"]).then_some(false)
}

/// A fraction is cut off; an exponent is not read.
fn whole(s: &str) -> Option<i64> {
    let (digits, fraction) = s.split_once('.').unwrap_or((s, ""));
    fraction.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// What Java reads as a DOUBLE; Rust reads more words.
fn double(s: &str) -> Option<&str> {
    let digits = s.trim_start_matches(['+', '-']);
    let number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    (number || digits == "Infinity" || digits == "NaN").then(|| s.trim_end_matches(['d', 'f', 'D', 'F']))
}

fn decimal(s: &str, precision: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = s.split_once(['e', 'E']).unwrap_or((s, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // The value is digits * 10^-have; wanted are `scale` places.
    let have = i64::try_from(fraction.len()).ok()?.checked_sub(exponent.parse().ok()?)?;
    let value = rescale(digits.trim_start_matches('0'), i64::from(scale).checked_sub(have)?)?;
    (value < 10u128.pow(u32::from(precision))).then(|| i128::try_from(value).ok().map(|v| v * sign)).flatten()
}

/// The number with so many zeros more, or so many digits less, rounded half up.
fn rescale(digits: &str, by: i64) -> Option<u128> {
    let places = usize::try_from(by.unsigned_abs()).ok()?;
    if digits.is_empty() {
        return Some(0);
    }
    if by >= 0 {
        return if digits.len() + places > 38 { None } else { format!("{digits}{}", "0".repeat(places)).parse().ok() };
    }
    if places > digits.len() {
        return Some(0);
    }
    let (kept, cut) = digits.split_at_checked(digits.len() - places)?;
    let up = u128::from(cut.as_bytes().first().is_some_and(|d| *d >= b'5'));
    let kept: u128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    Some(kept + up)
}
