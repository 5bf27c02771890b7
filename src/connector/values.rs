//! A source of rows that are there already: VALUES, and batches held in memory.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::{
    Connector, OptionSpec, Options, Sink, Source, SourceBatch, SourceProgress, SplitPosition, TableDescriptor,
};
use crate::change::ChangeBatch;
use crate::table::project;
use crate::{Error, Result};

/// Gives some batches, and ends.
#[derive(Debug, Clone)]
pub struct Values {
    batches: Arc<[RecordBatch]>,
}

impl Values {
    /// A connector that gives these batches, in order, whatever the table's options say.
    pub fn new(batches: impl Into<Arc<[RecordBatch]>>) -> Self {
        Self { batches: batches.into() }
    }
}

impl Connector for Values {
    fn name(&self) -> &'static str {
        "values"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn is_bounded(&self, _table: &TableDescriptor) -> bool {
        true
    }

    fn source(&self, _table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        Ok(Box::new(ValuesSource { batches: Arc::clone(&self.batches), next: 0, projection }))
    }

    fn can_write(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Err(Error::Option(format!("table '{}' holds constant rows and cannot be written", table.name)))
    }
}

struct ValuesSource {
    batches: Arc<[RecordBatch]>,
    next: usize,
    projection: SchemaRef,
}

#[async_trait]
impl Source for ValuesSource {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let Some(batch) = self.batches.get(self.next) else { return Ok(None) };
        self.next += 1;
        let rows = project(batch, &self.projection)?;
        Ok(Some(SourceBatch { changes: ChangeBatch::append(rows), bytes: 0 }))
    }

    fn is_passive(&self) -> bool {
        true
    }

    fn position(&self) -> Option<SplitPosition> {
        Some(SplitPosition::count(self.next as u64))
    }

    async fn seek(&mut self, positions: Vec<SplitPosition>) -> Result<()> {
        for position in positions {
            self.next = usize::try_from(position.number()?).unwrap_or(usize::MAX);
        }
        Ok(())
    }

    fn progress(&self) -> SourceProgress {
        let fraction = self.next as f64 / self.batches.len().max(1) as f64;
        SourceProgress { fraction: Some(fraction), skipped_records: 0 }
    }
}
