//! The driver: steps a circuit when there is data, in a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use super::clock::Stopwatch;
use super::executor::{Executor, SourceState, StepInput};
use super::lookup::{LookupEdge, LookupInput};
use super::outlet::Outlet;
use super::pace::{PACED_ROWS, Pace};
use super::partitions::Partitions;
use super::port::{Arrival, Port, Told};
use crate::change::{ChangeBatch, Clock, Sleeper};
use crate::connector::{SourceBatch, SourceProgress};
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
}

/// Tells a driver to stop, from any thread.
#[derive(Debug, Default)]
pub(super) struct Control(AtomicU8);

const RUN: u8 = 0;
const DRAIN: u8 = 1;
const CANCEL: u8 = 2;

impl Control {
    pub fn drain(&self) {
        // A cancelled job stays cancelled.
        let _ = self.0.compare_exchange(RUN, DRAIN, Ordering::AcqRel, Ordering::Acquire);
    }

    pub fn cancel(&self) {
        self.0.store(CANCEL, Ordering::Release);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
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
    /// When each source last brought rows, by the clock.
    pub last_rows: Vec<i64>,
    /// How the partitions of sources stand.
    pub partitions: Partitions,
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
        let mut states = vec![SourceState::Active; self.ports.len()];
        let mut since_report = Stopwatch::start();
        self.last_rows = vec![self.clock.now_millis(); self.ports.len()];
        self.partitions = Partitions::new(self.ports.iter().map(|p| p.partitions), self.clock.now_millis());
        // Known to the clock as long as the job runs.
        let sleeper: Arc<dyn Sleeper> = Arc::new(Unpark(std::thread::current()));
        self.clock.on_move(Arc::downgrade(&sleeper));
        let mut drained = false;
        loop {
            let now = self.clock.now_millis();
            let taken = match self.control.get() {
                CANCEL => return Ok(JobEnd::Cancelled),
                DRAIN if !drained && self.lookups.iter().all(LookupEdge::is_open) => {
                    drained = true;
                    self.drain(&mut states)?
                }
                _ => self.take(&waker, &mut states, now)?,
            };
            if !taken.news && !self.ports.is_empty() && !self.timer_is_due() {
                self.rest(&mut since_report)?;
                continue;
            }
            if !self.step(taken, &states, now)? {
                return Ok(JobEnd::Cancelled);
            }
            if since_report.elapsed() > REPORT_EVERY {
                since_report = Stopwatch::start();
                self.executor.report()?;
            }
            if self.ports.iter().all(Port::is_closed) && self.executor.is_settled() {
                break;
            }
        }
        self.executor.report()?;
        self.outlets.iter_mut().try_for_each(Outlet::close)?;
        Ok(JobEnd::Finished)
    }

    /// Whether the clock has reached what an operator waits for.
    fn timer_is_due(&self) -> bool {
        self.executor.next_timer().is_some_and(|at| at <= self.clock.now_millis())
    }

    /// Nothing to do: lets held-back output go, and waits for a wake-up.
    fn rest(&mut self, since_report: &mut Stopwatch) -> Result<()> {
        let tick = since_report.elapsed() > REPORT_EVERY;
        self.outlets.iter_mut().try_for_each(|o| o.flush(tick))?;
        if tick {
            *since_report = Stopwatch::start();
            self.executor.report()?;
        }
        let timers = self.lookups.iter().filter_map(LookupEdge::next_timer).chain(self.executor.next_timer());
        let timer = timers.min().map(|at| at.saturating_sub(self.clock.now_millis()));
        let timer = timer.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0)));
        let timeout = self.idle_timeouts.iter().flatten().copied().chain(timer).min().unwrap_or(REST);
        std::thread::park_timeout(timeout.clamp(Duration::from_millis(1), REST));
        Ok(())
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
            let mut rows = 0;
            while rows < most && !self.ports[source].is_closed() {
                match self.ports[source].poll(&mut context, most - rows) {
                    Poll::Pending => break,
                    Poll::Ready(arrival) => match arrival? {
                        Arrival::Batch(batch, told) => {
                            let now = self.clock.now_millis();
                            taken.news |= self.partitions.note(source, told.from, batch.changes.num_rows(), now);
                            rows += self.count(source, &batch, told.progress);
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
            for (batch, Told { from, progress }) in left {
                self.count(source, &batch, progress);
                rows.push(batch.changes);
                of_batches.push(from.partition);
            }
            batches.push(rows);
            partitions.push(of_batches);
            *state = SourceState::Ended;
            self.executor.metrics().ended(source);
        }
        let lookups = self.lookups.iter().map(LookupEdge::nothing).collect();
        Ok(Taken { batches, partitions, lookups, news: true })
    }

    fn count(&self, source: usize, batch: &SourceBatch, progress: SourceProgress) -> usize {
        let rows = batch.changes.num_rows();
        self.executor.metrics().read(source, rows, batch.bytes);
        self.executor.metrics().progress(source, progress);
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
        let output = self.executor.step(input)?;
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
