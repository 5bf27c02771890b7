//! Windows of processing time: those of event time, with the step's clock for time and watermark.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

use super::late::LateRows;
use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::{ChangeBatch, Watermark};
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// An operator over windows that knows when the next of them ends.
pub trait Closing: Operator {
    /// The first instant, in milliseconds, after the last millisecond of an open window: when it can go out. It may be early.
    fn next_end(&self) -> Option<i64>;
}

/// Makes operators over windows.
pub trait ClosingFactory: OperatorFactory {
    /// As [`OperatorFactory::build`].
    ///
    /// # Errors
    /// As [`OperatorFactory::build`].
    fn build_closing(&self) -> Result<Box<dyn Closing>>;
}

/// An operator over windows, by processing time: a row's time is the step's, and a window is closed when the step's time is
/// past it, or at the end of the input. No row is late. If clocks go back, the time stands still.
#[derive(Debug, Clone)]
pub struct ByProcessingTime {
    /// The operator by event time.
    pub windows: Arc<dyn ClosingFactory>,
    /// The input's column of the processing time.
    pub time: usize,
    /// The result's columns of it, which show when a row goes out: `window_time`.
    pub shown: Vec<usize>,
}

impl OperatorFactory for ByProcessingTime {
    fn build(&self) -> Result<Box<dyn Operator>> {
        let windows = self.windows.build_closing()?;
        Ok(Box::new(Timed { plan: self.clone(), windows, pending: Vec::new(), reached: i64::MIN }))
    }

    fn name(&self) -> &'static str {
        "ProcessingTimeWindow"
    }
}

struct Timed {
    plan: ByProcessingTime,
    windows: Box<dyn Closing>,
    /// The step's batches: what time it is is known at its end.
    pending: Vec<ChangeBatch>,
    /// The time of the last step.
    reached: i64,
}

impl Operator for Timed {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.pending.push(batch);
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.reached = self.reached.max(time.processing_time);
        let mut results = Vec::new();
        // What has ended takes none of the step's rows, whether or not there was a step when it ended. More rows may come in the
        // millisecond that it is.
        self.pass(Watermark(self.reached.saturating_sub(1)), &mut results)?;
        for mut batch in std::mem::take(&mut self.pending) {
            batch.rows = at(&batch.rows, self.plan.time, self.reached)?;
            batch.watermarks = None;
            self.windows.push(0, batch, &mut results)?;
        }
        if time.watermark == Watermark::MAX {
            self.pass(Watermark::MAX, &mut results)?;
        }
        for mut result in results {
            for column in &self.plan.shown {
                result.rows = at(&result.rows, *column, self.reached)?;
            }
            out.push(result);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let mut tables = self.windows.snapshot()?;
        let reached: ArrayRef = Arc::new(Int64Array::from(vec![self.reached]));
        let rows = vec![RecordBatch::try_from_iter([("time", reached)])?];
        tables.push(StateTable { name: REACHED.into(), placement: Placement::All, rows });
        Ok(tables)
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        let (own, others): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.name == REACHED);
        for rows in own.iter().flat_map(|table| &table.rows) {
            let times = rows.column(0).as_any().downcast_ref::<Int64Array>();
            let times = times.ok_or_else(|| Error::internal("state of another type than was handed out"))?;
            self.reached = times.iter().flatten().fold(self.reached, i64::max);
        }
        self.windows.restore(others)
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        self.windows.late_rows()
    }

    fn next_timer(&self) -> Option<i64> {
        self.windows.next_end()
    }

    fn stats(&self) -> OperatorStats {
        self.windows.stats()
    }
}

impl Timed {
    /// Lets out the windows that a watermark closes.
    fn pass(&mut self, watermark: Watermark, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let time = StepTime { inputs: vec![watermark], watermark, processing_time: self.reached };
        self.windows.advance(&time, out)
    }
}

/// The time of the last step, as state.
const REACHED: &str = "processing_time";

/// Rows with a time, in milliseconds since the epoch, in the place of a timestamp column.
fn at(rows: &RecordBatch, column: usize, time: i64) -> Result<RecordBatch> {
    let times = TimestampMillisecondArray::from_value(time, rows.num_rows());
    let times: ArrayRef = match rows.column(column).data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, zone) => Arc::new(times.with_timezone_opt(zone.clone())),
        DataType::Timestamp(unit, zone) => {
            let zoned = times.with_timezone_opt(zone.clone());
            cast(&zoned, &DataType::Timestamp(*unit, zone.clone()))?
        }
        other => return Err(Error::internal(format!("{other} is no processing time"))),
    };
    let mut columns = rows.columns().to_vec();
    columns[column] = times;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

#[cfg(test)]
mod tests;
