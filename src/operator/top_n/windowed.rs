//! Top-N of windows: what a window's rows come to goes out once, when the watermark closes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;

use super::append::Append;
use super::{Closing, TopN};
use crate::change::{ChangeBatch, Watermark, rowtime_millis};
use crate::operator::late::{Late, LateRows};
use crate::operator::{Operator, OperatorStats, StepTime};
use crate::state::{Placement, Remap, StateTable};
use crate::{Error, Result};

/// Keeps the rows of open windows up to the last place that is asked for; a row is late when its window is closed.
pub(super) struct Windowed {
    closing: Closing,
    rows: Append,
    /// The step's batches.
    pending: Vec<ChangeBatch>,
    /// The partitions of open windows, by the windows' ends.
    open: BTreeMap<i64, Vec<u32>>,
    /// By partition: whether it is among these.
    is_open: Vec<bool>,
    /// The watermark that the last step ended with, as the windows' clock shows it.
    reached: i64,
    late: LateRows,
}

impl Windowed {
    pub fn try_new(plan: TopN, closing: Closing) -> Result<Self> {
        let rows = Append::try_new(plan)?;
        let (open, is_open) = (BTreeMap::new(), Vec::new());
        Ok(Self { closing, rows, pending: Vec::new(), open, is_open, reached: i64::MIN, late: LateRows::default() })
    }

    fn ends(&self, rows: &RecordBatch) -> Result<Int64Array> {
        let ends = rowtime_millis(rows.column(self.closing.end))?;
        match ends.null_count() {
            0 => Ok(ends),
            _ => Err(Error::Execution("the end of a window is NULL in a row".into())),
        }
    }

    fn add(&mut self, batch: &ChangeBatch) -> Result<()> {
        let ends = self.ends(&batch.rows)?;
        let marks = batch.watermarks.as_ref().map(|w| self.closing.clock.all_passed(w.clone()));
        let mark = |row: usize| marks.as_ref().map_or(self.reached, |m| m.value(row).max(self.reached));
        let in_time = BooleanBuffer::collect_bool(ends.len(), |row| ends.value(row).saturating_sub(1) > mark(row));
        match ends.len() - in_time.count_set_bits() {
            0 => self.add_in_time(&batch.rows, &ends),
            _ => {
                let late = (0..ends.len()).filter(|row| !in_time.value(*row)).map(|row| Late {
                    row: row as u32,
                    time: self.closing.clock.instant(ends.value(row).saturating_sub(1)),
                    watermark: self.closing.clock.instant(mark(row)),
                });
                self.late.dropped(&batch.rows, None, &late.collect::<Vec<_>>())?;
                let kept = batch.filter(&BooleanArray::new(in_time, None))?;
                self.add_in_time(&kept.rows, &self.ends(&kept.rows)?)
            }
        }
    }

    fn add_in_time(&mut self, rows: &RecordBatch, ends: &Int64Array) -> Result<()> {
        let partitions = self.rows.add(rows, false)?;
        for (partition, end) in partitions.iter().zip(ends.values()) {
            let partition = *partition as usize;
            if self.is_open.len() <= partition {
                self.is_open.resize(partition + 1, false);
            }
            if !std::mem::replace(&mut self.is_open[partition], true) {
                self.open.entry(*end).or_default().push(partition as u32);
            }
        }
        Ok(())
    }

    /// Lets out what the windows come to that the watermark has closed.
    fn fire(&mut self, watermark: i64, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut closed = Vec::new();
        while let Some(first) = self.open.first_entry().filter(|e| e.key().saturating_sub(1) <= watermark) {
            closed.extend(first.remove());
        }
        closed.iter().for_each(|partition| self.is_open[*partition as usize] = false);
        self.rows.release(&closed, out)
    }

    fn remap(&mut self, remap: &Remap) {
        remap.apply(&mut self.is_open);
        for partitions in self.open.values_mut() {
            *partitions = partitions.iter().filter_map(|p| remap.get(*p)).collect();
        }
    }
}

impl Operator for Windowed {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("a Top-N of windows over changing input"));
        }
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for batch in std::mem::take(&mut self.pending) {
            self.add(&batch)?;
        }
        self.reached = match time.watermark {
            Watermark::MAX => i64::MAX,
            Watermark(at) => self.closing.clock.passed(at),
        };
        self.fire(self.reached, out)?;
        if let Some(remap) = self.rows.tidy()? {
            self.remap(&remap);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let mut tables = self.rows.snapshot()?;
        let reached: ArrayRef = Arc::new(Int64Array::from(vec![self.reached]));
        let rows = vec![RecordBatch::try_from_iter([("watermark", reached)])?];
        tables.push(StateTable { name: "reached".into(), placement: Placement::All, rows });
        Ok(tables)
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for StateTable { name, rows, .. } in tables {
            for rows in rows {
                match name.as_ref() {
                    "reached" => {
                        let marks = rows.column(0).as_primitive_opt::<Int64Type>();
                        let reached = marks.and_then(|m| m.values().iter().max().copied());
                        self.reached = self.reached.max(reached.unwrap_or(i64::MIN));
                    }
                    _ => self.add_in_time(&rows, &self.ends(&rows)?)?,
                }
            }
        }
        Ok(())
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats { late_rows: self.late.count(), ..self.rows.stats() }
    }
}
