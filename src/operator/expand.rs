//! GROUPING SETS, CUBE and ROLLUP: every row once for each set.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion_common::ScalarValue;

use super::{Operator, OperatorFactory};
use crate::Result;
use crate::change::ChangeBatch;

/// One grouping set.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupingSet {
    /// The key columns that the set does not group by; they become NULL.
    pub masked: Vec<usize>,
    /// The set's grouping id: a bit for each key, set where the key is masked.
    pub id: ScalarValue,
}

/// Gives every row once for each grouping set, the keys outside the set NULL, with one more column: the grouping id.
#[derive(Debug, Clone)]
pub struct Expand {
    sets: Vec<GroupingSet>,
    schema: SchemaRef,
}

impl Expand {
    /// `schema` is the input's schema, its masked keys nullable, and the grouping id.
    pub fn new(sets: Vec<GroupingSet>, schema: SchemaRef) -> Self {
        Self { sets, schema }
    }
}

impl Operator for Expand {
    fn push(&mut self, _input: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for set in &self.sets {
            let mut columns: Vec<ArrayRef> = batch.rows.columns().to_vec();
            for key in &set.masked {
                columns[*key] = new_null_array(columns[*key].data_type(), batch.num_rows());
            }
            columns.push(set.id.to_array_of_size(batch.num_rows())?);
            out.push(batch.with_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?));
        }
        Ok(())
    }
}

impl OperatorFactory for Expand {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }

    fn name(&self) -> &'static str {
        "Expand"
    }
}
