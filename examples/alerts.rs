//! Alerts inside a program: a payment service that looks out for cards that are tried out, in its own process. Charges are pushed
//! as they come, by the thread that handles them; alerts come out as soon as time has passed them.

use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream::engine::lines;
use millstream::{Engine, Result};

/// Card, amount, and the second at which it was charged. The fourth comes out of order.
const CHARGES: [(&str, f64, i64); 8] = [
    ("4711", 1.00, 0),
    ("0815", 54.20, 20),
    ("4711", 1.50, 40),
    ("4711", 0.99, 35),
    ("4711", 1250.00, 190),
    ("1234", 3.20, 200),
    ("1234", 640.00, 240),
    ("0815", 18.00, 600),
];

fn main() -> Result<()> {
    let mut engine = Engine::new()?;
    engine.execute(
        "CREATE TABLE charges (
           card STRING, amount DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
         ) WITH ('connector' = 'channel')",
    )?;
    let charges = engine.input("charges")?;
    let (job, mut alerts) = engine.query(
        "SELECT * FROM charges MATCH_RECOGNIZE (
           PARTITION BY card
           ORDER BY ts
           MEASURES COUNT(probe.amount) AS probes, hit.amount AS amount, hit.ts AS charged
           AFTER MATCH SKIP PAST LAST ROW
           PATTERN (probe{3,} hit) WITHIN INTERVAL '10' MINUTE
           DEFINE probe AS probe.amount < 5, hit AS hit.amount > 500
         )",
    )?;

    let service =
        std::thread::spawn(move || CHARGES.iter().try_for_each(|charge| charges.blocking_push(charged(*charge)?)));
    let mut printed = String::new();
    while let Some(batch) = alerts.blocking_next() {
        printed += &lines(&batch)?;
    }
    print!("{printed}");
    assert_eq!(printed, "+I[4711, 3, 1250.0, 2024-05-01T09:03:10]\n");
    engine.block_on(job.wait())?;
    service.join().map_err(|_| millstream::Error::Execution("the service has panicked".to_owned()))?
}

/// One charge as the row of a batch.
fn charged((card, amount, second): (&str, f64, i64)) -> Result<RecordBatch> {
    let nine = 1_714_554_000_000;
    let card: ArrayRef = Arc::new(StringArray::from(vec![card]));
    let amount: ArrayRef = Arc::new(Float64Array::from(vec![amount]));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![nine + second * 1000]));
    Ok(RecordBatch::try_from_iter([("card", card), ("amount", amount), ("ts", ts)])?)
}
