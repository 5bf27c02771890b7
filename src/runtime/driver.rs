//! The driver: steps a circuit when there is data, in a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::watch;

use super::checkpoint::{
    Boundary, Coordinator, Durable, Reason, Request, Restored, Resumed, ToCommit, has_ended, heed,
};
use super::clock::Stopwatch;
use super::executor::{Executor, SourceState, StepInput};
use super::journal::Journal;
use super::lookup::{LookupEdge, LookupInput};
use super::outlet::Outlet;
use super::pace::{PACED_ROWS, Pace};
use super::partitions::Partitions;
use super::port::{Arrival, Port, Resume, Told};
use super::tasks::AbortOnDrop;
use crate::change::{ChangeBatch, Clock, Sleeper};
use crate::connector::{SinkRecovery, SourceBatch};
use crate::{Error, Result};

/// How long a driver sleeps at most when there is nothing to do.
const REST: Duration = Duration::from_secs(1);
/// How often the operators' state is measured.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// How a job ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// All input ended, or the job was stopped and drained: every result has gone out.
    Finished,
    /// The job was cancelled: what was under way is lost.
    Cancelled,
    /// The job was suspended: started again, it goes on from its last checkpoint.
    Suspended,
}

/// What a driver did in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It stepped, or began; there may be more to do.
    Stepped,
    /// There was nothing to do, and will not be for so long, unless something wakes it.
    Rested(Duration),
    /// It has come to its end.
    Ended(JobEnd),
}

/// Tells a driver to stop, from any thread.
#[derive(Debug, Default)]
pub(super) struct Control {
    order: AtomicU8,
    requests: Mutex<Vec<Request>>,
}

const RUN: u8 = 0;
const DRAIN: u8 = 1;
const SUSPEND: u8 = 2;
const CANCEL: u8 = 3;

impl Control {
    pub fn drain(&self) {
        // A cancelled job stays cancelled.
        let _ = self.order.compare_exchange(RUN, DRAIN, Ordering::AcqRel, Ordering::Acquire);
    }

    pub fn suspend(&self) {
        let _ = self.order.compare_exchange(RUN, SUSPEND, Ordering::AcqRel, Ordering::Acquire);
    }

    pub fn cancel(&self) {
        self.order.store(CANCEL, Ordering::Release);
    }

    /// Asks for a checkpoint.
    pub fn request(&self, request: Request) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self) -> u8 {
        self.order.load(Ordering::Acquire)
    }
}

/// Wakes the driver's thread.
struct Unpark(Thread);

impl Sleeper for Unpark {
    fn moved(&self) {
        self.0.unpark();
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A circuit with its sources and sinks.
pub(super) struct Driver {
    pub executor: Executor,
    pub ports: Vec<Port>,
    pub outlets: Vec<Outlet>,
    pub lookups: Vec<LookupEdge>,
    pub clock: Arc<dyn Clock>,
    pub control: Arc<Control>,
    /// By source: after so long without rows it is idle.
    pub idle_timeouts: Vec<Option<Duration>>,
    /// Which sources wait for others.
    pub pace: Pace,
    /// How many rows of a source go into one step at most; one more where an update's two rows would be parted.
    pub step_rows: usize,
    /// With so many bytes of a source a step has enough.
    pub step_bytes: usize,
    /// How the sources stand; nothing before the first turn.
    pub states: Option<Vec<SourceState>>,
    /// What the clock wakes when it is moved.
    pub sleeper: Option<Arc<dyn Sleeper>>,
    /// Whether what was left has been taken for the end.
    pub drained: bool,
    /// When each source last brought rows, by the clock.
    pub last_rows: Vec<i64>,
    /// How the partitions of sources stand.
    pub partitions: Partitions,
    pub coordinator: Coordinator,
    pub journal: Journal,
    /// Ends the search for orders from other processes with the driver.
    pub orders: Option<AbortOnDrop>,
    /// Where it tells from which checkpoint it goes on, or that there is none.
    pub resumed: watch::Sender<Option<Option<Resumed>>>,
}

/// What the sources and look-ups had ready.
struct Taken {
    batches: Vec<Vec<ChangeBatch>>,
    /// For each batch its partition.
    partitions: Vec<Vec<usize>>,
    /// What has come back, by look-up.
    lookups: Vec<LookupInput>,
    /// Whether there is a reason to step: rows, a source that ended or fell idle, something that came back.
    news: bool,
}

impl Driver {
    /// Runs to the end.
    ///
    /// # Errors
    /// The first that any part of the job met.
    pub fn run(mut self) -> Result<JobEnd> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut since_report = Stopwatch::start();
        loop {
            let tick = since_report.elapsed() > REPORT_EVERY;
            if tick {
                since_report = Stopwatch::start();
            }
            match self.turn(&waker, tick)? {
                Turn::Stepped => {}
                Turn::Rested(timeout) => std::thread::park_timeout(timeout),
                Turn::Ended(end) => return Ok(end),
            }
        }
    }

    /// Goes on from the last checkpoint, the first time; then looks once at everything that may have happened, and steps if there is
    /// a reason to. With a `tick` operators report what they hold, and sinks close files by age.
    ///
    /// # Errors
    /// The first that any part of the job met; there is no further turn then.
    pub fn turn(&mut self, waker: &Waker, tick: bool) -> Result<Turn> {
        let Some(mut states) = self.states.take() else { return self.begin() };
        let turn = self.look(&mut states, waker, tick);
        self.states = Some(states);
        turn
    }

    fn begin(&mut self) -> Result<Turn> {
        let mut states = vec![SourceState::Active; self.ports.len()];
        if self.resume(&mut states)? {
            self.outlets.iter_mut().try_for_each(Outlet::close)?;
            return Ok(Turn::Ended(JobEnd::Finished));
        }
        self.last_rows = vec![self.clock.now_millis(); self.ports.len()];
        self.partitions = Partitions::new(self.ports.iter().map(|p| p.partitions), self.clock.now_millis());
        // Known to the clock as long as the job runs.
        let sleeper: Arc<dyn Sleeper> = Arc::new(Unpark(std::thread::current()));
        self.clock.on_move(Arc::downgrade(&sleeper));
        self.sleeper = Some(sleeper);
        self.states = Some(states);
        Ok(Turn::Stepped)
    }

    fn look(&mut self, states: &mut [SourceState], waker: &Waker, tick: bool) -> Result<Turn> {
        let now = self.clock.now_millis();
        self.take_checkpoint(states, now)?;
        let taken = match self.control.get() {
            CANCEL => return Ok(Turn::Ended(JobEnd::Cancelled)),
            SUSPEND => {
                self.last_checkpoint(Reason::Suspend, states)?;
                self.journal.close()?;
                self.outlets.iter_mut().try_for_each(Outlet::close)?;
                return Ok(Turn::Ended(JobEnd::Suspended));
            }
            DRAIN if !self.drained && self.lookups.iter().all(LookupEdge::is_open) => {
                self.drained = true;
                self.drain(states)?
            }
            _ => self.take(waker, states, now)?,
        };
        if !taken.news && !self.ports.is_empty() && !self.timer_is_due() {
            return self.rest(tick).map(Turn::Rested);
        }
        if !self.step(taken, states, now)? {
            return Ok(Turn::Ended(JobEnd::Cancelled));
        }
        if tick {
            self.executor.report()?;
        }
        if !self.ports.iter().all(Port::is_closed) || !self.executor.is_settled() {
            return Ok(Turn::Stepped);
        }
        self.executor.report()?;
        self.last_checkpoint(Reason::End, states)?;
        self.journal.close()?;
        self.outlets.iter_mut().try_for_each(Outlet::close)?;
        Ok(Turn::Ended(JobEnd::Finished))
    }

    /// Goes on from the job's last checkpoint, where there is one; true when the job had come to its end there.
    fn resume(&mut self, states: &mut [SourceState]) -> Result<bool> {
        let checkpoint = self.coordinator.open(self.clock.now_millis())?;
        let circuit = Arc::clone(self.executor.circuit());
        let mut recoveries = vec![SinkRecovery::default(); self.outlets.len()];
        let mut resumes = vec![Resume::default(); self.ports.len()];
        let mut ended = false;
        if let Some(checkpoint) = &checkpoint {
            ended = has_ended(checkpoint);
            // What stands in a file from outside may trip code that trusts its own state.
            let restored = catch_unwind(AssertUnwindSafe(|| {
                let restored = Restored::new(&circuit, checkpoint)?;
                self.executor.restore(restored.snapshot.clone()).map(|()| restored)
            }));
            let restored = restored.unwrap_or_else(|panic| Err(Error::panic("restoring", panic.as_ref())));
            let restored = restored.map_err(|e| checkpoint.unusable(e))?;
            let Restored { report, .. } = &restored;
            let told = Resumed { checkpoint: checkpoint.manifest.id, ended, report: report.clone() };
            log::info!("job '{}' goes on from checkpoint {}", checkpoint.manifest.job, told.checkpoint);
            report.iter().for_each(|line| log::info!("{line}"));
            self.resumed.send_replace(Some(Some(told)));
            for (resume, (positions, ended)) in resumes.iter_mut().zip(restored.positions.iter().zip(&restored.ended)) {
                *resume = Resume { seek: positions.seek(), skip: positions.skip(), ended: *ended };
            }
            for (source, (state, ended)) in states.iter_mut().zip(&restored.ended).enumerate() {
                *state = if *ended { SourceState::Ended } else { SourceState::Active };
                if *ended {
                    self.executor.metrics().ended(source);
                }
            }
            self.coordinator.positions = restored.positions;
            recoveries = restored.recoveries;
        }
        self.resumed.send_if_modified(|told| told.is_none().then(|| *told = Some(None)).is_some());
        if self.coordinator.is_on() {
            for (sink, (outlet, mut recovery)) in self.outlets.iter_mut().zip(recoveries).enumerate() {
                recovery.id = self.coordinator.sink_name(sink);
                outlet.recover(recovery)?;
            }
        } else if recoveries.iter().any(|r| !r.prepared.is_empty()) {
            let message = "the checkpoint holds output that is still to be committed: set execution.checkpointing.dir";
            return Err(Error::Option(message.into()));
        }
        if let (Some(store), false) = (self.coordinator.store(), ended) {
            let (control, driver) = (Arc::clone(&self.control), std::thread::current());
            let hand_over = Arc::new(move |request| {
                control.request(request);
                driver.unpark();
            });
            self.orders = Some(AbortOnDrop(self.coordinator.spawn(heed(store.clone(), hand_over))));
        }
        if !ended {
            self.ports.iter_mut().zip(resumes).try_for_each(|(port, resume)| port.begin(resume))?;
            self.journal.begin(&circuit, checkpoint.as_ref(), self.clock.now_millis())?;
            self.coordinator.listeners = self.ports.iter().map(|p| p.listener.clone()).collect();
        }
        Ok(ended)
    }

    /// Sees to the checkpoint that is under way, and begins one that is due.
    fn take_checkpoint(&mut self, states: &[SourceState], now: i64) -> Result<()> {
        self.coordinator.request(self.control.take_requests());
        if let Some(durable) = self.coordinator.poll(now).or_else(|e| self.cause(e))? {
            self.commit(durable)?;
        }
        match self.coordinator.due(now) {
            Some(reason) => self.begin_checkpoint(reason, states, now),
            None => Ok(()),
        }
    }

    /// The checkpoint behind everything, durable and committed.
    fn last_checkpoint(&mut self, reason: Reason, states: &[SourceState]) -> Result<()> {
        let now = self.clock.now_millis();
        self.coordinator.request(self.control.take_requests());
        if let Some(durable) = self.coordinator.wait_for_it(now).or_else(|e| self.cause(e))? {
            self.commit(durable)?;
        }
        if !self.coordinator.is_on() {
            return Ok(());
        }
        self.begin_checkpoint(reason, states, now)?;
        match self.coordinator.wait_for_it(now).or_else(|e| self.cause(e))? {
            Some(durable) => self.commit(durable),
            None => Err(Error::Execution("the job's last checkpoint failed".into())),
        }
    }

    /// Freezes everything between two steps.
    fn begin_checkpoint(&mut self, reason: Reason, states: &[SourceState], now: i64) -> Result<()> {
        let watch = Stopwatch::start();
        let snapshot = self.executor.snapshot()?;
        self.journal.frozen();
        let id = self.coordinator.next_id();
        let prepared = self.outlets.iter_mut().map(|o| o.prepare(id)).collect::<Result<_>>()?;
        self.coordinator.begin(Boundary { snapshot, states, prepared, now, reason });
        self.executor.metrics().paused(watch.elapsed());
        Ok(())
    }

    fn commit(&mut self, durable: ToCommit) -> Result<()> {
        if let Some(Durable { id, address }) = durable.durable {
            self.journal.durable(id, address)?;
        }
        self.executor.metrics().durable(durable.written.bytes, durable.written.total_bytes);
        for (outlet, prepared) in self.outlets.iter_mut().zip(durable.by_sink) {
            prepared.into_iter().try_for_each(|p| outlet.commit(p))?;
        }
        Ok(())
    }

    /// A checkpoint's failure, or that of a sink which caused it.
    fn cause(&mut self, error: Error) -> Result<Option<ToCommit>> {
        self.outlets.iter_mut().try_for_each(Outlet::check)?;
        Err(error)
    }

    /// Whether the clock has reached what an operator waits for.
    fn timer_is_due(&self) -> bool {
        self.executor.next_timer().is_some_and(|at| at <= self.clock.now_millis())
    }

    /// Nothing to do: lets held-back output go, and says how long to wait for a wake-up.
    fn rest(&mut self, tick: bool) -> Result<Duration> {
        self.outlets.iter_mut().try_for_each(|o| o.flush(tick))?;
        if tick {
            self.executor.report()?;
        }
        let timers = self.lookups.iter().filter_map(LookupEdge::next_timer).chain(self.executor.next_timer());
        let timer = timers.min().map(|at| at.saturating_sub(self.clock.now_millis()));
        let timer = timer.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0)));
        let timer = timer.into_iter().chain(self.coordinator.wait(self.clock.now_millis()));
        let timeout = self.idle_timeouts.iter().flatten().copied().chain(timer).min().unwrap_or(REST);
        Ok(timeout.clamp(Duration::from_millis(1), REST))
    }

    /// Takes what has come back, and what the sources have ready, in fair shares; nothing of theirs as long as what is out
    /// waits to be asked for.
    fn take(&mut self, waker: &Waker, states: &mut [SourceState], now: i64) -> Result<Taken> {
        let mut context = Context::from_waker(waker);
        let (batches, partitions) = (vec![Vec::new(); self.ports.len()], vec![Vec::new(); self.ports.len()]);
        let mut taken = Taken { batches, partitions, lookups: Vec::new(), news: false };
        let mut room = true;
        // From the last on: what one gives may be asked of those behind it.
        for (number, lookup) in self.lookups.iter_mut().enumerate().rev() {
            let input = lookup.poll((&self.executor, number), room, &mut context, now)?;
            room &= lookup.has_room(&self.executor, number);
            taken.news |= input.is_news();
            taken.lookups.push(input);
        }
        taken.lookups.reverse();
        taken.news |= self.executor.has_news();
        if !room {
            // A source that is not asked does not fall idle.
            self.last_rows.fill(now);
            (0..states.len()).for_each(|source| self.partitions.wait(source, now));
            return Ok(taken);
        }
        for source in 0..states.len() {
            let reached = |i| self.executor.source_watermark(i);
            if states[source] != SourceState::Ended && self.pace.waits(source, states, reached) {
                // It brings nothing because it may not: that is no idleness.
                self.last_rows[source] = now;
                self.partitions.wait(source, now);
                continue;
            }
            let most = if self.pace.is_paced(source) { self.step_rows.min(PACED_ROWS) } else { self.step_rows };
            let state = &mut states[source];
            let (mut rows, mut bytes) = (0, 0);
            while rows < most && bytes < self.step_bytes && !self.ports[source].is_closed() {
                match self.ports[source].poll(&mut context, most - rows, self.step_bytes - bytes) {
                    Poll::Pending => break,
                    Poll::Ready(arrival) => match arrival? {
                        Arrival::Batch(batch, told) => {
                            let now = self.clock.now_millis();
                            taken.news |= self.partitions.note(source, told.from, batch.changes.num_rows(), now);
                            bytes += told.memory;
                            rows += self.count(source, &batch, &told);
                            // The end of a partition may come alone.
                            if batch.changes.num_rows() > 0 {
                                taken.batches[source].push(batch.changes);
                                taken.partitions[source].push(told.from.partition);
                            }
                        }
                        Arrival::End => {
                            *state = SourceState::Ended;
                            self.executor.metrics().ended(source);
                            taken.news = true;
                        }
                    },
                }
            }
            let changed = self.note_idleness(source, rows > 0, state, now);
            let fell = self.partitions.fall_idle(source, self.idle_timeouts[source], now);
            taken.news |= rows > 0 || changed || fell;
        }
        Ok(taken)
    }

    /// Takes what is left and ends all sources.
    fn drain(&mut self, states: &mut [SourceState]) -> Result<Taken> {
        self.ports.iter_mut().for_each(Port::stop_reading);
        let (mut batches, mut partitions) = (Vec::with_capacity(self.ports.len()), Vec::new());
        for (source, state) in states.iter_mut().enumerate() {
            let left = self.ports[source].drain();
            let mut rows = Vec::with_capacity(left.len());
            let mut of_batches = Vec::with_capacity(left.len());
            for (batch, told) in left {
                self.count(source, &batch, &told);
                rows.push(batch.changes);
                of_batches.push(told.from.partition);
            }
            batches.push(rows);
            partitions.push(of_batches);
            *state = SourceState::Ended;
            self.executor.metrics().ended(source);
        }
        let lookups = self.lookups.iter().map(LookupEdge::nothing).collect();
        Ok(Taken { batches, partitions, lookups, news: true })
    }

    fn count(&mut self, source: usize, batch: &SourceBatch, told: &Told) -> usize {
        let rows = batch.changes.num_rows();
        self.executor.metrics().read(source, rows, batch.bytes);
        self.executor.metrics().progress(source, told.progress);
        self.coordinator.positions[source].note(told, rows);
        rows
    }

    /// Marks a source idle or active again; true when that changes.
    fn note_idleness(&mut self, source: usize, has_rows: bool, state: &mut SourceState, now: i64) -> bool {
        let Some(timeout) = self.idle_timeouts[source] else { return false };
        if *state == SourceState::Ended {
            return false;
        }
        if has_rows {
            self.last_rows[source] = now;
        }
        let is_idle = now.saturating_sub(self.last_rows[source]) as u128 >= timeout.as_millis();
        let next = if is_idle { SourceState::Idle } else { SourceState::Active };
        std::mem::replace(state, next) != next
    }

    /// Runs one step and hands on what it gives. False when a consumer has gone.
    fn step(&mut self, taken: Taken, states: &[SourceState], processing_time: i64) -> Result<bool> {
        let watch = Stopwatch::start();
        let partitions = taken.partitions.into_iter().enumerate();
        let input = StepInput {
            batches: taken.batches,
            sources: states.to_vec(),
            partitions: partitions.map(|(source, of)| self.partitions.of_step(source, of)).collect(),
            lookups: taken.lookups,
            processing_time,
            ..StepInput::default()
        };
        self.journal.record(&input)?;
        let output = self.executor.step(input)?;
        self.coordinator.stepped();
        let metrics = self.executor.metrics();
        for source in 0..states.len() {
            metrics.source_time(source, self.executor.source_watermark(source), processing_time);
        }
        metrics.step(watch.elapsed());
        if output.sinks.len() != self.outlets.len() {
            return Err(Error::internal("a step with another number of sinks than the job"));
        }
        for (outlet, changes) in self.outlets.iter_mut().zip(output.sinks) {
            for batch in changes {
                if !outlet.send(batch)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
