//! Processing time: the clock that a driver reads, and what functions see of it.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

/// Tells the time to drivers and connectors. Operators never see it: they get the step's time.
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since the epoch.
    fn now_millis(&self) -> i64;

    /// Has `sleeper` told whenever the clock is moved by hand, as long as it is there; a clock that runs by itself need not.
    fn on_move(&self, sleeper: Weak<dyn Sleeper>) {
        let _ = sleeper;
    }
}

/// Whoever waits for a time to come.
pub trait Sleeper: Send + Sync {
    /// The clock has been moved.
    fn moved(&self);
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
    sleepers: Mutex<Vec<Weak<dyn Sleeper>>>,
}

impl ManualClock {
    /// A clock that stands at `millis` since the epoch.
    pub fn new(millis: i64) -> Self {
        Self { millis: AtomicI64::new(millis), sleepers: Mutex::default() }
    }

    /// Moves it to `millis` since the epoch.
    pub fn set(&self, millis: i64) {
        self.millis.store(millis, Ordering::Release);
        let there: Vec<Arc<dyn Sleeper>> = self.sleepers().iter().filter_map(Weak::upgrade).collect();
        there.iter().for_each(|sleeper| sleeper.moved());
    }

    /// How many jobs wait for it to be moved.
    pub fn sleeping(&self) -> usize {
        self.sleepers().len()
    }

    /// Those that are still there.
    fn sleepers(&self) -> MutexGuard<'_, Vec<Weak<dyn Sleeper>>> {
        // References are whole whatever happened to the one who held them.
        let mut sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        sleepers.retain(|sleeper| sleeper.strong_count() > 0);
        sleepers
    }
}

impl Clock for ManualClock {
    fn now_millis(&self) -> i64 {
        self.millis.load(Ordering::Acquire)
    }

    fn on_move(&self, sleeper: Weak<dyn Sleeper>) {
        self.sleepers().push(sleeper);
    }
}

/// The driver's clock as it stood when the step began: one cell that all clones share. Whoever drives the steps sets
/// it before each; `CURRENT_TIMESTAMP`, `PROCTIME` and their like read it, so that a replayed step reads the same time.
#[derive(Clone, Default)]
pub struct StepClock(Arc<AtomicI64>);

impl Debug for StepClock {
    /// Without the time: what an operator is made of is told by its text, which must not change as time goes on.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StepClock")
    }
}

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl Sleeper for Counts {
        fn moved(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let clock = ManualClock::new(0);
        let stays = Arc::new(Counts::default());
        clock.on_move(Arc::downgrade(&stays) as _);
        for _ in 0..10 {
            let gone = Arc::new(Counts::default());
            clock.on_move(Arc::downgrade(&gone) as _);
            clock.set(clock.now_millis() + 1);
            assert_eq!(gone.0.load(Ordering::Relaxed), 1);
        }
        assert_eq!((clock.sleeping(), stays.0.load(Ordering::Relaxed)), (1, 10));
        drop(stays);
        assert_eq!(clock.sleeping(), 0);
    }
}
