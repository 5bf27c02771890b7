//! Patterns that are made to do harm: each is refused by a clear error, or runs within bounds.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use millstream::Engine;
use millstream::change::ChangeBatch;

fn engine() -> Engine {
    let mut engine = Engine::new().unwrap();
    let table = "CREATE TABLE t (p BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'channel')";
    engine.execute(table).unwrap();
    engine
}

fn query(pattern: &str, rest: &str) -> String {
    format!(
        "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES COUNT(*) AS n, LAST(p) AS p {rest} PATTERN ({pattern}) DEFINE {})",
        define(pattern)
    )
}

/// The first variable of a pattern is defined.
fn define(pattern: &str) -> String {
    let first: String =
        pattern.chars().skip_while(|c| !c.is_alphabetic()).take_while(|c| c.is_alphanumeric()).collect();
    format!("{first} AS {first}.p >= 0")
}

/// What comes out for so many rows, all alike.
fn answer(query: &str, rows: i64) -> Result<Vec<String>, String> {
    let mut engine = engine();
    let input = engine.input("t").map_err(|e| e.to_string())?;
    let (job, mut results) = engine.query(query).map_err(|e| e.to_string())?;
    let p: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row % 2)));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(0..rows));
    let batch = RecordBatch::try_from_iter_with_nullable([("p", p, true), ("ts", ts, true)]).unwrap();
    input.blocking_push_changes(ChangeBatch::append(batch)).map_err(|e| e.to_string())?;
    drop(input);
    let mut lines = Vec::new();
    while let Some(batch) = results.blocking_next() {
        lines.extend(millstream::engine::lines(&batch).unwrap().lines().map(str::to_string));
    }
    engine.block_on(job.wait()).map_err(|e| e.to_string())?;
    Ok(lines)
}

#[test]
fn large_patterns_are_refused_at_once() {
    let mut engine = engine();
    let named = |count: usize, between: &str| (0..count).map(|n| format!("V{n}")).collect::<Vec<_>>().join(between);
    let refused = [
        ("A{1000000}".to_string(), "10000 variables"),
        ("A{4000000000}".into(), "10000 variables"),
        ("A{999999,}".into(), "10000 variables"),
        ("((((A{30}){30}){30}){30}){30}".into(), "10000 variables"),
        (named(10_001, " "), "10000 variables"),
        ("(A?){5000} Z".into(), "too many ways"),
        ("((A? B?){100}){40} Z".into(), "too many ways"),
        (named(2_000, "? "), "more than 500 operators in a row"),
        (format!("({})+", named(2_000, " | ")), "more than 500 operators in a row"),
        ("PERMUTE(A, B, C, D, E, F, G)".into(), "PERMUTE takes 6"),
        ("A{3,2} B".into(), "the least is more than the most"),
        ("A{0}".into(), "must take one row at least"),
        ("^ A".into(), "anchor ^"),
    ];
    for (pattern, reason) in refused {
        let error = engine.explain(&query(&pattern, "")).unwrap_err().to_string();
        assert!(error.contains(reason), "{}: {error}", &pattern[..pattern.len().min(60)]);
    }
    let taken = ["A{10000}".to_string(), named(5_000, " "), named(400, " | "), "(A?){1000} Z".into()];
    for pattern in taken {
        engine.explain(&query(&pattern, "")).unwrap();
    }
}

#[test]
fn what_may_match_in_many_ways_is_matched_in_one() {
    // Each row may be bound to any variable, and there is no end to the ways: but only one is preferred.
    let ways = ["(A | B)* C", "((A | B)* (A | B)*)* C", "(A? B?)* C", "(A+ B*)+ C{3}", "(A* | B* | (A B)*) C"];
    for pattern in ways {
        let query = query(pattern, "AFTER MATCH SKIP PAST LAST ROW");
        let lines = answer(&query, 20_000).unwrap_or_else(|e| panic!("{query}: {e}"));
        assert_eq!(lines.len(), 1, "{query}: {lines:?}");
    }
}

#[test]
fn ways_without_bound_end_with_an_error() {
    // What is remembered of each way is another: the sum of A's rows.
    let query = "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES COUNT(*) AS n AFTER MATCH SKIP PAST LAST ROW
        PATTERN ((A | B)* C) DEFINE A AS SUM(A.ts_ms) > -1, C AS SUM(A.ts_ms) = -2)";
    let mut engine = Engine::new().unwrap();
    let table = "CREATE TABLE t (ts_ms BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'channel')";
    engine.execute(table).unwrap();
    let input = engine.input("t").unwrap();
    let (job, mut results) = engine.query(query).unwrap();
    let sums: ArrayRef = Arc::new(Int64Array::from_iter_values((0..40).map(|row| 1i64 << row)));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(0..40));
    let batch = RecordBatch::try_from_iter_with_nullable([("ts_ms", sums, true), ("ts", ts, true)]).unwrap();
    input.blocking_push_changes(ChangeBatch::append(batch)).unwrap();
    drop(input);
    while results.blocking_next().is_some() {}
    let error = engine.block_on(job.wait()).unwrap_err().to_string();
    assert!(error.contains("more than 100000 ways to match at once"), "{error}");
}

#[test]
fn rows_far_ahead_are_waited_for() {
    let query = "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES LAST(p) AS p, NEXT(p, 4294967295) AS n
        AFTER MATCH SKIP PAST LAST ROW PATTERN (A B{2}) DEFINE B AS NEXT(p, 4294967295) IS NULL AND NEXT(A.p, 3) = 1)";
    assert_eq!(answer(query, 8).unwrap(), ["+I[0, null]", "+I[0, null]"]);
}

#[test]
fn searches_that_come_to_nothing_do_not_begin_anew_for_ever() {
    // 60,000 searches of up to 60,000 rows each, if each went its own way to the end.
    for clauses in [
        "AFTER MATCH SKIP PAST LAST ROW PATTERN ((A | B)* C) DEFINE A AS A.p = 0, B AS B.p = 1, C AS C.p > 1",
        "AFTER MATCH SKIP TO NEXT ROW PATTERN ((A | B)* C) WITHIN INTERVAL '30' SECOND
         DEFINE A AS A.p = 0, B AS B.p = 1, C AS C.p > 1",
        "AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* C | D) WITHIN INTERVAL '30' SECOND
         DEFINE B AS B.p > A.p - 2, C AS C.p < A.p - 2, D AS D.p > 1",
    ] {
        let query = format!("SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES COUNT(*) AS n {clauses})");
        assert_eq!(answer(&query, 60_000).unwrap(), [""; 0], "{query}");
    }
}
