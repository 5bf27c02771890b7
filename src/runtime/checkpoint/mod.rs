//! Checkpoints: the state of a job between two steps, on a disk or in an object store, so that a failure costs nothing.
//!
//! Between two steps nothing is under way in the circuit: the boundary is the barrier. The driver freezes the state of all
//! operators there, notes where each source can be read again, and has each sink make durable what it wrote, all of the same
//! step; then it goes on, while a task writes. When the manifest is there the checkpoint is durable, and the sinks show what
//! they wrote. A job that starts where checkpoints are goes on from the newest that is whole.
//!
//! ```text
//! DIR/JOB/chk-00000042/manifest.json            what belongs to it, with checksums
//! DIR/JOB/chk-00000042/07-join-left.0.parquet   rows of state that are new or changed since the last checkpoint
//! ```
//!
//! Chunks of rows that did not change are not written again: the manifest names the file of the earlier checkpoint that has
//! them. Only what no retained manifest names is removed.

mod chunks;
mod cold;
mod coordinate;
mod identity;
mod manifest;
mod options;
mod orders;
mod read;
mod restore;
mod spool;
mod store;
mod table;
mod write;

pub(super) use self::coordinate::{Boundary, Coordinator, Reason, Request, ToCommit, has_ended};
pub use self::coordinate::{Durable, save};
pub use self::identity::node_ids;
pub use self::manifest::{
    ChunkEntry, FileEntry, InFlightEntry, Manifest, OperatorEntry, PreparedEntry, SinkEntry, SourceEntry, SplitEntry,
    TableEntry,
};
pub use self::options::CheckpointOptions;
pub use self::orders::ask;
pub(super) use self::orders::heed;
pub use self::read::{Checkpoint, load_newest};
pub use self::restore::{Restored, Resumed};
pub use self::store::{CheckpointStore, Found};
