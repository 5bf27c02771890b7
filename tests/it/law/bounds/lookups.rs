//! Look-ups under the bound law: rows that are out, cached rows and tables that are kept whole are never more than what `EXPLAIN`
//! said, whenever the answers come.
//!
//! Who asks and who is asked run beside each other here, as the bound is kept by the driver: no source is read as long as rows
//! wait for a request. The seed decides how long each answer takes, in turns of the tasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use millstream::connector::lookup::{Found, Lookup, LookupMode, cache_option_specs, keyed_mode};
use millstream::connector::{Connector, OptionSpec, Options, Sink, Source, TableDescriptor};
use millstream::engine::{Answer, Job, JobEnd, ProviderTable};
use millstream::runtime::circuit::REQUEST_ROWS;
use millstream::{Engine, Error, Result};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::cases;

type Random = Xoshiro256PlusPlus;

const QUERY: &str = "SELECT o.k, t.v FROM o JOIN t FOR SYSTEM_TIME AS OF o.p AS t ON o.k = t.k";

/// How many rows the table has for a key.
fn rows_of(key: i64) -> i64 {
    key % 3
}

/// A table that answers when the seed says so, and looks at the job whenever it is asked and has answered.
#[derive(Debug, Clone, Default)]
struct Asked {
    seed: u64,
    /// Whether the first request is answered only when many others have been made, or would have been.
    holds: bool,
    requests: Arc<AtomicU64>,
    job: Arc<OnceLock<Weak<Job>>>,
    /// The most rows that the look-up was seen to hold.
    most: Arc<AtomicU64>,
}

impl Asked {
    fn look(&self) {
        if let Some(job) = self.job.get().and_then(Weak::upgrade) {
            self.most.fetch_max(held(&job), Ordering::Relaxed);
        }
    }

    async fn wait(&self, request: u64) {
        if self.holds && request == 0 {
            let mut turns = 0..200_000;
            while turns.next().is_some() && self.requests.load(Ordering::Relaxed) < 10 {
                tokio::task::yield_now().await;
            }
            return;
        }
        for _ in 0..self.turns(request) {
            tokio::task::yield_now().await;
        }
    }

    fn turns(&self, request: u64) -> usize {
        let mut rng = Random::seed_from_u64(self.seed.wrapping_mul(1_000_003) ^ request);
        match rng.random_range(0..8) {
            0 => 3_000,
            1 | 2 => 60,
            _ => rng.random_range(0..4),
        }
    }
}

/// How many rows the job's look-up holds.
fn held(job: &Job) -> u64 {
    let metrics = job.metrics();
    metrics.operators.iter().find(|o| o.name == "LookupJoin(t)").unwrap().stats.state_rows
}

struct AskedLookup(Asked, SchemaRef);

#[async_trait]
impl Lookup for AskedLookup {
    async fn lookup(&self, keys: &RecordBatch) -> Result<Found> {
        let request = self.0.requests.fetch_add(1, Ordering::Relaxed);
        assert!(keys.num_rows() <= REQUEST_ROWS, "{} keys in one request", keys.num_rows());
        self.0.look();
        self.0.wait(request).await;
        self.0.look();
        let (mut of, mut values) = (Vec::new(), Vec::new());
        for (number, key) in (0u32..).zip(keys.column(0).as_primitive::<Int64Type>().values()) {
            for copy in 0..rows_of(*key) {
                of.push(number);
                values.push(key * 10 + copy);
            }
        }
        let column = |field: &Arc<Field>| -> ArrayRef {
            let of_key = |v: &i64| if field.name() == "k" { v / 10 } else { *v };
            Arc::new(values.iter().map(of_key).collect::<Int64Array>())
        };
        let columns = self.1.fields().iter().map(column).collect();
        Ok(Found { rows: RecordBatch::try_new(Arc::clone(&self.1), columns)?, keys: UInt32Array::from(of) })
    }
}

impl Connector for Asked {
    fn name(&self) -> &'static str {
        "asked"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        cache_option_specs()
    }

    fn lookup_mode(&self, table: &TableDescriptor) -> Result<Option<LookupMode>> {
        keyed_mode(&table.options).map(Some)
    }

    fn lookup(&self, _: &TableDescriptor, _keys: SchemaRef, projection: SchemaRef) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(AskedLookup(self.clone(), projection)))
    }

    fn source(&self, _: &TableDescriptor, _: SchemaRef) -> Result<Box<dyn Source>> {
        Err(Error::Option("it is only asked".into()))
    }

    fn sink(&self, _: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option("it is only asked".into()))
    }
}

/// What `EXPLAIN` says of the look-up's state.
fn stated(engine: &mut Engine) -> String {
    let Answer::Rows { rows, .. } = engine.execute(&format!("EXPLAIN {QUERY}")).unwrap() else { panic!("no plan") };
    let mut lines = rows.iter().map(|row| row[0].as_str()).skip_while(|line| !line.contains("LookupJoin(t)"));
    let (_, stated) = lines.nth(1).unwrap().split_once("; state: ").unwrap();
    stated.to_string()
}

/// What that comes to, where the table has so many rows and a step takes so many.
fn rows_of_bound(stated: &str, table: usize, step: usize) -> u64 {
    let part = |part: &str| match part.strip_prefix("at most ") {
        Some(counted) => {
            let (number, what) = counted.split_once(' ').unwrap();
            assert!(["requested rows", "cached rows"].contains(&what), "{stated}");
            number.parse().unwrap()
        }
        None if part == "one cached row" => 1,
        None if part == "rows of the input until a request is free (no source is read meanwhile)" => step as u64,
        None if part == "rows of table 't', as long as the job runs" => table as u64,
        None => panic!("{stated}"),
    };
    stated.split("; ").map(part).sum()
}

fn keys(keys: impl IntoIterator<Item = i64>) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
    RecordBatch::try_from_iter_with_nullable([("k", keys, true)]).unwrap()
}

fn engine(step: usize) -> Engine {
    let mut engine = Engine::new().unwrap();
    engine.execute("CREATE TABLE o (k BIGINT, p AS PROCTIME()) WITH ('connector' = 'channel')").unwrap();
    engine.set("millstream.step.max-rows", &step.to_string()).unwrap();
    engine
}

/// Runs the query over some batches; gives how many rows came of it. `look` sees the job whenever there is a result.
fn run(engine: &mut Engine, batches: Vec<RecordBatch>, look: impl Fn(&Job), started: impl FnOnce(&Arc<Job>)) -> usize {
    let input = engine.input("o").unwrap();
    let (job, mut results) = engine.query(QUERY).unwrap();
    let job = Arc::new(job);
    started(&job);
    let pushing = std::thread::spawn(move || batches.into_iter().try_for_each(|b| input.blocking_push(b)));
    let mut rows = 0;
    while let Some(changes) = results.blocking_next() {
        rows += changes.num_rows();
        look(&job);
    }
    assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
    pushing.join().unwrap().unwrap();
    look(&job);
    rows
}

/// Tries a table that is asked by key; gives how many rows it held at most, and how many it may.
fn asked(seed: u64) -> (u64, u64) {
    let mut rng = Random::seed_from_u64(seed);
    let step = rng.random_range(100..2_000);
    let mut engine = engine(step);
    let asked = Asked { seed, ..Asked::default() };
    engine.register_connector(Arc::new(asked.clone()));
    let cache = match rng.random_bool(0.5) {
        true => format!(
            ", 'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '{}'",
            [1, 7, 100][rng.random_range(0..3)]
        ),
        false => String::new(),
    };
    engine.execute(&format!("CREATE TABLE t (k BIGINT, v BIGINT) WITH ('connector' = 'asked'{cache})")).unwrap();
    let capacity = rng.random_range(1..4);
    engine.set("table.exec.async-lookup.buffer-capacity", &capacity.to_string()).unwrap();
    engine.set("parallelism.default", &rng.random_range(1..3).to_string()).unwrap();
    let domain = [20, 5_000][rng.random_range(0..2)];
    let batches: Vec<Vec<i64>> = (0..rng.random_range(1..12))
        .map(|_| (0..rng.random_range(1..1_500)).map(|_| rng.random_range(0..domain)).collect())
        .collect();
    let expected: i64 = batches.iter().flatten().map(|k| rows_of(*k)).sum();
    let bound = rows_of_bound(&stated(&mut engine), 0, step);
    let batches = batches.into_iter().map(keys).collect();
    let started = |job: &Arc<Job>| asked.job.set(Arc::downgrade(job)).unwrap();
    let rows = run(&mut engine, batches, |_| asked.look(), started);
    assert_eq!(rows as i64, expected, "seed {seed}");
    let most = asked.most.load(Ordering::Relaxed);
    assert!(most <= bound, "seed {seed}: {most} rows are held, and {bound} are what was stated comes to");
    (most, bound)
}

#[test]
fn what_is_asked_for_is_bounded() {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    let seen: Vec<(u64, u64)> = (first..first + cases()).map(asked).collect();
    // Nothing is shown by runs that hardly hold anything.
    assert!(seen.iter().any(|(most, bound)| most * 2 > *bound), "{seen:?}");
}

/// With the first answer missing, the others do not pile up.
#[test]
fn answers_that_wait_for_their_turn_count() {
    let mut engine = engine(1_000);
    let asked = Asked { holds: true, ..Asked::default() };
    engine.register_connector(Arc::new(asked.clone()));
    engine.execute("CREATE TABLE t (k BIGINT, v BIGINT) WITH ('connector' = 'asked')").unwrap();
    engine.set("table.exec.async-lookup.buffer-capacity", "2").unwrap();
    let bound = rows_of_bound(&stated(&mut engine), 0, 1_000);
    assert_eq!(bound, 2 * REQUEST_ROWS as u64 + 1_000);
    let batches = (0..12).map(|_| keys(0..1_000)).collect();
    let started = |job: &Arc<Job>| asked.job.set(Arc::downgrade(job)).unwrap();
    run(&mut engine, batches, |_| asked.look(), started);
    let most = asked.most.load(Ordering::Relaxed);
    assert!((1_000..=bound).contains(&most), "{most} rows are held of {bound}");
}

#[test]
fn tables_that_are_kept_whole_are_counted() {
    let first: u64 = std::env::var("MILLSTREAM_SEED").ok().and_then(|c| c.parse().ok()).unwrap_or(1);
    for seed in first..first + cases() {
        let mut rng = Random::seed_from_u64(seed);
        let mut engine = engine(rng.random_range(10..500));
        let size = rng.random_range(0..400);
        let column = || Arc::new(Int64Array::from_iter_values(0..size)) as ArrayRef;
        let fields = ["k", "v"].map(|name| Field::new(name, DataType::Int64, true));
        let table = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![column(), column()]).unwrap();
        let table = MemTable::try_new(table.schema(), vec![vec![table]]).unwrap();
        engine.register_table_provider("t", ProviderTable::new(Arc::new(table))).unwrap();
        let bound = rows_of_bound(&stated(&mut engine), size as usize, 0);
        assert_eq!(bound, size as u64);
        let (last, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let look = |job: &Job| {
            last.store(held(job), Ordering::Relaxed);
            most.fetch_max(held(job), Ordering::Relaxed);
        };
        let batches: Vec<Vec<i64>> = (0..4).map(|_| (0..200).map(|_| rng.random_range(0..500)).collect()).collect();
        let expected = batches.iter().flatten().filter(|k| **k < size).count();
        let rows = run(&mut engine, batches.into_iter().map(keys).collect(), look, |_| ());
        assert_eq!(rows, expected, "seed {seed}");
        assert!(most.load(Ordering::Relaxed) <= bound, "seed {seed}");
        assert_eq!(last.load(Ordering::Relaxed), bound, "what is kept is counted, seed {seed}");
    }
}
