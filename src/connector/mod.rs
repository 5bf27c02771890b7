//! Sources and sinks: the asynchronous edges of a circuit.
//!
//! A [`Connector`] is what `'connector' = '…'` names. It makes [`Source`]s, which the runtime polls for batches, and
//! [`Sink`]s, which take the changes of each step. Back-pressure needs nothing here: a source is asked for its next
//! batch only when there is room for it, and a step waits while a sink is busy.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::change::{ChangeBatch, Clock};

pub mod blackhole;
pub mod channel;
pub mod datagen;
pub mod filesystem;
#[cfg(feature = "jdbc")]
pub mod jdbc;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod lookup;
pub mod nexmark;
mod pace;
pub mod print;
pub mod provider;
pub mod text;
pub mod values;

pub use crate::table::{
    MetadataColumn, OptionKind, OptionSpec, Options, SinkChangelog, SourceChangelog, TableDescriptor,
};

/// What a source hands over at once.
#[derive(Debug, Clone)]
pub struct SourceBatch {
    /// The rows and their kinds.
    pub changes: ChangeBatch,
    /// How many bytes from outside went into it; 0 where that means nothing.
    pub bytes: u64,
}

/// Which partition of a source a batch came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FromPartition {
    /// Its number, from 0 on.
    pub partition: usize,
    /// Whether nothing more comes of it.
    pub ended: bool,
}

/// What can be told of a source's progress, for metrics and the progress line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SourceProgress {
    /// The part of a bounded input that has been read, 0 to 1; `None` where the end is not known.
    pub fraction: Option<f64>,
    /// Records that could not be read and were skipped, as the options asked.
    pub skipped_records: u64,
}

/// A place in a source from which it can be read again: of one split (a file, a partition of a topic), how far it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPosition {
    /// Names the split; unique within the source, and the same in every run.
    pub split: String,
    /// Where to go on, in the source's own terms: a number, or JSON.
    pub offset: String,
}

impl SplitPosition {
    /// For a source of one split: how many rows or events were given.
    pub fn count(number: u64) -> Self {
        Self { split: "0".into(), offset: number.to_string() }
    }

    /// The offset as a number.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self) -> Result<u64> {
        let wrong = |_| crate::Error::Option(format!("split '{}': '{}' is no position", self.split, self.offset));
        self.offset.parse().map_err(wrong)
    }
}

/// Hears of checkpoints that have become durable, for sources that tell others how far they are.
pub trait PositionListener: Send + Sync {
    /// What has been read before these positions will not be asked for again.
    fn on_durable(&self, positions: &[SplitPosition]);
}

/// What a sink wrote since the last checkpoint, made durable but not yet visible.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// What committing it takes, in the sink's own terms, for example JSON. It stands in the checkpoint.
    pub note: String,
    /// Rows that have to be written again should it turn out, after a failure, that the commit did not happen. They stand in
    /// the checkpoint, too.
    pub rows: Vec<ChangeBatch>,
}

/// What a sink is to know when its job takes checkpoints.
#[derive(Debug, Clone, Default)]
pub struct SinkRecovery {
    /// Names the job and the sink, the same in every run; letters, digits, `-` and `_`.
    pub id: String,
    /// What was prepared for the checkpoint that the job goes on from, in the order of the checkpoints: some of it, or all, may
    /// have been committed already.
    pub prepared: Vec<Prepared>,
}

/// Reads a table.
#[async_trait]
pub trait Source: Send {
    /// The next batch; `None` at the end of bounded input. Not asked again after `None` or an error.
    ///
    /// An unbounded source waits here. It must be safe to drop the future at any await: the source is then dropped too.
    /// Long computation belongs between awaits of at most some ten thousand rows.
    ///
    /// # Errors
    /// When reading fails or a record cannot be decoded and the options do not say to skip it.
    async fn next(&mut self) -> Result<Option<SourceBatch>>;

    /// Whether [`Source::next`] does no work of its own but waits for another thread to hand something over, and may be
    /// dropped while it waits without losing anything. The driver then waits for it itself, which saves a change of threads.
    fn is_passive(&self) -> bool {
        false
    }

    /// How many partitions it reads: parts whose rows are in order each by itself, but not all together. The watermark
    /// is the least of theirs. Asked once, before the first batch; a later batch of a partition with a higher number
    /// makes them more.
    fn partitions(&self) -> usize {
        1
    }

    /// Which of them gave the last batch, which may be empty; asked after each batch.
    fn last_partition(&self) -> FromPartition {
        FromPartition::default()
    }

    /// How far it is; asked after each batch.
    fn progress(&self) -> SourceProgress {
        SourceProgress::default()
    }

    /// Where to go on behind the last batch, for the split that it came from; `None` for a source that cannot be read again.
    /// Asked after each batch; a batch holds rows of one split only. The rows behind a position are the same, in the same order,
    /// whenever they are read, though perhaps in other batches.
    fn position(&self) -> Option<SplitPosition> {
        None
    }

    /// Goes on from these positions; what is not among them is read from its beginning. Called before the first batch.
    ///
    /// # Errors
    /// When it cannot be read again from there.
    async fn seek(&mut self, positions: Vec<SplitPosition>) -> Result<()> {
        let _ = positions;
        Err(crate::Error::Option("the source cannot be read again from a checkpoint".into()))
    }

    /// Who is to hear of checkpoints that have become durable. Asked once, before the first batch.
    fn listener(&self) -> Option<Arc<dyn PositionListener>> {
        None
    }
}

/// Writes a table.
#[async_trait]
pub trait Sink: Send {
    /// Takes one batch of changes; batches come in the order of the steps.
    ///
    /// # Errors
    /// When writing fails; the job ends.
    async fn write(&mut self, changes: ChangeBatch) -> Result<()>;

    /// The channel that changes are to go into, where the sink is no more than that: saves a change of threads. The other
    /// methods are then not called.
    fn channel(&self) -> Option<tokio::sync::mpsc::Sender<ChangeBatch>> {
        None
    }

    /// Nothing follows for now: what is held back for size alone should go out.
    ///
    /// # Errors
    /// As [`Sink::write`].
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// The job takes checkpoints: from now on nothing is to become visible but by [`Sink::commit`], if the sink can have it so.
    /// What `recovery` names and is not committed yet is committed; all else that an earlier run of the job left uncommitted is
    /// dropped, and a run that should still be alive is fenced off. Called before anything is written; not called without
    /// checkpoints.
    ///
    /// # Errors
    /// As [`Sink::write`].
    async fn recover(&mut self, recovery: SinkRecovery) -> Result<()> {
        let _ = recovery;
        Ok(())
    }

    /// Makes durable, but not visible, what was written since the last time; `checkpoint` is the checkpoint's number. `None`
    /// where there is nothing to commit, as for a sink that shows what it writes at once: that has to be out then.
    /// What is written afterwards belongs to the next checkpoint.
    ///
    /// # Errors
    /// As [`Sink::write`].
    async fn prepare(&mut self, checkpoint: u64) -> Result<Option<Prepared>> {
        let _ = checkpoint;
        self.flush().await.map(|()| None)
    }

    /// Makes visible what was prepared: the checkpoint is durable. Called once for each, in order, unless the job fails; after a
    /// failure [`Sink::recover`] gets it again.
    ///
    /// # Errors
    /// As [`Sink::write`].
    async fn commit(&mut self, prepared: Prepared) -> Result<()> {
        let _ = prepared;
        Ok(())
    }

    /// The input has ended or the job was stopped gracefully: everything becomes visible. Not called after a failure. With
    /// checkpoints, all that was written has been prepared and committed before.
    ///
    /// # Errors
    /// As [`Sink::write`].
    async fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What `'connector' = '…'` names.
pub trait Connector: Send + Sync + std::fmt::Debug {
    /// The name in `WITH`.
    fn name(&self) -> &'static str;

    /// All option keys it takes besides `connector`, those of its formats included.
    fn options(&self, table: &Options) -> Vec<OptionSpec>;

    /// The metadata columns that it can give: key and type.
    fn metadata(&self) -> Vec<(&'static str, arrow::datatypes::DataType)> {
        Vec::new()
    }

    /// Checks what a table's options say beyond their keys. Called when a table is first used in a query.
    ///
    /// # Errors
    /// [`crate::Error::Option`] with what is wrong.
    fn check(&self, table: &TableDescriptor) -> Result<()> {
        let _ = table;
        Ok(())
    }

    /// Whether its tables can be read.
    fn can_read(&self) -> bool {
        true
    }

    /// Whether its tables can be written.
    fn can_write(&self) -> bool {
        true
    }

    /// Whether the table, read as a source, ends by itself.
    fn is_bounded(&self, table: &TableDescriptor) -> bool {
        let _ = table;
        false
    }

    /// How the table's rows change, read as a source. Called when the table is first used in a query.
    ///
    /// # Errors
    /// [`crate::Error::Option`] when the options do not go together.
    fn changelog(&self, table: &TableDescriptor) -> Result<SourceChangelog> {
        let _ = table;
        Ok(SourceChangelog::Append)
    }

    /// Which changes the table takes, as a sink; a query whose rows change otherwise is refused when it is planned. Called when
    /// the table is used in a query.
    ///
    /// # Errors
    /// [`crate::Error::Option`] when the options do not go together.
    fn accepts(&self, table: &TableDescriptor) -> Result<SinkChangelog> {
        let _ = table;
        Ok(SinkChangelog::Append)
    }

    /// A source that gives exactly the columns of `projection`: a subset of the table's columns, in the table's order;
    /// of a ROW column perhaps only some fields, by name. It may have no columns at all; batches then carry only a
    /// number of rows.
    ///
    /// # Errors
    /// When the table cannot be read.
    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>>;

    /// How the table is looked up by other tables' rows; `None` where it cannot be. Called when it is used in a lookup join.
    ///
    /// # Errors
    /// [`crate::Error::Option`] when the options do not go together.
    fn lookup_mode(&self, table: &TableDescriptor) -> Result<Option<lookup::LookupMode>> {
        let _ = table;
        Ok(None)
    }

    /// What answers look-ups of some key columns with the columns of `projection`; both are subsets of the table's columns.
    /// Only where [`Connector::lookup_mode`] says that the table is asked by key.
    ///
    /// # Errors
    /// When the table cannot be asked.
    fn lookup(
        &self,
        table: &TableDescriptor,
        keys: SchemaRef,
        projection: SchemaRef,
    ) -> Result<Box<dyn lookup::Lookup>> {
        let _ = (keys, projection);
        Err(crate::Error::internal(format!("table '{}' cannot be asked by key", table.name)))
    }

    /// A sink for the table's columns less its virtual metadata.
    ///
    /// # Errors
    /// When the table cannot be written.
    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>>;
}

/// The connectors by name.
#[derive(Debug, Clone, Default)]
pub struct Connectors(BTreeMap<&'static str, Arc<dyn Connector>>);

impl Connectors {
    /// Adds a connector; one of the same name is replaced.
    pub fn register(&mut self, connector: Arc<dyn Connector>) {
        self.0.insert(connector.name(), connector);
    }

    /// The connector of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Connector>> {
        self.0.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

/// The connectors that come with the library.
pub fn builtin(clock: Arc<dyn Clock>) -> Connectors {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(blackhole::Blackhole));
    connectors.register(Arc::new(datagen::Datagen::new(clock)));
    connectors.register(Arc::new(filesystem::FilesystemConnector));
    #[cfg(feature = "jdbc")]
    connectors.register(Arc::new(jdbc::Jdbc));
    #[cfg(feature = "kafka")]
    {
        connectors.register(Arc::new(kafka::Kafka::log()));
        connectors.register(Arc::new(kafka::Kafka::upsert()));
    }
    connectors.register(Arc::new(nexmark::Nexmark));
    connectors.register(Arc::new(print::Print::default()));
    connectors
}
