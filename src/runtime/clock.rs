//! Stopwatches: how long something takes, for the metrics. (What time it is, a [`crate::change::Clock`] tells.)

use std::time::{Duration, Instant};

/// Measures how long something takes, for the metrics.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::disallowed_methods, reason = "stopwatches are made here only")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The time since the start or the last lap.
    pub fn lap(&mut self) -> Duration {
        let next = Self::start();
        let lap = next.0.duration_since(self.0);
        *self = next;
        lap
    }
}
