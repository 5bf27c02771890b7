//! Nexmark, from batches in memory: this engine beside DataFusion's batch executor.
//!
//! `cargo bench --bench nexmark [-- [--events N] [--workers 1,2] [QUERY…]]` prints, for each query in a process of its own: events a second
//! by the wall, CPU nanoseconds an event, and the peak of memory above the input's; for the engine on one worker and on two,
//! and for DataFusion's batch run of the same question over the same batches, on one partition.
//!
//! An event is any event of the stream, persons : auctions : bids = 1 : 3 : 46, 100 µs apart, up to 50 ms out of order, the
//! watermark 4 s behind. The queries here read bids only; their cost is divided by all events. Batches hold 8192 bids.
//! Making the input is not measured. A query is repeated until it has used two seconds of CPU, so that the ten milliseconds
//! in which the kernel counts CPU time do not show.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod measure;
mod queries;

use std::process::Command;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream::Engine;
use millstream::connector::nexmark::{EventKind, Generator, NexmarkConfig};
use millstream::connector::values::Values;

use self::measure::{Measured, measure, peak_memory};
use self::queries::{QUERIES, Query};

const EVENTS: u64 = 10_000_000;
const BATCH_ROWS: usize = 8192;

/// What runs the query.
#[derive(Clone, Copy, PartialEq)]
enum Runner {
    Engine { workers: usize },
    Batch,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, query, runner, events] = args.as_slice()
        && flag == "--child"
    {
        return child(query, runner, events.parse().expect("a number of events"));
    }
    let value = |flag: &str| args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1));
    let events = value("--events").map_or(EVENTS, |v| v.parse().expect("a number of events"));
    let workers: Vec<usize> = match value("--workers") {
        Some(list) => list.split(',').map(|w| w.parse().expect("a number of workers")).collect(),
        None => vec![1, 2],
    };
    let named: Vec<&String> = args.iter().filter(|a| a.starts_with('q')).collect();
    let chosen = QUERIES.iter().filter(|q| named.is_empty() || named.iter().any(|n| *n == q.name));
    println!("{events} events, batches of {BATCH_ROWS} bids; CPU in ns an event, memory above the input's in MB");
    println!(
        "{:<22} {:>7} {:>12} {:>8} {:>8} {:>10} {:>10} {:>8} {:>9}",
        "query", "workers", "events/s", "CPU", "batch", "CPU/batch", "CPU-batch", "wanted", "peak MB"
    );
    for query in chosen {
        let batch = query.batch.map(|_| spawn(query, Runner::Batch, events));
        for workers in &workers {
            let ours = spawn(query, Runner::Engine { workers: *workers }, events);
            print_row(query, *workers, &ours, batch.as_ref(), events);
        }
    }
}

fn print_row(query: &Query, workers: usize, ours: &Measured, batch: Option<&Measured>, events: u64) {
    let per_event = |m: &Measured| m.cpu_seconds * 1e9 / events as f64;
    let cpu = per_event(ours);
    let text = |v: Option<f64>, digits: usize| v.map_or("-".into(), |v| format!("{v:.digits$}"));
    let batch_cpu = batch.map(per_event);
    if let Some(batch) = batch {
        assert_eq!(ours.rows, batch.rows, "{}: another number of rows than batch", query.name);
    }
    println!(
        "{:<22} {:>7} {:>12.0} {:>8.1} {:>8} {:>10} {:>10} {:>8} {:>9.1}",
        query.name,
        workers,
        events as f64 / ours.wall_seconds,
        cpu,
        text(batch_cpu, 1),
        text(batch_cpu.map(|b| cpu / b), 2),
        text(batch_cpu.map(|b| cpu - b), 1),
        text(query.wanted, 0),
        ours.peak_mb,
    );
}

/// Measures in a process of its own, so that each query has its own peak of memory and none warms another's caches.
fn spawn(query: &Query, runner: Runner, events: u64) -> Measured {
    let runner = match runner {
        Runner::Engine { workers } => workers.to_string(),
        Runner::Batch => "batch".to_string(),
    };
    let this = std::env::current_exe().expect("the path of this program");
    let output = Command::new(this).args(["--child", query.name, &runner, &events.to_string()]).output();
    let output = output.expect("starting this program again");
    assert!(output.status.success(), "{}: {}", query.name, String::from_utf8_lossy(&output.stderr));
    Measured::parse(&String::from_utf8_lossy(&output.stdout))
}

fn child(query: &str, runner: &str, events: u64) {
    let query = QUERIES.iter().find(|q| q.name == query).expect("a query of the list");
    let batches = bids(events);
    let before = peak_memory();
    let mut measured = match runner {
        "batch" => {
            let sql = query.batch.expect("a batch form");
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            measure(|| runtime.block_on(run_batch(sql, &batches)))
        }
        workers => measure(|| run_engine(query.sql, &batches, workers)),
    };
    measured.peak_mb = peak_memory() - before;
    print!("{}", measured.print());
}

fn schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, true);
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        number("auction"),
        number("bidder"),
        number("price"),
        text("channel"),
        text("url"),
        Field::new("dateTime", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        text("extra"),
    ]))
}

fn bids(events: u64) -> Vec<RecordBatch> {
    let config = NexmarkConfig { events, rate: 10_000, out_of_order: 50, ..NexmarkConfig::default() };
    let mut generator = Generator::new(&config, Some(EventKind::Bid), schema(), 0..events).expect("a generator");
    let mut batches = Vec::new();
    loop {
        let batch = generator.batch(BATCH_ROWS).expect("a batch");
        if batch.num_rows() == 0 {
            return batches;
        }
        batches.push(batch);
    }
}

/// Runs a query on the engine; gives the number of rows that came out.
fn run_engine(sql: &str, batches: &[RecordBatch], workers: &str) -> u64 {
    let mut engine = Engine::new().expect("an engine");
    engine.register_connector(Arc::new(Values::new(batches.to_vec())));
    engine.set("parallelism.default", workers).expect("workers");
    engine.declare(queries::TABLES).expect("tables");
    let (job, mut results) = engine.query(sql).expect("a job");
    let mut rows = 0;
    while let Some(batch) = results.blocking_next() {
        rows += batch.num_rows() as u64;
    }
    engine.block_on(job.wait()).expect("an end");
    rows
}

/// Runs a query on DataFusion; gives the number of rows that came out.
async fn run_batch(sql: &str, batches: &[RecordBatch]) -> u64 {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let table = datafusion::datasource::MemTable::try_new(schema(), vec![batches.to_vec()]).expect("a table");
    context.register_table("bid", Arc::new(table)).expect("a name");
    let mut stream = context.sql(sql).await.expect("a plan").execute_stream().await.expect("a stream");
    let mut rows = 0;
    while let Some(batch) = futures::StreamExt::next(&mut stream).await {
        rows += batch.expect("a batch").num_rows() as u64;
    }
    rows
}
