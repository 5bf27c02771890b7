//! Texts of dates and times: Java's patterns, and SQL's own form.

use std::fmt::Write as _;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// Most letters of one kind in a row that a pattern may have.
const WIDEST: usize = 19;

/// A pattern of `java.time.format.DateTimeFormatter`, of the letters `y u M L d D H h k K m s S a A n E Q` and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(char, usize),
}

impl Pattern {
    /// Reads a pattern; nothing when it is none, or has a letter that is not known.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                parts.push(Part::Text(quoted(&mut chars)?));
            } else if c.is_ascii_alphabetic() {
                let mut width = 1;
                while chars.next_if_eq(&c).is_some() {
                    width += 1;
                }
                if !"yuMLdDHhkKmsSaAnEQ".contains(c) || width > WIDEST {
                    return None;
                }
                parts.push(Part::Field(c, width));
            } else {
                parts.push(Part::Text(c.to_string()));
            }
        }
        Some(Self(parts))
    }

    /// For how many seconds, counted from the epoch in whole spans, the text stays the same; nothing when it can change
    /// within a second.
    pub(super) fn span(&self) -> Option<i64> {
        let span = |part: &Part| match part {
            Part::Text(_) | Part::Field('y' | 'u' | 'M' | 'L' | 'd' | 'D' | 'E' | 'Q', _) => Some(86_400),
            Part::Field('H' | 'h' | 'k' | 'K' | 'a', _) => Some(3_600),
            Part::Field('m', _) => Some(60),
            Part::Field('s', _) => Some(1),
            Part::Field(..) => None,
        };
        self.0.iter().map(span).try_fold(86_400, |least: i64, span| Some(least.min(span?)))
    }

    /// Writes a date-time.
    pub(super) fn format(&self, t: NaiveDateTime) -> String {
        let mut out = String::with_capacity(24);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(letter, width) => write_field(&mut out, t, *letter, *width),
            }
        }
        out
    }

    /// Reads a date-time, all of the text; what the pattern leaves out is 1970-01-01 00:00:00.
    pub(super) fn parse(&self, text: &str) -> Option<NaiveDateTime> {
        let mut read = Read { rest: text, year: 1970, month: 1, day: 1, ..Read::default() };
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(text) => read.rest = read.rest.strip_prefix(text.as_str())?,
                Part::Field(letter, width) => {
                    let adjacent = matches!(parts.peek(), Some(Part::Field(next, _)) if !"aE".contains(*next));
                    read.field(*letter, *width, adjacent)?;
                }
            }
        }
        read.finish()
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars>) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' if text.is_empty() => return Some("'".to_string()),
            '\'' => return Some(text),
            c => text.push(c),
        }
    }
}

fn write_field(out: &mut String, t: NaiveDateTime, letter: char, width: usize) {
    let hour12 = t.hour12().1;
    let number: i64 = match letter {
        'y' | 'u' if width == 2 => i64::from(t.year().rem_euclid(100)),
        'y' | 'u' => i64::from(t.year()),
        'M' | 'L' if width >= 3 => return out.push_str(&name(&t.format("%B").to_string(), width)),
        'M' | 'L' => i64::from(t.month()),
        'd' => i64::from(t.day()),
        'D' => i64::from(t.ordinal()),
        'H' => i64::from(t.hour()),
        'k' => i64::from(if t.hour() == 0 { 24 } else { t.hour() }),
        'h' => i64::from(hour12),
        'K' => i64::from(t.hour() % 12),
        'm' => i64::from(t.minute()),
        's' => i64::from(t.second()),
        'n' => i64::from(t.nanosecond()),
        'A' => i64::from(t.num_seconds_from_midnight()) * 1000 + i64::from(t.nanosecond() / 1_000_000),
        'Q' => i64::from(t.month0() / 3 + 1),
        'a' => return out.push_str(if t.hour() < 12 { "AM" } else { "PM" }),
        'E' => return out.push_str(&name(&t.format("%A").to_string(), width)),
        _ => {
            let digits = format!("{:09}", t.nanosecond());
            out.push_str(digits.get(..width.min(9)).unwrap_or_default());
            return out.extend(std::iter::repeat_n('0', width.saturating_sub(9)));
        }
    };
    // Writing into a String does not fail.
    let _ = write!(out, "{number:0width$}");
}

fn name(full: &str, width: usize) -> String {
    let letters = match width {
        4 => full.len(),
        5 => 1,
        _ => 3,
    };
    full.chars().take(letters).collect()
}

#[derive(Default)]
struct Read<'a> {
    rest: &'a str,
    year: i32,
    month: u32,
    day: u32,
    ordinal: Option<u32>,
    hour: u32,
    hour12: Option<u32>,
    afternoon: bool,
    minute: u32,
    second: u32,
    nano: u32,
}

impl Read<'_> {
    fn field(&mut self, letter: char, width: usize, adjacent: bool) -> Option<()> {
        let most = if adjacent || width > 1 { width } else { WIDEST };
        match letter {
            'y' | 'u' if width == 2 => self.year = 2000 + i32::try_from(self.number(2, 2)?).ok()?,
            'y' | 'u' => self.year = i32::try_from(self.number(width.min(4), most.max(4))?).ok()?,
            'M' | 'L' if width >= 3 => self.month = self.month_name(width)?,
            'M' | 'L' => self.month = self.number(width, most)?,
            'd' => self.day = self.number(width, most)?,
            'D' => self.ordinal = Some(self.number(width, most)?),
            'H' => self.hour = self.number(width, most)?,
            'k' => self.hour = self.number(width, most)? % 24,
            'h' | 'K' => self.hour12 = Some(self.number(width, most)? % 12),
            'm' => self.minute = self.number(width, most)?,
            's' => self.second = self.number(width, most)?,
            'S' => {
                let value = self.number(width.min(9), width.min(9))?;
                self.nano = value * 10u32.pow(9 - u32::try_from(width.min(9)).ok()?);
            }
            'a' => {
                let (half, rest) = self.rest.split_at_checked(2)?;
                self.afternoon = half.eq_ignore_ascii_case("PM");
                if !self.afternoon && !half.eq_ignore_ascii_case("AM") {
                    return None;
                }
                self.rest = rest;
            }
            'E' => {
                let end = self.rest.find(|c: char| !c.is_alphabetic()).unwrap_or(self.rest.len());
                self.rest = self.rest.get(end..)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let end = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if end < least {
            return None;
        }
        let (digits, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        digits.parse().ok()
    }

    fn month_name(&mut self, width: usize) -> Option<u32> {
        for month in 1..=12 {
            let full = NaiveDate::from_ymd_opt(2000, month, 1)?.format("%B").to_string();
            if let Some(rest) = self.rest.strip_prefix(name(&full, width).as_str()) {
                self.rest = rest;
                return Some(month);
            }
        }
        None
    }

    fn finish(self) -> Option<NaiveDateTime> {
        if !self.rest.is_empty() {
            return None;
        }
        let hour = match self.hour12 {
            Some(hour) => hour + if self.afternoon { 12 } else { 0 },
            None => self.hour,
        };
        let date = match self.ordinal {
            Some(day) => NaiveDate::from_yo_opt(self.year, day)?,
            None => NaiveDate::from_ymd_opt(self.year, self.month, self.day)?,
        };
        date.and_hms_nano_opt(hour, self.minute, self.second, self.nano)
    }
}

/// `2021-03-04`, also with single digits; blanks around it and a time behind it are left aside.
pub(super) fn parse_date(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    let date = text.split([' ', 'T']).next()?;
    let mut parts = date.splitn(3, '-');
    let mut number = |most: usize| {
        let part = parts.next()?;
        (!part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_digit())).then_some(part)
    };
    let (year, month, day) = (number(4)?.parse().ok()?, number(2)?.parse().ok()?, number(2)?.parse().ok()?);
    NaiveDate::from_ymd_opt(year, month, day)
}

/// `10:11:12.345`; seconds and fraction may be left out.
pub(super) fn parse_time(text: &str) -> Option<NaiveTime> {
    let (clock, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let mut parts = clock.split(':');
    let mut number = |default: Option<u32>| match parts.next() {
        Some(p) => (p.len() <= 2 && p.bytes().all(|b| b.is_ascii_digit())).then(|| p.parse().ok()).flatten(),
        None => default,
    };
    let (hour, minute, second) = (number(None)?, number(Some(0))?, number(Some(0))?);
    if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nano = format!("{fraction:0<9}").parse().ok()?;
    NaiveTime::from_hms_nano_opt(hour, minute, second, nano)
}

/// `2021-03-04 10:11:12.345`; the fraction or the whole time may be left out.
pub(super) fn parse_timestamp(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim();
    match text.split_once(' ') {
        Some((date, time)) if time.matches(':').count() == 2 => Some(strict_date(date)?.and_time(parse_time(time)?)),
        Some(_) => None,
        None => Some(strict_date(text)?.and_time(NaiveTime::MIN)),
    }
}

fn strict_date(text: &str) -> Option<NaiveDate> {
    if text.contains('T') { None } else { parse_date(text) }
}

/// A date-time in SQL's form, with so many digits of a second.
pub(super) fn format_timestamp(t: NaiveDateTime, digits: u32) -> String {
    let date = t.date();
    format!("{:04}-{:02}-{:02} {}", date.year(), date.month(), date.day(), format_time(t.time(), digits))
}

/// A time of day in SQL's form, with so many digits of a second.
pub(super) fn format_time(t: NaiveTime, digits: u32) -> String {
    let mut out = format!("{:02}:{:02}:{:02}", t.hour(), t.minute(), t.second());
    if digits > 0 {
        let fraction = t.nanosecond() / 10u32.pow(9 - digits.min(9));
        let width = digits as usize;
        let _ = write!(out, ".{fraction:0width$}");
    }
    out
}
