//! Processing time as functions see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

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
