//! Dates, times and timestamps as local date-times, and back.

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use chrono::{DateTime, Days, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use datafusion_common::{Result, exec_err};

use super::define::{Call, Column, is_text};
use super::format::parse_timestamp;

/// The day number 0.
pub(super) fn epoch() -> NaiveDateTime {
    DateTime::UNIX_EPOCH.naive_utc()
}

/// What a column of dates, times, timestamps or texts says, as local date-times.
pub(super) struct Times {
    source: Source,
    zone: Option<Tz>,
}

enum Source {
    Ticks { values: Column<Int64Array>, per_second: i64, seconds: i64 },
    Text(Column<arrow::array::StringArray>),
}

impl Times {
    /// An argument of a call.
    pub(super) fn of(call: &Call, index: usize) -> Result<Self> {
        let (array, constant) = call.array(index)?;
        Self::of_array(&array, constant)
    }

    /// An array; the zone of its type is the one it is read in.
    pub(super) fn of_array(array: &ArrayRef, constant: bool) -> Result<Self> {
        let (per_second, seconds) = match array.data_type() {
            DataType::Date32 => (1, 86_400),
            DataType::Date64 => (1000, 1),
            DataType::Time32(unit) | DataType::Time64(unit) | DataType::Timestamp(unit, _) => (per_second(*unit), 1),
            DataType::Null => (1, 1),
            t if is_text(t) => {
                let text = cast(array, &DataType::Utf8)?;
                let source = Source::Text(Column::new(text.as_string::<i32>().clone(), constant));
                return Ok(Self { source, zone: None });
            }
            other => return exec_err!("{other} is neither a date nor a time"),
        };
        let zone = match array.data_type() {
            DataType::Timestamp(_, Some(zone)) => Some(zone.parse::<Tz>()?),
            _ => None,
        };
        let values = Column::new(ticks(array)?, constant);
        Ok(Self { source: Source::Ticks { values, per_second, seconds }, zone })
    }

    /// Local time in ticks, and how many of them are a second, where that is how it is kept.
    pub(super) fn local_ticks(&self) -> Option<(&Column<Int64Array>, i64)> {
        match &self.source {
            Source::Ticks { values, per_second, seconds: 1 } if self.zone.is_none() => Some((values, *per_second)),
            _ => None,
        }
    }

    /// The local date-time in a row; a time of day is that time on day 0.
    pub(super) fn get(&self, row: usize) -> Option<NaiveDateTime> {
        let utc = match &self.source {
            Source::Ticks { values, per_second, seconds } => {
                let ticks = values.get(row)?;
                let nanos = ticks.rem_euclid(*per_second) * (1_000_000_000 / per_second);
                let whole = ticks.div_euclid(*per_second).checked_mul(*seconds)?;
                DateTime::from_timestamp(whole, u32::try_from(nanos).ok()?)?.naive_utc()
            }
            Source::Text(text) => parse_timestamp(text.get(row)?)?,
        };
        Some(to_local(utc, self.zone.as_ref()))
    }
}

fn ticks(array: &ArrayRef) -> Result<Int64Array> {
    let whole = match array.data_type() {
        DataType::Date32 | DataType::Time32(_) => cast(&cast(array, &DataType::Int32)?, &DataType::Int64)?,
        _ => cast(array, &DataType::Int64)?,
    };
    Ok(whole.as_primitive::<Int64Type>().clone())
}

/// How many of a unit make a second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// How many digits of a second a unit has.
pub(super) fn digits(unit: TimeUnit) -> u32 {
    per_second(unit).ilog10()
}

/// A time in UTC as the clocks of a zone show it.
pub(super) fn to_local(utc: NaiveDateTime, zone: Option<&Tz>) -> NaiveDateTime {
    zone.map_or(utc, |zone| zone.from_utc_datetime(&utc).naive_local())
}

/// What the clocks of a zone show as a time in UTC: of two, the earlier; one that was skipped is as much later as was
/// skipped.
pub(super) fn to_utc(local: NaiveDateTime, zone: Option<&Tz>) -> Option<NaiveDateTime> {
    let Some(zone) = zone else { return Some(local) };
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(t) | MappedLocalTime::Ambiguous(t, _) => Some(t.naive_utc()),
        MappedLocalTime::None => {
            let before = local.checked_sub_signed(TimeDelta::days(1))?;
            let offset = zone.offset_from_utc_datetime(&before).fix().local_minus_utc();
            local.checked_sub_signed(TimeDelta::seconds(i64::from(offset)))
        }
    }
}

/// A local date-time as the number that a column of that type holds; nothing if it does not fit.
pub(super) fn to_ticks(local: NaiveDateTime, data_type: &DataType) -> Option<i64> {
    let (utc, unit) = match data_type {
        DataType::Date32 => return Some(local.and_utc().timestamp().div_euclid(86_400)),
        DataType::Time32(unit) | DataType::Time64(unit) => (epoch().date().and_time(local.time()), unit),
        DataType::Timestamp(unit, Some(zone)) => (to_utc(local, Some(&zone.parse().ok()?))?, unit),
        DataType::Timestamp(unit, None) => (local, unit),
        _ => return None,
    };
    let (utc, per_second) = (utc.and_utc(), per_second(*unit));
    let fraction = i64::from(utc.timestamp_subsec_nanos()) / (1_000_000_000 / per_second);
    utc.timestamp().checked_mul(per_second)?.checked_add(fraction)
}

/// Numbers as a column of dates, times or timestamps.
pub(super) fn from_ticks(values: Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    let values: ArrayRef = std::sync::Arc::new(values);
    Ok(match data_type {
        DataType::Date32 | DataType::Time32(_) => cast(&cast(&values, &DataType::Int32)?, data_type)?,
        DataType::Timestamp(unit, Some(_)) => {
            let plain = cast(&values, &DataType::Timestamp(*unit, None))?;
            let plain = plain.to_data().into_builder().data_type(data_type.clone()).build()?;
            arrow::array::make_array(plain)
        }
        _ => cast(&values, data_type)?,
    })
}

/// Answers date-times in a type, row by row.
pub(super) fn answer_in(
    call: &Call,
    data_type: &DataType,
    f: impl Fn(usize) -> Option<NaiveDateTime>,
) -> Result<datafusion_expr::ColumnarValue> {
    let values: Int64Array = (0..call.rows).map(|i| to_ticks(f(i)?, data_type)).collect();
    call.answer(from_ticks(values, data_type)?)
}

/// Like [`answer_in`], of times in UTC: a zone that shows an hour twice tells nothing of which of the two it was.
pub(super) fn answer_at(
    call: &Call,
    data_type: &DataType,
    f: impl Fn(usize) -> Option<NaiveDateTime>,
) -> Result<datafusion_expr::ColumnarValue> {
    let unzoned = match data_type {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        other => other.clone(),
    };
    let values: Int64Array = (0..call.rows).map(|i| to_ticks(f(i)?, &unzoned)).collect();
    call.answer(from_ticks(values, data_type)?)
}

/// A date so many months later; the day is at most the month's last.
pub(super) fn add_months(date: NaiveDate, months: i64) -> Option<NaiveDate> {
    let n = chrono::Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    if months < 0 { date.checked_sub_months(n) } else { date.checked_add_months(n) }
}

/// A date so many days later.
pub(super) fn add_days(date: NaiveDate, days: i64) -> Option<NaiveDate> {
    let n = Days::new(days.unsigned_abs());
    if days < 0 { date.checked_sub_days(n) } else { date.checked_add_days(n) }
}
