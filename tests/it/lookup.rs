//! Lookup joins: tables that are kept whole, tables that are asked by key, what fails and is tried again, and the watermark.

mod hints;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use datafusion::datasource::MemTable;
use millstream::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use millstream::arrow::compute::take_record_batch;
use millstream::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream::connector::lookup::{
    CacheOptions, Found, Lookup, LookupCase, LookupMode, cache_option_specs, check_lookup, keyed_mode,
};
use millstream::connector::{Connector, OptionSpec, Options, Sink, Source, TableDescriptor};
use millstream::engine::{JobEnd, ProviderTable, lines};
use millstream::{Engine, Error, Result};

const ORDERS: &str = "CREATE TABLE orders (n BIGINT, at AS PROCTIME()) WITH ('connector' = 'channel')";
const JOIN: &str = "orders AS o JOIN things FOR SYSTEM_TIME AS OF o.at AS t ON o.n = t.id";

/// Things by their number: 1 twice, 2 once, and one without a number.
fn things() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(1), None]));
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("one"), None, Some("uno"), Some("none")]));
    let fields = vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![ids, names]).unwrap()
}

/// Answers from a batch, after as many failures as it is told.
#[derive(Debug, Clone)]
struct Shelf {
    rows: RecordBatch,
    failures: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Shelf {
    fn new(failures: usize) -> Self {
        let (failures, requests) = (Arc::new(AtomicUsize::new(failures)), Arc::default());
        Self { rows: things(), failures, requests }
    }
}

struct ShelfLookup(Shelf, Vec<usize>);

#[async_trait]
impl Lookup for ShelfLookup {
    async fn lookup(&self, keys: &RecordBatch) -> Result<Found> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        // Others go on while this one waits.
        tokio::task::yield_now().await;
        if self.0.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
            return Err(Error::Execution("the shelf is locked".into()));
        }
        let mut places: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let ids = self.0.rows.column(0).as_primitive::<Int64Type>();
        (0u32..).zip(ids).for_each(|(row, id)| id.iter().for_each(|id| places.entry(*id).or_default().push(row)));
        let (mut rows, mut of) = (Vec::new(), Vec::new());
        for (key, id) in (0u32..).zip(keys.column(0).as_primitive::<Int64Type>()) {
            for row in id.and_then(|id| places.get(&id)).into_iter().flatten() {
                rows.push(*row);
                of.push(key);
            }
        }
        let rows = take_record_batch(&self.0.rows.project(&self.1)?, &UInt32Array::from(rows))?;
        Ok(Found { rows, keys: of.into() })
    }
}

impl Connector for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        cache_option_specs()
    }

    fn lookup_mode(&self, table: &TableDescriptor) -> Result<Option<LookupMode>> {
        keyed_mode(&table.options).map(Some)
    }

    fn lookup(&self, _: &TableDescriptor, _keys: SchemaRef, projection: SchemaRef) -> Result<Box<dyn Lookup>> {
        let columns = projection.fields().iter().map(|f| Ok(self.rows.schema().index_of(f.name())?));
        Ok(Box::new(ShelfLookup(self.clone(), columns.collect::<Result<_>>()?)))
    }

    fn source(&self, _: &TableDescriptor, _: SchemaRef) -> Result<Box<dyn Source>> {
        Err(Error::Option("a shelf is only asked".into()))
    }

    fn sink(&self, _: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option("a shelf is only asked".into()))
    }
}

fn shelf_engine(shelf: &Shelf, options: &str) -> Engine {
    let mut engine = Engine::new().unwrap();
    engine.register_connector(Arc::new(shelf.clone()));
    engine.execute(ORDERS).unwrap();
    let things = format!("CREATE TABLE things (id BIGINT, name STRING) WITH ('connector' = 'shelf'{options})");
    engine.execute(&things).unwrap();
    engine
}

fn numbers(n: impl IntoIterator<Item = Option<i64>>) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int64Array::from_iter(n));
    RecordBatch::try_from_iter([("n", n)]).unwrap()
}

/// What comes of orders that are pushed in some batches.
fn answer(engine: &mut Engine, query: &str, batches: Vec<RecordBatch>) -> Result<String> {
    let input = engine.input("orders")?;
    let (job, mut results) = engine.query(query)?;
    for batch in batches {
        // A job that has failed takes nothing any more, and says why when it is asked.
        if input.blocking_push(batch).is_err() {
            break;
        }
    }
    drop(input);
    let mut text = String::new();
    while let Some(changes) = results.blocking_next() {
        text += &lines(&changes)?;
    }
    assert_eq!(engine.block_on(job.wait())?, JobEnd::Finished);
    Ok(text)
}

fn check_answers(engine: &mut Engine) {
    let all = vec![numbers([Some(2), Some(1), None]), numbers([Some(3)]), numbers([Some(1)])];
    let inner = answer(engine, &format!("SELECT n, name FROM {JOIN}"), all.clone()).unwrap();
    assert_eq!(inner, "+I[2, null]\n+I[1, one]\n+I[1, uno]\n+I[1, one]\n+I[1, uno]\n");
    let left = JOIN.replace("JOIN", "LEFT JOIN");
    let padded = answer(engine, &format!("SELECT n, id, name FROM {left} AND t.name <> 'uno'"), all).unwrap();
    assert_eq!(padded, "+I[2, null, null]\n+I[1, 1, one]\n+I[null, null, null]\n+I[3, null, null]\n+I[1, 1, one]\n");
}

#[test]
fn tables_that_are_asked_by_key() {
    check_answers(&mut shelf_engine(&Shelf::new(0), ""));
    let cached = Shelf::new(0);
    let mut engine = shelf_engine(&cached, ", 'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '10'");
    check_answers(&mut engine);
}

#[test]
fn tables_of_the_embedders_and_of_files_are_kept_whole() {
    let mut engine = Engine::new().unwrap();
    engine.execute(ORDERS).unwrap();
    let table = MemTable::try_new(things().schema(), vec![vec![things().slice(0, 2)], vec![things().slice(2, 2)]]);
    engine.register_table_provider("things", ProviderTable::new(Arc::new(table.unwrap()))).unwrap();
    check_answers(&mut engine);
    let (job, mut results) = engine.query("SELECT name FROM things WHERE id = 1").unwrap();
    let mut text = String::new();
    while let Some(changes) = results.blocking_next() {
        text += &lines(&changes).unwrap();
    }
    engine.block_on(job.wait()).unwrap();
    assert_eq!(text, "+I[one]\n+I[uno]\n");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("things.json");
    std::fs::write(
        &path,
        "{\"id\":1,\"name\":\"one\"}\n{\"id\":2}\n{\"id\":1,\"name\":\"uno\"}\n{\"name\":\"none\"}\n",
    )
    .unwrap();
    let mut engine = Engine::new().unwrap();
    engine.execute(ORDERS).unwrap();
    let declared = format!(
        "CREATE TABLE things (id BIGINT, name STRING) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{}')",
        path.display()
    );
    engine.execute(&declared).unwrap();
    check_answers(&mut engine);
}

#[test]
fn the_answer_does_not_depend_on_the_number_of_workers() {
    let many: Vec<RecordBatch> = (0..8).map(|b| numbers((0..3000).map(|i| Some((i * 7 + b) % 5)))).collect();
    let query = format!("SELECT n, COUNT(*), COUNT(name) FROM {JOIN} GROUP BY n");
    let answered = |workers: &str| {
        let mut engine = shelf_engine(&Shelf::new(0), "");
        engine.set("parallelism.default", workers).unwrap();
        let text = answer(&mut engine, &query, many.clone()).unwrap();
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for line in text.lines().filter(|l| l.starts_with('+')) {
            let (key, rest) = line[3..].split_once(',').unwrap();
            last.insert(key.into(), rest.into());
        }
        last
    };
    let one = answered("1");
    assert_eq!(one.keys().map(String::as_str).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(answered("3"), one);
}

#[test]
fn failures_are_tried_again_and_told_in_the_end() {
    let shelf = Shelf::new(2);
    let text = answer(&mut shelf_engine(&shelf, ""), &format!("SELECT name FROM {JOIN}"), vec![numbers([Some(1)])]);
    assert_eq!(text.unwrap(), "+I[one]\n+I[uno]\n");
    assert_eq!(shelf.requests.load(Ordering::Relaxed), 3);

    let shelf = Shelf::new(usize::MAX);
    let mut engine = shelf_engine(&shelf, ", 'lookup.max-retries' = '1'");
    let failed = answer(&mut engine, &format!("SELECT name FROM {JOIN}"), vec![numbers([Some(1)])]);
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("things") && message.contains("the shelf is locked"), "{message}");
    assert_eq!(shelf.requests.load(Ordering::Relaxed), 2);
}

#[test]
fn a_cache_spares_requests() {
    let requests = |options: &str| {
        let shelf = Shelf::new(0);
        let mut engine = shelf_engine(&shelf, options);
        let input = engine.input("orders").unwrap();
        let (job, mut results) = engine.query(&format!("SELECT n, name FROM {JOIN}")).unwrap();
        for _ in 0..50 {
            input.blocking_push(numbers([Some(1), Some(9)])).unwrap();
            // Only what has come back can be in the cache.
            assert_eq!(lines(&results.blocking_next().unwrap()).unwrap(), "+I[1, one]\n+I[1, uno]\n");
        }
        drop(input);
        engine.block_on(job.wait()).unwrap();
        shelf.requests.load(Ordering::Relaxed)
    };
    assert_eq!(requests(", 'lookup.cache' = 'PARTIAL'"), 1);
    assert_eq!(requests(""), 50);
}

#[test]
fn the_watermark_waits_for_rows_that_are_out() {
    let shelf = Shelf::new(3);
    let mut engine = shelf_engine(&shelf, "");
    engine
        .execute(
            "CREATE TABLE clicks (n BIGINT, ts TIMESTAMP(3), at AS PROCTIME(), WATERMARK FOR ts AS ts) \
             WITH ('connector' = 'channel')",
        )
        .unwrap();
    let input = engine.input("clicks").unwrap();
    let query = "SELECT window_start, COUNT(*), COUNT(name) FROM TABLE(TUMBLE(TABLE joined, DESCRIPTOR(ts), INTERVAL '1' SECOND)) \
                 GROUP BY window_start, window_end";
    let joined = "CREATE VIEW joined AS SELECT c.n, c.ts, t.name FROM clicks AS c LEFT JOIN things FOR SYSTEM_TIME AS OF c.at AS t \
                  ON c.n = t.id";
    engine.execute(joined).unwrap();
    engine.set("millstream.step.max-rows", "1").unwrap();
    let (job, mut results) = engine.query(query).unwrap();
    for i in 0..40i64 {
        let n: ArrayRef = Arc::new(Int64Array::from(vec![i % 3]));
        let ts: ArrayRef = Arc::new(millstream::arrow::array::TimestampMillisecondArray::from(vec![i * 250]));
        input.blocking_push(RecordBatch::try_from_iter([("n", n), ("ts", ts)]).unwrap()).unwrap();
    }
    drop(input);
    let mut counted = 0;
    while let Some(changes) = results.blocking_next() {
        let rows = changes.rows.column(1).as_primitive::<Int64Type>();
        counted += rows.iter().flatten().sum::<i64>();
    }
    engine.block_on(job.wait()).unwrap();
    // Of 40 rows a third each finds nothing, two rows, and one: none was late.
    assert_eq!(counted, 14 + 2 * 13 + 13);
    assert!(job.metrics().operators.iter().all(|o| o.stats.late_rows == 0));
}

#[test]
fn a_lookup_keeps_to_its_contract() {
    let engine = Engine::new().unwrap();
    let rows = things().slice(0, 3);
    let missing = RecordBatch::try_new(
        Arc::new(things().schema().project(&[0]).unwrap()),
        vec![Arc::new(Int64Array::from(vec![7, 8]))],
    );
    let case = LookupCase { rows, keys: vec![0], missing: missing.unwrap() };
    engine.block_on(check_lookup(&ShelfLookup(Shelf::new(0), vec![0, 1]), &case)).unwrap();
    let wrong = ShelfLookup(Shelf { rows: things().slice(1, 3), ..Shelf::new(0) }, vec![0, 1]);
    assert!(engine.block_on(check_lookup(&wrong, &case)).is_err());
}

#[test]
fn what_cannot_be_looked_up_is_refused() {
    let mut engine = shelf_engine(&Shelf::new(0), "");
    let refused = |engine: &mut Engine, query: &str| engine.query(query).unwrap_err().to_string();
    let message = refused(&mut engine, &format!("SELECT n FROM {} ", JOIN.replace("o.n = t.id", "o.n > t.id")));
    assert!(message.contains("needs an equality"), "{message}");
    engine.execute("CREATE TABLE made (id BIGINT) WITH ('connector' = 'datagen')").unwrap();
    let message =
        refused(&mut engine, "SELECT n FROM orders AS o JOIN made FOR SYSTEM_TIME AS OF o.at AS t ON o.n = t.id");
    assert!(message.contains("has no look-ups"), "{message}");
    let options: Result<LookupMode> = keyed_mode(&Options::default());
    assert_eq!(options.unwrap(), LookupMode::Keyed { cache: None, max_retries: 3 });
    assert!(CacheOptions::default().max_rows > 0);
}
