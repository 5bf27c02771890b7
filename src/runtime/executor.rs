//! Steps a circuit: the function `(state, input) -> (state, output)` that everything else is built around.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::batches::{divide, join_small};
use super::circuit::{Changelog, Circuit, Node, NodeId, NodeKind};
use super::exchange::GONE;
use super::lookup::{InFlight, InFlightState, LookupInput, LookupWork, Probes};
use super::metrics::Metrics;
use super::paging::{StateMemory, deal};
use super::worker::{CircuitTime, Worker, WorkerInput, WorkerOutput, WorkerState};
use crate::change::{ChangeBatch, RowKind, Watermark};
use crate::connector::lookup::LookupMode;
use crate::operator::OperatorStats;
use crate::operator::watermark::WatermarkAssigner;
use crate::{Error, Result};

/// What a step takes in.
#[derive(Debug, Clone, Default)]
pub struct StepInput {
    /// For each source its batches, in the order of arrival.
    pub batches: Vec<Vec<ChangeBatch>>,
    /// For each source how it stands.
    pub sources: Vec<SourceState>,
    /// For each source the watermark that it is to have behind the batches, where that is further than what their rows say.
    /// May be left empty; counts for tables that declare a watermark.
    pub watermarks: Vec<Watermark>,
    /// For each look-up what has come back.
    pub lookups: Vec<LookupInput>,
    /// For each source its partitions; may be left empty where there is one each.
    pub partitions: Vec<StepPartitions>,
    /// The driver's clock: milliseconds since the epoch.
    pub processing_time: i64,
}

/// The partitions of a source in a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepPartitions {
    /// For each of its batches the partition that it is of.
    pub of_batches: Vec<usize>,
    /// For each partition whether the watermark waits for it: not for one that is idle or has ended.
    pub holds: Vec<bool>,
}

/// How a source stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceState {
    /// It holds the watermark.
    #[default]
    Active,
    /// It has brought nothing for so long that the others do not wait for it.
    Idle,
    /// It has ended: its watermark is at the end of time.
    Ended,
}

/// What a step gives: for each sink its changes.
#[derive(Debug, Clone, Default)]
pub struct StepOutput {
    /// For each sink its changes, in order.
    pub sinks: Vec<Vec<ChangeBatch>>,
    /// What the tapped node gave, see [`Executor::tap`]; empty while none is tapped.
    pub tapped: Vec<ChangeBatch>,
}

/// The whole state of a circuit between two steps.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// By worker and node.
    pub(super) workers: Vec<WorkerState>,
    /// By source, as its assigner hands it out.
    pub(super) sources: Vec<Vec<Watermark>>,
    /// By node.
    pub(super) nodes: Vec<Watermark>,
    /// By look-up: what is out.
    pub(super) lookups: Vec<InFlightState>,
}

/// A circuit that runs, on one worker in the caller's thread or on several in threads of their own.
pub struct Executor {
    circuit: Arc<Circuit>,
    assigners: Vec<Option<WatermarkAssigner>>,
    /// By source: whether its rows only come.
    appends: Vec<bool>,
    /// The watermark that each node has given so far.
    watermarks: Vec<Watermark>,
    lookups: Vec<LookupNode>,
    team: Team,
    /// When an operator wants a step even if no rows come.
    next_timer: Option<i64>,
    /// See [`Executor::tap`].
    tap: Option<NodeId>,
    metrics: Arc<Metrics>,
    /// After an error the operators may be half-way through a step: nothing more is to be had of them.
    failed: Option<Error>,
}

/// A look-up and the node that gives what comes back.
struct LookupNode {
    node: usize,
    /// Whether the table is kept whole: then nothing is ever out.
    whole: bool,
    in_flight: InFlight,
    /// How far its watermark may go in the step that is being run.
    reached: Watermark,
    /// What the cache of its answers holds.
    cache: OperatorStats,
}

enum Team {
    Here(Box<Worker>),
    Threads(Vec<Thread>),
}

struct Thread {
    orders: Option<Sender<Order>>,
    replies: Receiver<Reply>,
    handle: Option<JoinHandle<()>>,
}

enum Order {
    Step(WorkerInput, Arc<CircuitTime>),
    Report,
    Snapshot,
    Restore(WorkerState),
}

enum Reply {
    Step(Result<WorkerOutput>),
    Done(Result<()>),
    Snapshot(Result<WorkerState>),
}

impl Executor {
    /// Makes a circuit ready on that many workers.
    ///
    /// # Errors
    /// When an operator cannot be built or a thread cannot be started.
    pub fn try_new(circuit: Arc<Circuit>, workers: usize) -> Result<Self> {
        let workers = workers.max(1);
        circuit.memory.as_ref().map_or(Ok(()), StateMemory::prepare)?;
        let metrics = Metrics::new(&circuit, workers);
        let mut team = Worker::team(&circuit, workers, &metrics)?;
        let team = match (workers, team.pop()) {
            (1, Some(worker)) => Team::Here(Box::new(worker)),
            (_, last) => {
                let all = team.into_iter().chain(last).enumerate();
                Team::Threads(all.map(|(i, w)| Thread::spawn(i, w)).collect::<Result<_>>()?)
            }
        };
        let assigners = circuit.sources.iter().map(|s| s.watermark.clone().map(WatermarkAssigner::new)).collect();
        let watermarks = vec![Watermark::MIN; circuit.nodes.len()];
        let mut appends = vec![true; circuit.sources.len()];
        let mut lookups = Vec::with_capacity(circuit.lookups.len());
        for (id, node) in circuit.nodes.iter().enumerate() {
            match node.kind {
                NodeKind::Source(i) => appends[i] = node.notes.changelog == Changelog::Append,
                NodeKind::Lookup(i) => {
                    let whole = matches!(circuit.lookups[i].mode, LookupMode::Whole { .. });
                    let (in_flight, cache) = (InFlight::default(), OperatorStats::default());
                    lookups.push((i, LookupNode { node: id, whole, in_flight, reached: Watermark::MIN, cache }));
                }
                _ => {}
            }
        }
        lookups.sort_by_key(|(i, _)| *i);
        let lookups = lookups.into_iter().map(|(_, lookup)| lookup).collect();
        Ok(Self {
            circuit,
            assigners,
            appends,
            watermarks,
            lookups,
            team,
            next_timer: None,
            tap: None,
            metrics,
            failed: None,
        })
    }

    /// The circuit.
    pub fn circuit(&self) -> &Arc<Circuit> {
        &self.circuit
    }

    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Looks at what a node gives: from the next step on it is in [`StepOutput::tapped`], in the order of the workers; of a sink it is what
    /// the sink is given. One node at a time, `None` for none. The rows are shared and not copied, and while none is tapped the cost
    /// is a comparison a node and step.
    pub fn tap(&mut self, node: Option<NodeId>) {
        self.tap = node;
    }

    /// Runs one step.
    ///
    /// # Errors
    /// When the query fails on the data, or code in it panics. The executor is of no more use then: every later call gives
    /// the same error.
    pub fn step(&mut self, input: StepInput) -> Result<StepOutput> {
        self.guarded(|this| this.try_step(input))
    }

    fn guarded<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        f(self).inspect_err(|e| self.failed = Some(e.clone()))
    }

    fn try_step(&mut self, input: StepInput) -> Result<StepOutput> {
        self.circuit.clock.set(input.processing_time);
        let mut batches = input.batches;
        batches.resize_with(self.circuit.sources.len(), Vec::new);
        for (source, batches) in batches.iter_mut().enumerate() {
            let partitions = input.partitions.get(source).filter(|p| !p.holds.is_empty());
            if partitions.is_none() {
                *batches = join_small(std::mem::take(batches))?;
            }
            if self.appends[source] {
                self.check_appends(source, batches)?;
            }
            if let Some(assigner) = &mut self.assigners[source] {
                let StepPartitions { of_batches, holds } = partitions.cloned().unwrap_or_default();
                assigner.wait_for(&holds);
                for (batch, partition) in batches.iter_mut().zip(of_batches.into_iter().chain(std::iter::repeat(0))) {
                    assigner.assign_of(partition, batch)?;
                }
                assigner.pass_over(&holds);
                assigner.raise(input.watermarks.get(source).copied().unwrap_or_default());
            }
        }
        let work = self.take_answers(input.lookups)?;
        self.advance(&input.sources);
        let time = Arc::new(CircuitTime {
            watermarks: self.watermarks.clone(),
            processing_time: input.processing_time,
            tap: self.tap,
        });
        let output = match &mut self.team {
            Team::Here(worker) => worker.step(WorkerInput { sources: batches, lookups: work }, &time)?,
            Team::Threads(threads) => step_threads(threads, batches, work, &time)?,
        };
        self.next_timer = output.next_timer;
        for (lookup, probes) in self.lookups.iter_mut().zip(output.probes) {
            let input = self.circuit.nodes[lookup.node].inputs[0];
            lookup.in_flight.leave(join_small(probes)?, self.watermarks[input.0]);
            self.metrics.state_rows(lookup.node, lookup.rows());
        }
        Ok(StepOutput { sinks: output.sinks, tapped: output.tapped })
    }

    /// Takes in what has come back.
    fn take_answers(&mut self, mut inputs: Vec<LookupInput>) -> Result<Vec<LookupWork>> {
        inputs.resize_with(self.lookups.len(), LookupInput::default);
        let both = self.lookups.iter_mut().zip(inputs);
        both.map(|(lookup, input)| {
            lookup.cache = input.cache;
            let (work, reached) = lookup.in_flight.take(input)?;
            lookup.reached = reached;
            Ok(work)
        })
        .collect()
    }

    /// The rows that have left to be looked up for and are not back, by a look-up's number, from a number of theirs on.
    pub fn probes(&self, lookup: usize, from: u64) -> impl Iterator<Item = Probes> {
        self.lookups[lookup].in_flight.probes_from(from)
    }

    /// The number that the next probes of a look-up will get.
    pub fn next_probes(&self, lookup: usize) -> u64 {
        self.lookups[lookup].in_flight.next_number()
    }

    /// Whether nothing is out, neither rows nor a watermark behind them: without input another step would change nothing.
    pub fn is_settled(&self) -> bool {
        self.lookups.iter().all(|l| l.whole || !l.has_news() && l.in_flight.is_empty())
    }

    /// Whether a watermark can go on in a step without input, since all rows before it are back.
    pub fn has_news(&self) -> bool {
        self.lookups.iter().any(|l| !l.whole && l.has_news())
    }

    /// Holds a source to what it said when the circuit was planned: operators rely on it.
    fn check_appends(&self, source: usize, batches: &mut [ChangeBatch]) -> Result<()> {
        for batch in batches {
            let Some(kinds) = batch.kinds.take() else { continue };
            if let Some(kind) = kinds.iter().find(|k| **k != RowKind::Insert) {
                let table = &self.circuit.sources[source].table.name;
                let message =
                    format!("the source of table '{table}' gave a change of kind {kind}, and is to give new rows");
                return Err(Error::Execution(message));
            }
        }
        Ok(())
    }

    /// Moves every node's watermark on: a source's own, else the least of the inputs that are not idle.
    fn advance(&mut self, states: &[SourceState]) {
        let mut idle = vec![false; self.circuit.nodes.len()];
        for (id, node) in self.circuit.nodes.iter().enumerate() {
            let reached = match node.kind {
                NodeKind::Source(i) => {
                    let state = states.get(i).copied().unwrap_or_default();
                    idle[id] = state == SourceState::Idle;
                    match state {
                        SourceState::Ended => Watermark::MAX,
                        _ => self.assigners[i].as_ref().map_or(Watermark::MIN, WatermarkAssigner::current),
                    }
                }
                NodeKind::Lookup(i) if !self.lookups[i].whole => {
                    let lookup = &self.lookups[i];
                    idle[id] = idle[node.inputs[0].0] && lookup.in_flight.is_empty();
                    lookup.reached
                }
                _ => {
                    let active = node.inputs.iter().filter(|i| !idle[i.0]).map(|i| self.watermarks[i.0]).min();
                    idle[id] = active.is_none();
                    held_back(active.unwrap_or(Watermark::MIN), node)
                }
            };
            self.watermarks[id] = self.watermarks[id].max(reached);
            self.metrics.watermark(id, self.watermarks[id]);
        }
    }

    /// The processing time, in milliseconds since the epoch, at which a step is wanted even if no rows come: windows and
    /// intervals of processing time end then. `None` where nothing waits for the clock.
    pub fn next_timer(&self) -> Option<i64> {
        self.next_timer
    }

    /// Where a source's watermark stands.
    pub fn source_watermark(&self, source: usize) -> Watermark {
        self.assigners[source].as_ref().map_or(Watermark::MIN, WatermarkAssigner::current)
    }

    /// Brings what the operators hold into the metrics.
    ///
    /// # Errors
    /// When a worker is gone.
    pub fn report(&mut self) -> Result<()> {
        for lookup in &self.lookups {
            let (state_rows, state_bytes) = (lookup.rows(), lookup.in_flight.bytes() as u64 + lookup.cache.state_bytes);
            self.metrics.stats(lookup.node, 0, OperatorStats { state_rows, state_bytes, ..OperatorStats::default() });
        }
        match &mut self.team {
            Team::Here(worker) => worker.report(),
            Team::Threads(threads) => {
                for thread in threads {
                    thread.done(Order::Report)?;
                }
            }
        }
        Ok(())
    }

    /// Hands out the whole state. The circuit goes on as if nothing had happened.
    ///
    /// # Errors
    /// When an operator's state cannot be written as columns.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.guarded(|this| {
            let workers = match &mut this.team {
                Team::Here(worker) => vec![worker.snapshot()?],
                Team::Threads(threads) => threads.iter_mut().map(Thread::snapshot).collect::<Result<_>>()?,
            };
            let watermarks = |a: &Option<WatermarkAssigner>| a.as_ref().map_or(Vec::new(), WatermarkAssigner::snapshot);
            let sources = this.assigners.iter().map(watermarks).collect();
            let lookups = this.lookups.iter().map(|l| l.in_flight.state()).collect();
            Ok(Snapshot { workers, sources, nodes: this.watermarks.clone(), lookups })
        })
    }

    /// Takes over the state of the same circuit, from any number of workers, before the first step.
    ///
    /// # Errors
    /// When the state is not this circuit's.
    pub fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.guarded(|this| this.try_restore(snapshot))
    }

    fn try_restore(&mut self, snapshot: Snapshot) -> Result<()> {
        if snapshot.nodes.len() != self.watermarks.len() || snapshot.sources.len() != self.assigners.len() {
            return Err(Error::internal("the snapshot is of another circuit"));
        }
        if snapshot.lookups.len() != self.lookups.len() {
            return Err(Error::internal("the snapshot is of a circuit with other look-ups"));
        }
        for (lookup, state) in self.lookups.iter_mut().zip(snapshot.lookups) {
            lookup.in_flight.restore(state);
        }
        self.watermarks = snapshot.nodes;
        // What the operators wait for is known after the first step.
        self.next_timer = Some(i64::MIN);
        for (assigner, watermarks) in self.assigners.iter_mut().zip(snapshot.sources) {
            if let Some(assigner) = assigner {
                assigner.restore(&watermarks);
            }
        }
        let workers = self.workers();
        let mut states: Vec<WorkerState> = vec![Vec::new(); workers];
        for node in 0..self.watermarks.len() {
            let tables = snapshot.workers.iter().map(|w| w[node].clone()).collect();
            for (state, tables) in states.iter_mut().zip(deal(tables, workers)?) {
                state.push(tables);
            }
        }
        match &mut self.team {
            Team::Here(worker) => states.into_iter().try_for_each(|s| worker.restore(s)),
            Team::Threads(threads) => threads.iter_mut().zip(states).try_for_each(|(t, s)| t.done(Order::Restore(s))),
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        match &self.team {
            Team::Here(_) => 1,
            Team::Threads(threads) => threads.len(),
        }
    }
}

/// The watermark behind a node.
fn held_back(reached: Watermark, node: &Node) -> Watermark {
    match &node.kind {
        NodeKind::Operator(factory) if reached != Watermark::MAX => {
            Watermark(reached.0.saturating_sub(factory.watermark_delay()))
        }
        _ => reached,
    }
}

fn step_threads(
    threads: &mut [Thread],
    batches: Vec<Vec<ChangeBatch>>,
    work: Vec<LookupWork>,
    time: &Arc<CircuitTime>,
) -> Result<WorkerOutput> {
    let mut shares: Vec<WorkerInput> = vec![WorkerInput::default(); threads.len()];
    for source in batches {
        for (share, batches) in shares.iter_mut().zip(divide(source, threads.len())) {
            share.sources.push(batches);
        }
    }
    for work in work {
        for (share, work) in shares.iter_mut().zip(work.divide(threads.len())) {
            share.lookups.push(work);
        }
    }
    for (thread, share) in threads.iter_mut().zip(shares) {
        thread.send(Order::Step(share, Arc::clone(time)))?;
    }
    let replies: Vec<Result<WorkerOutput>> = threads.iter_mut().map(Thread::stepped).collect();
    let mut outputs = first_cause(replies)?.into_iter();
    let mut joined = outputs.next().unwrap_or_default();
    for output in outputs {
        joined.sinks.iter_mut().zip(output.sinks).for_each(|(j, o)| j.extend(o));
        joined.probes.iter_mut().zip(output.probes).for_each(|(j, o)| j.extend(o));
        joined.tapped.extend(output.tapped);
        joined.next_timer = joined.next_timer.into_iter().chain(output.next_timer).min();
    }
    Ok(joined)
}

/// The values, or the error that made the others fail.
fn first_cause<T>(replies: Vec<Result<T>>) -> Result<Vec<T>> {
    let is_echo = |e: &Error| matches!(e, Error::Internal(m) if m == GONE);
    let mut echo = None;
    let mut values = Vec::with_capacity(replies.len());
    for reply in replies {
        match reply {
            Ok(value) => values.push(value),
            Err(e) if is_echo(&e) => echo = Some(e),
            Err(e) => return Err(e),
        }
    }
    echo.map_or(Ok(values), Err)
}

impl LookupNode {
    /// How many rows are out, kept as a table, or cached.
    fn rows(&self) -> u64 {
        self.in_flight.rows() as u64 + self.cache.state_rows
    }

    /// Whether the watermark behind all that has left has still to go on, and nothing stands before it.
    fn has_news(&self) -> bool {
        self.in_flight.is_empty() && self.reached < self.in_flight.latest()
    }
}

impl Thread {
    fn spawn(index: usize, worker: Worker) -> Result<Self> {
        let (orders, inbox) = channel();
        let (outbox, replies) = channel();
        let handle = std::thread::Builder::new()
            .name(format!("millstream-worker-{index}"))
            .spawn(move || serve(worker, &inbox, &outbox))
            .map_err(|e| Error::io("starting a worker thread", e))?;
        Ok(Self { orders: Some(orders), replies, handle: Some(handle) })
    }

    fn send(&mut self, order: Order) -> Result<()> {
        let orders = self.orders.as_ref().ok_or_else(|| Error::internal(GONE))?;
        orders.send(order).map_err(|_| Error::internal(GONE))
    }

    fn receive(&mut self) -> Result<Reply> {
        self.replies.recv().map_err(|_| Error::internal(GONE))
    }

    fn stepped(&mut self) -> Result<WorkerOutput> {
        match self.receive()? {
            Reply::Step(outputs) => outputs,
            _ => Err(Error::internal("a worker's reply to another order")),
        }
    }

    fn done(&mut self, order: Order) -> Result<()> {
        self.send(order)?;
        match self.receive()? {
            Reply::Done(done) => done,
            _ => Err(Error::internal("a worker's reply to another order")),
        }
    }

    fn snapshot(&mut self) -> Result<WorkerState> {
        self.send(Order::Snapshot)?;
        match self.receive()? {
            Reply::Snapshot(state) => state,
            _ => Err(Error::internal("a worker's reply to another order")),
        }
    }
}

/// A worker thread: one order after another, until an error (its exchanges go with it, and so the other workers learn of
/// it) or until no more orders can come.
fn serve(mut worker: Worker, inbox: &Receiver<Order>, outbox: &Sender<Reply>) {
    while let Ok(order) = inbox.recv() {
        let reply = match order {
            Order::Step(input, time) => Reply::Step(worker.step(input, &time)),
            Order::Snapshot => Reply::Snapshot(worker.snapshot()),
            Order::Restore(state) => Reply::Done(worker.restore(state)),
            Order::Report => {
                worker.report();
                Reply::Done(Ok(()))
            }
        };
        let failed = matches!(&reply, Reply::Step(Err(_)) | Reply::Snapshot(Err(_)) | Reply::Done(Err(_)));
        if failed {
            drop(worker);
            let _ = outbox.send(reply);
            return;
        }
        if outbox.send(reply).is_err() {
            return;
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(handle) = self.handle.take() {
            // A panic outside an operator has been reported as a worker that is gone.
            let _ = handle.join();
        }
    }
}
