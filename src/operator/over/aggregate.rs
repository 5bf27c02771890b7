//! OVER on a time attribute: each row goes out once, with its results.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;

use super::evaluate::Evaluator;
use super::frame::Frame;
use super::function::OverFunction;
use super::partition::Partition;
use super::ties::by_content;
use super::waiting::Queue;
use crate::change::{ChangeBatch, rowtime_millis};
use crate::operator::late::{Late, LateRows, in_order, sorted};
use crate::operator::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::state::{Expiry, Keys, StateTable};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// How many rows go out in one batch.
const BATCH_ROWS: usize = 8192;
/// With fewer dead partitions their numbers are not worth being given anew.
pub(super) const COMPACT_FROM: usize = 4096;

/// What rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverTime {
    /// A rowtime, a column of the input: rows go out when the watermark passes it.
    Rowtime(usize),
    /// Processing time: rows go out at once, in the order of their arrival.
    Arrival,
}

/// Aggregates over frames of rows that end with the current one, ordered by time. Each row goes out once, with its results.
#[derive(Debug, Clone)]
pub struct OverAggregate {
    /// What rows are ordered by.
    pub time: OverTime,
    /// The columns that partition.
    pub keys: Vec<usize>,
    /// The functions.
    pub functions: Vec<OverFunction>,
    /// How many of the input's columns go out, from the first on; behind them come the functions' results.
    pub width: usize,
    /// Whether rows of one time are ordered by what they hold, because their order of arrival is not defined.
    pub by_content: bool,
    /// How long a partition is kept that no row touches, in milliseconds of processing time.
    pub ttl: Option<i64>,
    /// The input's schema.
    pub input: SchemaRef,
    /// The result's schema.
    pub schema: SchemaRef,
}

impl OperatorFactory for OverAggregate {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Over::try_new(self)?))
    }

    fn name(&self) -> &'static str {
        "OverAggregate"
    }
}

/// The operator.
pub(super) struct Over {
    pub(super) plan: OverAggregate,
    pub(super) keys: Keys,
    pub(super) partitions: Vec<Partition>,
    pub(super) evaluator: Evaluator,
    pub(super) queue: Queue,
    pub(super) expiry: Expiry,
    /// The watermark that rows have gone out for.
    pub(super) fired: i64,
    /// Where every frame is bounded in time: the partitions by the time of their last row, to be let go when no frame can
    /// reach that row any more.
    pub(super) idle: BTreeMap<i64, Vec<u32>>,
    /// How far in time the frames reach back, if all are bounded in time.
    pub(super) reach: Option<i64>,
    /// Whether every frame is bounded: then a late row is kept if it is later than the last that went out.
    keeps_late: bool,
    pending: Vec<ChangeBatch>,
    pub(super) now: i64,
    late: LateRows,
    /// From so many partitions on it is worth looking whether most are dead.
    pub(super) look_from: usize,
}

impl Over {
    pub(super) fn try_new(plan: &OverAggregate) -> Result<Self> {
        let types = plan.schema.fields().iter().skip(plan.width).map(|f| f.data_type().clone()).collect();
        let reach = plan.functions.iter().map(|f| match f.frame {
            Frame::Range(Some(ms)) | Frame::Recent(ms) if !f.remembers_all() => Some(ms),
            _ => None,
        });
        Ok(Self {
            keys: Keys::try_new(Arc::new(plan.input.project(&plan.keys)?))?,
            partitions: Vec::new(),
            evaluator: Evaluator::try_new(plan.functions.clone(), types, &plan.input)?,
            queue: Queue::new(Arc::clone(&plan.input)),
            expiry: Expiry::new(plan.ttl),
            fired: i64::MIN,
            idle: BTreeMap::new(),
            reach: reach.collect::<Option<Vec<_>>>().and_then(|r| r.into_iter().max()),
            keeps_late: !plan.functions.iter().any(OverFunction::remembers_all),
            pending: Vec::new(),
            now: 0,
            late: LateRows::default(),
            look_from: COMPACT_FROM,
            plan: plan.clone(),
        })
    }

    /// The partitions of some rows.
    pub(super) fn intern(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let columns: Vec<ArrayRef> = self.plan.keys.iter().map(|k| Arc::clone(rows.column(*k))).collect();
        let mut ids = Vec::new();
        self.keys.intern(&columns, rows.num_rows(), &mut ids)?;
        self.partitions.resize_with(self.keys.len(), Partition::default);
        Ok(ids)
    }

    fn take_in(&mut self, batch: &ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let rows = &batch.rows;
        let keys = self.intern(rows)?;
        self.expiry.touch(&keys, self.now);
        let OverTime::Rowtime(column) = self.plan.time else {
            let times = vec![self.now; keys.len()];
            return self.let_out(rows.clone(), &keys, &times, i64::MIN, out);
        };
        let times = rowtime_millis(rows.column(column))?;
        if times.null_count() > 0 {
            return Err(Error::Execution("the time that an OVER window is ordered by is NULL in a row".into()));
        }
        match &batch.watermarks {
            None => self.wait(rows, &keys, times.values()),
            Some(watermarks) if self.keeps_late => self.wait_or_late(rows, &keys, times.values(), watermarks, out),
            Some(watermarks) => {
                let marks = watermarks.values().iter();
                let in_time: BooleanArray = times.values().iter().zip(marks).map(|(t, w)| Some(t > w)).collect();
                let late = (0..times.len()).filter(|row| !in_time.value(*row)).map(|row| Late {
                    row: row as u32,
                    time: times.value(row),
                    watermark: watermarks.value(row),
                });
                self.late.dropped(rows, None, &late.collect::<Vec<_>>())?;
                let rows = arrow::compute::filter_record_batch(rows, &in_time)?;
                let kept: Vec<usize> = (0..keys.len()).filter(|i| in_time.value(*i)).collect();
                let keys: Vec<u32> = kept.iter().map(|i| keys[*i]).collect();
                let times: Vec<i64> = kept.iter().map(|i| times.value(*i)).collect();
                self.wait(&rows, &keys, &times)
            }
        }
    }

    pub(super) fn wait(&mut self, rows: &RecordBatch, keys: &[u32], times: &[i64]) -> Result<()> {
        keys.iter().for_each(|key| self.partitions[*key as usize].waiting += 1);
        self.queue.push(rows, keys, times)
    }

    /// Keeps of the late rows those that are later than the last row that went out of their partition. What had gone out is
    /// told by the watermark before each row, not by the step.
    fn wait_or_late(
        &mut self,
        rows: &RecordBatch,
        keys: &[u32],
        times: &[i64],
        watermarks: &Int64Array,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        let (mut from, mut late) = (0, Vec::new());
        for row in 0..keys.len() {
            let (time, watermark) = (times[row], watermarks.value(row));
            if time > watermark {
                continue;
            }
            self.wait(&rows.slice(from, row - from), &keys[from..row], &times[from..row])?;
            self.fire(watermark, out)?;
            from = row;
            self.forget_idle(keys[row], watermark);
            if self.partitions[keys[row] as usize].last.is_some_and(|last| time <= last) {
                late.push(Late { row: row as u32, time, watermark });
                from = row + 1;
            }
        }
        self.late.dropped(rows, None, &late)?;
        self.wait(&rows.slice(from, keys.len() - from), &keys[from..], &times[from..])
    }

    /// Lets out the rows that a watermark passes.
    fn fire(&mut self, watermark: i64, out: &mut Vec<ChangeBatch>) -> Result<()> {
        if watermark <= self.fired {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.fired, watermark);
        if !self.queue.has(watermark) {
            return Ok(());
        }
        let (rows, ready) = self.queue.pop(watermark)?;
        ready.iter().for_each(|w| self.partitions[w.key as usize].waiting -= 1);
        let (keys, times): (Vec<u32>, Vec<i64>) = ready.iter().map(|w| (w.key, w.time)).unzip();
        match self.plan.by_content.then(|| by_content(&rows, &times)).transpose()?.flatten() {
            Some(order) => {
                let keys: Vec<u32> = order.iter().map(|i| keys[*i as usize]).collect();
                let rows = crate::change::take_rows(&rows, &UInt32Array::from(order))?;
                self.let_out(rows, &keys, &times, before, out)
            }
            None => self.let_out(rows, &keys, &times, before, out),
        }
    }

    /// Lets rows out, of which those up to `late` are late for whoever stands behind: that watermark was in force before.
    fn let_out(
        &mut self,
        rows: RecordBatch,
        keys: &[u32],
        times: &[i64],
        late: i64,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let results = self.evaluator.evaluate(&rows, keys, times, &mut self.partitions)?;
        self.evaluator.compact(&mut self.partitions)?;
        self.note_idle(keys, times);
        let columns = rows.columns().iter().take(self.plan.width).cloned().chain(results).collect();
        let all = RecordBatch::try_new(Arc::clone(&self.plan.schema), columns)?;
        let is_late = self.plan.time != OverTime::Arrival && times.first().is_some_and(|first| *first <= late);
        let watermarks = is_late.then(|| Int64Array::from(vec![late; times.len()]));
        let all = ChangeBatch { rows: all, kinds: None, watermarks };
        let parts = (0..all.num_rows()).step_by(BATCH_ROWS);
        out.extend(parts.map(|at| all.slice(at, BATCH_ROWS.min(all.num_rows() - at))));
        Ok(())
    }
}

impl Operator for Over {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("OVER on a time attribute over changing input"));
        }
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.now = time.processing_time;
        self.expire();
        let mut pending = std::mem::take(&mut self.pending);
        if !in_order(&pending) {
            // A union's inputs, one after another. Rows in front of the watermark wait in any case: they may go first.
            let (marked, plain): (Vec<_>, Vec<_>) = pending.into_iter().partition(|b| b.watermarks.is_some());
            pending = plain;
            pending.extend(sorted(&marked)?);
        }
        for batch in &pending {
            self.take_in(batch, out)?;
        }
        if self.plan.time != OverTime::Arrival {
            self.fire(time.watermark.0, out)?;
        }
        self.forget_all_idle();
        self.drop_dead()
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        self.freeze()
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        self.thaw(tables)
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        let (waiting, waiting_bytes) = self.queue.size();
        let (held, held_bytes) = self.evaluator.size();
        // Of a partition without rows of its own stands what they add up to.
        let summed = self.partitions.iter().filter(|p| p.count > 0 && p.held.is_empty()).count();
        let partitions = self.keys.bytes() + self.partitions.capacity() * size_of::<Partition>();
        OperatorStats {
            state_rows: (waiting + held + summed) as u64,
            state_bytes: (waiting_bytes + held_bytes + partitions + self.expiry.bytes()) as u64,
            late_rows: self.late.count(),
        }
    }
}
