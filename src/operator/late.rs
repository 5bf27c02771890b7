//! Rows behind the watermark: in the order of arrival, and what becomes of those that are too late.

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;

use crate::Result;
use crate::change::{ChangeBatch, RowKinds, take_rows};

/// The rows that an operator drops because they are late: counted always, and kept for whoever asked for them. The one who
/// asked takes them after every step, so that they never outlast it.
#[derive(Debug, Default)]
pub struct LateRows {
    count: u64,
    keeps: bool,
    kept: Vec<LateBatch>,
}

/// Why a row is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// Which row of its batch.
    pub row: u32,
    /// Its event time, in milliseconds.
    pub time: i64,
    /// The watermark that it is behind, in milliseconds.
    pub watermark: i64,
}

/// Rows that were dropped.
#[derive(Debug, Clone)]
pub struct LateBatch {
    /// The rows, as the operator took them in.
    pub rows: RecordBatch,
    /// Their kinds; `None` when all are `+I`.
    pub kinds: Option<RowKinds>,
    /// Their event times, in milliseconds.
    pub times: Int64Array,
    /// The watermarks that they are behind, in milliseconds.
    pub watermarks: Int64Array,
}

impl LateRows {
    /// How many rows were dropped so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Asks for the rows that are dropped from now on.
    pub fn keep(&mut self) {
        self.keeps = true;
    }

    /// Takes note that some rows of a batch are dropped.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn dropped(&mut self, rows: &RecordBatch, kinds: Option<&RowKinds>, late: &[Late]) -> Result<()> {
        self.count += late.len() as u64;
        if !self.keeps || late.is_empty() {
            return Ok(());
        }
        let taken = take_rows(rows, &late.iter().map(|l| l.row).collect::<Vec<_>>().into())?;
        self.kept.push(LateBatch {
            rows: taken,
            kinds: kinds.map(|k| late.iter().map(|l| k[l.row as usize]).collect()),
            times: late.iter().map(|l| l.time).collect(),
            watermarks: late.iter().map(|l| l.watermark).collect(),
        });
        Ok(())
    }

    /// What was dropped since the last call, for whoever asked for it.
    pub fn take(&mut self) -> Vec<LateBatch> {
        std::mem::take(&mut self.kept)
    }
}

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
    let kinds = batches.iter().any(|b| b.kinds.is_some());
    let kinds = kinds.then(|| batches.iter().flat_map(|b| (0..b.num_rows()).map(|row| b.kind(row))).collect());
    let all = ChangeBatch { rows, kinds, watermarks: Some(Int64Array::from(marks)) };
    all.take(&UInt32Array::from(order)).map(Some)
}
