//! Keys of any types.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;

use super::super::remap::GONE;
use super::super::{Remap, RowStore, row_store};
use super::{Index, PART};
use crate::{Error, Result};

/// DataFusion's `GroupValues` finds the numbers; the values themselves are kept beside it in columns that can be read, as it
/// only gives its own away.
pub(super) struct GeneralKeys {
    schema: SchemaRef,
    values: Box<dyn GroupValues>,
    rows: Box<dyn RowStore>,
    /// Kept between calls for its memory.
    groups: Vec<usize>,
}

impl GeneralKeys {
    pub fn try_new(schema: SchemaRef) -> Result<Self> {
        let values = new_group_values(schema.clone(), &GroupOrdering::None)?;
        Ok(Self { values, rows: row_store(schema.clone()), schema, groups: Vec::new() })
    }
}

impl Index for GeneralKeys {
    fn intern(&mut self, columns: &[ArrayRef], _rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        let before = self.values.len();
        self.values.intern(columns, &mut self.groups)?;
        ids.extend(self.groups.iter().map(|g| *g as u32));
        let fresh = self.values.len() - before;
        if fresh > 0 {
            let first = UInt32Array::from(first_rows(&self.groups, before, fresh)?);
            let columns = columns.iter().map(|c| Ok(take(c, &first, None)?)).collect::<Result<Vec<_>>>()?;
            self.rows.append(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.rows.ids() as usize
    }

    fn take(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        self.rows.take_columns(&columns, ids)
    }

    fn retain(&mut self, kept: &[u32]) -> Result<Remap> {
        let mut new = vec![GONE; self.len()];
        let mut fewer = Self::try_new(self.schema.clone())?;
        let mut ids = Vec::new();
        for part in kept.chunks(PART) {
            ids.clear();
            fewer.intern(&self.take(part)?, part.len(), &mut ids)?;
            part.iter().zip(&ids).for_each(|(old, id)| new[*old as usize] = *id);
        }
        *self = fewer;
        Ok(Remap::new(new))
    }

    fn bytes(&self) -> usize {
        self.values.size() + self.rows.bytes()
    }
}

/// For each of the groups from `before` on the first row of it.
fn first_rows(groups: &[usize], before: usize, fresh: usize) -> Result<Vec<u32>> {
    let mut first = vec![GONE; fresh];
    let mut missing = fresh;
    for (row, group) in (0u32..).zip(groups) {
        if let Some(slot) = group.checked_sub(before)
            && first[slot] == GONE
        {
            first[slot] = row;
            missing -= 1;
            if missing == 0 {
                return Ok(first);
            }
        }
    }
    Err(Error::internal("a new key without a row"))
}
