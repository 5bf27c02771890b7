//! Changing data at the edges: sources that change, sinks that take changes or refuse them.

use std::collections::BTreeMap;
use std::sync::Arc;

use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream::change::{ChangeBatch, RowKind};
use millstream::engine::{Job, JobEnd, Results};
use millstream::{Engine, Error, Result};

type Row = (i64, Option<&'static str>, RowKind);

fn changes(rows: &[Row]) -> ChangeBatch {
    let k: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
    let v: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<StringArray>());
    let rows_only = RecordBatch::try_from_iter_with_nullable([("k", k, false), ("v", v, true)]).unwrap();
    ChangeBatch { rows: rows_only, kinds: Some(rows.iter().map(|r| r.2).collect()), watermarks: None }
}

fn engine(workers: usize) -> Engine {
    let mut engine = Engine::new().unwrap();
    engine.set("parallelism.default", &workers.to_string()).unwrap();
    engine
}

/// The lines of a query's result, and how the job ended.
fn collect(engine: &Engine, job: &Job, results: &mut Results) -> (Vec<String>, Result<JobEnd>) {
    let mut shown = Vec::new();
    while let Some(batch) = results.blocking_next() {
        shown.extend(millstream::engine::lines(&batch).unwrap().lines().map(str::to_string));
    }
    (shown, engine.block_on(job.wait()))
}

fn run(engine: &mut Engine, query: &str, batches: Vec<ChangeBatch>) -> (Vec<String>, Result<JobEnd>) {
    let input = engine.input("t").unwrap();
    let (job, mut results) = engine.query(query).unwrap();
    for batch in batches {
        if input.blocking_push_changes(batch).is_err() {
            break;
        }
    }
    drop(input);
    collect(engine, &job, &mut results)
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

#[test]
fn keyed_rows_become_whole_changes() {
    for workers in [1, 3] {
        let mut engine = engine(workers);
        engine
            .execute(
                "CREATE TABLE t (k BIGINT, v STRING, n AS k + 1, PRIMARY KEY (k) NOT ENFORCED) \
                      WITH ('connector' = 'channel', 'changelog.mode' = 'upsert')",
            )
            .unwrap();
        let batches = vec![
            changes(&[(1, Some("a"), Insert), (2, Some("b"), UpdateAfter), (1, Some("c"), UpdateAfter)]),
            changes(&[(2, None, Delete), (3, Some("d"), Insert), (9, None, Delete)]),
        ];
        let (lines, end) = run(&mut engine, "SELECT v, n FROM t WHERE k < 3", batches);
        assert_eq!(end.unwrap(), JobEnd::Finished);
        assert_eq!(folded(&lines), ["[c, 2]"], "{lines:?}");
    }
}

#[test]
fn whole_changes_pass_through() {
    let mut engine = engine(1);
    engine
        .execute(
            "CREATE TABLE t (k BIGINT NOT NULL, v STRING) \
                  WITH ('connector' = 'channel', 'changelog.mode' = 'retract')",
        )
        .unwrap();
    let batches = vec![
        changes(&[(1, Some("a"), Insert), (1, Some("a"), Insert)]),
        changes(&[(1, Some("a"), UpdateBefore), (1, Some("b"), UpdateAfter)]),
        changes(&[(1, Some("a"), Delete)]),
    ];
    let (lines, end) = run(&mut engine, "SELECT v FROM t", batches);
    assert_eq!(end.unwrap(), JobEnd::Finished);
    assert_eq!(folded(&lines), ["[b]"], "{lines:?}");
}

#[test]
fn a_table_of_new_rows_takes_no_changes() {
    let mut engine = engine(1);
    engine.execute("CREATE TABLE t (k BIGINT NOT NULL, v STRING) WITH ('connector' = 'channel')").unwrap();
    let input = engine.input("t").unwrap();
    let refused = input.blocking_push_changes(changes(&[(1, None, Delete)])).unwrap_err();
    assert!(matches!(&refused, Error::Execution(m) if m.contains("changelog.mode")), "{refused}");
}

#[test]
fn a_keyed_table_needs_its_key() {
    let mut engine = engine(1);
    engine
        .execute("CREATE TABLE t (k BIGINT NOT NULL) WITH ('connector' = 'channel', 'changelog.mode' = 'upsert')")
        .unwrap();
    let refused = engine.query("SELECT k FROM t").unwrap_err();
    assert!(refused.to_string().contains("PRIMARY KEY"), "{refused}");
}

#[test]
fn explain_says_how_sources_change() {
    let mut engine = engine(1);
    let text = engine
        .explain(
            "CREATE TABLE t (k BIGINT, v STRING, w STRING, PRIMARY KEY (k) NOT ENFORCED)
             WITH ('connector' = 'channel', 'changelog.mode' = 'upsert');
             SELECT v FROM t;",
        )
        .unwrap();
    assert!(text.contains("ChangelogNormalize: key=[k]"), "{text}");
    assert!(text.contains("one row per distinct (k)"), "{text}");
    assert!(text.contains("columns=[k, v]"), "{text}");
    assert!(text.contains("changelog: retract"), "{text}");
    assert!(text.contains("changelog: upsert by (k)"), "{text}");
}
