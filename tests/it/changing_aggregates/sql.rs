//! From SQL to changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::util::display::array_value_to_string;
use millstream::Engine;
use millstream::change::ChangeBatch;
use millstream::connector::Connectors;
use millstream::connector::channel::Channels;
use millstream::engine::Answer;
use millstream::plan::{CompileOptions, Query, compile};
use millstream::runtime::{Circuit, Executor, SourceState, StepInput};
use millstream::sql::parse::parse_script;
use millstream::sql::{Outcome, Session};
use millstream::table::project;

const BIDS: &str = "CREATE TABLE bids (auction INT, bidder STRING, price BIGINT) WITH ('connector' = 'channel')";

type Bid = (Option<i32>, Option<&'static str>, Option<i64>);

fn engine() -> Engine {
    let mut engine = Engine::new().unwrap();
    engine.execute(BIDS).unwrap();
    engine
}

fn bids(rows: &[Bid]) -> RecordBatch {
    let auction: ArrayRef = Arc::new(rows.iter().map(|r| r.0).collect::<Int32Array>());
    let bidder: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<StringArray>());
    let price: ArrayRef = Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>());
    let columns = [("auction", auction, true), ("bidder", bidder, true), ("price", price, true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn shown(batch: &ChangeBatch) -> Vec<String> {
    let row = |i: usize| {
        let value = |c: &ArrayRef| match c.is_null(i) {
            true => "NULL".to_string(),
            false => array_value_to_string(c, i).unwrap(),
        };
        let values: Vec<String> = batch.rows.columns().iter().map(value).collect();
        format!("{}[{}]", batch.kind(i), values.join(", "))
    };
    (0..batch.num_rows()).map(row).collect()
}

fn circuit(query: &str, options: CompileOptions) -> Arc<Circuit> {
    let mut connectors = Connectors::default();
    connectors.register(Arc::new(Channels::default()));
    let mut session = Session::new(connectors);
    session.execute(&parse_script(BIDS).unwrap()[0]).unwrap();
    let Outcome::Query(query) = session.execute(&parse_script(query).unwrap()[0]).unwrap() else { panic!("no query") };
    Arc::new(compile(vec![Query { plan: query.plan, target: None, state_ttls: query.state_ttls }], options).unwrap())
}

/// What a query gives for steps of bids at some times, step by step.
fn timed_steps(query: &str, options: CompileOptions, steps: &[(i64, &[Bid])]) -> Vec<Vec<String>> {
    let circuit = circuit(query, options);
    let mut executor = Executor::try_new(Arc::clone(&circuit), 1).unwrap();
    let mut answers = Vec::new();
    for (time, step) in steps {
        let rows = project(&bids(step), &circuit.sources[0].projection).unwrap();
        let batches = vec![vec![ChangeBatch::append(rows)]];
        let input =
            StepInput { batches, sources: vec![SourceState::Active], processing_time: *time, ..StepInput::default() };
        let output = executor.step(input).unwrap();
        answers.push(output.sinks[0].iter().flat_map(shown).collect());
    }
    answers
}

fn steps(query: &str, steps: &[&[Bid]]) -> Vec<Vec<String>> {
    let steps: Vec<(i64, &[Bid])> = steps.iter().map(|s| (0, *s)).collect();
    timed_steps(query, CompileOptions::default(), &steps)
}

const FIRST: &[Bid] =
    &[(Some(1), Some("ann"), Some(10)), (Some(2), Some("bob"), Some(5)), (Some(1), Some("bob"), None)];
const SECOND: &[Bid] = &[(Some(1), Some("ann"), Some(4)), (None, None, Some(7))];

#[test]
fn group_by() {
    let query = "SELECT auction, COUNT(*), COUNT(price), SUM(price), AVG(price), MIN(price), MAX(price) FROM bids GROUP BY \
                 auction";
    let found = steps(query, &[FIRST, SECOND]);
    assert_eq!(found[0], ["+I[1, 2, 1, 10, 10, 10, 10]", "+I[2, 1, 1, 5, 5, 5, 5]"]);
    assert_eq!(found[1], ["-U[1, 2, 1, 10, 10, 10, 10]", "+U[1, 3, 2, 14, 7, 4, 10]", "+I[NULL, 1, 1, 7, 7, 7, 7]"]);
}

#[test]
fn over_everything() {
    let found = steps("SELECT COUNT(*), SUM(price) FILTER (WHERE price > 5), MAX(bidder) FROM bids", &[FIRST, SECOND]);
    assert_eq!(found, [vec!["+I[3, 10, bob]"], vec!["-U[3, 10, bob]", "+U[5, 17, bob]"]]);
}

#[test]
fn distinct() {
    let found = steps("SELECT DISTINCT bidder FROM bids", &[FIRST, SECOND]);
    assert_eq!(found, [vec!["+I[ann]", "+I[bob]"], vec!["+I[NULL]"]]);
    let query = "SELECT COUNT(DISTINCT bidder), SUM(DISTINCT auction), COUNT(DISTINCT bidder) FILTER (WHERE price > 5) FROM bids";
    let found = steps(query, &[FIRST, SECOND]);
    assert_eq!(found, [vec!["+I[2, 3, 1]"], vec![]]);
}

#[test]
fn union_makes_distinct() {
    let found = steps("SELECT auction FROM bids UNION SELECT auction + 1 FROM bids", &[FIRST]);
    let mut rows = found[0].clone();
    rows.sort();
    assert_eq!(rows, ["+I[1]", "+I[2]", "+I[3]"]);
}

#[test]
fn having_shows_what_enters_and_leaves() {
    let query = "SELECT auction, COUNT(*) FROM bids GROUP BY auction HAVING COUNT(*) = 2";
    assert_eq!(steps(query, &[FIRST, SECOND]), [vec!["+I[1, 2]"], vec!["-U[1, 2]"]]);
}

#[test]
fn aggregates_of_aggregates() {
    let query = "SELECT n, COUNT(*), MAX(auction), LISTAGG(bidder) FROM (SELECT auction, COUNT(*) AS n, MIN(bidder) AS bidder \
                 FROM bids GROUP BY auction) GROUP BY n";
    let found = steps(query, &[FIRST, SECOND]);
    assert_eq!(found[0], ["+I[2, 1, 1, ann]", "+I[1, 1, 2, bob]"]);
    let mut second = found[1].clone();
    second.sort();
    assert_eq!(second, ["+I[3, 1, 1, ann]", "+U[1, 2, 2, bob]", "-D[2, 1, 1, ann]", "-U[1, 1, 2, bob]"]);
}

#[test]
fn grouping_sets() {
    let query =
        "SELECT auction, bidder, COUNT(*), GROUPING(bidder) FROM bids GROUP BY GROUPING SETS ((auction), (bidder), ())";
    let mut found = steps(query, &[FIRST]).remove(0);
    found.sort();
    let wanted = [
        "+I[1, NULL, 2, 1]",
        "+I[2, NULL, 1, 1]",
        "+I[NULL, NULL, 3, 1]",
        "+I[NULL, ann, 1, 0]",
        "+I[NULL, bob, 2, 0]",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn computed_keys_and_constants() {
    let found = steps("SELECT auction * 2, 'x', SUM(price + 1) FROM bids GROUP BY auction * 2, 'x'", &[FIRST]);
    assert_eq!(found, [vec!["+I[2, x, 11]", "+I[4, x, 6]"]]);
    let found = steps("SELECT COUNT(*) FROM bids GROUP BY 'x'", &[FIRST]);
    assert_eq!(found, [vec!["+I[3]"]]);
}

#[test]
fn other_functions() {
    let query = "SELECT FIRST_VALUE(bidder), LAST_VALUE(bidder), ARRAY_AGG(auction), LISTAGG(bidder, '+'), STDDEV_POP(price), \
                 median(price) FROM bids";
    let found = steps(query, &[FIRST]);
    assert_eq!(found, [vec!["+I[ann, bob, [1, 2, 1], ann+bob+bob, 2.5, 7.5]"]]);
}

fn plan(query: &str) -> String {
    match engine().execute(&format!("EXPLAIN {query}")).unwrap() {
        Answer::Rows { rows, .. } => rows.concat().join("\n"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plans_tell_what_bounds_the_state() {
    let plan_of = |select: &str| plan(&format!("SELECT {select} FROM bids GROUP BY auction"));
    assert!(plan_of("auction, SUM(price)").contains("one row per distinct (auction)"));
    let distinct = plan_of("COUNT(DISTINCT bidder)");
    assert!(distinct.contains("one value per distinct (auction, bidder)"), "{distinct}");
    assert!(plan_of("ARRAY_AGG(price)").contains("unbounded: grows with rows of array_agg"));
    let nested = plan("SELECT MAX(n) FROM (SELECT auction, COUNT(*) AS n FROM bids GROUP BY auction)");
    assert!(nested.contains("one value per distinct (n)"), "{nested}");
}

#[test]
fn plans_tell_of_rows_on_their_way_into_groups() {
    let sums = "(SELECT auction, SUM(price) AS n FROM bids GROUP BY auction)";
    let computed = plan(&format!("SELECT auction % 10, MAX(n) FROM {sums} GROUP BY auction % 10"));
    assert_eq!(computed.matches("one row per distinct (auction)").count(), 1, "{computed}");
    let sets = plan(&format!("SELECT auction, n, COUNT(*) FROM {sums} GROUP BY ROLLUP (auction, n)"));
    assert!(sets.contains("upsert by (auction, __grouping_id)"), "{sets}");
    assert_eq!(sets.matches("one row per distinct (auction)").count(), 1, "{sets}");
}

#[test]
fn groups_that_nobody_touches_are_forgotten() {
    let options = CompileOptions { state_ttl: Some(1000), ..CompileOptions::default() };
    let one: &[Bid] = &[(Some(1), Some("ann"), Some(10))];
    let two: &[Bid] = &[(Some(2), Some("bob"), Some(5))];
    let query =
        "SELECT auction, COUNT(*), COUNT(DISTINCT bidder), MAX(price), LISTAGG(bidder) FROM bids GROUP BY auction";
    let found = timed_steps(query, options, &[(0, one), (999, one), (1998, two), (1999, one), (2000, one)]);
    assert_eq!(found[1], ["-U[1, 1, 1, 10, ann]", "+U[1, 2, 1, 10, ann,ann]"]);
    assert_eq!(found[3], ["+I[1, 1, 1, 10, ann]"]);
    assert_eq!(found[4], ["-U[1, 1, 1, 10, ann]", "+U[1, 2, 1, 10, ann,ann]"]);
}
