//! Times in scripts.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};

use crate::format::value_from_text;
use crate::table::options::parse_duration;
use crate::{Error, Result};

/// The day on which scripts play, for times of day without a date.
const DAY: &str = "2024-01-01";

/// Where the clock stands at the beginning: 2024-01-01 00:00:00 UTC.
pub(super) const START: i64 = 1_704_067_200_000;

/// A point in time with what may be left out filled in: the date, seconds. Other text comes back as it is.
pub(super) fn completed(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_time = bytes.get(2) == Some(&b':') && bytes.iter().all(|b| b.is_ascii_digit() || b":.".contains(b));
    let seconds = |time: &str| if time.len() == 5 { ":00" } else { "" };
    match text.get(10..11) {
        _ if is_time => format!("{DAY} {text}{}", seconds(text)),
        Some(" " | "T") if text.len() == 16 => format!("{text}:00"),
        _ => text.to_string(),
    }
}

/// Text with its quotes taken off.
pub(super) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let quoted = |q: char| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
    quoted('\'').or_else(|| quoted('"')).unwrap_or(text)
}

/// A point in time as milliseconds since the epoch: `'2024-01-01 00:00:10'`, or a time of day.
pub(super) fn millis(text: &str) -> Result<i64> {
    let text = unquoted(text);
    let array = value_from_text(&DataType::Timestamp(TimeUnit::Millisecond, None), Some(&completed(text)));
    let array = array.map_err(|_| Error::Option(format!("'{text}' is no time; write '{DAY} 00:00:10' or 00:00:10")))?;
    Ok(array.as_primitive::<TimestampMillisecondType>().value(0))
}

/// A span of time in milliseconds: `10 s`, `5min`.
pub(super) fn span(text: &str) -> Result<i64> {
    let text = unquoted(text);
    let span = parse_duration(text).and_then(|d| i64::try_from(d.as_millis()).ok());
    span.ok_or_else(|| Error::Option(format!("'{text}' is no span of time; write '10 s' or '5 min'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_short() {
        assert_eq!(millis("'2024-01-01 00:00:00'").unwrap(), START);
        assert_eq!(millis("2024-01-01T00:00").unwrap(), START);
        assert_eq!(millis("00:00:01.5").unwrap(), START + 1500);
        assert_eq!(millis("01:00").unwrap(), START + 3_600_000);
        assert!(millis("tomorrow").unwrap_err().to_string().contains("tomorrow"));
        assert_eq!(span("10 s").unwrap(), 10_000);
        assert!(span("soon").is_err());
        assert_eq!(completed("a:b"), "a:b");
    }
}
