//! Regular joins and subqueries from SQL to changes, held against DataFusion's batch answer over the same rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use millstream::change::ChangeBatch;
use millstream::engine::{Answer, JobEnd};
use millstream::{Engine, Error, Result};

type Row = (Option<i64>, Option<i64>);

/// `l` has a NULL key, a key that repeats, and a key that the others lack; so has `r`. `n` has no NULL, `e` no row.
const TABLES: [(&str, [&str; 2], &[Row]); 4] = [
    (
        "l",
        ["k", "v"],
        &[
            (Some(1), Some(10)),
            (Some(1), Some(11)),
            (Some(2), Some(20)),
            (Some(2), Some(20)),
            (Some(3), None),
            (None, Some(40)),
            (Some(5), Some(50)),
        ],
    ),
    (
        "r",
        ["k", "w"],
        &[
            (Some(1), Some(5)),
            (Some(2), Some(15)),
            (Some(2), Some(25)),
            (None, Some(45)),
            (Some(3), Some(35)),
            (Some(7), Some(50)),
        ],
    ),
    ("n", ["a", "b"], &[(Some(1), Some(1)), (Some(2), Some(20)), (Some(2), Some(11))]),
    ("e", ["c", "d"], &[]),
];

fn batch(columns: [&str; 2], rows: &[Row]) -> RecordBatch {
    let first: ArrayRef = Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>());
    let second: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([(columns[0], first, true), (columns[1], second, true)]).unwrap()
}

fn engine(workers: usize) -> Engine {
    let mut engine = Engine::new().unwrap();
    engine.set("parallelism.default", &workers.to_string()).unwrap();
    for (table, [a, b], _) in TABLES {
        let ddl = format!("CREATE TABLE {table} ({a} BIGINT, {b} BIGINT) WITH ('connector' = 'channel')");
        engine.execute(&ddl).unwrap();
    }
    engine
}

/// Rows as text, each with how often it is there.
type Folded = BTreeMap<Vec<String>, i64>;

fn fold(folded: &mut Folded, batch: &ChangeBatch) {
    for row in 0..batch.num_rows() {
        let text = |c: &ArrayRef| match c.is_null(row) {
            true => "NULL".to_string(),
            false => array_value_to_string(c, row).unwrap(),
        };
        let values: Vec<String> = batch.rows.columns().iter().map(text).collect();
        let count = folded.entry(values.clone()).or_default();
        *count += if batch.kind(row).is_addition() { 1 } else { -1 };
        assert!(*count >= 0, "{values:?} is taken away before it came");
        if *count == 0 {
            folded.remove(&values);
        }
    }
}

/// Runs a query; `parts` says how many rows go in at a time, the tables in turn.
fn run(query: &str, workers: usize, parts: usize, backwards: bool) -> Result<(Folded, JobEnd)> {
    let mut engine = engine(workers);
    let read: Vec<_> = TABLES.iter().filter(|(t, _, _)| mentions(query, t)).collect();
    let inputs: Vec<_> = read.iter().map(|(t, _, _)| engine.input(t).unwrap()).collect();
    let (job, mut results) = engine.query(query)?;
    let mut order: Vec<usize> = (0..read.len()).collect();
    if backwards {
        order.reverse();
    }
    for start in (0..8).step_by(parts) {
        for i in &order {
            let (_, columns, rows) = read[*i];
            let part = &rows[start.min(rows.len())..(start + parts).min(rows.len())];
            if !part.is_empty() {
                let _ = inputs[*i].blocking_push(batch(*columns, part));
            }
        }
    }
    drop(inputs);
    let mut folded = Folded::new();
    while let Some(batch) = results.blocking_next() {
        fold(&mut folded, &batch);
    }
    let end = engine.block_on(job.wait())?;
    Ok((folded, end))
}

fn mentions(query: &str, table: &str) -> bool {
    query.split(|c: char| !c.is_alphanumeric()).any(|word| word == table)
}

/// DataFusion's answer.
fn expected(query: &str) -> Folded {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let context = SessionContext::new();
        for (table, columns, rows) in TABLES {
            let rows = batch(columns, rows);
            context
                .register_table(table, Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap()))
                .unwrap();
        }
        context.sql(query).await.unwrap().collect().await.unwrap()
    });
    let mut folded = Folded::new();
    answer.into_iter().for_each(|rows| fold(&mut folded, &ChangeBatch::append(rows)));
    folded
}

fn check(query: &str) {
    let expected = expected(query);
    for (workers, parts, backwards) in [(1, 8, false), (1, 1, false), (1, 2, true), (2, 1, true), (3, 3, false)] {
        let (folded, _) = run(query, workers, parts, backwards).unwrap_or_else(|e| panic!("{query}: {e}"));
        assert_eq!(folded, expected, "{query}\n{workers} workers, {parts} rows a time, backwards: {backwards}");
    }
}

#[test]
fn joins_of_two_tables() {
    for kind in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
        for on in ["l.k = r.k", "l.k = r.k AND v > w", "l.k + 1 = r.k + 1 AND v + w < 40", "l.k = r.k AND v < 20"] {
            check(&format!("SELECT l.k, v, r.k, w FROM l {kind} r ON {on}"));
            check(&format!("SELECT w FROM l {kind} r ON {on}"));
        }
        check(&format!("SELECT v, w FROM l {kind} r ON l.k IS NOT DISTINCT FROM r.k"));
    }
    for kind in ["LEFT SEMI", "LEFT ANTI"] {
        check(&format!("SELECT * FROM l {kind} JOIN r ON l.k = r.k"));
        check(&format!("SELECT * FROM l {kind} JOIN r ON l.k = r.k AND v > w"));
    }
    for kind in ["RIGHT SEMI", "RIGHT ANTI"] {
        check(&format!("SELECT * FROM l {kind} JOIN r ON l.k = r.k"));
    }
}

#[test]
fn joins_without_keys() {
    check("SELECT l.k, w FROM l CROSS JOIN r");
    check("SELECT l.k, w FROM l, r WHERE v > w");
    check("SELECT v, w FROM l LEFT JOIN r ON v > w");
    check("SELECT v, w FROM l FULL JOIN r ON v > w");
    check("SELECT v, d FROM l LEFT JOIN e ON TRUE");
    check("SELECT b FROM n CROSS JOIN (SELECT v FROM l LEFT JOIN r ON l.k = r.k) x");
    check("SELECT COUNT FROM (SELECT 1 AS COUNT FROM l CROSS JOIN n)");
}

#[test]
fn joins_in_a_row() {
    check("SELECT v, w, b FROM l, r, n WHERE l.k = r.k AND l.k = n.a");
    check("SELECT v, w, b FROM l LEFT JOIN r ON l.k = r.k LEFT JOIN n ON n.b = l.v");
    check("SELECT x.v, x.w, n.b FROM (SELECT l.k, v, w FROM l FULL JOIN r ON l.k = r.k) x FULL JOIN n ON x.k = n.a");
    check("SELECT x.v, x.w, y.w FROM (SELECT l.k, v, w FROM l LEFT JOIN r ON l.k = r.k) x JOIN r y ON x.k = y.k");
    check("SELECT a.v, b.v FROM l a JOIN l b ON a.k = b.k AND a.v < b.v");
    check(
        "SELECT x.v, y.b FROM (SELECT l.k, v FROM l LEFT JOIN r ON l.k = r.k AND v < w) x \
         LEFT JOIN (SELECT n.a, n.b FROM n LEFT JOIN r ON n.b = r.w) y ON x.k = y.a",
    );
    check("SELECT v FROM (SELECT l.k, v, w FROM l LEFT JOIN r ON l.k = r.k) x WHERE w IS NULL");
    check("SELECT v, w FROM l LEFT JOIN r ON l.k = r.k WHERE w > 15");
}

#[test]
fn joins_named_otherwise() {
    check("SELECT v, w FROM l JOIN r USING (k)");
    check("SELECT v, w FROM l NATURAL JOIN r");
    check("SELECT k, v, w FROM l LEFT JOIN r USING (k)");
    check("SELECT l.v, x.w FROM l, LATERAL (SELECT w FROM r WHERE r.k = l.k) x");
    check("SELECT l.v, x.w FROM l LEFT JOIN LATERAL (SELECT w FROM r WHERE r.k = l.k) x ON TRUE");
}

#[test]
fn in_and_exists() {
    check("SELECT * FROM l WHERE k IN (SELECT k FROM r)");
    check("SELECT * FROM l WHERE k IN (SELECT k FROM r WHERE w > 20)");
    check("SELECT * FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k)");
    check("SELECT * FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k AND r.w > l.v)");
    check("SELECT * FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.k = l.k)");
    check("SELECT * FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.k = l.k AND r.w > l.v)");
    check("SELECT * FROM l WHERE EXISTS (SELECT 1 FROM r)");
    check("SELECT * FROM l WHERE EXISTS (SELECT 1 FROM e)");
    check("SELECT * FROM l WHERE NOT EXISTS (SELECT 1 FROM e)");
    check("SELECT * FROM l WHERE k = 1 OR EXISTS (SELECT 1 FROM r WHERE r.k = l.k AND r.w > 20)");
    check("SELECT v FROM (SELECT l.k, v FROM l LEFT JOIN r ON l.k = r.k AND w > 20) x WHERE k IN (SELECT a FROM n)");
}

#[test]
fn not_in_knows_of_nulls() {
    check("SELECT * FROM l WHERE k NOT IN (SELECT k FROM r)");
    check("SELECT * FROM l WHERE k NOT IN (SELECT k FROM r WHERE k IS NOT NULL)");
    check("SELECT * FROM l WHERE k NOT IN (SELECT a FROM n)");
    check("SELECT * FROM l WHERE k NOT IN (SELECT c FROM e)");
    check("SELECT * FROM l WHERE v NOT IN (SELECT b FROM n) AND k IN (SELECT k FROM r)");
}

#[test]
fn correlated_not_in() {
    // DataFusion has no answer of its own. Of l's rows: (1, 10) and (1, 11) meet 5; (2, 20) meets 15 and 25; (3, NULL) meets
    // 35 and is not known to differ; (NULL, 40) and (5, 50) meet nothing.
    let query = "SELECT v FROM l WHERE v NOT IN (SELECT w FROM r WHERE r.k = l.k)";
    let wanted = [("10", 1), ("11", 1), ("20", 2), ("40", 1), ("50", 1)];
    let wanted: Folded = wanted.iter().map(|(v, n)| (vec![v.to_string()], *n)).collect();
    for (workers, parts, backwards) in [(1, 8, false), (1, 1, true), (2, 1, false)] {
        assert_eq!(run(query, workers, parts, backwards).unwrap().0, wanted);
    }
}

/// A correlation by the columns that are compared leaves nothing to be unknown.
#[test]
fn not_in_what_equals_it() {
    let query = "SELECT v FROM l WHERE k NOT IN (SELECT k FROM r WHERE r.k = l.k)";
    let wanted = [("40", 1), ("50", 1)];
    let wanted: Folded = wanted.iter().map(|(v, n)| (vec![v.to_string()], *n)).collect();
    assert_eq!(run(query, 1, 1, false).unwrap().0, wanted);
}

#[test]
fn scalar_subqueries() {
    check("SELECT v, (SELECT d FROM e) FROM l");
    check("SELECT v FROM l WHERE v > (SELECT b FROM n WHERE b = 11)");
    check("SELECT v + (SELECT b FROM n WHERE b = 11) FROM l");
}

#[test]
fn a_scalar_subquery_of_two_rows_ends_the_job() {
    for workers in [1, 2] {
        match run("SELECT v, (SELECT b FROM n) FROM l", workers, 1, false) {
            Err(Error::Execution(message)) => assert!(message.contains("scalar subquery"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn aggregates_in_subqueries() {
    check("SELECT v FROM l WHERE v > (SELECT MAX(b) FROM n)");
    check("SELECT v, (SELECT COUNT(*) FROM r) FROM l");
    check("SELECT v, (SELECT MAX(w) FROM r WHERE r.k = l.k) FROM l");
    check("SELECT v, (SELECT COUNT(*) FROM r WHERE r.k = l.k) FROM l");
    check("SELECT v FROM l WHERE v > (SELECT MIN(w) FROM r WHERE r.k = l.k)");
    check("SELECT v FROM l WHERE 2 = (SELECT COUNT(w) FROM r WHERE r.k = l.k)");
    check("SELECT v FROM l WHERE k IN (SELECT k FROM r GROUP BY k HAVING SUM(w) > 20)");
    check("SELECT v FROM l WHERE k NOT IN (SELECT a FROM n GROUP BY a HAVING COUNT(*) > 1)");
    check("SELECT l.v, x.s FROM l JOIN (SELECT k, SUM(w) AS s FROM r GROUP BY k) x ON l.k = x.k AND l.v < x.s");
    check("SELECT l.v, x.s FROM l FULL JOIN (SELECT k, SUM(w) AS s FROM r GROUP BY k) x ON l.k = x.k");
    check("SELECT l.v, x.m FROM l, LATERAL (SELECT MAX(w) AS m FROM r WHERE r.k = l.k) x");
}

#[test]
fn set_operations() {
    check("SELECT k FROM l INTERSECT SELECT k FROM r");
    check("SELECT k FROM l EXCEPT SELECT k FROM r");
    check("SELECT k FROM l UNION SELECT k FROM r");
    check("SELECT k, v FROM l INTERSECT SELECT a, b FROM n");
    check("SELECT l.k FROM l LEFT JOIN r ON l.k = r.k AND v < w EXCEPT SELECT a FROM n");
}

/// What is given, worked out by hand: DataFusion does not count copies.
fn check_rows(query: &str, rows: &[(&[&str], i64)]) {
    let wanted: Folded = rows.iter().map(|(row, n)| (row.iter().map(|v| v.to_string()).collect(), *n)).collect();
    for (workers, parts, backwards) in [(1, 8, false), (1, 1, false), (1, 1, true), (2, 2, false)] {
        let (folded, _) = run(query, workers, parts, backwards).unwrap_or_else(|e| panic!("{query}: {e}"));
        assert_eq!(folded, wanted, "{query}\n{workers} workers, {parts} rows a time, backwards: {backwards}");
    }
}

#[test]
fn any_and_all_of_a_table_of_the_same_name() {
    check_rows("SELECT a FROM n WHERE a > ANY (SELECT a FROM n)", &[(&["2"], 2)]);
    check_rows("SELECT a FROM n WHERE a >= ALL (SELECT a FROM n)", &[(&["2"], 2)]);
    check_rows("SELECT a FROM n WHERE a = ALL (SELECT a FROM n)", &[]);
}

#[test]
fn set_operations_count_copies() {
    check_rows(
        "SELECT k FROM l INTERSECT ALL SELECT k FROM r",
        &[(&["1"], 1), (&["2"], 2), (&["3"], 1), (&["NULL"], 1)],
    );
    check_rows("SELECT k FROM l EXCEPT ALL SELECT k FROM r", &[(&["1"], 1), (&["5"], 1)]);
    check_rows("SELECT k FROM r EXCEPT ALL SELECT k FROM l", &[(&["7"], 1)]);
    check_rows("SELECT k, v FROM l INTERSECT ALL SELECT a, b FROM n", &[(&["2", "20"], 1)]);
    check_rows("SELECT k FROM l EXCEPT ALL (SELECT k FROM l EXCEPT ALL SELECT a FROM n)", &[(&["1"], 1), (&["2"], 2)]);
    check_rows("SELECT CAST(k AS INT) FROM l INTERSECT ALL SELECT a FROM n", &[(&["1"], 1), (&["2"], 2)]);
    check_rows("SELECT l.k FROM l LEFT JOIN r ON l.k = r.k INTERSECT ALL SELECT a FROM n", &[(&["1"], 1), (&["2"], 2)]);
}

/// DataFusion takes both conditions to be of one kind.
#[test]
fn nulls_that_are_equal_beside_nulls_that_are_not() {
    let rows: &[(&[&str], i64)] = &[(&["10"], 1), (&["11"], 1), (&["20"], 4), (&["NULL"], 1), (&["50"], 1)];
    check_rows("SELECT x.v FROM l x JOIN l y ON x.v IS NOT DISTINCT FROM y.v WHERE x.k = y.k", rows);
    check_rows("SELECT x.v FROM l x, l y WHERE x.v IS NOT DISTINCT FROM y.v AND x.k = y.k", rows);
}

/// DataFusion takes unknown for false here.
#[test]
fn in_within_larger_conditions() {
    // `r` has a NULL: of what it lacks nothing is known.
    check_rows("SELECT v FROM l WHERE v = 50 OR k NOT IN (SELECT k FROM r)", &[(&["50"], 1)]);
    check_rows(
        "SELECT v FROM l WHERE v = 50 OR NOT (v > 10 AND k IN (SELECT k FROM r))",
        &[(&["10"], 1), (&["50"], 1)],
    );
    // `n` has none; of l's NULL nothing is known.
    check_rows(
        "SELECT v FROM l WHERE v = 10 OR k NOT IN (SELECT a FROM n)",
        &[(&["10"], 1), (&["NULL"], 1), (&["50"], 1)],
    );
    check_rows("SELECT v FROM l WHERE v = 10 OR (k IN (SELECT a FROM n)) IS UNKNOWN", &[(&["10"], 1), (&["40"], 1)]);
    check_rows(
        "SELECT v FROM l WHERE v = 10 OR k NOT IN (SELECT c FROM e)",
        &[(&["10"], 1), (&["11"], 1), (&["20"], 2), (&["NULL"], 1), (&["40"], 1), (&["50"], 1)],
    );
    check("SELECT v FROM l WHERE v = 10 OR k IN (SELECT k FROM r)");
}

#[test]
fn explained() {
    let mut engine = engine(1);
    let mut explain = |query: &str| match engine.execute(&format!("EXPLAIN {query}")).unwrap() {
        Answer::Rows { rows, .. } => rows.concat().join("\n"),
        other => panic!("{other:?}"),
    };
    let text = explain("SELECT v, w FROM l JOIN r ON l.k = r.k");
    assert!(text.contains("INNER, on=[l.k = r.k]") && text.contains("grows with rows of both inputs"), "{text}");
    let text = explain("SELECT v FROM l WHERE k IN (SELECT k FROM r)");
    assert!(text.contains("right: one count per distinct (k)"), "{text}");
}
