//! Rows at a rate: how many are due, and when the next ones will be.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Rows wait for each other this long, so that high rates do not wake the task for every row.
const TICK: Duration = Duration::from_millis(10);

/// Holds a source to a number of rows a second.
#[derive(Debug)]
pub struct Pace {
    rows_per_second: u64,
    started: Option<Instant>,
    given: u64,
}

impl Pace {
    /// That many rows a second, counted from the first question on.
    pub fn new(rows_per_second: u64) -> Self {
        Self { rows_per_second: rows_per_second.max(1), started: None, given: 0 }
    }

    /// Waits until rows are due and says how many: at least one, at most `limit`.
    pub async fn due(&mut self, limit: usize) -> usize {
        let started = *self.started.get_or_insert_with(Instant::now);
        loop {
            let rows = self.take(started.elapsed(), limit);
            if rows > 0 {
                return rows;
            }
            sleep(self.wait(started.elapsed())).await;
        }
    }

    /// The rows due `elapsed` after the start and not yet taken.
    fn take(&mut self, elapsed: Duration, limit: usize) -> usize {
        // The row numbered n is due at n / rate: the first one at once.
        let due = elapsed.as_nanos() * u128::from(self.rows_per_second) / 1_000_000_000 + 1;
        let rows = due.saturating_sub(u128::from(self.given)).min(limit as u128) as usize;
        self.given += rows as u64;
        rows
    }

    /// How long to sleep when nothing is due: until the next row, and not less than a tick.
    fn wait(&self, elapsed: Duration) -> Duration {
        let next = u128::from(self.given) * 1_000_000_000 / u128::from(self.rows_per_second);
        let nanos = next.saturating_sub(elapsed.as_nanos()).min(u128::from(u64::MAX)) as u64;
        Duration::from_nanos(nanos).max(TICK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that sleeps exactly as long as it is told to, for `span`: its batches, each with its time.
    fn simulate(rate: u64, span: Duration) -> Vec<(Duration, usize)> {
        let (mut pace, mut now, mut batches) = (Pace::new(rate), Duration::ZERO, Vec::new());
        while now <= span {
            match pace.take(now, 8192) {
                0 => now += pace.wait(now),
                rows => batches.push((now, rows)),
            }
        }
        batches
    }

    #[test]
    fn gives_the_rate_over_time() {
        for rate in [1, 7, 100, 10_000, 3_000_000] {
            let rows: usize = simulate(rate, Duration::from_secs(10)).iter().map(|b| b.1).sum();
            let wanted = 10 * rate as usize + 1;
            assert!(rows <= wanted && rows + rate as usize / 50 + 1 >= wanted, "{rate}/s gave {rows}");
        }
    }

    #[test]
    fn gives_low_rates_row_by_row_and_high_ones_in_batches() {
        assert!(simulate(20, Duration::from_secs(5)).iter().all(|b| b.1 == 1));
        let high = simulate(100_000, Duration::from_secs(1));
        assert!(high.iter().skip(1).all(|b| (500..=2000).contains(&b.1)), "{high:?}");
        assert!(high.windows(2).all(|w| w[1].0 - w[0].0 <= Duration::from_millis(50)));
    }

    #[test]
    fn never_gives_more_than_the_limit() {
        let mut pace = Pace::new(1_000_000);
        assert_eq!(pace.take(Duration::from_secs(100), 8192), 8192);
    }
}
