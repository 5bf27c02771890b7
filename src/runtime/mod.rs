//! The driver, workers, exchange, clock, metrics: how a circuit runs.
//!
//! A [`Circuit`] is a description. An [`Executor`] steps it, deterministically, in the caller's thread: hand it batches and
//! the time, and take the changes. A job's driver does that with what real sources bring.

mod batches;
mod bound;
pub mod checkpoint;
pub mod circuit;
pub mod clock;
mod driver;
mod exchange;
mod executor;
mod job;
pub mod journal;
pub mod late;
mod lookup;
mod metrics;
mod outlet;
mod pace;
mod paging;
mod partitions;
mod port;
mod tasks;
mod worker;

pub use bound::{Bound, Count, Held, Lifetime};
pub use checkpoint::{CheckpointOptions, Durable, Resumed};
pub use circuit::Circuit;
pub use driver::{JobEnd, Turn};
pub use executor::{Executor, Snapshot, SourceState, StepInput, StepOutput, StepPartitions};
pub use job::{Job, JobOptions, ManualJob, Results, start};
pub use lookup::{LookupInput, Probes};
pub use metrics::{CheckpointMetrics, Metrics, MetricsSnapshot, OperatorMetrics, SourceMetrics};
pub use paging::StateMemory;
