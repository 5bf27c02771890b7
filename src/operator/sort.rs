//! ORDER BY: rows in order, in time or at the end of the input.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef, UInt32Type};

use super::late::{Late, LateRows, in_order, sorted};
use super::top_n::frozen::{WEIGHT, split_columns, with_columns};
use super::top_n::{Encoder, OrderColumn};
use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::{ChangeBatch, Watermark, rowtime_millis, take_rows};
use crate::state::{Multiset, Placement, RowStore, StateTable, row_store};
use crate::{Error, Result};

/// How many rows go out in one batch.
const BATCH_ROWS: usize = 8192;

/// Puts rows in order. What goes out only comes.
#[derive(Debug, Clone)]
pub struct Sort {
    /// The order.
    pub order: Vec<OrderColumn>,
    /// The rowtime, where it is what the order begins with, and rows only come: then rows go out when the watermark reaches
    /// them. Else all are held until the input ends.
    pub rowtime: Option<usize>,
    /// The input's schema.
    pub input: SchemaRef,
    /// The result's schema: the first of the input's columns.
    pub schema: SchemaRef,
}

impl OperatorFactory for Sort {
    fn build(&self) -> Result<Box<dyn Operator>> {
        let sorter = Sorter { encoder: Encoder::try_new(&self.input, &self.order)?, plan: self.clone() };
        Ok(match self.rowtime {
            Some(rowtime) => Box::new(InTime {
                sorter,
                rowtime,
                rows: row_store(Arc::clone(&self.input)),
                queue: BinaryHeap::new(),
                reached: i64::MIN,
                fired: i64::MIN,
                late: LateRows::default(),
                pending: Vec::new(),
            }),
            None => Box::new(AtEnd { sorter, rows: Multiset::new(Arc::clone(&self.input)) }),
        })
    }

    fn name(&self) -> &'static str {
        "Sort"
    }
}

struct Sorter {
    plan: Sort,
    encoder: Encoder,
}

impl Sorter {
    /// Rows in order, those that it does not tell apart as they stand; each so many times, if `times` says so.
    fn emit(&self, rows: &RecordBatch, times: Option<&[u32]>, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let sorted = self.encoder.encode(rows)?.sorted();
        let times = |row: &u32| times.map_or(1, |t| t[*row as usize]) as usize;
        let repeated: Vec<u32> = sorted.iter().flat_map(|row| std::iter::repeat_n(*row, times(row))).collect();
        let columns: Vec<usize> = (0..self.plan.schema.fields().len()).collect();
        let rows = rows.project(&columns)?;
        for part in repeated.chunks(BATCH_ROWS) {
            let taken = take_rows(&rows, &UInt32Array::from(part.to_vec()))?;
            let columns = taken.columns().to_vec();
            out.push(ChangeBatch::append(RecordBatch::try_new(Arc::clone(&self.plan.schema), columns)?));
        }
        Ok(())
    }
}

/// Holds rows until the watermark reaches them. A row is late when one of its time, or a later one, has gone out.
struct InTime {
    sorter: Sorter,
    rowtime: usize,
    rows: Box<dyn RowStore>,
    /// The rows that are held, by time.
    queue: BinaryHeap<Reverse<(i64, u32)>>,
    /// The watermark up to which rows count as gone out.
    reached: i64,
    /// The greatest time of these.
    fired: i64,
    late: LateRows,
    /// The step's batches.
    pending: Vec<ChangeBatch>,
}

impl InTime {
    /// Counts the rows up to a watermark as gone out, and gives their numbers.
    fn reach(&mut self, watermark: i64, due: &mut Vec<u32>) {
        if watermark <= self.reached {
            return;
        }
        self.reached = watermark;
        while let Some(Reverse((time, row))) = self.queue.peek().copied().filter(|Reverse(q)| q.0 <= watermark) {
            self.queue.pop();
            self.fired = self.fired.max(time);
            due.push(row);
        }
    }

    fn emit(&mut self, due: &mut Vec<u32>, out: &mut Vec<ChangeBatch>) -> Result<()> {
        if !due.is_empty() {
            due.sort_unstable();
            self.sorter.emit(&self.rows.take(due)?, None, out)?;
            due.drain(..).for_each(|row| self.rows.remove(row));
        }
        Ok(())
    }

    fn add(&mut self, rows: &RecordBatch, times: &Int64Array) -> Result<()> {
        let first = self.rows.append(rows)?;
        self.queue.extend(times.values().iter().zip(first..).map(|(time, row)| Reverse((*time, row))));
        Ok(())
    }

    fn times(&self, rows: &RecordBatch) -> Result<Int64Array> {
        let times = rowtime_millis(rows.column(self.rowtime))?;
        match times.null_count() {
            0 => Ok(times),
            _ => {
                let name = self.sorter.plan.input.field(self.rowtime).name();
                Err(Error::Execution(format!("the time attribute '{name}' of ORDER BY is NULL in a row")))
            }
        }
    }

    /// Adds rows of which some are behind the watermark: each sees what had gone out before it.
    fn add_with_late_rows(&mut self, rows: &RecordBatch, watermarks: &Int64Array, due: &mut Vec<u32>) -> Result<()> {
        let times = self.times(rows)?;
        let (mut kept, mut late) = (Vec::new(), Vec::new());
        let first = self.rows.ids();
        for (row, (time, watermark)) in (0u32..).zip(times.values().iter().zip(watermarks.values())) {
            self.reach(*watermark, due);
            if *time <= self.fired {
                late.push(Late { row, time: *time, watermark: *watermark });
                continue;
            }
            self.queue.push(Reverse((*time, first + kept.len() as u32)));
            kept.push(row);
        }
        self.late.dropped(rows, None, &late)?;
        self.rows.append(&take_rows(rows, &UInt32Array::from(kept))?)?;
        Ok(())
    }

    fn add_pending(&mut self, due: &mut Vec<u32>) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        if !in_order(&pending) {
            // A union's inputs one after another. Rows that are not behind the watermark may go first.
            let (marked, plain): (Vec<_>, Vec<_>) = pending.into_iter().partition(|b| b.watermarks.is_some());
            pending = plain;
            pending.extend(sorted(&marked)?);
        }
        for batch in pending {
            match &batch.watermarks {
                None => self.add(&batch.rows, &self.times(&batch.rows)?)?,
                Some(watermarks) => self.add_with_late_rows(&batch.rows, watermarks, due)?,
            }
        }
        Ok(())
    }
}

impl Operator for InTime {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("rows that change put in order of time"));
        }
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut due = Vec::new();
        self.add_pending(&mut due)?;
        self.reach(time.watermark.0, &mut due);
        self.emit(&mut due, out)?;
        if self.rows.wants_compaction() {
            let remap = self.rows.compact()?;
            let moved = self.queue.drain().filter_map(|Reverse((time, row))| Some(Reverse((time, remap.get(row)?))));
            self.queue = moved.collect();
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let marks: ArrayRef = Arc::new(Int64Array::from(vec![self.reached, self.fired]));
        Ok(vec![
            StateTable { name: "rows".into(), placement: Placement::First, rows: self.rows.freeze()? },
            StateTable {
                name: "fired".into(),
                placement: Placement::First,
                rows: vec![RecordBatch::try_from_iter([("marks", marks)])?],
            },
        ])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for StateTable { name, rows, .. } in tables {
            for rows in rows {
                if name == "rows" {
                    let times = self.times(&rows)?;
                    self.add(&rows, &times)?;
                } else if let Some([reached, fired]) =
                    rows.column(0).as_primitive_opt::<Int64Type>().map(|m| m.values().as_ref())
                {
                    // Workers other than the first have seen none.
                    (self.reached, self.fired) = (self.reached.max(*reached), self.fired.max(*fired));
                }
            }
        }
        Ok(())
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        let state_bytes = (self.rows.bytes() + self.queue.capacity() * 16) as u64;
        OperatorStats { state_rows: self.rows.len() as u64, state_bytes, late_rows: self.late.count() }
    }
}

/// Holds all rows until the input ends.
struct AtEnd {
    sorter: Sorter,
    rows: Multiset,
}

impl Operator for AtEnd {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.rows.change(&batch.rows, batch.kinds.as_ref(), &mut Vec::new())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        if time.watermark == Watermark::MAX && !self.rows.is_empty() {
            let (chunks, times) = self.rows.freeze()?;
            self.rows = Multiset::new(Arc::clone(&self.sorter.plan.input));
            let rows = concat_batches(&self.sorter.plan.input, &chunks)?;
            self.sorter.emit(&rows, Some(&times), out)?;
        } else if self.rows.wants_compaction() {
            self.rows.compact()?;
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let (chunks, weights) = self.rows.freeze()?;
        let mut weights = weights.as_slice();
        let mut rows = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let (own, others) = weights.split_at(chunk.num_rows().min(weights.len()));
            weights = others;
            let weight: ArrayRef = Arc::new(UInt32Array::from(own.to_vec()));
            rows.push(with_columns(chunk, [(WEIGHT, weight)])?);
        }
        Ok(vec![StateTable { name: "rows".into(), placement: Placement::First, rows }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for rows in tables.into_iter().flat_map(|t| t.rows) {
            let (own, more) = split_columns(&rows, self.sorter.plan.input.fields().len())?;
            let weights = more.first().and_then(|w| w.as_primitive_opt::<UInt32Type>());
            let weights = weights.ok_or_else(|| Error::internal("rows of a Sort without weights"))?;
            self.rows.add(&own, weights.values(), &mut Vec::new())?;
        }
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats { state_rows: self.rows.len() as u64, state_bytes: self.rows.bytes() as u64, late_rows: 0 }
    }
}

#[cfg(test)]
mod tests;
