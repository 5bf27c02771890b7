//! Options of tables in hints, and those of their watermarks.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use millstream::change::{ChangeBatch, ManualClock};
use millstream::engine::{Answer, Job, JobEnd, Results, lines};
use millstream::{Engine, Result};

const IDS: &str = "CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'fields.id.kind' = 'sequence', \
                   'fields.id.start' = '1', 'fields.id.end' = '3')";

fn all(engine: &Engine, job: &Job, results: &mut Results) -> Vec<String> {
    let mut shown = Vec::new();
    while let Some(batch) = results.blocking_next() {
        shown.extend(lines(&batch).unwrap().lines().map(str::to_string));
    }
    assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
    shown
}

fn answer(query: &str) -> Result<Vec<String>> {
    let mut engine = Engine::new()?;
    engine.execute(IDS)?;
    engine.execute("CREATE VIEW v AS SELECT * FROM t")?;
    let (job, mut results) = engine.query(query)?;
    Ok(all(&engine, &job, &mut results))
}

#[test]
fn hints_take_the_place_of_options() {
    let hint = "/*+ OPTIONS('fields.id.end' = '2') */";
    assert_eq!(answer(&format!("SELECT id FROM t {hint}")).unwrap(), ["+I[1]", "+I[2]"]);
    assert_eq!(answer(&format!("SELECT t.id FROM t {hint} WHERE t.id > 1")).unwrap(), ["+I[2]"]);
    let joined = answer(&format!("SELECT a.id, b.id FROM t {hint} AS a JOIN t b ON a.id = b.id")).unwrap();
    assert_eq!(joined.into_iter().collect::<BTreeSet<_>>(), ["+I[1, 1]", "+I[2, 2]"].map(String::from).into());
    let twice = format!("SELECT COUNT(*) FROM (SELECT id FROM t {hint} UNION ALL SELECT id FROM t)");
    assert!(answer(&twice).unwrap().last().unwrap().ends_with("[5]"));
}

#[test]
fn wrong_hints_are_named() {
    let wrong = [
        ("SELECT id FROM t /*+ OPTIONS('fields.id.ende' = '2') */", "unknown option 'fields.id.ende'"),
        ("SELECT id FROM t /*+ OPTIONS('number-of-rows' = 'x') */", "'number-of-rows' = 'x'"),
        ("SELECT id FROM v /*+ OPTIONS('fields.id.end' = '2') */", "'v' is a view; the hint OPTIONS is for tables"),
        ("SELECT id FROM nope /*+ OPTIONS('a' = '2') */", "unknown table 'nope'"),
        ("SELECT id FROM t AS a /*+ OPTIONS('fields.id.end' = '2') */", "stands right behind the table's name"),
        (
            "SELECT id FROM t /*+ OPTIONS('scan.watermark.alignment.group' = 'g') */",
            "needs 'scan.watermark.alignment.max-drift'",
        ),
    ];
    for (query, said) in wrong {
        let error = answer(query).unwrap_err().to_string();
        assert!(error.contains(said), "{query}: {error}");
    }
}

#[test]
fn inserts_take_hints() {
    let mut engine = Engine::new().unwrap();
    engine.execute(IDS).unwrap();
    engine.execute("CREATE TABLE s (id BIGINT) WITH ('connector' = 'print')").unwrap();
    let error = engine.execute("INSERT INTO s /*+ OPTIONS('standard-eror' = 'true') */ SELECT id FROM t").unwrap_err();
    assert!(error.to_string().contains("did you mean 'standard-error'?"), "{error}");
    let answer = engine.execute("INSERT INTO s /*+ OPTIONS('standard-error' = 'true') */ SELECT id FROM t").unwrap();
    let Answer::Started(job, _) = answer else { panic!("{answer:?}") };
    assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
}

/// What a query over windows counts, and how many rows are late, of two runs of rows that are in order by themselves.
fn counted(partitions: usize, keeps_second: bool) -> (Vec<String>, u64) {
    let mut engine = Engine::new().unwrap();
    timed(&mut engine, "t", "");
    let mut inputs = engine.partitioned_input("t", partitions).unwrap();
    let query = "SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
                 GROUP BY window_start, window_end";
    let (job, mut results) = engine.query(query).unwrap();
    inputs[0].blocking_push_changes(rows((0..30).map(|i| (i, i)))).unwrap();
    inputs[partitions - 1].blocking_push_changes(rows((0..30).map(|i| (i, i)))).unwrap();
    let kept = inputs.pop().filter(|_| keeps_second && partitions > 1);
    let mut shown = Vec::new();
    if partitions > 1 && !keeps_second {
        // The second partition has ended: the first alone closes windows.
        inputs[0].blocking_push_changes(rows([(9, 1000)].into_iter())).unwrap();
        let batch = results.blocking_next().unwrap();
        shown.extend(lines(&batch).unwrap().lines().map(str::to_string));
    }
    drop((inputs, kept));
    shown.extend(all(&engine, &job, &mut results));
    (shown, job.metrics().operators.iter().map(|o| o.stats.late_rows).sum())
}

#[test]
fn each_partition_has_its_watermark() {
    let window = |start: &str, count: u64| format!("+I[1970-01-01T00:{start}, {count}]");
    let three = |count| ["00:00", "00:10", "00:20"].map(|start| window(start, count)).to_vec();
    let both = counted(2, true);
    assert_eq!(both.0.iter().map(|l| l.replace("T00:00,", "T00:00:00,")).collect::<Vec<_>>(), three(20));
    assert_eq!(both.1, 0);
    let ended = counted(2, false);
    assert_eq!((ended.0.len(), ended.1), (4, 0));
    // In one piece the second run is late for the windows that the first has closed.
    assert!(counted(1, true).1 > 0);
}

/// Rows of an id and a second.
fn rows(rows: impl Iterator<Item = (i64, i64)> + Clone) -> ChangeBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.clone().map(|r| r.0)));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.map(|r| r.1 * 1000)));
    ChangeBatch::append(RecordBatch::try_from_iter_with_nullable([("id", id, true), ("ts", ts, true)]).unwrap())
}

fn timed(engine: &mut Engine, table: &str, options: &str) {
    let ddl = format!(
        "CREATE TABLE {table} (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'channel'{options})"
    );
    engine.execute(&ddl).unwrap();
}

const QUERY: &str =
    "SELECT f.id FROM fast f JOIN slow s ON f.id = s.id AND f.ts BETWEEN s.ts - INTERVAL '5' SECOND AND s.ts";

/// How many rows of a fast source were read when each row of a slow one had found its match, for the seconds of these.
fn read_ahead(options: &str) -> Vec<(i64, i64)> {
    let mut engine = Engine::new().unwrap();
    engine.set("millstream.step.max-rows", "500").unwrap();
    timed(&mut engine, "fast", options);
    timed(&mut engine, "slow", options);
    let (fast, slow) = (engine.input("fast").unwrap(), engine.input("slow").unwrap());
    // All of the fast source's rows are there before the job begins.
    for part in 0..200 {
        fast.blocking_push_changes(rows((0..100).map(|i| (part * 100 + i, part * 100 + i)))).unwrap();
    }
    drop(fast);
    slow.blocking_push_changes(rows([(0, 0)].into_iter())).unwrap();
    let (job, mut results) = engine.query(QUERY).unwrap();
    let mut seen = Vec::new();
    for second in 1..200 {
        assert_eq!(results.blocking_next().unwrap().num_rows(), 1);
        let read = job.metrics().sources.iter().find(|s| s.table == "fast").unwrap().rows;
        seen.push(((second - 1) * 100, read as i64));
        slow.blocking_push_changes(rows([(second * 100, second * 100)].into_iter())).unwrap();
    }
    drop(slow);
    assert_eq!(all(&engine, &job, &mut results).len(), 1);
    seen
}

#[test]
fn a_fast_source_waits_for_its_group() {
    let group = ", 'scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '10 s'";
    // A second a row: what may be held for the join is the drift and a step's rows.
    for (second, read) in read_ahead(group) {
        assert!(read <= second + 10 + 500 + 1, "{read} rows read when the other stands at {second} s");
    }
}

/// The most rows that the join was seen to hold, while the slow source stood still at several seconds for as long as the fast one had
/// something to read. A second a row, 20000 rows in all.
fn most_held(options: &str) -> u64 {
    let mut engine = Engine::new().unwrap();
    engine.set("millstream.step.max-rows", "500").unwrap();
    timed(&mut engine, "fast", options);
    timed(&mut engine, "slow", options);
    let (fast, slow) = (engine.input("fast").unwrap(), engine.input("slow").unwrap());
    for part in 0..200 {
        fast.blocking_push_changes(rows((0..100).map(|i| (part * 100 + i, part * 100 + i)))).unwrap();
    }
    drop(fast);
    let (job, mut results) = engine.query(QUERY).unwrap();
    let mut most = 0;
    for second in [0, 1_000, 3_000, 7_000] {
        slow.blocking_push_changes(rows([(second, second)].into_iter())).unwrap();
        loop {
            let metrics = job.metrics();
            let source = |table: &str| metrics.sources.iter().find(|s| s.table == table).unwrap();
            let held = metrics.operators.iter().find(|o| o.name == "IntervalJoin").unwrap().stats.state_rows;
            most = most.max(held);
            let (fast, slow) = (source("fast"), source("slow"));
            let stands = fast.ended || fast.watermark.0 > second * 1000 + 10_000;
            // What the join holds is told from time to time: by then it is of this second.
            if slow.watermark.0 == second * 1000 && stands && held + 10 >= fast.rows - second as u64 {
                break;
            }
            std::thread::yield_now();
        }
    }
    drop(slow);
    assert_eq!(all(&engine, &job, &mut results).len(), 4);
    most
}

#[test]
fn a_fast_source_does_not_flood_a_join() {
    let group = ", 'scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '10 s'";
    // The drift, a step's rows, what the interval keeps, and rows of the slow source.
    let most = most_held(group);
    assert!((500..=10 + 500 + 5 + 4 + 1).contains(&most), "{most} rows were held");
    let most = most_held("");
    assert!(most > 19_000, "without a group all is read: {most} rows were held");
}

#[test]
fn sources_without_a_group_wait_for_nobody() {
    let alone = ", 'scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '100 d'";
    for options in ["", alone] {
        let mut engine = Engine::new().unwrap();
        engine.set("millstream.step.max-rows", "500").unwrap();
        timed(&mut engine, "fast", options);
        timed(&mut engine, "slow", options);
        let (fast, slow) = (engine.input("fast").unwrap(), engine.input("slow").unwrap());
        let (job, mut results) = engine.query("SELECT id FROM fast UNION ALL SELECT id FROM slow").unwrap();
        slow.blocking_push_changes(rows([(-1, 0)].into_iter())).unwrap();
        fast.blocking_push_changes(rows((0..5000).map(|i| (i, i)))).unwrap();
        let mut read = 0;
        while read < 5001 {
            read += results.blocking_next().unwrap().num_rows();
        }
        drop((fast, slow));
        assert!(all(&engine, &job, &mut results).is_empty());
    }
}

#[test]
fn members_that_end_or_fall_idle_hold_nobody_back() {
    let group = ", 'scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '1 s'";
    for idle in [false, true] {
        let mut engine = Engine::new().unwrap();
        let clock = Arc::new(ManualClock::new(1_000));
        engine.set_clock(Arc::clone(&clock) as _);
        timed(&mut engine, "fast", group);
        timed(&mut engine, "slow", &format!("{group}, 'scan.watermark.idle-timeout' = '10 ms'"));
        let (fast, slow) = (engine.input("fast").unwrap(), engine.input("slow").unwrap());
        let (job, mut results) = engine.query("SELECT id FROM fast UNION ALL SELECT id FROM slow").unwrap();
        slow.blocking_push_changes(rows([(-1, 0)].into_iter())).unwrap();
        for second in 0..20 {
            fast.blocking_push_changes(rows([(second, second * 1000)].into_iter())).unwrap();
        }
        let slow = if idle { Some(slow) } else { None };
        let mut read = 0;
        while read < 21 {
            // Nobody sleeps: the clock stands at a later time at every look.
            clock.set(1_000_000 + read as i64 * 1_000_000);
            read += results.blocking_next().unwrap().num_rows();
        }
        drop((fast, slow));
        job.stop();
        all(&engine, &job, &mut results);
    }
}
