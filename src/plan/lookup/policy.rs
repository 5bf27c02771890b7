//! How a table is looked up: what a hint says of it, what `EXPLAIN` tells, and what bounds the state.

use std::time::Duration;

use super::TemporalJoin;
use crate::connector::lookup::LookupMode;
use crate::runtime::circuit::{LookupPolicy, REQUEST_ROWS, RetryMiss, SourceSpec};
use crate::runtime::{Bound, Held, Lifetime};
use crate::{Error, Result};

/// What the hint `LOOKUP` says of a join.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Hash)]
pub struct LookupHint {
    /// `async`: whether several requests may be under way.
    pub is_async: Option<bool>,
    /// `capacity`: how many.
    pub capacity: Option<usize>,
    /// `timeout`: how long looking up may take.
    pub timeout: Option<Duration>,
    /// `retry-predicate`, `retry-strategy`, `fixed-delay` and `max-attempts`: what is done where nothing is found.
    pub retry_miss: Option<RetryMiss>,
}

impl LookupHint {
    /// How the table is asked, where the session's settings say what the hint does not.
    pub(super) fn policy(self, session: LookupPolicy) -> LookupPolicy {
        let capacity = if self.is_async == Some(false) { Some(1) } else { self.capacity };
        LookupPolicy {
            capacity: capacity.unwrap_or(session.capacity),
            timeout: self.timeout.unwrap_or(session.timeout),
            retry_miss: self.retry_miss,
        }
    }
}

/// How the table is looked up, for `EXPLAIN`.
pub(super) fn shown(mode: &LookupMode, policy: &LookupPolicy) -> String {
    let (cache, reload) = match mode {
        LookupMode::Whole { reload, .. } => (None, Some(reload)),
        LookupMode::Keyed { cache, .. } => (cache.as_ref(), None),
    };
    let mut shown = String::from(if reload.is_some() { "table kept whole" } else { "asked by key" });
    if let Some(Some(span)) = reload {
        shown.push_str(&format!(", read again every {span:?}"));
    }
    if let Some(cache) = cache {
        shown.push_str(&format!(", cache of {} rows", cache.max_rows));
    }
    if let Some(RetryMiss { delay, attempts }) = policy.retry_miss {
        shown.push_str(&format!(", keys without rows again after {delay:?}, {attempts} times at most"));
    }
    shown
}

/// A table that is kept whole has said all: asking it again would change nothing.
pub(super) fn check_hint(join: &TemporalJoin, mode: &LookupMode, table: &str) -> Result<()> {
    let retries = join.hint.is_some_and(|hint| hint.retry_miss.is_some());
    if retries && matches!(mode, LookupMode::Whole { .. }) {
        let message = format!("retry-predicate: table '{table}' is kept whole, and looking again would find the same");
        return Err(Error::Unsupported(message));
    }
    Ok(())
}

/// What bounds the state: the table; or rows that are looked up for, and what is kept of answers.
pub(super) fn bound(policy: &LookupPolicy, spec: &SourceSpec, mode: &LookupMode) -> Bound {
    let rows = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
    match mode {
        LookupMode::Whole { .. } => {
            Bound::of([Held::rows(format!("table '{}'", spec.table.name)).lives(Lifetime::Job)])
        }
        LookupMode::Keyed { cache, .. } => {
            let asked = Held::at_most(rows(policy.capacity.saturating_mul(REQUEST_ROWS)), "requested row");
            let waiting = Held::rows("the input").lives(Lifetime::Request);
            let cached = cache.map(|cache| Held::at_most(rows(cache.max_rows), "cached row"));
            Bound::of([asked, waiting].into_iter().chain(cached))
        }
    }
}
