//! Snapshots: a row for each group, and what accumulators hold beside.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{filter_record_batch, kernels::cmp::eq};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};

use super::GroupAggregate;
use super::accumulate::Part;
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// A row for each group: its key, how many rows it has, when it was written (of no meaning without a TTL), and each
/// accumulator's columns.
const GROUPS: &str = "groups";
/// What accumulators hold any number of for a group: its key, the number of the part, and the columns of all parts, of which
/// those of the row's own part are set.
const ENTRIES: &str = "entries";
/// How many groups are handed out in one batch.
const CHUNK: usize = 1 << 20;

impl GroupAggregate {
    pub(super) fn save(&mut self) -> Result<Vec<StateTable>> {
        let parts = self.parts();
        let groups_schema =
            self.state_schema(&[("rows", DataType::UInt32), ("written", DataType::Int64)], &parts, false);
        let entries_schema = self.state_schema(&[("part", DataType::UInt32)], &parts, true);
        let (mut groups, mut entries) = (Vec::new(), Vec::new());
        let live: Vec<u32> = (0u32..).zip(&self.rows).filter(|(_, n)| **n > 0).map(|(g, _)| g).collect();
        for chunk in live.chunks(CHUNK) {
            let mut columns = self.keys.take(chunk)?;
            columns.push(Arc::new(UInt32Array::from_iter_values(chunk.iter().map(|g| self.rows[*g as usize]))));
            columns.push(Arc::new(Int64Array::from_iter_values(chunk.iter().map(|g| self.expiry.written(*g)))));
            let mut number = 0;
            for accumulator in &mut self.layout.accumulators {
                for saved in accumulator.save(chunk)? {
                    match saved.groups {
                        None => columns.extend(saved.columns),
                        Some(of) if of.is_empty() => {}
                        Some(of) => {
                            let keys = self.keys.take(&of)?;
                            entries.push(entry_rows(&entries_schema, keys, (number, &parts), of.len(), saved.columns)?);
                        }
                    }
                    number += 1;
                }
            }
            groups.push(RecordBatch::try_new(Arc::clone(&groups_schema), columns)?);
        }
        let placement = match self.plan.keys.len() {
            0 => Placement::First,
            keys => Placement::Key((0..keys).collect()),
        };
        let table = |name: &'static str, rows| StateTable { name: name.into(), placement: placement.clone(), rows };
        let mut tables = vec![table(GROUPS, groups)];
        if parts.iter().any(|p| p.many) {
            tables.push(table(ENTRIES, entries));
        }
        Ok(tables)
    }

    /// The parts of all accumulators, one after another.
    fn parts(&self) -> Vec<Part> {
        self.layout.accumulators.iter().flat_map(|a| a.parts()).collect()
    }

    fn state_schema(&self, own: &[(&str, DataType)], parts: &[Part], many: bool) -> SchemaRef {
        let keys = self.plan.keys.iter().enumerate();
        let keys = keys.map(|(i, k)| Field::new(format!("k{i}"), self.plan.input.field(*k).data_type().clone(), true));
        let own = own.iter().map(|(name, t)| Field::new(*name, t.clone(), false));
        let parts = parts.iter().enumerate().filter(|(_, p)| p.many == many);
        let parts = parts.flat_map(|(p, part)| {
            let named = part.types.iter().enumerate();
            named.map(move |(i, t)| Field::new(format!("p{p}_{i}"), t.clone(), true)).collect::<Vec<_>>()
        });
        Arc::new(Schema::new(keys.chain(own).chain(parts).collect::<Vec<_>>()))
    }

    pub(super) fn load(&mut self, table: &StateTable) -> Result<()> {
        for rows in table.rows.iter().filter(|r| r.num_rows() > 0) {
            match table.name.as_ref() {
                GROUPS => self.load_groups(rows)?,
                ENTRIES => self.load_entries(rows)?,
                other => return Err(Error::internal(format!("an aggregate has no state named '{other}'"))),
            }
        }
        Ok(())
    }

    /// Finds or makes the groups of rows of state.
    pub(super) fn groups_of(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let mut groups = Vec::new();
        let keys = rows.columns().get(..self.plan.keys.len()).ok_or_else(wrong_state)?;
        self.keys.intern(keys, rows.num_rows(), &mut groups)?;
        self.grow();
        Ok(groups)
    }

    fn load_groups(&mut self, rows: &RecordBatch) -> Result<()> {
        let groups = self.groups_of(rows)?;
        let keys = self.plan.keys.len();
        let [counts, written, columns @ ..] = &rows.columns()[keys..] else { return Err(wrong_state()) };
        let counts = counts.as_primitive_opt::<UInt32Type>().ok_or_else(wrong_state)?.values();
        let written = written.as_primitive_opt::<Int64Type>().ok_or_else(wrong_state)?.values();
        for ((group, count), at) in groups.iter().zip(counts).zip(written) {
            self.alive += usize::from(self.rows[*group as usize] == 0 && *count > 0);
            self.rows[*group as usize] = *count;
            self.expiry.touch(&[*group], *at);
        }
        let mut columns = columns;
        for accumulator in &mut self.layout.accumulators {
            for (number, part) in accumulator.parts().iter().enumerate().filter(|(_, p)| !p.many) {
                let (own, rest) = columns.split_at_checked(part.types.len()).ok_or_else(wrong_state)?;
                accumulator.load(number, &groups, own)?;
                columns = rest;
            }
        }
        Ok(())
    }

    fn load_entries(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = self.plan.keys.len();
        let mut number = 0;
        let mut column = keys + 1;
        for index in 0..self.layout.accumulators.len() {
            for (own, part) in self.layout.accumulators[index].parts().into_iter().enumerate() {
                if part.many {
                    let wanted = UInt32Array::new_scalar(number);
                    let rows =
                        filter_record_batch(rows, &eq(rows.columns().get(keys).ok_or_else(wrong_state)?, &wanted)?)?;
                    let columns = rows.columns().get(column..column + part.types.len()).ok_or_else(wrong_state)?;
                    if rows.num_rows() > 0 {
                        let groups = self.groups_of(&rows)?;
                        self.layout.accumulators[index].load(own, &groups, columns)?;
                    }
                    column += part.types.len();
                }
                number += 1;
            }
        }
        Ok(())
    }
}

/// Rows of one part, the columns of the others NULL.
fn entry_rows(
    schema: &SchemaRef,
    mut columns: Vec<ArrayRef>,
    (number, parts): (usize, &[Part]),
    rows: usize,
    own: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    columns.push(Arc::new(UInt32Array::from(vec![number as u32; rows])));
    let mut own = Some(own);
    for (index, part) in parts.iter().enumerate().filter(|(_, p)| p.many) {
        match own.take_if(|_| index == number) {
            Some(own) => columns.extend(own),
            None => columns.extend(part.types.iter().map(|t| new_null_array(t, rows))),
        }
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn wrong_state() -> Error {
    Error::internal("a state of an aggregate in other columns")
}
