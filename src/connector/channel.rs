//! The embedder's own channels: `'connector' = 'channel'`.
//!
//! A table declared with this connector is fed and read by the program that embeds the engine. Pushing waits while the job
//! is behind; a job waits while its taker is behind. Nothing is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Connector, OptionSpec, Options, Sink, Source, SourceBatch, TableDescriptor};
use crate::change::ChangeBatch;
use crate::table::project;
use crate::{Error, Result};

/// How many pushed batches wait for the job at most.
const QUEUED_PUSHES: usize = 1024;
/// How many batches of changes wait for their taker at most.
const QUEUED_CHANGES: usize = 64;

/// The channels of one engine, by table.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    ends: Arc<Mutex<Ends>>,
}

/// The ends that nobody has taken yet.
#[derive(Debug, Default)]
struct Ends {
    pushed: HashMap<String, mpsc::Receiver<RecordBatch>>,
    changes: HashMap<String, mpsc::Sender<ChangeBatch>>,
}

/// Pushes rows into a table. The table's input ends when all its inputs are dropped.
#[derive(Debug, Clone)]
pub struct Input {
    schema: SchemaRef,
    queue: mpsc::Sender<RecordBatch>,
}

/// Takes the changes that are written to a table.
#[derive(Debug)]
pub struct Output {
    queue: mpsc::Receiver<ChangeBatch>,
}

impl Input {
    /// The columns that a batch must have, in order.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Hands rows over; waits while the job is behind.
    ///
    /// # Errors
    /// When the columns are not the table's, or the job has ended.
    pub async fn push(&self, rows: RecordBatch) -> Result<()> {
        self.check(&rows)?;
        self.queue.send(rows).await.map_err(|_| Self::ended())
    }

    /// As [`Input::push`], outside of asynchronous code.
    ///
    /// # Errors
    /// As [`Input::push`].
    pub fn blocking_push(&self, rows: RecordBatch) -> Result<()> {
        self.check(&rows)?;
        self.queue.blocking_send(rows).map_err(|_| Self::ended())
    }

    fn check(&self, rows: &RecordBatch) -> Result<()> {
        let own = self.schema.fields();
        let schema = rows.schema_ref();
        let fits = own.len() == schema.fields().len()
            && own.iter().zip(schema.fields()).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        if fits {
            return Ok(());
        }
        Err(Error::Execution(format!("a batch with the columns {schema} was pushed into a table with {}", self.schema)))
    }

    fn ended() -> Error {
        Error::Execution("the job that reads the table has ended".into())
    }
}

impl Output {
    /// The next batch of changes; `None` when the job has ended (ask the job whether well).
    pub async fn next(&mut self) -> Option<ChangeBatch> {
        self.queue.recv().await
    }

    /// As [`Output::next`], outside of asynchronous code.
    pub fn blocking_next(&mut self) -> Option<ChangeBatch> {
        self.queue.blocking_recv()
    }
}

impl futures::Stream for Output {
    type Item = ChangeBatch;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<ChangeBatch>> {
        self.queue.poll_recv(context)
    }
}

impl Channels {
    /// The pushing end for a table's next job.
    pub fn input(&self, table: &str, schema: SchemaRef) -> Input {
        let (queue, pushed) = mpsc::channel(QUEUED_PUSHES);
        self.lock().pushed.insert(table.to_string(), pushed);
        Input { schema, queue }
    }

    /// The taking end for a table's next job.
    pub fn output(&self, table: &str) -> Output {
        let (changes, queue) = mpsc::channel(QUEUED_CHANGES);
        self.lock().changes.insert(table.to_string(), changes);
        Output { queue }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector for Channels {
    fn name(&self) -> &'static str {
        "channel"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        let pushed = self.lock().pushed.remove(&table.name);
        let pushed = pushed.ok_or_else(|| missing(&table.name, "an input", "Engine::input"))?;
        Ok(Box::new(ChannelSource { pushed, projection }))
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        let changes = self.lock().changes.remove(&table.name);
        let changes = changes.ok_or_else(|| missing(&table.name, "an output", "Engine::output"))?;
        Ok(Box::new(ChannelSink { changes }))
    }
}

fn missing(table: &str, what: &str, how: &str) -> Error {
    Error::Option(format!(
        "table '{table}' is a channel of the program that embeds the engine, and {what} for it has not been asked for \
         ({how}), or another job has it"
    ))
}

struct ChannelSource {
    pushed: mpsc::Receiver<RecordBatch>,
    projection: SchemaRef,
}

#[async_trait]
impl Source for ChannelSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let Some(rows) = self.pushed.recv().await else { return Ok(None) };
        let rows = project(&rows, &self.projection)?;
        Ok(Some(SourceBatch { changes: ChangeBatch::append(rows), bytes: 0 }))
    }

    fn is_passive(&self) -> bool {
        true
    }
}

struct ChannelSink {
    changes: mpsc::Sender<ChangeBatch>,
}

#[async_trait]
impl Sink for ChannelSink {
    async fn write(&mut self, changes: ChangeBatch) -> Result<()> {
        let gone = || Error::Execution("the taker of the table's changes has gone".into());
        self.changes.send(changes).await.map_err(|_| gone())
    }

    fn channel(&self) -> Option<mpsc::Sender<ChangeBatch>> {
        Some(self.changes.clone())
    }
}
