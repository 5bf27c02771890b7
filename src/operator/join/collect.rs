//! What a step brings to a side: keys to numbers, rows to entries.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::filter;

use super::side::{NO_KEY, Side, Store};
use super::{Join, JoinKind, Role};
use crate::change::{ChangeBatch, RowKind};
use crate::state::{Keys, absent_row};
use crate::{Error, Result};

/// Which rows have no NULL in their keys; `None` when that is all.
pub(in crate::operator) fn without_nulls(keys: &[ArrayRef]) -> Option<BooleanArray> {
    let nulls = keys.iter().fold(None, |all, k| NullBuffer::union(all.as_ref(), k.logical_nulls().as_ref()));
    nulls.filter(|n| n.null_count() > 0).map(|n| BooleanArray::new(n.into_inner(), None))
}

/// The numbers of some rows' keys; [`NO_KEY`] for the rows that `matchable` leaves out.
pub(in crate::operator) fn number(
    keys: &mut Keys,
    columns: &[ArrayRef],
    rows: usize,
    matchable: Option<&BooleanArray>,
) -> Result<Vec<u32>> {
    let mut ids = Vec::with_capacity(rows);
    let Some(matchable) = matchable else {
        keys.intern(columns, rows, &mut ids)?;
        return Ok(ids);
    };
    let columns = columns.iter().map(|c| filter(c, matchable)).collect::<Result<Vec<_>, _>>()?;
    keys.intern(&columns, matchable.true_count(), &mut ids)?;
    let mut known = ids.into_iter();
    let id = |can: bool| if can { known.next().unwrap_or(NO_KEY) } else { NO_KEY };
    Ok(matchable.values().iter().map(id).collect())
}

impl Join {
    /// Takes in what was pushed to a side.
    pub(super) fn collect(&mut self, side: usize) -> Result<()> {
        for batch in std::mem::take(&mut self.pending[side]) {
            self.collect_batch(side, batch)?;
        }
        Ok(())
    }

    fn collect_batch(&mut self, side: usize, mut batch: ChangeBatch) -> Result<()> {
        let keys = |batch: &ChangeBatch, side: &Side| -> Vec<ArrayRef> {
            side.keys.iter().map(|k| batch.rows.column(*k).clone()).collect()
        };
        let mut columns = keys(&batch, &self.sides[side]);
        let mut matchable = self.matchable(side, &columns);
        if let Some(some) = matchable.take_if(|_| self.sides[side].role == Role::None) {
            batch = batch.filter(&some)?;
            columns = keys(&batch, &self.sides[side]);
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let ids = number(&mut self.keys, &columns, batch.num_rows(), matchable.as_ref())?;
        self.note_null_key(side, &columns, &ids);
        let side = &mut self.sides[side];
        let rows = batch.rows.project(&side.kept)?;
        match &mut side.store {
            Store::Rows(_) if batch.kinds.as_ref().is_some_and(|k| k.iter().any(|k| !k.is_addition())) => {
                Err(Error::internal("a row taken away from an input that is only appended to"))
            }
            Store::Rows(_) => side.append(rows, ids, self.kind),
            Store::Weighted(_) => side.change(&batch.with_rows(rows), &ids),
            Store::Counts(_) => side.count(&batch.with_rows(rows), &ids),
        }
    }

    /// The rows of a side that can match something; `None` when that is all. `NOT IN` asks for the right side's NULLs.
    pub(super) fn matchable(&self, side: usize, keys: &[ArrayRef]) -> Option<BooleanArray> {
        if self.nulls_equal || (self.kind == JoinKind::NotIn && side == 1) { None } else { without_nulls(keys) }
    }

    /// Notes which number the NULL has that `NOT IN` asks for.
    pub(super) fn note_null_key(&mut self, side: usize, keys: &[ArrayRef], ids: &[u32]) {
        if self.kind == JoinKind::NotIn && side == 1 && self.null_key.is_none() {
            let null = without_nulls(keys).and_then(|w| w.values().iter().position(|valid| !valid));
            self.null_key = null.and_then(|row| ids.get(row)).copied();
        }
    }
}

impl Side {
    fn append(&mut self, rows: RecordBatch, keys: Vec<u32>, kind: JoinKind) -> Result<()> {
        let Store::Rows(store) = &mut self.store else { return Ok(()) };
        let first = store.append(&rows)?;
        let entries = first..first + keys.len() as u32;
        if kind != JoinKind::NotIn {
            let unmatchable = entries.clone().zip(&keys).filter(|(_, key)| **key == NO_KEY);
            unmatchable.for_each(|(entry, _)| store.remove(entry));
        }
        self.delta.chunks.push((self.delta.len(), rows));
        self.delta.entries.extend(entries);
        self.admit(first, &keys);
        self.delta.keys.extend(keys);
        Ok(())
    }

    /// Notes the keys of entries from a number on.
    pub(super) fn admit(&mut self, first: u32, keys: &[u32]) {
        let end = first as usize + keys.len();
        if let Some(key_of) = &mut self.key_of {
            key_of.resize(first as usize, NO_KEY);
            key_of.extend_from_slice(keys);
        }
        if let Some(matches) = &mut self.matches {
            matches.resize(end, 0);
        }
    }

    fn change(&mut self, batch: &ChangeBatch, keys: &[u32]) -> Result<()> {
        let Store::Weighted(store) = &mut self.store else { return Ok(()) };
        let mut entries = Vec::with_capacity(batch.num_rows());
        store.change(&batch.rows, batch.kinds.as_ref(), &mut entries)?;
        let count = store.entries() as usize;
        self.admit_entries(count, &entries, keys);
        for (row, (entry, key)) in entries.iter().zip(keys).enumerate() {
            if *entry != u32::MAX {
                self.note(*entry, *key, batch.kind(row));
            }
        }
        Ok(())
    }

    /// Notes the keys of some of `count` entries.
    pub(super) fn admit_entries(&mut self, count: usize, entries: &[u32], keys: &[u32]) {
        if let Some(key_of) = &mut self.key_of {
            key_of.resize(count, NO_KEY);
            let known = entries.iter().zip(keys).filter(|(e, _)| **e != u32::MAX);
            known.for_each(|(entry, key)| key_of[*entry as usize] = *key);
        }
        if let Some(matches) = &mut self.matches {
            matches.resize(count, 0);
        }
    }

    fn count(&mut self, batch: &ChangeBatch, keys: &[u32]) -> Result<()> {
        let lenient = self.expiry.is_on();
        for (row, key) in keys.iter().enumerate() {
            let Store::Counts(counts) = &mut self.store else { return Ok(()) };
            let kind = batch.kind(row);
            let before = counts.get(*key);
            match kind.is_addition() {
                true => counts.set(*key, before + 1),
                false if before > 0 => counts.set(*key, before - 1),
                false if lenient => continue,
                false => return Err(absent_row(&batch.rows, row)),
            }
            let kind = if kind.is_addition() { RowKind::Insert } else { RowKind::Delete };
            self.note(*key, *key, kind);
        }
        Ok(())
    }
}
