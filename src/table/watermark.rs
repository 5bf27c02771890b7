//! The options of a table's watermark, under Flink's names.

use std::time::Duration;

use super::{OptionKind, OptionSpec, Options};
use crate::{Error, Result};

const IDLE_TIMEOUT: &str = "scan.watermark.idle-timeout";
const GROUP: &str = "scan.watermark.alignment.group";
const MAX_DRIFT: &str = "scan.watermark.alignment.max-drift";
const UPDATE_INTERVAL: &str = "scan.watermark.alignment.update-interval";
const EMIT_STRATEGY: &str = "scan.watermark.emit.strategy";
const EMIT_GAP: &str = "scan.watermark.emit.on-event.gap";

/// What a table's options say of its watermark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatermarkOptions {
    /// After so long without rows the source, or a partition of it, does not hold the watermark back; `None`: as the session
    /// says.
    pub idle_timeout: Option<Duration>,
    /// The sources that it keeps pace with.
    pub alignment: Option<Alignment>,
}

/// Sources that keep pace with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignment {
    /// The name that they share.
    pub group: String,
    /// How far this source's watermark may be ahead of the least in its group, in milliseconds.
    pub max_drift: i64,
}

impl WatermarkOptions {
    /// The options, which every table that is read may have.
    pub fn specs() -> [OptionSpec; 6] {
        [
            OptionSpec::optional(IDLE_TIMEOUT, OptionKind::Duration),
            OptionSpec::optional(GROUP, OptionKind::Text),
            OptionSpec::optional(MAX_DRIFT, OptionKind::Duration),
            OptionSpec::optional(UPDATE_INTERVAL, OptionKind::Duration),
            OptionSpec::optional(EMIT_STRATEGY, OptionKind::Text),
            OptionSpec::optional(EMIT_GAP, OptionKind::Integer),
        ]
    }

    /// Reads them. When watermarks are emitted and how often sources are held against each other is accepted and means
    /// nothing: both happen at every step.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn read(options: &Options) -> Result<Self> {
        let wrong = |message: String| Err(Error::Option(message));
        if let Some(other) = options.get(EMIT_STRATEGY).filter(|s| !["on-event", "on-periodic"].contains(s)) {
            return wrong(format!("option '{EMIT_STRATEGY}' = '{other}': expected 'on-event' or 'on-periodic'"));
        }
        let alignment = match (options.get(GROUP), options.duration(MAX_DRIFT)?) {
            (None, None) => None,
            (Some(group), Some(drift)) => {
                let max_drift = i64::try_from(drift.as_millis()).unwrap_or(i64::MAX);
                Some(Alignment { group: group.to_string(), max_drift })
            }
            (None, Some(_)) => return wrong(format!("option '{MAX_DRIFT}' needs '{GROUP}'")),
            (Some(_), None) => return wrong(format!("option '{GROUP}' needs '{MAX_DRIFT}'")),
        };
        let idle_timeout = options.duration(IDLE_TIMEOUT)?.filter(|d| !d.is_zero());
        Ok(Self { idle_timeout, alignment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<WatermarkOptions> {
        let mut options = Options::default();
        pairs.iter().for_each(|(key, value)| options.set(*key, *value));
        options.check(&WatermarkOptions::specs())?;
        WatermarkOptions::read(&options)
    }

    #[test]
    fn options_go_together() {
        let all =
            read(&[(IDLE_TIMEOUT, "2 s"), (GROUP, "g"), (MAX_DRIFT, "1 min"), (EMIT_STRATEGY, "on-event")]).unwrap();
        assert_eq!(all.idle_timeout, Some(Duration::from_secs(2)));
        assert_eq!(all.alignment, Some(Alignment { group: "g".into(), max_drift: 60_000 }));
        assert_eq!(read(&[(IDLE_TIMEOUT, "0")]).unwrap(), WatermarkOptions::default());
        for wrong in [(GROUP, "g"), (MAX_DRIFT, "1 s"), (EMIT_STRATEGY, "never"), (EMIT_GAP, "often")] {
            assert!(read(&[wrong]).unwrap_err().to_string().contains(wrong.0), "{wrong:?}");
        }
    }
}
