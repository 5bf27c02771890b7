//! Top-N: of each partition the rows at a range of places in an order, kept up to date.
//!
//! Over rows that only come (`append`) no more rows are kept than are asked for: one that does not get among them never
//! will. Over rows that come and go (`changing`) all are kept, as the next may be needed any time. Either way rows are
//! numbers into state in columns; what stands in order are their encoded keys (`order`, `sorted`). A step's changes are
//! the difference between a partition's places before and after it, for the partitions that it touched (`places`).
//! Where partitions are of windows (`windowed`), each goes out once, when its window closes.
//!
//! Rows that the order does not tell apart stand in the order of their arrival where rows only come, straight from a table.
//! Elsewhere what arrived when depends on how the input was cut into steps, and on the workers: such rows stand in the order of
//! a hash of theirs, the same in every run.

mod append;
mod changing;
pub(super) mod frozen;
mod order;
mod places;
mod sorted;
#[cfg(test)]
mod tests;
mod windowed;

use arrow::datatypes::SchemaRef;

pub(super) use self::order::Encoder;
pub use self::order::{OrderColumn, check_order};
use super::{Operator, OperatorFactory};
use crate::Result;
use crate::change::WallClock;
use crate::state::Placement;

/// Keeps the rows at a range of places of each partition.
#[derive(Debug, Clone)]
pub struct TopN {
    /// The columns whose values divide the rows.
    pub partition: Vec<usize>,
    /// What orders the rows of a partition.
    pub order: Vec<OrderColumn>,
    /// The first and the last place, counted from 1.
    pub range: (u64, u64),
    /// Whether the place is given, as the last column.
    pub ranked: bool,
    /// Whether rows go as well as come.
    pub changing: bool,
    /// Whether rows that only come and that the order does not tell apart stand in the order of what they hold, because that
    /// of their arrival is not defined. Rows that also go always do.
    pub by_content: bool,
    /// Whether of rows that only come and that the order does not tell apart the last to arrive stands first, where the order of
    /// their arrival counts.
    pub latest_first: bool,
    /// The input's schema.
    pub input: SchemaRef,
    /// The result's schema: the first of the input's columns, and the place.
    pub schema: SchemaRef,
    /// How long a partition is kept that no row gets into, in milliseconds of processing time.
    pub ttl: Option<i64>,
    /// Where partitions are of windows, over rows that only come: then what a window comes to goes out when it closes.
    pub windows: Option<Closing>,
}

/// When a row's window closes.
#[derive(Debug, Clone)]
pub struct Closing {
    /// The column that holds the window's end.
    pub end: usize,
    /// The clock that windows are cut by, and watermarks are read off.
    pub clock: WallClock,
}

impl TopN {
    /// How many columns of the input go on.
    fn width(&self) -> usize {
        self.schema.fields().len() - usize::from(self.ranked)
    }

    /// Whether one row of each partition is given: then it is an update when another takes its place.
    fn is_single(&self) -> bool {
        self.range.0 == self.range.1
    }

    /// Where the rows of state belong.
    fn placement(&self) -> Placement {
        placement(&self.partition)
    }
}

/// Where the rows of state belong that are divided by some columns.
pub(super) fn placement(partition: &[usize]) -> Placement {
    if partition.is_empty() { Placement::First } else { Placement::Key(partition.to_vec()) }
}

impl OperatorFactory for TopN {
    fn build(&self) -> Result<Box<dyn Operator>> {
        match (&self.windows, self.changing) {
            (Some(closing), false) => Ok(Box::new(windowed::Windowed::try_new(self.clone(), closing.clone())?)),
            (_, false) => Ok(Box::new(append::Append::try_new(self.clone())?)),
            (_, true) => Ok(Box::new(changing::Changing::try_new(self.clone())?)),
        }
    }

    fn name(&self) -> &'static str {
        "TopN"
    }

    fn works_by_key(&self) -> bool {
        self.windows.is_none()
    }

    fn state_ttl(&self) -> Option<i64> {
        self.ttl
    }
}
