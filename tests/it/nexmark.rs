//! Nexmark: after each step, folded, the answers are what DataFusion answers in batch over the events so far, on any number of
//! workers; those that wait for the watermark in the end. What batch cannot say is held against the answer found by hand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream::Engine;
use millstream::change::{ChangeBatch, ManualClock, RowKind};
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

mod patterns;
#[path = "../../examples/nexmark_q14.rs"]
mod q14;

use queries::{QUERIES, Query};

const EVENTS: usize = 20_000;
/// Events a second: several windows of ten seconds.
const RATE: u64 = 500;
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

hold!(q3, q4, q6, q9, q10_log, q15, q16, q17, q18, q19, q20, q23);
hold!(q5_hot_items, q7_highest_bid, q8, q11);
hold!(pattern_q0_falls_and_rises, pattern_q1_average, pattern_q2_average_from_each, pattern_q3_price_drop);

#[test]
fn what_takes_one_row_after_another() {
    for name in ["q0", "q1", "q2", "q14", "q21", "q22"] {
        holds(query(name), 1, 1);
        holds(query(name), 3, 2);
    }
}

#[test]
fn q14s_page_says_the_same_without_a_function() {
    let page = include_str!("../../queries/nexmark/q14.sql").split_once("INSERT INTO nexmark_result\n").unwrap().1;
    let page = page.trim_end().trim_end_matches(';');
    assert!(!page.contains("count_char"));
    let tables = streams();
    let answer = |sql: &str| {
        let mut answer = Table::new();
        run(&circuit(sql), &tables, [1, 1], |changes, _| fold_all(&mut answer, changes));
        answer
    };
    assert_eq!(answer(page), answer(q14::QUERY));
}

#[test]
fn q10_writes_a_folder_for_each_minute() {
    let folder = tempfile::tempdir().unwrap();
    let page =
        include_str!("../../queries/nexmark/q10.sql").replace("target/nexmark_q10", folder.path().to_str().unwrap());
    let mut engine = Engine::new().unwrap();
    let job = engine.run(&page, |_, _| Ok(())).unwrap().unwrap();
    engine.block_on(job.wait()).unwrap();
    let mut rows = 0;
    let day = folder.path().join("dt=2015-07-15");
    for minute in std::fs::read_dir(&day).unwrap() {
        let minute = minute.unwrap().path();
        let name = minute.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("hm=00"), "{name}");
        for file in std::fs::read_dir(&minute).unwrap() {
            rows += std::fs::read_to_string(file.unwrap().path()).unwrap().lines().count();
        }
    }
    assert_eq!(rows, EVENTS / CYCLE * 46);
}

/// A text from a file for each bid: the rows are looked up outside of the circuit, so the whole engine runs the page.
#[test]
fn q13() {
    let page = include_str!("../../queries/nexmark/q13.sql");
    let root = env!("CARGO_MANIFEST_DIR");
    let page = page.replace("'queries/data/", &format!("'{root}/queries/data/"));
    let (declarations, query) = page.split_once("INSERT INTO nexmark_result\n").unwrap();
    let mut engine = Engine::new().unwrap();
    engine.declare(declarations).unwrap();
    let (job, mut results) = engine.query(query.trim_end().trim_end_matches(';')).unwrap();
    let mut answer = Table::new();
    while let Some(changes) = results.blocking_next() {
        fold(&mut answer, &changes);
    }
    engine.block_on(job.wait()).unwrap();
    let config = NexmarkConfig { events: EVENTS as u64, ..NexmarkConfig::default() };
    let columns = Arc::new(schema(EventKind::Bid).project(&[0, 1, 2, 5]).unwrap());
    let mut generator = Generator::new(&config, Some(EventKind::Bid), columns, 0..EVENTS as u64).unwrap();
    let bids = generator.batch(EVENTS).unwrap();
    let auctions = bids.column(0).as_primitive::<Int64Type>();
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter_values(auctions.values().iter().map(|a| format!("side {}", a % 10_000))));
    let expected = RecordBatch::try_from_iter(
        ["auction", "bidder", "price", "dateTime"]
            .iter()
            .copied()
            .zip(bids.columns().iter().cloned())
            .chain([("value", texts)]),
    );
    let expected = expected.unwrap();
    let mut rows = Table::new();
    (0..expected.num_rows()).for_each(|row| *rows.entry(text(&expected, row)).or_default() += 1);
    assert!(answer == rows, "{answer:?} where {rows:?} is expected");
}

fn query(name: &str) -> &'static Query {
    QUERIES.iter().find(|q| q.name == name || q.name.split('_').next() == Some(name)).unwrap()
}

/// Whether a query's rows wait for the watermark: then only the whole answer is the one of batch.
fn waits(query: &Query) -> bool {
    ["HOP(", "TUMBLE(", "SESSION(", "MATCH_RECOGNIZE"].iter().any(|word| query.text.contains(word))
}

fn expected(query: &Query, tables: &Streams, cycles: usize) -> Table {
    match query.batch {
        Some(sql) => batch(sql, tables, cycles),
        None => {
            let (bids, share) = &tables["bid"];
            let rows = patterns::answer(query.name, &bids.slice(0, cycles * share));
            assert!(rows.num_rows() > 0, "{} is to find something", query.name);
            let mut table = Table::new();
            (0..rows.num_rows()).for_each(|row| *table.entry(text(&rows, row)).or_default() += 1);
            table
        }
    }
}

/// Rows and how often each is there.
type Table = BTreeMap<String, i64>;

/// Holds a query against batch after every step, or in the end.
fn holds(query: &Query, workers: usize, later_workers: usize) {
    let tables = streams();
    let mut answers = Table::new();
    run(&circuit(query.sql()), &tables, [workers, later_workers], |changes, step| {
        fold_all(&mut answers, changes);
        let cycles = STEPS.iter().take(step + 1).map(|(cycles, _)| cycles).sum();
        if step == STEPS.len() || !waits(query) {
            compare(query, &answers, &expected(query, &tables, cycles), step);
        }
    });
}

/// Runs a circuit over all events; calls `after` each step and the end of the input with what came out.
fn run(
    circuit: &Arc<Circuit>,
    tables: &Streams,
    [workers, later_workers]: [usize; 2],
    mut after: impl FnMut(&[ChangeBatch], usize),
) {
    let mut executor = Executor::try_new(Arc::clone(circuit), workers).unwrap();
    let mut done = 0;
    for (step, (cycles, batch_rows)) in STEPS.into_iter().enumerate() {
        let mut input = StepInput { processing_time: 1_000 + step as i64, ..StepInput::default() };
        for spec in &circuit.sources {
            let (rows, share) = &tables[spec.table.name.as_str()];
            let rows = project(&rows.slice(done * share, cycles * share), &spec.projection).unwrap();
            let starts = (0..rows.num_rows()).step_by(batch_rows);
            let batch = |from: usize| rows.slice(from, batch_rows.min(rows.num_rows() - from));
            input.batches.push(starts.map(|from| ChangeBatch::append(batch(from))).collect());
            input.sources.push(SourceState::Active);
        }
        done += cycles;
        after(&executor.step(input).unwrap().sinks[0], step);
        if step == HANDED_OVER {
            let snapshot = crate::law::exec::through_files(circuit, executor.snapshot().unwrap()).unwrap();
            executor = Executor::try_new(Arc::clone(circuit), later_workers).unwrap();
            executor.restore(snapshot).unwrap();
        }
    }
    assert_eq!(done * CYCLE, EVENTS);
    let ended = vec![SourceState::Ended; circuit.sources.len()];
    let last = StepInput { sources: ended, processing_time: 1_000_000, ..StepInput::default() };
    after(&executor.step(last).unwrap().sinks[0], STEPS.len());
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

fn fold_all(table: &mut Table, changes: &[ChangeBatch]) {
    changes.iter().for_each(|changes| fold(table, changes));
}

fn text(rows: &RecordBatch, row: usize) -> String {
    let mut text = String::new();
    write_row(&mut text, RowKind::Insert, rows, row).unwrap();
    text
}

fn circuit(sql: &str) -> Arc<Circuit> {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Channels::default()));
    let mut session = Session::new(connectors);
    session.register_scalar(q14::count_char());
    let mut plan = None;
    for statement in parse_script(&(queries::tables("channel") + sql)).unwrap() {
        if let Outcome::Query(query) = session.execute(&statement).unwrap() {
            plan = Some(query.plan);
        }
    }
    let query = Planned { plan: plan.unwrap(), target: None, state_ttls: Default::default() };
    Arc::new(compile(vec![query], CompileOptions::default()).unwrap())
}

/// By name the events of a stream, and how many there are of it in a cycle.
type Streams = HashMap<&'static str, (RecordBatch, usize)>;

/// All events of each stream, with `nr`, the order in which they arrive, and how many there are in a cycle.
fn streams() -> Streams {
    let config = NexmarkConfig { events: EVENTS as u64, rate: RATE, out_of_order: 50, ..NexmarkConfig::default() };
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
fn batch(sql: &str, tables: &Streams, cycles: usize) -> Table {
    let config = SessionConfig::new().with_target_partitions(1);
    let config = config.set_bool("datafusion.sql_parser.enable_ident_normalization", false);
    let context = SessionContext::new_with_config(config);
    for (name, (rows, share)) in tables {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows.slice(0, cycles * share)]]).unwrap();
        context.register_table(*name, Arc::new(table)).unwrap();
    }
    context.register_udf(q14::count_char());
    let sql = sql.replace("/*", "").replace("*/", "");
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

/// q12's windows are those of the clock: here it stands still.
#[test]
fn q12_under_the_manual_clock() {
    let text = query("q12_processing_time").text;
    let mut engine = Engine::new().unwrap();
    engine.set_clock(Arc::new(ManualClock::new(25_000)));
    engine.declare(text.split_once("INSERT INTO").unwrap().0).unwrap();
    let (job, mut results) = engine.query(query("q12_processing_time").sql()).unwrap();
    let (mut bids, mut bidders) = (0, std::collections::BTreeSet::new());
    while let Some(changes) = results.blocking_next() {
        assert!(changes.kinds.is_none());
        for row in 0..changes.num_rows() {
            let numbers = |i: usize| changes.rows.column(i).as_primitive::<Int64Type>().value(row);
            let times = |i: usize| changes.rows.column(i).as_primitive::<TimestampMillisecondType>().value(row);
            assert_eq!((times(2), times(3)), (20_000, 30_000));
            assert!(bidders.insert(numbers(0)), "a bidder twice in a window");
            bids += numbers(1);
        }
    }
    engine.block_on(job.wait()).unwrap();
    assert_eq!(bids, 200_000 / 50 * 46);
}
