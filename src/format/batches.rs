//! Rows under construction: full batches, and what is done about bad records.

use arrow::datatypes::SchemaRef;

use super::BATCH_ROWS;
use crate::change::ChangeBatch;
use crate::{Error, Result};

/// From how many bytes on a batch is full, however few rows it has.
const BATCH_BYTES: usize = 16 << 20;

/// How long a record may be, in bytes.
pub(super) const MAX_RECORD: usize = 64 << 20;

/// Columns that grow together.
pub(super) trait Columns: Send {
    /// The first `rows` changes; none are held then. A bad record may have left more values in some columns than in others.
    fn finish(&mut self, schema: &SchemaRef, rows: usize) -> Result<ChangeBatch>;
}

/// Counts the rows of its columns, and takes them out in batches.
pub(super) struct Batches<C> {
    pub(super) columns: C,
    schema: SchemaRef,
    /// Rows that lie complete in `columns`.
    rows: usize,
    /// Rows that were taken out of `columns` when a bad record left a part of itself there.
    chunks: Vec<ChangeBatch>,
    /// All rows since the last batch, and the bytes they were.
    size: (usize, usize),
    ignore_errors: bool,
    skipped: u64,
}

impl<C: Columns> Batches<C> {
    pub(super) fn new(columns: C, schema: SchemaRef, ignore_errors: bool) -> Self {
        Self { columns, schema, rows: 0, chunks: Vec::new(), size: (0, 0), ignore_errors, skipped: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.size.0 >= BATCH_ROWS || self.size.1 >= BATCH_BYTES
    }

    /// So many rows have been appended to all columns.
    pub(super) fn rows(&mut self, count: usize) {
        self.rows += count;
        self.size.0 += count;
    }

    /// The last `count` rows, appended since the last cut, are none.
    pub(super) fn take_back(&mut self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.rows = self.rows.saturating_sub(count);
        self.size.0 = self.size.0.saturating_sub(count);
        self.cut()
    }

    /// All rows since the last batch.
    pub(super) fn pending(&self) -> usize {
        self.size.0
    }

    /// So many bytes were read.
    pub(super) fn bytes(&mut self, count: usize) {
        self.size.1 += count;
    }

    /// Drops what a bad record has left in the columns, by taking out the complete rows; or gives up.
    pub(super) fn bad_record(&mut self, line: u64, reason: String) -> Result<()> {
        if !self.ignore_errors {
            return Err(Error::record(format!("line {line}"), reason));
        }
        self.skipped += 1;
        self.cut()
    }

    /// Takes out the complete rows, and so drops what lies incomplete behind them.
    pub(super) fn cut(&mut self) -> Result<()> {
        let chunk = self.columns.finish(&self.schema, std::mem::take(&mut self.rows))?;
        if chunk.num_rows() > 0 {
            self.chunks.push(chunk);
        }
        Ok(())
    }

    /// The rows since the last call, if there are any.
    pub(super) fn flush(&mut self) -> Result<Option<ChangeBatch>> {
        let rows = std::mem::take(&mut self.size).0;
        if rows == 0 {
            return Ok(None);
        }
        let last = self.columns.finish(&self.schema, std::mem::take(&mut self.rows))?;
        let mut chunks = std::mem::take(&mut self.chunks);
        chunks.push(last);
        ChangeBatch::concat(chunks).map(Some)
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }
}
