//! OVER, from the text of a query to its changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream::Engine;
use millstream::change::{ChangeBatch, RowKind};

type Change = (RowKind, &'static str, Option<i64>, i64);

/// Rows of a key, a value and a time in seconds.
fn changes(rows: &[Change], appended: bool) -> ChangeBatch {
    let k: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1)));
    let v: ArrayRef = Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>());
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.3 * 1000)));
    let rows_only =
        RecordBatch::try_from_iter_with_nullable([("k", k, true), ("v", v, true), ("ts", ts, true)]).unwrap();
    let kinds = (!appended).then(|| rows.iter().map(|r| r.0).collect());
    ChangeBatch { rows: rows_only, kinds, watermarks: None }
}

fn engine(workers: usize, appended: bool) -> Engine {
    let mut engine = Engine::new().unwrap();
    engine.set("parallelism.default", &workers.to_string()).unwrap();
    let (watermark, mode) = match appended {
        true => (", p AS PROCTIME(), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND", ""),
        false => ("", ", 'changelog.mode' = 'retract'"),
    };
    let table =
        format!("CREATE TABLE t (k STRING, v BIGINT, ts TIMESTAMP(3){watermark}) WITH ('connector' = 'channel'{mode})");
    engine.execute(&table).unwrap();
    engine
}

/// What a query gives for batches that are each a step or more, line by line.
fn answer(query: &str, batches: &[Vec<Change>], appended: bool, workers: usize) -> Vec<String> {
    let mut engine = engine(workers, appended);
    let input = engine.input("t").unwrap();
    let (job, mut results) = engine.query(query).unwrap();
    let batches: Vec<ChangeBatch> = batches.iter().map(|b| changes(b, appended)).collect();
    let pushed = std::thread::spawn(move || batches.into_iter().all(|b| input.blocking_push_changes(b).is_ok()));
    let mut lines = Vec::new();
    while let Some(batch) = results.blocking_next() {
        lines.extend(millstream::engine::lines(&batch).unwrap().lines().map(str::to_string));
    }
    assert!(pushed.join().unwrap());
    engine.block_on(job.wait()).unwrap();
    lines
}

/// What stands at the end; each change must make sense where it comes.
fn folded(lines: &[String]) -> Vec<String> {
    let mut table = BTreeMap::<&str, i64>::new();
    for line in lines {
        let (kind, row) = line.split_at(2);
        let count = table.entry(row).or_default();
        *count += if kind.starts_with('+') { 1 } else { -1 };
        assert!(*count >= 0, "{line} goes and is not there");
    }
    table.into_iter().flat_map(|(row, count)| (0..count).map(move |_| row.to_string())).collect()
}

/// Whatever the number of workers.
fn table_of(query: &str, batches: &[Vec<Change>], appended: bool) -> Vec<String> {
    let one = folded(&answer(query, batches, appended, 1));
    assert_eq!(folded(&answer(query, batches, appended, 3)), one, "{query}");
    one
}

fn explained(query: &str, appended: bool) -> String {
    engine(1, appended).explain(&format!("{query};")).unwrap()
}

fn some_changes() -> Vec<Vec<Change>> {
    vec![
        vec![(Insert, "a", Some(3), 1), (Insert, "a", Some(1), 2), (Insert, "b", Some(7), 3), (Insert, "a", None, 4)],
        vec![(UpdateBefore, "a", Some(3), 1), (UpdateAfter, "a", Some(5), 1), (Insert, "b", Some(7), 3)],
        vec![(Delete, "b", Some(7), 3), (Insert, "a", Some(2), 9)],
    ]
}

#[test]
fn ranks_and_frames_follow_changing_rows() {
    // Three windows in one query, and their results not in the order in which they are computed.
    let query = "SELECT k, v,
          RANK() OVER (PARTITION BY k ORDER BY v DESC) AS r,
          SUM(v) OVER (PARTITION BY k ORDER BY v ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS around,
          ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS n,
          COUNT(*) OVER () AS everything
        FROM t";
    let rows = table_of(query, &some_changes(), false);
    // NULLs are low: last where the order falls, first where it rises.
    assert_eq!(
        rows,
        [
            "[a, 1, 3, 3, 3, 5]",
            "[a, 2, 2, 8, 2, 5]",
            "[a, 5, 1, 7, 1, 5]",
            "[a, null, 4, 1, 4, 5]",
            "[b, 7, 1, 7, 1, 5]"
        ]
    );
    let text = explained(query, false);
    assert!(text.contains("OverUpdating: partition=[k]"), "{text}");
    assert!(text.contains("unbounded: grows with rows of the input"), "{text}");
}

#[test]
fn averages_over_the_last_rows_of_what_changes() {
    let query =
        "SELECT k, ts, AVG(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS m FROM t";
    let lines = answer(query, &some_changes(), false, 1);
    assert_eq!(
        folded(&lines),
        [
            "[a, 1970-01-01T00:00:01, 5]",
            "[a, 1970-01-01T00:00:02, 3]",
            "[a, 1970-01-01T00:00:04, 1]",
            "[a, 1970-01-01T00:00:09, 2]",
            "[b, 1970-01-01T00:00:03, 7]",
        ],
        "{lines:?}"
    );
}

#[test]
fn every_window_function_runs() {
    let query = "SELECT v, LAG(v) OVER w AS a, LEAD(v, 1, CAST(-1 AS BIGINT)) OVER w AS b, NTILE(2) OVER w AS c,
          FIRST_VALUE(v) OVER w AS d, NTH_VALUE(v, 2) OVER w AS e, DENSE_RANK() OVER w AS f, MAX(v) OVER w AS g
        FROM t WHERE k = 'a' WINDOW w AS (ORDER BY v ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)";
    assert_eq!(
        table_of(query, &some_changes(), false),
        [
            "[1, null, 2, 1, 1, 1, 2, 5]",
            "[2, 1, 5, 2, 1, 1, 3, 5]",
            "[5, 2, -1, 2, 1, 1, 4, 5]",
            "[null, null, 1, 1, 1, 1, 1, 5]",
        ]
    );
}

fn some_rows() -> Vec<Vec<Change>> {
    vec![
        vec![(Insert, "a", Some(1), 1), (Insert, "b", Some(2), 2), (Insert, "a", None, 4), (Insert, "a", Some(8), 3)],
        vec![(Insert, "a", Some(16), 9), (Insert, "b", Some(32), 7), (Insert, "a", Some(64), 9)],
    ]
}

#[test]
fn rows_in_order_of_time_go_out_once() {
    // Two windows, one after another: what is a time attribute remains one.
    let query = "SELECT k, v, s, COUNT(*) OVER (ORDER BY ts) AS n, FIRST_VALUE(v) OVER (ORDER BY ts ROWS 1 PRECEDING) AS f FROM (
          SELECT k, v, ts, SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS 1 PRECEDING) AS s FROM t)";
    let lines = answer(query, &some_rows(), true, 1);
    assert!(lines.iter().all(|l| l.starts_with("+I")), "{lines:?}");
    // The rows at 3 and at 7 are late: the last rows of the inner window keep them, a count of all rows does not.
    assert_eq!(
        folded(&lines),
        ["[a, 1, 1, 1, 1]", "[a, 16, 16, 5, 16]", "[a, 64, 80, 5, 16]", "[a, null, 8, 3, 2]", "[b, 2, 2, 2, 1]",],
        "{lines:?}"
    );
    let text = explained(query, true);
    assert_eq!(text.matches("OverAggregate").count(), 2, "{text}");
    assert!(text.contains("at most 2 rows per distinct (k); rows of the input ahead of the watermark"), "{text}");
    assert!(!text.contains("retract"), "{text}");
}

#[test]
fn rows_in_order_of_arrival_go_out_at_once() {
    let query = "SELECT v, SUM(v) OVER (PARTITION BY k ORDER BY p) AS s, ROW_NUMBER() OVER (PARTITION BY k ORDER BY p) AS n FROM t";
    let lines = answer(query, &some_rows(), true, 1);
    let expected = [
        "+I[1, 1, 1]",
        "+I[2, 2, 1]",
        "+I[null, 1, 2]",
        "+I[8, 9, 3]",
        "+I[16, 25, 4]",
        "+I[32, 34, 2]",
        "+I[64, 89, 5]",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn later_rows_change_what_looks_ahead() {
    let query = "SELECT v, LEAD(v) OVER (PARTITION BY k ORDER BY ts) AS l FROM t WHERE k = 'a'";
    let rows = table_of(query, &some_rows(), true);
    assert_eq!(rows, ["[1, 8]", "[16, 64]", "[64, null]", "[8, null]", "[null, 16]"]);
    assert!(explained(query, true).contains("OverUpdating"), "{query}");
}

#[test]
fn spans_of_time_bound_the_state() {
    let text = explained(
        "SELECT SUM(v) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '5' SECOND PRECEDING AND CURRENT ROW) FROM t",
        true,
    );
    assert!(
        text.contains(
            "rows of the input of the last 10 s (OVER) per distinct (k); rows of the input ahead of the watermark"
        ),
        "{text}"
    );
}

#[test]
fn wrong_frames_are_refused() {
    for frame in ["1 FOLLOWING AND CURRENT ROW", "18446744073709551615 FOLLOWING AND UNBOUNDED FOLLOWING"] {
        let query = format!("SELECT SUM(v) OVER (ORDER BY v ROWS BETWEEN {frame}) FROM t");
        let refused = engine(1, false).query(&query).unwrap_err().to_string();
        assert!(refused.to_lowercase().contains("frame"), "{refused}");
    }
}
