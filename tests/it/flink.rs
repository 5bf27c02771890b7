//! What Flink answers: scripts over the rows of `flink/rows.json`, in the order of `_at`, and the answers that Flink 2.3.0
//! gave to them with parallelism 1 and a watermark after every row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use millstream::Engine;
use millstream::change::ChangeBatch;
use millstream::engine::Progress;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/flink")
}

#[test]
fn scripts_answer_as_flink_does() {
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.retain(|p| p.extension().is_some_and(|e| e == "sql"));
    assert!(scripts.len() >= 7);
    for script in scripts {
        let flinks = std::fs::read_to_string(script.with_extension("answer")).unwrap();
        let flinks = count(flinks.lines().map(|l| serde_json::from_str(l).unwrap()));
        let text = std::fs::read_to_string(&script).unwrap().replace("${DIR}", folder().to_str().unwrap());
        for workers in [1, 3] {
            for step_rows in [1, 3, 100] {
                let ours = count(answer(&text, workers, step_rows).into_iter());
                assert_eq!(ours, flinks, "{} with {workers} workers, steps of {step_rows}", script.display());
            }
        }
    }
}

/// Rows and how often each comes: the order within a window is not Flink's promise.
fn count(rows: impl Iterator<Item = Value>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    rows.for_each(|row| *counts.entry(row.to_string()).or_insert(0) += 1);
    counts
}

fn answer(script: &str, workers: usize, step_rows: usize) -> Vec<Value> {
    let mut engine = Engine::new().unwrap();
    engine.set("parallelism.default", &workers.to_string()).unwrap();
    engine.set("millstream.step.max-rows", &step_rows.to_string()).unwrap();
    let mut rows = Vec::new();
    let job = engine.run(script, |engine, progress| {
        if let Progress::Query(job, mut results) = progress {
            while let Some(batch) = results.blocking_next() {
                rows.extend((0..batch.num_rows()).map(|row| row_of(&batch, row)));
            }
            engine.block_on(job.wait())?;
        }
        Ok(())
    });
    assert!(job.unwrap().is_none());
    rows
}

fn row_of(batch: &ChangeBatch, row: usize) -> Value {
    let kind = json!(batch.kind(row).short());
    let values = batch.rows.columns().iter().map(|c| value_of(c.as_ref(), row));
    Value::Array(std::iter::once(kind).chain(values).collect())
}

/// A value as the answers write it.
fn value_of(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::Timestamp(_, zone) => {
            let millis = column.as_primitive::<TimestampMillisecondType>().value(row);
            let time = chrono::DateTime::from_timestamp_millis(millis).unwrap().format("%Y-%m-%d %H:%M:%S%.3f");
            json!(format!("{time}{}", if zone.is_some() { "Z" } else { "" }))
        }
        other => match arrow::compute::cast(&column.slice(row, 1), &DataType::Int64) {
            Ok(number) => json!(number.as_primitive::<Int64Type>().value(0)),
            Err(e) => panic!("a value of type {other}: {e}"),
        },
    }
}
