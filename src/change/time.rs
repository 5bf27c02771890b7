//! Event time: watermarks, and rowtime columns as milliseconds.

use std::fmt;

use arrow::array::timezone::Tz;
use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use chrono::{DateTime, Offset, TimeZone};

use crate::{Error, Result};

/// An event-time bound in milliseconds since the epoch: no row with a rowtime at or before it is still expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing is known yet.
    pub const MIN: Watermark = Watermark(i64::MIN);
    /// The input has ended.
    pub const MAX: Watermark = Watermark(i64::MAX);
}

impl Default for Watermark {
    fn default() -> Self {
        Watermark::MIN
    }
}

/// A span of time in milliseconds, shown as `1 h 30 min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan(pub i64);

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0 ms");
        }
        let mut rest = self.0.unsigned_abs();
        let mut gap = if self.0 < 0 { "-" } else { "" };
        for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)] {
            if rest / length > 0 {
                write!(f, "{gap}{} {unit}", rest / length)?;
                rest %= length;
                gap = " ";
            }
        }
        Ok(())
    }
}

/// A timestamp column as milliseconds since the epoch, rounded down; without a copy where it is in milliseconds already.
///
/// # Errors
/// When the column is no timestamp.
pub fn rowtime_millis(column: &dyn Array) -> Result<Int64Array> {
    let scaled = |values: &[i64], f: fn(i64) -> i64| {
        Int64Array::new(values.iter().map(|v| f(*v)).collect(), column.nulls().cloned())
    };
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(column.as_primitive::<TimestampSecondType>().values(), |v| v.saturating_mul(1000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let c = column.as_primitive::<TimestampMillisecondType>();
            Int64Array::new(c.values().clone(), c.nulls().cloned())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            scaled(column.as_primitive::<TimestampMicrosecondType>().values(), |v| v.div_euclid(1_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            scaled(column.as_primitive::<TimestampNanosecondType>().values(), |v| v.div_euclid(1_000_000))
        }
        other => return Err(Error::internal(format!("{other} is no event time"))),
    })
}

/// The clock on the wall where windows are cut: days and hours of TIMESTAMP_LTZ rowtimes are those of the session's zone.
///
/// In the hour that is repeated when clocks go back, both passes count as the first; a window that ends in it is over when
/// the second has come so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock(Option<Tz>);

impl WallClock {
    /// The clock for rowtimes of a type: of the type's zone, or none where the type has none or it is UTC.
    ///
    /// # Errors
    /// When the zone is not known.
    pub fn of(rowtime: &DataType) -> Result<Self> {
        let DataType::Timestamp(_, Some(zone)) = rowtime else { return Ok(Self(None)) };
        if matches!(zone.as_ref(), "UTC" | "Z" | "+00:00") {
            return Ok(Self(None));
        }
        Ok(Self(Some(zone.parse()?)))
    }

    /// Whether it shows instants as watermarks count them.
    pub fn is_watermarks(&self) -> bool {
        self.0.is_none()
    }

    /// What it shows at an instant, both in milliseconds since the epoch.
    pub fn at(&self, instant: i64) -> i64 {
        let Some(zone) = &self.0 else { return instant };
        instant.saturating_add(offset(zone, instant))
    }

    /// The instants at which it shows some times.
    pub fn all_at(&self, instants: Int64Array) -> Int64Array {
        let Some(zone) = &self.0 else { return instants };
        instants.unary(|t| t.saturating_add(offset(zone, t)))
    }

    /// The latest time that it has shown at a watermark and will not show again: in the first pass of an hour that is
    /// repeated, the last millisecond before that hour. What ends within the hour is over in its second pass.
    pub fn passed(&self, watermark: i64) -> i64 {
        let Some(zone) = &self.0 else { return watermark };
        let now = offset(zone, watermark);
        let back = now - offset(zone, watermark.saturating_add(86_400_000));
        if back <= 0 || offset(zone, watermark.saturating_add(back)) == now {
            return watermark.saturating_add(now);
        }
        let (mut before, mut after) = (watermark, watermark.saturating_add(back));
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if offset(zone, middle) == now { before = middle } else { after = middle }
        }
        after + now - back - 1
    }

    /// What some watermarks have passed.
    pub fn all_passed(&self, watermarks: Int64Array) -> Int64Array {
        if self.0.is_none() { watermarks } else { watermarks.unary(|w| self.passed(w)) }
    }

    /// The instant at which it shows a time for the first time; where clocks skip that time, the instant that follows.
    pub fn instant(&self, shown: i64) -> i64 {
        let Some(zone) = &self.0 else { return shown };
        // The offset in force is that of an instant less than a day away.
        let before = offset(zone, shown.saturating_sub(86_400_000));
        let candidate = shown.saturating_sub(before);
        if self.at(candidate) == shown { candidate } else { shown.saturating_sub(offset(zone, candidate)) }
    }
}

/// How far a zone's clock is ahead of UTC at an instant, in milliseconds; 0 for instants that no calendar holds.
fn offset(zone: &Tz, instant: i64) -> i64 {
    let Some(at) = DateTime::from_timestamp_millis(instant) else { return 0 };
    i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_in_their_units() {
        let shown = [(0, "0 ms"), (5_400_000, "1 h 30 min"), (86_400_001, "1 d 1 ms"), (-1000, "-1 s")];
        assert!(shown.iter().all(|(millis, text)| TimeSpan(*millis).to_string() == *text));
    }

    #[test]
    fn wall_clocks() {
        let berlin = WallClock::of(&DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into()))).unwrap();
        let hour = 3_600_000;
        // 2024-03-31 01:00 UTC: clocks go from 02:00 to 03:00.
        let spring = 1_711_846_800_000;
        assert_eq!(berlin.at(spring - 1), spring - 1 + hour);
        assert_eq!(berlin.at(spring), spring + 2 * hour);
        assert_eq!(berlin.instant(berlin.at(spring)), spring);
        assert_eq!(berlin.instant(berlin.at(spring - 1)), spring - 1);
        // 2024-10-27 01:00 UTC: clocks go from 03:00 back to 02:00.
        let autumn = 1_729_990_800_000;
        assert_eq!(berlin.at(autumn), autumn + hour);
        assert_eq!(berlin.instant(autumn + hour), autumn - hour);
        // What is shown between 02:00 and 03:00 is over in the second pass only.
        let (two, three) = (autumn + hour, autumn + 2 * hour);
        assert_eq!(berlin.passed(autumn - hour - 1), two - 1);
        assert_eq!(berlin.passed(autumn - hour), two - 1);
        assert_eq!(berlin.passed(autumn - 1), two - 1);
        assert_eq!(berlin.passed(autumn), two);
        assert_eq!(berlin.passed(autumn + hour - 1), three - 1);
        assert_eq!(berlin.passed(spring), berlin.at(spring));
        assert_eq!((berlin.passed(i64::MIN), berlin.passed(i64::MAX)), (i64::MIN, i64::MAX));
        let none = WallClock::of(&DataType::Timestamp(TimeUnit::Millisecond, None)).unwrap();
        assert_eq!((none.at(7), none.instant(7), none.passed(7)), (7, 7, 7));
    }
}
