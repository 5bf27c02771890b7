//! Rows of one time whose order of arrival is not defined.

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, SortField};

use crate::Result;

/// The order of rows by time and then by what they hold; `None` where no two are of one time, or where what they hold has no
/// order. The times must be sorted.
pub(super) fn by_content(rows: &RecordBatch, times: &[i64]) -> Result<Option<Vec<u32>>> {
    let fields: Vec<SortField> = rows.columns().iter().map(|c| SortField::new(c.data_type().clone())).collect();
    if times.windows(2).all(|pair| pair[0] != pair[1]) || !RowConverter::supports_fields(&fields) {
        return Ok(None);
    }
    let encoded = RowConverter::new(fields)?.convert_columns(rows.columns())?;
    let mut order: Vec<u32> = (0..times.len() as u32).collect();
    order.sort_by(|a, b| {
        let (a, b) = (*a as usize, *b as usize);
        times[a].cmp(&times[b]).then_with(|| encoded.row(a).cmp(&encoded.row(b)))
    });
    Ok(Some(order))
}
