//! The driver's side: when a checkpoint is taken, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::identity::Identities;
use super::manifest::{FORMAT, LIBRARY, Manifest, OperatorEntry, SinkEntry, SourceEntry, SplitEntry};
use super::options::CheckpointOptions;
use super::read::{Checkpoint, load_newest};
use super::store::CheckpointStore;
use super::write::{Frozen, FrozenLookup, Writer, Written};
use crate::connector::{PositionListener, Prepared, SplitPosition};
use crate::runtime::circuit::{Circuit, NodeId, NodeKind, SinkSpec, SourceSpec};
use crate::runtime::executor::{Snapshot, SourceState};
use crate::runtime::paging::NodeState;
use crate::runtime::port::Told;
use crate::runtime::tasks::{AbortOnDrop, Tasks};
use crate::{Error, Result};

/// A checkpoint that will outlast the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// Its number.
    pub id: u64,
    /// The folder that it is in, with the job's.
    pub address: String,
}

/// Someone asks for a checkpoint.
#[derive(Debug)]
pub(in crate::runtime) struct Request {
    /// Where to write it whole, beside the job's own folder.
    pub to: Option<String>,
    pub reply: oneshot::Sender<Result<Durable>>,
}

/// Why a checkpoint is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Reason {
    Interval,
    Savepoint,
    Suspend,
    End,
}

impl Reason {
    fn word(self) -> &'static str {
        match self {
            Reason::Interval => "interval",
            Reason::Savepoint => "savepoint",
            Reason::Suspend => "suspend",
            Reason::End => END,
        }
    }
}

const END: &str = "end";

/// How far the splits of a source were taken into steps.
#[derive(Debug, Clone, Default)]
pub(in crate::runtime) struct Positions {
    splits: BTreeMap<String, SplitEntry>,
    /// Whether rows came that cannot be read again.
    lost: bool,
}

impl Positions {
    /// Takes note that rows went into a step.
    pub fn note(&mut self, told: &Told, rows: usize) {
        let Some(position) = &told.position else {
            self.lost |= rows > 0;
            return;
        };
        let entry = self.splits.entry(position.split.clone()).or_insert_with(|| SplitEntry {
            position: None,
            split: position.split.clone(),
            rows_behind: 0,
        });
        if told.whole {
            (entry.position, entry.rows_behind) = (Some(position.clone()), told.taken);
        } else {
            entry.rows_behind += rows as u64;
        }
    }

    pub(super) fn from_entry(entry: &SourceEntry) -> Self {
        let splits = entry.splits.iter().map(|s| (s.split.clone(), s.clone())).collect();
        Self { splits, lost: !entry.replayable }
    }

    /// Where to go on, by split.
    pub fn seek(&self) -> Vec<SplitPosition> {
        self.splits.values().filter_map(|s| s.position.clone()).collect()
    }

    /// How many rows of each split's first ones have been taken already.
    pub fn skip(&self) -> BTreeMap<String, u64> {
        let behind = self.splits.values().filter(|s| s.rows_behind > 0);
        behind.map(|s| (s.split.clone(), s.rows_behind)).collect()
    }
}

/// What a checkpoint is made of, between two steps.
pub(in crate::runtime) struct Boundary<'a> {
    pub snapshot: Snapshot,
    pub states: &'a [SourceState],
    /// By sink: what it will have prepared; `None` for those that take no part.
    pub prepared: Vec<Option<oneshot::Receiver<Result<Option<Prepared>>>>>,
    pub now: i64,
    pub reason: Reason,
}

/// A checkpoint that is being written.
struct UnderWay {
    id: u64,
    requests: Vec<Request>,
    positions: Vec<Vec<SplitPosition>>,
    outcome: oneshot::Receiver<Outcome>,
    /// A job that ends publishes nothing afterwards: its next run has begun from what was there.
    _task: AbortOnDrop,
}

struct Outcome {
    writer: Option<Writer>,
    prepared: BySink,
    result: Result<Written>,
    /// What became of the copies at other addresses, in the order of the requests for them.
    copies: Vec<Result<()>>,
}

/// By sink, what was prepared, with the number of the checkpoint.
type BySink = Vec<Vec<(u64, Prepared)>>;

/// A checkpoint that has become durable: what the sinks are to commit now.
pub(in crate::runtime) struct ToCommit {
    /// Its number and folder; `None` where only a savepoint was written.
    pub durable: Option<Durable>,
    pub by_sink: Vec<Vec<Prepared>>,
    pub written: Written,
}

/// Takes a job's checkpoints.
pub(in crate::runtime) struct Coordinator {
    options: CheckpointOptions,
    circuit: Arc<Circuit>,
    /// Made when they are first needed: it takes longer than a checkpoint may hold the steps up.
    ids: OnceLock<Identities>,
    runtime: Tasks,
    driver: Thread,
    store: Option<CheckpointStore>,
    /// `None` while a checkpoint is under way, or without a folder.
    writer: Option<Writer>,
    /// By source.
    pub positions: Vec<Positions>,
    pub listeners: Vec<Option<Arc<dyn PositionListener>>>,
    under_way: Option<UnderWay>,
    requests: Vec<Request>,
    /// What was prepared for checkpoints that failed.
    uncommitted: BySink,
    next_id: u64,
    /// When the last one began and ended.
    began: i64,
    ended: i64,
    /// Whether anything happened since the last one.
    dirty: bool,
    failures: usize,
}

impl Coordinator {
    pub fn new(options: CheckpointOptions, circuit: Arc<Circuit>, runtime: Tasks) -> Self {
        let positions = vec![Positions::default(); circuit.sources.len()];
        let uncommitted = vec![Vec::new(); circuit.sinks.len()];
        Self {
            ids: OnceLock::new(),
            options,
            circuit,
            runtime,
            driver: std::thread::current(),
            store: None,
            writer: None,
            positions,
            listeners: Vec::new(),
            under_way: None,
            requests: Vec::new(),
            uncommitted,
            next_id: 1,
            began: i64::MIN,
            ended: i64::MIN,
            dirty: false,
            failures: 0,
        }
    }

    /// Opens the job's folder and loads what the job goes on from. Called in the driver's thread.
    ///
    /// # Errors
    /// When there is a checkpoint and none can be restored, or the store does not answer.
    pub fn open(&mut self, now: i64) -> Result<Option<Checkpoint>> {
        self.driver = std::thread::current();
        (self.began, self.ended) = (now, now);
        let own = self.options.dir.as_ref().map(|dir| self.options.open(dir)).transpose()?;
        if own.is_some() {
            self.ids();
        }
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            let mut found = None;
            if let Some(store) = &own {
                found = load_newest(store).await?;
                self.next_id = store.highest().await? + 1;
            }
            if let (None, Some(path)) = (&found, &self.options.restore_from) {
                found = Some(self.options.load(path).await?);
                self.next_id = self.next_id.max(found.as_ref().map_or(0, |c| c.manifest.id) + 1);
            }
            self.writer = own.clone().map(Writer::new);
            self.store = own;
            Ok(found)
        })
    }

    fn ids(&self) -> &Identities {
        self.ids.get_or_init(|| Identities::of(&self.circuit))
    }

    /// Runs something beside the job.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        self.runtime.spawn(task)
    }

    /// The job's folder.
    pub fn store(&self) -> Option<&CheckpointStore> {
        self.store.as_ref()
    }

    /// Whether sinks are to hold back what they write until a checkpoint covers it.
    pub fn is_on(&self) -> bool {
        self.store.is_some()
    }

    /// Names a sink in all runs of the job.
    pub fn sink_name(&self, sink: usize) -> String {
        format!("{}-{}", self.options.folder(), short(&self.ids().sinks[sink]))
    }

    /// The number that the next checkpoint will have.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Takes note of a step.
    pub fn stepped(&mut self) {
        self.dirty = true;
    }

    /// Takes note of requests.
    pub fn request(&mut self, requests: Vec<Request>) {
        for request in requests {
            if request.to.is_none() && self.store.is_none() {
                let message = "a job without 'execution.checkpointing.dir' takes no checkpoints, but for savepoints to an address";
                let _ = request.reply.send(Err(Error::Option(message.into())));
            } else {
                self.requests.push(request);
            }
        }
    }

    /// Why a checkpoint is due now, if one is.
    pub fn due(&self, now: i64) -> Option<Reason> {
        if self.under_way.is_some() {
            return None;
        }
        if !self.requests.is_empty() {
            return Some(Reason::Savepoint);
        }
        let left = self.wait(now)?;
        (left.is_zero() && self.dirty).then_some(Reason::Interval)
    }

    /// How long until one may be due; `None` where none is on its way.
    pub fn wait(&self, now: i64) -> Option<Duration> {
        if self.store.is_none() || self.under_way.is_some() || !self.dirty {
            return None;
        }
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let by_interval = self.began.saturating_add(millis(self.options.interval?));
        let at = by_interval.max(self.ended.saturating_add(millis(self.options.min_pause)));
        Some(Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0)))
    }

    /// Begins a checkpoint: what it is made of is here, by reference; a task does the rest.
    pub fn begin(&mut self, boundary: Boundary<'_>) {
        let Boundary { snapshot, states, prepared, now, reason } = boundary;
        let id = self.next_id;
        self.next_id += 1;
        (self.began, self.dirty) = (now, false);
        let frozen = self.freeze(id, reason, snapshot, states, now);
        let requests = std::mem::take(&mut self.requests);
        let targets: Vec<String> = requests.iter().filter_map(|r| r.to.clone()).collect();
        let (sender, outcome) = oneshot::channel();
        let task = Task {
            id,
            frozen: Some(frozen),
            writer: self.writer.take(),
            earlier: std::mem::replace(&mut self.uncommitted, vec![Vec::new(); self.circuit.sinks.len()]),
            targets,
            options: self.options.clone(),
        };
        let (timeout, driver) = (self.options.timeout, self.driver.clone());
        let task = self.spawn(async move {
            let outcome = task.run(prepared, timeout).await;
            let _ = sender.send(outcome);
            driver.unpark();
        });
        let positions = self.positions.iter().map(Positions::seek).collect();
        self.under_way = Some(UnderWay { id, requests, positions, outcome, _task: AbortOnDrop(task) });
    }

    fn freeze(&self, id: u64, reason: Reason, snapshot: Snapshot, states: &[SourceState], now: i64) -> Frozen {
        let mut frozen = freeze(&self.circuit, self.ids(), snapshot);
        let manifest = &mut frozen.manifest;
        manifest.job.clone_from(&self.options.job);
        manifest.script.clone_from(&self.options.script);
        (manifest.id, manifest.reason, manifest.taken_at) = (id, reason.word().into(), now);
        for (source, entry) in manifest.sources.iter_mut().enumerate() {
            let positions = &self.positions[source];
            entry.ended = states.get(source) == Some(&SourceState::Ended);
            entry.replayable = !positions.lost;
            entry.splits = positions.splits.values().cloned().collect();
        }
        frozen
    }

    /// What is to be committed, if a checkpoint has become durable since the last call.
    ///
    /// # Errors
    /// When one has failed, and it was one too many.
    pub fn poll(&mut self, now: i64) -> Result<Option<ToCommit>> {
        let Some(under_way) = &mut self.under_way else { return Ok(None) };
        match under_way.outcome.try_recv() {
            Ok(outcome) => self.finish(outcome, now),
            Err(oneshot::error::TryRecvError::Empty) => Ok(None),
            Err(oneshot::error::TryRecvError::Closed) => Err(Error::internal("the task of a checkpoint is gone")),
        }
    }

    /// As [`Coordinator::poll`], waiting for the one that is under way.
    ///
    /// # Errors
    /// As [`Coordinator::poll`].
    pub fn wait_for_it(&mut self, now: i64) -> Result<Option<ToCommit>> {
        let Some(under_way) = &mut self.under_way else { return Ok(None) };
        let outcome = self.runtime.block_on(&mut under_way.outcome);
        let outcome = outcome.map_err(|_| Error::internal("the task of a checkpoint is gone"))?;
        self.finish(outcome, now)
    }

    fn finish(&mut self, outcome: Outcome, now: i64) -> Result<Option<ToCommit>> {
        let Some(UnderWay { id, requests, positions, .. }) = self.under_way.take() else { return Ok(None) };
        let Outcome { writer, prepared, result, copies } = outcome;
        let mut copies = copies.into_iter();
        self.writer = writer;
        self.ended = now;
        match result {
            Ok(written) => {
                self.failures = 0;
                for Request { to, reply } in requests {
                    // A copy that could not be written is its request's failure, and not the job's.
                    let (address, written) = match (to, &self.store) {
                        (Some(to), _) => {
                            let address = format!("{}/{}", to.trim_end_matches('/'), self.options.folder());
                            let untold = || Err(Error::internal("a savepoint of which nothing is known"));
                            (address, copies.next().unwrap_or_else(untold))
                        }
                        (None, store) => (store.as_ref().map(CheckpointStore::address).unwrap_or_default(), Ok(())),
                    };
                    let address = format!("{address}/{}", CheckpointStore::folder(id));
                    let _ = reply.send(written.map(|()| Durable { id, address }));
                }
                for (listener, positions) in self.listeners.iter().zip(positions) {
                    listener.iter().for_each(|l| l.on_durable(&positions));
                }
                let by_sink = prepared.into_iter().map(|all| all.into_iter().map(|(_, p)| p).collect()).collect();
                let folder = |store: &CheckpointStore| format!("{}/{}", store.address(), CheckpointStore::folder(id));
                let durable = self.store.as_ref().map(|store| Durable { id, address: folder(store) });
                Ok(Some(ToCommit { durable, by_sink, written }))
            }
            Err(error) => {
                for request in requests {
                    let _ = request.reply.send(Err(error.clone()));
                }
                self.uncommitted = prepared;
                self.dirty = true;
                self.failures += 1;
                if self.failures > self.options.tolerable_failures {
                    return Err(error);
                }
                log::warn!("checkpoint {id} failed, and the job goes on: {error}");
                Ok(None)
            }
        }
    }
}

/// The state of a circuit, ready to be written; nothing is known of positions, and nothing was prepared.
fn freeze(circuit: &Circuit, ids: &Identities, snapshot: Snapshot) -> Frozen {
    let Snapshot { workers, sources, nodes, lookups } = snapshot;
    let mut tables = vec![NodeState::default(); circuit.nodes.len()];
    let worker_count = workers.len();
    for worker in workers {
        for (all, own) in tables.iter_mut().zip(worker) {
            all.tables.extend(own.tables);
            all.cold.extend(own.cold);
        }
    }
    let operators = circuit.nodes.iter().enumerate().map(|(number, node)| OperatorEntry {
        id: ids.nodes[number].clone(),
        loose: ids.loose[number].clone(),
        name: circuit.name(NodeId(number)),
        detail: node.notes.detail.clone(),
        watermark: nodes[number].0,
        tables: Vec::new(),
        in_flight: None,
    });
    let in_flight = circuit.nodes.iter().enumerate().filter_map(|(number, node)| match node.kind {
        NodeKind::Lookup(i) => {
            let (out, latest) = lookups.get(i)?.parts();
            let out = out.map(|(rows, behind)| (rows, behind.0)).collect();
            Some(FrozenLookup { node: number, out, latest: latest.0 })
        }
        _ => None,
    });
    let in_flight = in_flight.collect();
    let source = |(number, (source, id)): (usize, (&SourceSpec, &String))| SourceEntry {
        id: id.clone(),
        table: source.table.name.clone(),
        ended: false,
        replayable: true,
        watermarks: sources.get(number).into_iter().flatten().map(|w| w.0).collect(),
        splits: Vec::new(),
    };
    let sink = |(sink, id): (&SinkSpec, &String)| SinkEntry {
        id: id.clone(),
        table: match sink {
            SinkSpec::Table { table, .. } => table.name.clone(),
            SinkSpec::Result => "result".into(),
        },
        prepared: Vec::new(),
    };
    let manifest = Manifest {
        format: FORMAT,
        checksum: 0,
        library: LIBRARY.into(),
        job: String::new(),
        id: 0,
        reason: Reason::Savepoint.word().into(),
        taken_at: 0,
        script: String::new(),
        workers: worker_count,
        sources: circuit.sources.iter().zip(&ids.sources).enumerate().map(source).collect(),
        sinks: circuit.sinks.iter().zip(&ids.sinks).map(sink).collect(),
        operators: operators.collect(),
        files: Vec::new(),
    };
    Frozen { manifest, in_flight, tables }
}

/// Writes the state of a circuit that somebody steps by hand, as a checkpoint of that number; [`load_newest`] and [`Restored`](super::Restored)
/// give it back.
///
/// # Errors
/// When the store refuses, or a checkpoint of the number is there.
pub async fn save(circuit: &Circuit, snapshot: Snapshot, store: &CheckpointStore, id: u64) -> Result<()> {
    let mut frozen = freeze(circuit, &Identities::of(circuit), snapshot);
    frozen.manifest.id = id;
    Writer::new(store.clone()).write(frozen, vec![Vec::new(); circuit.sinks.len()]).await.map(|_| ())
}

/// Enough of a sink's name to tell it from others.
fn short(id: &str) -> String {
    let (hash, count) = id.split_once('-').map_or((id, String::new()), |(hash, count)| (hash, format!("-{count}")));
    format!("{}{count}", hash.get(..12).unwrap_or(hash))
}

/// Whether the job of a checkpoint had come to its end.
pub(in crate::runtime) fn has_ended(checkpoint: &Checkpoint) -> bool {
    checkpoint.manifest.reason == END
}

/// The writing of one checkpoint.
struct Task {
    id: u64,
    frozen: Option<Frozen>,
    writer: Option<Writer>,
    earlier: BySink,
    targets: Vec<String>,
    options: CheckpointOptions,
}

impl Task {
    async fn run(
        mut self,
        prepared: Vec<Option<oneshot::Receiver<Result<Option<Prepared>>>>>,
        timeout: Duration,
    ) -> Outcome {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut writer = self.writer.take();
        let mut all = std::mem::take(&mut self.earlier);
        let gathered = tokio::time::timeout_at(deadline, gather(self.id, prepared, &mut all));
        // Not held longer than it takes: what copies are to be made of.
        let copied = if self.targets.is_empty() { None } else { self.frozen.clone() };
        let mut result = match gathered.await {
            Ok(Ok(())) => {
                let written = self.write(&mut writer, all.clone());
                tokio::time::timeout_at(deadline, written).await.unwrap_or_else(late)
            }
            Ok(Err(e)) => Err(e),
            Err(elapsed) => late(elapsed),
        };
        let mut copies = Vec::new();
        if let (Ok(written), Some(frozen)) = (&mut result, copied) {
            for target in &self.targets {
                let copy = tokio::time::timeout(timeout, self.copy(target, frozen.clone()));
                let copy = copy.await.unwrap_or_else(late);
                if let (Ok(copy), None) = (&copy, &writer) {
                    *written = *copy;
                }
                copies.push(copy.map(drop));
            }
        }
        Outcome { writer, prepared: all, result, copies }
    }

    /// Writes the job's own checkpoint, where it has a folder.
    async fn write(&mut self, writer: &mut Option<Writer>, prepared: BySink) -> Result<Written> {
        let (Some(writer), Some(frozen)) = (writer, self.frozen.take()) else { return Ok(Written::default()) };
        let written = writer.write(frozen, prepared).await?;
        if let Err(e) = writer.store().prune(self.id, self.options.retained).await {
            log::warn!("old checkpoints could not be removed: {e}");
        }
        Ok(written)
    }

    /// Writes the same whole to another address. A copy holds nothing to commit: that is this job's to do, and its own checkpoint is
    /// durable by now.
    async fn copy(&self, target: &str, frozen: Frozen) -> Result<Written> {
        let nothing = vec![Vec::new(); frozen.manifest.sinks.len()];
        Writer::new(self.options.open(target)?).write(frozen, nothing).await
    }
}

fn late(_: tokio::time::error::Elapsed) -> Result<Written> {
    let message = "a checkpoint took longer than execution.checkpointing.timeout allows";
    Err(Error::io("writing a checkpoint", std::io::Error::new(std::io::ErrorKind::TimedOut, message)))
}

/// Waits for what the sinks prepare.
async fn gather(
    id: u64,
    prepared: Vec<Option<oneshot::Receiver<Result<Option<Prepared>>>>>,
    all: &mut BySink,
) -> Result<()> {
    for (sink, receiver) in prepared.into_iter().enumerate() {
        let Some(receiver) = receiver else { continue };
        let answer = receiver.await.map_err(|_| Error::internal("a sink ended before it had prepared"))?;
        if let Some(prepared) = answer? {
            all[sink].push((id, prepared));
        }
    }
    Ok(())
}
