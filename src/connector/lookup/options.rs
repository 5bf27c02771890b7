//! The options of look-ups, under Flink's names.

use std::time::Duration;

use super::LookupMode;
use crate::table::{OptionKind, OptionSpec, Options};
use crate::{Error, Result};

const CACHE: &str = "lookup.cache";
const MAX_RETRIES: &str = "lookup.max-retries";
const MAX_ROWS: &str = "lookup.partial-cache.max-rows";
const AFTER_WRITE: &str = "lookup.partial-cache.expire-after-write";
const AFTER_ACCESS: &str = "lookup.partial-cache.expire-after-access";
const MISSING_KEY: &str = "lookup.partial-cache.cache-missing-key";
const RELOAD_STRATEGY: &str = "lookup.full-cache.reload-strategy";
const RELOAD_INTERVAL: &str = "lookup.full-cache.periodic-reload.interval";
const RELOAD_SCHEDULE: &str = "lookup.full-cache.periodic-reload.schedule-mode";

/// Flink's default.
const DEFAULT_MAX_RETRIES: u32 = 3;
/// A cache is bounded, also where the table does not say by what.
const DEFAULT_MAX_ROWS: usize = 100_000;

/// What is kept of answers to look-ups: `'lookup.cache' = 'PARTIAL'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// How many rows at most; a key without rows counts as one. Keys that were asked for the longest time ago go first.
    pub max_rows: usize,
    /// For how long an answer is used after it came.
    pub expire_after_write: Option<Duration>,
    /// For how long an answer is used after it was last used.
    pub expire_after_access: Option<Duration>,
    /// Whether it is kept that there is no row for a key.
    pub cache_missing_key: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            max_rows: DEFAULT_MAX_ROWS,
            expire_after_write: None,
            expire_after_access: None,
            cache_missing_key: true,
        }
    }
}

/// The options of a table that is asked by key, for [`keyed_mode`].
pub fn cache_option_specs() -> Vec<OptionSpec> {
    use OptionKind::{Boolean, Duration, Integer, Text};
    vec![
        OptionSpec::optional(CACHE, Text),
        OptionSpec::optional(MAX_RETRIES, Integer),
        OptionSpec::optional(MAX_ROWS, Integer),
        OptionSpec::optional(AFTER_WRITE, Duration),
        OptionSpec::optional(AFTER_ACCESS, Duration),
        OptionSpec::optional(MISSING_KEY, Boolean),
    ]
}

/// The options of a table that is kept whole, for [`full_cache_mode`].
pub fn full_cache_option_specs() -> Vec<OptionSpec> {
    use OptionKind::{Duration, Integer, Text};
    vec![
        OptionSpec::optional(CACHE, Text),
        OptionSpec::optional(MAX_RETRIES, Integer),
        OptionSpec::optional(RELOAD_STRATEGY, Text),
        OptionSpec::optional(RELOAD_INTERVAL, Duration),
        OptionSpec::optional(RELOAD_SCHEDULE, Text),
    ]
}

/// How a table is asked by key, by its options.
///
/// # Errors
/// When the options do not go together.
pub fn keyed_mode(options: &Options) -> Result<LookupMode> {
    let max_retries = max_retries(options)?;
    let kind = options.get(CACHE).unwrap_or("NONE").to_ascii_uppercase();
    let cache = match kind.as_str() {
        "PARTIAL" => Some(cache(options)?),
        "NONE" => {
            match [MAX_ROWS, AFTER_WRITE, AFTER_ACCESS, MISSING_KEY].into_iter().find(|k| options.get(k).is_some()) {
                Some(key) => return Err(Error::Option(format!("option '{key}' needs '{CACHE}' = 'PARTIAL'"))),
                None => None,
            }
        }
        other => return Err(Error::Option(format!("option '{CACHE}' = '{other}': expected NONE or PARTIAL"))),
    };
    Ok(LookupMode::Keyed { cache, max_retries })
}

fn cache(options: &Options) -> Result<CacheOptions> {
    let defaults = CacheOptions::default();
    let max_rows = match options.integer(MAX_ROWS)? {
        None => defaults.max_rows,
        Some(rows) => usize::try_from(rows).ok().filter(|rows| *rows > 0).ok_or_else(|| {
            Error::Option(format!("option '{MAX_ROWS}' = '{rows}': expected a whole number of at least 1"))
        })?,
    };
    Ok(CacheOptions {
        max_rows,
        expire_after_write: options.duration(AFTER_WRITE)?,
        expire_after_access: options.duration(AFTER_ACCESS)?,
        cache_missing_key: options.boolean(MISSING_KEY)?.unwrap_or(defaults.cache_missing_key),
    })
}

/// How a table is kept whole, by its options.
///
/// # Errors
/// When the options do not go together.
pub fn full_cache_mode(options: &Options) -> Result<LookupMode> {
    let expect = |key: &str, only: &str| match options.get(key) {
        Some(value) if !value.eq_ignore_ascii_case(only) => {
            Err(Error::Option(format!("option '{key}' = '{value}': here it can only be {only}")))
        }
        _ => Ok(()),
    };
    expect(CACHE, "FULL")?;
    expect(RELOAD_STRATEGY, "PERIODIC")?;
    expect(RELOAD_SCHEDULE, "FIXED_DELAY")?;
    let reload = options.duration(RELOAD_INTERVAL)?;
    if reload.is_some_and(|interval| interval.is_zero()) {
        return Err(Error::Option(format!("option '{RELOAD_INTERVAL}' must be longer than nothing")));
    }
    Ok(LookupMode::Whole { reload, max_retries: max_retries(options)? })
}

fn max_retries(options: &Options) -> Result<u32> {
    let Some(retries) = options.integer(MAX_RETRIES)? else { return Ok(DEFAULT_MAX_RETRIES) };
    let whole = u32::try_from(retries).ok();
    whole.ok_or_else(|| {
        Error::Option(format!("option '{MAX_RETRIES}' = '{retries}': expected a whole number of at least 0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let mut options = Options::default();
        pairs.iter().for_each(|(k, v)| options.set(*k, *v));
        options
    }

    #[test]
    fn options_say_how_a_table_is_asked() {
        assert_eq!(keyed_mode(&options(&[])).unwrap(), LookupMode::Keyed { cache: None, max_retries: 3 });
        let given = options(&[(CACHE, "partial"), (MAX_ROWS, "5"), (AFTER_WRITE, "1 min"), (MISSING_KEY, "false")]);
        let cache = CacheOptions {
            max_rows: 5,
            expire_after_write: Some(Duration::from_secs(60)),
            expire_after_access: None,
            cache_missing_key: false,
        };
        assert_eq!(keyed_mode(&given).unwrap(), LookupMode::Keyed { cache: Some(cache), max_retries: 3 });
        for wrong in [
            vec![(CACHE, "FULL")],
            vec![(MAX_ROWS, "5")],
            vec![(CACHE, "PARTIAL"), (MAX_ROWS, "0")],
            vec![(MAX_RETRIES, "-1")],
        ] {
            assert!(keyed_mode(&options(&wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn options_say_how_a_table_is_kept() {
        let given = options(&[(CACHE, "FULL"), (RELOAD_STRATEGY, "PERIODIC"), (RELOAD_INTERVAL, "5 s")]);
        let mode = LookupMode::Whole { reload: Some(Duration::from_secs(5)), max_retries: 3 };
        assert_eq!(full_cache_mode(&given).unwrap(), mode);
        for wrong in
            [(CACHE, "NONE"), (RELOAD_STRATEGY, "TIMED"), (RELOAD_SCHEDULE, "FIXED_RATE"), (RELOAD_INTERVAL, "0")]
        {
            assert!(full_cache_mode(&options(&[wrong])).is_err(), "{wrong:?}");
        }
    }
}
