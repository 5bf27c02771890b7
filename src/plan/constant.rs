//! Rows that the query's text holds itself: VALUES.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{ColumnarValue, Expr};

use super::compile::physical;
use crate::{Error, Result};

/// Evaluates rows of constant expressions.
pub(super) fn evaluate_rows(rows: &[Vec<Expr>], schema: &SchemaRef) -> Result<RecordBatch> {
    let empty = DFSchema::empty();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
    let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(rows.len()); schema.fields().len()];
    for row in rows {
        for (column, expr) in columns.iter_mut().zip(row) {
            column.push(match physical(expr, &empty)?.evaluate(&one)? {
                ColumnarValue::Scalar(value) => value,
                ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0)?,
            });
        }
    }
    let arrays = columns.into_iter().zip(schema.fields()).map(|(values, field)| {
        let array: ArrayRef = ScalarValue::iter_to_array(values)?;
        if array.data_type() == field.data_type() {
            return Ok(array);
        }
        Ok(arrow::compute::cast(&array, field.data_type())?)
    });
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), arrays).map_err(|e| Error::internal(format!("VALUES: {e}")))
}
