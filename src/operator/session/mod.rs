//! Sessions: windows that last as long as rows keep coming, and end a gap after the last.
//!
//! Which session a row belongs to, how sessions grow and merge and when they end is [`sessions`]' part. An aggregate keeps
//! partial aggregates of each ([`partials`]); the window function by itself keeps the rows.

mod aggregate;
mod assign;
mod partials;
mod sessions;
#[cfg(test)]
mod tests;

pub use aggregate::SessionAggregateFactory;
pub use assign::SessionAssignFactory;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};

use super::late::{in_order, sorted};
use crate::change::{ChangeBatch, WallClock, rowtime_millis};
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// Where a row's session and its place in it come from.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// How far apart rows of one session are at most, in milliseconds.
    pub gap: i64,
    /// The rowtime's column.
    pub time: usize,
    /// The columns of `PARTITION BY`.
    pub keys: Vec<usize>,
    /// The clock that gaps are measured by: all times inside are what it shows, and watermarks are read off it.
    pub clock: WallClock,
}

impl SessionSpec {
    fn times(&self, rows: &RecordBatch) -> Result<Int64Array> {
        let times = self.clock.all_at(rowtime_millis(rows.column(self.time))?);
        match times.null_count() {
            0 => Ok(times),
            _ => Err(Error::Execution("the time column of a window is NULL in a row".into())),
        }
    }

    fn key_columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().map(|k| ArrayRef::clone(rows.column(*k))).collect()
    }

    /// Where rows of state belong that have the key columns at some places.
    fn placement(&self, keys: Vec<usize>) -> Placement {
        if self.keys.is_empty() { Placement::First } else { Placement::Key(keys) }
    }
}

/// A step's batches from the first on that holds rows near or behind the watermark: these close sessions between two rows of a
/// step, and so all rows before them must be there first.
#[derive(Default)]
struct Pending(Vec<ChangeBatch>);

impl Pending {
    /// The batch, if nothing stands in its way.
    fn pass(&mut self, batch: ChangeBatch) -> Option<ChangeBatch> {
        if batch.watermarks.is_none() && self.0.is_empty() {
            return Some(batch);
        }
        self.0.push(batch);
        None
    }

    /// All batches, so that rows near the watermark are in the order of their watermarks.
    fn take(&mut self) -> Result<Vec<ChangeBatch>> {
        let pending = std::mem::take(&mut self.0);
        if in_order(&pending) {
            return Ok(pending);
        }
        // A union's inputs, one after another. Rows that are not near the watermark touch no session that it closes in between:
        // they may go first.
        let (marked, mut all): (Vec<_>, Vec<_>) = pending.into_iter().partition(|b| b.watermarks.is_some());
        all.extend(sorted(&marked)?);
        Ok(all)
    }
}

/// The watermark that has been reached, as state.
fn fired_table(watermark: i64) -> Result<StateTable> {
    let fired: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![watermark]));
    let rows = vec![RecordBatch::try_from_iter([("watermark", fired)])?];
    Ok(StateTable { name: "fired", placement: Placement::All, rows })
}

/// The greatest of the watermarks in [`fired_table`]s.
fn fired_of(rows: &[RecordBatch]) -> Result<i64> {
    let marks = rows.iter().map(|r| Ok(int64(r.column(0))?.iter().flatten().max()));
    let reached = marks.collect::<Result<Vec<_>>>()?.into_iter().flatten().max();
    Ok(reached.unwrap_or(i64::MIN))
}

fn int64(array: &ArrayRef) -> Result<&Int64Array> {
    array.as_any().downcast_ref().ok_or_else(|| Error::internal("state of another type than was handed out"))
}
