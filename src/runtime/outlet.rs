//! Where changes go out: the driver's side of a sink.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::tasks::Tasks;
use crate::change::ChangeBatch;
use crate::connector::{Prepared, Sink, SinkRecovery};
use crate::{Error, Result};

/// How many batches wait for a sink at most; then the driver waits, and so the sources.
const QUEUED_BATCHES: usize = 16;

/// What a sink prepared, later.
pub(super) type ToBePrepared = oneshot::Receiver<Result<Option<Prepared>>>;

enum Order {
    Recover(SinkRecovery),
    Write(ChangeBatch),
    Flush,
    Prepare(u64, oneshot::Sender<Result<Option<Prepared>>>),
    Commit(Prepared),
    Close,
}

/// The driver's side of a sink.
pub(super) struct Outlet {
    table: String,
    schema: SchemaRef,
    kind: Kind,
    /// Whether something was written that may still be held back.
    unflushed: bool,
    /// Whether its job takes checkpoints: what is not committed then is the next run's.
    commits: bool,
}

impl Drop for Outlet {
    /// Orders that still wait would be carried out under the hands of the next run.
    fn drop(&mut self) {
        if let (Kind::Task { task: Some(task), .. }, true) = (&self.kind, self.commits) {
            task.abort();
        }
    }
}

enum Kind {
    Task { orders: Option<mpsc::Sender<Order>>, task: Option<JoinHandle<Result<()>>>, runtime: Tasks },
    Channel(mpsc::Sender<ChangeBatch>, Tasks),
}

impl Outlet {
    pub fn open(sink: Box<dyn Sink>, table: &str, schema: SchemaRef, runtime: &Tasks) -> Self {
        if let Some(channel) = sink.channel() {
            return Self::channel(channel, table, schema, runtime);
        }
        let (orders, queue) = mpsc::channel(QUEUED_BATCHES);
        let task = runtime.spawn(write(sink, table.to_string(), queue));
        let kind = Kind::Task { orders: Some(orders), task: Some(task), runtime: runtime.clone() };
        Self { table: table.to_string(), schema, kind, unflushed: false, commits: false }
    }

    pub fn channel(channel: mpsc::Sender<ChangeBatch>, table: &str, schema: SchemaRef, runtime: &Tasks) -> Self {
        let kind = Kind::Channel(channel, runtime.clone());
        Self { table: table.to_string(), schema, kind, unflushed: false, commits: false }
    }

    /// Hands changes over, waiting while the sink is behind. False when the taker of a channel has gone.
    ///
    /// # Errors
    /// The sink's own, when it has failed; or when a NULL is to go into a NOT NULL column.
    pub fn send(&mut self, changes: ChangeBatch) -> Result<bool> {
        if changes.num_rows() == 0 {
            return Ok(true);
        }
        let changes = self.relabel(changes)?;
        match &self.kind {
            Kind::Channel(channel, runtime) => Ok(runtime.send(channel, changes)),
            Kind::Task { .. } => {
                self.unflushed = true;
                self.order(Order::Write(changes)).map(|()| true)
            }
        }
    }

    /// Asks for what is held back to go out, if there is anything; or `in_any_case`, as sinks also close files by age.
    ///
    /// # Errors
    /// As [`Outlet::send`].
    pub fn flush(&mut self, in_any_case: bool) -> Result<()> {
        let due = std::mem::take(&mut self.unflushed) || in_any_case;
        if due { self.order(Order::Flush) } else { Ok(()) }
    }

    /// Tells the sink that its job takes checkpoints, and from which it goes on.
    ///
    /// # Errors
    /// As [`Outlet::send`].
    pub fn recover(&mut self, recovery: SinkRecovery) -> Result<()> {
        self.commits = true;
        self.order(Order::Recover(recovery))
    }

    /// Has the sink make durable what it was given; `None` for a channel, which takes no part.
    ///
    /// # Errors
    /// As [`Outlet::send`].
    pub fn prepare(&mut self, checkpoint: u64) -> Result<Option<ToBePrepared>> {
        if matches!(self.kind, Kind::Channel(..)) {
            return Ok(None);
        }
        let (reply, prepared) = oneshot::channel();
        self.order(Order::Prepare(checkpoint, reply))?;
        Ok(Some(prepared))
    }

    /// Has the sink show what it prepared.
    ///
    /// # Errors
    /// As [`Outlet::send`].
    pub fn commit(&mut self, prepared: Prepared) -> Result<()> {
        self.order(Order::Commit(prepared))
    }

    /// The sink's error, where it has failed: it may be the cause of a checkpoint that has.
    ///
    /// # Errors
    /// The sink's own.
    pub fn check(&mut self) -> Result<()> {
        match &self.kind {
            Kind::Task { task: Some(task), .. } if task.is_finished() => self.outcome(),
            _ => Ok(()),
        }
    }

    /// Closes the sink and waits until all is written.
    ///
    /// # Errors
    /// As [`Outlet::send`].
    pub fn close(&mut self) -> Result<()> {
        match &self.kind {
            Kind::Channel(..) => Ok(()),
            Kind::Task { .. } => {
                self.order(Order::Close)?;
                self.outcome()
            }
        }
    }

    fn order(&mut self, order: Order) -> Result<()> {
        let Kind::Task { orders: Some(orders), runtime, .. } = &self.kind else { return Ok(()) };
        if runtime.send(orders, order) {
            return Ok(());
        }
        self.outcome()?;
        Err(Error::internal(format!("the sink of table '{}' ended early", self.table)))
    }

    /// What became of the task.
    fn outcome(&mut self) -> Result<()> {
        let Kind::Task { orders, task, runtime } = &mut self.kind else { return Ok(()) };
        *orders = None;
        let Some(task) = task.take() else { return Ok(()) };
        match runtime.block_on(task) {
            Ok(outcome) => outcome,
            Err(e) => Err(Error::internal(format!("the sink of table '{}': {e}", self.table))),
        }
    }

    /// The rows under the table's own column names.
    fn relabel(&self, changes: ChangeBatch) -> Result<ChangeBatch> {
        if changes.rows.schema_ref() == &self.schema {
            return Ok(changes);
        }
        for (field, column) in self.schema.fields().iter().zip(changes.rows.columns()) {
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(Error::Execution(format!(
                    "column '{}' of table '{}' is NOT NULL, and a NULL was to be written to it",
                    field.name(),
                    self.table
                )));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(changes.num_rows()));
        let columns = changes.rows.columns().to_vec();
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(changes.with_rows(rows))
    }
}

async fn write(sink: Box<dyn Sink>, table: String, queue: mpsc::Receiver<Order>) -> Result<()> {
    match AssertUnwindSafe(serve(sink, queue)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Err(Error::panic(format!("the sink of table '{table}'"), panic.as_ref())),
    }
}

/// Follows orders. A queue that ends without the order to close means that the job has failed: nothing more is made visible.
async fn serve(mut sink: Box<dyn Sink>, mut queue: mpsc::Receiver<Order>) -> Result<()> {
    while let Some(order) = queue.recv().await {
        match order {
            Order::Recover(recovery) => sink.recover(recovery).await?,
            Order::Write(changes) => sink.write(changes).await?,
            Order::Flush => sink.flush().await?,
            Order::Prepare(checkpoint, reply) => {
                let prepared = sink.prepare(checkpoint).await;
                let failed = prepared.as_ref().err().cloned();
                // Nobody waits for it when the checkpoint has failed already.
                let _ = reply.send(prepared);
                failed.map_or(Ok(()), Err)?;
            }
            Order::Commit(prepared) => sink.commit(prepared).await?,
            Order::Close => return sink.close().await,
        }
    }
    Ok(())
}
