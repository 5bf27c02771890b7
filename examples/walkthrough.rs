//! A walk through streaming SQL in notebook style: each step prints what it explains, runs it, and shows what came of it.

use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream::engine::{Answer, MetricsSnapshot, lines};
use millstream::{Engine, Result};

fn main() -> Result<()> {
    let mut engine = Engine::new()?;
    table_and_watermark(&mut engine)?;
    disorder_and_a_late_row(&mut engine)?;
    three_kinds_of_windows(&mut engine)?;
    what_explain_says(&mut engine)?;
    a_statement_set(&mut engine)?;
    Ok(())
}

fn table_and_watermark(engine: &mut Engine) -> Result<()> {
    explain(
        "1. A table and its watermark",
        "Clicks come from this program, through a channel. They may come up to two seconds out of order: that is what the
watermark says. When a click of 12:00:07 has been seen, nothing of 12:00:05 or before is waited for.",
    );
    let ddl = "CREATE TABLE clicks (
  page STRING,
  clicks BIGINT,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'channel')";
    println!("{ddl};\n");
    engine.execute(ddl)?;
    Ok(())
}

/// Clicks by page, number and second. The third comes out of order, the sixth too late for its window.
const CLICKS: [(&str, i64, i64); 7] =
    [("home", 1, 1), ("home", 1, 4), ("home", 1, 3), ("cart", 5, 6), ("home", 1, 8), ("cart", 9, 2), ("home", 2, 11)];

fn disorder_and_a_late_row(engine: &mut Engine) -> Result<()> {
    explain(
        "2. Disorder, and a row that comes too late",
        "Clicks are counted by windows of five seconds. The click of second 3 comes after that of second 4 and is counted.
The one of second 8 moves the watermark to 6 and so closes the window that ends at 5; the 9 clicks of second 2, which
come after it, are dropped and counted as late. A window's result comes once, when it is final.",
    );
    let query = "SELECT window_start, page, SUM(clicks) AS clicks
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND))
GROUP BY page, window_start, window_end";
    let (answer, metrics) = run(engine, query)?;
    assert_eq!(
        answer,
        [
            "+I[2024-05-01T12:00, home, 3]",
            "+I[2024-05-01T12:00:05, cart, 5]",
            "+I[2024-05-01T12:00:05, home, 1]",
            "+I[2024-05-01T12:00:10, home, 2]",
        ]
    );
    let late: u64 = metrics.operators.iter().map(|o| o.stats.late_rows).sum();
    let read: u64 = metrics.sources.iter().map(|s| s.rows).sum();
    println!("The job's metrics: {read} rows read, {late} late, in {} step(s).\n", metrics.steps);
    assert_eq!((read, late), (7, 1));
    Ok(())
}

fn three_kinds_of_windows(engine: &mut Engine) -> Result<()> {
    explain(
        "3. Windows side by side, overlapping, and growing",
        "TUMBLE sets windows side by side. HOP begins one every few seconds, so that they overlap and a click is in several.
CUMULATE lets windows grow by a step up to their full size, and then begins anew. The click that came too late above is
kept wherever one of its windows is still open: here in the windows of 12:00:00 to 12:00:10, and not in shorter ones.",
    );
    let count = |windows: &str| {
        format!(
            "SELECT window_start, window_end, SUM(clicks) AS clicks
FROM TABLE({windows})
GROUP BY window_start, window_end"
        )
    };
    let (tumbling, _) = run(engine, &count("TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)"))?;
    assert_eq!(
        tumbling,
        ["+I[2024-05-01T12:00, 2024-05-01T12:00:10, 18]", "+I[2024-05-01T12:00:10, 2024-05-01T12:00:20, 2]"]
    );
    let (hopping, _) =
        run(engine, &count("HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)"))?;
    assert_eq!(
        hopping,
        [
            "+I[2024-05-01T11:59:55, 2024-05-01T12:00:05, 3]",
            "+I[2024-05-01T12:00, 2024-05-01T12:00:10, 18]",
            "+I[2024-05-01T12:00:05, 2024-05-01T12:00:15, 8]",
            "+I[2024-05-01T12:00:10, 2024-05-01T12:00:20, 2]",
        ]
    );
    let (cumulating, _) =
        run(engine, &count("CUMULATE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)"))?;
    assert_eq!(
        cumulating,
        [
            "+I[2024-05-01T12:00, 2024-05-01T12:00:05, 3]",
            "+I[2024-05-01T12:00, 2024-05-01T12:00:10, 18]",
            "+I[2024-05-01T12:00:10, 2024-05-01T12:00:15, 2]",
            "+I[2024-05-01T12:00:10, 2024-05-01T12:00:20, 2]",
        ]
    );
    Ok(())
}

fn what_explain_says(engine: &mut Engine) -> Result<()> {
    explain(
        "4. What EXPLAIN says before anything runs",
        "The circuit, its result first and its source last: which columns are read, by what rows are divided among workers,
which columns are event time, and what bounds the state of each operator.",
    );
    let query = "EXPLAIN SELECT page, window_end, COUNT(*)
FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))
GROUP BY page, window_start, window_end";
    println!("{query};\n");
    let Answer::Rows { rows, .. } = engine.execute(query)? else { unreachable!("EXPLAIN gives rows") };
    let plan: Vec<String> = rows.concat();
    plan.iter().for_each(|line| println!("    {line}"));
    println!();
    assert!(plan.iter().any(|l| l.contains("Exchange: hash=[page]")));
    assert!(plan.iter().any(|l| l.contains("state: one group per distinct (page) and slice of open windows")));
    Ok(())
}

fn a_statement_set(engine: &mut Engine) -> Result<()> {
    explain(
        "5. Two results of one reading",
        "The INSERTs of a statement set are one circuit: the table is read once, and what both need is computed once.",
    );
    let script = "CREATE TABLE windows (ending TIMESTAMP(3), clicks BIGINT) WITH ('connector' = 'channel');
CREATE TABLE big (page STRING, clicks BIGINT) WITH ('connector' = 'channel');";
    let inserts = "EXECUTE STATEMENT SET BEGIN
  INSERT INTO windows SELECT window_end, SUM(clicks)
    FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
  INSERT INTO big SELECT page, clicks FROM clicks WHERE clicks > 4;
END;";
    println!("{script}\n{inserts}\n");
    engine.declare(script)?;
    let (mut windows, mut big) = (engine.output("windows")?, engine.output("big")?);
    let input = engine.input("clicks")?;
    let job = engine.run(inserts, |_, _| Ok(()))?;
    input.blocking_push(clicks()?)?;
    drop(input);
    let (mut sums, mut rows) = (Vec::new(), Vec::new());
    while let Some(changes) = big.blocking_next() {
        rows.extend(lines(&changes)?.lines().map(String::from));
    }
    while let Some(changes) = windows.blocking_next() {
        sums.extend(lines(&changes)?.lines().map(String::from));
    }
    println!("windows:");
    show(&sums);
    println!("big:");
    show(&rows);
    assert_eq!(sums, ["+I[2024-05-01T12:00:10, 18]", "+I[2024-05-01T12:00:20, 2]"]);
    assert_eq!(rows, ["+I[cart, 5]", "+I[cart, 9]"]);
    if let Some(job) = job {
        engine.block_on(job.wait())?;
        let read: Vec<u64> = job.metrics().sources.iter().map(|s| s.rows).collect();
        assert_eq!(read, [7]);
    }
    Ok(())
}

/// Prints a heading and what it is about.
fn explain(heading: &str, text: &str) {
    println!("{heading}\n{}\n\n{text}\n", "=".repeat(heading.chars().count()));
}

/// Runs a query over the clicks; prints it and its answer.
fn run(engine: &mut Engine, query: &str) -> Result<(Vec<String>, MetricsSnapshot)> {
    println!("{query};\n");
    let input = engine.input("clicks")?;
    let (job, mut results) = engine.query(query)?;
    input.blocking_push(clicks()?)?;
    drop(input);
    let mut answer = Vec::new();
    while let Some(changes) = results.blocking_next() {
        answer.extend(lines(&changes)?.lines().map(String::from));
    }
    engine.block_on(job.wait())?;
    show(&answer);
    Ok((answer, job.metrics()))
}

fn show(answer: &[String]) {
    answer.iter().for_each(|line| println!("    {line}"));
    println!();
}

/// The clicks as a record batch.
fn clicks() -> Result<RecordBatch> {
    let noon = 1_714_564_800_000;
    let pages: ArrayRef = Arc::new(StringArray::from_iter_values(CLICKS.iter().map(|c| c.0)));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(CLICKS.iter().map(|c| c.1)));
    let times: ArrayRef =
        Arc::new(TimestampMillisecondArray::from_iter_values(CLICKS.iter().map(|c| noon + c.2 * 1000)));
    Ok(RecordBatch::try_from_iter([("page", pages), ("clicks", numbers), ("ts", times)])?)
}
