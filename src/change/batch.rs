//! Changes: rows, each with a kind.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::{concat_batches, filter_record_batch, take, take_arrays};
use arrow::datatypes::SchemaRef;

use crate::{Error, Result};

/// What a row does to the table it belongs to; Flink's four kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RowKind {
    /// `+I`: the row is new.
    Insert = 0,
    /// `-U`: the row was, and an update follows.
    UpdateBefore = 1,
    /// `+U`: the row is, in the place of another.
    UpdateAfter = 2,
    /// `-D`: the row is no more.
    Delete = 3,
}

impl RowKind {
    /// Whether the row is added (`+I`, `+U`) rather than taken away.
    pub fn is_addition(self) -> bool {
        matches!(self, RowKind::Insert | RowKind::UpdateAfter)
    }

    /// Flink's short form: `+I`, `-U`, `+U`, `-D`.
    pub fn short(self) -> &'static str {
        match self {
            RowKind::Insert => "+I",
            RowKind::UpdateBefore => "-U",
            RowKind::UpdateAfter => "+U",
            RowKind::Delete => "-D",
        }
    }
}

impl std::fmt::Display for RowKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.short())
    }
}

/// The rows at `indices`, in that order; also where rows have no columns and only their number counts.
///
/// # Errors
/// When an index is out of bounds.
pub fn take_rows(rows: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch> {
    let columns = take_arrays(rows.columns(), indices, None)?;
    let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
    Ok(RecordBatch::try_new_with_options(rows.schema(), columns, &options)?)
}

/// How many bytes an array's values take. A mask that masks nothing does not count: whether it is there depends on where rows come
/// from, and what is kept in memory must not.
pub fn array_bytes(array: &ArrayRef) -> usize {
    fn idle_masks(data: &ArrayData) -> usize {
        let own = if data.nulls().is_some_and(|n| n.null_count() == 0) { data.len().div_ceil(8) } else { 0 };
        own + data.child_data().iter().map(idle_masks).sum::<usize>()
    }
    let data = array.to_data();
    data.get_slice_memory_size().unwrap_or_default().saturating_sub(idle_masks(&data))
}

/// The kinds of a batch's rows.
pub type RowKinds = Arc<[RowKind]>;

/// Rows that cross an edge of the circuit in one step.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int32Array, RecordBatch};
/// use millstream::change::{ChangeBatch, RowKind};
///
/// let a: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
/// let batch = ChangeBatch::append(RecordBatch::try_from_iter([("a", a)]).unwrap());
/// assert_eq!(batch.kind(1), RowKind::Insert);
/// ```
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    /// The rows.
    pub rows: RecordBatch,
    /// Their kinds; `None` when all are `+I`, so that append-only streams pay nothing.
    pub kinds: Option<RowKinds>,
    /// For each row the watermark (milliseconds) in force just before it, so that lateness is decided a row at a time
    /// however the input was cut. `None` when all rows are more than a millisecond past the watermark: then none can be late,
    /// and the watermark has closed nothing that a row touches.
    pub watermarks: Option<Int64Array>,
}

impl ChangeBatch {
    /// Rows that are all new and none late.
    pub fn append(rows: RecordBatch) -> Self {
        Self { rows, kinds: None, watermarks: None }
    }

    /// About how many bytes of memory the rows take.
    pub fn bytes(&self) -> usize {
        self.rows.columns().iter().map(array_bytes).sum()
    }

    /// How many rows there are.
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// The schema of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// The kind of one row.
    pub fn kind(&self, row: usize) -> RowKind {
        self.kinds.as_ref().map_or(RowKind::Insert, |k| k[row])
    }

    /// The same changes with other columns, row by row.
    pub fn with_rows(&self, rows: RecordBatch) -> Self {
        debug_assert_eq!(rows.num_rows(), self.num_rows());
        Self { rows, kinds: self.kinds.clone(), watermarks: self.watermarks.clone() }
    }

    /// The rows for which `keep` is true; NULL counts as false.
    ///
    /// # Errors
    /// When `keep` has another length.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        let rows = filter_record_batch(&self.rows, keep)?;
        if self.kinds.is_none() && self.watermarks.is_none() {
            return Ok(Self::append(rows));
        }
        let kept = |i: &usize| keep.is_valid(*i) && keep.value(*i);
        let kinds = self.kinds.as_ref().map(|k| (0..k.len()).filter(kept).map(|i| k[i]).collect());
        let watermarks = self.watermarks.as_ref().map(|w| (0..w.len()).filter(kept).map(|i| w.value(i)).collect());
        Ok(Self { rows, kinds, watermarks })
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Errors
    /// When an index is out of bounds.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let rows = take_rows(&self.rows, indices)?;
        let kinds = self.kinds.as_ref().map(|k| indices.values().iter().map(|i| k[*i as usize]).collect());
        let watermarks = match &self.watermarks {
            Some(w) => {
                let taken: ArrayRef = take(w, indices, None)?;
                taken.as_any().downcast_ref::<Int64Array>().cloned()
            }
            None => None,
        };
        Ok(Self { rows, kinds, watermarks })
    }

    /// All rows of some batches of one schema, in order.
    ///
    /// # Errors
    /// When there is no batch, or the schemas differ.
    pub fn concat(mut batches: Vec<Self>) -> Result<Self> {
        if batches.len() == 1
            && let Some(only) = batches.pop()
        {
            return Ok(only);
        }
        let Some(first) = batches.first() else { return Err(Error::internal("no batches to join")) };
        let rows = concat_batches(&first.schema(), batches.iter().map(|b| &b.rows))?;
        let kinds = batches.iter().any(|b| b.kinds.is_some()).then(|| {
            let kinds = batches.iter().flat_map(|b| (0..b.num_rows()).map(|row| b.kind(row)));
            kinds.collect()
        });
        let watermarks = batches.iter().any(|b| b.watermarks.is_some()).then(|| {
            // Where a batch has none, none of its rows is late.
            let marks = |b: &Self| {
                (0..b.num_rows())
                    .map(|row| b.watermarks.as_ref().map_or(i64::MIN, |w| w.value(row)))
                    .collect::<Vec<_>>()
            };
            batches.iter().flat_map(marks).collect()
        });
        Ok(Self { rows, kinds, watermarks })
    }

    /// `length` rows from `offset` on, sharing the memory.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            rows: self.rows.slice(offset, length),
            kinds: self.kinds.as_ref().map(|k| k[offset..offset + length].into()),
            watermarks: self.watermarks.as_ref().map(|w| w.slice(offset, length)),
        }
    }
}
