//! `SET` and `RESET`: a session's settings, under Flink's keys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::timezone::Tz;

use crate::plan::{EmitOptions, UnboundedState};
use crate::runtime::circuit::LookupPolicy;
use crate::runtime::journal::{JournalOptions, OnJournalError};
use crate::runtime::{CheckpointOptions, StateMemory};
use crate::table::options::{nearest, parse_duration, parse_memory};

mod keys;

pub(crate) use keys::LATE_SINK;

/// What stands between folders beside Flink's `,` and `|`.
const LIST_SEPARATOR: char = if cfg!(windows) { ';' } else { ':' };
/// The zone of a session that sets none.
const DEFAULT_ZONE: &str = "UTC";

/// The settings of a session. Those with a meaning here are checked when they are set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Sets a key. Gives a note where the setting will have no effect.
    ///
    /// # Errors
    /// A sentence that says what the value must be, for keys with a meaning here.
    pub fn set(&mut self, key: &str, value: &str) -> Result<Option<String>, String> {
        let note = match key {
            keys::PARALLELISM | keys::STEP_ROWS => {
                check(key, value, "a whole number of at least 1", positive(value).is_some())?
            }
            keys::TIME_ZONE => check(key, value, "a time zone such as 'Europe/Berlin'", zone(value).is_some())?,
            keys::IDLE_TIMEOUT => check(key, value, "a time span such as '10 s'", duration(value).is_some())?,
            keys::STATE_TTL => check(key, value, "a time span such as '1 h'", duration(value).is_some())?,
            keys::ALLOW_LATENESS | keys::EARLY_DELAY | keys::LATE_DELAY => {
                check(key, value, "a time span such as '5 s'", duration(value).is_some())?
            }
            keys::EARLY | keys::LATE => check(key, value, "true or false", boolean(value).is_some())?,
            keys::CDC_DUPLICATES => check(key, value, "true or false", boolean(value).is_some())?,
            keys::UNBOUNDED_STATE => check(key, value, "'allow', 'warn' or 'refuse'", unbounded(value).is_some())?,
            keys::LOOKUP_CAPACITY => check(key, value, "a whole number of at least 1", positive(value).is_some())?,
            keys::LOOKUP_TIMEOUT => check(key, value, "a time span such as '3 min'", duration(value).is_some())?,
            keys::LOOKUP_OUTPUT_MODE => check(key, value, "ORDERED or ALLOW_UNORDERED", is_output_mode(value))?,
            keys::CHECKPOINT_INTERVAL | keys::CHECKPOINT_MIN_PAUSE | keys::CHECKPOINT_TIMEOUT => {
                check(key, value, "a time span such as '10 s'", duration(value).is_some())?
            }
            keys::CHECKPOINTS_RETAINED => check(key, value, "a whole number of at least 1", positive(value).is_some())?,
            keys::CHECKPOINT_FAILURES => check(key, value, "a whole number", value.trim().parse::<usize>().is_ok())?,
            keys::MEMORY_LIMIT => check(key, value, "a size such as '512 mb'", size(value).is_some())?,
            keys::SCRATCH => check(key, value, "a folder of this machine", folder(value).is_some())?,
            keys::JOURNAL_DIR => check(key, value, "a folder of this machine", !value.contains("://"))?,
            keys::JOURNAL_MAX_SIZE => check(key, value, "a size such as '10 gb'", size(value).is_some())?,
            keys::JOURNAL_ON_ERROR => check(key, value, "'fail' or 'continue'", on_journal_error(value).is_some())?,
            keys::PIPELINE_NAME | keys::LATE_SINK | keys::CHECKPOINT_DIR | keys::RECOVERY_PATH => None,
            store if keys::is_stores(store) => None,
            known if keys::is_flinks(known) => Some(format!("'{known}' has no meaning here and is ignored")),
            other => Some(unknown(other)),
        };
        self.0.insert(key.to_string(), value.to_string());
        Ok(note)
    }

    /// Forgets a key, or all. Gives a note where the key was never known.
    pub fn reset(&mut self, key: Option<&str>) -> Option<String> {
        let Some(key) = key else {
            self.0.clear();
            return None;
        };
        let was_set = self.0.remove(key).is_some();
        (!was_set && !keys::is_known(key)).then(|| unknown(key))
    }

    /// A setting's text, as it was set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// What has been set, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// `parallelism.default`: the number of workers, where one was set.
    pub fn parallelism(&self) -> Option<usize> {
        positive(self.get(keys::PARALLELISM)?)
    }

    /// `table.local-time-zone`: the session's time zone; `UTC` unless set.
    pub fn time_zone(&self) -> Arc<str> {
        self.get(keys::TIME_ZONE).and_then(zone).unwrap_or_else(|| DEFAULT_ZONE.into())
    }

    /// `table.exec.source.idle-timeout`: after what silence a source no longer holds the watermark back; `None`: never.
    pub fn idle_timeout(&self) -> Option<Duration> {
        duration(self.get(keys::IDLE_TIMEOUT)?).filter(|d| !d.is_zero())
    }

    /// `table.exec.state.ttl`: after what time without a row state is let go; `None`: never.
    pub fn state_ttl(&self) -> Option<Duration> {
        duration(self.get(keys::STATE_TTL)?).filter(|d| d.as_millis() > 0)
    }

    /// `table.exec.emit.*`: when group windows give results beside when they are closed. What keeps late results is the allowed
    /// lateness, or else the state's time-to-live.
    pub fn emit(&self) -> EmitOptions {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let span = |key: &str| self.get(key).and_then(duration).map(millis);
        let fire = |enabled: &str, delay: &str| {
            let on = self.get(enabled).and_then(boolean).unwrap_or(false);
            on.then(|| span(delay).unwrap_or(0))
        };
        EmitOptions {
            lateness: span(keys::ALLOW_LATENESS).or(self.state_ttl().map(millis)),
            early: fire(keys::EARLY, keys::EARLY_DELAY),
            late: fire(keys::LATE, keys::LATE_DELAY),
        }
    }

    /// `table.exec.source.cdc-events-duplicate`: whether sources of changes may give a change more than once.
    pub fn cdc_events_duplicate(&self) -> bool {
        self.get(keys::CDC_DUPLICATES).and_then(boolean).unwrap_or(false)
    }

    /// `millstream.state.unbounded`: what is done with a query whose state grows without a bound; a warning unless set.
    pub fn unbounded_state(&self) -> UnboundedState {
        self.get(keys::UNBOUNDED_STATE).and_then(unbounded).unwrap_or(UnboundedState::Warn)
    }

    /// `state.memory.limit` and `io.tmp.dirs`: how much memory state may take, and where the rest of it goes; without a limit all of it
    /// is in memory.
    pub fn state_memory(&self) -> Option<StateMemory> {
        let limit = size(self.get(keys::MEMORY_LIMIT)?)?;
        let dir = self.get(keys::SCRATCH).and_then(folder).unwrap_or_else(std::env::temp_dir);
        Some(StateMemory { limit: usize::try_from(limit).unwrap_or(usize::MAX), dir })
    }

    /// `millstream.late-rows.sink`: the table that takes late rows, where there is one.
    pub fn late_sink(&self) -> Option<&str> {
        self.get(keys::LATE_SINK).map(str::trim).filter(|name| !name.is_empty())
    }

    /// `table.exec.async-lookup.buffer-capacity` and `.timeout`: how tables are asked by key.
    pub fn lookup(&self) -> LookupPolicy {
        let defaults = LookupPolicy::default();
        LookupPolicy {
            capacity: self.get(keys::LOOKUP_CAPACITY).and_then(positive).unwrap_or(defaults.capacity),
            timeout: self.get(keys::LOOKUP_TIMEOUT).and_then(duration).unwrap_or(defaults.timeout),
            ..defaults
        }
    }

    /// `pipeline.name`: what the job is to be called.
    pub fn pipeline_name(&self) -> Option<&str> {
        self.get(keys::PIPELINE_NAME)
    }

    /// `execution.checkpointing.*`, `execution.state-recovery.path` and `pipeline.name`: how a job takes checkpoints, and where it
    /// goes on from. A job without a name is called after what it writes to.
    pub fn checkpoints(&self, sinks: &[&str], script: &str) -> CheckpointOptions {
        let defaults = CheckpointOptions::default();
        let named = |key: &str| self.get(key).map(str::trim).filter(|v| !v.is_empty()).map(str::to_string);
        let span = |key: &str| self.get(key).and_then(duration);
        let job = match sinks {
            [] => "collect".to_string(),
            tables => format!("insert-into_{}", tables.join("_")),
        };
        CheckpointOptions {
            dir: named(keys::CHECKPOINT_DIR),
            interval: span(keys::CHECKPOINT_INTERVAL).filter(|d| !d.is_zero()),
            min_pause: span(keys::CHECKPOINT_MIN_PAUSE).unwrap_or(defaults.min_pause),
            timeout: span(keys::CHECKPOINT_TIMEOUT).unwrap_or(defaults.timeout),
            retained: self.get(keys::CHECKPOINTS_RETAINED).and_then(positive).unwrap_or(defaults.retained),
            tolerable_failures: self
                .get(keys::CHECKPOINT_FAILURES)
                .and_then(|v| v.trim().parse().ok())
                .unwrap_or(defaults.tolerable_failures),
            restore_from: named(keys::RECOVERY_PATH),
            job: named(keys::PIPELINE_NAME).unwrap_or(job),
            script: script.to_string(),
            store_options: self
                .0
                .iter()
                .filter(|(k, _)| keys::is_stores(k))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            store: None,
            scratch: self.state_memory().map(|memory| memory.dir),
        }
    }

    /// `millstream.journal.*`: how a job is journaled that takes checkpoints like this; `script` are all statements that it is planned from.
    pub fn journal(&self, checkpoints: &CheckpointOptions, script: String) -> JournalOptions {
        let max_bytes = self.get(keys::JOURNAL_MAX_SIZE).and_then(size);
        JournalOptions {
            dir: self.journal_dir().map(str::to_string),
            max_bytes,
            on_error: self.get(keys::JOURNAL_ON_ERROR).and_then(on_journal_error).unwrap_or_default(),
            segment_bytes: JournalOptions::segment_bytes(max_bytes),
            job: checkpoints.job.clone(),
            folder: checkpoints.folder(),
            script,
            time_zone: self.time_zone().to_string(),
            settings: self.iter().filter(|(k, _)| !is_confidential(k)).map(|(k, v)| (k.into(), v.into())).collect(),
        }
    }

    /// `millstream.journal.dir`: the folder for the journals of jobs, where there is one.
    pub fn journal_dir(&self) -> Option<&str> {
        self.get(keys::JOURNAL_DIR).map(str::trim).filter(|dir| !dir.is_empty())
    }

    /// `millstream.step.max-rows`: how many rows a step takes from its sources at most, where that was set.
    pub fn step_rows(&self) -> Option<usize> {
        positive(self.get(keys::STEP_ROWS)?)
    }
}

/// Whether a setting is not to be written down: it may be the key to a store.
pub(super) fn is_confidential(key: &str) -> bool {
    keys::is_stores(key)
}

/// The order is kept in both: that is allowed too.
fn is_output_mode(value: &str) -> bool {
    ["ORDERED", "ALLOW_UNORDERED"].iter().any(|mode| mode.eq_ignore_ascii_case(value.trim()))
}

fn check(key: &str, value: &str, expected: &str, good: bool) -> Result<Option<String>, String> {
    if good { Ok(None) } else { Err(format!("'{key}' = '{value}': expected {expected}")) }
}

fn unknown(key: &str) -> String {
    match nearest(key, keys::all()) {
        Some(near) => format!("warning: unknown setting '{key}'; did you mean '{near}'?"),
        None => format!("warning: unknown setting '{key}'"),
    }
}

fn positive(value: &str) -> Option<usize> {
    value.trim().parse().ok().filter(|n| *n > 0)
}

fn boolean(value: &str) -> Option<bool> {
    value.trim().to_ascii_lowercase().parse().ok()
}

fn unbounded(value: &str) -> Option<UnboundedState> {
    match value.trim().to_ascii_lowercase().as_str() {
        "allow" => Some(UnboundedState::Allow),
        "warn" => Some(UnboundedState::Warn),
        "refuse" => Some(UnboundedState::Refuse),
        _ => None,
    }
}

fn size(value: &str) -> Option<u64> {
    parse_memory(value.trim()).filter(|bytes| *bytes > 0)
}

/// The first of a list of folders, as Flink writes it.
fn folder(value: &str) -> Option<PathBuf> {
    let first = value.split([',', '|', LIST_SEPARATOR]).map(str::trim).find(|dir| !dir.is_empty())?;
    (!value.contains("://")).then(|| PathBuf::from(first))
}

fn on_journal_error(value: &str) -> Option<OnJournalError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "fail" => Some(OnJournalError::Fail),
        "continue" => Some(OnJournalError::Continue),
        _ => None,
    }
}

fn duration(value: &str) -> Option<Duration> {
    parse_duration(value.trim())
}

/// A zone under the name that Arrow knows; Flink also writes offsets as `GMT+02:00`, and `default` for the machine's own,
/// which is UTC here.
fn zone(value: &str) -> Option<Arc<str>> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("default") {
        return Some(DEFAULT_ZONE.into());
    }
    let offset = ["GMT", "UTC"].iter().find_map(|p| value.strip_prefix(p)).filter(|rest| rest.starts_with(['+', '-']));
    let name = offset.unwrap_or(value);
    name.parse::<Tz>().ok().map(|_| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_with_a_meaning_are_checked() {
        let mut settings = Settings::default();
        assert_eq!(settings.set("parallelism.default", "4"), Ok(None));
        assert_eq!(settings.parallelism(), Some(4));
        assert!(settings.set("parallelism.default", "0").unwrap_err().contains("at least 1"));
        assert_eq!(settings.parallelism(), Some(4));
        assert_eq!(settings.set("table.local-time-zone", "Europe/Berlin"), Ok(None));
        assert_eq!(&*settings.time_zone(), "Europe/Berlin");
        assert_eq!(settings.set("table.local-time-zone", "GMT+02:00"), Ok(None));
        assert_eq!(&*settings.time_zone(), "+02:00");
        assert!(settings.set("table.local-time-zone", "Europe/Berln").is_err());
        assert_eq!(settings.set("table.exec.source.idle-timeout", "10 s"), Ok(None));
        assert_eq!(settings.idle_timeout(), Some(Duration::from_secs(10)));
        assert_eq!(settings.set("table.exec.state.ttl", "36 s"), Ok(None));
        assert_eq!(settings.state_ttl(), Some(Duration::from_secs(36)));
        assert_eq!(settings.set("table.exec.state.ttl", "0"), Ok(None));
        assert_eq!(settings.state_ttl(), None);
        assert!(settings.set("table.exec.state.ttl", "soon").is_err());
        assert_eq!(settings.set("table.exec.source.cdc-events-duplicate", "TRUE"), Ok(None));
        assert!(settings.cdc_events_duplicate());
    }

    #[test]
    fn state_may_be_given_a_limit() {
        let mut settings = Settings::default();
        assert_eq!(settings.state_memory(), None);
        assert!(settings.set("state.memory.limit", "0").unwrap_err().contains("512 mb"));
        settings.set("state.memory.limit", "256 mb").unwrap();
        assert_eq!(settings.state_memory().unwrap().limit, 256 << 20);
        settings.set("io.tmp.dirs", " /a|/b").unwrap();
        assert_eq!(settings.state_memory().unwrap().dir, PathBuf::from("/a"));
        assert!(settings.set("io.tmp.dirs", " ,").is_err() && settings.set("io.tmp.dirs", "s3://a").is_err());
    }

    #[test]
    fn settings_without_a_meaning_are_noted() {
        let mut settings = Settings::default();
        let note = settings.set("state.backend.type", "rocksdb").unwrap().unwrap();
        assert!(note.contains("no meaning here"), "{note}");
        let note = settings.set("restart-strategy.fixed-delay.attempts", "3").unwrap().unwrap();
        assert!(note.contains("no meaning here"), "{note}");
        let note = settings.set("paralelism.default", "4").unwrap().unwrap();
        assert!(note.contains("did you mean 'parallelism.default'?"), "{note}");
        assert_eq!(settings.get("state.backend.type"), Some("rocksdb"));
    }

    #[test]
    fn reset_forgets() {
        let mut settings = Settings::default();
        settings.set("parallelism.default", "4").unwrap();
        assert_eq!(settings.reset(Some("parallelism.default")), None);
        assert_eq!(settings.parallelism(), None);
        assert!(settings.reset(Some("no.such.key")).unwrap().contains("unknown setting"));
        settings.set("pipeline.name", "x").unwrap();
        assert_eq!(settings.reset(None), None);
        assert_eq!(settings.iter().count(), 0);
    }
}
