//! Reading a `datagen` table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::values::Column;
use crate::Result;
use crate::change::{ChangeBatch, Clock};
use crate::connector::pace::Pace;
use crate::connector::{Source, SourceBatch, SourceProgress, SplitPosition};
use crate::table::rows_without_columns;

/// The most rows of a batch, and about its most bytes.
const BATCH: usize = 8192;
const BATCH_BYTES: usize = 16 << 20;

pub(super) struct DatagenSource {
    columns: Vec<Column>,
    schema: SchemaRef,
    pace: Pace,
    rows: Option<u64>,
    made: u64,
    batch: usize,
    clock: Arc<dyn Clock>,
}

impl DatagenSource {
    pub(super) fn new(
        columns: Vec<Column>,
        schema: SchemaRef,
        rate: u64,
        rows: Option<u64>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let bytes = columns.iter().map(Column::bytes).sum::<usize>().max(1);
        let batch = (BATCH_BYTES / bytes).clamp(1, BATCH);
        Self { columns, schema, pace: Pace::new(rate), rows, made: 0, batch, clock }
    }

    fn make(&mut self, rows: usize) -> Result<RecordBatch> {
        let now = self.clock.now_millis();
        self.made += rows as u64;
        if self.columns.is_empty() {
            return rows_without_columns(Arc::clone(&self.schema), rows);
        }
        let columns = self.columns.iter_mut().map(|c| c.make(rows, now)).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

#[async_trait]
impl Source for DatagenSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let left = self.rows.map_or(u64::MAX, |rows| rows - self.made.min(rows));
        if left == 0 {
            return Ok(None);
        }
        let most = self.batch.min(usize::try_from(left).unwrap_or(usize::MAX));
        let rows = self.pace.due(most).await;
        Ok(Some(SourceBatch { changes: ChangeBatch::append(self.make(rows)?), bytes: 0 }))
    }

    fn position(&self) -> Option<SplitPosition> {
        Some(SplitPosition::count(self.made))
    }

    /// Makes the rows again that were made before, and drops them: values follow from the seed and those before them.
    async fn seek(&mut self, positions: Vec<SplitPosition>) -> Result<()> {
        for position in positions {
            let made = position.number()?;
            while self.made < made {
                let left = usize::try_from(made - self.made).unwrap_or(usize::MAX);
                self.make(left.min(self.batch))?;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn progress(&self) -> SourceProgress {
        let fraction = self.rows.map(|rows| if rows == 0 { 1.0 } else { self.made as f64 / rows as f64 });
        SourceProgress { fraction, skipped_records: 0 }
    }
}
