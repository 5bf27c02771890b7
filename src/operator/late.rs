//! Batches that hold rows behind the watermark, in the order of arrival.

use arrow::array::{Int64Array, UInt32Array};
use arrow::compute::concat_batches;

use crate::Result;
use crate::change::ChangeBatch;

/// Whether the watermarks of some batches' rows never fall from one batch to the next.
pub(super) fn in_order(batches: &[ChangeBatch]) -> bool {
    let mut reached = i64::MIN;
    batches.iter().filter_map(|b| b.watermarks.as_ref()).all(|w| {
        let before = reached;
        reached = w.values().last().copied().unwrap_or(before);
        w.values().first().is_none_or(|first| before <= *first)
    })
}

/// The rows of some batches in the order of their watermarks, which is that of their arrival.
pub(super) fn sorted(batches: &[ChangeBatch]) -> Result<Option<ChangeBatch>> {
    let Some(first) = batches.first() else { return Ok(None) };
    let rows = concat_batches(&first.schema(), batches.iter().map(|b| &b.rows))?;
    let marks = batches.iter().filter_map(|b| b.watermarks.as_ref()).flat_map(|w| w.values().to_vec());
    let marks: Vec<i64> = marks.collect();
    let mut order: Vec<u32> = (0u32..).take(marks.len()).collect();
    order.sort_by_key(|row| marks[*row as usize]);
    let all = ChangeBatch { rows, kinds: None, watermarks: Some(Int64Array::from(marks)) };
    all.take(&UInt32Array::from(order)).map(Some)
}
