//! Keyed state as columns: what operators hand out, and which worker each row of it belongs to.

mod partition;

use arrow::array::RecordBatch;

pub use partition::{Partitioner, place};

/// Part of an operator's state as columns.
#[derive(Debug, Clone)]
pub struct StateTable {
    /// Names the part; unique within the operator.
    pub name: &'static str,
    /// How the rows belong to workers.
    pub placement: Placement,
    /// The rows, chunk by chunk, all of one schema.
    pub rows: Vec<RecordBatch>,
}

/// Which worker a row of state belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// The worker that the exchange in front of the operator sends these columns' values to.
    Key(Vec<usize>),
    /// The first worker.
    First,
    /// Every worker.
    All,
}
