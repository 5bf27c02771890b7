//! Tables that are kept whole: read before the first row is looked up, and again after a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::request::{about, repeat};
use crate::connector::Source;
use crate::operator::lookup_join::LookupTable;
use crate::runtime::circuit::LookupSpec;
use crate::{Error, Result};

/// A table, and the rows that it was made of.
type Read = (Arc<LookupTable>, Vec<RecordBatch>);

/// Reads a table, and reads it again.
pub(in crate::runtime) struct Whole {
    spec: LookupSpec,
    reload: Option<Duration>,
    max_retries: u32,
    runtime: Handle,
    reading: Option<JoinHandle<Result<Read>>>,
    /// When it was last there: milliseconds since the epoch.
    read_at: Option<i64>,
}

impl Whole {
    /// Begins to read.
    pub fn open(spec: &LookupSpec, reload: Option<Duration>, max_retries: u32, runtime: &Handle) -> Self {
        let (spec, runtime) = (spec.clone(), runtime.clone());
        let mut whole = Self { spec, reload, max_retries, runtime, reading: None, read_at: None };
        whole.begin();
        whole
    }

    fn begin(&mut self) {
        let (spec, retries) = (self.spec.clone(), self.max_retries);
        #[allow(clippy::disallowed_methods, reason = "tasks belong to this room")]
        let task = self.runtime.spawn(async move {
            let read = repeat(retries, || read(&spec)).await;
            read.map_err(|(e, times)| about(e, &format!("reading table '{}'", spec.table.name), times))
        });
        self.reading = Some(task);
    }

    /// Whether it has been read once.
    pub fn is_there(&self) -> bool {
        self.read_at.is_some()
    }

    /// The table, when it has been read anew; begins to read again when it is time.
    pub fn poll(&mut self, context: &mut Context<'_>, now: i64) -> Result<Option<Read>> {
        if let Some(task) = &mut self.reading {
            let Poll::Ready(done) = Pin::new(task).poll(context) else { return Ok(None) };
            self.reading = None;
            self.read_at = Some(now);
            return joined(done, &self.spec.table.name)?.map(Some);
        }
        let is_past = |span: Duration, since: i64| now.saturating_sub(since).max(0) as u128 >= span.as_millis();
        if let (Some(reload), Some(since)) = (self.reload, self.read_at)
            && is_past(reload, since)
        {
            self.begin();
            return self.poll(context, now);
        }
        Ok(None)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(task) = &self.reading {
            task.abort();
        }
    }
}

async fn read(spec: &LookupSpec) -> Result<Read> {
    let name = &spec.table.name;
    let opened = spec.clone();
    let open = spawn_blocking(move || opened.connector.source(&opened.table, Arc::clone(&opened.projection))).await;
    let mut source: Box<dyn Source> = joined(open, name)??;
    let mut batches = Vec::new();
    while let Some(batch) = source.next().await? {
        if batch.changes.kinds.is_some() {
            return Err(Error::Option(format!(
                "table '{name}' gives changes, and can be looked up only if its rows stay"
            )));
        }
        batches.push(batch.changes.rows);
    }
    let built = spec.clone();
    let build = spawn_blocking(move || {
        let table = LookupTable::try_new(&built.join, &built.projection, &batches)?;
        Ok((Arc::new(table), batches))
    });
    joined(build.await, name)?
}

/// What a task gave, or its panic as an error.
fn joined<T>(done: Result<T, JoinError>, table: &str) -> Result<T> {
    done.map_err(|e| {
        let place = format!("reading table '{table}'");
        match e.try_into_panic() {
            Ok(panic) => Error::panic(place, panic.as_ref()),
            Err(e) => Error::internal(format!("{place}: {e}")),
        }
    })
}
