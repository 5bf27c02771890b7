//! One worker: a whole copy of the circuit, with the state for its share of the keys.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::circuit::{Circuit, NodeId, NodeKind};
use super::clock::Stopwatch;
use super::exchange::Exchange;
use super::late::{LateColumn, rows_of_table};
use super::lookup::LookupWork;
use super::metrics::Metrics;
use super::paging::{NodeState, Pager, release_free_memory};
use crate::change::{ChangeBatch, Watermark};
use crate::connector::lookup::LookupMode;
use crate::operator::late::{LateBatch, LateRows};
use crate::operator::{Operator, StepTime, run_once};
use crate::{Error, Result};

/// The times of a step, as the executor works them out once for all workers.
#[derive(Debug)]
pub(super) struct CircuitTime {
    /// The watermark that each node gives.
    pub watermarks: Vec<Watermark>,
    pub processing_time: i64,
    /// The node whose output is looked at.
    pub tap: Option<NodeId>,
}

/// The operators of one worker.
pub(super) struct Worker {
    index: usize,
    circuit: Arc<Circuit>,
    /// By node; `None` for nodes that are no operators.
    operators: Vec<Option<Box<dyn Operator>>>,
    /// By node; `None` for nodes whose state stays in memory.
    pagers: Vec<Option<Pager>>,
    /// By node; `None` for other nodes and for a single worker.
    exchanges: Vec<Option<Exchange>>,
    /// How many nodes read each node's output.
    readers: Vec<usize>,
    /// What has been dropped as late in this step, by node; always empty where no node gives late rows.
    late: Vec<(NodeId, LateBatch)>,
    keeps_late: bool,
    /// By node: whether its rows come of several inputs, and so not in the order of arrival. Of these the rows behind the
    /// watermark go last through an exchange: they close windows that the others may belong to.
    joined: Vec<bool>,
    /// How many bytes of state the operators may hold.
    room: Option<usize>,
    /// About how many bytes have come to operators since they were last asked what they hold.
    grown: usize,
    metrics: Arc<Metrics>,
}

/// What a worker takes in a step.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkerInput {
    /// Its share of the batches, by source.
    pub sources: Vec<Vec<ChangeBatch>>,
    /// Its share of what has come back, by look-up.
    pub lookups: Vec<LookupWork>,
}

/// What a worker gives in a step.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkerOutput {
    /// The changes, by sink.
    pub sinks: Vec<Vec<ChangeBatch>>,
    /// The rows that leave to be looked up for, by look-up.
    pub probes: Vec<Vec<ChangeBatch>>,
    /// What the tapped node gave.
    pub tapped: Vec<ChangeBatch>,
    /// See [`Worker::next_timer`].
    pub next_timer: Option<i64>,
}

/// The state of one worker, by node.
pub(super) type WorkerState = Vec<NodeState>;

impl Worker {
    /// The workers of a circuit, joined by its exchanges.
    pub fn team(circuit: &Arc<Circuit>, workers: usize, metrics: &Arc<Metrics>) -> Result<Vec<Self>> {
        let mut meshes: Vec<Option<std::vec::IntoIter<Exchange>>> = circuit
            .nodes
            .iter()
            .map(|node| match &node.kind {
                NodeKind::Exchange(keys) if workers > 1 => Some(Exchange::mesh(workers, keys).into_iter()),
                _ => None,
            })
            .collect();
        let mut readers = vec![0; circuit.nodes.len()];
        circuit.nodes.iter().flat_map(|n| &n.inputs).for_each(|i| readers[i.0] += 1);
        let keeps_late = circuit.nodes.iter().any(|n| matches!(n.kind, NodeKind::Late(_)));
        let mut joined = Vec::with_capacity(circuit.nodes.len());
        for node in &circuit.nodes {
            joined.push(node.inputs.len() > 1 || node.inputs.iter().any(|i| joined[i.0]));
        }
        let memory = circuit.memory.as_ref();
        let pager = |id: usize| memory.and_then(|memory| Pager::of(circuit, NodeId(id), memory, workers));
        let build = |index: usize| {
            let operators = circuit.nodes.iter().map(|node| match &node.kind {
                NodeKind::Operator(factory) => {
                    let mut operator = factory.build()?;
                    operator.late_rows().filter(|_| keeps_late).into_iter().for_each(LateRows::keep);
                    Ok(Some(operator))
                }
                _ => Ok(None),
            });
            Ok(Self {
                index,
                circuit: Arc::clone(circuit),
                operators: operators.collect::<Result<_>>()?,
                pagers: (0..circuit.nodes.len()).map(pager).collect(),
                exchanges: meshes.iter_mut().map(|m| m.as_mut().and_then(Iterator::next)).collect(),
                readers: readers.clone(),
                late: Vec::new(),
                keeps_late,
                joined: joined.clone(),
                room: memory.map(|memory| memory.of_worker(workers)),
                grown: usize::MAX / 2,
                metrics: Arc::clone(metrics),
            })
        };
        (0..workers).map(build).collect()
    }

    /// The earliest processing time at which one of the operators wants a step.
    pub fn next_timer(&self) -> Option<i64> {
        self.operators.iter().flatten().filter_map(|o| o.next_timer()).min()
    }

    /// Runs every operator once.
    pub fn step(&mut self, input: WorkerInput, time: &CircuitTime) -> Result<WorkerOutput> {
        let WorkerInput { mut sources, mut lookups } = input;
        let circuit = Arc::clone(&self.circuit);
        let mut edges: Vec<Edge> = self.readers.iter().map(|r| Edge { batches: Vec::new(), readers: *r }).collect();
        let mut sinks = vec![Vec::new(); circuit.sinks.len()];
        let mut probes = vec![Vec::new(); circuit.lookups.len()];
        let mut tapped = Vec::new();
        let mut watch = Stopwatch::start();
        for (id, node) in circuit.nodes.iter().enumerate() {
            let inputs: Vec<Vec<ChangeBatch>> = node.inputs.iter().map(|i| edges[i.0].take()).collect();
            let rows_in = count(inputs.iter().flatten());
            match &node.kind {
                NodeKind::Source(i) => edges[id].batches = std::mem::take(&mut sources[*i]),
                NodeKind::Lookup(i) => {
                    let batches = inputs.into_iter().flatten().collect();
                    let work = std::mem::take(&mut lookups[*i]);
                    edges[id].batches = self.look_up(NodeId(id), *i, batches, work, &mut probes[*i])?;
                }
                NodeKind::Sink(i) => sinks[*i] = inputs.into_iter().flatten().collect(),
                NodeKind::Exchange(_) => {
                    let batches = inputs.into_iter().flatten().collect();
                    edges[id].batches = match &mut self.exchanges[id] {
                        Some(exchange) => exchange.swap(batches)?,
                        None => batches,
                    };
                    if self.joined[id] {
                        edges[id].batches.sort_by_key(|b| b.watermarks.is_some());
                    }
                }
                NodeKind::Operator(_) => {
                    edges[id].batches = self.run(NodeId(id), inputs, time)?;
                    self.take_late(NodeId(id));
                }
                NodeKind::Late(columns) => edges[id].batches = self.late_rows(columns, &node.schema)?,
            }
            if time.tap == Some(NodeId(id)) {
                tapped = match &node.kind {
                    NodeKind::Sink(i) => sinks[*i].clone(),
                    _ => edges[id].batches.clone(),
                };
            }
            let rows_out = count(edges[id].batches.iter());
            self.metrics.node(id, rows_in, rows_out, watch.lap());
        }
        self.keep_within_room()?;
        Ok(WorkerOutput { sinks, probes, tapped, next_timer: self.next_timer() })
    }

    /// Joins rows with what is found for them: at once where the table is kept whole, else those that come back. A panic in it
    /// becomes an error.
    fn look_up(
        &self,
        id: NodeId,
        lookup: usize,
        batches: Vec<ChangeBatch>,
        work: LookupWork,
        probes: &mut Vec<ChangeBatch>,
    ) -> Result<Vec<ChangeBatch>> {
        let spec = &self.circuit.lookups[lookup];
        let joined = catch_unwind(AssertUnwindSafe(|| {
            let mut out = Vec::new();
            for (rows, answer) in &work.answered {
                spec.join.answered(rows, answer, &mut out)?;
            }
            match (&spec.mode, &work.table) {
                (LookupMode::Keyed { .. }, _) => probes.extend(batches),
                (LookupMode::Whole { .. }, Some(table)) => {
                    batches.iter().try_for_each(|b| spec.join.in_table(b, table, &mut out))?;
                }
                (LookupMode::Whole { .. }, None) if batches.iter().all(|b| b.num_rows() == 0) => {}
                (LookupMode::Whole { .. }, None) => {
                    return Err(Error::internal(format!("table '{}' has not been read yet", spec.table.name)));
                }
            }
            Ok(out)
        }));
        joined.unwrap_or_else(|panic| Err(Error::panic(self.circuit.name(id), panic.as_ref())))
    }

    /// Runs one operator; a panic in it becomes an error.
    fn run(&mut self, id: NodeId, inputs: Vec<Vec<ChangeBatch>>, time: &CircuitTime) -> Result<Vec<ChangeBatch>> {
        let Some(operator) = &mut self.operators[id.0] else { return Err(Error::internal("a node without operator")) };
        let marks: Vec<Watermark> = self.circuit.node(id).inputs.iter().map(|i| time.watermarks[i.0]).collect();
        let time = StepTime {
            watermark: marks.iter().min().copied().unwrap_or(Watermark::MAX),
            inputs: marks,
            processing_time: time.processing_time,
        };
        let pager = self.pagers[id.0].as_mut();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut out = Vec::new();
            match pager {
                Some(pager) => pager.step(operator, inputs, &time, &mut out)?,
                None => run_once(operator.as_mut(), inputs, &time, &mut out)?,
            }
            Ok(out)
        }));
        match ran {
            Ok(done) => done,
            Err(panic) => Err(Error::panic(self.circuit.name(id), panic.as_ref())),
        }
    }

    /// Moves state to disk where the operators hold more than they may, of those that hold the most first.
    fn keep_within_room(&mut self) -> Result<()> {
        let Some(room) = self.room else { return Ok(()) };
        // Asking may cost as much as there is.
        self.grown += self.pagers.iter_mut().flatten().map(Pager::take_grown).sum::<usize>();
        if self.grown < room / 16 {
            return Ok(());
        }
        self.grown = 0;
        let both = self.operators.iter().zip(&self.pagers);
        let held = both.map(|(operator, pager)| {
            let own = operator.as_ref().map_or(0, |o| o.stats().state_bytes as usize);
            (own, pager.as_ref().map_or(0, Pager::memory))
        });
        let held: Vec<(usize, usize)> = held.collect();
        let all: usize = held.iter().map(|(own, beside)| own + beside).sum();
        for (pager, (own, _)) in self.pagers.iter_mut().zip(&held) {
            // What others hold may leave little; a key's rows must find room all the same.
            pager.iter_mut().for_each(|p| p.allow(room.saturating_sub(all - own).max(room / 8)));
        }
        if all <= room {
            if self.pagers.iter().flatten().any(|pager| pager.on_disk() > 0) {
                release_free_memory();
            }
            return Ok(());
        }
        let mut nodes: Vec<usize> = (0..held.len()).filter(|node| self.pagers[*node].is_some()).collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(held[*node].0));
        let mut over = all - room / 2;
        for node in nodes {
            let (Some(operator), Some(pager)) = (&mut self.operators[node], &mut self.pagers[node]) else { continue };
            let moved = catch_unwind(AssertUnwindSafe(|| pager.put_aside(operator, over)));
            moved.unwrap_or_else(|panic| Err(Error::panic(self.circuit.name(NodeId(node)), panic.as_ref())))?;
            over = over.saturating_sub(held[node].0);
            if over == 0 {
                break;
            }
        }
        release_free_memory();
        Ok(())
    }

    fn take_late(&mut self, id: NodeId) {
        let dropped = self.operators[id.0].as_mut().filter(|_| self.keeps_late).and_then(|o| o.late_rows());
        self.late.extend(dropped.into_iter().flat_map(LateRows::take).map(|late| (id, late)));
    }

    /// What was dropped as late in this step, in the columns of a table.
    fn late_rows(&mut self, columns: &[LateColumn], schema: &SchemaRef) -> Result<Vec<ChangeBatch>> {
        let late = std::mem::take(&mut self.late);
        let rows = late.iter().map(|(id, l)| rows_of_table(l, (id.0, &self.circuit.name(*id)), columns, schema));
        rows.collect()
    }

    /// Brings what the operators hold into the metrics. Costs more than counting: not for every step.
    pub fn report(&self) {
        for (id, operator) in self.operators.iter().enumerate() {
            match (operator, &self.pagers[id]) {
                (Some(operator), Some(pager)) => {
                    self.metrics.stats(id, self.index, pager.stats(operator.as_ref()));
                    self.metrics.on_disk(id, self.index, pager.on_disk());
                }
                (Some(operator), None) => self.metrics.stats(id, self.index, operator.stats()),
                (None, _) => {}
            }
        }
    }

    /// The state of all operators, by node.
    pub fn snapshot(&mut self) -> Result<WorkerState> {
        let both = self.operators.iter_mut().zip(&self.pagers);
        let state = both.map(|(operator, pager)| match (operator, pager) {
            (Some(operator), Some(pager)) => pager.freeze(operator.as_mut()),
            (Some(operator), None) => Ok(operator.snapshot()?.into()),
            (None, _) => Ok(NodeState::default()),
        });
        state.collect()
    }

    /// Takes over state, by node.
    pub fn restore(&mut self, state: WorkerState) -> Result<()> {
        for ((operator, pager), state) in self.operators.iter_mut().zip(&mut self.pagers).zip(state) {
            match (operator, pager) {
                (Some(operator), Some(pager)) => pager.restore(operator, state)?,
                (Some(operator), None) if !state.is_empty() => operator.restore(state.into_tables()?)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A node's output on its way to its readers.
struct Edge {
    batches: Vec<ChangeBatch>,
    readers: usize,
}

impl Edge {
    /// A copy for each reader, the original for the last.
    fn take(&mut self) -> Vec<ChangeBatch> {
        self.readers -= 1;
        if self.readers == 0 { std::mem::take(&mut self.batches) } else { self.batches.clone() }
    }
}

fn count<'a>(batches: impl Iterator<Item = &'a ChangeBatch>) -> usize {
    batches.map(ChangeBatch::num_rows).sum()
}
