//! Changing data at the edges: sources that change, sinks that take changes or refuse them.

use std::collections::BTreeMap;
use std::sync::Arc;

use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use millstream::change::{ChangeBatch, RowKind};
use millstream::connector::{Connector, OptionSpec, Options, Sink, SinkChangelog, Source, TableDescriptor};
use millstream::engine::{Answer, Job, JobEnd, Progress, Results};
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

/// A connector that notes what is written to it, by key.
#[derive(Debug, Clone, Default)]
struct Keyed(Arc<std::sync::Mutex<Vec<String>>>);

#[async_trait::async_trait]
impl Sink for Keyed {
    async fn write(&mut self, changes: ChangeBatch) -> Result<()> {
        self.0.lock().unwrap().extend(millstream::engine::lines(&changes)?.lines().map(str::to_string));
        Ok(())
    }
}

impl Connector for Keyed {
    fn name(&self) -> &'static str {
        "keyed"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn accepts(&self, _table: &TableDescriptor) -> Result<SinkChangelog> {
        Ok(SinkChangelog::Upsert)
    }

    fn source(&self, _table: &TableDescriptor, _projection: SchemaRef) -> Result<Box<dyn Source>> {
        Err(Error::Option("only written".into()))
    }

    fn sink(&self, _table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

const UPSERT: &str = "CREATE TABLE t (k BIGINT, v STRING, PRIMARY KEY (k) NOT ENFORCED) \
                      WITH ('connector' = 'channel', 'changelog.mode' = 'upsert')";
const RETRACT: &str =
    "CREATE TABLE t (k BIGINT NOT NULL, v STRING) WITH ('connector' = 'channel', 'changelog.mode' = 'retract')";

#[test]
fn a_keyed_sink_is_given_no_old_rows() {
    for workers in [1, 3] {
        let mut engine = engine(workers);
        let keyed = Keyed::default();
        engine.register_connector(Arc::new(keyed.clone()));
        engine.execute(UPSERT).unwrap();
        engine
            .execute("CREATE TABLE s (v STRING, k BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'keyed')")
            .unwrap();
        let input = engine.input("t").unwrap();
        let Answer::Started(job, None) = engine.execute("INSERT INTO s SELECT v, k FROM t").unwrap() else {
            panic!("no job")
        };
        for rows in [[(1, Some("a"), Insert), (2, Some("b"), Insert)], [(1, Some("c"), Insert), (2, None, Delete)]] {
            input.blocking_push_changes(changes(&rows)).unwrap();
        }
        drop(input);
        assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
        let written = keyed.0.lock().unwrap().clone();
        let mut table = BTreeMap::new();
        for line in &written {
            let (value, key) = line[3..line.len() - 1].split_once(", ").unwrap();
            match &line[..2] {
                "+I" | "+U" => drop(table.insert(key, value)),
                "-D" => assert_eq!(table.remove(key), Some(value)),
                other => panic!("{other} in {written:?}"),
            }
        }
        assert_eq!(table.into_iter().collect::<Vec<_>>(), [("1", "c")]);
    }
}

#[test]
fn a_table_of_whole_changes_is_given_net_changes_by_its_key() {
    let explain = |key: &str| {
        let text = format!(
            "{UPSERT};
             CREATE TABLE s (k BIGINT, v STRING, rn BIGINT, PRIMARY KEY ({key}) NOT ENFORCED) WITH ('connector' = 'channel');
             INSERT INTO s SELECT k, v, rn FROM (
                 SELECT *, ROW_NUMBER() OVER (PARTITION BY v ORDER BY k) AS rn FROM t) WHERE rn <= 3;"
        );
        engine(1).explain(&text).unwrap()
    };
    for key in ["v, rn", "k"] {
        let text = explain(key);
        let behind = text.split_once("NetChanges").expect("net changes").1;
        let exchange = behind.lines().find(|l| l.contains("Exchange")).unwrap();
        assert!(exchange.ends_with(&format!("hash=[{key}]")), "{text}");
    }
}

#[test]
fn a_keyed_sink_needs_rows_that_are_unique_by_its_key() {
    let mut engine = engine(1);
    engine.register_connector(Arc::new(Keyed::default()));
    engine.execute(UPSERT).unwrap();
    engine.execute("CREATE TABLE bare (v STRING) WITH ('connector' = 'keyed')").unwrap();
    engine
        .execute("CREATE TABLE s (v STRING, n BIGINT, PRIMARY KEY (v) NOT ENFORCED) WITH ('connector' = 'keyed')")
        .unwrap();
    let refused = engine.check("INSERT INTO bare SELECT v FROM t").unwrap_err().to_string();
    assert!(refused.contains("declare a PRIMARY KEY"), "{refused}");
    let refused = engine.check("INSERT INTO s SELECT v, k FROM t").unwrap_err().to_string();
    assert!(refused.contains("line 1, column 13") && refused.contains("PRIMARY KEY (v)"), "{refused}");
}

#[test]
fn a_sink_of_new_rows_refuses_what_changes() {
    let mut engine = engine(1);
    engine.execute(RETRACT).unwrap();
    engine
        .execute("CREATE TABLE s (v STRING) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '/nowhere')")
        .unwrap();
    let refused = engine.check("INSERT INTO s SELECT v FROM t WHERE k > 1").unwrap_err().to_string();
    for part in ["line 1, column 13", "'s' (filesystem, json)", "only new rows", "table 't'", "debezium-json"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    engine.execute("CREATE TABLE n (k BIGINT, v STRING) WITH ('connector' = 'channel')").unwrap();
    let refused = engine.check("INSERT INTO s SELECT MAX(v) FROM n GROUP BY k").unwrap_err().to_string();
    assert!(refused.contains("GroupAggregate: keys=[k]") && refused.contains("windows"), "{refused}");
    let text = engine.explain("INSERT INTO s SELECT v FROM (VALUES ('a')) AS x (v)").unwrap();
    assert!(text.contains("Sink(s): takes=append"), "{text}");
}

#[test]
fn what_comes_and_goes_within_a_step_is_not_seen() {
    let mut engine = engine(1);
    engine.execute(RETRACT).unwrap();
    let batch = changes(&[
        (1, Some("a"), Insert),
        (1, Some("a"), UpdateBefore),
        (1, Some("b"), UpdateAfter),
        (2, Some("c"), Insert),
        (2, Some("c"), Delete),
    ]);
    let (lines, end) = run(&mut engine, "SELECT * FROM t", vec![batch]);
    assert_eq!(end.unwrap(), JobEnd::Finished);
    assert_eq!(lines, ["+U[1, b]"]);
    let text = engine.explain("SELECT * FROM t").unwrap();
    assert!(text.contains("NetChanges"), "{text}");
}

fn file_table(name: &str, directory: &std::path::Path, key: &str) -> String {
    let path = directory.display();
    format!(
        "CREATE TABLE {name} (id BIGINT NOT NULL, name STRING{key}) \
         WITH ('connector' = 'filesystem', 'format' = 'debezium-json', 'path' = '{path}')"
    )
}

/// Runs a script that ends in one query, and gives the lines of its result.
fn script(engine: &mut Engine, text: &str) -> Vec<String> {
    let mut shown = Vec::new();
    let job = engine
        .run(text, |engine, progress| {
            if let Progress::Query(job, mut results) = progress {
                let (lines, end) = collect(engine, &job, &mut results);
                end?;
                shown = lines;
            }
            Ok(())
        })
        .unwrap();
    if let Some(job) = job {
        assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
    }
    shown
}

#[test]
fn debezium_files_are_read_and_written() {
    for workers in [1, 2] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let lines = [
            r#"{"before":null,"after":{"id":1,"name":"a"},"op":"r"}"#,
            r#"{"before":null,"after":{"id":2,"name":"b"},"op":"c"}"#,
            r#"{"before":{"id":1,"name":"a"},"after":{"id":1,"name":"c"},"op":"u"}"#,
            r#"{"before":{"id":2,"name":"b"},"after":null,"op":"d"}"#,
        ];
        std::fs::write(from.path().join("in.json"), lines.join("\n")).unwrap();
        let mut engine = engine(workers);
        engine.execute(&file_table("t", from.path(), "")).unwrap();
        engine.execute(&file_table("s", to.path(), "")).unwrap();
        assert_eq!(folded(&script(&mut engine, "SELECT * FROM t")), ["[1, c]"]);
        script(&mut engine, "INSERT INTO s SELECT id, UPPER(name) FROM t");
        assert_eq!(folded(&script(&mut engine, "SELECT * FROM s")), ["[1, C]"]);
    }
}

#[test]
fn missing_old_rows_are_known_by_the_key() {
    let from = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"before":null,"after":{"id":1,"name":"a"},"op":"c"}"#,
        r#"{"before":null,"after":{"id":1,"name":"b"},"op":"u"}"#,
        r#"{"before":null,"after":{"id":2,"name":"x"},"op":"c"}"#,
        r#"{"before":{"id":2},"after":null,"op":"d"}"#,
    ];
    std::fs::write(from.path().join("in.json"), lines.join("\n")).unwrap();
    let mut engine = engine(1);
    engine.execute(&file_table("t", from.path(), ", PRIMARY KEY (id) NOT ENFORCED")).unwrap();
    engine.execute(&file_table("u", from.path(), "")).unwrap();
    assert_eq!(folded(&script(&mut engine, "SELECT name FROM t")), ["[b]"]);
    let (job, mut results) = engine.query("SELECT name FROM u").unwrap();
    let (_, end) = collect(&engine, &job, &mut results);
    let told = end.unwrap_err().to_string();
    assert!(told.contains("in.json line 2") && told.contains("PRIMARY KEY"), "{told}");
}

#[test]
fn changes_that_come_twice_are_known_by_the_key() {
    let twice = [changes(&[(1, Some("a"), Insert)]), changes(&[(1, Some("a"), Insert), (1, Some("b"), Insert)])];
    for (duplicates, expected) in [("true", vec!["[b]"]), ("false", vec!["[a]", "[a]", "[b]"])] {
        let mut engine = engine(1);
        engine.set("table.exec.source.cdc-events-duplicate", duplicates).unwrap();
        engine
            .execute(
                "CREATE TABLE t (k BIGINT, v STRING, PRIMARY KEY (k) NOT ENFORCED) \
                      WITH ('connector' = 'channel', 'changelog.mode' = 'retract')",
            )
            .unwrap();
        let (lines, end) = run(&mut engine, "SELECT v FROM t", twice.to_vec());
        assert_eq!(end.unwrap(), JobEnd::Finished);
        assert_eq!(folded(&lines), expected, "{lines:?}");
    }
}

#[test]
fn hints_name_what_is_there() {
    let mut engine = engine(1);
    engine.execute("CREATE TABLE t (k BIGINT) WITH ('connector' = 'channel')").unwrap();
    engine.check("SELECT /*+ STATE_TTL('x' = '1 d') */ k FROM t AS x").unwrap();
    for (wrong, why) in [
        ("SELECT /*+ STATE_TTL('t' = '1 d') */ k FROM t AS x", "did you mean 'x'"),
        ("SELECT k FROM (SELECT /*+ STATE_TTL('y' = '1 d') */ k FROM t)", "'y'"),
        ("SELECT /*+ STATE_TTL('t' = 'soon') */ k FROM t", "'soon'"),
        ("SELECT /*+ STATE_TTL(t) */ k FROM t", "is written"),
        ("SELECT /*+ STATE_TTL('t' = '1d') */ k FROM t UNION ALL SELECT /*+ STATE_TTL('t' = '2d') */ k FROM t", "two"),
    ] {
        let told = engine.check(wrong).unwrap_err().to_string();
        assert!(told.contains("line 1, column") && told.contains("STATE_TTL") && told.contains(why), "{told}");
    }
}

#[test]
fn state_ttls_are_shown() {
    let mut engine = engine(1);
    engine.execute("CREATE TABLE t (k BIGINT) WITH ('connector' = 'channel')").unwrap();
    let query = "SELECT k, COUNT(*) FROM t GROUP BY k";
    assert!(!engine.explain(query).unwrap().contains("TTL"));
    engine.set("table.exec.state.ttl", "90 min").unwrap();
    let text = engine.explain(query).unwrap();
    assert!(text.contains("state TTL 1 h 30 min") && !text.contains("NetChanges"), "{text}");
    let hinted = query.replace("SELECT", "SELECT /*+ STATE_TTL('t' = '1d') */");
    let text = engine.explain(&hinted).unwrap();
    assert!(text.contains("state TTL 1 d") && !text.contains("1 h"), "{text}");
}
