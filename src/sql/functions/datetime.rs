//! Dates and times. A TIMESTAMP_LTZ is read as the clocks of its zone show it.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Int64Array, StringBuilder};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit};
use chrono::{NaiveDateTime, TimeDelta};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::ColumnarValue;

use super::define::Kind::{Any, BigInt, Text};
use super::define::{Call, Column, Def, Given, bigint, def, int, is_text, text};
use super::field::Unit;
use super::format::{Pattern, format_timestamp, parse_date, parse_timestamp};
use super::temporal::{Times, answer_at, answer_in, epoch, to_local, to_ticks, to_utc};

/// TIMESTAMP(3).
const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// The functions of this file.
pub(super) fn functions() -> Vec<Def> {
    let mut all = vec![
        def(&["current_timestamp", "now", "current_row_timestamp"], &[], ltz, now_as).volatile(),
        // A function of its own: by its name planning tells what is a time attribute.
        def(&["proctime"], &[], ltz, now_as).volatile(),
        def(&["localtimestamp"], &[], |_| Ok(TIMESTAMP), now_as).volatile(),
        def(&["current_date"], &[], |_| Ok(DataType::Date32), now_as).volatile(),
        def(&["current_time", "localtime"], &[], |_| Ok(DataType::Time32(TimeUnit::Second)), now_as).volatile(),
        def(&["extract"], &[Text, Any], bigint, |c| extract(c, unit_of(c)?, 1)),
        def(&["floor_to"], &[Text, Any], second, |c| step_of(c, Unit::floor)),
        def(&["ceil_to"], &[Text, Any], second, |c| step_of(c, Unit::ceil)),
        def(&["timestampadd"], &[Text, BigInt, Any], added, timestamp_add),
        def(&["timestampdiff"], &[Text, Any, Any], int, timestamp_diff),
        def(&["date_format"], &[Any, Text], text, date_format),
        def(&["convert_tz"], &[Text, Text, Text], text, convert_tz),
        def(&["from_unixtime"], &[BigInt, Text], text, from_unixtime).optional(1),
        def(&["unix_timestamp"], &[Text, Text], bigint, unix_timestamp).optional(0).volatile(),
        def(&["to_date"], &[Text, Text], |_| Ok(DataType::Date32), to_date).optional(1),
        def(&["to_timestamp"], &[Text, Text], |_| Ok(TIMESTAMP), to_timestamp).optional(1),
        def(&["to_timestamp_ltz"], &[Any, Any, Any], ltz, to_timestamp_ltz).optional(1),
    ];
    all.extend(parts());
    all
}

fn parts() -> Vec<Def> {
    vec![
        def(&["year"], &[Any], bigint, |c| extract(c, Unit::Year, 0)),
        def(&["quarter"], &[Any], bigint, |c| extract(c, Unit::Quarter, 0)),
        def(&["month"], &[Any], bigint, |c| extract(c, Unit::Month, 0)),
        def(&["week"], &[Any], bigint, |c| extract(c, Unit::Week, 0)),
        def(&["dayofyear"], &[Any], bigint, |c| extract(c, Unit::DayOfYear, 0)),
        def(&["dayofmonth"], &[Any], bigint, |c| extract(c, Unit::Day, 0)),
        def(&["dayofweek"], &[Any], bigint, |c| extract(c, Unit::DayOfWeek, 0)),
        def(&["hour"], &[Any], bigint, |c| extract(c, Unit::Hour, 0)),
        def(&["minute"], &[Any], bigint, |c| extract(c, Unit::Minute, 0)),
        def(&["second"], &[Any], bigint, |c| extract(c, Unit::Second, 0)),
    ]
}

/// TIMESTAMP_LTZ(3) in the session's zone.
fn ltz(given: &Given) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Millisecond, Some(Arc::clone(&given.session.zone))))
}

fn second(given: &Given) -> Result<DataType> {
    Ok(given.type_of(1))
}

/// The time of the step, as local date-time.
fn now(c: &Call) -> Option<NaiveDateTime> {
    let utc = epoch().checked_add_signed(TimeDelta::milliseconds(c.session.clock.millis()))?;
    Some(to_local(utc, c.session.tz.as_ref()))
}

fn now_as(c: &Call) -> Result<ColumnarValue> {
    let data_type = c.args.return_type();
    let value = now(c).and_then(|t| to_ticks(t, data_type));
    let array = super::temporal::from_ticks(std::iter::once(value).collect(), data_type)?;
    Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
}

fn unit_of(c: &Call) -> Result<Unit> {
    match c.text(0)?.constant().and_then(Unit::named) {
        Some(unit) => Ok(unit),
        None => exec_err!("a unit of time must be a name such as DAY"),
    }
}

fn extract(c: &Call, unit: Unit, index: usize) -> Result<ColumnarValue> {
    let times = Times::of(c, index)?;
    c.primitives::<Int64Type>(|i| times.get(i).map(|t| unit.of(t)))
}

fn step_of(c: &Call, f: fn(Unit, NaiveDateTime) -> Option<NaiveDateTime>) -> Result<ColumnarValue> {
    let (unit, times) = (unit_of(c)?, Times::of(c, 1)?);
    answer_in(c, c.args.return_type(), |i| f(unit, times.get(i)?))
}

/// A DATE stays one when it is moved by days or more.
fn added(given: &Given) -> Result<DataType> {
    let unit = given.constant_text(0).and_then(Unit::named);
    Ok(match given.type_of(2) {
        DataType::Date32 if unit.is_some_and(Unit::within_day) => DataType::Timestamp(TimeUnit::Microsecond, None),
        t if is_text(&t) => TIMESTAMP,
        t @ (DataType::Date32 | DataType::Time32(_) | DataType::Time64(_) | DataType::Timestamp(..)) => t,
        DataType::Null => TIMESTAMP,
        other => return plan_err!("TIMESTAMPADD cannot move {other}"),
    })
}

fn timestamp_add(c: &Call) -> Result<ColumnarValue> {
    let (unit, n, times) = (unit_of(c)?, c.primitive::<Int64Type>(1)?, Times::of(c, 2)?);
    answer_in(c, c.args.return_type(), |i| unit.add(times.get(i)?, n.get(i)?))
}

fn timestamp_diff(c: &Call) -> Result<ColumnarValue> {
    let (unit, from, to) = (unit_of(c)?, Times::of(c, 1)?, Times::of(c, 2)?);
    c.primitives::<Int32Type>(|i| {
        let n = unit.between(from.get(i)?, to.get(i)?)?;
        Some(i32::from_le_bytes(n.to_le_bytes().first_chunk().copied()?))
    })
}

/// Patterns, read once where they are the same in all rows.
struct Patterns {
    texts: Option<Column<arrow::array::StringArray>>,
    constant: Option<Option<Pattern>>,
}

impl Patterns {
    fn of(c: &Call, index: usize) -> Result<Self> {
        let texts = c.optional_text(index)?;
        let constant = texts.as_ref().and_then(|t| t.constant()).map(Pattern::new);
        Ok(Self { texts, constant })
    }

    /// What a row's pattern makes of it; `default` where no pattern is given.
    fn with<T>(
        &self,
        row: usize,
        default: impl FnOnce() -> Option<T>,
        f: impl FnOnce(&Pattern) -> Option<T>,
    ) -> Option<T> {
        match (&self.texts, &self.constant) {
            (None, _) => default(),
            (_, Some(pattern)) => f(pattern.as_ref()?),
            (Some(texts), None) => f(&Pattern::new(texts.get(row)?)?),
        }
    }
}

fn date_format(c: &Call) -> Result<ColumnarValue> {
    let (times, patterns) = (Times::of(c, 0)?, Patterns::of(c, 1)?);
    if let Some(Some(pattern)) = &patterns.constant
        && let (Some(span), Some((ticks, per_second))) = (pattern.span(), times.local_ticks())
    {
        return format_spans(c, &times, ticks, pattern, span * per_second);
    }
    c.texts(|i| {
        let t = times.get(i)?;
        patterns.with(i, || None, |p| Some(p.format(t)))
    })
}

/// As `DATE_FORMAT`, where a text holds for a span of so many ticks: times that follow each other mostly share theirs.
fn format_spans(
    c: &Call,
    times: &Times,
    ticks: &Column<Int64Array>,
    pattern: &Pattern,
    span: i64,
) -> Result<ColumnarValue> {
    let (mut known, mut text) = (0..0, String::new());
    let mut texts = StringBuilder::with_capacity(c.rows, c.rows * 16);
    for row in 0..c.rows {
        let Some(tick) = ticks.get(row) else {
            texts.append_null();
            continue;
        };
        if !known.contains(&tick) {
            let Some(time) = times.get(row) else {
                texts.append_null();
                continue;
            };
            text = pattern.format(time);
            let start = tick.checked_sub(tick.rem_euclid(span));
            known = start.and_then(|s| Some(s..s.checked_add(span)?)).unwrap_or(0..0);
        }
        texts.append_value(&text);
    }
    c.answer(Arc::new(texts.finish()))
}

fn convert_tz(c: &Call) -> Result<ColumnarValue> {
    let (s, from, to) = (c.text(0)?, c.text(1)?, c.text(2)?);
    c.texts(|i| {
        let (from, to): (Tz, Tz) = (from.get(i)?.parse().ok()?, to.get(i)?.parse().ok()?);
        let utc = to_utc(parse_timestamp(s.get(i)?)?, Some(&from))?;
        Some(format_timestamp(to_local(utc, Some(&to)), 0))
    })
}

fn from_unixtime(c: &Call) -> Result<ColumnarValue> {
    let (n, patterns) = (c.primitive::<Int64Type>(0)?, Patterns::of(c, 1)?);
    c.texts(|i| {
        let utc = epoch().checked_add_signed(TimeDelta::try_seconds(n.get(i)?)?)?;
        let t = to_local(utc, c.session.tz.as_ref());
        patterns.with(i, || Some(format_timestamp(t, 0)), |p| Some(p.format(t)))
    })
}

/// Text that cannot be read is the least BIGINT, as in Flink.
fn unix_timestamp(c: &Call) -> Result<ColumnarValue> {
    if c.len() == 0 {
        return Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(c.session.clock.millis().div_euclid(1000)))));
    }
    let (s, patterns) = (c.text(0)?, Patterns::of(c, 1)?);
    c.primitives::<Int64Type>(|i| {
        let s = s.get(i)?;
        let local = patterns.with(i, || parse_timestamp(s), |p| p.parse(s));
        Some(local.and_then(|t| to_utc(t, c.session.tz.as_ref())).map_or(i64::MIN, |t| t.and_utc().timestamp()))
    })
}

fn to_date(c: &Call) -> Result<ColumnarValue> {
    let (s, patterns) = (c.text(0)?, Patterns::of(c, 1)?);
    answer_in(c, &DataType::Date32, |i| {
        let s = s.get(i)?;
        patterns.with(i, || parse_date(s).map(Into::into), |p| p.parse(s))
    })
}

fn to_timestamp(c: &Call) -> Result<ColumnarValue> {
    let (s, patterns) = (c.text(0)?, Patterns::of(c, 1)?);
    answer_in(c, &TIMESTAMP, |i| {
        let s = s.get(i)?;
        patterns.with(i, || parse_timestamp(s), |p| p.parse(s))
    })
}

/// `(number[, 0 | 3])` counts seconds or milliseconds since the epoch; `(text[, pattern[, zone]])` reads, in UTC where
/// no zone is given.
fn to_timestamp_ltz(c: &Call) -> Result<ColumnarValue> {
    if is_text(&c.type_of(0)?) {
        let (s, patterns, zones) = (c.text(0)?, Patterns::of(c, 1)?, c.optional_text(2)?);
        return answer_at(c, c.args.return_type(), |i| {
            let s = s.get(i)?;
            let t = patterns.with(i, || parse_timestamp(s), |p| p.parse(s))?;
            match &zones {
                Some(zones) => to_utc(t, Some(&zones.get(i)?.parse().ok()?)),
                None => Some(t),
            }
        });
    }
    let whole = |index: usize| -> Result<Column<arrow::array::Int64Array>> {
        let (array, constant) = c.array(index)?;
        let values = arrow::compute::cast(&array, &DataType::Int64)?;
        Ok(Column::new(arrow::array::AsArray::as_primitive::<Int64Type>(&values).clone(), constant))
    };
    let (n, precision) = (whole(0)?, if c.len() > 1 { Some(whole(1)?) } else { None });
    answer_at(c, c.args.return_type(), |i| {
        let n = n.get(i)?;
        let span = match precision.as_ref().map_or(Some(3), |p| p.get(i))? {
            0 => TimeDelta::try_seconds(n)?,
            3 => TimeDelta::try_milliseconds(n)?,
            _ => return None,
        };
        epoch().checked_add_signed(span)
    })
}
