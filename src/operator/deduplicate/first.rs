//! The first row of each key.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;

use super::{Deduplicate, Keep};
use crate::change::{ChangeBatch, take_rows};
use crate::operator::late::{Late, LateRows};
use crate::operator::top_n::frozen::{WRITTEN, split_columns, touch_restored, with_columns};
use crate::operator::top_n::placement;
use crate::operator::{Operator, OperatorStats, StepTime};
use crate::state::{Expiry, GONE, Keys, RowStore, StateTable, row_store};
use crate::{Error, Result};

/// How many rows go out in one batch.
const BATCH_ROWS: usize = 8192;
/// With fewer forgotten keys it is not worth its while to drop them.
const RETAIN_FROM: usize = 4096;

/// Keeps of each key the first row until it has gone out, and then that it has.
pub(super) struct First {
    plan: Deduplicate,
    keys: Keys,
    /// By key.
    stages: Vec<Stage>,
    /// Rows that wait for the watermark.
    store: Box<dyn RowStore>,
    /// Times that the watermark has to reach, and keys whose rows may wait for it; some are long gone.
    queue: BinaryHeap<Reverse<(i64, u32, u32)>>,
    /// The rows of this step that came at the watermark, by number: in time here, and late for what stands behind.
    behind: Vec<u32>,
    expiry: Expiry,
    /// The step's batches.
    pending: Vec<ChangeBatch>,
    /// Keys that are forgotten.
    empty: usize,
    late: LateRows,
    /// Kept between calls for its memory.
    ids: Vec<u32>,
}

/// How far a key has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// It has brought no row, or was forgotten.
    #[default]
    New,
    /// A row waits.
    Waiting {
        /// Its rowtime.
        time: i64,
        /// Its number.
        row: u32,
    },
    /// Its row has gone out.
    Done,
}

impl First {
    pub fn try_new(plan: Deduplicate) -> Result<Self> {
        Ok(Self {
            keys: Keys::try_new(Arc::new(plan.input.project(&plan.partition)?))?,
            stages: Vec::new(),
            store: row_store(Arc::clone(&plan.input)),
            queue: BinaryHeap::new(),
            behind: Vec::new(),
            expiry: Expiry::new(plan.ttl),
            pending: Vec::new(),
            empty: 0,
            late: LateRows::default(),
            ids: Vec::new(),
            plan,
        })
    }

    fn intern(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        self.keys.intern(columns, rows, &mut self.ids)?;
        self.stages.resize(self.keys.len(), Stage::New);
        Ok(())
    }

    /// Lets out the rows whose keys are new.
    fn pass(&mut self, batch: &ChangeBatch, now: i64, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.intern(&self.plan.key_columns(&batch.rows), batch.num_rows())?;
        let is_new =
            |row: usize| std::mem::replace(&mut self.stages[self.ids[row] as usize], Stage::Done) != Stage::Done;
        let new = BooleanArray::new(BooleanBuffer::collect_bool(batch.num_rows(), is_new), None);
        self.touch(now, |row| new.value(row));
        if new.true_count() > 0 {
            let batch = ChangeBatch { rows: self.plan.output(&batch.rows)?, ..batch.clone() };
            out.push(if new.true_count() == batch.num_rows() { batch } else { batch.filter(&new)? });
        }
        Ok(())
    }

    /// Notes that the keys of some of the last batch's rows were written.
    fn touch(&mut self, now: i64, written: impl Fn(usize) -> bool) {
        if self.expiry.is_on() {
            let keys = self.ids.iter().enumerate().filter(|(row, _)| written(*row)).map(|(_, key)| *key);
            self.expiry.touch(&keys.collect::<Vec<_>>(), now);
        }
    }

    /// Keeps the rows that come before those that wait.
    fn keep(&mut self, rows: &RecordBatch, column: usize, watermarks: Option<&Int64Array>) -> Result<Vec<u32>> {
        self.intern(&self.plan.key_columns(rows), rows.num_rows())?;
        let times = self.plan.times(rows, column)?;
        let fresh = self.store.ids();
        let (mut accepted, mut replaced, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for (row, (key, time)) in self.ids.iter().zip(times.values()).enumerate() {
            if let Some(watermark) = watermarks.map(|w| w.value(row)).filter(|w| time < w) {
                late.push(Late { row: row as u32, time: *time, watermark });
                continue;
            }
            let stage = &mut self.stages[*key as usize];
            match *stage {
                Stage::Done => continue,
                Stage::Waiting { time: best, .. } if best <= *time => continue,
                Stage::Waiting { row, .. } => replaced.push(row),
                Stage::New => {}
            }
            let number = fresh + accepted.len() as u32;
            *stage = Stage::Waiting { time: *time, row: number };
            if watermarks.is_some_and(|w| *time == w.value(row)) {
                self.behind.push(number);
            }
            self.queue.push(Reverse((*time, number, *key)));
            accepted.push(row as u32);
        }
        self.late.dropped(rows, None, &late)?;
        if !accepted.is_empty() {
            self.store.append(&take_rows(rows, &UInt32Array::from(accepted.clone()))?)?;
        }
        replaced.into_iter().for_each(|row| self.store.remove(row));
        Ok(accepted)
    }

    /// Lets out the rows that the watermark has reached, in the order of their times.
    fn fire(&mut self, watermark: i64, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let (mut due, mut behind) = (Vec::new(), Vec::new());
        while let Some(Reverse((time, row, key))) = self.queue.peek().copied().filter(|Reverse(q)| q.0 <= watermark) {
            self.queue.pop();
            if self.stages[key as usize] == (Stage::Waiting { time, row }) {
                self.stages[key as usize] = Stage::Done;
                match self.behind.binary_search(&row) {
                    Ok(_) => behind.push((time, row)),
                    Err(_) => due.push(row),
                }
            }
        }
        self.behind.clear();
        for rows in due.chunks(BATCH_ROWS) {
            out.push(self.taken(rows)?);
        }
        // Behind the others: their watermarks close windows that these belong to.
        for part in behind.chunks(BATCH_ROWS) {
            let (times, rows): (Vec<i64>, Vec<u32>) = part.iter().copied().unzip();
            let marked = ChangeBatch { watermarks: Some(Int64Array::from(times)), ..self.taken(&rows)? };
            out.push(marked);
        }
        let gone = due.into_iter().chain(behind.into_iter().map(|(_, row)| row));
        gone.for_each(|row| self.store.remove(row));
        Ok(())
    }

    /// Rows that go out.
    fn taken(&self, rows: &[u32]) -> Result<ChangeBatch> {
        let columns: Vec<usize> = (0..self.plan.schema.fields().len()).collect();
        let taken = self.store.take_columns(&columns, rows)?;
        Ok(ChangeBatch::append(RecordBatch::try_new(Arc::clone(&self.plan.schema), taken)?))
    }

    fn expire(&mut self, now: i64) {
        for key in self.expiry.expired(now) {
            if let Stage::Waiting { row, .. } = std::mem::take(&mut self.stages[key as usize]) {
                self.store.remove(row);
            }
            self.empty += 1;
        }
    }

    /// Gives back what dropped rows and keys took, once that is much.
    fn tidy(&mut self) -> Result<()> {
        let forgets = self.empty >= RETAIN_FROM && self.empty * 2 >= self.keys.len();
        if !forgets && !self.store.wants_compaction() {
            return Ok(());
        }
        let rows = self.store.compact()?;
        for stage in &mut self.stages {
            if let Stage::Waiting { row, .. } = stage {
                *row = rows.get(*row).unwrap_or(GONE);
            }
        }
        if forgets {
            self.empty = 0;
            let remap = self.keys.retain(|key| self.stages[key as usize] != Stage::New)?;
            remap.apply(&mut self.stages);
            self.stages.resize(self.keys.len(), Stage::New);
            self.expiry.remap(&remap);
        }
        let waiting = (0u32..).zip(&self.stages).filter_map(|(key, stage)| match stage {
            Stage::Waiting { time, row } => Some(Reverse((*time, *row, key))),
            _ => None,
        });
        self.queue = waiting.collect();
        Ok(())
    }

    /// A column that says when keys were written; `None` where nothing expires.
    fn written(&self, keys: impl Iterator<Item = u32>) -> Option<ArrayRef> {
        let written = || Int64Array::from_iter_values(keys.map(|key| self.expiry.written(key)));
        self.expiry.is_on().then(|| Arc::new(written()) as ArrayRef)
    }
}

impl Operator for First {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("a deduplication of changing rows"));
        }
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.expire(time.processing_time);
        for batch in std::mem::take(&mut self.pending) {
            match self.plan.keep {
                Keep::FirstByRowtime(column) => {
                    let accepted = self.keep(&batch.rows, column, batch.watermarks.as_ref())?;
                    self.touch(time.processing_time, |row| accepted.binary_search(&(row as u32)).is_ok());
                }
                _ => self.pass(&batch, time.processing_time, out)?,
            }
        }
        self.fire(time.watermark.0, out)?;
        self.tidy()
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let mut waiting = Vec::new();
        for rows in self.store.freeze()? {
            self.intern(&self.plan.key_columns(&rows), rows.num_rows())?;
            let written = self.written(self.ids.iter().copied());
            waiting.push(with_columns(rows, written.map(|w| (WRITTEN, w)))?);
        }
        let done = (0u32..).zip(&self.stages).filter(|(_, s)| **s == Stage::Done).map(|(key, _)| key);
        let done: Vec<u32> = done.collect();
        let schema = Arc::new(self.plan.input.project(&self.plan.partition)?);
        let mut rows = Vec::new();
        for keys in done.chunks(BATCH_ROWS) {
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(keys.len()));
            let frozen = RecordBatch::try_new_with_options(Arc::clone(&schema), self.keys.take(keys)?, &options)?;
            rows.push(with_columns(frozen, self.written(keys.iter().copied()).map(|w| (WRITTEN, w)))?);
        }
        let keys: Vec<usize> = (0..self.plan.partition.len()).collect();
        Ok(vec![
            StateTable { name: "waiting".into(), placement: placement(&self.plan.partition), rows: waiting },
            StateTable { name: "done".into(), placement: placement(&keys), rows },
        ])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for StateTable { name, rows, .. } in tables {
            for rows in rows {
                let more = match (name.as_ref(), self.plan.keep) {
                    ("waiting", Keep::FirstByRowtime(column)) => {
                        let (own, more) = split_columns(&rows, self.plan.input.fields().len())?;
                        self.keep(&own, column, None)?;
                        more
                    }
                    ("done", _) => {
                        let (own, more) = split_columns(&rows, self.plan.partition.len())?;
                        self.intern(own.columns(), own.num_rows())?;
                        self.ids.iter().for_each(|key| self.stages[*key as usize] = Stage::Done);
                        more
                    }
                    (other, _) => return Err(Error::internal(format!("a deduplication has no state '{other}'"))),
                };
                if let Some(written) = more.first() {
                    touch_restored(&mut self.expiry, &self.ids, written.as_primitive_opt::<Int64Type>());
                }
            }
        }
        Ok(())
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        let own = self.stages.capacity() * size_of::<Stage>() + self.queue.capacity() * 16;
        let state_bytes = (self.keys.bytes() + self.store.bytes() + self.expiry.bytes() + own) as u64;
        OperatorStats { state_rows: self.keys.len() as u64, state_bytes, late_rows: self.late.count() }
    }
}
