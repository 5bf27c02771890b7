//! MATCH_RECOGNIZE on hot keys: partitions with very many rows, on which a search that begins anew at each row would not end.
//!
//! `cargo bench --bench patterns [-- ROWS [WORD]]` prints, for each question (that has the word in its name), the seconds that so many
//! rows take, and the nanoseconds a row.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use millstream::change::ChangeBatch;
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::plan::{CompileOptions, Query, StateTtls, compile};
use millstream::runtime::{Executor, SourceState, StepInput};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use millstream::table::project;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const ROWS: usize = 1_000_000;
/// The rows of a batch; a step takes one.
const BATCH: usize = 8192;
const TABLE: &str =
    "CREATE TABLE t (k BIGINT, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
    WITH ('connector' = 'channel')";
/// The last of Nexmark's queries for patterns.
const DROP: &str = "AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* C) WITHIN INTERVAL '5' SECOND
    DEFINE B AS B.price > A.price - 50, C AS C.price < A.price - 50";
const AVERAGE: &str = "AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS AVG(A.price) < 10000";
const SINGLE: &str = "AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* C) DEFINE B AS B.price > 0, C AS C.price < 0";
const SINGLE_WITHIN: &str = "AFTER MATCH SKIP TO NEXT ROW PATTERN (A B* C) WITHIN INTERVAL '5' SECOND DEFINE B AS B.price > 0, C AS C.price < 0";
const EITHER: &str = "AFTER MATCH SKIP PAST LAST ROW PATTERN ((A | B)* C)
    DEFINE A AS A.price < 500, B AS B.price >= 400, C AS C.price < 0";
const EITHER_WITHIN: &str = "AFTER MATCH SKIP PAST LAST ROW PATTERN ((A | B)* C) WITHIN INTERVAL '5' SECOND
    DEFINE A AS A.price < 500, B AS B.price >= 400, C AS C.price < 0";

/// The price of a row.
type Price = fn(usize, &mut Xoshiro256PlusPlus) -> i64;

/// As Nexmark has them.
fn nexmark(_: usize, rng: &mut Xoshiro256PlusPlus) -> i64 {
    (10f64.powf(rng.random_range(0.0..6.0)) * 100.0) as i64
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let rows = args.first().map_or(ROWS, |a| a.parse().expect("a number of rows"));
    let word = args.get(1).map_or("", String::as_str);
    let equal: Price = |_, _| 1000;
    let rising: Price = |row, _| row as i64;
    let falling: Price = |row, _| 1_000_000_000 - row as i64;
    let random: Price = |_, rng| rng.random_range(0..1000);
    // Over a hundred thousand rows up, then down.
    let turning: Price = |row, _| 1_000_000 + (row % 200_000).min(200_000 - row % 200_000) as i64;
    // Up slowly, and sometimes down at once.
    let saw: Price = |row, rng| 1000 + row as i64 % 3000 + rng.random_range(0..20);
    let cases: [(&str, &str, usize, Price); 14] = [
        ("A B* C, one key, prices as Nexmark's", DROP, 1, nexmark),
        ("A B* C, one key, equal prices", DROP, 1, equal),
        ("A B* C, one key, rising prices", DROP, 1, rising),
        ("A B* C, one key, falling prices", DROP, 1, falling),
        ("A B* C, one key, prices that turn", DROP, 1, turning),
        ("A B* C, one key, a saw of prices", DROP, 1, saw),
        ("A B* C, 100 keys, prices as Nexmark's", DROP, 100, nexmark),
        ("A B* C, 100000 keys, prices as Nexmark's", DROP, 100_000, nexmark),
        ("A B* C by rows alone, one key", SINGLE, 1, equal),
        ("A B* C by rows alone, WITHIN, TO NEXT ROW", SINGLE_WITHIN, 1, equal),
        ("(A | B)* C, one key", EITHER, 1, random),
        ("(A | B)* C, one key, WITHIN", EITHER_WITHIN, 1, random),
        ("A+ B by average, one key, prices as Nexmark's", AVERAGE, 1, nexmark),
        ("A+ B by average, 100 keys, all below", AVERAGE, 100, equal),
    ];
    for (name, clauses, keys, price) in cases.into_iter().filter(|(name, ..)| name.contains(word)) {
        let batches = batches(rows, keys, price);
        let begin = Instant::now();
        let matches = run(clauses, &batches);
        let seconds = begin.elapsed().as_secs_f64();
        println!("{name:<50} {seconds:>8.2} s {:>8.0} ns a row {matches:>9} matches", seconds * 1e9 / rows as f64);
    }
}

fn batches(rows: usize, keys: usize, price: Price) -> Vec<RecordBatch> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let batch = |from: usize, rng: &mut Xoshiro256PlusPlus| {
        let all = from..(from + BATCH).min(rows);
        let k: ArrayRef = Arc::new(Int64Array::from_iter_values(all.clone().map(|_| rng.random_range(0..keys as i64))));
        let price: ArrayRef = Arc::new(Int64Array::from_iter_values(all.clone().map(|row| price(row, rng))));
        // Ten rows a millisecond.
        let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(all.map(|row| row as i64 / 10)));
        let columns = [("k", k, true), ("price", price, true), ("ts", ts, true)];
        RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
    };
    (0..rows).step_by(BATCH).map(|from| batch(from, &mut rng)).collect()
}

/// How many matches there are.
fn run(clauses: &str, batches: &[RecordBatch]) -> usize {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Channels::default()));
    let mut session = Session::new(connectors);
    let query = format!(
        "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES LAST(ts) AS until, FIRST(price) AS first_price,
         LAST(price) AS last_price ONE ROW PER MATCH {clauses}) AS m"
    );
    let mut plan = None;
    for text in [TABLE, &query] {
        let statements = parse_script(text).expect("SQL");
        if let Outcome::Query(query) = session.execute(&statements[0]).expect("a plan") {
            plan = Some(query.plan);
        }
    }
    let query = Query { plan: plan.expect("a query"), target: None, state_ttls: StateTtls::new() };
    let circuit = Arc::new(compile(vec![query], CompileOptions::default()).expect("a circuit"));
    let mut executor = Executor::try_new(Arc::clone(&circuit), 1).expect("an executor");
    let mut matches = 0;
    let source = &circuit.sources[0];
    let mut step = |batches: Vec<ChangeBatch>, state: SourceState| {
        let input = StepInput { batches: vec![batches], sources: vec![state], ..StepInput::default() };
        let out = executor.step(input).expect("a step");
        matches += out.sinks[0].iter().map(ChangeBatch::num_rows).sum::<usize>();
    };
    for batch in batches {
        let rows = project(batch, &source.projection).expect("columns");
        step(vec![ChangeBatch::append(rows)], SourceState::Active);
    }
    step(Vec::new(), SourceState::Ended);
    matches
}
