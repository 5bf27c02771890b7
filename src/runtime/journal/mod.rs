//! The journal of a run: what each step took in, so that the run can be replayed bit for bit.
//!
//! A step is a function of the state and a [`StepInput`](super::StepInput): the batches, what came back from look-ups, how the sources
//! stood, and the time. The driver hands each of them to a `Journal` before the step runs, and a thread writes it beside the steps,
//! through a bounded queue. What is kept is the input itself and not where to read it again, so a journal needs neither its sources nor
//! its look-up tables.
//!
//! ```text
//! DIR/JOB/run-00000007/segment-0000000000000001.journal    the steps from the first on
//! DIR/JOB/run-00000007/segment-0000000000004711.journal    the steps from the 4711th on
//! ```
//!
//! A segment is read by itself: a mark, then frames, each with its length and checksums. The first is the [`Header`]:
//! the statements, the settings, the circuit's nodes. Then come schemas, steps with rows as Arrow IPC messages, and marks where
//! checkpoints became durable.

mod batch;
mod decode;
mod encode;
mod files;
mod frame;
mod header;
mod options;
mod read;
mod replay;
mod retain;
mod write;

#[cfg(test)]
mod tests;

pub use self::header::{CheckpointMark, Header, NodeEntry};
pub use self::options::{JournalOptions, OnJournalError};
pub use self::read::JournalReader;
pub use self::replay::{Replay, ReplayedStep};
pub(super) use self::write::Journal;

use crate::Error;

/// An error with the place in the journal.
fn damaged(place: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Journal { place: place.into(), reason: reason.into() }
}
