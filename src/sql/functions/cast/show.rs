//! Other types to text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType,
};
use datafusion_common::Result;

use crate::sql::functions::format::{format_time, format_timestamp};
use crate::sql::functions::temporal::{Times, digits};

type Show<'a> = Box<dyn Fn(usize, &mut String) -> Option<()> + 'a>;

/// Values as text.
pub(super) fn to_text(array: &ArrayRef) -> Result<ArrayRef> {
    let show = shower(array)?;
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 16);
    let mut buffer = String::new();
    for row in 0..array.len() {
        buffer.clear();
        builder.append_option(show(row, &mut buffer).map(|()| buffer.as_str()));
    }
    Ok(Arc::new(builder.finish()))
}

/// What writes a row of the array; it answers nothing for NULL.
fn shower(array: &ArrayRef) -> Result<Show<'_>> {
    let valid = move |row: usize| array.is_valid(row).then_some(());
    Ok(match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(move |row, out| {
                valid(row)?;
                out.push_str(if values.value(row) { "TRUE" } else { "FALSE" });
                Some(())
            })
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Box::new(move |row, out| {
                valid(row)?;
                let v = values.value(row);
                java_number(out, f64::from(v), format!("{v:e}"), v.to_string());
                Some(())
            })
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Box::new(move |row, out| {
                valid(row)?;
                let v = values.value(row);
                java_number(out, v, format!("{v:e}"), v.to_string());
                Some(())
            })
        }
        DataType::Timestamp(unit, _) => {
            let (times, digits) = (Times::of_array(array, false)?, digits(*unit));
            Box::new(move |row, out| {
                out.push_str(&format_timestamp(times.get(row)?, digits));
                Some(())
            })
        }
        DataType::Time32(unit) | DataType::Time64(unit) => {
            let (times, digits) = (Times::of_array(array, false)?, digits(*unit));
            Box::new(move |row, out| {
                out.push_str(&format_time(times.get(row)?.time(), digits));
                Some(())
            })
        }
        DataType::Interval(_) => interval(array)?,
        DataType::List(_) | DataType::Map(..) | DataType::Struct(_) => nested(array)?,
        _ => {
            let texts = arrow::compute::cast(array, &DataType::Utf8)?;
            Box::new(move |row, out| {
                valid(row)?;
                out.push_str(texts.as_string::<i32>().value(row));
                Some(())
            })
        }
    })
}

/// As `Double.toString` writes it: at least one digit behind the point, an exponent from 10^7 and below 10^-3.
fn java_number(out: &mut String, value: f64, scientific: String, plain: String) {
    let size = value.abs();
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if size != 0.0 && !(1e-3..1e7).contains(&size) {
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let point = if mantissa.contains('.') { "" } else { ".0" };
        out.extend([mantissa, point, "E", exponent]);
    } else {
        out.push_str(&plain);
        if !plain.contains('.') {
            out.push_str(".0");
        }
    }
}

/// `+1 00:00:00.000`, `+1-02`.
fn interval(array: &ArrayRef) -> Result<Show<'_>> {
    if let DataType::Interval(IntervalUnit::YearMonth) = array.data_type() {
        let values = array.as_primitive::<IntervalYearMonthType>();
        return Ok(Box::new(move |row, out| {
            let months = values.is_valid(row).then(|| values.value(row))?;
            write_months(out, months)
        }));
    }
    let values = arrow::compute::cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    Ok(Box::new(move |row, out| {
        let values = values.as_primitive::<IntervalMonthDayNanoType>();
        let v = values.is_valid(row).then(|| values.value(row))?;
        if v.months != 0 {
            return write_months(out, v.months);
        }
        let millis = i64::from(v.days) * 86_400_000 + v.nanoseconds / 1_000_000;
        let (sign, n) = (if millis < 0 { '-' } else { '+' }, millis.unsigned_abs());
        let (seconds, millis) = (n / 1000, n % 1000);
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        write!(out, "{sign}{days} {hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60).ok()
    }))
}

fn write_months(out: &mut String, months: i32) -> Option<()> {
    let (sign, n) = (if months < 0 { '-' } else { '+' }, months.unsigned_abs());
    write!(out, "{sign}{}-{:02}", n / 12, n % 12).ok()
}

/// `[1, 2]`, `{a=1}`, `(1, a)`; NULL inside is `NULL`.
fn nested(array: &ArrayRef) -> Result<Show<'_>> {
    let text_of = |inner: &ArrayRef| -> Result<ArrayRef> {
        if inner.data_type() == &DataType::Utf8 { Ok(Arc::clone(inner)) } else { to_text(inner) }
    };
    if let Some(list) = array.as_list_opt::<i32>() {
        let items = text_of(list.values())?;
        let offsets = list.value_offsets();
        return Ok(Box::new(move |row, out| {
            let (from, to) = list.is_valid(row).then(|| Some((offsets.get(row)?, offsets.get(row + 1)?)))??;
            let rows = usize::try_from(*from).ok()?..usize::try_from(*to).ok()?;
            out.push_str(&format!("[{}]", rows.map(|i| item(&items, i)).collect::<Vec<_>>().join(", ")));
            Some(())
        }));
    }
    if let Some(map) = array.as_map_opt() {
        let (keys, values) = (text_of(map.keys())?, text_of(map.values())?);
        let offsets = map.value_offsets();
        return Ok(Box::new(move |row, out| {
            let (from, to) = map.is_valid(row).then(|| Some((offsets.get(row)?, offsets.get(row + 1)?)))??;
            let rows = usize::try_from(*from).ok()?..usize::try_from(*to).ok()?;
            let entry = |i| format!("{}={}", item(&keys, i), item(&values, i));
            out.push_str(&format!("{{{}}}", rows.map(entry).collect::<Vec<_>>().join(", ")));
            Some(())
        }));
    }
    let row_type = array.as_struct();
    let fields = row_type.columns().iter().map(text_of).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |row, out| {
        row_type.is_valid(row).then_some(())?;
        out.push_str(&format!("({})", fields.iter().map(|f| item(f, row)).collect::<Vec<_>>().join(", ")));
        Some(())
    }))
}

fn item(texts: &ArrayRef, row: usize) -> &str {
    let texts = texts.as_string::<i32>();
    if texts.is_valid(row) { texts.value(row) } else { "NULL" }
}
