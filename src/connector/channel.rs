//! The embedder's own channels: `'connector' = 'channel'`.
//!
//! A table declared with this connector is fed and read by the program that embeds the engine. Pushing waits while the job
//! is behind; a job waits while its taker is behind. Nothing is dropped.
//!
//! | option | meaning |
//! | --- | --- |
//! | `changelog.mode` | how the rows that are pushed change: `append` (the default), `retract`, `upsert` (by PRIMARY KEY) |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::{
    Connector, FromPartition, OptionKind, OptionSpec, Options, Sink, SinkChangelog, Source, SourceBatch,
    SourceChangelog, SplitPosition, TableDescriptor,
};
use crate::change::{ChangeBatch, RowKind};
use crate::table::project;
use crate::{Error, Result};

/// The option that says how pushed rows change.
const CHANGELOG_MODE: &str = "changelog.mode";
/// How many pushed batches wait for the job at most.
const QUEUED_PUSHES: usize = 1024;
/// How many batches of changes wait for their taker at most.
const QUEUED_CHANGES: usize = 64;

/// The channels of one engine, by table.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    ends: Arc<Mutex<Ends>>,
}

/// The job's end of an input.
#[derive(Debug)]
struct Pushed {
    queue: mpsc::Receiver<ChangeBatch>,
    /// How many rows came of it, over all runs of the job.
    rows: u64,
    resumed: watch::Sender<Option<u64>>,
}

/// The ends that nobody has taken yet.
#[derive(Debug, Default)]
struct Ends {
    /// A queue for each partition.
    pushed: HashMap<String, Vec<Pushed>>,
    changes: HashMap<String, mpsc::Sender<ChangeBatch>>,
}

/// Pushes rows into a table. The table's input ends when all its inputs are dropped.
#[derive(Debug, Clone)]
pub struct Input {
    schema: SchemaRef,
    changelog: SourceChangelog,
    queue: mpsc::Sender<ChangeBatch>,
    resumed: watch::Receiver<Option<u64>>,
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

    /// From which row on the job wants to be given rows: how many of this input, counted over all runs of the job, the checkpoint
    /// holds that it goes on from; 0 without one. Waits until the job has been started. Whoever pushes on from there loses
    /// nothing and repeats nothing.
    ///
    /// # Errors
    /// When the job has ended before.
    pub async fn resumed_at(&self) -> Result<u64> {
        let mut resumed = self.resumed.clone();
        let rows = resumed.wait_for(Option::is_some).await.map_err(|_| Self::ended())?;
        Ok(rows.unwrap_or(0))
    }

    /// Hands new rows over; waits while the job is behind.
    ///
    /// # Errors
    /// When the columns are not the table's, or the job has ended.
    pub async fn push(&self, rows: RecordBatch) -> Result<()> {
        self.push_changes(ChangeBatch::append(rows)).await
    }

    /// Hands changes over, in order; waits while the job is behind. Their watermarks are not looked at: those follow from
    /// the table's declaration.
    ///
    /// # Errors
    /// As [`Input::push`]; also when a change is no `+I` and the table's `changelog.mode` is `append`, or when there are not
    /// as many kinds as rows.
    pub async fn push_changes(&self, changes: ChangeBatch) -> Result<()> {
        let changes = self.checked(changes)?;
        self.queue.send(changes).await.map_err(|_| Self::ended())
    }

    /// As [`Input::push`], outside of asynchronous code.
    ///
    /// # Errors
    /// As [`Input::push`].
    pub fn blocking_push(&self, rows: RecordBatch) -> Result<()> {
        self.blocking_push_changes(ChangeBatch::append(rows))
    }

    /// As [`Input::push_changes`], outside of asynchronous code.
    ///
    /// # Errors
    /// As [`Input::push_changes`].
    pub fn blocking_push_changes(&self, changes: ChangeBatch) -> Result<()> {
        let changes = self.checked(changes)?;
        self.queue.blocking_send(changes).map_err(|_| Self::ended())
    }

    fn checked(&self, changes: ChangeBatch) -> Result<ChangeBatch> {
        self.check_columns(&changes.rows)?;
        let kinds = changes.kinds.as_deref().unwrap_or_default();
        if changes.kinds.is_some() && kinds.len() != changes.num_rows() {
            return Err(Error::Execution(format!("{} kinds for {} rows were pushed", kinds.len(), changes.num_rows())));
        }
        let other = kinds.iter().find(|k| **k != RowKind::Insert).copied();
        if let (SourceChangelog::Append, Some(kind)) = (self.changelog, other) {
            return Err(Error::Execution(format!(
                "a change of kind {kind} was pushed into a table that takes only new rows; declare the table WITH \
                 ('{CHANGELOG_MODE}' = 'retract') or 'upsert'"
            )));
        }
        let kinds = changes.kinds.filter(|_| other.is_some());
        Ok(ChangeBatch { rows: changes.rows, kinds, watermarks: None })
    }

    fn check_columns(&self, rows: &RecordBatch) -> Result<()> {
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
    ///
    /// # Errors
    /// When the table's options are wrong.
    pub fn input(&self, table: &TableDescriptor) -> Result<Input> {
        let mut inputs = self.inputs(table, 1)?;
        inputs.pop().ok_or_else(|| Error::internal("a table without an input"))
    }

    /// The pushing ends of that many partitions, at least one, for a table's next job.
    ///
    /// # Errors
    /// When the table's options are wrong.
    pub fn inputs(&self, table: &TableDescriptor, partitions: usize) -> Result<Vec<Input>> {
        let changelog = changelog(table)?;
        let (inputs, pushed) = (0..partitions.max(1))
            .map(|_| {
                let (queue, pushed) = mpsc::channel(QUEUED_PUSHES);
                let (told, resumed) = watch::channel(None);
                let input = Input { schema: Arc::clone(&table.schema), changelog, queue, resumed };
                (input, Pushed { queue: pushed, rows: 0, resumed: told })
            })
            .unzip();
        self.lock().pushed.insert(table.name.clone(), pushed);
        Ok(inputs)
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
        vec![OptionSpec::optional(CHANGELOG_MODE, OptionKind::Text)]
    }

    fn changelog(&self, table: &TableDescriptor) -> Result<SourceChangelog> {
        changelog(table)
    }

    fn accepts(&self, _table: &TableDescriptor) -> Result<SinkChangelog> {
        Ok(SinkChangelog::Retract)
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        let pushed = self.lock().pushed.remove(&table.name);
        let pushed = pushed.ok_or_else(|| missing(&table.name, "an input", "Engine::input"))?;
        let open = vec![true; pushed.len()];
        Ok(Box::new(ChannelSource { pushed, open, last: FromPartition::default(), projection }))
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        let changes = self.lock().changes.remove(&table.name);
        let changes = changes.ok_or_else(|| missing(&table.name, "an output", "Engine::output"))?;
        Ok(Box::new(ChannelSink { changes }))
    }
}

fn changelog(table: &TableDescriptor) -> Result<SourceChangelog> {
    match table.options.get(CHANGELOG_MODE).unwrap_or("append") {
        "append" => Ok(SourceChangelog::Append),
        "retract" => Ok(SourceChangelog::Retract),
        "upsert" if table.primary_key.is_empty() => {
            Err(Error::Option(format!("option '{CHANGELOG_MODE}' = 'upsert': the table needs a PRIMARY KEY")))
        }
        "upsert" => Ok(SourceChangelog::Upsert),
        other => {
            let message = format!("option '{CHANGELOG_MODE}' = '{other}': expected append, retract or upsert");
            Err(Error::Option(message))
        }
    }
}

fn missing(table: &str, what: &str, how: &str) -> Error {
    Error::Option(format!(
        "table '{table}' is a channel of the program that embeds the engine, and {what} for it has not been asked for \
         ({how}), or another job has it"
    ))
}

struct ChannelSource {
    pushed: Vec<Pushed>,
    /// By partition: whether its end has not been told of.
    open: Vec<bool>,
    last: FromPartition,
    projection: SchemaRef,
}

impl ChannelSource {
    /// Says, once, from which row on rows are wanted.
    fn tell_where(&self) {
        for pushed in &self.pushed {
            pushed.resumed.send_if_modified(|told| {
                let first = told.is_none();
                *told = told.or(Some(pushed.rows));
                first
            });
        }
    }

    /// What a partition has: a batch, or its end. The partitions take turns.
    fn poll_pushed(&mut self, context: &mut Context<'_>) -> Poll<(usize, Option<ChangeBatch>)> {
        let partitions = self.pushed.len();
        for turn in 1..=partitions {
            let partition = (self.last.partition + turn) % partitions;
            if self.open[partition]
                && let Poll::Ready(pushed) = self.pushed[partition].queue.poll_recv(context)
            {
                return Poll::Ready((partition, pushed));
            }
        }
        Poll::Pending
    }
}

#[async_trait]
impl Source for ChannelSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.tell_where();
        let (partition, pushed) = std::future::poll_fn(|context| self.poll_pushed(context)).await;
        self.last = FromPartition { partition, ended: pushed.is_none() };
        let changes = match pushed {
            Some(changes) => changes,
            None => {
                self.open[partition] = false;
                if !self.open.contains(&true) {
                    return Ok(None);
                }
                return Ok(Some(SourceBatch {
                    changes: ChangeBatch::append(RecordBatch::new_empty(Arc::clone(&self.projection))),
                    bytes: 0,
                }));
            }
        };
        self.pushed[partition].rows += changes.num_rows() as u64;
        let rows = project(&changes.rows, &self.projection)?;
        Ok(Some(SourceBatch { changes: changes.with_rows(rows), bytes: 0 }))
    }

    fn position(&self) -> Option<SplitPosition> {
        let partition = self.last.partition;
        Some(SplitPosition { split: partition.to_string(), offset: self.pushed[partition].rows.to_string() })
    }

    /// The rows come again from whoever pushes them: [`Input::resumed_at`] says from which on.
    async fn seek(&mut self, positions: Vec<SplitPosition>) -> Result<()> {
        for position in positions {
            let partition = position.split.parse().ok().and_then(|i: usize| self.pushed.get_mut(i));
            let missing = || Error::Option(format!("the table has no partition {}, and had one", position.split));
            partition.ok_or_else(missing)?.rows = position.number()?;
        }
        Ok(())
    }

    fn is_passive(&self) -> bool {
        true
    }

    fn partitions(&self) -> usize {
        self.pushed.len()
    }

    fn last_partition(&self) -> FromPartition {
        self.last
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

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array};

    use super::*;

    fn table(mode: &str, primary_key: Vec<usize>) -> TableDescriptor {
        let mut options = Options::default();
        options.set(CHANGELOG_MODE, mode);
        let schema = rows().schema();
        TableDescriptor { name: "t".into(), schema, metadata: vec![], options, partition_keys: vec![], primary_key }
    }

    fn rows() -> RecordBatch {
        let a: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        RecordBatch::try_from_iter([("a", a)]).unwrap()
    }

    fn changes(kinds: &[RowKind]) -> ChangeBatch {
        ChangeBatch { rows: rows(), kinds: Some(kinds.into()), watermarks: None }
    }

    #[test]
    fn only_a_changing_table_takes_changes() {
        let append = Channels::default().input(&table("append", vec![])).unwrap();
        let refused = append.blocking_push_changes(changes(&[RowKind::Insert, RowKind::Delete])).unwrap_err();
        assert!(refused.to_string().contains("kind -D"), "{refused}");
        assert!(append.checked(changes(&[RowKind::Insert; 2])).unwrap().kinds.is_none());
        let retract = Channels::default().input(&table("retract", vec![])).unwrap();
        assert!(retract.checked(changes(&[RowKind::Insert])).is_err());
        let kept = retract.checked(changes(&[RowKind::Insert, RowKind::Delete])).unwrap();
        assert_eq!(kept.kinds.as_deref(), Some(&[RowKind::Insert, RowKind::Delete][..]));
    }

    #[test]
    fn upsert_needs_a_key() {
        let error = changelog(&table("upsert", vec![])).unwrap_err();
        assert!(error.to_string().contains("PRIMARY KEY"), "{error}");
        assert_eq!(changelog(&table("upsert", vec![0])).unwrap(), SourceChangelog::Upsert);
        assert!(changelog(&table("update", vec![0])).is_err());
    }
}
