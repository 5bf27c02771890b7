//! How a job is journaled.

use std::collections::BTreeMap;

/// How a job is journaled.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// `millstream.journal.dir`: the local folder below which the job's folder stands; without it nothing is journaled.
    pub dir: Option<String>,
    /// `millstream.journal.max-size`: how many bytes the job's journals may take together; then the oldest segments that a durable
    /// checkpoint makes dispensable are removed.
    pub max_bytes: Option<u64>,
    /// `millstream.journal.on-error`: what becomes of the job when its journal cannot be written.
    pub on_error: OnJournalError,
    /// How long a segment may grow before the next is begun.
    pub segment_bytes: u64,
    /// `pipeline.name`, or what the job is called.
    pub job: String,
    /// The same as the name of a folder.
    pub folder: String,
    /// All statements that the job is planned from: declarations, settings, and its queries.
    pub script: String,
    /// The session's time zone.
    pub time_zone: String,
    /// The session's settings.
    pub settings: BTreeMap<String, String>,
}

/// What becomes of a job whose journal cannot be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnJournalError {
    /// It fails.
    #[default]
    Fail,
    /// It goes on without a journal, and a warning is logged.
    Continue,
}

/// How long a segment grows where there is no limit to all.
const SEGMENT_BYTES: u64 = 64 << 20;
/// So many segments at least share what there may be in all, so that dropping one frees a small part of it.
const SEGMENTS: u64 = 8;
/// A segment shorter than this is more header than steps.
const SHORTEST_SEGMENT: u64 = 64 << 10;

impl JournalOptions {
    /// How long a segment may grow where all together may have so many bytes.
    pub fn segment_bytes(max_bytes: Option<u64>) -> u64 {
        max_bytes.map_or(SEGMENT_BYTES, |most| (most / SEGMENTS).clamp(SHORTEST_SEGMENT, SEGMENT_BYTES))
    }
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            dir: None,
            max_bytes: None,
            on_error: OnJournalError::Fail,
            segment_bytes: SEGMENT_BYTES,
            job: "job".into(),
            folder: "job".into(),
            script: String::new(),
            time_zone: "UTC".into(),
            settings: BTreeMap::new(),
        }
    }
}
