//! Answers that are never wrong on the way, in notebook style: a ledger whose balances must add up to nothing, first as an
//! engine sees it that handles a change at a time, then here.

use std::sync::Arc;

use futures::FutureExt;
use millstream::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream::engine::{Answer, Output, lines};
use millstream::{Engine, Result};

/// Transfers, as they come: who pays whom how much.
const PUSHES: [&[(&str, &str, i64)]; 4] = [
    &[("ann", "bob", 10), ("bob", "cid", 10), ("cid", "ann", 10)],
    &[("ann", "bob", 5)],
    &[("bob", "cid", 7)],
    &[("cid", "ann", 1), ("bob", "ann", 2), ("bob", "ann", 2)],
];

const QUESTION: &str =
    "CREATE TABLE transfers (payer STRING, payee STRING, amount BIGINT) WITH ('connector' = 'channel');

CREATE VIEW credits AS SELECT payee AS account, SUM(amount) AS amount FROM transfers GROUP BY payee;
CREATE VIEW debits AS SELECT payer AS account, SUM(amount) AS amount FROM transfers GROUP BY payer;
CREATE VIEW balances AS
SELECT credits.account, credits.amount - debits.amount AS balance
FROM credits JOIN debits ON credits.account = debits.account;";

const SINKS: &str = "CREATE TABLE changes (account STRING, balance BIGINT) WITH ('connector' = 'channel');
CREATE TABLE totals (total BIGINT) WITH ('connector' = 'channel');
CREATE TABLE seen (transfers BIGINT) WITH ('connector' = 'channel');";

const INSERTS: &str = "EXECUTE STATEMENT SET BEGIN
  INSERT INTO changes SELECT account, balance FROM balances;
  INSERT INTO totals SELECT SUM(balance) FROM balances;
  INSERT INTO seen SELECT COUNT(*) FROM transfers;
END;";

fn main() -> Result<()> {
    let mut engine = Engine::new()?;
    the_question(&mut engine)?;
    a_change_at_a_time();
    step_by_step(&mut engine)?;
    what_is_kept(&mut engine)?;
    Ok(())
}

fn the_question(engine: &mut Engine) -> Result<()> {
    explain(
        "1. A ledger",
        "Every transfer takes from one account what it gives to another. What an account has got, what it has paid, and the
difference of the two, its balance: all three are views, and one stream feeds them. Whatever has been transferred so far,
the balances of all accounts add up to 0.",
    );
    println!("{QUESTION}\n");
    engine.declare(QUESTION)
}

fn a_change_at_a_time() {
    explain(
        "2. What an engine says that takes a change at a time",
        "Ann, Bob and Cid have paid 10 to each other in a circle: three balances of 0. Now Ann pays Bob 5. The transfer goes two
ways, to the credits and to the debits, and the join of both takes what comes of it one change after the other. By hand,
as Apache Flink does it, if the credits happen to be first:

    change taken by the join   the balances then                their sum
    -U[bob, 10] of the credits ann 0,         cid 0             0
    +U[bob, 15] of the credits ann 0,  bob 5, cid 0             5   wrong: nobody has paid it
    -U[ann, 10] of the debits          bob 5, cid 0             5   wrong, and Ann is missing
    +U[ann, 15] of the debits  ann -5, bob 5, cid 0             0

Each line is sent on: who reads the sum at the wrong moment reads 5, and an alarm on `total <> 0` goes off. It is right
again in the end, but a stream has no end. Between the two halves of every transfer there is a moment like this; under
load, with thousands of halves under way at once, the sum is hardly ever right.",
    );
}

fn step_by_step(engine: &mut Engine) -> Result<()> {
    explain(
        "3. The same here",
        "The job runs in steps. A step takes the rows that have come, lets both halves through, and gives out what has changed in
the end: one change for each key. So what has come out after a step is the answer for all rows taken so far, exactly.
The sum is given once, 0, and never again: nothing ever changed it.",
    );
    println!("{SINKS}\n{INSERTS}\n");
    engine.declare(SINKS)?;
    let (mut changes, mut totals, mut seen) =
        (engine.output("changes")?, engine.output("totals")?, engine.output("seen")?);
    let input = engine.input("transfers")?;
    let job = engine.run(INSERTS, |_, _| Ok(()))?;
    let expected = [
        vec!["+I[ann, 0]", "+I[bob, 0]", "+I[cid, 0]"],
        vec!["+U[ann, -5]", "+U[bob, 5]", "-U[ann, 0]", "-U[bob, 0]"],
        vec!["+U[bob, -2]", "+U[cid, 7]", "-U[bob, 5]", "-U[cid, 0]"],
        vec!["+U[ann, 0]", "+U[bob, -6]", "+U[cid, 6]", "-U[ann, -5]", "-U[bob, -2]", "-U[cid, 7]"],
    ];
    for (push, expected) in PUSHES.iter().zip(expected) {
        input.blocking_push(transfers(push)?)?;
        // Every step changes the count, and its results come out side by side: when it is there, so are the others.
        let count = seen.blocking_next();
        let (of_balances, of_total) = (ready(&mut changes)?, ready(&mut totals)?);
        println!("{} transfer(s) more", push.len());
        show("balances", &of_balances);
        show("total", &of_total);
        assert!(count.is_some());
        let mut sorted: Vec<&str> = of_balances.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
        assert_eq!(of_total, if std::ptr::eq(*push, PUSHES[0]) { vec!["+I[0]"] } else { vec![] });
    }
    println!();
    drop(input);
    match job {
        Some(job) => engine.block_on(job.wait()).map(drop),
        None => Ok(()),
    }
}

fn what_is_kept(engine: &mut Engine) -> Result<()> {
    explain(
        "4. What it keeps for that",
        "EXPLAIN says how the rows of each edge change, and what bounds the state: here the number of accounts.",
    );
    let Answer::Rows { rows, .. } = engine.execute("EXPLAIN SELECT SUM(balance) AS total FROM balances")? else {
        unreachable!("EXPLAIN gives rows")
    };
    rows.concat().iter().for_each(|line| println!("    {line}"));
    Ok(())
}

/// What has come out by now.
fn ready(output: &mut Output) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    while let Some(Some(changes)) = output.next().now_or_never() {
        rows.extend(lines(&changes)?.lines().map(String::from));
    }
    Ok(rows)
}

/// Prints a heading and what it is about.
fn explain(heading: &str, text: &str) {
    println!("{heading}\n{}\n\n{text}\n", "=".repeat(heading.chars().count()));
}

fn show(what: &str, changes: &[String]) {
    let changes = if changes.is_empty() { "no change".to_string() } else { changes.join(" ") };
    println!("    {what}: {changes}");
}

/// Transfers as a record batch.
fn transfers(rows: &[(&str, &str, i64)]) -> Result<RecordBatch> {
    let payers: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0)));
    let payees: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1)));
    let amounts: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2)));
    Ok(RecordBatch::try_from_iter([("payer", payers), ("payee", payees), ("amount", amounts)])?)
}
