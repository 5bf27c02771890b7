//! Rows pushed one by one, 10,000 a second, and how long each takes to its taker.
//!
//! `cargo bench --bench latency [-- SECONDS]` prints, through a filter and through a window: the quantiles of the time from
//! before a push to the delivery of what it led to, and CPU microseconds a row. For the window a push is timed if its row
//! closes a window, until that window's result is there. Then a slow taker: it must slow the pusher down, and miss nothing.
//!
//! The pusher spins between pushes, which costs a core and is no work of the engine: so CPU is the time that the kernel
//! has counted for all other threads, the taker's among them, and for each row the time of a push, in the median: so long as
//! other programs want the two cores too, the mean would hold their time.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMillisecondType};
use millstream::Engine;
use millstream::change::ChangeBatch;
use millstream::engine::{Input, Job, Results};

const SECONDS: u64 = 5;
const ROWS_A_SECOND: u64 = 10_000;
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / ROWS_A_SECOND);
/// Rows of one millisecond of event time.
const ROWS_A_MILLI: u64 = ROWS_A_SECOND / 1000;
/// How long a window is, in milliseconds.
const WINDOW: u64 = 5;
/// The slow taker sees a slow pusher only when all queues between them are full.
const SLOW_ROWS: u64 = 100_000;
const SLOW_ROWS_A_SECOND: u64 = 20_000;

const TABLE: &str = "
CREATE TABLE readings (
  id BIGINT, sensor BIGINT, reading BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '0.001' SECOND
) WITH ('connector' = 'channel')";

const FILTER: &str = "SELECT id, sensor, reading * 2 FROM readings WHERE reading >= 10";

const WINDOWED: &str = "
SELECT window_end, sensor, COUNT(*), MAX(reading)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '0.005' SECOND))
GROUP BY sensor, window_start, window_end";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let seconds = args.first().map_or(SECONDS, |a| a.parse().expect("a number of seconds"));
    println!("{ROWS_A_SECOND} rows a second for {seconds} s; microseconds");
    println!(
        "{:<10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "path", "samples", "p50", "p99", "p99.9", "max", "push", "others", "CPU/row"
    );
    paced("filter", FILTER, seconds, |batch| {
        batch.rows.column(0).as_primitive::<Int64Type>().values().iter().map(|id| *id as u64).collect()
    });
    paced("window", WINDOWED, seconds, |batch| {
        let ends = batch.rows.column(0).as_primitive::<TimestampMillisecondType>();
        // The watermark is a millisecond behind: the first row of the window's end is the one that closes it.
        let mut closers: Vec<u64> = ends.values().iter().map(|end| *end as u64 * ROWS_A_MILLI).collect();
        closers.dedup();
        closers
    });
    slow_taker();
}

/// Starts a query over a table that is pushed into.
fn start(query: &str) -> (Engine, Input, Results, Job) {
    let mut engine = Engine::new().expect("an engine");
    engine.execute(TABLE).expect("a table");
    let input = engine.input("readings").expect("an input");
    let (job, results) = engine.query(query).expect("a job");
    (engine, input, results, job)
}

/// Row number `id`, by itself.
fn row(schema: &SchemaRef, id: u64) -> RecordBatch {
    let long = |v: u64| Arc::new(Int64Array::from(vec![v as i64])) as ArrayRef;
    let time = Arc::new(TimestampMillisecondArray::from(vec![(id / ROWS_A_MILLI) as i64]));
    RecordBatch::try_new(Arc::clone(schema), vec![long(id), long(id % 10), long(id % 100), time]).expect("a row")
}

/// Pushes at a steady pace; `causes` tells for a batch of results the pushes that led to them.
fn paced(name: &str, query: &str, seconds: u64, causes: impl Fn(&ChangeBatch) -> Vec<u64>) {
    let (engine, input, mut results, job) = start(query);
    let rows = seconds * ROWS_A_SECOND;
    let begin = Instant::now();
    let pushed: Arc<Vec<AtomicU64>> = Arc::new((0..rows).map(|_| AtomicU64::new(0)).collect());
    let times = Arc::clone(&pushed);
    let pusher = std::thread::spawn(move || {
        let mut inside = Vec::with_capacity(rows as usize);
        let first = Instant::now();
        for id in 0..rows {
            let batch = row(input.schema(), id);
            let due = first + INTERVAL * id as u32;
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            let before = Instant::now();
            times[id as usize].store(before.duration_since(begin).as_nanos() as u64, Relaxed);
            input.blocking_push(batch).expect("a job that runs");
            inside.push(before.elapsed().as_secs_f64());
        }
        inside.sort_by(f64::total_cmp);
        (inside[inside.len() / 2], thread_cpu(&own_thread()), all_cpu(), input)
    });
    let start_cpu = all_cpu();
    let mut micros = Vec::new();
    let mut last = 0;
    let most = rows - WINDOW * ROWS_A_MILLI * 2;
    while last < most {
        let Some(batch) = results.blocking_next() else { break };
        let now = begin.elapsed().as_nanos() as u64;
        for cause in causes(&batch) {
            last = last.max(cause);
            if let Some(time) = pushed.get(cause as usize).map(|t| t.load(Relaxed)) {
                micros.push((now - time) as f64 / 1000.0);
            }
        }
    }
    let (push, spun, all, input) = pusher.join().expect("a pusher");
    drop(input);
    while results.blocking_next().is_some() {}
    engine.block_on(job.wait()).expect("an end");
    let others = (all - start_cpu - spun) / rows as f64;
    print_row(name, micros, push * 1e6, others * 1e6);
}

fn print_row(name: &str, mut micros: Vec<f64>, push: f64, others: f64) {
    micros.sort_by(f64::total_cmp);
    let at = |q: f64| micros[((micros.len() - 1) as f64 * q) as usize];
    println!(
        "{name:<10} {:>8} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {push:>8.2} {others:>8.2} {:>8.2}",
        micros.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        push + others
    );
}

/// Pushes as fast as the engine takes it, while the taker is slow.
fn slow_taker() {
    let (engine, input, mut results, job) = start("SELECT id FROM readings");
    let taken = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&taken);
    let pusher = std::thread::spawn(move || {
        let mut lead = 0;
        let mut half = Instant::now();
        for id in 0..SLOW_ROWS {
            if id == SLOW_ROWS / 2 {
                half = Instant::now();
            }
            input.blocking_push(row(input.schema(), id)).expect("a job that runs");
            lead = lead.max((id + 1).saturating_sub(seen.load(Relaxed)));
        }
        (lead, (SLOW_ROWS / 2) as f64 / half.elapsed().as_secs_f64())
    });
    let mut next = 0;
    while let Some(batch) = results.blocking_next() {
        for id in batch.rows.column(0).as_primitive::<Int64Type>().values() {
            assert_eq!(*id, next, "a row was dropped or came twice");
            next += 1;
        }
        taken.store(next as u64, Relaxed);
        std::thread::sleep(Duration::from_secs(1) * batch.num_rows() as u32 / SLOW_ROWS_A_SECOND as u32);
    }
    let (lead, rate) = pusher.join().expect("a pusher");
    engine.block_on(job.wait()).expect("an end");
    assert_eq!(next as u64, SLOW_ROWS);
    println!(
        "slow taker: {SLOW_ROWS_A_SECOND} rows a second; pushed {rate:.0} a second, at most {lead} rows ahead, none lost of {next}"
    );
}

fn own_thread() -> String {
    // `/proc/thread-self` is a link to `PID/task/TID`.
    let link = std::fs::read_link("/proc/thread-self").expect("Linux's account of this thread");
    link.file_name().expect("a thread's id").to_string_lossy().into_owned()
}

/// CPU seconds of one thread of this process.
fn thread_cpu(thread: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
    // A thread that has just ended has no account any more.
    let nanos = stat.ok().and_then(|s| s.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()));
    nanos.unwrap_or_default() / 1e9
}

/// CPU seconds of all threads of this process that have not ended.
fn all_cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux's account of this process");
    tasks.flatten().map(|t| thread_cpu(&t.file_name().to_string_lossy())).sum()
}
