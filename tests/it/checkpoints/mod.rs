//! Checkpoints of whole jobs: what a job that ended in whatever way goes on from, and what its sinks have shown.

mod asked;
mod binary;
mod files;
mod fixture;
mod jobs;
#[cfg(feature = "s3")]
mod s3;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream::Engine;
use millstream::engine::{Input, Job};

/// Payments by card, counted in windows of ten seconds, into files.
pub fn script(folder: &Path, settings: &str) -> String {
    format!(
        "SET 'execution.checkpointing.dir' = '{folder}/checkpoints';
         {settings}
         CREATE TABLE payments (card STRING, amount BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
         WITH ('connector' = 'channel');
         CREATE TABLE spent (card STRING, start_time TIMESTAMP(3), total BIGINT, payments BIGINT)
         WITH ('connector' = 'filesystem', 'path' = '{folder}/spent', 'format' = 'csv');
         INSERT INTO spent SELECT card, window_start, SUM(amount), COUNT(*)
         FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY card, window_start, window_end",
        folder = folder.display()
    )
}

/// The payments from one number up to another: a function of the number alone.
pub fn payments(numbers: std::ops::Range<u64>) -> RecordBatch {
    let of = |f: fn(u64) -> i64| numbers.clone().map(f).collect::<Vec<_>>();
    let card: ArrayRef =
        Arc::new(StringArray::from_iter_values(numbers.clone().map(|n| format!("card {}", n * 7 % 5))));
    let amount: ArrayRef = Arc::new(Int64Array::from(of(|n| (n * 31 % 100) as i64)));
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from(of(|n| n as i64 * 400)));
    RecordBatch::try_from_iter_with_nullable([("card", card, true), ("amount", amount, true), ("ts", ts, true)])
        .unwrap()
}

/// A run of the script, fed from where it goes on.
pub struct Run {
    pub engine: Engine,
    pub job: Job,
    pub input: Input,
    pub next: u64,
    started_at: u64,
}

impl Run {
    pub fn start(script: &str) -> Self {
        Self::start_in(Engine::new().unwrap(), script)
    }

    pub fn start_in(mut engine: Engine, script: &str) -> Self {
        // The input has to be asked for before the job is there.
        let (declarations, insert) = script.rsplit_once(";\n").unwrap();
        assert!(engine.run(declarations, |_, _| Ok(())).unwrap().is_none());
        let input = engine.input("payments").unwrap();
        let job = engine.run(insert, |_, _| Ok(())).unwrap().unwrap();
        let next = match engine.block_on(input.resumed_at()) {
            Ok(next) => next,
            Err(_) => panic!("{:?}", engine.block_on(job.wait())),
        };
        Self { engine, job, input, next, started_at: next }
    }

    pub fn push_to(&mut self, end: u64) {
        for from in (self.next..end).step_by(3) {
            self.input.blocking_push(payments(from..(from + 3).min(end))).unwrap();
        }
        self.next = self.next.max(end);
    }

    /// Takes checkpoints until one holds all that was pushed.
    pub fn checkpoint_all(&self) {
        let started_at = self.started_at;
        while self.job.metrics().sources[0].rows < self.next - started_at {
            self.checkpoint();
        }
        // The sinks commit behind a checkpoint: one more waits for that.
        self.checkpoint();
        self.checkpoint();
    }

    pub fn checkpoint(&self) -> u64 {
        self.engine.block_on(self.job.checkpoint()).unwrap().id
    }
}

/// All rows that can be seen in the table's files, sorted.
pub fn shown(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return lines };
    for entry in entries {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with('.') {
            lines.extend(std::fs::read_to_string(path).unwrap().lines().map(str::to_string));
        }
    }
    lines.sort();
    lines
}

/// What the script shows of so many payments when nothing fails.
pub fn undisturbed(count: u64) -> Vec<String> {
    undisturbed_of(&script, count)
}

/// What any script shows of so many payments when nothing fails.
pub fn undisturbed_of(script: &dyn Fn(&Path, &str) -> String, count: u64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start(&script(folder.path(), ""));
    run.push_to(count);
    let Run { engine, job, input, .. } = run;
    drop(input);
    engine.block_on(job.wait()).unwrap();
    shown(&folder.path().join("spent"))
}
