//! Checkpoints that earlier versions wrote: every later version goes on from them.
//!
//! `MILLSTREAM_WRITE_FIXTURE=NAME` writes a new one, under `tests/it/checkpoints/fixtures/NAME`, with what came out behind it. What is
//! there stays as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use millstream::change::ChangeBatch;
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::connector::text::lines;
use millstream::plan::{CompileOptions, Query, StateTtls, compile};
use millstream::runtime::checkpoint::{Checkpoint, CheckpointStore, Restored, save};
use millstream::runtime::{Circuit, Executor, SourceState, StepInput};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use millstream::table::project;

use super::*;

/// What keeps state of many kinds.
const QUERIES: [&str; 9] = [
    "SELECT card, window_start, SUM(amount), COUNT(DISTINCT amount)
     FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY card, window_start, window_end",
    "SELECT card, window_start, COUNT(*)
     FROM TABLE(HOP(TABLE payments, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '12' SECOND))
     GROUP BY card, window_start, window_end",
    "SELECT card, window_start, COUNT(*)
     FROM TABLE(SESSION(TABLE payments PARTITION BY card, DESCRIPTOR(ts), INTERVAL '3' SECOND))
     GROUP BY card, window_start, window_end",
    "SELECT card, SUM(amount), MIN(amount), COUNT(*) FROM payments GROUP BY card",
    "SELECT a.card, a.amount, b.amount FROM payments a JOIN payments b
     ON a.card = b.card AND b.ts BETWEEN a.ts - INTERVAL '2' SECOND AND a.ts",
    "SELECT a.card, a.amount, b.card FROM payments a JOIN payments b ON a.amount = b.amount AND a.card < b.card",
    "SELECT card, amount FROM (
       SELECT card, amount, ROW_NUMBER() OVER (PARTITION BY card ORDER BY amount DESC, ts) AS n FROM payments) WHERE n <= 2",
    "SELECT card, amount, SUM(amount) OVER (PARTITION BY card ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)
     FROM payments",
    "SELECT * FROM payments MATCH_RECOGNIZE (
       PARTITION BY card ORDER BY ts MEASURES FIRST(A.amount) AS a, B.amount AS b
       ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS A.amount < 50, B AS B.amount >= 50)",
];
const FED: u64 = 203;
const COUNT: u64 = 320;

fn circuit(query: &str) -> Arc<Circuit> {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Channels::default()));
    let mut session = Session::new(connectors);
    let table = "CREATE TABLE payments (card STRING, amount BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
                 WITH ('connector' = 'channel')";
    let mut plan = None;
    for text in [table, query] {
        if let Outcome::Query(query) = session.execute(&parse_script(text).unwrap()[0]).unwrap() {
            plan = Some(query.plan);
        }
    }
    let query = Query { plan: plan.unwrap(), target: None, state_ttls: StateTtls::new() };
    Arc::new(compile(vec![query], CompileOptions::default()).unwrap())
}

/// Feeds payments in steps of eleven, and perhaps the end; gives the changes that came out, as text.
fn feed(executor: &mut Executor, circuit: &Circuit, numbers: std::ops::Range<u64>, ends: bool) -> String {
    let mut out = String::new();
    let mut step = |batches: Vec<ChangeBatch>, state: SourceState| {
        let input = StepInput { batches: vec![batches], sources: vec![state], ..StepInput::default() };
        for batch in executor.step(input).unwrap().sinks.remove(0) {
            out += &lines(&batch).unwrap();
        }
    };
    for from in numbers.clone().step_by(11) {
        let rows = project(&payments(from..(from + 11).min(numbers.end)), &circuit.sources[0].projection).unwrap();
        step(vec![ChangeBatch::append(rows)], SourceState::Active);
    }
    if ends {
        step(Vec::new(), SourceState::Ended);
    }
    out
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/checkpoints/fixtures")
}

fn store(fixture: &Path, query: usize) -> CheckpointStore {
    CheckpointStore::open(&fixture.display().to_string(), &format!("query-{query}"), &BTreeMap::new()).unwrap()
}

/// Writes a fixture as by another version of the library.
async fn write(fixture: &Path) {
    for (number, query) in QUERIES.iter().enumerate() {
        let circuit = circuit(query);
        let mut executor = Executor::try_new(Arc::clone(&circuit), 2).unwrap();
        feed(&mut executor, &circuit, 0..FED, false);
        let scratch = CheckpointStore::new(Arc::new(object_store::memory::InMemory::new()), "q".into(), "memory");
        save(&circuit, executor.snapshot().unwrap(), &scratch, 1).await.unwrap();
        let mut manifest = scratch.manifest(1).await.unwrap();
        manifest.library = "another".into();
        let store = store(fixture, number);
        for file in &manifest.files {
            store.write(&file.path, scratch.read(&file.path, file.bytes).await.unwrap().to_vec()).await.unwrap();
        }
        store.publish(&mut manifest).await.unwrap();
        let out = feed(&mut executor, &circuit, FED..COUNT, true);
        std::fs::write(fixture.join(format!("query-{number}.txt")), out).unwrap();
    }
}

#[test]
fn checkpoints_of_earlier_versions_are_restored() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    if let Ok(name) = std::env::var("MILLSTREAM_WRITE_FIXTURE") {
        let fixture = fixtures().join(name);
        std::fs::create_dir(&fixture).unwrap();
        runtime.block_on(write(&fixture));
    }
    let mut restored = 0;
    for fixture in std::fs::read_dir(fixtures()).unwrap().map(|e| e.unwrap().path()) {
        for (number, query) in QUERIES.iter().enumerate() {
            let expected = std::fs::read_to_string(fixture.join(format!("query-{number}.txt"))).unwrap();
            let checkpoint = runtime.block_on(Checkpoint::load(&store(&fixture, number), 1)).unwrap();
            let circuit = circuit(query);
            let Restored { snapshot, report, .. } = Restored::new(&circuit, &checkpoint).unwrap();
            assert!(report.iter().any(|line| line.starts_with("keeps its state of")), "{query}: {report:?}");
            assert!(!report.iter().any(|line| line.starts_with("starts empty")), "{query}: {report:?}");
            for workers in [2, 1, 3] {
                let mut executor = Executor::try_new(Arc::clone(&circuit), workers).unwrap();
                executor.restore(snapshot.clone()).unwrap();
                let out = feed(&mut executor, &circuit, FED..COUNT, true);
                let sorted = |text: &str| {
                    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
                    lines.sort();
                    lines
                };
                assert_eq!(sorted(&out), sorted(&expected), "{}: {query} on {workers} workers", fixture.display());
            }
            restored += 1;
        }
    }
    assert!(restored >= QUERIES.len(), "no fixture was found");
}
