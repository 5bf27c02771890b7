//! Aggregates over windows, with shared slices.
//!
//! Rows are aggregated by slice (see [`super::window`]), once, however many windows overlap. When the watermark closes a
//! window, the partial aggregates of its slices are merged into the window's result, and slices that no open window
//! needs are let go. State is thus bounded by the windows that are open: by distinct keys per slice, never by rows.

mod slices;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter, max, min, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use self::slices::Slices;
pub use super::grouped::Aggregate;
use super::grouped::{Grouped, Grouping};
use super::late::{Late, LateRows, in_order, sorted};
use super::processing_time::{Closing, ClosingFactory};
use super::window::{Window, WindowSpec};
use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::{ChangeBatch, WallClock, rowtime_millis};
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// How many rows of results go out in one batch.
const BATCH_ROWS: usize = 8192;
/// A batch that reaches over so many slices at most is gone through once for each; over more, its rows are sorted by slice.
const FEW_SLICES: usize = 4;

/// Where the windows of a row come from.
#[derive(Debug, Clone)]
pub enum WindowSource {
    /// From its rowtime, by slices.
    Rowtime {
        /// The rowtime's column.
        column: usize,
        /// The windows.
        spec: WindowSpec,
    },
    /// From columns that a window function before this operator has set: each row belongs to one window.
    Columns {
        /// The column `window_start`.
        start: usize,
        /// The column `window_end`.
        end: usize,
    },
}

/// A column of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowOutput {
    /// A key, by its place among the keys.
    Key(usize),
    /// The window's first millisecond.
    Start,
    /// The first millisecond after the window.
    End,
    /// The window's last millisecond: the result's rowtime.
    Time,
    /// An aggregate, by its place among the aggregates.
    Aggregate(usize),
}

/// Groups the rows of each window by key and aggregates them; a window's results go out when the watermark closes it.
#[derive(Debug, Clone)]
pub struct WindowAggregateFactory {
    /// Where windows come from.
    pub windows: WindowSource,
    /// The key columns.
    pub keys: Vec<usize>,
    /// The clock that windows are cut by: all times inside are what it shows, and watermarks are read off it.
    pub clock: WallClock,
    /// The aggregates, over the input's columns.
    pub aggregates: Vec<Aggregate>,
    /// What each column of `schema` is.
    pub outputs: Vec<WindowOutput>,
    /// The input's schema.
    pub input: SchemaRef,
    /// The result's schema.
    pub schema: SchemaRef,
}

impl OperatorFactory for WindowAggregateFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.make()?))
    }

    fn name(&self) -> &'static str {
        "WindowAggregate"
    }
}

impl ClosingFactory for WindowAggregateFactory {
    fn build_closing(&self) -> Result<Box<dyn Closing>> {
        Ok(Box::new(self.make()?))
    }
}

impl WindowAggregateFactory {
    fn make(&self) -> Result<WindowAggregate> {
        let keys = Arc::new(self.input.project(&self.keys)?);
        let grouping = Arc::new(Grouping::try_new(keys, self.aggregates.clone())?);
        let spec = match self.windows {
            WindowSource::Rowtime { spec, .. } => Some(spec),
            WindowSource::Columns { .. } => None,
        };
        let slices = Slices::new(grouping, spec);
        Ok(WindowAggregate { plan: self.clone(), slices, pending: Vec::new(), late: LateRows::default() })
    }
}

struct WindowAggregate {
    plan: WindowAggregateFactory,
    slices: Slices,
    /// Batches of this step from the first on that holds rows behind the watermark. Such rows close windows between two
    /// rows of a step, and so all rows before them must be there first.
    pending: Vec<ChangeBatch>,
    late: LateRows,
}

impl Operator for WindowAggregate {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("a window aggregate over changing input"));
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if batch.watermarks.is_none() && self.pending.is_empty() {
            return self.add(&batch);
        }
        self.pending.push(batch);
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.add_pending(out)?;
        self.fire(self.plan.clock.passed(time.watermark.0), out)
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let placement = match self.plan.keys.len() {
            0 => Placement::First,
            keys => Placement::Key((2..2 + keys).collect()),
        };
        let fired: ArrayRef = Arc::new(Int64Array::from(vec![self.slices.fired()]));
        Ok(vec![
            StateTable { name: "slices".into(), placement, rows: self.slices.freeze()? },
            StateTable {
                name: "fired".into(),
                placement: Placement::All,
                rows: vec![RecordBatch::try_from_iter([("watermark", fired)])?],
            },
        ])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            match table.name.as_ref() {
                "slices" => table.rows.iter().try_for_each(|rows| self.slices.thaw(rows))?,
                "fired" => {
                    let marks = table.rows.iter().map(|r| Ok(int64(r.column(0))?.iter().flatten().max()));
                    let reached = marks.collect::<Result<Vec<_>>>()?.into_iter().flatten().max();
                    self.slices.set_fired(reached.unwrap_or(i64::MIN));
                }
                other => return Err(Error::internal(format!("a window aggregate has no state named '{other}'"))),
            }
        }
        Ok(())
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        let (state_rows, state_bytes) = self.slices.size();
        OperatorStats { state_rows, state_bytes, late_rows: self.late.count() }
    }
}

impl Closing for WindowAggregate {
    fn next_end(&self) -> Option<i64> {
        let last = self.slices.next_end()?.saturating_sub(1);
        Some(self.plan.clock.instant(last).saturating_add(1))
    }
}

impl WindowAggregate {
    /// Adds rows of which none is behind the watermark of its time.
    fn add(&mut self, batch: &ChangeBatch) -> Result<()> {
        if let Some((times, slices)) = self.few_slices(&batch.rows)?
            && !self.slices.is_closed(slices[0])
        {
            return match slices.as_slice() {
                [only] => self.add_to_slice(*only, &batch.rows),
                several => self.add_to_slices(several, times.values(), &batch.rows),
            };
        }
        let windows = self.windows_of(&batch.rows)?;
        self.add_by_slice(&windows, &batch.rows, None)
    }

    /// The times of all rows and the slices from the least to the greatest of them, if these are few.
    fn few_slices(&self, rows: &RecordBatch) -> Result<Option<(Int64Array, Vec<Window>)>> {
        let WindowSource::Rowtime { column, spec } = self.plan.windows else { return Ok(None) };
        let times = self.plan.clock.all_at(rowtime_millis(rows.column(column))?);
        let (Some(first), Some(last)) = (min(&times), max(&times)) else { return Ok(None) };
        if times.null_count() > 0 {
            return Ok(None);
        }
        let length = spec.slice();
        let mut slices = Vec::with_capacity(FEW_SLICES);
        let mut start = spec.slice_start(first);
        while slices.len() < FEW_SLICES {
            let end = start.saturating_add(length);
            slices.push(Window { start, end });
            if last < end {
                return Ok(Some((times, slices)));
            }
            start = end;
        }
        Ok(None)
    }

    /// Adds to each of some slices the rows whose times it holds.
    fn add_to_slices(&mut self, slices: &[Window], times: &[i64], rows: &RecordBatch) -> Result<()> {
        let keys = rows.project(&self.plan.keys)?;
        let inputs = self.slices.grouping().inputs(rows)?;
        for slice in slices {
            let within = BooleanBuffer::collect_bool(times.len(), |i| slice.start <= times[i] && times[i] < slice.end);
            let within = BooleanArray::new(within, None);
            let count = within.true_count();
            if count > 0 {
                let pick = |a: &ArrayRef| Ok(filter(a, &within)?);
                let keys = keys.columns().iter().map(pick).collect::<Result<Vec<_>>>()?;
                self.slices.live(*slice)?.update(&keys, &inputs.select(pick)?, count)?;
            }
        }
        Ok(())
    }

    /// Adds the step's batches that wait for each other, in the order of their rows' watermarks.
    fn add_pending(&mut self, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        if !in_order(&pending) {
            // A union's inputs or the grouping sets, one after another. Rows that are not behind the watermark belong to no
            // window that closes in between: they may go first.
            let (marked, plain): (Vec<_>, Vec<_>) = pending.into_iter().partition(|b| b.watermarks.is_some());
            pending = plain;
            pending.extend(sorted(&marked)?);
        }
        for batch in pending {
            match &batch.watermarks {
                None => self.add(&batch)?,
                Some(watermarks) => {
                    let watermarks = self.plan.clock.all_passed(watermarks.clone());
                    self.add_with_late_rows(&batch, &watermarks, out)?;
                }
            }
        }
        Ok(())
    }

    /// Adds rows of which some are behind the watermark: those whose windows are all closed are dropped, and where only
    /// some are, these fire first, without the row.
    fn add_with_late_rows(
        &mut self,
        batch: &ChangeBatch,
        watermarks: &Int64Array,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        let windows = self.windows_of(&batch.rows)?;
        let mut from = 0;
        for row in 0..batch.num_rows() {
            if self.slices.must_fire_before(windows[row], watermarks.value(row)) {
                let before = from..row;
                self.add_by_slice(
                    &windows[before.clone()],
                    &batch.rows.slice(from, row - from),
                    Some(watermarks.slice(from, row - from)),
                )?;
                self.fire(watermarks.value(row), out)?;
                from = row;
            }
        }
        let rest = batch.num_rows() - from;
        self.add_by_slice(&windows[from..], &batch.rows.slice(from, rest), Some(watermarks.slice(from, rest)))
    }

    /// Sorts rows by slice and adds each slice's; drops and counts late rows.
    fn add_by_slice(&mut self, windows: &[Window], rows: &RecordBatch, watermarks: Option<Int64Array>) -> Result<()> {
        let mut slices: Vec<(Window, Vec<u32>)> = Vec::new();
        let mut late = Vec::new();
        for (row, window) in (0u32..).zip(windows) {
            let watermark = watermarks.as_ref().map_or(i64::MIN, |w| w.value(row as usize));
            if self.slices.is_late(*window, watermark) {
                late.push(row);
                continue;
            }
            // Rows come nearly in order: the slice is almost always among the last.
            match slices.iter_mut().rev().find(|(w, _)| w == window) {
                Some((_, rows)) => rows.push(row),
                None => slices.push((*window, vec![row])),
            }
        }
        if !late.is_empty() {
            self.drop_late(&late, rows, watermarks.as_ref())?;
        }
        if let [(window, picked)] = slices.as_slice()
            && picked.len() == rows.num_rows()
        {
            return self.add_to_slice(*window, rows);
        }
        slices.sort_by_key(|(w, _)| *w);
        let keys = rows.project(&self.plan.keys)?;
        let inputs = self.slices.grouping().inputs(rows)?;
        for (window, picked) in slices {
            let picked = UInt32Array::from(picked);
            let pick = |a: &ArrayRef| Ok(take(a, &picked, None)?);
            let keys = keys.columns().iter().map(pick).collect::<Result<Vec<_>>>()?;
            let inputs = inputs.select(pick)?;
            self.slices.live(window)?.update(&keys, &inputs, picked.len())?;
        }
        Ok(())
    }

    /// Takes note of rows whose windows are all closed.
    fn drop_late(&mut self, late: &[u32], rows: &RecordBatch, watermarks: Option<&Int64Array>) -> Result<()> {
        let clock = self.plan.clock;
        let times = match self.plan.windows {
            WindowSource::Rowtime { column, .. } => rowtime_millis(rows.column(column))?,
            WindowSource::Columns { end, .. } => {
                rowtime_millis(rows.column(end))?.unary(|end| clock.instant(end.saturating_sub(1)))
            }
        };
        let fired = self.slices.fired();
        let late = late.iter().map(|row| {
            let watermark = watermarks.map_or(fired, |w| w.value(*row as usize).max(fired));
            Late { row: *row, time: times.value(*row as usize), watermark: clock.instant(watermark) }
        });
        self.late.dropped(rows, None, &late.collect::<Vec<_>>())
    }

    fn add_to_slice(&mut self, window: Window, rows: &RecordBatch) -> Result<()> {
        let keys: Vec<ArrayRef> = self.plan.keys.iter().map(|k| Arc::clone(rows.column(*k))).collect();
        let inputs = self.slices.grouping().inputs(rows)?;
        self.slices.live(window)?.update(&keys, &inputs, rows.num_rows())
    }

    /// For each row the slice that it falls into, or the window that it comes with.
    fn windows_of(&self, rows: &RecordBatch) -> Result<Vec<Window>> {
        let null = || Error::Execution("the time column of a window is NULL in a row".into());
        match self.plan.windows {
            WindowSource::Rowtime { column, spec } => {
                let times = self.plan.clock.all_at(rowtime_millis(rows.column(column))?);
                if times.null_count() > 0 {
                    return Err(null());
                }
                let length = spec.slice();
                let mut slice = Window { start: 0, end: 0 };
                Ok(times
                    .values()
                    .iter()
                    .map(|time| {
                        // Neighbours mostly share a slice: a comparison is cheaper than a division.
                        if *time < slice.start || *time >= slice.end {
                            let start = spec.slice_start(*time);
                            slice = Window { start, end: start.saturating_add(length) };
                        }
                        slice
                    })
                    .collect())
            }
            WindowSource::Columns { start, end } => {
                let (starts, ends) = (rowtime_millis(rows.column(start))?, rowtime_millis(rows.column(end))?);
                let pairs = starts.iter().zip(&ends);
                pairs.map(|(s, e)| Ok(Window { start: s.ok_or_else(null)?, end: e.ok_or_else(null)? })).collect()
            }
        }
    }

    /// Lets out the results of all windows that `watermark` closes, in the order in which they end.
    fn fire(&mut self, watermark: i64, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut results = Vec::new();
        let mut rows = 0;
        while let Some((window, grouped)) = self.slices.next_closed(watermark)? {
            let result = self.result(window, grouped)?;
            rows += result.num_rows();
            results.push(result);
            if rows >= BATCH_ROWS {
                out.push(self.join(&mut results)?);
                rows = 0;
            }
        }
        if !results.is_empty() {
            out.push(self.join(&mut results)?);
        }
        Ok(())
    }

    fn join(&self, results: &mut Vec<RecordBatch>) -> Result<ChangeBatch> {
        let joined = match results.as_slice() {
            [one] => one.clone(),
            many => concat_batches(&self.plan.schema, many)?,
        };
        results.clear();
        Ok(ChangeBatch::append(joined))
    }

    fn result(&self, window: Window, grouped: Grouped) -> Result<RecordBatch> {
        let (values, rows) = grouped.finish()?;
        let keys = self.plan.keys.len();
        let columns = self.plan.outputs.iter().zip(self.plan.schema.fields()).map(|(output, field)| match output {
            WindowOutput::Key(i) => Ok(Arc::clone(&values[*i])),
            WindowOutput::Aggregate(i) => Ok(Arc::clone(&values[keys + *i])),
            WindowOutput::Start => repeated(window.start, rows, field.data_type()),
            WindowOutput::End => repeated(window.end, rows, field.data_type()),
            WindowOutput::Time => {
                let last = self.plan.clock.instant(window.end.saturating_sub(1));
                repeated(last, rows, field.data_type())
            }
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.plan.schema), columns.collect::<Result<Vec<_>>>()?)?)
    }
}

/// A column that holds the same time, in milliseconds, in all rows.
fn repeated(time: i64, rows: usize, data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(TimeUnit::Millisecond, zone) = data_type else {
        return Err(Error::internal(format!("a window column of type {data_type}")));
    };
    Ok(Arc::new(TimestampMillisecondArray::from_value(time, rows).with_timezone_opt(zone.clone())))
}

/// A column of times in milliseconds.
pub(super) fn window_times(times: Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(TimeUnit::Millisecond, zone) = data_type else {
        return Err(Error::internal(format!("a window column of type {data_type}")));
    };
    let times = TimestampMillisecondArray::new(times.values().clone(), None);
    Ok(Arc::new(times.with_timezone_opt(zone.clone())))
}

fn int64(array: &ArrayRef) -> Result<&Int64Array> {
    array.as_any().downcast_ref().ok_or_else(|| Error::internal("state of another type than was handed out"))
}

/// The schema of frozen slices: the slice's start and end before the partial aggregates.
fn slice_schema(partial: &Schema) -> SchemaRef {
    let bounds = ["slice_start", "slice_end"].map(|n| Arc::new(Field::new(n, DataType::Int64, false)));
    Arc::new(Schema::new(bounds.into_iter().chain(partial.fields().iter().cloned()).collect::<Vec<_>>()))
}
