//! Deduplication: of each key the first or the last row, by rowtime or by arrival, over rows that only come.
//!
//! The `first` row by rowtime goes out when the watermark reaches it, as a row that only comes; rows behind the watermark are
//! late. The first to arrive goes out at once. The `last` row goes out at once and is updated; a row that is late is as good
//! as any other.

mod first;
mod last;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::{Operator, OperatorFactory};
use crate::change::rowtime_millis;
use crate::{Error, Result};

/// Which row of each key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The one with the least rowtime, which the column holds; of several the first to arrive.
    FirstByRowtime(usize),
    /// The one with the greatest rowtime, which the column holds; of several the last to arrive.
    LastByRowtime(usize),
    /// The first to arrive.
    FirstArrived,
    /// The last to arrive.
    LastArrived,
}

impl Keep {
    /// Whether it is the first row: then rows only come.
    pub fn is_first(self) -> bool {
        matches!(self, Keep::FirstByRowtime(_) | Keep::FirstArrived)
    }
}

/// Keeps one row of each key.
#[derive(Debug, Clone)]
pub struct Deduplicate {
    /// The columns whose values are the keys.
    pub partition: Vec<usize>,
    /// Which row is kept.
    pub keep: Keep,
    /// The input's schema.
    pub input: SchemaRef,
    /// The result's schema: the first of the input's columns.
    pub schema: SchemaRef,
    /// How long a key is kept that brings no row, in milliseconds of processing time.
    pub ttl: Option<i64>,
}

impl Deduplicate {
    fn key_columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.partition.iter().map(|c| Arc::clone(rows.column(*c))).collect()
    }

    /// Some rows less the columns that do not go on.
    fn output(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns()[..self.schema.fields().len()].to_vec();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// The rowtimes of some rows, in milliseconds.
    fn times(&self, rows: &RecordBatch, column: usize) -> Result<Int64Array> {
        let times = rowtime_millis(rows.column(column))?;
        match times.null_count() {
            0 => Ok(times),
            _ => {
                let name = self.input.field(column).name();
                Err(Error::Execution(format!("the time attribute '{name}' of a deduplication is NULL in a row")))
            }
        }
    }
}

impl OperatorFactory for Deduplicate {
    fn build(&self) -> Result<Box<dyn Operator>> {
        match self.keep.is_first() {
            true => Ok(Box::new(first::First::try_new(self.clone())?)),
            false => Ok(Box::new(last::Last::try_new(self.clone())?)),
        }
    }

    fn name(&self) -> &'static str {
        "Deduplicate"
    }

    fn works_by_key(&self) -> bool {
        !matches!(self.keep, Keep::FirstByRowtime(_))
    }

    fn state_ttl(&self) -> Option<i64> {
        self.ttl
    }
}
