//! Late rows: counted, and written to a table of the user's where one is set.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use millstream::change::ChangeBatch;
use millstream::engine::{Job, JobEnd, lines};
use millstream::{Engine, Result};

const TABLES: [&str; 2] = [
    "CREATE TABLE t (k BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'channel')",
    "CREATE TABLE late (row_json STRING, operator_name STRING, row_time TIMESTAMP(3), row_watermark TIMESTAMP(3), \
     row_kind STRING) WITH ('connector' = 'channel')",
];

fn engine(workers: usize) -> Engine {
    let mut engine = Engine::new().unwrap();
    engine.set("parallelism.default", &workers.to_string()).unwrap();
    TABLES.iter().for_each(|t| drop(engine.execute(t).unwrap()));
    engine
}

/// Rows of a key and a second.
fn rows(rows: &[(i64, i64)]) -> ChangeBatch {
    let k: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.1 * 1000)));
    ChangeBatch::append(RecordBatch::try_from_iter_with_nullable([("k", k, true), ("ts", ts, true)]).unwrap())
}

/// What a query drops, with the late rows' table set.
fn dropped(query: &str, workers: usize, batches: &[&[(i64, i64)]]) -> (BTreeSet<String>, u64) {
    let mut engine = engine(workers);
    engine.set("millstream.late-rows.sink", "late").unwrap();
    let (input, mut late) = (engine.input("t").unwrap(), engine.output("late").unwrap());
    let (job, mut results) = engine.query(query).unwrap();
    for batch in batches {
        input.blocking_push_changes(rows(batch)).unwrap();
    }
    drop(input);
    while results.blocking_next().is_some() {}
    let mut shown = BTreeSet::new();
    while let Some(batch) = late.blocking_next() {
        shown.extend(lines(&batch).unwrap().lines().map(str::to_string));
    }
    assert_eq!(end(&engine, &job).unwrap(), JobEnd::Finished);
    (shown, job.metrics().operators.iter().map(|o| o.stats.late_rows).sum())
}

fn end(engine: &Engine, job: &Job) -> Result<JobEnd> {
    engine.block_on(job.wait())
}

const ROWS: &[(i64, i64)] = &[(1, 1), (2, 8), (3, 3), (4, 12), (5, 4), (6, 11)];

#[test]
fn what_operators_drop_is_told_with_why() {
    let queries = [
        (
            "SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)) \
             GROUP BY window_start, window_end",
            "WindowAggregate",
            // Only its time is read of a row.
            vec![("{\"ts\":\"1970-01-01 00:00:03\"}", 3, 6), ("{\"ts\":\"1970-01-01 00:00:04\"}", 4, 10)],
        ),
        (
            "SELECT k, ts FROM t ORDER BY ts",
            "Sort",
            // Nothing later than the other had gone out yet.
            vec![("{\"k\":5,\"ts\":\"1970-01-01 00:00:04\"}", 4, 10)],
        ),
        (
            "SELECT k, SUM(k) OVER (ORDER BY ts) FROM t",
            "OverAggregate",
            vec![
                ("{\"k\":3,\"ts\":\"1970-01-01 00:00:03\"}", 3, 6),
                ("{\"k\":5,\"ts\":\"1970-01-01 00:00:04\"}", 4, 10),
            ],
        ),
        (
            // What is computed of a row for its condition is no part of it.
            "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES A.k AS a, LAST(B.k) AS b \
             PATTERN (A B+) DEFINE B AS B.k + 1 > 3 AND B.k > A.k)",
            "MatchRecognize",
            vec![
                ("{\"ts\":\"1970-01-01 00:00:03\",\"k\":3}", 3, 6),
                ("{\"ts\":\"1970-01-01 00:00:04\",\"k\":5}", 4, 10),
            ],
        ),
        (
            "SELECT k, window_start, COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), \
             INTERVAL '3' SECOND)) GROUP BY k, window_start, window_end",
            "SessionAggregate",
            // Row 3's session would have ended at 6 s, which is where the watermark stands.
            vec![
                ("{\"k\":3,\"ts\":\"1970-01-01 00:00:03\"}", 3, 6),
                ("{\"k\":5,\"ts\":\"1970-01-01 00:00:04\"}", 4, 10),
            ],
        ),
        (
            "SELECT a.k, b.k FROM (SELECT * FROM t WHERE k > 3) a JOIN (SELECT * FROM t WHERE k < 4) b \
             ON a.ts BETWEEN b.ts AND b.ts + INTERVAL '1' SECOND",
            "IntervalJoin",
            // All that they could match was let go.
            vec![
                ("{\"k\":3,\"ts\":\"1970-01-01 00:00:03\"}", 3, 6),
                ("{\"k\":5,\"ts\":\"1970-01-01 00:00:04\"}", 4, 10),
            ],
        ),
        (
            "SELECT window_start, COUNT(*) FROM TABLE(SESSION(TABLE t, DESCRIPTOR(ts), INTERVAL '4' SECOND)) \
             GROUP BY window_start, window_end",
            "SessionAggregate",
            // Row 3's session ends at 7 s, and row 5 reaches that of row 2, which is open.
            vec![],
        ),
    ];
    for (query, operator, expected) in queries {
        let told = |(text, time, mark): &(&str, i64, i64)| {
            format!("+I[{text}, {operator}, 1970-01-01T00:00:{time:02}, 1970-01-01T00:00:{mark:02}, +I]")
        };
        let expected: BTreeSet<String> = expected.iter().map(told).collect();
        for workers in [1, 3] {
            for batches in [vec![ROWS], ROWS.chunks(1).collect()] {
                let (shown, counted) = dropped(query, workers, &batches);
                assert_eq!(shown, expected, "{query}");
                assert_eq!(counted, expected.len() as u64, "{query}");
            }
        }
    }
}

#[test]
fn without_a_table_late_rows_are_counted() {
    let mut engine = engine(1);
    let input = engine.input("t").unwrap();
    let (job, mut results) = engine.query("SELECT k, ts FROM t ORDER BY ts").unwrap();
    input.blocking_push_changes(rows(ROWS)).unwrap();
    drop(input);
    while results.blocking_next().is_some() {}
    assert_eq!(end(&engine, &job).unwrap(), JobEnd::Finished);
    assert_eq!(job.metrics().operators.iter().map(|o| o.stats.late_rows).sum::<u64>(), 1);
}

#[test]
fn a_table_that_cannot_take_late_rows_is_named() {
    let mut engine = engine(1);
    engine.set("millstream.late-rows.sink", "later").unwrap();
    let error = engine.query("SELECT k FROM t").unwrap_err().to_string();
    assert!(error.contains("'millstream.late-rows.sink' = 'later': there is no such table"), "{error}");
    engine.set("millstream.late-rows.sink", "t").unwrap();
    let error = engine.query("SELECT k FROM t").unwrap_err().to_string();
    assert!(error.contains("table 't' cannot take late rows: its column 'k' of type Int64 is none of"), "{error}");
}
