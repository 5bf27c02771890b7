//! Nexmark, from batches in memory: this engine beside DataFusion's batch executor.
//!
//! ```text
//! cargo bench --bench nexmark -- [--events N] [--workers 1,2] [--step-batches N] [--journal] [QUERY…]
//! cargo bench --bench nexmark -- --scale [--generate] [--workers 1] [--step-batches N] [QUERY…]
//! ```
//!
//! The first prints, for each query in a process of its own: events a second by the wall, CPU nanoseconds an event, those of
//! DataFusion's batch run of the question of the final answer over the same batches on one partition, what we want it to cost,
//! and the peak of memory above the input's. Then, for each operator that keeps state or takes a nanosecond an event: its rows,
//! its time, and its state at the end of the input in rows, bytes and bytes a row. A run counts only if the changes it gave,
//! folded, are as many rows as batch gives.
//!
//! An event is any event of the stream, persons : auctions : bids = 1 : 3 : 46, 100 µs apart, up to 50 ms out of order, the
//! watermark 4 s behind. The cost of every query is divided by all events, also where it reads bids only. Of each stream the
//! columns are held in memory that the query reads, in batches of the same 8900 events: 178 persons, 534 auctions, 8188 bids.
//! A step takes eight batches of each stream that the query reads, as the driver takes of a fast source by its default
//! (`millstream.step.max-rows`): so the streams go on side by side, as they would out of one source, where three sources of
//! rows in memory would let the two small ones run far ahead. Updating operators give one net change per key and step: smaller
//! steps (`--step-batches 1`) cost more and give more changes.
//!
//! Making the input is not measured. A query is repeated until it has used two seconds of CPU, so that the ten milliseconds
//! in which the kernel counts CPU time do not show.
//!
//! With `--journal` each run is journaled into a folder for temporary files: what that costs.
//!
//! `--scale` runs 1, 10 and 50 million events: does an event cost the same, however many came before? The input is held in
//! memory as above: up to 6 GB of it, for queries whose state grows by most of what they read are left out unless they are
//! named. With `--generate` events are made as they are read, and the CPU that making the same columns takes alone is measured
//! beside it and taken off; that needs no memory, and is as inexact as a difference of two large numbers.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod measure;
#[path = "../../examples/nexmark_q14.rs"]
mod q14;
mod queries;
mod report;
mod streams;

use std::process::Command;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream::Engine;
use millstream::change::ManualClock;
use millstream::engine::MetricsSnapshot;

use self::measure::{Measured, Operator, measure, peak_memory};
use self::queries::{QUERIES, Query, State};
use self::streams::Streams;

const EVENTS: u64 = 10_000_000;
const SCALES: [u64; 3] = [1_000_000, 10_000_000, 50_000_000];
const STEP_BATCHES: usize = 8;
/// More rows than a step takes of a source.
const STEP_ROWS: &str = "100000000";

/// What runs the query.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Runner {
    /// The engine with so many workers, on batches in memory.
    Engine(usize),
    /// The same, journaled.
    Journaled(usize),
    /// The engine with so many workers, on events made as they are read.
    Generated(usize),
    /// DataFusion.
    Batch,
}

/// What is asked for on the command line.
#[derive(Debug)]
struct Asked {
    events: u64,
    workers: Vec<usize>,
    step_batches: usize,
    generate: bool,
    journal: bool,
    named: Vec<String>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, rest @ ..] = args.as_slice()
        && flag == "--child"
    {
        return child(rest);
    }
    let value = |flag: &str| args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1));
    let number = |v: &String| v.parse::<u64>().expect("a number");
    let asked = Asked {
        events: value("--events").map_or(EVENTS, number),
        workers: value("--workers")
            .map(|list| list.split(',').map(|w| w.parse().expect("a number")).collect())
            .unwrap_or(vec![1, 2]),
        step_batches: value("--step-batches").map_or(STEP_BATCHES, |v| number(v) as usize),
        generate: args.iter().any(|a| a == "--generate"),
        journal: args.iter().any(|a| a == "--journal"),
        named: args.iter().filter(|a| a.starts_with('q') || a.starts_with("pattern")).cloned().collect(),
    };
    if args.iter().any(|a| a == "--scale") { scale(&asked) } else { compare(&asked) }
}

impl Asked {
    fn names(&self, query: &Query) -> bool {
        let of =
            |n: &String| query.name == n || query.name.strip_prefix(n.as_str()).is_some_and(|r| r.starts_with('_'));
        self.named.iter().any(of)
    }
}

/// Every query beside batch.
fn compare(asked: &Asked) {
    let events = asked.events;
    report::heading(events, asked.step_batches);
    let mut operators = Vec::new();
    for query in QUERIES.iter().filter(|q| asked.named.is_empty() || asked.names(q)) {
        let batch = query.batch.map(|_| spawn(query, Runner::Batch, events, asked.step_batches));
        for workers in &asked.workers {
            let runner = if asked.journal { Runner::Journaled(*workers) } else { Runner::Engine(*workers) };
            let ours = spawn(query, runner, events, asked.step_batches);
            if let Some(batch) = &batch {
                assert_eq!(ours.rows, batch.rows, "{}: another number of rows than batch", query.name);
            }
            report::row(query, *workers, &ours, batch.as_ref(), events);
            if *workers == asked.workers[0] {
                operators.push((query, ours.operators));
            }
        }
    }
    report::operators(&operators, events);
}

/// Whether an event costs the same, however many there are.
fn scale(asked: &Asked) {
    let workers = asked.workers[0];
    report::scale_heading(&SCALES, workers, asked.step_batches);
    let chosen = |q: &&Query| match asked.named.is_empty() {
        true => q.state != State::GrowsByAll,
        false => asked.names(q),
    };
    for query in QUERIES.iter().filter(chosen) {
        let runner = if asked.generate { Runner::Generated(workers) } else { Runner::Engine(workers) };
        let run = |events: &u64| (*events, spawn(query, runner, *events, asked.step_batches));
        report::scale_row(query, &SCALES.iter().map(run).collect::<Vec<_>>());
    }
}

/// Measures in a process of its own, so that each query has its own peak of memory and none warms another's caches.
fn spawn(query: &Query, runner: Runner, events: u64, step_batches: usize) -> Measured {
    let (runner, workers) = match runner {
        Runner::Engine(workers) => ("engine", workers),
        Runner::Journaled(workers) => ("journaled", workers),
        Runner::Generated(workers) => ("generated", workers),
        Runner::Batch => ("batch", 1),
    };
    let this = std::env::current_exe().expect("the path of this program");
    let numbers = [workers.to_string(), events.to_string(), step_batches.to_string()];
    let output = Command::new(this).args(["--child", query.name, runner]).args(numbers).output();
    let output = output.expect("starting this program again");
    assert!(output.status.success(), "{}: {}", query.name, String::from_utf8_lossy(&output.stderr));
    Measured::parse(&String::from_utf8_lossy(&output.stdout))
}

fn child(args: &[String]) {
    let [query, runner, workers, events, step_batches] = args else { panic!("five arguments, not {args:?}") };
    let query = QUERIES.iter().find(|q| q.name == query).expect("a query of the list");
    let (events, step_batches) = (events.parse().expect("a number"), step_batches.parse().expect("a number"));
    let measured = match runner.as_str() {
        "batch" => batch(query, events),
        "engine" | "journaled" => {
            let streams = Streams::in_memory(streams::memory(query.reads, events), step_batches);
            engine(query, Arc::new(streams), workers, runner == "journaled")
        }
        _ => generated(query, Arc::new(Streams::generated(events, step_batches)), workers),
    };
    print!("{}", measured.print());
}

fn batch(query: &Query, events: u64) -> Measured {
    let memory = streams::memory(query.reads, events);
    let sql = query.batch.expect("a batch form");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let before = peak_memory();
    let measured = measure(|| runtime.block_on(run_batch(sql, &memory)));
    Measured { peak_mb: peak_memory() - before, ..measured }
}

fn engine(query: &Query, streams: Arc<Streams>, workers: &str, journal: bool) -> Measured {
    let before = peak_memory();
    let mut last = None;
    let measured = measure(|| {
        // Its folder goes when the run is over.
        let folder = journal.then(|| tempfile::tempdir().expect("a folder"));
        let folder = folder.as_ref().map(|f| f.path().to_str().expect("a name"));
        let (rows, metrics) = run_engine(query.sql(), &streams, workers, folder);
        last = Some(metrics);
        rows
    });
    let metrics = last.expect("metrics of the last run");
    let operator = |o: millstream::engine::OperatorMetrics| Operator {
        name: o.name,
        rows_in: o.rows_in,
        rows_out: o.rows_out,
        seconds: o.time.as_secs_f64(),
        state_rows: o.stats.state_rows,
        state_bytes: o.stats.state_bytes,
    };
    let operators = metrics.operators.into_iter().map(operator).collect();
    Measured { peak_mb: peak_memory() - before, operators, ..measured }
}

fn generated(query: &Query, streams: Arc<Streams>, workers: &str) -> Measured {
    let ours = engine(query, Arc::clone(&streams), workers, false);
    let alone = measure(|| streams.make_only());
    Measured { input_seconds: alone.cpu_seconds, ..ours }
}

/// Runs a query on the engine; gives the number of rows of its answer.
fn run_engine(sql: &str, streams: &Arc<Streams>, workers: &str, journal: Option<&str>) -> (i64, MetricsSnapshot) {
    let mut engine = Engine::new().expect("an engine");
    // Processing time stands still, so that windows of it hold the same rows in every run.
    engine.set_clock(Arc::new(ManualClock::new(1_700_000_000_000)));
    engine.register_connector(Arc::clone(streams) as _);
    engine.set("parallelism.default", workers).expect("workers");
    engine.set("millstream.step.max-rows", STEP_ROWS).expect("rows of a step");
    journal.iter().for_each(|folder| drop(engine.set("millstream.journal.dir", folder).expect("a folder")));
    engine.register_scalar(q14::count_char());
    engine.declare(&queries::tables("streams")).expect("tables");
    engine.declare(queries::SIDE_INPUT).expect("a table");
    let (job, mut results) = engine.query(sql).expect("a job");
    let mut rows = 0;
    while let Some(batch) = results.blocking_next() {
        let away = batch.kinds.as_ref().map_or(0, |kinds| kinds.iter().filter(|k| !k.is_addition()).count());
        rows += batch.num_rows() as i64 - 2 * away as i64;
    }
    engine.block_on(job.wait()).expect("an end");
    (rows, job.metrics())
}

/// Runs a query on DataFusion; gives the number of rows of its answer.
async fn run_batch(sql: &str, memory: &[(&'static str, Arc<[RecordBatch]>)]) -> i64 {
    let config = SessionConfig::new().with_target_partitions(1);
    let config = config.set_bool("datafusion.sql_parser.enable_ident_normalization", false);
    let context = SessionContext::new_with_config(config);
    for (name, batches) in memory {
        let schema = batches.first().expect("a batch").schema();
        let table = MemTable::try_new(schema, vec![batches.to_vec()]).expect("a table");
        context.register_table(*name, Arc::new(table)).expect("a name");
    }
    context.register_udf(q14::count_char());
    let mut stream = context.sql(sql).await.expect("a plan").execute_stream().await.expect("a stream");
    let mut rows = 0;
    while let Some(batch) = futures::StreamExt::next(&mut stream).await {
        rows += batch.expect("a batch").num_rows() as i64;
    }
    rows
}
