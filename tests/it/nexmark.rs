//! Nexmark's queries whose answers change: after each step, folded, they are what DataFusion answers in batch over the events
//! so far, on any number of workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream::Engine;
use millstream::change::{ChangeBatch, RowKind};
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::connector::nexmark::{EventKind, Generator, NexmarkConfig};
use millstream::connector::text::write_row;
use millstream::plan::{CompileOptions, Query as Planned, compile};
use millstream::runtime::{Circuit, Executor, SourceState, StepInput};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use millstream::table::project;

#[allow(dead_code, reason = "what only the benchmark needs")]
#[path = "../../benches/nexmark/queries.rs"]
mod queries;

use queries::{QUERIES, Query};

const EVENTS: usize = 20_000;
/// Of fifty events in a row: persons, then auctions, then bids.
const CYCLE: usize = 50;
/// How many events each step takes, in cycles, and the rows of a batch.
const STEPS: [(usize, usize); 6] = [(1, 8192), (30, 7), (2, 8192), (127, 1000), (200, 64), (40, 8192)];
/// After this step the state is handed to other workers.
const HANDED_OVER: usize = 3;

/// A stream: its table, its place in a cycle and how many events it has there.
const STREAMS: [(&str, EventKind, usize, usize); 3] =
    [("person", EventKind::Person, 0, 1), ("auction", EventKind::Auction, 1, 3), ("bid", EventKind::Bid, 4, 46)];

macro_rules! hold {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                let query = query(stringify!($name));
                holds(query, 1, 1);
                holds(query, 3, 2);
                the_page_tells_how_many_rows_to_expect(query);
            }
        )*
    };
}

hold!(q3, q4, q6, q9, q15, q16, q17, q18, q19, q20, q23);

/// Queries whose answers only grow: nothing is there of windows that are open, and in the end all is.
macro_rules! end {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                let query = query(stringify!($name));
                ends(query, 1, 1);
                ends(query, 3, 2);
                the_page_tells_how_many_rows_to_expect(query);
            }
        )*
    };
}

end!(q5, q7, q8);

fn query(name: &str) -> &'static Query {
    let whole = |q: &&Query| q.name.split('_').next() == Some(name) && q.text.contains("nexmark_result");
    QUERIES.iter().find(whole).unwrap()
}

/// Rows and how often each is there.
type Table = BTreeMap<String, i64>;

/// Holds a query against batch in the end.
fn ends(query: &Query, workers: usize, later_workers: usize) {
    run(query, workers, later_workers, false);
}

/// Holds a query against batch after every step.
fn holds(query: &Query, workers: usize, later_workers: usize) {
    run(query, workers, later_workers, true);
}

fn run(query: &Query, workers: usize, later_workers: usize, always: bool) {
    let tables = streams();
    let circuit = Arc::new(circuit(query));
    let mut executor = Executor::try_new(Arc::clone(&circuit), workers).unwrap();
    let mut answers = Table::new();
    let mut done = 0;
    for (step, (cycles, batch_rows)) in STEPS.into_iter().enumerate() {
        let until = done + cycles;
        let mut input = StepInput { processing_time: 1_000 + step as i64, ..StepInput::default() };
        for spec in &circuit.sources {
            let (rows, share) = &tables[spec.table.name.as_str()];
            let rows = project(&rows.slice(done * share, cycles * share), &spec.projection).unwrap();
            let starts = (0..rows.num_rows()).step_by(batch_rows);
            let batch = |from: usize| rows.slice(from, batch_rows.min(rows.num_rows() - from));
            input.batches.push(starts.map(|from| ChangeBatch::append(batch(from))).collect());
            input.sources.push(SourceState::Active);
        }
        done = until;
        let output = executor.step(input).unwrap();
        output.sinks[0].iter().for_each(|changes| fold(&mut answers, changes));
        if always {
            compare(query, &answers, &batch(query, &tables, done), step);
        }
        if step == HANDED_OVER {
            let snapshot = executor.snapshot().unwrap();
            executor = Executor::try_new(Arc::clone(&circuit), later_workers).unwrap();
            executor.restore(snapshot).unwrap();
        }
    }
    assert_eq!(done * CYCLE, EVENTS);
    let ended = vec![SourceState::Ended; circuit.sources.len()];
    let last = StepInput { sources: ended, processing_time: 1_000_000, ..StepInput::default() };
    executor.step(last).unwrap().sinks[0].iter().for_each(|changes| fold(&mut answers, changes));
    compare(query, &answers, &batch(query, &tables, done), STEPS.len());
}

fn compare(query: &Query, ours: &Table, expected: &Table, step: usize) {
    if ours == expected {
        return;
    }
    let missing: Vec<_> = expected.iter().filter(|(row, n)| ours.get(*row) != Some(n)).take(5).collect();
    let wrong: Vec<_> = ours.iter().filter(|(row, n)| expected.get(*row) != Some(n)).take(5).collect();
    panic!("{} after step {step}: there are {wrong:#?} where {missing:#?} is expected", query.name);
}

/// Applies changes; at no time is a row gone that was not there.
fn fold(table: &mut Table, changes: &ChangeBatch) {
    for row in 0..changes.num_rows() {
        let text = text(&changes.rows, row);
        let count = table.entry(text.clone()).or_default();
        *count += if changes.kind(row).is_addition() { 1 } else { -1 };
        assert!(*count >= 0, "{} of a row that is not there: {text}", changes.kind(row));
        if *count == 0 {
            table.remove(&text);
        }
    }
}

fn text(rows: &RecordBatch, row: usize) -> String {
    let mut text = String::new();
    write_row(&mut text, RowKind::Insert, rows, row).unwrap();
    text
}

fn circuit(query: &Query) -> Circuit {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Channels::default()));
    let mut session = Session::new(connectors);
    let mut plan = None;
    for statement in parse_script(&(queries::tables("channel") + query.sql())).unwrap() {
        if let Outcome::Query(query) = session.execute(&statement).unwrap() {
            plan = Some(query.plan);
        }
    }
    compile(
        vec![Planned { plan: plan.unwrap(), target: None, state_ttls: Default::default() }],
        CompileOptions::default(),
    )
    .unwrap()
}

/// All events of each stream, with `nr`, the order in which they arrive, and how many there are in a cycle.
fn streams() -> HashMap<&'static str, (RecordBatch, usize)> {
    let config = NexmarkConfig { events: EVENTS as u64, out_of_order: 50, ..NexmarkConfig::default() };
    let make = |(name, kind, place, share): (&'static str, EventKind, usize, usize)| {
        let mut generator = Generator::new(&config, Some(kind), schema(kind), 0..EVENTS as u64).unwrap();
        let rows = generator.batch(EVENTS).unwrap();
        assert_eq!(rows.num_rows(), EVENTS / CYCLE * share);
        let numbers = (0..rows.num_rows()).map(|i| (i / share * CYCLE + place + i % share) as i64);
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        let fields = rows.schema().fields().iter().cloned().collect::<Vec<_>>();
        let fields = fields.into_iter().chain([Arc::new(Field::new("nr", DataType::Int64, true))]);
        let columns = rows.columns().iter().cloned().chain([numbers]).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap();
        (name, (rows, share))
    };
    STREAMS.into_iter().map(make).collect()
}

fn schema(kind: EventKind) -> SchemaRef {
    let numbers = ["id", "seller", "category", "initialBid", "reserve", "auction", "bidder", "price"];
    let field = |name: &&str| {
        let data_type = match *name {
            "dateTime" | "expires" => DataType::Timestamp(TimeUnit::Millisecond, None),
            name if numbers.contains(&name) => DataType::Int64,
            _ => DataType::Utf8,
        };
        Field::new(*name, data_type, true)
    };
    Arc::new(Schema::new(kind.fields().iter().map(field).collect::<Vec<_>>()))
}

/// DataFusion's answer over the events of so many cycles.
fn batch(query: &Query, tables: &HashMap<&'static str, (RecordBatch, usize)>, cycles: usize) -> Table {
    let config = SessionConfig::new().with_target_partitions(1);
    let config = config.set_bool("datafusion.sql_parser.enable_ident_normalization", false);
    let context = SessionContext::new_with_config(config);
    for (name, (rows, share)) in tables {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows.slice(0, cycles * share)]]).unwrap();
        context.register_table(*name, Arc::new(table)).unwrap();
    }
    let sql = query.batch.unwrap().replace("/*", "").replace("*/", "");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async { context.sql(&sql).await.unwrap().collect().await.unwrap() });
    let mut table = Table::new();
    for rows in &batches {
        (0..rows.num_rows()).for_each(|row| *table.entry(text(rows, row)).or_default() += 1);
    }
    table
}

/// Runs the query as it stands in `queries/nexmark`, over the one table of all events.
fn the_page_tells_how_many_rows_to_expect(query: &Query) {
    let expected = query.text.split_once("-- Expected: ").unwrap().1.split_once(" row").unwrap().0;
    let declarations = query.text.split_once("INSERT INTO").unwrap().0;
    let mut engine = Engine::new().unwrap();
    engine.declare(declarations).unwrap();
    let (job, mut results) = engine.query(query.sql()).unwrap();
    let mut answer = Table::new();
    while let Some(changes) = results.blocking_next() {
        fold(&mut answer, &changes);
    }
    engine.block_on(job.wait()).unwrap();
    assert_eq!(answer.values().sum::<i64>().to_string(), expected.replace(',', ""), "{}", query.name);
}
