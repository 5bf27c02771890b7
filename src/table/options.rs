//! The `WITH` options of a table: keys, their kinds, and reading them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Error, Result};

/// What an option's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// A decimal number.
    Double,
    /// `true` or `false`.
    Boolean,
    /// A time span as Flink writes it: `10 s`, `5min`, `200 ms`, `1 h`, or a bare number of milliseconds.
    Duration,
    /// A size as Flink writes it: `128 mb`, `1kb`, `64`.
    Memory,
}

/// One option that a connector or format knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionSpec {
    /// The key; a `#` in it stands for a column's name, as in `fields.#.min`.
    pub key: Cow<'static, str>,
    /// What its value is.
    pub kind: OptionKind,
    /// Whether a table cannot be used without it.
    pub required: bool,
}

impl OptionSpec {
    /// An option that may be left out.
    pub const fn optional(key: &'static str, kind: OptionKind) -> Self {
        Self { key: Cow::Borrowed(key), kind, required: false }
    }

    /// An option that must be there.
    pub const fn required(key: &'static str, kind: OptionKind) -> Self {
        Self { key: Cow::Borrowed(key), kind, required: true }
    }

    /// The same option under a prefix, as `key.` before the options of a message's key.
    pub fn under(self, prefix: &str) -> Self {
        Self { key: Cow::Owned(format!("{prefix}{}", self.key)), ..self }
    }

    /// Whether `key` is this option.
    pub fn matches(&self, key: &str) -> bool {
        match self.key.split_once('#') {
            None => self.key == key,
            Some((before, after)) => {
                key.len() > before.len() + after.len() && key.starts_with(before) && key.ends_with(after)
            }
        }
    }
}

/// The options of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// An option's text.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Sets an option.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), value.into());
    }

    /// Removes an option.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// The options whose keys begin with `prefix`, without it.
    pub fn under(&self, prefix: &str) -> Options {
        let stripped = |(k, v): (&str, &str)| Some((k.strip_prefix(prefix)?.to_owned(), v.to_owned()));
        Options(self.iter().filter_map(stripped).collect())
    }

    /// All options, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// An option that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn require(&self, key: &str) -> Result<&str> {
        self.get(key).ok_or_else(|| Error::Option(format!("option '{key}' is required")))
    }

    /// A whole number.
    ///
    /// # Errors
    /// When the text is none.
    pub fn integer(&self, key: &str) -> Result<Option<i64>> {
        self.parsed(key, "a whole number", |s| s.parse().ok())
    }

    /// A decimal number.
    ///
    /// # Errors
    /// When the text is none.
    pub fn double(&self, key: &str) -> Result<Option<f64>> {
        self.parsed(key, "a number", |s| s.parse().ok())
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.parsed(key, "true or false", |s| match s.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
    }

    /// A time span.
    ///
    /// # Errors
    /// When the text is none.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>> {
        self.parsed(key, "a time span such as '10 s'", parse_duration)
    }

    /// A size in bytes.
    ///
    /// # Errors
    /// When the text is none.
    pub fn memory(&self, key: &str) -> Result<Option<u64>> {
        self.parsed(key, "a size such as '128 mb'", parse_memory)
    }

    fn parsed<T>(&self, key: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(text) = self.get(key) else { return Ok(None) };
        match parse(text.trim()) {
            Some(v) => Ok(Some(v)),
            None => Err(Error::Option(format!("option '{key}' = '{text}': expected {what}"))),
        }
    }

    /// Checks every key and value against what the connector knows.
    ///
    /// # Errors
    /// An unknown key, with the nearest known one; a value of the wrong kind; a required key that is missing.
    pub fn check(&self, known: &[OptionSpec]) -> Result<()> {
        for (key, _) in self.iter().filter(|(k, _)| *k != "connector") {
            let Some(spec) = known.iter().find(|s| s.matches(key)) else {
                return Err(unknown_key(key, known));
            };
            match spec.kind {
                OptionKind::Text => {}
                OptionKind::Integer => drop(self.integer(key)?),
                OptionKind::Double => drop(self.double(key)?),
                OptionKind::Boolean => drop(self.boolean(key)?),
                OptionKind::Duration => drop(self.duration(key)?),
                OptionKind::Memory => drop(self.memory(key)?),
            }
        }
        match known.iter().find(|s| s.required && self.get(&s.key).is_none()) {
            Some(missing) => Err(Error::Option(format!("option '{}' is required", missing.key))),
            None => Ok(()),
        }
    }
}

fn unknown_key(key: &str, known: &[OptionSpec]) -> Error {
    let keys = || known.iter().map(|s| s.key.as_ref());
    match nearest(key, keys()) {
        Some(k) => Error::Option(format!("unknown option '{key}'; did you mean '{k}'?")),
        None => {
            let all = keys().map(|k| format!("'{k}'")).collect::<Vec<_>>().join(", ");
            Error::Option(format!("unknown option '{key}'; known are {all}"))
        }
    }
}

/// The candidate that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(word, c), c))
        .filter(|(d, c)| *d <= c.len().max(word.len()) / 3 + 1)
        .min()
        .map(|(_, c)| c)
}

/// A time span as Flink writes it.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text)?;
    let nanos: u64 = match unit {
        "d" | "day" | "days" => 86_400_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "s" | "sec" | "second" | "seconds" => 1_000_000_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        _ => return None,
    };
    Some(Duration::from_nanos(number.checked_mul(nanos)?))
}

/// A size in Flink's notation: `64 mb`.
pub fn parse_memory(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let bytes: u64 = match unit {
        "" | "b" | "bytes" => 1,
        "k" | "kb" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gibibytes" => 1 << 30,
        "t" | "tb" | "tebibytes" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = text[end..].trim();
    // Flink takes units in any case.
    let known = UNITS.iter().find(|u| u.eq_ignore_ascii_case(unit)).copied().unwrap_or(unit);
    Some((text[..end].parse().ok()?, known))
}

const UNITS: [&str; 12] = ["d", "h", "min", "s", "ms", "us", "ns", "b", "kb", "mb", "gb", "tb"];
