//! Narrowing batches to the columns and fields that are read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, SchemaRef};

use crate::{Error, Result};

/// The columns of `projection`, by name; of a ROW column only the fields that `projection` has.
///
/// # Errors
/// When a column is missing or of another type.
pub fn project(batch: &RecordBatch, projection: &SchemaRef) -> Result<RecordBatch> {
    let columns = projection.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => narrow(column, field.data_type()),
        None => Err(Error::Execution(format!("a batch has no column '{}'", field.name()))),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(Arc::clone(projection), columns, &options)?)
}

/// An empty batch schema's worth of rows: `rows` rows without columns.
///
/// # Errors
/// Never, as long as Arrow takes a row count.
pub fn rows_without_columns(schema: SchemaRef, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, Vec::new(), &options)?)
}

/// A column as a type that has at most its fields.
fn narrow(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    let (DataType::Struct(fields), Some(rows)) = (wanted, column.as_any().downcast_ref::<StructArray>()) else {
        return Err(Error::Execution(format!("a column is {} where {wanted} is expected", column.data_type())));
    };
    let columns = fields.iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) => narrow(column, field.data_type()),
        None => Err(Error::Execution(format!("a ROW has no field '{}'", field.name()))),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?))
}
