//! Keys to dense numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;

use super::remap::GONE;
use super::{Remap, RowStore, row_store};
use crate::{Error, Result};

/// The values of key columns, each combination with a number of its own, from 0 on. NULL equals NULL.
///
/// DataFusion's `GroupValues` finds the numbers; the values themselves are kept beside it in columns that can be read, as it
/// only gives its own away.
pub struct Keys {
    schema: SchemaRef,
    /// `None` without key columns: then there is one key.
    values: Option<Box<dyn GroupValues>>,
    rows: Box<dyn RowStore>,
    /// Kept between calls for its memory.
    groups: Vec<usize>,
}

impl Keys {
    /// For key columns of a schema. Without columns there is one key from the beginning, 0.
    ///
    /// # Errors
    /// When a type cannot be grouped by.
    pub fn try_new(schema: SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let values = match schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(Arc::clone(&schema), &GroupOrdering::None)?),
        };
        Ok(Self { values, rows: row_store(Arc::clone(&schema)), schema, groups: Vec::new() })
    }

    /// The number of each row's key, into `ids`; new keys get the next numbers.
    ///
    /// # Errors
    /// When the columns are not the schema's.
    pub fn intern(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.clear();
        let Some(values) = &mut self.values else {
            ids.resize(rows, 0);
            return Ok(());
        };
        let before = values.len();
        values.intern(columns, &mut self.groups)?;
        ids.extend(self.groups.iter().map(|g| *g as u32));
        let fresh = values.len() - before;
        if fresh > 0 {
            let first = UInt32Array::from(first_rows(&self.groups, before, fresh)?);
            let columns = columns.iter().map(|c| Ok(take(c, &first, None)?)).collect::<Result<Vec<_>>>()?;
            self.rows.append(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
        }
        Ok(())
    }

    /// How many keys there are: those from 0 up to this.
    pub fn len(&self) -> usize {
        if self.values.is_none() { 1 } else { self.rows.ids() as usize }
    }

    /// Whether there is no key yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key columns of some keys.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn take(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        if columns.is_empty() { Ok(Vec::new()) } else { self.rows.take_columns(&columns, ids) }
    }

    /// Drops the keys for which `live` is false and numbers the others anew. It goes through all keys: to be called when most
    /// are dead.
    ///
    /// # Errors
    /// When keys cannot be copied.
    pub fn retain(&mut self, live: impl Fn(u32) -> bool) -> Result<Remap> {
        if self.values.is_none() {
            return Ok(Remap::new(vec![0]));
        }
        let old: Vec<u32> = (0..self.rows.ids()).filter(|id| live(*id)).collect();
        let mut new = vec![GONE; self.rows.ids() as usize];
        let mut kept = Self::try_new(Arc::clone(&self.schema))?;
        let mut ids = Vec::new();
        for part in old.chunks(RETAIN_ROWS) {
            kept.intern(&self.take(part)?, part.len(), &mut ids)?;
            part.iter().zip(&ids).for_each(|(old, id)| new[*old as usize] = *id);
        }
        *self = kept;
        Ok(Remap::new(new))
    }

    /// All keys, in the order of their numbers.
    ///
    /// # Errors
    /// When keys cannot be copied.
    pub fn freeze(&self) -> Result<Vec<RecordBatch>> {
        if self.values.is_none() {
            let one = RecordBatchOptions::new().with_row_count(Some(1));
            return Ok(vec![RecordBatch::try_new_with_options(Arc::clone(&self.schema), Vec::new(), &one)?]);
        }
        self.rows.freeze()
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.values.as_ref().map_or(0, |v| v.size()) + self.rows.bytes()
    }
}

/// How many keys are moved at a time.
const RETAIN_ROWS: usize = 8192;

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
