//! State that is not in memory, as snapshots and checkpoints see it.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use crate::Result;
use crate::change::take_rows;
use crate::state::{Partitioner, Placement, StateTable, place};

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
    /// The same for two parts of this process only if they have the same rows; `None` where that is not known.
    fn identity(&self) -> Option<u64>;

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

/// Deals the state of a node that any number of workers handed out to `workers` of them.
///
/// # Errors
/// When a key column's type cannot be hashed.
pub(in crate::runtime) fn deal(states: Vec<NodeState>, workers: usize) -> Result<Vec<NodeState>> {
    let mut cold = Vec::new();
    let mut tables = Vec::with_capacity(states.len());
    for state in states {
        tables.push(state.tables);
        cold.extend(state.cold);
    }
    let mut dealt: Vec<NodeState> = place(tables, workers)?.into_iter().map(NodeState::from).collect();
    for (worker, state) in dealt.iter_mut().enumerate() {
        for table in &cold {
            let share = |part: &Arc<dyn ColdRows>| match &table.placement {
                Placement::Key(keys) if workers > 1 => {
                    Some(Arc::new(Share { of: Arc::clone(part), keys: keys.clone(), worker, workers }) as _)
                }
                Placement::First if worker > 0 => None,
                _ => Some(Arc::clone(part)),
            };
            state.cold.push(ColdTable { parts: table.parts.iter().filter_map(share).collect(), ..table.clone() });
        }
    }
    Ok(dealt)
}

/// The rows of one worker.
#[derive(Debug)]
struct Share {
    of: Arc<dyn ColdRows>,
    keys: Vec<usize>,
    worker: usize,
    workers: usize,
}

impl ColdRows for Share {
    fn identity(&self) -> Option<u64> {
        None
    }

    fn read(&self, each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let mut partitioner = Partitioner::new(self.workers);
        self.of.read(&mut |rows| {
            let keys: Vec<ArrayRef> = self.keys.iter().map(|k| Arc::clone(rows.column(*k))).collect();
            let own = partitioner.rows(&keys, rows.num_rows())?.swap_remove(self.worker);
            if own.is_empty() { Ok(()) } else { each(take_rows(&rows, &own)?) }
        })
    }
}
