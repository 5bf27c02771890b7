//! Probes to keys, and what was found for keys to answers.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};

use super::cache::CachedRows;
use crate::change::take_rows;
use crate::connector::lookup::Found;
use crate::operator::lookup_join::{Answer, Groups};
use crate::{Error, Result};

/// The keys of a batch of probes, each once.
pub(super) struct ProbeKeys {
    /// For each probe the number of its key; a key with a NULL has none.
    pub of: Vec<Option<u32>>,
    /// For each key the first probe that has it.
    pub first: Vec<u32>,
    /// The probes' keys as bytes.
    pub bytes: Rows,
}

impl ProbeKeys {
    pub fn of(converter: &RowConverter, columns: &[ArrayRef], probes: usize) -> Result<Self> {
        let bytes = converter.convert_columns(columns)?;
        let mut first = Vec::new();
        let mut known: HashMap<&[u8], u32> = HashMap::with_capacity(probes);
        let of = (0..probes).map(|probe| {
            if columns.iter().any(|c| c.is_null(probe)) {
                return None;
            }
            Some(*known.entry(bytes.row(probe).data()).or_insert_with(|| {
                first.push(probe as u32);
                first.len() as u32 - 1
            }))
        });
        let of = of.collect();
        drop(known);
        Ok(Self { of, first, bytes })
    }

    /// A key, as bytes.
    pub fn key(&self, number: u32) -> &[u8] {
        self.bytes.row(self.first[number as usize] as usize).data()
    }

    /// Some keys as columns.
    pub fn columns(&self, columns: &[ArrayRef], schema: &SchemaRef, numbers: &[u32]) -> Result<RecordBatch> {
        let rows: Vec<u32> = numbers.iter().map(|n| self.first[*n as usize]).collect();
        let all = RecordBatch::try_new(std::sync::Arc::clone(schema), columns.to_vec())?;
        take_rows(&all, &UInt32Array::from(rows))
    }
}

/// What is known for some probes' keys.
#[derive(Default)]
pub(super) struct Known {
    /// From the cache, by the keys' numbers.
    pub cached: Vec<(u32, CachedRows)>,
    /// The keys that were asked for, in the order of the request.
    pub asked: Vec<u32>,
}

/// Rows to bytes and back, of the columns that a table gives.
pub(super) struct RowBytes {
    schema: SchemaRef,
    converter: RowConverter,
}

impl RowBytes {
    /// # Errors
    /// When a column is of a type that has no such bytes.
    pub fn try_new(schema: SchemaRef) -> Result<Self> {
        let fields: Vec<SortField> = schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        if !RowConverter::supports_fields(&fields) {
            return Err(Error::Option(format!("rows of the columns {schema} cannot be kept in a cache")));
        }
        Ok(Self { schema, converter: RowConverter::new(fields)? })
    }

    /// The rows that were found for each of `keys` keys.
    pub fn by_key(&self, found: &Found, keys: usize) -> Result<Vec<CachedRows>> {
        let mut of: Vec<Vec<Box<[u8]>>> = vec![Vec::new(); keys];
        if self.schema.fields().is_empty() {
            found.keys.values().iter().for_each(|k| of[*k as usize].push(Box::default()));
        } else {
            let bytes = self.converter.convert_columns(found.rows.columns())?;
            bytes.iter().zip(found.keys.values()).for_each(|(row, k)| of[*k as usize].push(row.data().into()));
        }
        Ok(of.into_iter().map(CachedRows::from).collect())
    }

    fn rows(&self, cached: &[(u32, CachedRows)]) -> Result<RecordBatch> {
        let rows = cached.iter().map(|(_, rows)| rows.len()).sum();
        let parser = self.converter.parser();
        let columns = match self.schema.fields().is_empty() {
            true => Vec::new(),
            false => {
                let rows = cached.iter().flat_map(|(_, rows)| rows.iter()).map(|row| parser.parse(row));
                self.converter.convert_rows(rows)?
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(std::sync::Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Known {
    /// The answer to probes whose keys have the numbers `of`, of `keys` keys.
    pub fn answer(
        &self,
        of: &[Option<u32>],
        keys: usize,
        found: Option<&Found>,
        bytes: Option<&RowBytes>,
        schema: &SchemaRef,
    ) -> Result<Answer> {
        let mut numbers: Vec<Option<u32>> = Vec::new();
        let mut parts = Vec::new();
        if let Some(bytes) = bytes.filter(|_| !self.cached.is_empty()) {
            let of_rows = self.cached.iter().flat_map(|(key, rows)| std::iter::repeat_n(Some(*key), rows.len()));
            numbers.extend(of_rows);
            parts.push(bytes.rows(&self.cached)?);
        }
        if let Some(found) = found {
            numbers.extend(found.keys.values().iter().map(|k| self.asked.get(*k as usize).copied()));
            let options = RecordBatchOptions::new().with_row_count(Some(found.rows.num_rows()));
            let columns = found.rows.columns().to_vec();
            parts.push(RecordBatch::try_new_with_options(std::sync::Arc::clone(schema), columns, &options)?);
        }
        let rows = match parts.as_slice() {
            [only] => only.clone(),
            parts => concat_batches(schema, parts)?,
        };
        Ok(Answer { rows, pairs: Groups::of(&numbers, keys).pairs(of) })
    }
}
