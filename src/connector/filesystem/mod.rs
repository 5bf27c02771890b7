//! `filesystem`: files as tables.
//!
//! As a source: a file, a directory with all below it, or a pattern; read once in the order of the paths, or with
//! `source.monitor-interval` watched for new files. As a sink: a directory, into which files come complete or not at all.
//! `PARTITIONED BY` columns are directories `column=value` and stand in no file.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use super::lookup::{LookupMode, full_cache_mode, full_cache_option_specs};
use super::{
    Connector, OptionKind, OptionSpec, Options, Sink, SinkChangelog, Source, SourceChangelog, TableDescriptor,
};
use crate::format::{FileFormat, file_format};
use crate::{Error, Result};

mod discover;
mod layout;
mod part;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use discover::Location;

const PATH: &str = "path";
const FORMAT: &str = "format";
const MONITOR_INTERVAL: &str = "source.monitor-interval";
const ROLL_SIZE: &str = "sink.rolling-policy.file-size";
const ROLL_INTERVAL: &str = "sink.rolling-policy.rollover-interval";
const DEFAULT_PARTITION: &str = "partition.default-name";
const DEFAULT_PARTITION_NAME: &str = "__DEFAULT_PARTITION__";

/// The connector `filesystem`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FilesystemConnector;

impl Connector for FilesystemConnector {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn options(&self, table: &Options) -> Vec<OptionSpec> {
        use OptionKind::{Boolean, Duration, Memory, Text};
        let mut known = vec![
            OptionSpec::required(PATH, Text),
            OptionSpec::required(FORMAT, Text),
            OptionSpec::optional(MONITOR_INTERVAL, Duration),
            OptionSpec::optional(ROLL_SIZE, Memory),
            OptionSpec::optional(ROLL_INTERVAL, Duration),
            OptionSpec::optional(DEFAULT_PARTITION, Text),
            // Known to Flink and without effect here: files roll when they are written to, and rows of a partition
            // always go to one writer.
            OptionSpec::optional("sink.rolling-policy.check-interval", Duration),
            OptionSpec::optional("sink.shuffle-by-partition.enable", Boolean),
            OptionSpec::optional("auto-compaction", Boolean),
        ];
        known.extend(full_cache_option_specs());
        if let Some(Ok(format)) = table.get(FORMAT).map(|name| file_format(name, false)) {
            known.extend(format.options());
        }
        known
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        vec![
            ("file.path", DataType::Utf8),
            ("file.name", DataType::Utf8),
            ("file.size", DataType::Int64),
            ("file.modification-time", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ]
    }

    fn check(&self, table: &TableDescriptor) -> Result<()> {
        format_of(table)?.check(&table.options)?;
        if table.options.duration(MONITOR_INTERVAL)?.is_some_and(|i| i.is_zero()) {
            return Err(Error::Option(format!("option '{MONITOR_INTERVAL}' must be longer than nothing")));
        }
        if table.options.boolean("auto-compaction")? == Some(true) {
            return Err(Error::Unsupported("'auto-compaction' of the connector 'filesystem'".into()));
        }
        Location::parse(table.options.require(PATH)?).map(|_| ())
    }

    fn is_bounded(&self, table: &TableDescriptor) -> bool {
        table.options.get(MONITOR_INTERVAL).is_none()
    }

    fn accepts(&self, table: &TableDescriptor) -> Result<SinkChangelog> {
        Ok(format_of(table)?.sink_changelog())
    }

    fn changelog(&self, table: &TableDescriptor) -> Result<SourceChangelog> {
        Ok(format_of(table)?.source_changelog())
    }

    fn lookup_mode(&self, table: &TableDescriptor) -> Result<Option<LookupMode>> {
        full_cache_mode(&table.options).map(Some)
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        self.check(table)?;
        Ok(Box::new(source::FileSource::open(table, projection)?))
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        self.check(table)?;
        Ok(Box::new(sink::FileSink::open(table)?))
    }
}

/// The connector `filesystem`.
pub fn filesystem() -> Arc<dyn Connector> {
    Arc::new(FilesystemConnector)
}

fn format_of(table: &TableDescriptor) -> Result<&'static dyn FileFormat> {
    file_format(table.options.require(FORMAT)?, !table.primary_key.is_empty())
}

fn default_partition(options: &Options) -> &str {
    options.get(DEFAULT_PARTITION).unwrap_or(DEFAULT_PARTITION_NAME)
}

/// What blocking work gave, or its panic as an error.
fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T> {
    result.map_err(|e| Error::Panic { place: "connector 'filesystem'".into(), message: e.to_string() })
}
