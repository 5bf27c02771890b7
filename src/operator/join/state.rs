//! A join's state as columns, and back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};

use super::collect::number;
use super::side::{Side, Store};
use super::{Join, JoinKind};
use crate::state::{Keys, Placement, StateTable};
use crate::{Error, Result};

/// The tables of the two sides.
const NAMES: [&str; 2] = ["left", "right"];

/// What stands behind the kept columns of an entry.
struct Extras {
    /// How often the entry is there.
    weights: Vec<u64>,
    matches: Option<Vec<u64>>,
    written: Option<Vec<i64>>,
}

impl Join {
    pub(super) fn freeze(&self) -> Result<Vec<StateTable>> {
        let table = |(side, name): (&Side, &'static str)| {
            let rows = side.frozen_rows(&self.keys)?;
            let placement = match self.kind {
                JoinKind::NotIn => Placement::First,
                _ => Placement::Key(side.kept_keys.clone()),
            };
            Ok(StateTable { name: name.into(), placement, rows })
        };
        self.sides.iter().zip(NAMES).map(table).collect()
    }

    pub(super) fn thaw(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            let side = NAMES.iter().position(|name| *name == table.name);
            let side = side.ok_or_else(|| Error::internal(format!("'{}' is no state of a join", table.name)))?;
            table.rows.iter().try_for_each(|rows| self.thaw_rows(side, rows))?;
        }
        Ok(())
    }

    fn thaw_rows(&mut self, side: usize, rows: &RecordBatch) -> Result<()> {
        let (rows, extras) = self.sides[side].divided(rows)?;
        let columns: Vec<ArrayRef> = self.sides[side].kept_keys.iter().map(|k| rows.column(*k).clone()).collect();
        let matchable = self.matchable(side, &columns);
        let keys = number(&mut self.keys, &columns, rows.num_rows(), matchable.as_ref())?;
        self.note_null_key(side, &columns, &keys);
        let side = &mut self.sides[side];
        let entries = side.enter(&rows, &keys, &extras)?;
        if let (Some(matches), Some(known)) = (&mut side.matches, extras.matches) {
            entries.iter().zip(known).for_each(|(entry, count)| matches[*entry as usize] = count);
        }
        for run in runs(extras.written.as_deref().unwrap_or_default()) {
            side.expiry.touch(&entries[run.0..run.1], run.2);
        }
        Ok(())
    }
}

/// From where to where the same time stands.
fn runs(times: &[i64]) -> Vec<(usize, usize, i64)> {
    let mut runs: Vec<(usize, usize, i64)> = Vec::new();
    for (i, time) in times.iter().enumerate() {
        match runs.last_mut() {
            Some((_, end, same)) if same == time => *end = i + 1,
            _ => runs.push((i, i + 1, *time)),
        }
    }
    runs
}

impl Side {
    /// The rows that are there with what is known of each behind them: where that is nothing, the chunks as they are kept.
    fn frozen_rows(&self, keys: &Keys) -> Result<Vec<RecordBatch>> {
        if let (Store::Rows(rows), false) = (&self.store, self.has_extras()) {
            return rows.freeze();
        }
        let (chunks, entries) = self.frozen(keys)?;
        let mut rest = entries.as_slice();
        let rows = chunks.iter().map(|rows| {
            let (own, others) = rest.split_at(rows.num_rows().min(rest.len()));
            rest = others;
            extended(rows, &self.extras(own))
        });
        rows.collect()
    }

    /// Whether something is kept of entries beside their rows and how often these are there.
    fn has_extras(&self) -> bool {
        self.matches.is_some() || self.expiry.is_on()
    }

    /// The rows that are there, and their entries.
    fn frozen(&self, keys: &Keys) -> Result<(Vec<RecordBatch>, Vec<u32>)> {
        Ok(match &self.store {
            Store::Rows(rows) => (rows.freeze()?, (0..rows.ids()).filter(|id| rows.is_live(*id)).collect()),
            Store::Weighted(rows) => {
                (rows.freeze()?.0, (0..rows.entries()).filter(|entry| rows.weight(*entry) > 0).collect())
            }
            Store::Counts(counts) => {
                let live: Vec<u32> = (0..counts.by_key.len() as u32).filter(|key| counts.get(*key) > 0).collect();
                let columns = keys.take(&live)?;
                let fields = columns.iter().enumerate();
                let fields = fields.map(|(i, c)| Field::new(format!("key{i}"), c.data_type().clone(), true));
                let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                let options = RecordBatchOptions::new().with_row_count(Some(live.len()));
                (vec![RecordBatch::try_new_with_options(schema, columns, &options)?], live)
            }
        })
    }

    fn extras(&self, entries: &[u32]) -> Extras {
        let weight = |entry: &u32| match &self.store {
            Store::Rows(_) => 1,
            Store::Weighted(rows) => u64::from(rows.weight(*entry)),
            Store::Counts(counts) => counts.get(*entry),
        };
        let matches = |known: &Vec<u64>| entries.iter().map(|e| known[*e as usize]).collect();
        Extras {
            weights: entries.iter().map(weight).collect(),
            matches: self.matches.as_ref().map(matches),
            written: self.expiry.is_on().then(|| entries.iter().map(|e| self.expiry.written(*e)).collect()),
        }
    }

    /// What [`extended`] made, taken apart.
    fn divided(&self, rows: &RecordBatch) -> Result<(RecordBatch, Extras)> {
        let odd = || Error::internal("a table that is no state of this join");
        let width = self.kept.len();
        if matches!(self.store, Store::Rows(_)) && !self.has_extras() {
            let extras = Extras { weights: vec![1; rows.num_rows()], matches: None, written: None };
            return if rows.num_columns() == width { Ok((rows.clone(), extras)) } else { Err(odd()) };
        }
        let expected = width + 1 + usize::from(self.matches.is_some()) + usize::from(self.expiry.is_on());
        if rows.num_columns() != expected {
            return Err(odd());
        }
        let mut behind = rows.columns()[width..].iter();
        let mut next = || behind.next().ok_or_else(odd);
        let weights = next()?.as_primitive_opt::<UInt64Type>().ok_or_else(odd)?.values().to_vec();
        let matches = match self.matches.is_some() {
            true => Some(next()?.as_primitive_opt::<UInt64Type>().ok_or_else(odd)?.values().to_vec()),
            false => None,
        };
        let written = match self.expiry.is_on() {
            true => Some(next()?.as_primitive_opt::<Int64Type>().ok_or_else(odd)?.values().to_vec()),
            false => None,
        };
        let kept: Vec<usize> = (0..width).collect();
        Ok((rows.project(&kept)?, Extras { weights, matches, written }))
    }

    /// Puts restored rows in their places, and gives their entries.
    fn enter(&mut self, rows: &RecordBatch, keys: &[u32], extras: &Extras) -> Result<Vec<u32>> {
        let entries = match &mut self.store {
            Store::Rows(store) => {
                let first = store.append(rows)?;
                (first..first + rows.num_rows() as u32).collect::<Vec<_>>()
            }
            Store::Weighted(store) => {
                let mut entries = Vec::new();
                let narrow = |w: &u64| u32::try_from(*w).map_err(|_| Error::internal("a weight beyond its range"));
                let weights = extras.weights.iter().map(narrow).collect::<Result<Vec<u32>>>()?;
                store.add(rows, &weights, &mut entries)?;
                entries
            }
            Store::Counts(counts) => {
                for (key, weight) in keys.iter().zip(&extras.weights) {
                    counts.set(*key, counts.get(*key) + weight);
                }
                return Ok(keys.to_vec());
            }
        };
        let count = entries.iter().max().map_or(0, |last| *last as usize + 1);
        let known = self.matches.as_ref().map_or(0, Vec::len).max(self.key_of.as_ref().map_or(0, Vec::len));
        self.admit_entries(count.max(known), &entries, keys);
        self.list(&entries, keys);
        Ok(entries)
    }
}

/// The rows with what else is known of their entries behind them.
fn extended(rows: &RecordBatch, extras: &Extras) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    let schema = rows.schema();
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    let mut add = |name: &str, data_type: DataType, column: ArrayRef| {
        fields.push(Arc::new(Field::new(name, data_type, false)));
        columns.push(column);
    };
    add("__weight", DataType::UInt64, Arc::new(UInt64Array::from(extras.weights.clone())));
    if let Some(matches) = &extras.matches {
        add("__matches", DataType::UInt64, Arc::new(UInt64Array::from(matches.clone())));
    }
    if let Some(written) = &extras.written {
        add("__written", DataType::Int64, Arc::new(Int64Array::from(written.clone())));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
