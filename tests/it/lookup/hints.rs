//! The hint `LOOKUP`: how a table is asked, keys that are asked for again, and what is refused.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::datasource::MemTable;
use futures::FutureExt;
use millstream::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use millstream::arrow::datatypes::{Field, Int64Type, SchemaRef};
use millstream::change::{Clock, ManualClock};
use millstream::connector::lookup::{Found, Lookup, LookupMode, cache_option_specs, keyed_mode};
use millstream::connector::{Connector, OptionSpec, Options, Sink, Source, TableDescriptor};
use millstream::engine::{Answer, ProviderTable, lines};
use millstream::{Engine, Error, Result};

use super::{JOIN, ORDERS, Shelf, numbers, shelf_engine, things};

/// When the table was asked, and for what.
type Asked = (i64, Vec<i64>);

/// A table that has a thing from the third time on that it is asked for it, by the job's clock.
#[derive(Debug, Clone)]
struct Late {
    clock: Arc<ManualClock>,
    /// When it was asked, and for what.
    asked: Arc<Mutex<Vec<Asked>>>,
}

struct LateLookup(Late, SchemaRef);

#[async_trait]
impl Lookup for LateLookup {
    async fn lookup(&self, keys: &RecordBatch) -> Result<Found> {
        let ids = keys.column(0).as_primitive::<Int64Type>().values().to_vec();
        let mut asked = self.0.asked.lock().unwrap();
        asked.push((self.0.clock.now_millis(), ids.clone()));
        // An even number is there at once, an odd one late, and one above 100 never.
        let is_there = |id: &i64| *id < 100 && (id % 2 == 0 || asked.len() > 2);
        let of: Vec<u32> = (0u32..).zip(&ids).filter(|(_, id)| is_there(id)).map(|(key, _)| key).collect();
        let rows = of.iter().map(|key| ids[*key as usize]);
        let (ids, names) = (rows.clone().collect::<Int64Array>(), rows.map(|id| Some(format!("thing {id}"))));
        let names: StringArray = names.collect();
        let column = |field: &Arc<Field>| -> ArrayRef {
            if field.name() == "id" { Arc::new(ids.clone()) } else { Arc::new(names.clone()) }
        };
        let rows = RecordBatch::try_new(Arc::clone(&self.1), self.1.fields().iter().map(column).collect())?;
        Ok(Found { rows, keys: of.into() })
    }
}

impl Connector for Late {
    fn name(&self) -> &'static str {
        "late"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        cache_option_specs()
    }

    fn lookup_mode(&self, table: &TableDescriptor) -> Result<Option<LookupMode>> {
        keyed_mode(&table.options).map(Some)
    }

    fn lookup(&self, _: &TableDescriptor, _keys: SchemaRef, projection: SchemaRef) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(LateLookup(self.clone(), projection)))
    }

    fn source(&self, _: &TableDescriptor, _: SchemaRef) -> Result<Box<dyn Source>> {
        Err(Error::Option("it is only asked".into()))
    }

    fn sink(&self, _: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option("it is only asked".into()))
    }
}

/// What comes of orders for some numbers with a hint, and when the table was asked for which of them. The clock goes on, a second
/// at every look.
fn hinted(hint: &str, options: &str, orders: &[i64]) -> (Result<String>, Vec<Asked>) {
    let late = Late { clock: Arc::new(ManualClock::new(0)), asked: Arc::default() };
    let mut engine = Engine::new().unwrap();
    engine.set_clock(Arc::clone(&late.clock) as _);
    engine.register_connector(Arc::new(late.clone()));
    engine.execute(ORDERS).unwrap();
    let things = format!("CREATE TABLE things (id BIGINT, name STRING) WITH ('connector' = 'late'{options})");
    engine.execute(&things).unwrap();
    let input = engine.input("orders").unwrap();
    let query =
        format!("SELECT /*+ LOOKUP('table' = 't', {hint}) */ n, name FROM {}", JOIN.replace("JOIN", "LEFT JOIN"));
    let (job, mut results) = engine.query(&query).unwrap();
    input.blocking_push(numbers(orders.iter().map(|n| Some(*n)))).unwrap();
    drop(input);
    while late.asked.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    let mut text = String::new();
    let end = loop {
        match results.next().now_or_never() {
            Some(Some(changes)) => text += &lines(&changes).unwrap(),
            Some(None) => break engine.block_on(job.wait()),
            None => late.clock.set(late.clock.now_millis() + 1_000),
        }
        std::thread::yield_now();
    };
    let asked = late.asked.lock().unwrap().clone();
    (end.map(|_| text), asked)
}

const RETRY: &str = "'retry-predicate' = 'lookup_miss', 'retry-strategy' = 'fixed_delay'";

#[test]
fn keys_without_rows_are_asked_for_again_by_the_clock() {
    let hint = format!("{RETRY}, 'fixed-delay' = '10 s', 'max-attempts' = '3', 'timeout' = '10000 d'");
    for options in ["", ", 'lookup.cache' = 'PARTIAL'"] {
        let (text, asked) = hinted(&hint, options, &[1, 2, 3, 101]);
        assert_eq!(text.unwrap(), "+I[1, thing 1]\n+I[2, thing 2]\n+I[3, thing 3]\n+I[101, null]\n");
        // Once and three times more, and only for what is missing.
        let keys: Vec<&[i64]> = asked.iter().map(|(_, keys)| keys.as_slice()).collect();
        assert_eq!(keys, [&[1, 2, 3, 101][..], &[1, 3, 101], &[1, 3, 101], &[101]]);
        assert!(asked.windows(2).all(|two| two[1].0 - two[0].0 >= 10_000), "{asked:?}");
    }
    let (text, asked) = hinted("'async' = 'true'", "", &[1, 2]);
    assert_eq!((text.unwrap().as_str(), asked.len()), ("+I[1, null]\n+I[2, thing 2]\n", 1));
}

#[test]
fn asking_again_ends_with_the_timeout() {
    let hint = format!("{RETRY}, 'fixed-delay' = '10 s', 'max-attempts' = '1000', 'timeout' = '35 s'");
    let (text, asked) = hinted(&hint, "", &[101]);
    let error = text.unwrap_err().to_string();
    assert!(error.contains("table 'things' took longer than 35s") && error.contains("LOOKUP"), "{error}");
    assert!((1..=4).contains(&asked.len()), "{asked:?}");
}

#[test]
fn a_hint_says_how_many_requests_may_be_under_way() {
    let plan = |hint: &str| {
        let mut engine = shelf_engine(&Shelf::new(0), "");
        engine.set("table.exec.async-lookup.buffer-capacity", "7").unwrap();
        let query = format!("EXPLAIN SELECT /*+ LOOKUP('table' = 't'{hint}) */ n, name FROM {JOIN}");
        let Answer::Rows { rows, .. } = engine.execute(&query).unwrap() else { panic!("no plan") };
        rows.into_iter().flatten().collect::<Vec<_>>().join("\n")
    };
    for (hint, requests) in [
        ("", 7),
        (", 'capacity' = '3'", 3),
        (", 'async' = 'false'", 1),
        (", 'async' = 'true', 'output-mode' = 'ordered'", 7),
    ] {
        let plan = plan(hint);
        assert!(plan.contains(&format!("at most {} requested rows", requests * 1024)), "{hint}: {plan}");
    }
    let plan = plan(&format!(", {RETRY}, 'fixed-delay' = '10 s', 'max-attempts' = '3'"));
    assert!(plan.contains("keys without rows again after 10s, 3 times at most"), "{plan}");
}

#[test]
fn hints_that_say_nothing_are_refused_where_they_stand() {
    let refused = |hint: &str| {
        let mut engine = shelf_engine(&Shelf::new(0), "");
        let Err(Error::Sql(error)) = engine.query(&format!("SELECT /*+ {hint} */ n, name FROM {JOIN}")) else {
            panic!("{hint} is taken")
        };
        let column = usize::try_from(error.position.unwrap().column).unwrap();
        (error.message.clone(), error.line_text[column - 1..column - 1 + error.length].to_string())
    };
    for (hint, said, word) in [
        ("LOOKUP('table' = 'x')", "unknown table or alias 'x'", "x"),
        ("LOOKUP('table' = 'o')", "has no FOR SYSTEM_TIME AS OF", "o"),
        ("LOOKUP('async' = 'true')", "says no 'table'", "LOOKUP"),
        ("LOOKUP('t')", "is written LOOKUP(", "LOOKUP"),
        ("LOOKUP('table' = 't', 'asink' = 'true')", "did you mean 'async'?", "asink"),
        ("LOOKUP('table' = 't', 'fixed-delay' = 'soon')", "a time span", "fixed-delay"),
        ("LOOKUP('table' = 't', 'max-attempts' = '3')", "needs all of", "max-attempts"),
        ("LOOKUP('table' = 't'), LOOKUP('table' = 't')", "two hints LOOKUP", "t"),
    ] {
        let (message, at) = refused(hint);
        assert!(message.contains(said), "{hint}: {message}");
        assert_eq!(at, word, "{hint}: {message}");
    }
    let mut engine = Engine::new().unwrap();
    engine.execute(ORDERS).unwrap();
    let table = MemTable::try_new(things().schema(), vec![vec![things()]]).unwrap();
    engine.register_table_provider("things", ProviderTable::new(Arc::new(table))).unwrap();
    let hinted = |hint: &str| format!("SELECT /*+ LOOKUP('table' = 't', {hint}) */ n, name FROM {JOIN}");
    let retry = hinted(&format!("{RETRY}, 'fixed-delay' = '10 s', 'max-attempts' = '3'"));
    let message = engine.query(&retry).unwrap_err().to_string();
    assert!(message.contains("retry-predicate: table 'things' is kept whole"), "{message}");
    engine.execute(&format!("EXPLAIN {}", hinted("'async' = 'true'"))).unwrap();
}
