//! What embedders hold: an [`Engine`] to declare tables in, feed, query and run scripts on.

mod replay;
mod script;

use std::sync::Arc;

use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use object_store::ObjectStore;
use tokio::runtime::{Handle, Runtime};

pub use self::replay::{Replay, ReplayedStep};
pub use self::script::{Prepared, Progress};
use crate::change::{Clock, SystemClock};
use crate::connector::channel::Channels;
pub use crate::connector::channel::{Input, Output};
use crate::connector::datagen::Datagen;
pub use crate::connector::provider::ProviderTable;
pub use crate::connector::text::lines;
use crate::connector::{Connector, Connectors, builtin};
use crate::plan::{ColumnOrigin, StreamTable, explain};
use crate::runtime::CheckpointOptions;
use crate::runtime::circuit::SinkSpec;
use crate::runtime::journal::JournalOptions;
use crate::runtime::{Circuit, JobOptions, start};
pub use crate::runtime::{Durable, Job, JobEnd, MetricsSnapshot, OperatorMetrics, Results, Resumed, SourceMetrics};
use crate::sql::ast::Located;
use crate::sql::parse::parse_script;
use crate::sql::{Outcome, Session};
use crate::{Error, Result};

/// Runs Flink SQL in this process.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use millstream::Engine;
///
/// let mut engine = Engine::new()?;
/// engine.execute("CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'channel')")?;
/// let input = engine.input("numbers")?;
/// let (job, mut results) = engine.query("SELECT n * 2 FROM numbers WHERE n > 1")?;
///
/// let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// input.blocking_push(RecordBatch::try_from_iter([("n", n)])?)?;
/// drop(input);
/// let doubled = results.blocking_next().unwrap();
/// assert_eq!(doubled.rows.column(0).as_ref(), &Int64Array::from(vec![4, 6]));
/// engine.block_on(job.wait())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    session: Session,
    channels: Channels,
    clock: Arc<dyn Clock>,
    checkpoint_store: Option<Arc<dyn ObjectStore>>,
    /// Whether a job has the session's step clock.
    clock_is_taken: bool,
    tasks: Tasks,
}

/// Where the tasks of sources and sinks run.
#[derive(Debug)]
enum Tasks {
    Own(Arc<OwnRuntime>),
    Callers(Handle),
}

/// A runtime that its jobs keep alive, and that may be dropped anywhere.
#[derive(Debug)]
struct OwnRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // Waiting for its threads would block, which asynchronous code must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a statement or script came to.
#[derive(Debug)]
pub enum Answer {
    /// Something was declared or set; perhaps with notes for the user.
    Done(Vec<String>),
    /// Rows of text: SHOW, DESCRIBE, EXPLAIN.
    Rows {
        /// The columns' names.
        columns: Vec<String>,
        /// The rows.
        rows: Vec<Vec<String>>,
    },
    /// A job was started; a bare query's comes with its results.
    Started(Job, Option<Results>),
}

impl Engine {
    /// An engine with the built-in connectors. Its sources and sinks run on the tokio runtime that this is called in, or on
    /// one of its own.
    ///
    /// # Errors
    /// When no runtime can be started.
    pub fn new() -> Result<Self> {
        let tasks = match Handle::try_current() {
            Ok(handle) => Tasks::Callers(handle),
            Err(_) => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .thread_name("millstream-io")
                    .enable_all()
                    .build()
                    .map_err(|e| Error::io("starting a runtime for sources and sinks", e))?;
                Tasks::Own(Arc::new(OwnRuntime { handle: runtime.handle().clone(), runtime: Some(runtime) }))
            }
        };
        let channels = Channels::default();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut connectors: Connectors = builtin(Arc::clone(&clock));
        connectors.register(Arc::new(channels.clone()));
        Ok(Self {
            session: Session::new(connectors),
            channels,
            clock,
            checkpoint_store: None,
            clock_is_taken: false,
            tasks,
        })
    }

    /// Adds a connector of the embedder's, or puts it in the place of a built-in one.
    pub fn register_connector(&mut self, connector: Arc<dyn Connector>) {
        self.session.connectors_mut().register(connector);
    }

    /// Adds a table of the embedder's, under a name; one of the same name is replaced. It can be read, from beginning to end,
    /// and looked up by `FOR SYSTEM_TIME AS OF` a processing time.
    ///
    /// # Errors
    /// When a column is of a type that SQL has none for.
    pub fn register_table_provider(&mut self, name: &str, table: impl Into<ProviderTable>) -> Result<()> {
        let table = table.into();
        let time_zone = self.session.settings().time_zone();
        let descriptor = Arc::new(table.describe(name, &time_zone)?);
        let schema = Arc::clone(&descriptor.schema);
        let origins = (0..schema.fields().len()).map(ColumnOrigin::Connector).collect();
        let connector = Arc::new(table);
        self.session.register_table(StreamTable { descriptor, connector, schema, origins, watermark: None, time_zone });
        Ok(())
    }

    /// Adds a scalar function.
    pub fn register_scalar(&mut self, function: ScalarUDF) {
        self.session.register_scalar(Arc::new(function));
    }

    /// Adds an aggregate function.
    pub fn register_aggregate(&mut self, function: AggregateUDF) {
        self.session.register_aggregate(Arc::new(function));
    }

    /// Adds a window function.
    pub fn register_window(&mut self, function: WindowUDF) {
        self.session.register_window(Arc::new(function));
    }

    /// Puts another clock in the machine's place, for all jobs started from now on.
    pub fn set_clock(&mut self, clock: Arc<dyn Clock>) {
        self.register_connector(Arc::new(Datagen::new(Arc::clone(&clock))));
        self.clock = clock;
    }

    /// Keeps checkpoints in a store of the embedder's, for all jobs started from now on: `execution.checkpointing.dir` is a path in it.
    pub fn set_checkpoint_store(&mut self, store: Arc<dyn ObjectStore>) {
        self.checkpoint_store = Some(store);
    }

    /// Sets a setting, as `SET` does. Gives a note where it will have no effect.
    ///
    /// # Errors
    /// When the value does not fit the key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<Option<String>> {
        self.session.set(key, value)
    }

    /// A table by name.
    pub fn table(&self, name: &str) -> Option<Arc<StreamTable>> {
        self.session.table(name)
    }

    /// Carries out one statement; a query or an insert starts a job.
    ///
    /// # Errors
    /// [`Error::Sql`] with the place, and whatever keeps a job from starting.
    pub fn execute(&mut self, statement: &str) -> Result<Answer> {
        let mut statements = parse_script(statement)?.into_iter();
        let (Some(one), None) = (statements.next(), statements.next()) else {
            return Err(Error::Option("one statement is expected; Engine::run takes a script".into()));
        };
        self.free_clock()?;
        self.execute_located(&one)
    }

    fn execute_located(&mut self, statement: &Located) -> Result<Answer> {
        match self.session.execute(statement)? {
            Outcome::Done { notes } => Ok(Answer::Done(notes)),
            Outcome::Rows { columns, rows } => Ok(Answer::Rows { columns, rows }),
            Outcome::Explain(outcome) => {
                let circuit = self.session.compile(outcome.queries()?, statement)?;
                let rows = explain(&circuit).lines().map(|l| vec![l.to_string()]).collect();
                Ok(Answer::Rows { columns: vec!["plan".into()], rows })
            }
            outcome => {
                let circuit = self.session.compile(outcome.queries()?, statement)?;
                circuit.warnings.iter().for_each(|w| log::warn!("{w}"));
                let text = vec![(self.session.statements().end(), statement.text.clone())];
                let (job, mut results) = self.start(circuit, &statement.text, &text)?;
                Ok(Answer::Started(job, results.pop()))
            }
        }
    }

    /// Starts a bare query.
    ///
    /// # Errors
    /// As [`Engine::execute`]; also when the statement is no query.
    pub fn query(&mut self, query: &str) -> Result<(Job, Results)> {
        match self.execute(query)? {
            Answer::Started(job, Some(results)) => Ok((job, results)),
            _ => Err(Error::Option("the statement is no query".into())),
        }
    }

    /// The end to push rows into a table declared `WITH ('connector' = 'channel')`; ask for it before the job that reads the
    /// table is started.
    ///
    /// # Errors
    /// When there is no such table, or its options are wrong.
    pub fn input(&self, table: &str) -> Result<Input> {
        let table = self.channel_table(table)?;
        self.channels.input(&table.descriptor)
    }

    /// The ends to push rows into a table's partitions, as [`Engine::input`]: the rows of each are in order by themselves, and the
    /// table's watermark is the least of theirs. A partition whose inputs are dropped has ended and is not waited for.
    ///
    /// # Errors
    /// As [`Engine::input`].
    pub fn partitioned_input(&self, table: &str, partitions: usize) -> Result<Vec<Input>> {
        let table = self.channel_table(table)?;
        self.channels.inputs(&table.descriptor, partitions)
    }

    /// The end to take changes from a table declared `WITH ('connector' = 'channel')`; ask for it before the job that writes
    /// the table is started.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn output(&self, table: &str) -> Result<Output> {
        let table = self.channel_table(table)?;
        Ok(self.channels.output(&table.descriptor.name))
    }

    fn channel_table(&self, name: &str) -> Result<Arc<StreamTable>> {
        match self.session.table(name) {
            Some(table) if table.connector.name() == self.channels.name() => Ok(table),
            Some(_) => {
                Err(Error::Option(format!("table '{name}' is no channel: declare it WITH ('connector' = 'channel')")))
            }
            None => Err(Error::Option(format!("there is no table '{name}'"))),
        }
    }

    /// `script` are the statements that the circuit was made of; `queries` are the queries and inserts among them, each with its place
    /// among the session's statements.
    fn start(&mut self, circuit: Circuit, script: &str, queries: &[(usize, String)]) -> Result<(Job, Vec<Results>)> {
        let settings = self.session.settings();
        let sinks = circuit.sinks.iter().filter_map(|sink| match sink {
            SinkSpec::Table { table, .. } => Some(table.name.as_str()),
            SinkSpec::Result => None,
        });
        let checkpoints = CheckpointOptions {
            store: self.checkpoint_store.clone(),
            ..settings.checkpoints(&sinks.collect::<Vec<_>>(), script)
        };
        let journal = match settings.journal_dir() {
            Some(_) => settings.journal(&checkpoints, self.whole_script(queries)?),
            None => JournalOptions::default(),
        };
        let options = JobOptions {
            workers: settings.parallelism().unwrap_or(1),
            idle_timeout: settings.idle_timeout(),
            step_rows: settings.step_rows().unwrap_or(JobOptions::default().step_rows),
            clock: Arc::clone(&self.clock),
            checkpoints,
            journal,
            keep: match &self.tasks {
                Tasks::Own(own) => Some(Arc::clone(own) as _),
                Tasks::Callers(_) => None,
            },
        };
        self.clock_is_taken = true;
        start(circuit, options, self.handle())
    }

    /// Sees to it that what is planned from now on reads no other job's time.
    fn free_clock(&mut self) -> Result<()> {
        if std::mem::take(&mut self.clock_is_taken) { self.session.renew_clock() } else { Ok(()) }
    }

    fn whole_script(&self, queries: &[(usize, String)]) -> Result<String> {
        let too_long = "the session's statements are too long to be journaled; begin a new session for the job";
        self.session.statements().with(queries).ok_or_else(|| Error::Option(too_long.into()))
    }

    fn handle(&self) -> &Handle {
        match &self.tasks {
            Tasks::Own(own) => &own.handle,
            Tasks::Callers(handle) => handle,
        }
    }

    /// Waits for a future, outside of asynchronous code.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle().block_on(future)
    }
}
