//! Sessions: windows that last as long as rows keep coming, and end a gap after the last.
//!
//! Which session a row belongs to, how sessions grow and merge and when they end is `sessions.rs`' part. An aggregate keeps
//! partial aggregates of each (`partials.rs`); the window function by itself keeps the rows.

mod aggregate;
mod assign;
mod partials;
mod sessions;
#[cfg(test)]
mod tests;

pub use aggregate::SessionAggregateFactory;
pub use assign::SessionAssignFactory;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use self::sessions::{SessionWindow, Sessions};
use super::late::{Late, in_order, sorted};
use super::window::Window;
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
    /// Whether a row that would make a session which is closed already is late even if it reaches an open one: where rows do not
    /// come in the order of their tables' own, which of two was first is not defined.
    pub strict: bool,
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

    /// Why some rows of a batch are late, when sessions have gone out up to a watermark.
    fn late(&self, batch: &ChangeBatch, rows: &[u32], fired: i64) -> Result<Vec<Late>> {
        let times = rowtime_millis(batch.rows.column(self.time))?;
        let fired = self.clock.instant(fired);
        let late = rows.iter().map(|row| {
            let own = batch.watermarks.as_ref().map_or(i64::MIN, |w| w.value(*row as usize));
            Late { row: *row, time: times.value(*row as usize), watermark: own.max(fired) }
        });
        Ok(late.collect())
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

/// The columns that tell a session in state: its start and end, and its keys.
fn session_fields(spec: &SessionSpec, input: &SchemaRef) -> Result<Vec<FieldRef>> {
    let bounds = ["session_start", "session_end"].map(|n| Arc::new(Field::new(n, DataType::Int64, false)));
    let keys = input.project(&spec.keys)?;
    let keys = keys.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true)));
    Ok(bounds.into_iter().chain(keys).collect())
}

/// Some sessions in these columns.
fn session_columns(sessions: &Sessions, some: &[SessionWindow]) -> Result<Vec<ArrayRef>> {
    let bound =
        |f: fn(&Window) -> i64| Arc::new(Int64Array::from_iter_values(some.iter().map(|s| f(&s.window)))) as ArrayRef;
    let keys = sessions.key_columns(&some.iter().map(|s| s.key).collect::<Vec<_>>())?;
    Ok([bound(|w| w.start), bound(|w| w.end)].into_iter().chain(keys).collect())
}

/// All open sessions as state.
fn sessions_table(sessions: &Sessions, spec: &SessionSpec, input: &SchemaRef) -> Result<StateTable> {
    let schema = Arc::new(Schema::new(session_fields(spec, input)?));
    let rows = RecordBatch::try_new(schema, session_columns(sessions, &sessions.all_open())?)?;
    let placement = spec.placement((2..2 + spec.keys.len()).collect());
    Ok(StateTable { name: "sessions".into(), placement, rows: vec![rows] })
}

/// The keys and windows of sessions in state.
fn sessions_of(rows: &RecordBatch, keys: usize) -> Result<(&[ArrayRef], Vec<Window>)> {
    let (starts, ends) = (int64(rows.column(0))?, int64(rows.column(1))?);
    let bounds = starts.values().iter().zip(ends.values());
    let windows = bounds.map(|(start, end)| Window { start: *start, end: *end }).collect();
    let keys = rows.columns().get(2..2 + keys);
    Ok((keys.ok_or_else(|| Error::internal("state of sessions without their keys"))?, windows))
}

/// The watermark that has been reached, as state.
fn fired_table(watermark: i64) -> Result<StateTable> {
    let fired: ArrayRef = Arc::new(Int64Array::from(vec![watermark]));
    let rows = vec![RecordBatch::try_from_iter([("watermark", fired)])?];
    Ok(StateTable { name: "fired".into(), placement: Placement::All, rows })
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
