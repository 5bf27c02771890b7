//! Runs a circuit by hand: cut into steps, on any number of workers, handed over from executor to executor on the way.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use millstream::change::ChangeBatch;
use millstream::runtime::checkpoint::{CheckpointStore, Restored, load_newest, save};
use millstream::runtime::circuit::SourceSpec;
use millstream::runtime::{Circuit, Executor, Snapshot, SourceState, StateMemory, StepInput};
use millstream::table::project;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// How the input is cut and who works on it.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// For each step, how many rows of each table go in, and in batches of how many rows at most.
    pub steps: Vec<(HashMap<String, usize>, usize)>,
    /// The workers at the beginning.
    pub workers: usize,
    /// How many milliseconds of processing time pass from step to step.
    pub pace: i64,
    /// After these steps the state is handed to a new executor with that many workers.
    pub restores: HashMap<usize, usize>,
    /// How many bytes of state may be in memory; with 1 the state of each key goes to disk after each step.
    pub memory: Option<usize>,
}

impl Schedule {
    /// Everything in one step, on one worker.
    pub fn at_once(rows: &HashMap<String, usize>) -> Self {
        Self { steps: vec![(rows.clone(), usize::MAX)], workers: 1, pace: 1, restores: HashMap::new(), memory: None }
    }

    pub fn random(rows: &HashMap<String, usize>, rng: &mut Xoshiro256PlusPlus, restoring: bool) -> Self {
        let count = *[1, 2, 3, 5, 8, 20].get(rng.random_range(0..6)).unwrap();
        let mut left = rows.clone();
        let mut names: Vec<_> = rows.keys().cloned().collect();
        names.sort();
        let mut steps = Vec::new();
        for step in 0..count {
            let mut taken = HashMap::new();
            for name in &names {
                let left = left.get_mut(name).unwrap();
                let share = (rows[name] / count * 2).min(*left);
                let take = if step + 1 == count { *left } else { rng.random_range(0..=share) };
                *left -= take;
                taken.insert(name.clone(), take);
            }
            steps.push((taken, *[1, 7, 4000].get(rng.random_range(0..3)).unwrap()));
        }
        let mut restores = HashMap::new();
        for step in 0..count {
            if restoring && rng.random_bool(0.5) {
                restores.insert(step, rng.random_range(1..=4));
            }
        }
        let workers = rng.random_range(1..=4);
        // Of a copy: what stands behind in the stories of known seeds stays as it was.
        let memory = [None, Some(1), Some(40_000)][rng.clone().random_range(0..3)];
        Self { steps, workers, pace: 1, restores, memory }
    }

    /// The processing time of a step, and last that of the end of the input.
    pub fn now(&self, step: usize) -> i64 {
        if step < self.steps.len() { 1_000 + step as i64 * self.pace } else { 1_000_000 }
    }

    /// How many rows of a table have gone in after a step.
    pub fn consumed(&self, table: &str, step: usize) -> usize {
        self.steps.iter().take(step.saturating_add(1)).map(|(taken, _)| taken.get(table).copied().unwrap_or(0)).sum()
    }
}

/// What a run gave.
#[derive(Debug, Default)]
pub struct Observed {
    /// After each step and, last, after the end of the input: for each sink what came out in it.
    pub steps: Vec<Vec<Vec<ChangeBatch>>>,
    /// Late rows, where no executor was replaced on the way.
    pub late: Option<u64>,
    /// After each step and the end of the input: how many rows operators of a name hold.
    pub held: Vec<HashMap<String, u64>>,
}

impl Observed {
    /// What has come out at a sink up to and with a step.
    pub fn until(&self, step: usize, sink: usize) -> Vec<RecordBatch> {
        let changes = self.steps.iter().take(step.saturating_add(1)).flat_map(|s| &s[sink]);
        changes
            .map(|c| {
                assert!(c.kinds.is_none(), "a change in an append-only query");
                c.rows.clone()
            })
            .collect()
    }
}

pub fn run(
    circuit: &Arc<Circuit>,
    tables: &HashMap<String, ChangeBatch>,
    schedule: &Schedule,
) -> millstream::Result<Observed> {
    let memory = schedule.memory.map(|limit| StateMemory { limit, dir: std::env::temp_dir() });
    let circuit = &Arc::new(Circuit { memory, ..circuit.as_ref().clone() });
    let mut executor = Executor::try_new(Arc::clone(circuit), schedule.workers)?;
    let mut observed = Observed::default();
    let mut fed: HashMap<String, usize> = HashMap::new();
    for (step, (taken, batch_rows)) in schedule.steps.iter().enumerate() {
        let mut input = StepInput { processing_time: schedule.now(step), ..StepInput::default() };
        for spec in &circuit.sources {
            let Some(changes) = tables.get(&spec.table.name) else {
                input.batches.push(if step == 0 { constant_rows(spec) } else { Vec::new() });
                input.sources.push(SourceState::Ended);
                continue;
            };
            let from = fed.get(&spec.table.name).copied().unwrap_or(0);
            let until = from + taken.get(&spec.table.name).copied().unwrap_or(0);
            input.batches.push(batches(changes, from, until, *batch_rows, spec)?);
            input.sources.push(SourceState::Active);
        }
        for (table, rows) in taken {
            *fed.entry(table.clone()).or_default() += rows;
        }
        observed.steps.push(executor.step(input)?.sinks);
        observed.held.push(held(&mut executor)?);
        if let Some(workers) = schedule.restores.get(&step) {
            let snapshot = executor.snapshot()?;
            // Every other time by way of a checkpoint's files.
            let snapshot = if step % 2 == 0 { snapshot } else { through_files(circuit, snapshot)? };
            executor = Executor::try_new(Arc::clone(circuit), *workers)?;
            executor.restore(snapshot)?;
        }
    }
    let ended = vec![SourceState::Ended; circuit.sources.len()];
    let processing_time = schedule.now(schedule.steps.len());
    let last = StepInput { sources: ended, processing_time, ..StepInput::default() };
    observed.steps.push(executor.step(last)?.sinks);
    observed.held.push(held(&mut executor)?);
    if schedule.restores.is_empty() {
        observed.late = Some(executor.metrics().snapshot().operators.iter().map(|o| o.stats.late_rows).sum());
    }
    Ok(observed)
}

/// What a checkpoint that was written and read gives back.
pub fn through_files(circuit: &Circuit, snapshot: Snapshot) -> millstream::Result<Snapshot> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let memory = Arc::new(object_store::memory::InMemory::new());
        let scratch = circuit.memory.as_ref().map(|memory| memory.dir.clone());
        let store = CheckpointStore::new(memory, "job".into(), "memory").with_scratch(scratch);
        save(circuit, snapshot, &store, 1).await?;
        let checkpoint = load_newest(&store).await?.expect("the checkpoint that was written");
        Ok(Restored::new(circuit, &checkpoint)?.snapshot)
    })
}

/// How many rows operators of a name hold.
fn held(executor: &mut Executor) -> millstream::Result<HashMap<String, u64>> {
    executor.report()?;
    let mut held = HashMap::new();
    for operator in executor.metrics().snapshot().operators {
        *held.entry(operator.name).or_default() += operator.stats.state_rows;
    }
    Ok(held)
}

fn batches(
    changes: &ChangeBatch,
    mut from: usize,
    until: usize,
    batch_rows: usize,
    spec: &SourceSpec,
) -> millstream::Result<Vec<ChangeBatch>> {
    let mut batches = Vec::new();
    while from < until {
        let take = batch_rows.min(until - from);
        let part = changes.slice(from, take);
        batches.push(part.with_rows(project(&part.rows, &spec.projection)?));
        from += take;
    }
    Ok(batches)
}

/// The rows of VALUES.
fn constant_rows(spec: &SourceSpec) -> Vec<ChangeBatch> {
    let mut source = spec.connector.source(&spec.table, Arc::clone(&spec.projection)).unwrap();
    let mut rows = Vec::new();
    while let Some(batch) = futures::FutureExt::now_or_never(source.next()).unwrap().unwrap() {
        rows.push(batch.changes);
    }
    rows
}
