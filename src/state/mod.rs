//! Keyed state as columns: what operators keep, what they hand out, and which worker each row of it belongs to.
//!
//! Everything is found by dense numbers: [`Keys`] numbers key values, a [`RowStore`] numbers rows, a [`Multiset`] numbers
//! distinct rows, and what else an operator knows of them stands in vectors indexed by these. [`Lists`] tells which rows belong
//! to which key, [`Timelines`] tell it in the order of time, and [`Expiry`] what no row has touched for too long. What is dropped leaves
//! gaps until most is gone; then the rest is numbered anew, and a [`Remap`] tells the others.

mod expiry;
mod keys;
mod lists;
mod multiset;
mod partition;
mod remap;
mod rows;
#[cfg(test)]
mod tests;
mod timelines;

use std::borrow::Cow;

use arrow::array::RecordBatch;

pub use expiry::Expiry;
pub use keys::Keys;
pub use lists::Lists;
pub use multiset::{Multiset, absent_row};
pub use partition::{Partitioner, key_hashes, place};
pub use remap::{GONE, Remap};
pub use rows::{RowStore, row_store};
pub use timelines::{Timed, Timelines};

/// Part of an operator's state as columns.
#[derive(Debug, Clone)]
pub struct StateTable {
    /// Names the part; unique within the operator.
    pub name: Cow<'static, str>,
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
