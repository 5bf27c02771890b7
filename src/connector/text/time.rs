//! Dates, times and spans as Java's `java.time` prints them.

use arrow::array::{Array, AsArray};
use arrow::datatypes::*;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::show;
use crate::{Error, Result};

/// Appends a value of a DATE, TIME, TIMESTAMP or INTERVAL column that is not NULL.
pub(super) fn write_time(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    let outside = || Error::Execution("a time is outside of what can be printed".into());
    match array.data_type() {
        DataType::Date32 => {
            let date = arrow::temporal_conversions::date32_to_datetime(array.as_primitive::<Date32Type>().value(row));
            write_date(out, date.ok_or_else(outside)?.date());
        }
        DataType::Time32(unit) | DataType::Time64(unit) => {
            write_clock(out, time_of_day(ticks(array, row), unit).ok_or_else(outside)?, false);
        }
        DataType::Timestamp(unit, zone) => {
            let time = date_time(ticks(array, row), unit).ok_or_else(outside)?;
            write_date(out, time.date());
            out.push('T');
            write_clock(out, time.time(), zone.is_some());
            if zone.is_some() {
                out.push('Z');
            }
        }
        DataType::Duration(unit) => {
            write_duration(out, i128::from(ticks(array, row)) * i128::from(NANOS / per_second(unit)));
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            write_period(out, array.as_primitive::<IntervalYearMonthType>().value(row));
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let v = array.as_primitive::<IntervalDayTimeType>().value(row);
            write_duration(out, (i128::from(v.days) * 86_400_000 + i128::from(v.milliseconds)) * 1_000_000);
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let v = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            if v.months != 0 {
                write_period(out, v.months);
            } else {
                write_duration(out, i128::from(v.days) * 86_400 * i128::from(NANOS) + i128::from(v.nanoseconds));
            }
        }
        other => return Err(Error::Unsupported(format!("printing a value of type {other}"))),
    }
    Ok(())
}

/// The number inside a time, in units of its type.
fn ticks(array: &dyn Array, row: usize) -> i64 {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    match array.data_type() {
        DataType::Time32(Second) => array.as_primitive::<Time32SecondType>().value(row).into(),
        DataType::Time32(_) => array.as_primitive::<Time32MillisecondType>().value(row).into(),
        DataType::Time64(Microsecond) => array.as_primitive::<Time64MicrosecondType>().value(row),
        DataType::Time64(_) => array.as_primitive::<Time64NanosecondType>().value(row),
        DataType::Timestamp(Second, _) => array.as_primitive::<TimestampSecondType>().value(row),
        DataType::Timestamp(Millisecond, _) => array.as_primitive::<TimestampMillisecondType>().value(row),
        DataType::Timestamp(Microsecond, _) => array.as_primitive::<TimestampMicrosecondType>().value(row),
        DataType::Timestamp(Nanosecond, _) => array.as_primitive::<TimestampNanosecondType>().value(row),
        DataType::Duration(Second) => array.as_primitive::<DurationSecondType>().value(row),
        DataType::Duration(Millisecond) => array.as_primitive::<DurationMillisecondType>().value(row),
        DataType::Duration(Microsecond) => array.as_primitive::<DurationMicrosecondType>().value(row),
        _ => array.as_primitive_opt::<DurationNanosecondType>().map_or(0, |a| a.value(row)),
    }
}

const NANOS: i64 = 1_000_000_000;

fn per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS,
    }
}

/// Whole seconds, and the nanoseconds behind them.
fn split(value: i64, unit: &TimeUnit) -> (i64, u32) {
    let per_second = per_second(unit);
    (value.div_euclid(per_second), (value.rem_euclid(per_second) * (NANOS / per_second)) as u32)
}

fn time_of_day(value: i64, unit: &TimeUnit) -> Option<NaiveTime> {
    let (seconds, nanos) = split(value, unit);
    NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(seconds).ok()?, nanos)
}

fn date_time(value: i64, unit: &TimeUnit) -> Option<NaiveDateTime> {
    let (seconds, nanos) = split(value, unit);
    DateTime::from_timestamp(seconds, nanos).map(|t| t.naive_utc())
}

fn write_date(out: &mut String, date: NaiveDate) {
    let year = date.year();
    match year {
        0..=9999 => show(out, format_args!("{year:04}")),
        ..0 => show(out, format_args!("-{:04}", year.unsigned_abs())),
        _ => show(out, format_args!("+{year}")),
    }
    show(out, format_args!("-{:02}-{:02}", date.month(), date.day()));
}

/// Java leaves out seconds that are nought, but not in an `Instant`, and shows fractions in groups of three digits.
fn write_clock(out: &mut String, time: NaiveTime, always_seconds: bool) {
    show(out, format_args!("{:02}:{:02}", time.hour(), time.minute()));
    let nanos = time.nanosecond() % 1_000_000_000;
    if always_seconds || time.second() != 0 || nanos != 0 {
        show(out, format_args!(":{:02}", time.second()));
    }
    match nanos {
        0 => {}
        n if n % 1_000_000 == 0 => show(out, format_args!(".{:03}", n / 1_000_000)),
        n if n % 1_000 == 0 => show(out, format_args!(".{:06}", n / 1_000)),
        n => show(out, format_args!(".{n:09}")),
    }
}

/// `P1Y2M`, as Java's `Period` prints it.
fn write_period(out: &mut String, months: i32) {
    let (years, months) = (months / 12, months % 12);
    match (years, months) {
        (0, 0) => out.push_str("P0D"),
        (0, m) => show(out, format_args!("P{m}M")),
        (y, 0) => show(out, format_args!("P{y}Y")),
        (y, m) => show(out, format_args!("P{y}Y{m}M")),
    }
}

/// `PT26H3M4.5S`, as Java's `Duration` prints it.
fn write_duration(out: &mut String, nanos: i128) {
    if nanos == 0 {
        return out.push_str("PT0S");
    }
    let (seconds, fraction) = (nanos / i128::from(NANOS), (nanos % i128::from(NANOS)).unsigned_abs());
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    out.push_str("PT");
    if hours != 0 {
        show(out, format_args!("{hours}H"));
    }
    if minutes != 0 {
        show(out, format_args!("{minutes}M"));
    }
    if seconds == 0 && fraction == 0 {
        return;
    }
    let sign = if nanos < 0 { "-" } else { "" };
    show(out, format_args!("{sign}{}", seconds.unsigned_abs()));
    if fraction != 0 {
        let digits = format!("{fraction:09}");
        show(out, format_args!(".{}", digits.trim_end_matches('0')));
    }
    out.push('S');
}
