//! Top-N over rows that come and go.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{Int64Type, UInt32Type};

use super::TopN;
use super::frozen::{WEIGHT, WRITTEN, split_columns, touch_restored, with_columns};
use super::places::Partitions;
use super::sorted::Entry;
use crate::change::ChangeBatch;
use crate::operator::{Operator, OperatorStats, StepTime};
use crate::state::{GONE, Multiset, StateTable};
use crate::{Error, Result};

/// Keeps all rows of each partition in order.
pub(super) struct Changing {
    plan: TopN,
    partitions: Partitions,
    rows: Multiset,
    /// By entry of `rows`: whether it stands in its partition's list.
    listed: Vec<bool>,
    /// The step's batches.
    pending: Vec<ChangeBatch>,
    /// Kept between calls for their memory.
    ids: Vec<u32>,
    entries: Vec<u32>,
}

impl Changing {
    pub fn try_new(plan: TopN) -> Result<Self> {
        let rows = Multiset::new(plan.input.clone());
        Ok(Self {
            partitions: Partitions::try_new(&plan)?,
            rows: if plan.ttl.is_some() { rows.lenient() } else { rows },
            plan,
            listed: Vec::new(),
            pending: Vec::new(),
            ids: Vec::new(),
            entries: Vec::new(),
        })
    }

    fn change(&mut self, batch: &ChangeBatch) -> Result<()> {
        self.partitions.intern(&self.plan, &batch.rows, &mut self.ids)?;
        for partition in &self.ids {
            self.partitions.touch(*partition, &self.plan, |entry| self.rows.weight(entry));
        }
        self.rows.change(&batch.rows, batch.kinds.as_ref(), &mut self.entries)?;
        self.list(&batch.rows)
    }

    /// Notes all new entries, also those of rows that were to be taken away and never came.
    fn note_new(&mut self) -> Result<()> {
        let order = &mut self.partitions.order;
        let new: Vec<u32> = (self.listed.len() as u32..self.rows.entries()).collect();
        let encoded = order.encoder.encode(&self.rows.rows().take(&new)?)?;
        for (row, entry) in new.into_iter().enumerate() {
            self.listed.push(false);
            order.push(&encoded, row);
            order.push_tie(self.rows.hash(entry));
        }
        Ok(())
    }

    /// Brings the lists in line with the multiset for the entries that a batch changed.
    fn list(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.entries.contains(&GONE) {
            self.note_new()?;
        }
        let encoded = self.partitions.order.encoder.encode(rows)?;
        let Partitions { order, lists, .. } = &mut self.partitions;
        for (row, (entry, partition)) in self.entries.iter().zip(&self.ids).enumerate() {
            if *entry == GONE {
                continue;
            }
            // New entries are numbered in the order of their first rows.
            if *entry as usize == self.listed.len() {
                self.listed.push(false);
                order.push(&encoded, row);
                order.push_tie(self.rows.hash(*entry));
            }
            let present = self.rows.weight(*entry) > 0;
            if std::mem::replace(&mut self.listed[*entry as usize], present) == present {
                continue;
            }
            let list = &mut lists[*partition as usize];
            let entry = Entry { head: encoded.heads[row], row: *entry, times: 1 };
            match present {
                true => list.insert(entry, order),
                false => list.remove(&entry, order),
            }
        }
        Ok(())
    }
}

impl Operator for Changing {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for list in self.partitions.expire(time.processing_time) {
            for entry in list.iter() {
                self.rows.clear_entry(entry.row);
                self.listed[entry.row as usize] = false;
            }
        }
        for batch in std::mem::take(&mut self.pending) {
            self.change(&batch)?;
        }
        let changes = self.partitions.changes(&self.plan, |entry| self.rows.weight(entry), time.processing_time);
        changes.emit(&self.plan, self.rows.rows(), out)?;
        if self.rows.wants_compaction() {
            let remap = self.rows.compact()?;
            remap.apply(&mut self.listed);
            self.partitions.remap_rows(&remap);
        }
        self.partitions.tidy()?;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let (chunks, weights) = self.rows.freeze()?;
        let mut weights = weights.as_slice();
        let mut rows = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let (own, others) = weights.split_at(chunk.num_rows().min(weights.len()));
            weights = others;
            let written = self.partitions.written(&self.plan, &chunk)?;
            let weight: ArrayRef = Arc::new(UInt32Array::from(own.to_vec()));
            let more = std::iter::once((WEIGHT, weight)).chain(written.map(|w| (WRITTEN, w)));
            rows.push(with_columns(chunk, more)?);
        }
        Ok(vec![StateTable { name: "rows".into(), placement: self.plan.placement(), rows }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for rows in tables.into_iter().flat_map(|t| t.rows) {
            let (own, more) = split_columns(&rows, self.plan.input.fields().len())?;
            let weights = more.first().and_then(|w| w.as_primitive_opt::<UInt32Type>());
            let weights = weights.ok_or_else(|| Error::internal("rows of a Top-N without weights"))?;
            self.partitions.intern(&self.plan, &own, &mut self.ids)?;
            self.rows.add(&own, weights.values(), &mut self.entries)?;
            self.list(&own)?;
            if let Some(written) = more.get(1) {
                touch_restored(&mut self.partitions.expiry, &self.ids, written.as_primitive_opt::<Int64Type>());
            }
        }
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        let state_bytes = self.partitions.bytes() + self.rows.bytes() + self.listed.capacity();
        OperatorStats { state_rows: self.rows.len() as u64, state_bytes: state_bytes as u64, late_rows: 0 }
    }
}
