//! MATCH_RECOGNIZE beyond what Flink takes, answers worked out by hand; what EXPLAIN says of it, and its errors.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream::Engine;
use millstream::change::ChangeBatch;

fn engine() -> Engine {
    let mut engine = Engine::new().unwrap();
    let table = "CREATE TABLE t (k STRING, v BIGINT, ts TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR ts AS ts)
        WITH ('connector' = 'channel')";
    engine.execute(table).unwrap();
    engine
}

/// What comes out for values of one key, a second apart.
fn answer(clauses: &str, values: &[i64]) -> Vec<String> {
    let mut engine = engine();
    let input = engine.input("t").unwrap();
    // All rows of a match have all columns, the current time among them.
    let columns = if clauses.contains("ALL ROWS") { "k, ts, c, running, last, b, n, v" } else { "*" };
    let (job, mut results) = engine.query(&format!("SELECT {columns} FROM t MATCH_RECOGNIZE ({clauses})")).unwrap();
    let k: ArrayRef = Arc::new(StringArray::from(vec!["a"; values.len()]));
    let v: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    let ts: ArrayRef =
        Arc::new(TimestampMillisecondArray::from_iter_values((1..=values.len() as i64).map(|s| s * 1000)));
    let rows = RecordBatch::try_from_iter_with_nullable([("k", k, true), ("v", v, true), ("ts", ts, true)]).unwrap();
    input.blocking_push_changes(ChangeBatch::append(rows)).unwrap();
    drop(input);
    let mut lines = Vec::new();
    while let Some(batch) = results.blocking_next() {
        lines.extend(millstream::engine::lines(&batch).unwrap().lines().map(str::to_string));
    }
    engine.block_on(job.wait()).unwrap();
    lines
}

#[test]
fn greedy_repetitions_give_rows_back_where_flink_takes_none() {
    // At the end of a pattern, and before what is optional.
    let last = "ORDER BY ts MEASURES COUNT(*) AS n, LAST(v) AS v AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+) DEFINE B AS v > 1";
    assert_eq!(answer(last, &[1, 2, 3, 1, 5]), ["+I[3, 3]", "+I[2, 5]"]);
    let optional =
        "ORDER BY ts MEASURES COUNT(A.v) AS a, COUNT(B.v) AS b, COUNT(C.v) AS c AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A+ B* C) DEFINE A AS v < 5, B AS v < 7, C AS v < 5";
    assert_eq!(answer(optional, &[1, 2, 3, 9]), ["+I[2, 0, 1]"]);
}

#[test]
fn alternation_prefers_what_comes_first() {
    let clauses = "ORDER BY ts MEASURES CLASSIFIER() AS c, v AS v AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A | B | C) DEFINE A AS v > 5, B AS v > 3";
    assert_eq!(answer(clauses, &[9, 4, 1]), ["+I[A, 9]", "+I[B, 4]", "+I[C, 1]"]);
    let permuted = "ORDER BY ts MEASURES A.v AS a, B.v AS b, C.v AS c AFTER MATCH SKIP PAST LAST ROW
        PATTERN (PERMUTE(A, B, C)) DEFINE A AS v = 1, B AS v = 2, C AS v > 1";
    assert_eq!(answer(permuted, &[2, 2, 1, 3, 1, 2]), ["+I[1, 2, 2]", "+I[1, 2, 3]"]);
}

#[test]
fn all_rows_of_a_match() {
    let clauses = |rows: &str, pattern: &str| {
        format!(
            "PARTITION BY k ORDER BY ts MEASURES CLASSIFIER() AS c, SUM(v) AS running, FINAL LAST(v) AS last,
             RUNNING COUNT(B.v) AS b, MATCH_NUMBER() AS n ALL ROWS PER MATCH {rows} AFTER MATCH SKIP PAST LAST ROW
             PATTERN ({pattern}) DEFINE A AS v < 3, B AS v > 4"
        )
    };
    let time = |s: i64| format!("1970-01-01T00:00:{s:02}");
    let row = |s: i64, rest: &str, v: i64| format!("+I[a, {}, {rest}, {v}]", time(s));
    assert_eq!(
        answer(&clauses("", "A B+"), &[1, 5, 6, 2, 7]),
        [
            row(1, "A, 1, 6, 0, 1", 1),
            row(2, "B, 6, 6, 1, 1", 5),
            row(3, "B, 12, 6, 2, 1", 6),
            row(4, "A, 2, 7, 0, 2", 2),
            row(5, "B, 9, 7, 1, 2", 7)
        ]
    );
    // What is excluded is matched and not shown.
    assert_eq!(answer(&clauses("", "{- A -} B"), &[1, 5]), [row(2, "B, 6, 5, 1, 1", 5)]);
    assert_eq!(answer(&clauses("", "A {- B -}"), &[1, 5]), [row(1, "A, 1, 5, 0, 1", 1)]);
    assert_eq!(answer(&clauses("", "A {- B -}+ A"), &[1, 5, 6, 2]).len(), 2);
    // A match without rows has one, unless it is to be left out.
    assert_eq!(answer(&clauses("", "B* | A A"), &[4, 5]).len(), 2);
    assert_eq!(answer(&clauses("OMIT EMPTY MATCHES", "B* | A A"), &[4, 5]), [row(2, "B, 5, 5, 1, 2", 5)]);
}

#[test]
fn rows_before_and_sets_of_variables() {
    let before = "ORDER BY ts MEASURES A.v AS a, PREV(A.v) AS p, PREV(LAST(B.v), 2) AS q AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A B B) DEFINE A AS v > PREV(v), B AS v < PREV(v, 1)";
    assert_eq!(answer(before, &[3, 5, 4, 2, 1]), ["+I[5, 3, 5]"]);
    let subset = "ORDER BY ts MEASURES SUM(x.v) AS s, LAST(x.v) AS l, FIRST(x.v, 1) AS f AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A B C) SUBSET x = (A, C), y = (B) DEFINE B AS v > 1, C AS v > LAST(y.v)";
    assert_eq!(answer(subset, &[1, 2, 3, 4]), ["+I[4, 3, 3]"]);
    let skip =
        "ORDER BY ts MEASURES A.v AS a, C.v AS c AFTER MATCH SKIP TO FIRST x PATTERN (A B C) WITHIN INTERVAL '1' MINUTE
        SUBSET x = (B, C) DEFINE B AS v > 0";
    assert_eq!(answer(skip, &[1, 2, 3, 4]), ["+I[1, 3]", "+I[2, 4]"]);
}

#[test]
fn aggregates_of_variables_without_rows() {
    let clauses = |rows: &str, all: &str| {
        format!(
            "PARTITION BY k ORDER BY ts MEASURES MIN(B.v) AS c, MAX(B.v) AS running, AVG(B.v) AS last, SUM(B.v) AS b,
             COUNT(B.v) AS n {rows} AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* {all}) DEFINE A AS v = 1, B AS v > 1"
        )
    };
    assert_eq!(
        answer(&clauses("", "C"), &[1, 5, 3, 1, 1, 1, 0]),
        ["+I[a, 3, 5, 4, 8, 2]", "+I[a, null, null, null, null, 0]"]
    );
    let shown = answer(&clauses("ALL ROWS PER MATCH", ""), &[1, 5]);
    let row = |s: i64, rest: &str| format!("+I[a, 1970-01-01T00:00:0{s}, {rest}]");
    assert_eq!(shown, [row(1, "null, null, null, null, 0, 1"), row(2, "5, 5, 5, 5, 1, 5")]);
    // In a condition, over what is evaluated in columns.
    let condition = "ORDER BY ts MEASURES A.v AS a AFTER MATCH SKIP PAST LAST ROW PATTERN (A B)
        DEFINE A AS COUNT(DISTINCT B.v) > 0 OR 1 <> MIN(B.v)";
    assert_eq!(answer(condition, &[1, 2, 3]), [""; 0]);
}

#[test]
fn rows_behind() {
    // Of the rows of the match and of those behind it; behind the last row of all there is none.
    let peaks =
        "ORDER BY ts MEASURES A.v AS a, B.v AS b, NEXT(B.v) AS n, NEXT(A.v, 3) AS m AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A B) DEFINE B AS v > PREV(v) AND v > NEXT(v)";
    assert_eq!(answer(peaks, &[1, 5, 4, 3, 6, 2]), ["+I[1, 5, 4, 3]", "+I[3, 6, 2, null]"]);
    let last = "ORDER BY ts MEASURES FIRST(v) AS f, LAST(v) AS l, NEXT(FIRST(v), 2) AS n AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A+) DEFINE A AS NEXT(v) > v OR NEXT(v) IS NULL";
    assert_eq!(answer(last, &[1, 2, 3, 2, 4]), ["+I[1, 2, 3]", "+I[2, 4, null]"]);
    // Of another variable's rows, and computed.
    let others = "ORDER BY ts MEASURES B.v AS b AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A+ B) DEFINE A AS v < 5, B AS v = NEXT(FIRST(A.v + 1)) AND v > NEXT(LAST(A.v, 1), 2) - 1";
    assert_eq!(answer(others, &[1, 4, 2, 5, 1, 6, 7]), ["+I[5]"]);
    // The variable of a row is known as far as the match is seen.
    let names = "PARTITION BY k ORDER BY ts MEASURES PREV(CLASSIFIER()) AS c, FINAL COUNT(v) AS running,
        FINAL LAST(v) AS last, NEXT(v) AS b, NEXT(FIRST(CLASSIFIER())) AS n ALL ROWS PER MATCH
        AFTER MATCH SKIP PAST LAST ROW PATTERN (A B) DEFINE B AS CLASSIFIER() = 'B' AND PREV(CLASSIFIER()) = 'A'";
    let row = |s: i64, rest: &str| format!("+I[a, 1970-01-01T00:00:0{s}, {rest}]");
    assert_eq!(answer(names, &[1, 2, 3]), [row(1, "null, 2, 2, 2, null, 1"), row(2, "A, 2, 2, 3, B, 2")]);
}

#[test]
fn the_time_of_a_match_is_a_time_attribute_where_the_end_tells_nothing() {
    let windows = |clauses: &str| {
        let mut engine = engine();
        let view = format!(
            "CREATE VIEW m AS SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES MATCH_ROWTIME() AS mt {clauses})"
        );
        engine.execute(&view).unwrap();
        let query = "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE m, DESCRIPTOR(mt), INTERVAL '1' SECOND)) \
                     GROUP BY window_start, window_end";
        engine.explain(query).map_err(|e| e.to_string())
    };
    let timed = [
        "PATTERN (A B* C) DEFINE B AS v > 1",
        "PATTERN (A B+) WITHIN INTERVAL '5' SECOND DEFINE B AS v > 1",
        "PATTERN (PERMUTE(A, B) | C D) DEFINE B AS v > PREV(v)",
    ];
    timed.iter().for_each(|clauses| drop(windows(clauses).unwrap_or_else(|e| panic!("{clauses}: {e}"))));
    for clauses in
        ["PATTERN (A B+) DEFINE B AS v > 1", "PATTERN (A B) WITHIN INTERVAL '5' SECOND DEFINE B AS v > NEXT(v)"]
    {
        let error = windows(clauses).unwrap_err();
        assert!(error.contains("time attribute"), "{clauses}: {error}");
    }
}

#[test]
fn functions_that_single_values_do_not_tell() {
    // Texts, distinct values, functions that may fail: over columns of a row.
    let clauses =
        "ORDER BY ts MEASURES COUNT(DISTINCT A.v) AS d, MAX(A.v) - MIN(A.v) AS r AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A{2,} B) DEFINE A AS COUNT(DISTINCT A.v) < 3 AND UPPER(A.k) = 'A', B AS 10 / (B.v - LAST(A.v)) > 1";
    assert_eq!(answer(clauses, &[1, 2, 1, 5, 6]), ["+I[2, 1]"]);
    let decimal = "ORDER BY ts MEASURES SUM(CAST(A.v AS DECIMAL(10, 2))) AS s AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A+? B) DEFINE A AS SUM(CAST(A.v AS DECIMAL(10, 2))) < 2.5, B AS v > 1";
    assert_eq!(answer(decimal, &[1, 1, 2, 3]), ["+I[2.00]"]);
}

#[test]
fn rows_in_the_order_of_arrival() {
    let clauses = "PARTITION BY k ORDER BY p MEASURES A.v AS a, B.v AS b AFTER MATCH SKIP PAST LAST ROW
        PATTERN (A B) DEFINE B AS B.v > A.v";
    assert_eq!(answer(clauses, &[1, 2, 3, 1, 4]), ["+I[a, 1, 2]", "+I[a, 1, 4]"]);
}

#[test]
fn explain_says_what_bounds_the_rows_that_are_held() {
    let bound = |clauses: &str| {
        let text = engine().explain(&format!("SELECT * FROM t MATCH_RECOGNIZE ({clauses});")).unwrap();
        let line = text.lines().skip_while(|l| !l.contains("MatchRecognize:")).nth(1).unwrap().to_string();
        line.split("state: ").nth(1).unwrap().to_string()
    };
    let clauses = |pattern: &str, measure: &str| {
        format!("PARTITION BY k ORDER BY ts MEASURES {measure} AS m PATTERN ({pattern} DEFINE B AS v > 1")
    };
    let ahead = "; rows of the input ahead of the watermark";
    assert_eq!(
        bound(&clauses("A B* C)", "A.v")),
        format!("unbounded: grows with rows of partial matches per distinct (k){ahead}")
    );
    assert_eq!(bound(&clauses("A B{2,4} C)", "A.v")), format!("at most 6 rows per distinct (k){ahead}"));
    assert_eq!(
        bound(&clauses("A B* C) WITHIN INTERVAL '5' SECOND", "A.v")),
        format!("rows of the input of the last 5 s (WITHIN) per distinct (k){ahead}")
    );
    assert_eq!(
        bound(&clauses("A B)", "MATCH_NUMBER()")),
        format!("at most 2 rows per distinct (k); one count per distinct (k){ahead}")
    );
    assert_eq!(
        bound(&clauses("A B* C) WITHIN INTERVAL '5' SECOND", "NEXT(A.v, 2)")),
        format!(
            "rows of the input of 5 s (WITHIN) before the last 2 rows per distinct (k); at most 2 later rows per distinct (k){ahead}"
        )
    );
    assert_eq!(
        bound(&clauses("A B)", "NEXT(A.v)")),
        format!("at most 2 rows per distinct (k); one later row per distinct (k){ahead}")
    );
    let unordered = "ORDER BY p MEASURES A.v AS m PATTERN (A B) DEFINE B AS v > 1";
    assert_eq!(bound(unordered), "at most 2 rows");
}

#[test]
fn errors_have_a_place() {
    let refused = |clauses: &str, place: &str, message: &str| {
        let error =
            engine().explain(&format!("SELECT * FROM t MATCH_RECOGNIZE (\n{clauses})")).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains(place), "{clauses}\n{error}");
    };
    let defined = |measure: &str, condition: &str| {
        format!("ORDER BY ts MEASURES {measure} AS m\nPATTERN (A B)\nDEFINE B AS {condition}")
    };
    refused(&defined("A.v", "B.nope > 1"), "line 4", "nope");
    refused(&defined("C.v", "v > 1"), "line 2", "PATTERN has no variable 'C'");
    refused(&defined("LAST(A.v + B.v)", "v > 1"), "line 2", "must be of one variable");
    refused(&defined("NEXT(PREV(A.v))", "v > 1"), "line 2", "PREV has no place in NEXT");
    refused(&defined("NEXT(A.v, A.v)", "v > 1"), "line 2", "NEXT takes a whole number of rows");
    refused(&defined("A.v", "NEXT(SUM(A.v)) > 1"), "line 4", "SUM has no place in NEXT");
    refused(&defined("A.v", "NEXT(1) > 1"), "line 4", "NEXT are of an expression with a column");
    refused(&defined("A.v", "FINAL LAST(A.v) > 1"), "line 4", "FINAL has no place in DEFINE");
    refused(&defined("LAST(A.v, -1)", "v > 1"), "line 2", "a whole number of rows");
    refused(&defined("A.v", "v IN (SELECT v FROM t)"), "line 4", "subqueries have no place");
    refused(&defined("A.v", "v + 1"), "MATCH_RECOGNIZE", "the definition of B is no condition");
    refused("ORDER BY ts MEASURES A.v AS m PATTERN (A)\nDEFINE C AS v > 1", "line 3", "PATTERN has no variable 'C'");
    refused("ORDER BY v MEASURES A.v AS m PATTERN (A) DEFINE A AS v > 1", "line", "must begin with a time attribute");
    refused("MEASURES A.v AS m PATTERN (A) DEFINE A AS v > 1", "line", "ORDER BY a time attribute");
    refused(
        "ORDER BY ts MEASURES A.v AS m PATTERN (A B) WITHIN INTERVAL '1' MONTH\nDEFINE A AS v > 1",
        "line 2",
        "WITHIN takes",
    );
    refused(
        "ORDER BY ts MEASURES A.v AS m AFTER MATCH SKIP TO X PATTERN (A B)\nDEFINE A AS v > 1",
        "line 2",
        "no variable 'X'",
    );
}
