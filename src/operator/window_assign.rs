//! A window table function by itself: every row once for each of its windows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef};

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
        let types = self.schema.fields().iter().skip(columns.len()).map(|f| f.data_type());
        columns.extend(window_columns(windows, self.clock, types)?);
        out.push(taken.with_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?));
        Ok(())
    }
}

/// The three columns of some windows: start and end as the clock on the wall shows them, and the instant of the last
/// millisecond; of the given timestamp types.
fn window_columns<'a>(
    windows: &[Window],
    clock: WallClock,
    types: impl Iterator<Item = &'a DataType>,
) -> Result<Vec<ArrayRef>> {
    let values: [&dyn Fn(&Window) -> i64; 3] = [&|w| w.start, &|w| w.end, &|w| clock.instant(w.end.saturating_sub(1))];
    let columns = values.iter().zip(types).map(|(value, data_type)| match data_type {
        DataType::Timestamp(_, zone) => {
            let column: TimestampMillisecondArray = windows.iter().map(|w| Some(value(w))).collect();
            Ok(Arc::new(column.with_timezone_opt(zone.clone())) as ArrayRef)
        }
        other => Err(Error::internal(format!("a window column of type {other}"))),
    });
    columns.collect()
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

impl OperatorFactory for WindowAssign {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }

    fn name(&self) -> &'static str {
        "WindowTableFunction"
    }
}
