//! Memory over a long run: a hundred million generated events through a windowed count.
//!
//! `cargo bench --bench memory [-- EVENTS]` prints the process's memory at each tenth of the input, and the most of the
//! first and of the second half: state is bounded by the open windows, so the second half needs no more than the first.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use millstream::Engine;
use millstream::engine::Job;

const EVENTS: u64 = 100_000_000;
const EVERY: Duration = Duration::from_millis(5);
const COUNT: &str = "
SELECT auction, COUNT(*) AS num, window_start, window_end
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end";

/// Memory in MB when a part of the input had been read.
struct Sample {
    part: f64,
    megabytes: f64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let events = args.first().map_or(EVENTS, |a| a.parse().expect("a number of events"));
    let mut engine = Engine::new().expect("an engine");
    engine.execute(&table(events)).expect("a table");
    let begin = Instant::now();
    let (job, mut results) = engine.query(COUNT).expect("a job");
    let done = Arc::new(AtomicBool::new(false));
    let (samples, rows) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| watch(&job, &done));
        let mut rows = 0;
        while let Some(batch) = results.blocking_next() {
            rows += batch.num_rows();
        }
        done.store(true, Relaxed);
        (sampler.join().expect("samples"), rows)
    });
    engine.block_on(job.wait()).expect("an end");
    let seconds = begin.elapsed().as_secs_f64();
    println!("{events} events, {rows} results, {seconds:.1} s, {:.1} M events/s", events as f64 / seconds / 1e6);
    for tenth in 0..10 {
        let from = f64::from(tenth) / 10.0;
        println!(
            "{:>3} % to {:>3} %: at most {:>6.1} MB",
            tenth * 10,
            (tenth + 1) * 10,
            most(&samples, from, from + 0.1)
        );
    }
    let (first, second) = (most(&samples, 0.0, 0.5), most(&samples, 0.5, 1.0));
    println!("first half {first:.1} MB, second half {second:.1} MB: {:+.1} %", (second / first - 1.0) * 100.0);
}

fn table(events: u64) -> String {
    format!(
        "CREATE TABLE bid (auction BIGINT, `dateTime` TIMESTAMP(3), WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND)
         WITH ('connector' = 'nexmark', 'table-type' = 'bid', 'events.num' = '{events}', 'out-of-order' = '50')"
    )
}

fn watch(job: &Job, done: &AtomicBool) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !done.load(Relaxed) {
        let part = job.metrics().sources.first().and_then(|s| s.fraction).unwrap_or_default();
        samples.push(Sample { part, megabytes: resident() });
        std::thread::sleep(EVERY);
    }
    samples
}

fn most(samples: &[Sample], from: f64, to: f64) -> f64 {
    let within = samples.iter().filter(|s| s.part >= from && s.part < to);
    within.map(|s| s.megabytes).fold(0.0, f64::max)
}

/// The memory that this process holds now, in MB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux's account of this process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}
