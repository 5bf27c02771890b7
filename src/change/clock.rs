//! Processing time: the clock that a driver reads, and what functions see of it.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::SystemTime;

/// Tells the time to drivers and connectors. Operators never see it: they get the step's time.
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since the epoch.
    fn now_millis(&self) -> i64;

    /// Has `waker` woken whenever the clock is moved by hand; a clock that runs by itself need not.
    fn on_move(&self, waker: Waker) {
        let _ = waker;
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now_millis(&self) -> i64 {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0,
        }
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock {
    millis: AtomicI64,
    sleepers: Mutex<Vec<Waker>>,
}

impl ManualClock {
    /// A clock that stands at `millis` since the epoch.
    pub fn new(millis: i64) -> Self {
        Self { millis: AtomicI64::new(millis), sleepers: Mutex::default() }
    }

    /// Moves it to `millis` since the epoch.
    pub fn set(&self, millis: i64) {
        self.millis.store(millis, Ordering::Release);
        self.sleepers().iter().for_each(Waker::wake_by_ref);
    }

    fn sleepers(&self) -> MutexGuard<'_, Vec<Waker>> {
        // Wakers are whole whatever happened to the one who held them.
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now_millis(&self) -> i64 {
        self.millis.load(Ordering::Acquire)
    }

    fn on_move(&self, waker: Waker) {
        self.sleepers().push(waker);
    }
}

/// The driver's clock as it stood when the step began: one cell that all clones share. Whoever drives the steps sets
/// it before each; `CURRENT_TIMESTAMP`, `PROCTIME` and their like read it, so that a replayed step reads the same time.
#[derive(Debug, Clone, Default)]
pub struct StepClock(Arc<AtomicI64>);

impl StepClock {
    /// Sets the time of the step, in milliseconds since the epoch.
    pub fn set(&self, millis: i64) {
        self.0.store(millis, Ordering::Release);
    }

    /// The time of the step, in milliseconds since the epoch.
    pub fn millis(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}
