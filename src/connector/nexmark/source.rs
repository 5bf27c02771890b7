//! Reading a `nexmark` table.

use async_trait::async_trait;

use super::generator::Generator;
use crate::Result;
use crate::change::ChangeBatch;
use crate::connector::pace::Pace;
use crate::connector::{Source, SourceBatch, SourceProgress, SplitPosition};

/// The most rows of a batch.
const BATCH: usize = 8192;

pub(super) struct NexmarkSource {
    generator: Generator,
    pace: Option<Pace>,
    keep_alive: bool,
    /// The number below which events are due.
    due: u64,
}

impl NexmarkSource {
    /// At full speed, or holding to so many events a second.
    pub(super) fn new(generator: Generator, events_per_second: Option<u64>, keep_alive: bool) -> Self {
        Self { generator, pace: events_per_second.map(Pace::new), keep_alive, due: 0 }
    }
}

#[async_trait]
impl Source for NexmarkSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        loop {
            if self.generator.position() >= self.generator.end() {
                if self.keep_alive {
                    std::future::pending::<()>().await;
                }
                return Ok(None);
            }
            let rows = match &mut self.pace {
                Some(pace) => {
                    self.due += pace.due(BATCH).await as u64;
                    self.generator.batch_through(self.due)?
                }
                None => self.generator.batch(BATCH)?,
            };
            if rows.num_rows() > 0 {
                return Ok(Some(SourceBatch { changes: ChangeBatch::append(rows), bytes: 0 }));
            }
        }
    }

    fn position(&self) -> Option<SplitPosition> {
        Some(SplitPosition::count(self.generator.position()))
    }

    async fn seek(&mut self, positions: Vec<SplitPosition>) -> Result<()> {
        for position in positions {
            self.due = position.number()?;
            self.generator.seek(self.due);
        }
        Ok(())
    }

    fn progress(&self) -> SourceProgress {
        let (done, all) = (self.generator.position(), self.generator.end());
        let fraction = (!self.generator.is_endless()).then(|| if all == 0 { 1.0 } else { done as f64 / all as f64 });
        SourceProgress { fraction, skipped_records: 0 }
    }
}
