//! Journals: what a run gave is what its replay gives, byte for byte.

mod damage;
mod page;
mod resumed;
mod run_again;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::StreamWriter;
use millstream::change::{ChangeBatch, ManualClock};
use millstream::engine::Replay;
use millstream::{Engine, Result};

/// Orders and payments from the program.
const TABLES: &str = "
    CREATE TABLE orders (id BIGINT, customer STRING, ts TIMESTAMP(3), at AS PROCTIME(), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
      WITH ('connector' = 'channel');
    CREATE TABLE payments (id BIGINT, customer STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
      WITH ('connector' = 'channel')";

/// Rows of either table: a function of their numbers.
fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers.clone().map(|n| n * 7 % 50)));
    let customer: ArrayRef =
        Arc::new(StringArray::from_iter_values(numbers.clone().map(|n| format!("c{}", n * 13 % 11))));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(numbers.map(|n| n * 100 - n % 5 * 40)));
    RecordBatch::try_from_iter_with_nullable([("id", id, true), ("customer", customer, true), ("ts", ts, true)])
        .unwrap()
}

/// An engine whose jobs are journaled in a folder, by a clock of its own.
fn journaling(folder: &Path, settings: &[(&str, &str)]) -> (Engine, Arc<ManualClock>) {
    let mut engine = Engine::new().unwrap();
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    engine.set_clock(Arc::clone(&clock) as _);
    engine.set("millstream.journal.dir", folder.to_str().unwrap()).unwrap();
    settings.iter().for_each(|(key, value)| drop(engine.set(key, value).unwrap()));
    engine.declare(TABLES).unwrap();
    (engine, clock)
}

/// What a query gives of some rows that are pushed batch by batch, while the clock goes on.
fn live(engine: &mut Engine, clock: &ManualClock, query: &str, count: i64) -> Result<Vec<ChangeBatch>> {
    let tables = ["orders", "payments"].into_iter().filter(|table| query.contains(table));
    let inputs = tables.map(|table| engine.input(table)).collect::<Result<Vec<_>>>()?;
    let (job, mut results) = engine.query(query)?;
    let mut given = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for from in (0..count).step_by(17) {
                let batch = rows(from..(from + 17).min(count));
                // A job that has failed takes nothing.
                inputs.iter().for_each(|input| drop(input.blocking_push(batch.clone())));
                clock.set(1_700_000_000_000 + from * 10);
            }
        });
        given.extend(std::iter::from_fn(|| results.blocking_next()));
    });
    engine.block_on(job.wait()).map(|_| given)
}

/// What the first sink is given in all steps.
fn replayed(replay: &mut Replay) -> Result<Vec<ChangeBatch>> {
    let mut given = Vec::new();
    while let Some(mut step) = replay.step()? {
        given.extend(step.output.sinks.remove(0).into_iter().filter(|b| b.num_rows() > 0));
    }
    Ok(given)
}

/// Changes as bytes, batch by batch.
fn bytes(batches: &[ChangeBatch]) -> Vec<Vec<u8>> {
    let encoded = |batch: &ChangeBatch| {
        let fields = batch
            .rows
            .schema()
            .fields()
            .iter()
            .enumerate()
            .map(|(i, f)| Field::new(format!("c{i}"), f.data_type().clone(), true))
            .collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new(Arc::clone(&schema), batch.rows.columns().to_vec()).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.write(&rows).unwrap();
        let mut bytes = writer.into_inner().unwrap();
        bytes.extend((0..batch.num_rows()).map(|row| batch.kind(row) as u8));
        bytes
    };
    batches.iter().map(encoded).collect()
}
