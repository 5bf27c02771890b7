//! What is kept of a job's journals where they may have only so many bytes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::files::{runs, segments};

/// The segments that are complete, of this run and of earlier ones.
#[derive(Debug)]
pub(super) struct Retention {
    most: u64,
    /// The oldest first.
    complete: VecDeque<Complete>,
    bytes: u64,
    /// The step behind which the last durable checkpoint was taken: a replay can begin there.
    floor: u64,
    warned: bool,
}

#[derive(Debug)]
struct Complete {
    path: PathBuf,
    bytes: u64,
    /// The number of its last step; 0 for those of earlier runs, which no replay of this one needs.
    last_step: u64,
}

impl Retention {
    /// Keeps `most` bytes of a job's journals, of which the run numbered `run` is about to begin.
    pub fn new(most: u64, job: &Path, run: u64) -> std::io::Result<Self> {
        let mut retention = Self { most, complete: VecDeque::new(), bytes: 0, floor: 0, warned: false };
        for (_, folder) in runs(job)?.into_iter().filter(|(earlier, _)| *earlier < run) {
            for segment in segments(&folder)? {
                retention.completed(segment.path.clone(), std::fs::metadata(segment.path)?.len(), 0);
            }
        }
        Ok(retention)
    }

    /// Takes note of a segment that is complete.
    pub fn completed(&mut self, path: PathBuf, bytes: u64, last_step: u64) {
        self.bytes += bytes;
        self.complete.push_back(Complete { path, bytes, last_step });
    }

    /// Takes note of a checkpoint that has become durable.
    pub fn checkpointed(&mut self, step: u64) {
        self.floor = self.floor.max(step);
    }

    /// Removes what is too much and not needed any more, where the segment that is being written has so many bytes.
    pub fn apply(&mut self, open: u64) -> std::io::Result<()> {
        while self.bytes.saturating_add(open) > self.most {
            match self.complete.front() {
                Some(oldest) if oldest.last_step <= self.floor => {
                    match std::fs::remove_file(&oldest.path) {
                        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                        _ => {}
                    }
                    // The folder of an earlier run goes with its last segment.
                    if let Some(folder) = oldest.path.parent().filter(|_| oldest.last_step == 0) {
                        let _ = std::fs::remove_dir(folder);
                    }
                    self.bytes -= oldest.bytes;
                    self.complete.pop_front();
                }
                _ => {
                    if !std::mem::replace(&mut self.warned, true) {
                        log::warn!(
                            "the journal has more than millstream.journal.max-size allows, and nothing of it can go before a \
                             checkpoint is durable from which a replay could begin"
                        );
                    }
                    break;
                }
            }
        }
        Ok(())
    }
}
