//! Units of time: what EXTRACT reads, and what FLOOR, CEIL, TIMESTAMPADD and TIMESTAMPDIFF count in.

use chrono::{Datelike, NaiveDateTime, TimeDelta, Timelike};

use super::temporal::{add_days, add_months};

/// A unit or a part of a date-time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Thousand years.
    Millennium,
    /// Hundred years.
    Century,
    /// Ten years.
    Decade,
    /// The year.
    Year,
    /// The year that the ISO week belongs to.
    IsoYear,
    /// Three months.
    Quarter,
    /// The month.
    Month,
    /// The ISO week; as a span, seven days from Sunday on.
    Week,
    /// The day of the month.
    Day,
    /// The day of the year.
    DayOfYear,
    /// The day of the week; Sunday is 1.
    DayOfWeek,
    /// The day of the week; Monday is 1.
    IsoDayOfWeek,
    /// The hour.
    Hour,
    /// The minute.
    Minute,
    /// The second.
    Second,
    /// The fraction of the second in milliseconds.
    Millisecond,
    /// The fraction of the second in microseconds.
    Microsecond,
    /// The fraction of the second in nanoseconds.
    Nanosecond,
    /// Seconds since 1970.
    Epoch,
}

impl Unit {
    /// The unit of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("SQL_TSI_").unwrap_or(&name);
        Some(match name {
            "MILLENNIUM" => Self::Millennium,
            "CENTURY" => Self::Century,
            "DECADE" => Self::Decade,
            "YEAR" | "YEARS" => Self::Year,
            "ISOYEAR" => Self::IsoYear,
            "QUARTER" | "QUARTERS" => Self::Quarter,
            "MONTH" | "MONTHS" => Self::Month,
            "WEEK" | "WEEKS" => Self::Week,
            "DAY" | "DAYS" => Self::Day,
            "DOY" | "DAYOFYEAR" => Self::DayOfYear,
            "DOW" | "DAYOFWEEK" => Self::DayOfWeek,
            "ISODOW" => Self::IsoDayOfWeek,
            "HOUR" | "HOURS" => Self::Hour,
            "MINUTE" | "MINUTES" => Self::Minute,
            "SECOND" | "SECONDS" => Self::Second,
            "MILLISECOND" | "MILLISECONDS" => Self::Millisecond,
            "MICROSECOND" | "MICROSECONDS" => Self::Microsecond,
            "NANOSECOND" | "NANOSECONDS" => Self::Nanosecond,
            "EPOCH" => Self::Epoch,
            _ => return None,
        })
    }

    /// Whether it is shorter than a day.
    pub(super) fn within_day(self) -> bool {
        self.span().is_some_and(|span| span < TimeDelta::days(1))
    }

    /// This part of a date-time.
    pub(super) fn of(self, t: NaiveDateTime) -> i64 {
        let year = i64::from(t.year());
        match self {
            Self::Millennium => (year - 1).div_euclid(1000) + 1,
            Self::Century => (year - 1).div_euclid(100) + 1,
            Self::Decade => year.div_euclid(10),
            Self::Year => year,
            Self::IsoYear => i64::from(t.iso_week().year()),
            Self::Quarter => i64::from(t.month0() / 3 + 1),
            Self::Month => i64::from(t.month()),
            Self::Week => i64::from(t.iso_week().week()),
            Self::Day => i64::from(t.day()),
            Self::DayOfYear => i64::from(t.ordinal()),
            Self::DayOfWeek => i64::from(t.weekday().number_from_sunday()),
            Self::IsoDayOfWeek => i64::from(t.weekday().number_from_monday()),
            Self::Hour => i64::from(t.hour()),
            Self::Minute => i64::from(t.minute()),
            Self::Second => i64::from(t.second()),
            Self::Millisecond => i64::from(t.nanosecond() / 1_000_000),
            Self::Microsecond => i64::from(t.nanosecond() / 1_000),
            Self::Nanosecond => i64::from(t.nanosecond()),
            Self::Epoch => t.and_utc().timestamp(),
        }
    }

    /// How many months it has; 0 when it is no multiple of months.
    fn months(self) -> i64 {
        match self {
            Self::Millennium => 12_000,
            Self::Century => 1_200,
            Self::Decade => 120,
            Self::Year | Self::IsoYear => 12,
            Self::Quarter => 3,
            Self::Month => 1,
            _ => 0,
        }
    }

    /// How long it is; nothing for months and more.
    fn span(self) -> Option<TimeDelta> {
        Some(match self {
            Self::Week => TimeDelta::days(7),
            Self::Day | Self::DayOfYear | Self::DayOfWeek | Self::IsoDayOfWeek => TimeDelta::days(1),
            Self::Hour => TimeDelta::hours(1),
            Self::Minute => TimeDelta::minutes(1),
            Self::Second | Self::Epoch => TimeDelta::seconds(1),
            Self::Millisecond => TimeDelta::milliseconds(1),
            Self::Microsecond => TimeDelta::microseconds(1),
            Self::Nanosecond => TimeDelta::nanoseconds(1),
            _ => return None,
        })
    }

    /// The beginning of the unit that a date-time lies in.
    pub(super) fn floor(self, t: NaiveDateTime) -> Option<NaiveDateTime> {
        let date = t.date();
        if let months @ 1.. = self.months() {
            let of_all = i64::from(t.year()) * 12 + i64::from(t.month0());
            // Centuries and millennia begin with the year 1 of theirs.
            let shift = if months > 120 { 12 } else { 0 };
            let first = (of_all - shift).div_euclid(months) * months + shift;
            return Some(add_months(date.with_day(1)?, first - of_all)?.into());
        }
        match self {
            Self::Week => Some(add_days(date, -i64::from(t.weekday().num_days_from_sunday()))?.into()),
            _ => {
                let within = i64::from(t.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(t.nanosecond());
                let unit = self.span()?.num_nanoseconds()?;
                t.checked_sub_signed(TimeDelta::nanoseconds(within % unit))
            }
        }
    }

    /// The beginning of the next unit, or the date-time itself where a unit begins.
    pub(super) fn ceil(self, t: NaiveDateTime) -> Option<NaiveDateTime> {
        let floor = self.floor(t)?;
        if floor == t { Some(t) } else { self.add(floor, 1) }
    }

    /// A date-time so many units later.
    pub(super) fn add(self, t: NaiveDateTime, n: i64) -> Option<NaiveDateTime> {
        match (self.months(), self.span()) {
            (_, Some(span)) => {
                let nanos = i128::from(span.num_nanoseconds()?).checked_mul(i128::from(n))?;
                let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
                t.checked_add_signed(TimeDelta::new(i64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?)?)
            }
            (months, None) => Some(add_months(t.date(), months.checked_mul(n)?)?.and_time(t.time())),
        }
    }

    /// How many whole units lie between two date-times.
    pub(super) fn between(self, from: NaiveDateTime, to: NaiveDateTime) -> Option<i64> {
        if let Some(span) = self.span() {
            let whole = to.signed_duration_since(from);
            let nanos = |d: TimeDelta| i128::from(d.num_seconds()) * 1_000_000_000 + i128::from(d.subsec_nanos());
            return i64::try_from(nanos(whole) / nanos(span)).ok();
        }
        Some(months_between(from, to)? / self.months())
    }
}

fn months_between(from: NaiveDateTime, to: NaiveDateTime) -> Option<i64> {
    if to < from {
        return months_between(to, from).map(|n| -n);
    }
    let of_all = |t: NaiveDateTime| i64::from(t.year()) * 12 + i64::from(t.month0());
    let estimate = of_all(to) - of_all(from);
    let reached = add_months(from.date(), estimate)?.and_time(from.time());
    Some(if reached > to { estimate - 1 } else { estimate })
}
