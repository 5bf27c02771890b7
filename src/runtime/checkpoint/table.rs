//! State in memory, and its entries in a manifest.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema};

use super::manifest::PlacementEntry;
use crate::Result;
use crate::change::{ChangeBatch, RowKind};
use crate::state::{Placement, StateTable};

const KIND: &str = "__kind";
const WATERMARK: &str = "__watermark";

impl From<&Placement> for PlacementEntry {
    fn from(placement: &Placement) -> Self {
        match placement {
            Placement::Key(columns) => PlacementEntry::Key(columns.clone()),
            Placement::First => PlacementEntry::First,
            Placement::All => PlacementEntry::All,
        }
    }
}

impl From<&PlacementEntry> for Placement {
    fn from(placement: &PlacementEntry) -> Self {
        match placement {
            PlacementEntry::Key(columns) => Placement::Key(columns.clone()),
            PlacementEntry::First => Placement::First,
            PlacementEntry::All => Placement::All,
        }
    }
}

/// Changes as rows, their kinds and watermarks in two more columns.
pub(super) fn changes_as_rows(changes: &ChangeBatch) -> Result<RecordBatch> {
    let count = changes.num_rows();
    let kinds: ArrayRef = Arc::new(UInt8Array::from_iter_values((0..count).map(|row| changes.kind(row) as u8)));
    let watermarks: ArrayRef = match &changes.watermarks {
        Some(watermarks) => Arc::new(watermarks.clone()),
        None => Arc::new(Int64Array::new_null(count)),
    };
    let schema = changes.schema();
    let more = [Field::new(KIND, DataType::UInt8, false), Field::new(WATERMARK, DataType::Int64, true)];
    let fields = schema.fields().iter().map(|f| f.as_ref().clone()).chain(more);
    let columns = changes.rows.columns().iter().cloned().chain([kinds, watermarks]);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns.collect())?)
}

/// What [`changes_as_rows`] made rows of.
pub(super) fn rows_as_changes(rows: &RecordBatch) -> Result<ChangeBatch, String> {
    let width = rows.num_columns().checked_sub(2).ok_or("it has no columns for kinds and watermarks")?;
    let kinds = rows.column(width).as_any().downcast_ref::<UInt8Array>().ok_or("its kinds are of another type")?;
    let watermarks = rows.column(width + 1).as_any().downcast_ref::<Int64Array>();
    let watermarks = watermarks.ok_or("its watermarks are of another type")?;
    let kind = |kind: &u8| match kind {
        0 => Ok(RowKind::Insert),
        1 => Ok(RowKind::UpdateBefore),
        2 => Ok(RowKind::UpdateAfter),
        3 => Ok(RowKind::Delete),
        other => Err(format!("{other} is no kind of change")),
    };
    let kinds = kinds.values().iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    let is_append = kinds.iter().all(|k| *k == RowKind::Insert);
    let fields: Vec<_> = rows.schema().fields().iter().take(width).cloned().collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let columns = rows.columns().iter().take(width).cloned().collect();
    let own = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
    Ok(ChangeBatch {
        rows: own.map_err(|e| e.to_string())?,
        kinds: (!is_append).then(|| kinds.into()),
        watermarks: (watermarks.null_count() == 0 && rows.num_rows() > 0).then(|| watermarks.clone()),
    })
}

/// Rows that are no operator's state, as a table.
pub(super) fn plain(name: &'static str, rows: Vec<RecordBatch>) -> StateTable {
    StateTable { name: Cow::Borrowed(name), placement: Placement::First, rows }
}
