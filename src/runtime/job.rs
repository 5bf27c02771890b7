//! A running job: starting it, waiting for it, stopping it, looking at it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::thread::Thread;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, oneshot, watch};

use super::checkpoint::{CheckpointOptions, Coordinator, Durable, Request, Resumed};
use super::circuit::{Circuit, NodeKind, SinkSpec, SourceSpec};
use super::driver::{Control, Driver, JobEnd, Turn};
use super::executor::Executor;
use super::journal::{Journal, JournalOptions};
use super::lookup::LookupEdge;
use super::metrics::{Metrics, MetricsSnapshot};
use super::outlet::Outlet;
use super::pace::Pace;
use super::partitions::Partitions;
use super::port::Port;
use super::tasks::Tasks;
use crate::change::{ChangeBatch, Clock, SystemClock};
use crate::table::WatermarkOptions;
use crate::{Error, Result};

/// How many batches of results wait for their taker at most; then the job waits, and so its sources.
const QUEUED_RESULTS: usize = 16;
/// How many bytes of a source go into one step at most, unless the job has less; a batch that has more by itself is one step's.
const STEP_BYTES: usize = 256 << 20;

/// How a job is to run.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// How many workers; `parallelism.default`.
    pub workers: usize,
    /// `table.exec.source.idle-timeout`: after so long without rows a source does not hold the watermark back.
    pub idle_timeout: Option<Duration>,
    /// How many rows of a source go into one step at most. Under load a step grows up to this; it keeps memory bounded.
    pub step_rows: usize,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// How it takes checkpoints, and where it goes on from.
    pub checkpoints: CheckpointOptions,
    /// How it is journaled.
    pub journal: JournalOptions,
    /// Something to keep alive until the job is dropped, such as the runtime of its tasks.
    pub keep: Option<Arc<dyn Keep>>,
}

/// Whatever a job keeps alive.
pub trait Keep: std::fmt::Debug + Send + Sync {}

impl<T: std::fmt::Debug + Send + Sync> Keep for T {}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            workers: 1,
            idle_timeout: None,
            step_rows: 65_536,
            clock: Arc::new(SystemClock),
            checkpoints: CheckpointOptions::default(),
            journal: JournalOptions::default(),
            keep: None,
        }
    }
}

/// A job that runs in threads of its own. Dropping it cancels it.
#[derive(Debug)]
pub struct Job {
    control: Arc<Control>,
    driver: Thread,
    end: watch::Receiver<Option<Result<JobEnd>>>,
    metrics: Arc<Metrics>,
    resumed: watch::Receiver<Option<Option<Resumed>>>,
    takes_checkpoints: bool,
    _keep: Option<Arc<dyn Keep>>,
}

/// The changes of a bare query, batch by batch. Reading slowly slows the job down; dropping this cancels it.
#[derive(Debug)]
pub struct Results {
    /// The schema of the rows.
    pub schema: SchemaRef,
    pub(crate) queue: mpsc::Receiver<ChangeBatch>,
}

impl Results {
    /// The next batch; `None` when the job has ended (ask the job whether well).
    pub async fn next(&mut self) -> Option<ChangeBatch> {
        self.queue.recv().await
    }

    /// As [`Results::next`], outside of asynchronous code.
    pub fn blocking_next(&mut self) -> Option<ChangeBatch> {
        self.queue.blocking_recv()
    }
}

impl futures::Stream for Results {
    type Item = ChangeBatch;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<ChangeBatch>> {
        self.queue.poll_recv(context)
    }
}

/// Starts a circuit: opens its sources and sinks, whose tasks run on `runtime`, and a driver. Gives the results of the bare
/// queries in it, in order.
///
/// # Errors
/// When a source or sink cannot be opened, or a thread not started.
pub fn start(circuit: Circuit, options: JobOptions, runtime: &Handle) -> Result<(Job, Vec<Results>)> {
    let (keep, takes_checkpoints) = (options.keep.clone(), options.checkpoints.dir.is_some());
    let (driver, results) = open(Arc::new(circuit), options, &Tasks::beside(runtime))?;
    let (control, metrics) = (Arc::clone(&driver.control), Arc::clone(driver.executor.metrics()));
    let (ended, end) = watch::channel(None);
    let resumed = driver.resumed.subscribe();
    let thread = std::thread::Builder::new()
        .name("millstream-driver".into())
        .spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| driver.run()));
            ended.send_replace(Some(outcome.unwrap_or_else(|p| Err(Error::panic("the driver", p.as_ref())))));
        })
        .map_err(|e| Error::io("starting the driver's thread", e))?;
    let driver = thread.thread().clone();
    Ok((Job { control, driver, end, metrics, resumed, takes_checkpoints, _keep: keep }, results))
}

/// A job that its owner drives, turn by turn, in one thread with all its tasks: what a [`Job`] does, in an order that is the same every
/// time. For simulations.
pub struct ManualJob {
    driver: Driver,
}

impl ManualJob {
    /// Opens a circuit; its tasks go on while the runtime, which has no threads of its own, is waited in.
    ///
    /// # Errors
    /// As [`start`].
    pub fn open(circuit: Arc<Circuit>, options: JobOptions, runtime: Arc<Runtime>) -> Result<(Self, Vec<Results>)> {
        let (driver, results) = open(circuit, options, &Tasks::within(runtime))?;
        Ok((Self { driver }, results))
    }

    /// Goes on from the last checkpoint, the first time; then looks once at everything that may have happened, and steps if there is
    /// a reason to. Waits only for checkpoints at the end and for full queues, outside of asynchronous code.
    ///
    /// # Errors
    /// Whatever made the job fail; there is no further turn then.
    pub fn turn(&mut self) -> Result<Turn> {
        self.driver.turn(Waker::noop(), true)
    }

    /// As [`Job::stop`].
    pub fn stop(&self) {
        self.driver.control.drain();
    }

    /// As [`Job::suspend`].
    pub fn suspend(&self) {
        self.driver.control.suspend();
    }
}

/// Opens a circuit's sources and sinks.
fn open(circuit: Arc<Circuit>, options: JobOptions, tasks: &Tasks) -> Result<(Driver, Vec<Results>)> {
    let executor = Executor::try_new(Arc::clone(&circuit), options.workers)?;
    let _entered = tasks.handle().enter();
    let sources = circuit.sources.iter().map(|spec| {
        let source = spec.connector.source(&spec.table, Arc::clone(&spec.projection));
        source.map(|s| Port::new(s, &spec.table.name, circuit.memory.as_ref(), tasks))
    });
    let ports = sources.collect::<Result<Vec<_>>>()?;
    let lookups =
        circuit.lookups.iter().map(|spec| LookupEdge::open(spec, tasks.handle())).collect::<Result<Vec<_>>>()?;
    let mut results = Vec::new();
    let outlets = open_outlets(&circuit, &mut results, tasks)?;
    let idle_timeout = |spec: &SourceSpec| {
        let own = WatermarkOptions::read(&spec.table.options)?.idle_timeout;
        Ok(own.or(options.idle_timeout))
    };
    let idle_timeouts = circuit.sources.iter().map(idle_timeout).collect::<Result<_>>()?;
    let driver = Driver {
        executor,
        states: None,
        sleeper: None,
        orders: None,
        resumed: watch::channel(None).0,
        drained: false,
        last_rows: Vec::new(),
        partitions: Partitions::default(),
        ports,
        outlets,
        lookups,
        clock: options.clock,
        control: Arc::new(Control::default()),
        idle_timeouts,
        pace: Pace::of(&circuit)?,
        step_rows: options.step_rows,
        step_bytes: circuit.memory.as_ref().map_or(STEP_BYTES, |m| m.under_way().min(STEP_BYTES)),
        journal: Journal::new(options.journal, options.workers),
        coordinator: Coordinator::new(options.checkpoints, Arc::clone(&circuit), tasks.clone()),
    };
    Ok((driver, results))
}

fn open_outlets(circuit: &Circuit, results: &mut Vec<Results>, tasks: &Tasks) -> Result<Vec<Outlet>> {
    let schemas = circuit.nodes.iter().filter(|n| matches!(n.kind, NodeKind::Sink(_))).map(|n| Arc::clone(&n.schema));
    let outlets = circuit.sinks.iter().zip(schemas).map(|(sink, schema)| match sink {
        SinkSpec::Table { table, connector } => Ok(Outlet::open(connector.sink(table)?, &table.name, schema, tasks)),
        SinkSpec::Result => {
            let (sender, queue) = mpsc::channel(QUEUED_RESULTS);
            results.push(Results { schema: Arc::clone(&schema), queue });
            Ok(Outlet::channel(sender, "result", schema, tasks))
        }
    });
    outlets.collect()
}

impl Job {
    /// Waits for the end: of all input, of a stop, or of a failure.
    ///
    /// # Errors
    /// Whatever made the job fail.
    pub async fn wait(&self) -> Result<JobEnd> {
        let mut end = self.end.clone();
        let gone = |_| Error::internal("the driver is gone");
        let ended = end.wait_for(Option::is_some).await.map_err(gone)?;
        ended.clone().unwrap_or_else(|| Err(Error::internal("a job that ended without an end")))
    }

    /// How it ended; `None` while it runs.
    pub fn end(&self) -> Option<Result<JobEnd>> {
        self.end.borrow().clone()
    }

    /// Stops reading, works off what has been read, closes all windows, and lets every result go out. Returns at once; wait
    /// for it with [`Job::wait`].
    pub fn stop(&self) {
        self.control.drain();
        self.driver.unpark();
    }

    /// From which checkpoint it goes on, and what becomes of the state there; `None` where it begins anew. Waits until that is
    /// decided.
    ///
    /// # Errors
    /// When it cannot go on from the checkpoints that are there.
    pub async fn resumed(&self) -> Result<Option<Resumed>> {
        let mut resumed = self.resumed.clone();
        let told = resumed.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
        match told {
            Some(told) => Ok(told),
            // The driver has ended before it could say.
            None => self.wait().await.map(|_| None),
        }
    }

    /// Whether it takes checkpoints: whether `execution.checkpointing.dir` was set when it was started.
    pub fn takes_checkpoints(&self) -> bool {
        self.takes_checkpoints
    }

    /// Takes a last checkpoint and ends: open windows stay open, and started again the job goes on where it was. Without
    /// `execution.checkpointing.dir` it only ends. Returns at once; wait for it with [`Job::wait`].
    pub fn suspend(&self) {
        self.control.suspend();
        self.driver.unpark();
    }

    /// Takes a checkpoint now, and waits until it is durable.
    ///
    /// # Errors
    /// When it fails, or the job ends before.
    pub async fn checkpoint(&self) -> Result<Durable> {
        self.request(None).await
    }

    /// Takes a checkpoint now, and writes it whole to an address of its own as well, where it stays until somebody removes it; waits
    /// until it is durable.
    ///
    /// # Errors
    /// As [`Job::checkpoint`].
    pub async fn savepoint(&self, address: &str) -> Result<Durable> {
        self.request(Some(address.to_string())).await
    }

    async fn request(&self, to: Option<String>) -> Result<Durable> {
        let (reply, durable) = oneshot::channel();
        self.control.request(Request { to, reply });
        self.driver.unpark();
        let ended = || Error::Execution("the job ended before the checkpoint was taken".into());
        // The request may stand where nobody looks any more.
        tokio::select! {
            biased;
            durable = durable => durable.map_err(|_| ended())?,
            _ = self.wait() => Err(ended()),
        }
    }

    /// Ends it at once: what is under way is lost, and transactional output that was not committed never shows.
    pub fn cancel(&self) {
        self.control.cancel();
        self.driver.unpark();
    }

    /// What it has counted so far.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.metrics.snapshot()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.cancel();
    }
}
