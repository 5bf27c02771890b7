//! Top-N over rows that only come.

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::Int64Type;

use super::TopN;
use super::frozen::{WRITTEN, split_columns, touch_restored, with_columns};
use super::places::{Changes, Partitions};
use super::sorted::{Entry, Sorted};
use crate::change::{ChangeBatch, take_rows};
use crate::operator::{Operator, OperatorStats, StepTime};
use crate::state::{Remap, RowStore, StateTable, row_store};
use crate::{Error, Result};

/// Keeps of each partition the rows up to the last place that is asked for.
pub(super) struct Append {
    plan: TopN,
    partitions: Partitions,
    rows: Box<dyn RowStore>,
    /// The step's batches.
    pending: Vec<RecordBatch>,
    /// Kept between calls for their memory.
    ids: Vec<u32>,
    accepted: Vec<u32>,
    displaced: Vec<u32>,
    /// How many rows have come.
    arrived: u64,
}

impl Append {
    pub fn try_new(plan: TopN) -> Result<Self> {
        Ok(Self {
            partitions: Partitions::try_new(&plan)?,
            rows: row_store(plan.input.clone()),
            plan,
            pending: Vec::new(),
            ids: Vec::new(),
            accepted: Vec::new(),
            displaced: Vec::new(),
            arrived: 0,
        })
    }

    /// Takes in rows, and gives the partition of each; with `touching` partitions are noted as changed by this step.
    pub fn add(&mut self, rows: &RecordBatch, touching: bool) -> Result<&[u32]> {
        let Self { plan, partitions, rows: store, ids, accepted, displaced, arrived, .. } = self;
        partitions.intern(plan, rows, ids)?;
        let mut encoded = partitions.order.encoder.encode(rows)?;
        if plan.by_content {
            encoded = encoded.with_ties(rows)?;
        } else if plan.latest_first {
            encoded = encoded.latest_first(*arrived);
            *arrived += rows.num_rows() as u64;
        }
        accepted.clear();
        displaced.clear();
        let capacity = usize::try_from(plan.range.1).unwrap_or(usize::MAX);
        let mut next = store.ids();
        for (row, partition) in ids.iter().enumerate() {
            let list = &partitions.lists[*partition as usize];
            let full = list.len() >= capacity;
            if full && list.last().is_none_or(|last| !partitions.order.is_before(&encoded, row, last)) {
                continue;
            }
            if touching {
                partitions.touch(*partition, plan, |_| 1);
            }
            partitions.order.push(&encoded, row);
            let list = &mut partitions.lists[*partition as usize];
            if full {
                displaced.extend(list.pop().map(|last| last.row));
            }
            list.insert(Entry { head: encoded.heads[row], row: next, times: 1 }, &partitions.order);
            accepted.push(row as u32);
            next += 1;
        }
        if accepted.len() == rows.num_rows() {
            store.append(rows)?;
        } else if !accepted.is_empty() {
            store.append(&take_rows(rows, &UInt32Array::from(accepted.clone()))?)?;
        }
        displaced.iter().for_each(|row| store.remove(*row));
        Ok(ids)
    }

    /// Lets out what stands at the places of some partitions, and forgets them.
    pub fn release(&mut self, partitions: &[u32], out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut changes = Changes::default();
        let lists = self.partitions.release(partitions);
        lists.iter().for_each(|list| changes.all(list, &self.plan));
        changes.emit(&self.plan, self.rows.as_ref(), out)?;
        lists.iter().flat_map(Sorted::iter).for_each(|entry| self.rows.remove(entry.row));
        Ok(())
    }

    /// Gives back what dropped rows and partitions took, once that is much.
    pub fn tidy(&mut self) -> Result<Option<Remap>> {
        if self.rows.wants_compaction() {
            let remap = self.rows.compact()?;
            self.partitions.remap_rows(&remap);
        }
        self.partitions.tidy()
    }
}

impl Operator for Append {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("a Top-N for appended rows over changing input"));
        }
        if batch.num_rows() > 0 {
            self.pending.push(batch.rows);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for list in self.partitions.expire(time.processing_time) {
            list.iter().for_each(|entry| self.rows.remove(entry.row));
        }
        for rows in std::mem::take(&mut self.pending) {
            self.add(&rows, true)?;
        }
        let changes = self.partitions.changes(&self.plan, |_| 1, time.processing_time);
        changes.emit(&self.plan, self.rows.as_ref(), out)?;
        self.tidy()?;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let rows = self.rows.freeze()?.into_iter().map(|rows| {
            let written = self.partitions.written(&self.plan, &rows)?;
            with_columns(rows, written.map(|w| (WRITTEN, w)))
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        Ok(vec![StateTable { name: "rows".into(), placement: self.plan.placement(), rows }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for rows in tables.into_iter().flat_map(|t| t.rows) {
            let (own, more) = split_columns(&rows, self.plan.input.fields().len())?;
            self.add(&own, false)?;
            if let Some(written) = more.first() {
                touch_restored(&mut self.partitions.expiry, &self.ids, written.as_primitive_opt::<Int64Type>());
            }
        }
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        let state_bytes = self.partitions.bytes() + self.rows.bytes();
        OperatorStats { state_rows: self.rows.len() as u64, state_bytes: state_bytes as u64, late_rows: 0 }
    }
}
