//! Top-N, deduplication, ORDER BY and LIMIT, from SQL text to changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::util::display::array_value_to_string;
use millstream::change::{ChangeBatch, RowKind};
use millstream::connector::builtin;
use millstream::connector::channel::Channels;
use millstream::engine::Answer;
use millstream::plan::{CompileOptions, Query, compile};
use millstream::runtime::{Circuit, Executor, SourceState, StepInput};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use millstream::table::project;
use millstream::{Engine, Error, Result};

const TABLE: &str = "CREATE TABLE t (k STRING, v BIGINT, ts TIMESTAMP(3), p AS PROCTIME(), \
                     WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ('connector' = 'channel')";

/// A row of the table: key, value, rowtime in seconds.
type Row = (&'static str, i64, i64);

fn batch(rows: &[Row]) -> RecordBatch {
    let k: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0)));
    let v: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1)));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.2 * 1000)));
    RecordBatch::try_from_iter_with_nullable([("k", k, true), ("v", v, true), ("ts", ts, true)]).unwrap()
}

fn circuit(query: &str, ttl: Option<i64>) -> Result<Circuit> {
    circuit_over(TABLE, query, ttl)
}

fn circuit_over(table: &str, query: &str, ttl: Option<i64>) -> Result<Circuit> {
    let mut connectors = builtin(Arc::new(millstream::change::SystemClock));
    connectors.register(Arc::new(Channels::default()));
    let mut session = Session::new(connectors);
    let mut planned = None;
    for statement in parse_script(&format!("{table};\n{query};")).unwrap() {
        if let Outcome::Query(query) = session.execute(&statement)? {
            planned = Some(Query { plan: query.plan, target: None, state_ttls: Default::default() });
        }
    }
    compile(vec![planned.unwrap()], CompileOptions { state_ttl: ttl, ..CompileOptions::default() })
}

fn shown(batches: &[ChangeBatch]) -> Vec<String> {
    let row = |b: &ChangeBatch, i: usize| {
        let values =
            b.rows.columns().iter().map(|c| array_value_to_string(c, i).unwrap().replace("1970-01-01T00:00:", ""));
        format!("{} {}", b.kind(i), values.collect::<Vec<_>>().join(" "))
    };
    batches.iter().flat_map(|b| (0..b.num_rows()).map(move |i| row(b, i))).collect()
}

/// What comes out in each step, and at the end of the input.
fn run_with(query: &str, steps: &[&[Row]], workers: usize, ttl: Option<i64>, restore: bool) -> Vec<Vec<String>> {
    let circuit = Arc::new(circuit(query, ttl).unwrap());
    let mut executor = Executor::try_new(Arc::clone(&circuit), workers).unwrap();
    let mut all = Vec::new();
    for (n, rows) in steps.iter().map(Some).chain([None]).enumerate() {
        let projected = rows.map(|r| project(&batch(r), &circuit.sources[0].projection).unwrap());
        let input = StepInput {
            batches: vec![projected.into_iter().map(ChangeBatch::append).collect()],
            sources: vec![if rows.is_some() { SourceState::Active } else { SourceState::Ended }],
            processing_time: n as i64 * 100,
            ..StepInput::default()
        };
        let mut output = executor.step(input).unwrap();
        let mut lines = shown(&output.sinks.remove(0));
        if workers > 1 {
            lines.sort();
        }
        all.push(lines);
        if restore {
            let snapshot = executor.snapshot().unwrap();
            executor = Executor::try_new(Arc::clone(&circuit), workers).unwrap();
            executor.restore(snapshot).unwrap();
        }
    }
    all
}

/// As [`run_with`] on one worker; the same must come on three, and where the state is handed over after every step.
fn run(query: &str, steps: &[&[Row]]) -> Vec<Vec<String>> {
    let plain = run_with(query, steps, 1, None, false);
    assert_eq!(run_with(query, steps, 1, None, true), plain, "restored");
    let sorted = |all: &[Vec<String>]| {
        let mut all = all.to_vec();
        all.iter_mut().for_each(|lines| lines.sort());
        all
    };
    assert_eq!(run_with(query, steps, 3, None, true), sorted(&plain), "three workers");
    plain
}

fn ranked(columns: &str, over: &str, condition: &str) -> String {
    format!("SELECT {columns} FROM (SELECT *, ROW_NUMBER() OVER ({over}) AS rn FROM t) WHERE {condition}")
}

#[test]
fn top_n_without_the_rank() {
    let query = ranked("k, v", "PARTITION BY k ORDER BY v DESC", "rn <= 2");
    let steps: &[&[Row]] = &[
        &[("a", 1, 0), ("b", 5, 0), ("a", 2, 0)],
        &[("a", 3, 0), ("b", 4, 0), ("a", 0, 0)],
        &[("a", 9, 0), ("a", 8, 0)],
    ];
    let out = run(&query, steps);
    assert_eq!(out[0], ["+I a 2", "+I a 1", "+I b 5"]);
    assert_eq!(out[1], ["-D a 1", "+I a 3", "+I b 4"]);
    assert_eq!(out[2], ["-D a 3", "-D a 2", "+I a 9", "+I a 8"]);
    assert!(out[3].is_empty());
}

#[test]
fn top_n_with_the_rank() {
    let query = ranked("k, v, rn", "PARTITION BY k ORDER BY v DESC", "rn < 4 AND v > 1");
    let steps: &[&[Row]] = &[&[("a", 2, 0), ("a", 4, 0)], &[("a", 3, 0)], &[("a", 5, 0)]];
    let out = run(&query, steps);
    assert_eq!(out[0], ["+I a 4 1", "+I a 2 2"]);
    assert_eq!(out[1], ["-U a 2 2", "+U a 3 2", "+I a 2 3"]);
    assert_eq!(out[2], ["-U a 4 1", "+U a 5 1", "-U a 3 2", "+U a 4 2", "-U a 2 3", "+U a 3 3"]);
}

#[test]
fn one_row_of_each_partition_is_updated() {
    let steps: &[&[Row]] = &[&[("a", 2, 0), ("a", 4, 0), ("b", 1, 0)], &[("a", 3, 0), ("b", 2, 0)]];
    let expected: &[&[&str]] = &[&["+I a 4", "+I b 1"], &["-U b 1", "+U b 2"], &[]];
    for condition in ["rn = 1", "rn <= 1", "1 >= rn", "rn BETWEEN 0 AND 1", "rn < 2", "rn <= 3 AND rn = 1"] {
        assert_eq!(run(&ranked("k, v", "PARTITION BY k ORDER BY v DESC", condition), steps), expected, "{condition}");
    }
    let with_rank = run(&ranked("k, v, rn", "PARTITION BY k ORDER BY v DESC", "rn = 1"), steps);
    assert_eq!(with_rank, [vec!["+I a 4 1", "+I b 1 1"], vec!["-U b 1 1", "+U b 2 1"], vec![]]);
}

#[test]
fn an_offset() {
    let query = ranked("k, v, rn", "PARTITION BY k ORDER BY v", "rn BETWEEN 2 AND 3");
    let out = run(&query, &[&[("a", 5, 0)], &[("a", 6, 0), ("a", 7, 0)], &[("a", 4, 0)]]);
    assert_eq!(
        out,
        [vec![], vec!["+I a 6 2", "+I a 7 3"], vec!["-U a 6 2", "+U a 5 2", "-U a 7 3", "+U a 6 3"], vec![]]
    );
    assert_eq!(run(&ranked("k", "ORDER BY v", "rn < 1"), &[&[("a", 1, 0)]]), [vec![""; 0], vec![]]);
}

#[test]
fn ties_stand_in_the_order_of_arrival() {
    let query = ranked("k, v, ts, rn", "PARTITION BY k ORDER BY v", "rn <= 2");
    let out = run(&query, &[&[("a", 1, 3)], &[("a", 1, 1), ("a", 1, 2)]]);
    assert_eq!(out, [vec!["+I a 1 03 1"], vec!["+I a 1 01 2"], vec![]]);
}

#[test]
fn a_top_n_over_a_top_n() {
    // The two greatest of each key, and of those the least three.
    let inner = ranked("k, v", "PARTITION BY k ORDER BY v DESC", "rn <= 2");
    let query =
        format!("SELECT k, v, rn FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY v) AS rn FROM ({inner})) WHERE rn <= 3");
    let out = run(&query, &[&[("a", 1, 0), ("a", 2, 0), ("b", 7, 0)], &[("a", 3, 0)], &[("b", 8, 0), ("a", 10, 0)]]);
    assert_eq!(out[0], ["+I a 1 1", "+I a 2 2", "+I b 7 3"]);
    assert_eq!(out[1], ["-U a 1 1", "+U a 2 1", "-U a 2 2", "+U a 3 2"]);
    assert_eq!(out[2], ["-U a 2 1", "+U a 3 1", "-U a 3 2", "+U b 7 2", "-U b 7 3", "+U b 8 3"]);
}

#[test]
fn expressions_divide_and_order() {
    let query = ranked("k, v", "PARTITION BY v > 10, UPPER(k) ORDER BY MOD(v, 10), k", "rn = 1");
    let out = run(&query, &[&[("a", 5, 0), ("A", 4, 0), ("a", 14, 0)], &[("A", 11, 0), ("a", 4, 0)]]);
    assert_eq!(out, [vec!["+I A 4", "+I a 14"], vec!["-U a 14", "+U A 11"], vec![]]);
}

#[test]
fn the_first_row_by_rowtime_waits_for_the_watermark() {
    // As Flink 2.3 answers.
    let rows: &[Row] = &[
        ("a", 1, 10),
        ("a", 2, 12),
        ("a", 3, 12),
        ("b", 4, 9),
        ("a", 5, 5),
        ("c", 6, 7),
        ("d", 7, 8),
        ("a", 8, 20),
        ("e", 9, 15),
        ("e", 10, 16),
        ("f", 11, 17),
        ("f", 12, 16),
        ("f", 13, 14),
    ];
    let query = ranked("k, v", "PARTITION BY k ORDER BY ts", "rn = 1");
    let expected = ["+I d 7", "+I b 4", "+I a 1", "+I e 10", "+I f 12"];
    let mut at_once = run(&query, &[rows]).concat();
    at_once.sort_by_key(|line| expected.iter().position(|e| e == line));
    assert_eq!(at_once, expected);
    let apart: Vec<&[Row]> = rows.chunks(1).collect();
    let out = run(&query, &apart);
    assert_eq!(out.concat(), expected);
    // One at the watermark is not late, and goes out at once.
    assert_eq!(out[6], expected[..1]);
    assert_eq!(out[7], expected[1..3]);
    let last = ranked("k, v", "PARTITION BY k ORDER BY ts DESC", "rn = 1");
    let expected = ["+I a 8", "+I b 4", "+I c 6", "+I d 7", "+I e 10", "+I f 11"];
    assert_eq!(run(&last, &[rows]).concat(), expected);
    let out = run(&last, &apart).concat();
    assert_eq!(out[..6], ["+I a 1", "-U a 1", "+U a 2", "-U a 2", "+U a 3", "+I b 4"]);
}

#[test]
fn deduplication_by_arrival() {
    let steps: &[&[Row]] = &[&[("a", 1, 0), ("a", 2, 0), ("b", 3, 0)], &[("a", 4, 0), ("c", 5, 0)]];
    let first = run(&ranked("k, v", "PARTITION BY k ORDER BY p", "rn = 1"), steps);
    assert_eq!(first, [vec!["+I a 1", "+I b 3"], vec!["+I c 5"], vec![]]);
    let last = run(&ranked("k, v", "PARTITION BY k ORDER BY p DESC", "rn = 1"), steps);
    assert_eq!(last, [vec!["+I a 2", "+I b 3"], vec!["-U a 2", "+U a 4", "+I c 5"], vec![]]);
}

#[test]
fn order_by_with_a_limit() {
    let steps: &[&[Row]] = &[&[("a", 1, 0), ("b", 2, 0), ("c", 3, 0)], &[("d", 4, 0)]];
    let out = run("SELECT k FROM t ORDER BY v DESC LIMIT 2", steps);
    assert_eq!(out, [vec!["+I c", "+I b"], vec!["-D b", "+I d"], vec![]]);
    let out = run("SELECT k, v + 1 FROM t ORDER BY v DESC LIMIT 1 OFFSET 1", steps);
    assert_eq!(out, [vec!["+I b 3"], vec!["-U b 3", "+U c 4"], vec![]]);
    let out = run("SELECT k FROM (SELECT k, v FROM t ORDER BY v DESC LIMIT 2) ORDER BY v LIMIT 1", steps);
    assert_eq!(out, [vec!["+I b"], vec!["-U b", "+U c"], vec![]]);
}

#[test]
fn a_limit_by_itself() {
    let steps: &[&[Row]] = &[&[("a", 1, 0), ("b", 2, 0)], &[("c", 3, 0), ("d", 4, 0)]];
    assert_eq!(run("SELECT k FROM t LIMIT 3", steps), [vec!["+I a", "+I b"], vec!["+I c"], vec![]]);
    assert_eq!(run("SELECT k FROM t LIMIT 2 OFFSET 1", steps), [vec!["+I b"], vec!["+I c"], vec![]]);
    let out = run("SELECT k FROM (SELECT k FROM t ORDER BY v DESC LIMIT 1) LIMIT 5", steps);
    assert_eq!(out, [vec!["+I b"], vec!["-U b", "+U d"], vec![]]);
}

#[test]
fn order_by_rowtime_emits_on_the_watermark() {
    // As Flink 2.3 answers: what is late is what comes behind a row that has gone out.
    let rows: &[Row] =
        &[("a", 1, 10), ("a", 2, 12), ("a", 3, 12), ("b", 4, 9), ("a", 5, 5), ("a", 8, 20), ("e", 9, 15)];
    let late: &[Row] = &[("g", 10, 11), ("g", 11, 13)];
    let expected = ["+I a 5", "+I b 4", "+I a 1", "+I a 2", "+I a 3", "+I g 11", "+I e 9", "+I a 8"];
    let query = "SELECT k, v FROM t ORDER BY ts";
    assert_eq!(run(query, &[&[rows, late].concat()]).concat(), expected);
    let all = [rows, late].concat();
    let out = run(query, &all.chunks(1).collect::<Vec<_>>());
    assert_eq!(out.concat(), expected);
    assert_eq!(out[5], expected[..5]);
    assert_eq!(run("SELECT v FROM t ORDER BY ts, v DESC", &[rows]).concat()[2..4], ["+I 1", "+I 3"]);
}

#[test]
fn state_that_is_not_touched_expires() {
    let steps: &[&[Row]] = &[&[("a", 5, 0)], &[("b", 1, 0)], &[("a", 3, 0), ("b", 2, 0)]];
    let query = ranked("k, v", "PARTITION BY k ORDER BY v DESC", "rn = 1");
    let out = run_with(&query, steps, 1, Some(150), true);
    assert_eq!(out, [vec!["+I a 5"], vec!["+I b 1"], vec!["+I a 3", "-U b 1", "+U b 2"], vec![]]);
    let query = ranked("k, v", "PARTITION BY k ORDER BY p", "rn = 1");
    let out = run_with(&query, steps, 1, Some(150), true);
    assert_eq!(out, [vec!["+I a 5"], vec!["+I b 1"], vec!["+I a 3"], vec![]]);
}

#[test]
fn what_cannot_be_planned_is_refused_by_name() {
    let refused = |query: &str| match circuit(query, None) {
        Err(Error::Unsupported(message)) => message,
        other => panic!("{query}: {other:?}"),
    };
    assert!(refused("SELECT k FROM t ORDER BY v").contains("add a LIMIT, or read a bounded source"));
    assert!(refused("SELECT k FROM t ORDER BY ts DESC").starts_with("ORDER BY"));
}

fn explained(query: &str) -> String {
    millstream::plan::explain(&circuit(query, None).unwrap())
}

#[test]
fn explain_tells_keys_and_bounds() {
    let text = explained(&ranked("k, v, rn", "PARTITION BY k ORDER BY v DESC", "rn <= 3"));
    assert!(text.contains("TopN: rows=1..3, partition=[k], order=[v DESC]"), "{text}");
    assert!(text.contains("upsert by (k, rn)") && text.contains("state: at most 3 rows per distinct (k)"), "{text}");
    let text = explained(&ranked("k, v", "PARTITION BY k ORDER BY ts", "rn = 1"));
    assert!(text.contains("Deduplicate: keep=first, partition=[k], order=[ts ASC]"), "{text}");
    assert!(text.contains("changelog: append; time attributes: ts; state: one row per distinct (k)"), "{text}");
}

#[test]
fn a_row_that_changes_its_partition_is_updated() {
    const KEYED: &str = "CREATE TABLE t (id BIGINT, k STRING, PRIMARY KEY (id) NOT ENFORCED) \
                         WITH ('connector' = 'channel', 'changelog.mode' = 'upsert')";
    let rows = |k: &'static str| {
        let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..8));
        let k: ArrayRef = Arc::new(StringArray::from_iter_values([k; 8]));
        ChangeBatch::append(RecordBatch::try_from_iter_with_nullable([("id", id, false), ("k", k, true)]).unwrap())
    };
    let top = ranked("id, k", "PARTITION BY k ORDER BY id", "rn <= 10");
    for query in [top.as_str(), "SELECT id, k, SUM(id) OVER (PARTITION BY k) FROM t"] {
        for workers in [1, 3] {
            let circuit = Arc::new(circuit_over(KEYED, query, None).unwrap());
            let mut executor = Executor::try_new(circuit, workers).unwrap();
            for (k, count, kinds) in [("a", 8, "+I +I"), ("b", 16, "-U +U"), ("c", 16, "-U +U"), ("a", 16, "-U +U")] {
                let sources = vec![SourceState::Active];
                let input = StepInput { batches: vec![vec![rows(k)]], sources, ..StepInput::default() };
                let lines = shown(&executor.step(input).unwrap().sinks.remove(0));
                assert_eq!(lines.len(), count, "{query}");
                for pair in lines.chunks(2) {
                    assert_eq!(format!("{} {}", &pair[0][..2], &pair[1][..2]), kinds, "{query}: {lines:?}");
                    let is_one_update = pair[0][3..5] == pair[1][3..5];
                    assert!(kinds == "+I +I" || is_one_update, "{query}: {lines:?}");
                }
            }
        }
    }
}

#[test]
fn bounded_input_is_sorted_at_its_end() {
    let mut engine = Engine::new().unwrap();
    let query = "SELECT a FROM (VALUES (3, 'x'), (1, 'y'), (2, 'z'), (1, 'a')) AS v(a, b) ORDER BY a DESC, b";
    let Answer::Started(job, Some(mut results)) = engine.execute(query).unwrap() else { panic!("no results") };
    let mut batches = Vec::new();
    while let Some(batch) = results.blocking_next() {
        batches.push(batch);
    }
    engine.block_on(job.wait()).unwrap();
    assert_eq!(shown(&batches), ["+I 3", "+I 2", "+I 1", "+I 1"]);
    assert!(batches.iter().all(|b| (0..b.num_rows()).all(|i| b.kind(i) == RowKind::Insert)));
}

#[test]
fn a_top_n_of_windows_goes_out_when_they_close() {
    let over = "SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY v DESC) AS rn \
                FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))";
    let steps: &[&[Row]] =
        &[&[("a", 1, 1), ("a", 5, 2), ("b", 7, 3), ("a", 3, 3)], &[("a", 9, 12)], &[("a", 2, 14), ("a", 100, 5)], &[]];
    let out = run(&format!("SELECT k, v, rn FROM ({over}) WHERE rn <= 2"), steps);
    assert_eq!(out[2], ["+I a 5 1", "+I a 3 2", "+I b 7 1"]);
    assert_eq!(out[4], ["+I a 9 1", "+I a 2 2"]);
    assert!(out[0].is_empty() && out[1].is_empty() && out[3].is_empty());
    let out = run(&format!("SELECT v, window_end FROM ({over}) WHERE rn = 2"), steps);
    assert_eq!(out[2], ["+I 3 10"]);
    // As a window's result it can be windowed again.
    let again = format!(
        "SELECT SUM(v), window_end FROM (SELECT v, window_start, window_end FROM ({over}) WHERE rn = 1) \
         GROUP BY window_start, window_end"
    );
    assert_eq!(run(&again, steps).concat(), ["+I 12 10", "+I 9 20"]);
    let text = explained(&format!("SELECT k, v FROM ({over}) WHERE rn <= 2"));
    let bound = "state: at most 2 rows per distinct (window_start, window_end, k) of open windows";
    assert!(text.contains("TopN: rows=1..2") && text.contains(bound), "{text}");
}
