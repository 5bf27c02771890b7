//! Whole changes from keyed rows: what a key held before is kept, and taken away when another row takes its place.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::{ChangeBatch, RowKind, take_rows};
use crate::state::{Expiry, GONE, Keys, Placement, RowStore, StateTable, row_store};
use crate::{Error, Result};

/// From how many keys on it is looked whether most of them have no row any more.
const TIDY_FROM: usize = 4096;
/// How many rows of state are handed out in one batch.
const BATCH_ROWS: usize = 8192;

/// Keeps the last row of each key. A row that comes (`+I`, `+U`) takes the place of its key's last one, a row that goes
/// (`-U`, `-D`) takes that away, and of it only the key is looked at. What comes out is whole: `+I`, `-U +U`, `-D`; a row
/// that is as the one before, and one that goes and was not there, give nothing.
///
/// With a time-to-live an equal row is given again, as `-U +U`, so that what stands behind keeps it as long.
#[derive(Debug, Clone)]
pub struct ChangelogNormalize {
    schema: SchemaRef,
    key: Vec<usize>,
    /// The columns that are no key.
    values: Vec<usize>,
    state_ttl: Option<i64>,
    each_change: bool,
}

impl ChangelogNormalize {
    /// For rows of `schema`, keyed by the columns `key`, which an exchange in front has brought together. `state_ttl` is in
    /// milliseconds. With `each_change` every change comes out, with the watermark that it came at; else the net change of
    /// a key in a step.
    pub fn new(schema: SchemaRef, key: Vec<usize>, state_ttl: Option<i64>, each_change: bool) -> Self {
        let mut values: Vec<usize> = (0..schema.fields().len()).filter(|c| !key.contains(c)).collect();
        if values.is_empty() {
            values = key.clone();
        }
        Self { schema, key, values, state_ttl, each_change }
    }
}

impl OperatorFactory for ChangelogNormalize {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Normalize {
            keys: Keys::try_new(Arc::new(self.schema.project(&self.key)?))?,
            rows: row_store(Arc::new(self.schema.project(&self.values)?)),
            current: Vec::new(),
            expiry: Expiry::new(self.state_ttl),
            pending: Vec::new(),
            places: Vec::new(),
            plan: self.clone(),
        }))
    }

    fn name(&self) -> &'static str {
        "ChangelogNormalize"
    }

    fn works_by_key(&self) -> bool {
        true
    }

    fn state_ttl(&self) -> Option<i64> {
        self.state_ttl
    }
}

struct Normalize {
    plan: ChangelogNormalize,
    keys: Keys,
    /// The value columns of each key's row.
    rows: Box<dyn RowStore>,
    /// By key the number of its row; [`GONE`] where there is none.
    current: Vec<u32>,
    /// Of keys.
    expiry: Expiry,
    /// The step's batches.
    pending: Vec<ChangeBatch>,
    /// By key its place among the step's moves; [`GONE`] between two steps.
    places: Vec<u32>,
}

/// What becomes of a key.
struct Move {
    key: u32,
    /// The row of the step that does it.
    at: u32,
    /// Whether that row comes rather than goes.
    comes: bool,
}

/// What was a key's row, and what is: numbers in the store, or [`GONE`].
struct Change {
    key: u32,
    at: u32,
    before: u32,
    after: u32,
}

impl Operator for Normalize {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for key in self.expiry.expired(time.processing_time) {
            let row = std::mem::replace(&mut self.current[key as usize], GONE);
            if row != GONE {
                self.rows.remove(row);
            }
        }
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            let step = ChangeBatch::concat(pending)?;
            let moves = self.moves(&step)?;
            let changes = self.apply(&step, &moves, time.processing_time)?;
            self.emit(&step, &changes, out)?;
        }
        self.tidy()
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let live: Vec<u32> = (0u32..).zip(&self.current).filter(|(_, row)| **row != GONE).map(|(key, _)| key).collect();
        let rows = live.chunks(BATCH_ROWS).map(|keys| self.freeze(keys)).collect::<Result<Vec<_>>>()?;
        Ok(vec![StateTable { name: "rows".into(), placement: Placement::Key(self.plan.key.clone()), rows }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        tables.iter().flat_map(|t| &t.rows).try_for_each(|rows| self.thaw(rows))
    }

    fn stats(&self) -> OperatorStats {
        let vectors = (self.current.capacity() + self.places.capacity()) * 4;
        let bytes = self.keys.bytes() + self.rows.bytes() + self.expiry.bytes() + vectors;
        OperatorStats { state_rows: self.rows.len() as u64, state_bytes: bytes as u64, late_rows: 0 }
    }
}

impl Normalize {
    /// Numbers the keys of some rows.
    fn intern(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let columns: Vec<ArrayRef> = self.plan.key.iter().map(|c| Arc::clone(rows.column(*c))).collect();
        let mut keys = Vec::new();
        self.keys.intern(&columns, rows.num_rows(), &mut keys)?;
        self.current.resize(self.keys.len(), GONE);
        self.places.resize(self.keys.len(), GONE);
        Ok(keys)
    }

    /// The last move of each key of the step, in the order of their first; or all moves.
    fn moves(&mut self, step: &ChangeBatch) -> Result<Vec<Move>> {
        let keys = self.intern(&step.rows)?;
        let mut moves: Vec<Move> = Vec::new();
        for (at, key) in (0u32..).zip(keys) {
            let comes = step.kind(at as usize).is_addition();
            let this = Move { key, at, comes };
            let place = &mut self.places[key as usize];
            match moves.get_mut(*place as usize) {
                Some(known) if !self.plan.each_change => *known = this,
                _ => {
                    *place = moves.len() as u32;
                    moves.push(this);
                }
            }
        }
        moves.iter().for_each(|m| self.places[m.key as usize] = GONE);
        Ok(moves)
    }

    /// Brings the state up to date; gives what really changes.
    fn apply(&mut self, step: &ChangeBatch, moves: &[Move], now: i64) -> Result<Vec<Change>> {
        let come: UInt32Array = moves.iter().filter(|m| m.comes).map(|m| m.at).collect();
        let fresh = take_rows(&step.rows.project(&self.plan.values)?, &come)?;
        let first = self.rows.append(&fresh)?;
        let mut next = first;
        let mut changes = Vec::with_capacity(moves.len());
        for Move { key, at, comes } in moves {
            let after = if *comes { next } else { GONE };
            next += u32::from(*comes);
            let before = std::mem::replace(&mut self.current[*key as usize], after);
            changes.push(Change { key: *key, at: *at, before, after });
        }
        if self.expiry.is_on() {
            let written: Vec<u32> = moves.iter().filter(|m| m.comes).map(|m| m.key).collect();
            self.expiry.touch(&written, now);
        } else {
            self.drop_equal(&fresh, first, &mut changes)?;
        }
        changes.retain(|c| c.before != GONE || c.after != GONE);
        Ok(changes)
    }

    /// Drops changes of a row to an equal one: the old one stays where no other has taken it away.
    fn drop_equal(&mut self, fresh: &RecordBatch, first: u32, changes: &mut Vec<Change>) -> Result<()> {
        let updates: Vec<&Change> = changes.iter().filter(|c| c.before != GONE && c.after != GONE).collect();
        if updates.is_empty() {
            return Ok(());
        }
        let before: Vec<u32> = updates.iter().map(|c| c.before).collect();
        let after: Vec<u32> = updates.iter().map(|c| c.after - first).collect();
        let mut equal = self.rows.equal(&before, fresh, &after)?.into_iter();
        changes.retain(|c| {
            let same = c.before != GONE && c.after != GONE && equal.next().unwrap_or(false);
            if same {
                self.rows.remove(c.before);
            }
            !same
        });
        Ok(())
    }

    fn emit(&mut self, step: &ChangeBatch, changes: &[Change], out: &mut Vec<ChangeBatch>) -> Result<()> {
        let (mut keys, mut rows, mut kinds, mut at) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            let is_update = change.before != GONE && change.after != GONE;
            let (goes, comes) = match is_update {
                true => (RowKind::UpdateBefore, RowKind::UpdateAfter),
                false => (RowKind::Delete, RowKind::Insert),
            };
            for (row, kind) in [(change.before, goes), (change.after, comes)] {
                if row != GONE {
                    keys.push(change.key);
                    rows.push(row);
                    kinds.push(kind);
                    at.push(change.at);
                }
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let watermarks = match (&step.watermarks, self.plan.each_change) {
            (Some(marks), true) => Some(at.iter().map(|row| marks.value(*row as usize)).collect()),
            _ => None,
        };
        out.push(ChangeBatch { rows: self.take(&keys, &rows)?, kinds: Some(kinds.into()), watermarks });
        changes.iter().filter(|c| c.before != GONE).for_each(|c| self.rows.remove(c.before));
        Ok(())
    }

    /// Whole rows, by their keys and their numbers.
    fn take(&self, keys: &[u32], rows: &[u32]) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(Arc::clone(&self.plan.schema), self.columns(keys, rows)?)?)
    }

    fn columns(&self, keys: &[u32], rows: &[u32]) -> Result<Vec<ArrayRef>> {
        let (keys, values) = (self.keys.take(keys)?, self.rows.take(rows)?);
        let column = |c: usize| match self.plan.key.iter().position(|k| *k == c) {
            Some(i) => keys.get(i),
            None => self.plan.values.iter().position(|v| *v == c).and_then(|i| values.columns().get(i)),
        };
        let columns = (0..self.plan.schema.fields().len()).map(|c| column(c).cloned());
        columns.collect::<Option<_>>().ok_or_else(|| Error::internal("a column that is neither key nor value"))
    }

    /// The rows of some keys, and where they expire, when they were written.
    fn freeze(&self, keys: &[u32]) -> Result<RecordBatch> {
        let rows: Vec<u32> = keys.iter().map(|k| self.current[*k as usize]).collect();
        let mut fields = self.plan.schema.fields().to_vec();
        let mut columns = self.columns(keys, &rows)?;
        if self.expiry.is_on() {
            fields.push(Arc::new(Field::new("written", DataType::Int64, false)));
            columns.push(Arc::new(keys.iter().map(|k| self.expiry.written(*k)).collect::<Int64Array>()));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    fn thaw(&mut self, rows: &RecordBatch) -> Result<()> {
        let width = self.plan.schema.fields().len();
        if rows.num_columns() != width + usize::from(self.expiry.is_on()) {
            return Err(Error::internal("the state of another ChangelogNormalize"));
        }
        let keys = self.intern(rows)?;
        let first = self.rows.append(&rows.project(&self.plan.values)?)?;
        for (key, row) in keys.iter().zip(first..) {
            self.current[*key as usize] = row;
        }
        if self.expiry.is_on() {
            let Some(written) = rows.column(width).as_primitive_opt::<Int64Type>() else {
                return Err(Error::internal("times of another type than were handed out"));
            };
            keys.iter().zip(written.values()).for_each(|(key, at)| self.expiry.touch(&[*key], *at));
        }
        Ok(())
    }

    /// Gives back the room of what has gone, once that is most.
    fn tidy(&mut self) -> Result<()> {
        if self.rows.wants_compaction() {
            let moved = self.rows.compact()?;
            self.current.iter_mut().for_each(|row| *row = moved.get(*row).unwrap_or(GONE));
        }
        if self.keys.len() >= TIDY_FROM && self.rows.len() < self.keys.len() / 2 {
            let moved = self.keys.retain(|key| self.current[key as usize] != GONE)?;
            moved.apply(&mut self.current);
            self.expiry.remap(&moved);
            self.places.truncate(self.current.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
