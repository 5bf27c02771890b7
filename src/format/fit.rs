//! Rows as a file has them to rows as the query wants them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};

use crate::table::rows_without_columns;
use crate::{Error, Result};

/// Picks columns, and fields of ROW columns, by name; casts what has another type; what is not there is NULL.
pub(super) fn fit(rows: &RecordBatch, projection: &SchemaRef) -> Result<RecordBatch> {
    if projection.fields().is_empty() {
        return rows_without_columns(Arc::clone(projection), rows.num_rows());
    }
    let column = |f: &Arc<Field>| fit_column(rows.column_by_name(f.name()), f, rows.num_rows());
    let columns = projection.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(projection), columns)?)
}

fn fit_column(column: Option<&ArrayRef>, field: &Field, rows: usize) -> Result<ArrayRef> {
    let fitted = match (column, field.data_type()) {
        (None, data_type) => new_null_array(data_type, rows),
        (Some(c), wanted) if c.data_type() == wanted => Arc::clone(c),
        (Some(c), DataType::Struct(fields)) if matches!(c.data_type(), DataType::Struct(_)) => {
            fit_row(c.as_struct(), fields)?
        }
        (Some(c), wanted) => cast(c, wanted)
            .map_err(|e| Error::Execution(format!("column '{}' of type {}: {e}", field.name(), c.data_type())))?,
    };
    if !field.is_nullable() && fitted.null_count() > 0 {
        let what = if column.is_some() { "holds a NULL" } else { "is missing" };
        return Err(Error::Execution(format!("the column '{}' is NOT NULL and {what}", field.name())));
    }
    Ok(fitted)
}

fn fit_row(row: &StructArray, fields: &Fields) -> Result<ArrayRef> {
    // A field of a NULL row is NULL whatever was declared.
    let relaxed = |f: &Arc<Field>| f.as_ref().clone().with_nullable(f.is_nullable() || row.null_count() > 0);
    let child = |f: &Arc<Field>| fit_column(row.column_by_name(f.name()), &relaxed(f), row.len());
    let columns = fields.iter().map(child).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, row.nulls().cloned(), row.len())?))
}
