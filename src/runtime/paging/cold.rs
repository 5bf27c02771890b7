//! State that is not in memory, as snapshots and checkpoints see it.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::Result;
use crate::state::{Placement, StateTable};

/// The state of a node on one worker: what is in memory, and what is not.
#[derive(Debug, Clone, Default)]
pub(in crate::runtime) struct NodeState {
    /// What the operator handed out.
    pub tables: Vec<StateTable>,
    /// What was put aside of it: rows of the same tables, of other keys.
    pub cold: Vec<ColdTable>,
}

/// Rows of a table of state that are not in memory.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct ColdTable {
    /// As [`StateTable::name`].
    pub name: Cow<'static, str>,
    /// As [`StateTable::placement`].
    pub placement: Placement,
    /// The rows, in parts that stay as they are.
    pub parts: Vec<Arc<dyn ColdRows>>,
}

/// Rows that are not in memory, unchanged for as long as this is held.
pub(in crate::runtime) trait ColdRows: Debug + Send + Sync {
    /// The same for two parts only if they have the same rows; of this process.
    fn identity(&self) -> u64;

    /// Hands the rows out, some thousands at a time.
    ///
    /// # Errors
    /// When they cannot be read, or with what `each` fails.
    fn read(&self, each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()>;
}

impl From<Vec<StateTable>> for NodeState {
    fn from(tables: Vec<StateTable>) -> Self {
        Self { tables, cold: Vec::new() }
    }
}

impl NodeState {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.cold.is_empty()
    }

    /// Everything in memory.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub fn into_tables(self) -> Result<Vec<StateTable>> {
        let Self { mut tables, cold } = self;
        for ColdTable { name, placement, parts } in cold {
            let mut rows = Vec::new();
            for part in parts {
                part.read(&mut |batch| {
                    rows.push(batch);
                    Ok(())
                })?;
            }
            tables.push(StateTable { name, placement, rows });
        }
        Ok(tables)
    }
}
