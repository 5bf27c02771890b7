//! A window table function by itself: every row once for each of its windows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};

use super::processing_time::{Closing, ClosingFactory};
use super::window::{Window, WindowSpec};
use super::{Operator, OperatorFactory};
use crate::change::{ChangeBatch, WallClock, rowtime_millis};
use crate::{Error, Result};

/// How many rows go out in one batch: a row falls into many windows where the slide is short.
const BATCH_ROWS: usize = 8192;

/// Gives every row once for each window it falls into, with the columns `window_start`, `window_end` and `window_time`.
/// Keeps no state and drops nothing, late or not, as Flink's does.
#[derive(Debug, Clone)]
pub struct WindowAssign {
    spec: WindowSpec,
    rowtime: usize,
    clock: WallClock,
    schema: SchemaRef,
}

impl WindowAssign {
    /// Windows over the column at `rowtime`; `schema` is the input's with the three window columns behind it.
    ///
    /// # Errors
    /// When the rowtime's zone is not known.
    pub fn try_new(spec: WindowSpec, rowtime: usize, schema: SchemaRef) -> Result<Self> {
        let clock = WallClock::of(schema.field(rowtime).data_type())?;
        Ok(Self { spec, rowtime, clock, schema })
    }

    fn emit(&self, batch: &ChangeBatch, rows: &[u32], windows: &[Window], out: &mut Vec<ChangeBatch>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let taken = batch.take(&UInt32Array::from(rows.to_vec()))?;
        let mut columns = taken.rows.columns().to_vec();
        columns.extend(window_columns(windows, self.clock, &self.schema)?);
        out.push(taken.with_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?));
        Ok(())
    }
}

/// What a window column holds of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowEdge {
    /// Its start, as the clock on the wall shows it.
    Start,
    /// Its end, as the clock on the wall shows it.
    End,
    /// The instant of its last millisecond.
    Time,
}

/// A column of some windows, of a timestamp type.
pub(super) fn window_column(
    edge: WindowEdge,
    windows: &[Window],
    clock: WallClock,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let DataType::Timestamp(TimeUnit::Millisecond, zone) = data_type else {
        return Err(Error::internal(format!("a window column of type {data_type}")));
    };
    let column: TimestampMillisecondArray = match edge {
        WindowEdge::Start => windows.iter().map(|w| w.start).collect::<Vec<_>>().into(),
        WindowEdge::End => windows.iter().map(|w| w.end).collect::<Vec<_>>().into(),
        WindowEdge::Time => windows.iter().map(|w| clock.instant(w.end.saturating_sub(1))).collect::<Vec<_>>().into(),
    };
    Ok(Arc::new(column.with_timezone_opt(zone.clone())))
}

/// The three columns of some windows, of the timestamp types of a schema's last three columns.
pub(super) fn window_columns(windows: &[Window], clock: WallClock, schema: &Schema) -> Result<Vec<ArrayRef>> {
    let types = schema.fields().iter().skip(schema.fields().len().saturating_sub(3)).map(|f| f.data_type());
    let edges = [WindowEdge::Start, WindowEdge::End, WindowEdge::Time];
    edges.into_iter().zip(types).map(|(edge, data_type)| window_column(edge, windows, clock, data_type)).collect()
}

impl Operator for WindowAssign {
    fn push(&mut self, _input: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let rowtimes = self.clock.all_at(rowtime_millis(batch.rows.column(self.rowtime))?);
        let (mut rows, mut windows) = (Vec::new(), Vec::new());
        for (row, time) in (0u32..).zip(&rowtimes) {
            let time = time.ok_or_else(|| Error::Execution("the time column of a window is NULL in a row".into()))?;
            for window in self.spec.windows(self.spec.slice_start(time)) {
                rows.push(row);
                windows.push(window);
                if rows.len() == BATCH_ROWS {
                    self.emit(&batch, &rows, &windows, out)?;
                    rows.clear();
                    windows.clear();
                }
            }
        }
        self.emit(&batch, &rows, &windows, out)
    }
}

impl Closing for WindowAssign {
    /// It lets rows out at once.
    fn next_end(&self) -> Option<i64> {
        None
    }
}

impl ClosingFactory for WindowAssign {
    fn build_closing(&self) -> Result<Box<dyn Closing>> {
        Ok(Box::new(self.clone()))
    }
}

impl OperatorFactory for WindowAssign {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }

    fn name(&self) -> &'static str {
        "WindowTableFunction"
    }
}
