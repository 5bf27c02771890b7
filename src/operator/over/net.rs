//! One net change: what both goes and comes is left out.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::row::{RowConverter, SortField};

use crate::Result;
use crate::change::{ChangeBatch, RowKind};

/// A row that goes, one that comes, or one that takes the place of another; by their places in two batches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    /// What goes.
    pub gone: Option<usize>,
    /// What comes.
    pub come: Option<usize>,
}

/// Leaves out what goes here and comes there: equal rows that have changed places.
pub(super) fn cancel(gone: &RecordBatch, come: &RecordBatch, changes: &mut [Change]) -> Result<()> {
    let fields: Vec<SortField> = gone.columns().iter().map(|c| SortField::new(c.data_type().clone())).collect();
    if gone.num_rows() == 0 || come.num_rows() == 0 || !RowConverter::supports_fields(&fields) {
        return Ok(());
    }
    let converter = RowConverter::new(fields)?;
    let (old, new) = (converter.convert_columns(gone.columns())?, converter.convert_columns(come.columns())?);
    let mut coming: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, change) in changes.iter().enumerate() {
        if let Some(come) = change.come {
            coming.entry(new.row(come).data()).or_default().push(at);
        }
    }
    for at in 0..changes.len() {
        let Some(gone) = changes[at].gone else { continue };
        if let Some(other) = coming.get_mut(old.row(gone).data()).and_then(Vec::pop) {
            changes[at].gone = None;
            changes[other].come = None;
        }
    }
    Ok(())
}

/// The changes as a batch.
pub(super) fn batch(gone: &RecordBatch, come: &RecordBatch, changes: &[Change]) -> Result<ChangeBatch> {
    let (mut places, mut kinds) = (Vec::with_capacity(changes.len()), Vec::with_capacity(changes.len()));
    for change in changes {
        let is_update = change.gone.is_some() && change.come.is_some();
        if let Some(gone) = change.gone {
            places.push((0, gone));
            kinds.push(if is_update { RowKind::UpdateBefore } else { RowKind::Delete });
        }
        if let Some(come) = change.come {
            places.push((1, come));
            kinds.push(if is_update { RowKind::UpdateAfter } else { RowKind::Insert });
        }
    }
    let rows = interleave_record_batch(&[gone, come], &places)?;
    Ok(ChangeBatch { rows, kinds: Some(kinds.into()), watermarks: None })
}
