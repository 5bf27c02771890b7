//! What checkpoints cost: for how long they hold the steps up, and how much throughput they take.
//!
//! `cargo bench --bench checkpoint [-- EVENTS]` runs queries whose state grows, each twice: without checkpoints, and with one a second
//! into a folder on the local disk. It prints the wall time of both, the CPU time of both, how many checkpoints became durable, the
//! longest pause, and how many bytes the last checkpoint had to write of how many that it has.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::path::Path;
use std::time::Instant;

use millstream::Engine;
use millstream::engine::MetricsSnapshot;

const EVENTS: u64 = 20_000_000;
const BIDS: &str = "CREATE TABLE nexmark (
    event_type INT,
    person ROW<id BIGINT, name STRING, `dateTime` TIMESTAMP(3)>,
    auction ROW<id BIGINT, category BIGINT, seller BIGINT, `dateTime` TIMESTAMP(3)>,
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, url STRING, `dateTime` TIMESTAMP(3)>,
    `dateTime` AS CASE WHEN event_type = 0 THEN person.`dateTime`
                       WHEN event_type = 1 THEN auction.`dateTime` ELSE bid.`dateTime` END,
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
  ) WITH ('connector' = 'nexmark', 'events.num' = 'EVENTS');
  CREATE TABLE nothing (a BIGINT, b BIGINT) WITH ('connector' = 'blackhole');
  CREATE VIEW bids AS SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.url AS url, `dateTime`
    FROM nexmark WHERE event_type = 2;
  CREATE VIEW auctions AS SELECT auction.id AS id, auction.category AS category FROM nexmark WHERE event_type = 1;";
const QUERIES: [(&str, &str); 4] = [
    (
        "join, rows only come",
        "SELECT b.auction, b.price + CHAR_LENGTH(b.url) FROM bids b JOIN auctions a ON b.auction = a.id WHERE a.category = 10",
    ),
    (
        "window aggregate by bidder",
        "SELECT bidder, COUNT(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end",
    ),
    ("sum by auction", "SELECT auction, SUM(price) FROM bids GROUP BY auction"),
    (
        "last bid of each bidder and auction",
        "SELECT auction, price FROM (SELECT auction, price, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY `dateTime` DESC) AS n FROM bids) WHERE n = 1",
    ),
];

struct Run {
    wall: f64,
    cpu: f64,
    metrics: MetricsSnapshot,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let events = args.first().map_or(EVENTS, |a| a.parse().expect("a number of events"));
    println!(
        "{:<36} {:>8} {:>8} {:>8} {:>8} {:>6} {:>9} {:>10} {:>10} {:>9}",
        "query", "wall s", "with", "CPU s", "with", "taken", "pause ms", "written MB", "of MB", "state MB"
    );
    for (name, query) in QUERIES {
        let without = run(query, events, None);
        let folder = tempfile::tempdir().expect("a folder");
        let with = run(query, events, Some(folder.path()));
        let checkpoints = &with.metrics.checkpoints;
        let state: u64 = without.metrics.operators.iter().map(|o| o.stats.state_bytes).sum();
        println!(
            "{name:<36} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>6} {:>9.2} {:>10.1} {:>10.1} {:>9.1}",
            without.wall,
            with.wall,
            without.cpu,
            with.cpu,
            checkpoints.durable,
            checkpoints.longest_pause.as_secs_f64() * 1e3,
            checkpoints.bytes as f64 / 1e6,
            checkpoints.total_bytes as f64 / 1e6,
            state as f64 / 1e6
        );
    }
}

fn run(query: &str, events: u64, folder: Option<&Path>) -> Run {
    let mut engine = Engine::new().expect("an engine");
    engine.declare(&BIDS.replace("EVENTS", &events.to_string())).expect("tables");
    if let Some(folder) = folder {
        engine.set("execution.checkpointing.dir", &folder.display().to_string()).expect("a folder");
        engine.set("execution.checkpointing.interval", "1 s").expect("an interval");
    }
    let (begin, before) = (Instant::now(), cpu_seconds());
    let job = engine.run(&format!("INSERT INTO nothing {query}"), |_, _| Ok(())).expect("a plan").expect("a job");
    engine.block_on(job.wait()).expect("an end");
    Run { wall: begin.elapsed().as_secs_f64(), cpu: cpu_seconds() - before, metrics: job.metrics() }
}

/// The CPU time of this process so far, as the kernel counts it.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let behind = stat.rsplit_once(')').expect("a stat line").1;
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().expect("ticks")).sum();
    ticks as f64 / 100.0
}
