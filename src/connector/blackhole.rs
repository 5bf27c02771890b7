//! `blackhole`: a sink that takes everything and keeps nothing, to see what a query alone costs.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::{Connector, OptionSpec, Options, Sink, SinkChangelog, Source, TableDescriptor};
use crate::change::ChangeBatch;
use crate::{Error, Result};

/// The `blackhole` connector; it has no options.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blackhole;

impl Connector for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn options(&self, _table: &Options) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn can_read(&self) -> bool {
        false
    }

    fn accepts(&self, _table: &TableDescriptor) -> Result<SinkChangelog> {
        Ok(SinkChangelog::Retract)
    }

    fn source(&self, table: &TableDescriptor, _projection: SchemaRef) -> Result<Box<dyn Source>> {
        Err(Error::Option(format!("table '{}': connector 'blackhole' can only be written", table.name)))
    }

    fn sink(&self, _table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        Ok(Box::new(BlackholeSink))
    }
}

struct BlackholeSink;

#[async_trait]
impl Sink for BlackholeSink {
    async fn write(&mut self, _changes: ChangeBatch) -> Result<()> {
        Ok(())
    }
}
