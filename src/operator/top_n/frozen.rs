//! State as handed out: rows, with further columns behind their own.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};

use crate::state::Expiry;
use crate::{Error, Result};

/// How often a row is there.
pub(in crate::operator) const WEIGHT: &str = "$weight";
/// When a row's partition was written, in milliseconds; where state expires.
pub(in crate::operator) const WRITTEN: &str = "$written";

/// Rows with further columns.
pub(in crate::operator) fn with_columns(
    rows: RecordBatch,
    more: impl IntoIterator<Item = (&'static str, ArrayRef)>,
) -> Result<RecordBatch> {
    let mut fields = rows.schema().fields().to_vec();
    let mut columns = rows.columns().to_vec();
    for (name, column) in more {
        fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// Rows of `width` columns, and what further columns there are.
pub(in crate::operator) fn split_columns(rows: &RecordBatch, width: usize) -> Result<(RecordBatch, Vec<ArrayRef>)> {
    if rows.num_columns() < width {
        return Err(Error::internal("state with too few columns"));
    }
    let own: Vec<usize> = (0..width).collect();
    Ok((rows.project(&own)?, rows.columns()[width..].to_vec()))
}

/// Notes when some keys were written; the times are by row.
pub(in crate::operator) fn touch_restored(expiry: &mut Expiry, keys: &[u32], written: Option<&Int64Array>) {
    let Some(written) = written else { return };
    keys.iter().zip(written.values()).for_each(|(key, at)| expiry.touch(&[*key], *at));
}
