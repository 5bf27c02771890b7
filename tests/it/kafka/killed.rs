//! Exactly once, end to end: the binary killed by signal 9 at random while records flow, and a broker that is restarted.
//!
//! `MILLSTREAM_TEST_KILLS` and `MILLSTREAM_TEST_ROWS` make the run longer: `50` and `1000000` are the long one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::broker;
use super::sorted;

const PARTITIONS: i32 = 12;
/// How long the windows are, in milliseconds of event time.
const WINDOW: i64 = 10_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// A record: its partition, its time, its key and its value.
fn record(i: i64) -> (i32, i64, String, i64) {
    ((i % i64::from(PARTITIONS)) as i32, i * 7, format!("k{}", i * i % 17), i % 1000)
}

/// Writes records.
fn produce(address: &str, topic: &str, from: i64, to: i64) {
    let texts: Vec<(i32, String)> = (from..to)
        .map(record)
        .map(|(partition, at, k, v)| (partition, format!(r#"{{"at":{at},"k":"{k}","v":{v}}}"#)))
        .collect();
    let messages: Vec<broker::Sent<'_>> = texts.iter().map(|(p, text)| (*p, None, Some(text.as_str()))).collect();
    broker::produce_at(address, topic, &messages);
}

/// The answer: windows by key.
fn answer(rows: i64) -> Vec<String> {
    let mut windows = BTreeMap::<(i64, String), (i64, i64)>::new();
    for (_, at, k, v) in (0..rows).map(record) {
        let (n, s) = windows.entry((at / WINDOW, k)).or_default();
        (*n, *s) = (*n + 1, *s + v);
    }
    let line = |((window, k), (n, s)): (&(i64, String), &(i64, i64))| {
        format!(r#"{{"w":{},"k":"{k}","n":{n},"s":{s}}}"#, window * WINDOW)
    };
    sorted(windows.iter().map(line).collect())
}

/// A script that reads so many rows of a topic and writes windows to another.
fn script(address: &str, from: &str, to: &str, rows: i64, folder: &Path) -> String {
    let ends: Vec<String> = (0..PARTITIONS)
        .map(|p| {
            let count = (0..rows).filter(|i| record(*i).0 == p).count();
            format!("partition:{p},offset:{count}")
        })
        .collect();
    format!(
        "SET 'execution.checkpointing.interval' = '100 ms';
SET 'execution.checkpointing.dir' = '{}';
SET 'pipeline.name' = 'windows';
SET 'parallelism.default' = '2';
CREATE TABLE events (`at` BIGINT, k STRING, v BIGINT, ts AS TO_TIMESTAMP_LTZ(`at`, 3), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'kafka', 'topic' = '{from}', 'properties.bootstrap.servers' = '{address}', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'specific-offsets',
  'scan.bounded.specific-offsets' = '{}');
CREATE TABLE windows (w BIGINT, k STRING, n BIGINT, s BIGINT) WITH (
  'connector' = 'kafka', 'topic' = '{to}', 'properties.bootstrap.servers' = '{address}', 'format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{to}');
INSERT INTO windows
SELECT MIN(`at`) / {WINDOW} * {WINDOW}, k, COUNT(*), SUM(v)
FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end, k;
",
        folder.join("checkpoints").display(),
        ends.join(";")
    )
}

fn start(script: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.arg("run").arg(script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for the end of a process, so long at most; true when it has ended, and well.
#[allow(clippy::disallowed_methods, reason = "a deadline")]
fn ends_within(child: &mut Child, time: Duration) -> bool {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
            assert!(status.success(), "{status}: {said}");
            return true;
        }
        if began.elapsed() >= time {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn a_reader_finds_the_exact_answer_after_kills() {
    let (kills, rows) = (number("MILLSTREAM_TEST_KILLS", 6), number("MILLSTREAM_TEST_ROWS", 60_000) as i64);
    let seed = number("MILLSTREAM_TEST_SEED", 7);
    println!("seed {seed}, {kills} kills, {rows} rows");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let address = broker::address();
    let (from, to) = (broker::topic("killed-in", PARTITIONS), broker::topic("killed-out", 3));
    let path = folder.path().join("windows.sql");
    std::fs::write(&path, script(&address, &from, &to, rows, folder.path())).unwrap();
    let share = |part: u64| rows * part as i64 / (kills + 1) as i64;
    for kill in 0..kills {
        let mut child = start(&path);
        // Records flow while it runs.
        let flow = std::thread::spawn({
            let (address, from) = (address.clone(), from.clone());
            let (first, last) = (share(kill), share(kill + 1));
            move || produce(&address, &from, first, last)
        });
        let time = Duration::from_millis(random.random_range(200..2500));
        assert!(!ends_within(&mut child, time), "it ended before all was there");
        child.kill().unwrap();
        child.wait().unwrap();
        flow.join().unwrap();
    }
    produce(&address, &from, share(kills), rows);
    let mut child = start(&path);
    assert!(ends_within(&mut child, Duration::from_secs(600)), "it does not come to its end");
    let found = sorted(broker::values(&to));
    let wanted = answer(rows);
    assert_eq!(found.len(), wanted.len());
    assert_eq!(found, wanted);
}

#[test]
fn a_broker_may_be_restarted_midway() {
    let rows = number("MILLSTREAM_TEST_ROWS", 60_000) as i64;
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("kafka");
    std::fs::create_dir(&own).unwrap();
    for part in ["libs", "js"] {
        std::os::unix::fs::symlink(broker::folder().join(part), own.join(part)).unwrap();
    }
    let setup = |order: &[&str]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setup-kafka.sh");
        let output = Command::new(script).arg(&own).args(order).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let address = setup(&[]);
    let (from, to) =
        (broker::topic_at(&address, "restarted-in", PARTITIONS), broker::topic_at(&address, "restarted-out", 3));
    let path = folder.path().join("windows.sql");
    std::fs::write(&path, script(&address, &from, &to, rows, folder.path())).unwrap();
    produce(&address, &from, 0, rows / 2);
    let mut child = start(&path);
    broker::until("something has been committed", || !broker::read_at(&address, &to).is_empty());
    assert_eq!(setup(&["restart"]), address);
    produce(&address, &from, rows / 2, rows);
    let ended = ends_within(&mut child, Duration::from_secs(300));
    let found = broker::read_at(&address, &to).into_iter().map(|f| f.value.unwrap());
    let found = sorted(found.collect());
    setup(&["stop"]);
    assert!(ended, "it does not come to its end");
    assert_eq!(found, answer(rows));
}
