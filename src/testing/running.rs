//! One query, or the INSERTs of one statement, driven step by step.

use std::sync::Arc;

use futures::FutureExt;

use super::action::Action;
use crate::change::{ChangeBatch, Folded, RowKind, Watermark};
use crate::connector::text::{write_row, write_value};
use crate::runtime::circuit::{NodeKind, SinkSpec, SourceSpec};
use crate::runtime::{Circuit, Executor, OperatorMetrics, Snapshot, SourceState, StepInput};
use crate::table::project;
use crate::{Error, Result};

/// The name of the connector whose rows stand in the query itself.
const VALUES: &str = "values";

/// A circuit that runs, and what it has given so far.
pub(super) struct Running {
    circuit: Arc<Circuit>,
    executor: Executor,
    /// All but the executor.
    so_far: SoFar,
}

/// A circuit's state and what it has given so far.
#[derive(Clone)]
pub(super) struct Saved {
    snapshot: Snapshot,
    so_far: SoFar,
}

#[derive(Debug, Clone)]
struct SoFar {
    /// By source.
    states: Vec<SourceState>,
    /// Whether the rows that stand in the query itself have gone in.
    started: bool,
    /// By sink.
    outputs: Vec<Output>,
    /// Late rows that executors counted which have been replaced.
    late: u64,
    /// Why it runs no more.
    failed: Option<Error>,
}

/// What a sink was given.
#[derive(Debug, Clone, Default)]
pub(super) struct Output {
    /// The changes since they were last taken, as `+I[1, a]`.
    pub changes: Vec<String>,
    /// The rows that stand.
    pub table: Folded<String>,
}

impl Running {
    /// Makes a circuit ready; rows that stand in the query itself go in at once.
    pub fn new(circuit: Arc<Circuit>, workers: usize, now: i64) -> Result<Self> {
        let executor = Executor::try_new(Arc::clone(&circuit), workers)?;
        let so_far = SoFar {
            states: vec![SourceState::Active; circuit.sources.len()],
            started: false,
            outputs: vec![Output::default(); circuit.sinks.len()],
            late: 0,
            failed: None,
        };
        let mut running = Self { circuit, executor, so_far };
        if running.circuit.sources.iter().any(holds_its_rows) {
            running.step(&[], now);
        }
        Ok(running)
    }

    /// The circuit.
    pub fn circuit(&self) -> &Arc<Circuit> {
        &self.circuit
    }

    /// Takes actions in, as one step. What fails is remembered: see [`Running::failure`].
    pub fn step(&mut self, actions: &[Action], now: i64) {
        if self.so_far.failed.is_none() {
            self.so_far.failed = self.try_step(actions, now).err();
        }
    }

    fn try_step(&mut self, actions: &[Action], now: i64) -> Result<()> {
        let circuit = Arc::clone(&self.circuit);
        let mut input = StepInput { processing_time: now, ..StepInput::default() };
        for (source, spec) in circuit.sources.iter().enumerate() {
            let mut batches = Vec::new();
            let mut watermark = Watermark::MIN;
            if holds_its_rows(spec) {
                self.so_far.states[source] = SourceState::Ended;
                if !self.so_far.started {
                    batches = own_rows(spec)?;
                }
            }
            for action in actions {
                self.take_in(source, spec, action, &mut batches, &mut watermark)?;
            }
            input.batches.push(batches);
            input.watermarks.push(watermark);
        }
        self.so_far.started = true;
        input.sources.clone_from(&self.so_far.states);
        let given = self.executor.step(input)?;
        for (output, changes) in self.so_far.outputs.iter_mut().zip(given.sinks) {
            changes.iter().try_for_each(|c| output.take(c))?;
        }
        Ok(())
    }

    /// What an action means to one source.
    fn take_in(
        &mut self,
        source: usize,
        spec: &SourceSpec,
        action: &Action,
        batches: &mut Vec<ChangeBatch>,
        watermark: &mut Watermark,
    ) -> Result<()> {
        let name = &spec.table.name;
        let state = &mut self.so_far.states[source];
        match action {
            Action::Rows(table, rows) if table == name => {
                if *state == SourceState::Ended {
                    return Err(Error::Execution(format!("rows for table '{name}', whose input has ended")));
                }
                *state = SourceState::Active;
                batches.push(rows.with_rows(project(&rows.rows, &spec.projection)?));
            }
            Action::Watermark(table, millis) if table == name => *watermark = Watermark(*millis),
            Action::Stands(table, stands) if table.as_ref().is_none_or(|t| t == name) => *state = *stands,
            _ => {}
        }
        Ok(())
    }

    /// Why it runs no more, if so.
    pub fn failure(&self) -> Option<&Error> {
        self.so_far.failed.as_ref()
    }

    /// Fails where the query has.
    pub fn check(&self) -> Result<()> {
        self.failure().map_or(Ok(()), |e| Err(e.clone()))
    }

    /// The name of each sink's table, and the sink's number; the result of a bare query has none.
    pub fn sinks(circuit: &Circuit) -> impl Iterator<Item = (usize, Option<&str>)> {
        circuit.sinks.iter().enumerate().map(|(i, sink)| match sink {
            SinkSpec::Table { table, .. } => (i, Some(table.name.as_str())),
            SinkSpec::Result => (i, None),
        })
    }

    /// What a sink was given.
    pub fn output(&mut self, sink: usize) -> &mut Output {
        &mut self.so_far.outputs[sink]
    }

    /// How many rows came too late.
    pub fn late_rows(&mut self) -> Result<u64> {
        let operators = self.operators()?;
        Ok(self.so_far.late + operators.iter().map(|o| o.stats.late_rows).sum::<u64>())
    }

    /// The counters of every operator, sources, exchanges and sinks left out.
    pub fn operators(&mut self) -> Result<Vec<OperatorMetrics>> {
        self.executor.report()?;
        let all = self.executor.metrics().snapshot().operators.into_iter().zip(&self.circuit.nodes);
        Ok(all.filter(|(_, node)| matches!(node.kind, NodeKind::Operator(_))).map(|(metrics, _)| metrics).collect())
    }

    /// Goes on in a new executor on that many workers, from a snapshot of the old one.
    pub fn hand_over(&mut self, workers: usize) {
        if self.so_far.failed.is_none() {
            let handed = self.save().and_then(|saved| self.restore(&saved, workers));
            self.so_far.failed = handed.err();
        }
    }

    /// The state as it stands.
    pub fn save(&mut self) -> Result<Saved> {
        self.check()?;
        let late = self.late_rows()?;
        Ok(Saved { snapshot: self.executor.snapshot()?, so_far: SoFar { late, ..self.so_far.clone() } })
    }

    /// Goes on from a state that was saved.
    pub fn restore(&mut self, saved: &Saved, workers: usize) -> Result<()> {
        let mut next = Executor::try_new(Arc::clone(&self.circuit), workers)?;
        next.restore(saved.snapshot.clone())?;
        self.executor = next;
        self.so_far = saved.so_far.clone();
        Ok(())
    }
}

impl Output {
    fn take(&mut self, batch: &ChangeBatch) -> Result<()> {
        for row in 0..batch.num_rows() {
            let mut change = String::new();
            write_row(&mut change, batch.kind(row), &batch.rows, row)?;
            self.changes.push(change);
            let mut values = String::new();
            for (i, column) in batch.rows.columns().iter().enumerate() {
                values.push_str(if i > 0 { ", " } else { "" });
                write_value(&mut values, column.as_ref(), row)?;
            }
            self.table.apply(batch.kind(row), values)?;
        }
        Ok(())
    }
}

/// The kind of a change that is given as `+I[1, a]`, and its row.
pub(super) fn kind_of(change: &str) -> Option<(RowKind, &str)> {
    let kinds = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
    kinds.into_iter().find_map(|kind| Some((kind, change.strip_prefix(kind.short())?)))
}

fn holds_its_rows(spec: &SourceSpec) -> bool {
    spec.connector.name() == VALUES
}

/// The rows of VALUES.
fn own_rows(spec: &SourceSpec) -> Result<Vec<ChangeBatch>> {
    let mut source = spec.connector.source(&spec.table, Arc::clone(&spec.projection))?;
    let mut rows = Vec::new();
    // They are in memory: the source never waits.
    while let Some(Some(batch)) = source.next().now_or_never().transpose()? {
        rows.push(batch.changes);
    }
    Ok(rows)
}
