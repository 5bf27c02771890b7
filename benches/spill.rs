//! What state beyond memory costs: joins and aggregates whose state is many times `state.memory.limit`.
//!
//! `cargo bench --bench spill [-- KEYS LIMIT]` (KEYS of two rows with 200 bytes of text on each side of the join; LIMIT such as `256 mb`)
//! runs each query twice, without and with the limit, each in a process of its own, and prints the wall and CPU time, the memory that the
//! process took at most (`VmHWM`), and the bytes of state on disk. Every answer is checked.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::Instant;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use millstream::Engine;

const KEYS: u64 = 2_000_000;
const LIMIT: &str = "256 mb";
const TABLES: &str = "CREATE TABLE l (k BIGINT, a STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '100000000', 'seed' = '1',
    'number-of-rows' = 'KEYS', 'fields.k.kind' = 'sequence', 'fields.k.start' = '0', 'fields.k.end' = 'LAST', 'fields.a.length' = '200');
  CREATE TABLE r (k BIGINT, b STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '100000000', 'seed' = '2',
    'number-of-rows' = 'KEYS', 'fields.k.kind' = 'sequence', 'fields.k.start' = '0', 'fields.k.end' = 'LAST', 'fields.b.length' = '200');";
/// Each with how many bytes of text each key adds to the answer, beside 1 and the key.
const QUERIES: [(&str, &str, u64); 3] = [
    // Both sides meet while they are in memory.
    (
        "join, in order",
        "SELECT COUNT(*), SUM(l.k), SUM(CAST(CHAR_LENGTH(l.a) + CHAR_LENGTH(r.b) AS BIGINT)) FROM l JOIN r ON l.k = r.k",
        400,
    ),
    // Each row meets one that came at any time before.
    (
        "join, any order",
        "SELECT COUNT(*), SUM(l.k), SUM(CAST(CHAR_LENGTH(l.a) + CHAR_LENGTH(r.b) AS BIGINT)) FROM l
         JOIN (SELECT MOD(k * 7919, KEYS) AS k, b FROM r) AS r ON l.k = r.k",
        400,
    ),
    (
        "maximum by key, any order",
        "SELECT COUNT(*), SUM(k), SUM(CAST(CHAR_LENGTH(a) AS BIGINT)) FROM (SELECT k, MAX(a) AS a
         FROM (SELECT * FROM l UNION ALL SELECT MOD(k * 7919, KEYS) AS k, b FROM r) GROUP BY k)",
        200,
    ),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [query, keys, limit] = args.as_slice() {
        return run(query.parse().expect("a query's number"), keys.parse().expect("a number of keys"), limit);
    }
    let keys = args.first().map_or(KEYS.to_string(), Clone::clone);
    let limit = args.get(1).map_or(LIMIT.to_string(), Clone::clone);
    println!("{:<28} {:>8} {:>8} {:>8} {:>10} {:>10}", "query", "limit", "wall s", "CPU s", "memory MB", "disk MB");
    for (number, (name, _, _)) in QUERIES.iter().enumerate() {
        for limit in ["none", &limit] {
            let own = std::env::current_exe().expect("this program");
            let done =
                std::process::Command::new(own).args([&number.to_string(), &keys, limit]).output().expect("a run");
            assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
            print!("{name:<28} {limit:>8} {}", String::from_utf8_lossy(&done.stdout));
        }
    }
}

fn run(query: usize, keys: u64, limit: &str) {
    let mut engine = Engine::new().expect("an engine");
    let with_keys = |sql: &str| sql.replace("KEYS", &keys.to_string()).replace("LAST", &(keys - 1).to_string());
    engine.declare(&with_keys(TABLES)).expect("tables");
    if limit != "none" {
        engine.set("state.memory.limit", limit).expect("a limit");
    }
    let (begin, before) = (Instant::now(), cpu_seconds());
    let (_, sql, texts) = QUERIES[query];
    let (job, mut results) = engine.query(&with_keys(sql)).expect("a job");
    let mut answer = Vec::new();
    while let Some(changes) = results.blocking_next() {
        let last = (0..changes.num_rows()).rev().find(|row| changes.kind(*row).is_addition()).expect("an answer");
        let columns = changes.rows.columns().iter();
        answer = columns.map(|c| c.as_primitive::<Int64Type>().value(last) as u64).collect();
    }
    engine.block_on(job.wait()).expect("an end");
    assert_eq!(answer, [keys, keys * (keys - 1) / 2, keys * texts]);
    let on_disk: u64 = job.metrics().operators.iter().map(|o| o.disk_bytes).sum();
    println!(
        "{:>8.2} {:>8.2} {:>10.1} {:>10.1}",
        begin.elapsed().as_secs_f64(),
        cpu_seconds() - before,
        most_memory() as f64 / 1e6,
        on_disk as f64 / 1e6
    );
}

/// The memory that this process has had at most, in bytes, as the kernel counts it.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("a high-water mark");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") << 10
}

/// The CPU time of this process so far, as the kernel counts it.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let behind = stat.rsplit_once(')').expect("a stat line").1;
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().expect("ticks")).sum();
    ticks as f64 / 100.0
}
