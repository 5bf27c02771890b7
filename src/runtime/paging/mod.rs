//! State beyond memory.
//!
//! With `state.memory.limit` the operators that work key by key ([`OperatorFactory::works_by_key`]) hold only as much as they
//! may: between two steps a [`Pager`] takes keys that no rows came for of late out of the operator, as the rows of a snapshot,
//! and puts them aside in files of the local disk, of which the operator knows nothing; when rows of such a key come it gives them back
//! before the operator sees the rows (anti-caching: DeBrabant and others, "Anti-Caching", VLDB 2013). The files are sorted runs with
//! filters, merged as they become many (O'Neil and others, "The Log-Structured Merge-Tree", 1996). As a key is in memory or in one run, and
//! never in two places, there is nothing to reconcile.
//!
//! [`OperatorFactory::works_by_key`]: crate::operator::OperatorFactory::works_by_key

mod allocator;
mod bloom;
mod cold;
mod pager;
mod recent;
mod rows;
mod segment;
mod store;

use std::path::PathBuf;

use crate::{Error, Result};

pub(in crate::runtime) use allocator::release_free_memory;
pub(in crate::runtime) use cold::{ColdRows, ColdTable, NodeState, deal};
pub(in crate::runtime) use pager::Pager;
pub(in crate::runtime) use segment::read_at;

/// What is under way takes about so many bytes.
const TRANSIENT: usize = 48 << 20;

/// How much memory a job's state may take, and where what does not fit goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMemory {
    /// `state.memory.limit`: bytes, of all workers together.
    pub limit: usize,
    /// `io.tmp.dirs`: the folder for files without names.
    pub dir: PathBuf,
}

impl StateMemory {
    /// Makes the folder where it is not there.
    ///
    /// # Errors
    /// When it cannot be made: better now than when memory is full.
    pub(in crate::runtime) fn prepare(&self) -> Result<()> {
        let failed = |e| Error::io(format!("the folder '{}' for state ('io.tmp.dirs')", self.dir.display()), e);
        std::fs::create_dir_all(&self.dir).map_err(failed)
    }

    /// How many bytes of one source may be queued, and how many may go into one step.
    pub(in crate::runtime) fn under_way(&self) -> usize {
        (self.limit / 32).max(1 << 16)
    }

    /// How many bytes one worker's operators may hold. The rest is for what is under way between sources, operators and the disk, which
    /// takes some tens of megabytes whatever the limit is.
    pub(in crate::runtime) fn of_worker(&self, workers: usize) -> usize {
        (self.limit / 2).saturating_sub(TRANSIENT).max(self.limit / 4) / workers.max(1)
    }
}
