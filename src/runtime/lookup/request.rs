//! One request: repeated after failures, and over after a time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::FutureExt;

use crate::connector::lookup::{Found, Lookup};
use crate::runtime::circuit::LookupPolicy;
use crate::{Error, Result};

/// How long is waited before a request is repeated for the first time; then twice as long, and so on.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How a table is asked.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// The table's name.
    pub table: String,
    pub policy: LookupPolicy,
    /// How often a request is repeated after a failure.
    pub max_retries: u32,
}

/// What a table says to some keys.
///
/// # Errors
/// The last failure, when all repetitions failed too; or when it took too long.
pub(super) async fn request(lookup: Arc<dyn Lookup>, keys: RecordBatch, manner: Manner) -> Result<Found> {
    let asked = AssertUnwindSafe(ask(lookup.as_ref(), &keys, &manner)).catch_unwind();
    match tokio::time::timeout(manner.policy.timeout, asked).await {
        Ok(Ok(found)) => found,
        Ok(Err(panic)) => Err(Error::panic(format!("the look-up in table '{}'", manner.table), panic.as_ref())),
        Err(_) => Err(timed_out(keys.num_rows(), &manner.table, manner.policy.timeout)),
    }
}

/// That a request was given up.
pub(super) fn timed_out(keys: usize, table: &str, timeout: Duration) -> Error {
    Error::Execution(format!(
        "looking up {keys} keys in table '{table}' took longer than {timeout:?} (table.exec.async-lookup.timeout, or 'timeout' in \
         the hint LOOKUP)"
    ))
}

/// Asks until there is an answer, or no more repetition is left.
async fn ask(lookup: &dyn Lookup, keys: &RecordBatch, manner: &Manner) -> Result<Found> {
    let found = repeat(manner.max_retries, || lookup.lookup(keys)).await;
    let found = found.map_err(|(e, times)| about(e, &format!("looking up in table '{}'", manner.table), times))?;
    let known = found.keys.values().iter().all(|k| (*k as usize) < keys.num_rows());
    if found.keys.len() != found.rows.num_rows() || !known {
        let message = format!("table '{}' answered a look-up with rows of other keys", manner.table);
        return Err(Error::Execution(message));
    }
    Ok(found)
}

/// Does something until it goes well, `retries` times more at most, with growing waits. Gives the last failure, and how often
/// it was tried.
pub(super) async fn repeat<T, F: Future<Output = Result<T>>>(
    retries: u32,
    mut attempt: impl FnMut() -> F,
) -> Result<T, (Error, u64)> {
    let mut wait = FIRST_WAIT;
    let mut times = 0;
    loop {
        times += 1;
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(e) if times > u64::from(retries) || is_final(&e) => return Err((e, times)),
            Err(e) => log::warn!("failed, and is tried again in {wait:?}: {e}"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Whether trying again would change nothing.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Option(_) | Error::Unsupported(_) | Error::Internal(_) | Error::Panic { .. } | Error::Sql(_))
}

/// A failure, with what failed and how often it was tried.
pub(super) fn about(error: Error, what: &str, times: u64) -> Error {
    let times = if times == 1 { String::new() } else { format!(" {times} times") };
    match error {
        Error::Io { context, source } => Error::Io { context: format!("{what} failed{times}: {context}"), source },
        Error::Execution(message) => Error::Execution(format!("{what} failed{times}: {message}")),
        other => other,
    }
}
