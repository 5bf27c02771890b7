//! Dates and times as the text of records.

/// How timestamps are written in records: Flink's `timestamp-format.standard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeStyle {
    /// `2020-01-01 00:00:00.123`, with time zone `…Z`.
    Sql,
    /// `2020-01-01T00:00:00.123`, with time zone `…Z`.
    Iso,
    /// Read either; written as [`TimeStyle::Sql`].
    Any,
}

impl TimeStyle {
    pub(super) fn separator(self) -> u8 {
        if self == TimeStyle::Iso { b'T' } else { b' ' }
    }

    fn separates(self, byte: u8) -> bool {
        byte == self.separator() || self == TimeStyle::Any && byte == b'T'
    }
}

/// A point in time: seconds since the epoch and nanoseconds of the second.
pub(super) type Instant = (i64, u32);

/// `yyyy-MM-dd` as days since the epoch.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    date(text.as_bytes()).filter(|_| text.len() == 10)
}

/// `HH:mm:ss[.fraction]` as nanoseconds of the day.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let (seconds, nanos, rest) = time(text.as_bytes())?;
    rest.is_empty().then_some(seconds * 1_000_000_000 + i64::from(nanos))
}

/// Date, separator, time; with `zoned` and a `Z` behind it. Where either style is read, the `Z` is a matter of taste.
pub(super) fn parse_timestamp(text: &str, style: TimeStyle, zoned: bool) -> Option<Instant> {
    let bytes = text.as_bytes();
    let days = date(bytes)?;
    if !style.separates(*bytes.get(10)?) {
        return None;
    }
    let (seconds, nanos, rest) = time(bytes.get(11..)?)?;
    let fits = match rest {
        b"" => !zoned || style == TimeStyle::Any,
        b"Z" => zoned || style == TimeStyle::Any,
        _ => false,
    };
    fits.then_some((i64::from(days) * 86_400 + seconds, nanos))
}

fn date(b: &[u8]) -> Option<i32> {
    if *b.get(4)? != b'-' || *b.get(7)? != b'-' {
        return None;
    }
    let year = two(b, 0)? * 100 + two(b, 2)?;
    let (month, day) = (two(b, 5)?, two(b, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=last).contains(&day).then(|| days_from_civil(year, month, day))
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar; March is the first month of its year here, so
/// that the leap day comes last.
fn days_from_civil(year: u32, month: u32, day: u32) -> i32 {
    let year = year as i32 - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month as i32 + 9) % 12) + 2) / 5 + day as i32 - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Seconds of the day, nanoseconds of the second, and what follows.
fn time(b: &[u8]) -> Option<(i64, u32, &[u8])> {
    let (hour, minute, second) = (two(b, 0)?, two(b, 3)?, two(b, 6)?);
    if *b.get(2)? != b':' || *b.get(5)? != b':' || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    let rest = b.get(8..)?;
    let Some((b'.', fraction)) = rest.split_first() else { return Some((seconds, 0, rest)) };
    let digits = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let (number, rest) = fraction.split_at(digits);
    let value = number.iter().fold(0, |n, c| n * 10 + u32::from(c - b'0'));
    Some((seconds, value * 10u32.pow(9 - digits as u32), rest))
}

fn two(b: &[u8], at: usize) -> Option<u32> {
    let (tens, ones) = (b.get(at)?.wrapping_sub(b'0'), b.get(at + 1)?.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// Year, month and day of a day since the epoch; the reverse of [`parse_date`], for any year.
pub(super) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = (if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 }) as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_there_and_back() {
        for day in (-719_528..=2_932_896).step_by(97) {
            let (y, m, d) = civil_from_days(day);
            assert_eq!(parse_date(&format!("{y:04}-{m:02}-{d:02}")), Some(day as i32));
        }
        assert_eq!(parse_date("1970-01-01"), Some(0));
        for wrong in
            ["", "2021-02-29", "2021-13-01", "2021-00-10", "2021-1-1", "2021-01-01x", "x021-01-01", "é21-01-01"]
        {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn timestamps_by_style() {
        use TimeStyle::{Any, Iso, Sql};
        assert_eq!(parse_timestamp("1970-01-01 00:00:01.5", Sql, false), Some((1, 500_000_000)));
        assert_eq!(parse_timestamp("1970-01-01T00:00:01", Iso, false), Some((1, 0)));
        assert_eq!(parse_timestamp("1970-01-01T00:00:01", Sql, false), None);
        assert_eq!(parse_timestamp("1970-01-01 00:00:01", Iso, false), None);
        assert_eq!(parse_timestamp("1970-01-01 00:00:01Z", Sql, true), Some((1, 0)));
        assert_eq!(parse_timestamp("1970-01-01 00:00:01", Sql, true), None);
        assert_eq!(parse_timestamp("1970-01-01T00:00:01Z", Any, false), Some((1, 0)));
        assert_eq!(parse_timestamp("1969-12-31 23:59:59.999", Sql, false), Some((-1, 999_000_000)));
        for wrong in ["1970-01-01 24:00:00", "1970-01-01 00:00:00.", "1970-01-01 00:00:00.1234567890", "1970-01-01"] {
            assert_eq!(parse_timestamp(wrong, Sql, false), None, "{wrong}");
        }
    }

    #[test]
    fn times_of_day() {
        assert_eq!(parse_time("01:02:03.004"), Some(3_723_004_000_000));
        assert_eq!(parse_time("01:02"), None);
    }
}
