//! Jobs that fail, wait, and are stopped: the engine and the process live on.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use async_trait::async_trait;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use futures::FutureExt;
use millstream::change::ChangeBatch;
use millstream::connector::{Connector, OptionSpec, Options, Sink, Source, SourceBatch, TableDescriptor};
use millstream::engine::{Answer, Input, JobEnd, Results};
use millstream::table::project;
use millstream::{Engine, Error, Result};

const NUMBERS: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'channel')";
const TIMED: &str =
    "CREATE TABLE timed (ts TIMESTAMP(3), n BIGINT, WATERMARK FOR ts AS ts) WITH ('connector' = 'channel')";

fn engine(workers: usize) -> Engine {
    let mut engine = Engine::new().unwrap();
    engine.set("parallelism.default", &workers.to_string()).unwrap();
    engine.execute(NUMBERS).unwrap();
    engine.execute(TIMED).unwrap();
    engine
}

fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("n", n)]).unwrap()
}

fn timed(rows: &[(Option<i64>, i64)]) -> RecordBatch {
    let ts: ArrayRef = Arc::new(rows.iter().map(|r| r.0).collect::<TimestampMillisecondArray>());
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1)));
    RecordBatch::try_from_iter_with_nullable([("ts", ts, true), ("n", n, true)]).unwrap()
}

fn drain(results: &mut Results) -> Vec<i64> {
    let mut all = Vec::new();
    while let Some(batch) = results.blocking_next() {
        all.extend_from_slice(batch.rows.column(0).as_primitive::<Int64Type>().values());
    }
    all
}

/// Runs a query over some batches and gives its results and its end.
fn run(engine: &mut Engine, table: &str, query: &str, batches: Vec<RecordBatch>) -> (Vec<i64>, Result<JobEnd>) {
    let input = engine.input(table).unwrap();
    let (job, mut results) = engine.query(query).unwrap();
    for batch in batches {
        // A job that has failed takes no more.
        if input.blocking_push(batch).is_err() {
            break;
        }
    }
    drop(input);
    let rows = drain(&mut results);
    let end = engine.block_on(job.wait());
    (rows, end)
}

/// The engine still answers.
fn works(engine: &mut Engine) {
    let (rows, end) = run(engine, "numbers", "SELECT n + 1 FROM numbers", vec![numbers([1, 2]), numbers([3])]);
    assert_eq!((rows, end.unwrap()), (vec![2, 3, 4], JobEnd::Finished));
}

/// Enough rows that several workers get some, with one that is bad.
fn many_with(bad: i64) -> Vec<RecordBatch> {
    vec![numbers(100..8000), numbers([bad]), numbers(100..8000)]
}

#[test]
fn a_panic_in_a_function_ends_the_job_and_nothing_else() {
    for workers in [1, 2] {
        let mut engine = engine(workers);
        let boom = |args: &[ColumnarValue]| {
            if let ColumnarValue::Array(values) = &args[0] {
                assert!(!values.as_primitive::<Int64Type>().values().contains(&13), "thirteen");
            }
            Ok(args[0].clone())
        };
        let (int, volatile) = (DataType::Int64, Volatility::Volatile);
        engine.register_scalar(create_udf("boom", vec![int.clone()], int, volatile, Arc::new(boom)));
        let (_, end) = run(&mut engine, "numbers", "SELECT boom(n) FROM numbers", many_with(13));
        match end {
            Err(Error::Panic { message, .. }) => assert!(message.contains("thirteen"), "{message}"),
            other => panic!("{workers} workers: {other:?}"),
        }
        let (rows, end) = run(&mut engine, "numbers", "SELECT boom(n) FROM numbers", vec![numbers([1])]);
        assert_eq!((rows, end.unwrap()), (vec![1], JobEnd::Finished));
        works(&mut engine);
    }
}

#[test]
fn a_division_by_zero_ends_the_job() {
    for workers in [1, 2] {
        let mut engine = engine(workers);
        let (_, end) = run(&mut engine, "numbers", "SELECT 1 / n FROM numbers", many_with(0));
        match end {
            Err(Error::Execution(message)) => assert!(message.to_lowercase().contains("zero"), "{message}"),
            other => panic!("{workers} workers: {other:?}"),
        }
        works(&mut engine);
    }
}

#[test]
fn a_null_rowtime_ends_the_job() {
    for workers in [1, 2] {
        let mut engine = engine(workers);
        let rows = vec![timed(&[(Some(1), 1)]), timed(&[(Some(2), 2), (None, 3)])];
        let (_, end) = run(&mut engine, "timed", "SELECT n FROM timed", rows);
        match end {
            Err(Error::Execution(message)) => assert!(message.contains("'ts' is NULL"), "{message}"),
            other => panic!("{workers} workers: {other:?}"),
        }
        works(&mut engine);
    }
}

/// Sources and sinks that fail as the option `how` says.
#[derive(Debug)]
struct Faulty;

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Never,
    Error,
    Panic,
    OnClose,
}

struct FaultyEnd {
    how: How,
    calls: i64,
    projection: SchemaRef,
}

impl FaultyEnd {
    fn new(table: &TableDescriptor, projection: SchemaRef) -> Self {
        let how = match table.name.as_str() {
            name if name.contains("error") => How::Error,
            name if name.contains("panic") => How::Panic,
            name if name.contains("close") => How::OnClose,
            _ => How::Never,
        };
        Self { how, calls: 0, projection }
    }

    fn call(&mut self) -> Result<()> {
        self.calls += 1;
        match self.how {
            How::Error if self.calls > 2 => Err(Error::Execution("the disk is gone".into())),
            How::Panic if self.calls > 2 => panic!("the disk is gone"),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Source for FaultyEnd {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.call()?;
        if self.calls > 5 {
            return Ok(None);
        }
        let rows = project(&numbers([self.calls]), &self.projection)?;
        Ok(Some(SourceBatch { changes: ChangeBatch::append(rows), bytes: 8 }))
    }
}

#[async_trait]
impl Sink for FaultyEnd {
    async fn write(&mut self, _changes: ChangeBatch) -> Result<()> {
        self.call()
    }

    async fn close(&mut self) -> Result<()> {
        match self.how {
            How::OnClose => Err(Error::Execution("the disk is gone".into())),
            _ => Ok(()),
        }
    }
}

impl Connector for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        Ok(Box::new(FaultyEnd::new(table, projection)))
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Ok(Box::new(FaultyEnd::new(table, Arc::clone(&table.schema))))
    }
}

#[test]
fn failing_sources_and_sinks_end_the_job() {
    for workers in [1, 2] {
        let mut engine = engine(workers);
        engine.register_connector(Arc::new(Faulty));
        for name in ["fine", "with_error", "with_panic", "on_close"] {
            engine.execute(&format!("CREATE TABLE {name} (n BIGINT) WITH ('connector' = 'faulty')")).unwrap();
        }
        for source in ["fine", "with_error", "with_panic"] {
            for sink in ["fine", "with_error", "with_panic", "on_close"] {
                engine.set("millstream.step.max-rows", "1").unwrap();
                let started = engine.execute(&format!("INSERT INTO {sink} SELECT n FROM {source}")).unwrap();
                let Answer::Started(job, None) = started else { panic!("no job") };
                let end = engine.block_on(job.wait());
                if source == "fine" && sink == "fine" {
                    assert_eq!(end.unwrap(), JobEnd::Finished);
                    continue;
                }
                let told = match end {
                    Err(Error::Panic { message, .. }) => message,
                    Err(e) => e.to_string(),
                    Ok(end) => panic!("{source} to {sink}, {workers} workers: {end:?}"),
                };
                assert!(told.contains("the disk is gone"), "{source} to {sink}: {told}");
            }
        }
        works(&mut engine);
    }
}

/// Pushes as many one-row batches as go in until the job has not taken one for long; gives how many went in.
fn push_until_full(input: &Input, from: i64, to: i64) -> i64 {
    let mut next = from;
    while next < to {
        let mut push = Box::pin(input.push(numbers([next])));
        let mut refused = 0;
        while (&mut push).now_or_never().is_none() {
            refused += 1;
            if refused > 20_000 {
                return next;
            }
            std::thread::yield_now();
        }
        next += 1;
    }
    next
}

#[test]
fn a_slow_taker_slows_the_pusher_and_loses_nothing() {
    for workers in [1, 2] {
        let mut engine = engine(workers);
        engine.set("millstream.step.max-rows", "10").unwrap();
        let input = engine.input("numbers").unwrap();
        let (job, mut results) = engine.query("SELECT n FROM numbers").unwrap();
        let total = 20_000;
        let taken = push_until_full(&input, 0, total);
        assert!(taken < total, "{taken} rows were taken in while nobody took the results");
        assert!(job.end().is_none());
        let pusher = std::thread::spawn(move || {
            for n in taken..total {
                input.blocking_push(numbers([n])).unwrap();
            }
        });
        assert!(drain(&mut results).into_iter().eq(0..total), "rows are missing or out of order");
        pusher.join().unwrap();
        assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
    }
}

#[test]
fn a_stopped_job_lets_everything_out() {
    for workers in [1, 2] {
        let mut engine = engine(workers);
        let input = engine.input("timed").unwrap();
        let query = "SELECT SUM(n) FROM TABLE(TUMBLE(TABLE timed, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end";
        let (job, mut results) = engine.query(query).unwrap();
        for n in 1..=100 {
            input.blocking_push(timed(&[(Some(n), n)])).unwrap();
        }
        while job.metrics().sources[0].rows < 100 {
            std::thread::yield_now();
        }
        job.stop();
        assert_eq!(drain(&mut results), [5050]);
        assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
        assert!(input.blocking_push(timed(&[(Some(1), 1)])).is_err());
        works(&mut engine);
    }
}

#[test]
fn dropped_results_cancel_the_job() {
    for workers in [1, 2] {
        let mut engine = engine(workers);
        let input = engine.input("numbers").unwrap();
        let (job, results) = engine.query("SELECT n FROM numbers").unwrap();
        drop(results);
        // The job learns of it at the latest when it has something to hand over.
        while input.blocking_push(numbers([1])).is_ok() {}
        assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Cancelled);
        works(&mut engine);
    }
}

#[test]
fn a_cancelled_or_dropped_job_takes_no_more() {
    let mut engine = engine(2);
    let input = engine.input("numbers").unwrap();
    let (job, results) = engine.query("SELECT n FROM numbers").unwrap();
    job.cancel();
    assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Cancelled);
    assert!(input.blocking_push(numbers([1])).is_err());
    drop(results);
    let input = engine.input("numbers").unwrap();
    let (job, _results) = engine.query("SELECT n FROM numbers").unwrap();
    drop(job);
    while input.blocking_push(numbers([1])).is_ok() {}
    works(&mut engine);
}

#[test]
fn a_failure_in_one_job_leaves_another_running() {
    let mut engine = engine(1);
    let timed_input = engine.input("timed").unwrap();
    let (steady, mut results) = engine.query("SELECT n FROM timed").unwrap();
    let (_, end) = run(&mut engine, "numbers", "SELECT 1 / n FROM numbers", many_with(0));
    assert!(end.is_err());
    timed_input.blocking_push(timed(&[(Some(1), 7)])).unwrap();
    drop(timed_input);
    assert_eq!(drain(&mut results), [7]);
    assert_eq!(engine.block_on(steady.wait()).unwrap(), JobEnd::Finished);
}
