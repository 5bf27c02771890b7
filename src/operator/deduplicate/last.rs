//! The last row of each key.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::Int64Type;

use super::{Deduplicate, Keep};
use crate::change::{ChangeBatch, RowKind, take_rows};
use crate::operator::top_n::frozen::{WRITTEN, split_columns, touch_restored, with_columns};
use crate::operator::top_n::placement;
use crate::operator::{Operator, OperatorStats, StepTime};
use crate::state::{Expiry, GONE, Keys, RowStore, StateTable, row_store};
use crate::{Error, Result};

/// How many changes go out in one batch.
const BATCH_ROWS: usize = 8192;
/// With fewer keys without rows it is not worth its while to drop them.
const RETAIN_FROM: usize = 4096;

/// Keeps the last row of each key.
pub(super) struct Last {
    plan: Deduplicate,
    keys: Keys,
    /// By key: its row; [`GONE`] where it has none.
    rows: Vec<u32>,
    /// By key: its row's rowtime.
    times: Vec<i64>,
    store: Box<dyn RowStore>,
    expiry: Expiry,
    /// The step's batches.
    pending: Vec<RecordBatch>,
    /// The keys that this step changes, and their rows as it began.
    touched: Vec<(u32, u32)>,
    is_touched: Vec<bool>,
    /// Keys without rows.
    empty: usize,
    /// Kept between calls for their memory.
    ids: Vec<u32>,
    accepted: Vec<u32>,
}

impl Last {
    pub fn try_new(plan: Deduplicate) -> Result<Self> {
        Ok(Self {
            keys: Keys::try_new(Arc::new(plan.input.project(&plan.partition)?))?,
            rows: Vec::new(),
            times: Vec::new(),
            store: row_store(Arc::clone(&plan.input)),
            expiry: Expiry::new(plan.ttl),
            pending: Vec::new(),
            touched: Vec::new(),
            is_touched: Vec::new(),
            empty: 0,
            ids: Vec::new(),
            accepted: Vec::new(),
            plan,
        })
    }

    fn intern(&mut self, rows: &RecordBatch) -> Result<()> {
        self.keys.intern(&self.plan.key_columns(rows), rows.num_rows(), &mut self.ids)?;
        self.rows.resize(self.keys.len(), GONE);
        self.times.resize(self.keys.len(), i64::MIN);
        self.is_touched.resize(self.keys.len(), false);
        Ok(())
    }

    fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        self.intern(rows)?;
        let times = match self.plan.keep {
            Keep::LastByRowtime(column) => Some(self.plan.times(rows, column)?),
            _ => None,
        };
        let times = times.as_ref().map(|t| t.values().as_ref());
        let fresh = self.store.ids();
        let mut replaced = Vec::new();
        self.accepted.clear();
        for (row, key) in self.ids.iter().enumerate() {
            let key = *key as usize;
            let time = times.map_or(0, |t| t[row]);
            if time < self.times[key] {
                continue;
            }
            self.times[key] = time;
            let old = std::mem::replace(&mut self.rows[key], fresh + self.accepted.len() as u32);
            if !std::mem::replace(&mut self.is_touched[key], true) {
                self.touched.push((key as u32, old));
            }
            if old != GONE {
                replaced.push(old);
            }
            self.accepted.push(row as u32);
        }
        if self.accepted.len() == rows.num_rows() {
            self.store.append(rows)?;
        } else if !self.accepted.is_empty() {
            self.store.append(&take_rows(rows, &UInt32Array::from(self.accepted.clone()))?)?;
        }
        replaced.into_iter().for_each(|row| self.store.remove(row));
        Ok(())
    }

    /// What this step changed: one update a key.
    fn emit(&mut self, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut rows = Vec::with_capacity(self.touched.len());
        let mut kinds = Vec::with_capacity(self.touched.len());
        for (key, old) in self.touched.drain(..) {
            self.is_touched[key as usize] = false;
            if old == GONE {
                kinds.push(RowKind::Insert);
            } else {
                rows.push(old);
                kinds.extend([RowKind::UpdateBefore, RowKind::UpdateAfter]);
            }
            rows.push(self.rows[key as usize]);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let columns: Vec<usize> = (0..self.plan.schema.fields().len()).collect();
        let mut taken = RecordBatch::try_new(Arc::clone(&self.plan.schema), self.store.take_columns(&columns, &rows)?)?;
        if let Some(kept) = self.without_equal_updates(&rows, &kinds, &taken)? {
            kinds = kept.iter().map(|row| kinds[*row as usize]).collect();
            taken = take_rows(&taken, &UInt32Array::from(kept))?;
        }
        for (at, kinds) in (0..).step_by(BATCH_ROWS).zip(kinds.chunks(BATCH_ROWS)) {
            let rows = taken.slice(at, kinds.len());
            let kinds = kinds.iter().any(|k| *k != RowKind::Insert).then(|| kinds.into());
            out.push(ChangeBatch { rows, kinds, watermarks: None });
        }
        Ok(())
    }

    /// The changes but for updates that put an equal row in the place of another; `None` where there are none of these. With a
    /// time-to-live they go out all the same, to keep state alive further on.
    fn without_equal_updates(&self, rows: &[u32], kinds: &[RowKind], taken: &RecordBatch) -> Result<Option<Vec<u32>>> {
        if self.expiry.is_on() {
            return Ok(None);
        }
        let olds = (0u32..).zip(kinds).filter(|(_, kind)| **kind == RowKind::UpdateBefore);
        let (ids, news): (Vec<u32>, Vec<u32>) = olds.map(|(at, _)| (rows[at as usize], at + 1)).unzip();
        let equal = self.store.equal(&ids, taken, &news)?;
        if !equal.contains(&true) {
            return Ok(None);
        }
        let mut is_kept = vec![true; rows.len()];
        for (new, _) in news.iter().zip(equal).filter(|(_, equal)| *equal) {
            is_kept[*new as usize - 1] = false;
            is_kept[*new as usize] = false;
        }
        Ok(Some((0u32..).zip(is_kept).filter(|(_, kept)| *kept).map(|(at, _)| at).collect()))
    }

    fn expire(&mut self, now: i64) {
        for key in self.expiry.expired(now) {
            self.times[key as usize] = i64::MIN;
            self.store.remove(std::mem::replace(&mut self.rows[key as usize], GONE));
            self.empty += 1;
        }
    }

    /// Gives back what dropped rows and keys took, once that is much.
    fn tidy(&mut self) -> Result<()> {
        if self.store.wants_compaction() {
            let remap = self.store.compact()?;
            self.rows.iter_mut().for_each(|row| *row = remap.get(*row).unwrap_or(GONE));
        }
        if self.empty < RETAIN_FROM || self.empty * 2 < self.keys.len() {
            return Ok(());
        }
        self.empty = 0;
        let remap = self.keys.retain(|key| self.rows[key as usize] != GONE)?;
        remap.apply(&mut self.rows);
        remap.apply(&mut self.times);
        self.is_touched = vec![false; self.keys.len()];
        self.expiry.remap(&remap);
        Ok(())
    }
}

impl Operator for Last {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("a deduplication of changing rows"));
        }
        if batch.num_rows() > 0 {
            self.pending.push(batch.rows);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.expire(time.processing_time);
        for rows in std::mem::take(&mut self.pending) {
            self.add(&rows)?;
        }
        if self.expiry.is_on() {
            let keys: Vec<u32> = self.touched.iter().map(|(key, _)| *key).collect();
            self.expiry.touch(&keys, time.processing_time);
        }
        self.emit(out)?;
        self.tidy()
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let mut frozen = Vec::new();
        for rows in self.store.freeze()? {
            let mut more: Option<ArrayRef> = None;
            if self.expiry.is_on() {
                self.intern(&rows)?;
                let written = self.ids.iter().map(|key| self.expiry.written(*key));
                more = Some(Arc::new(Int64Array::from_iter_values(written)));
            }
            frozen.push(with_columns(rows, more.map(|w| (WRITTEN, w)))?);
        }
        Ok(vec![StateTable { name: "rows".into(), placement: placement(&self.plan.partition), rows: frozen }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for rows in tables.into_iter().flat_map(|t| t.rows) {
            let (own, more) = split_columns(&rows, self.plan.input.fields().len())?;
            self.add(&own)?;
            self.touched.drain(..).for_each(|(key, _)| self.is_touched[key as usize] = false);
            if let Some(written) = more.first() {
                touch_restored(&mut self.expiry, &self.ids, written.as_primitive_opt::<Int64Type>());
            }
        }
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        let own = self.rows.capacity() * 4 + self.times.capacity() * 8 + self.is_touched.capacity();
        let state_bytes = self.keys.bytes() + self.store.bytes() + self.expiry.bytes() + own;
        OperatorStats { state_rows: self.store.len() as u64, state_bytes: state_bytes as u64, late_rows: 0 }
    }
}
