//! Runs from their beginning to their end, and again.

use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{AsArray, UInt32Array};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use millstream::Error;
use millstream::connector::lookup::{Found, Lookup, LookupMode, cache_option_specs, keyed_mode};
use millstream::connector::{Connector, OptionSpec, Options, Sink, Source, TableDescriptor};
use millstream::engine::ProviderTable;
use millstream::runtime::circuit::NodeId;

use super::*;

/// A table that says something else each time it is asked.
#[derive(Debug, Clone, Default)]
struct Moody(Arc<AtomicI64>);

struct MoodyLookup(Moody, SchemaRef);

#[async_trait]
impl Lookup for MoodyLookup {
    async fn lookup(&self, keys: &RecordBatch) -> Result<Found> {
        tokio::task::yield_now().await;
        let ids = keys.column(0).as_primitive::<Int64Type>();
        let columns = self.1.fields().iter().map(|field| match field.data_type() {
            DataType::Int64 => Arc::new(ids.clone()) as ArrayRef,
            _ => {
                let moods = ids.iter().map(|_| format!("mood {}", self.0.0.fetch_add(1, Ordering::Relaxed)));
                Arc::new(StringArray::from_iter_values(moods)) as ArrayRef
            }
        });
        let rows = RecordBatch::try_new(Arc::clone(&self.1), columns.collect())?;
        Ok(Found { rows, keys: UInt32Array::from_iter_values(0..keys.num_rows() as u32) })
    }
}

impl Connector for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        cache_option_specs()
    }

    fn lookup_mode(&self, table: &TableDescriptor) -> Result<Option<LookupMode>> {
        keyed_mode(&table.options).map(Some)
    }

    fn lookup(&self, _: &TableDescriptor, _: SchemaRef, projection: SchemaRef) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(MoodyLookup(self.clone(), projection)))
    }

    fn source(&self, _: &TableDescriptor, _: SchemaRef) -> Result<Box<dyn Source>> {
        Err(Error::Option("it is only asked".into()))
    }

    fn sink(&self, _: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option("it is only asked".into()))
    }
}

/// Declares what is looked up: `moods` are asked by key, `names` are kept whole.
fn add_tables(engine: &mut Engine, names: usize) {
    engine.register_connector(Arc::new(Moody::default()));
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..names as i64));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values((0..names).map(|n| format!("name {n}"))));
    let rows = RecordBatch::try_from_iter([("id", id), ("name", name)]).unwrap();
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
    engine.register_table_provider("names", ProviderTable::from(Arc::new(table) as Arc<_>)).unwrap();
}

const MOODS: &str = "CREATE TABLE moods (id BIGINT, mood STRING) WITH ('connector' = 'moody')";

const QUERIES: [&str; 8] = [
    "SELECT id, customer, ts FROM orders WHERE id > 3",
    "SELECT customer, window_start, COUNT(*), SUM(id) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '2' SECOND))
     GROUP BY customer, window_start, window_end",
    "SELECT customer, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(at), INTERVAL '1' SECOND))
     GROUP BY customer, window_start, window_end",
    "SELECT customer, COUNT(*), AVG(CAST(id AS DOUBLE) / 3), MAX(ts) FROM orders GROUP BY customer",
    "SELECT o.id, o.customer, p.customer FROM orders o LEFT JOIN payments p ON o.id = p.id AND o.customer = p.customer",
    "SELECT id, CURRENT_TIMESTAMP, RAND() FROM orders WHERE id < 20",
    "SELECT o.id, m.mood FROM orders o LEFT JOIN moods FOR SYSTEM_TIME AS OF o.at AS m ON o.id = m.id",
    "SELECT o.id, n.name FROM orders o JOIN names FOR SYSTEM_TIME AS OF o.at AS n ON o.id = n.id",
];

#[test]
fn a_replay_gives_what_the_run_gave() {
    for (number, query) in QUERIES.iter().enumerate() {
        // With a limit of a byte, state by key is on disk behind each step.
        for (workers, limit) in [("1", "1 gb"), ("3", "1 gb"), ("1", "1 bytes"), ("3", "1 bytes")] {
            let folder = tempfile::tempdir().unwrap();
            let settings = [("parallelism.default", workers), ("state.memory.limit", limit)];
            let (mut engine, clock) = journaling(folder.path(), &settings);
            add_tables(&mut engine, 30);
            engine.execute(MOODS).unwrap();
            let given = live(&mut engine, &clock, query, 900).unwrap();
            assert!(!given.is_empty(), "query {number}");
            // Another engine; what the tables hold now does not matter.
            let mut other = Engine::new().unwrap();
            add_tables(&mut other, 3);
            for _ in 0..2 {
                let mut replay = other.replay(folder.path()).unwrap();
                assert_eq!(replay.circuit().nodes.len(), replay.journal().header().nodes.len());
                let again = replayed(&mut replay).unwrap();
                assert_eq!(replay.journal().note(), None);
                assert!(bytes(&again) == bytes(&given), "query {number} on {workers} workers in {limit}");
            }
        }
    }
}

#[test]
fn inserts_of_a_script_are_one_job() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, _) = journaling(folder.path(), &[]);
    let script = "CREATE TABLE a (n INT) WITH ('connector' = 'blackhole');
        SET 'table.local-time-zone' = 'Asia/Tokyo';
        INSERT INTO a SELECT n FROM (VALUES (1), (2)) AS v(n); -- the first
        CREATE TABLE b (t TIMESTAMP(3)) WITH ('connector' = 'blackhole');
        SELECT 1;
        INSERT INTO b SELECT CAST(LOCALTIMESTAMP AS TIMESTAMP(3)) -- the second";
    let job = engine
        .run(script, |engine, progress| match progress {
            millstream::engine::Progress::Query(job, _results) => engine.block_on(job.wait()).map(|_| ()),
            _ => Ok(()),
        })
        .unwrap()
        .unwrap();
    engine.block_on(job.wait()).unwrap();
    let jobs: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(jobs.contains(&"insert-into_a_b".to_string()) && jobs.contains(&"collect".to_string()), "{jobs:?}");
    let error = Engine::new().unwrap().replay(folder.path()).unwrap_err().to_string();
    assert!(error.contains("the journals of several jobs; name one of them: collect, insert-into_a_b"), "{error}");
    let mut replay = Engine::new().unwrap().replay(folder.path().join("insert-into_a_b")).unwrap();
    let mut rows = [0, 0];
    while let Some(step) = replay.step().unwrap() {
        rows.iter_mut()
            .zip(&step.output.sinks)
            .for_each(|(n, s)| *n += s.iter().map(ChangeBatch::num_rows).sum::<usize>());
    }
    assert_eq!(rows, [2, 1]);
}

#[test]
fn any_operator_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, clock) = journaling(folder.path(), &[("parallelism.default", "2")]);
    live(&mut engine, &clock, "SELECT customer, COUNT(*) FROM orders GROUP BY customer", 300).unwrap();
    let mut replay = Engine::new().unwrap().replay(folder.path()).unwrap();
    let nodes = replay.circuit().nodes.len();
    for node in 0..nodes {
        let mut replay = Engine::new().unwrap().replay(folder.path()).unwrap();
        replay.tap(Some(NodeId(node)));
        let (mut tapped, mut read, mut written) = (0, 0, 0);
        while let Some(step) = replay.step().unwrap() {
            let count = |batches: &[ChangeBatch]| batches.iter().map(ChangeBatch::num_rows).sum::<usize>();
            tapped += count(&step.output.tapped);
            read += step.rows;
            written += count(&step.output.sinks[0]);
        }
        match replay.circuit().name(NodeId(node)).as_str() {
            "Source(orders)" => assert_eq!((tapped, read), (300, 300)),
            "Result" => assert_eq!(tapped, written),
            _ => assert!(tapped > 0, "node {node}"),
        }
    }
    while let Some(step) = replay.step().unwrap() {
        assert!(step.output.tapped.is_empty());
    }
}

#[test]
fn a_run_that_failed_fails_again_in_the_same_step() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, clock) = journaling(folder.path(), &[]);
    let error = live(&mut engine, &clock, "SELECT 1 / (id - 49) FROM orders", 900).unwrap_err();
    let mut replay = Engine::new().unwrap().replay(folder.path()).unwrap();
    assert_eq!(replayed(&mut replay).unwrap_err().to_string(), error.to_string());
}

#[test]
fn another_circuit_is_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, clock) = journaling(folder.path(), &[]);
    add_tables(&mut engine, 30);
    live(&mut engine, &clock, QUERIES[7], 100).unwrap();
    let error = Engine::new().unwrap().replay(folder.path()).unwrap_err().to_string();
    assert!(error.contains("its script cannot be planned: ") && error.contains("names"), "{error}");

    let mut other = Engine::new().unwrap();
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let name: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let rows = RecordBatch::try_from_iter([("id", id), ("name", name)]).unwrap();
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
    other.register_table_provider("names", ProviderTable::from(Arc::new(table) as Arc<_>)).unwrap();
    let error = other.replay(folder.path()).unwrap_err().to_string();
    assert!(error.contains("into another circuit") && error.contains("LookupJoin(names)"), "{error}");
}
