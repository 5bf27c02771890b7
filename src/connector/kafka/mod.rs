//! `kafka` and `upsert-kafka`: topics of Apache Kafka, under the options of Flink's connectors.
//!
//! As a source each partition of a topic is a partition of the source, with a watermark of its own, read by hand: there is no
//! rebalancing, and a consumer group is only told of what checkpoints cover. `upsert-kafka` reads a topic as rows by key: a message
//! takes the place of the last one with its key, and one without value takes that away.
//!
//! | option | meaning |
//! | --- | --- |
//! | `topic` | a topic, or several with `;` between |
//! | `topic-pattern` | (`kafka`) a regular expression that the whole name of a topic matches |
//! | `properties.bootstrap.servers` | where brokers are; required |
//! | `properties.group.id` | the group whose offsets are read and committed |
//! | `properties.*` | for the client, under the names of Java's or of librdkafka; what cannot be taken is refused |
//! | `format`, `value.format` | the format of values; its options stand under its name, behind `value.` where that is used |
//! | `key.format`, `key.fields`, `key.fields-prefix` | the format and the columns of keys; of `upsert-kafka` they are the PRIMARY KEY |
//! | `value.fields-include` | `ALL` (the default): the value has the key's columns, too; `EXCEPT_KEY` |
//! | `scan.startup.mode` | (`kafka`) `group-offsets` (the default), `earliest-offset`, `latest-offset`, `timestamp` with `scan.startup.timestamp-millis`, `specific-offsets` with `scan.startup.specific-offsets` (`partition:0,offset:42;…`) |
//! | `scan.bounded.mode` | `unbounded` (the default), `latest-offset`, `group-offsets`, `timestamp` and `specific-offsets` with `scan.bounded.*`, settled when the job begins |
//! | `scan.topic-partition-discovery.interval` | (`kafka`) how often new partitions are looked for; `0` for never, 5 minutes by default |
//! | `millstream.dead-letter.topic`, `millstream.dead-letter.path` | where messages go that cannot be decoded: a topic, which gets them as they are with headers `millstream.topic`, `.partition`, `.offset` and `.reason`, or a file of JSON lines. Without them, and without the format's `ignore-parse-errors`, the job fails |
//! | `sink.partitioner` | (`kafka`) `default`: by the key, as Java's clients do it; `fixed`; `round-robin` |
//! | `sink.delivery-guarantee` | `at-least-once` (the default), `exactly-once`, `none` |
//! | `sink.transactional-id-prefix` | required for `exactly-once`: begins the transactional ids and the group that keeps the marker |
//! | `millstream.transaction.max-size` | how many bytes of messages a transaction may hold, 1 GB by default: its rows are kept until it is committed |
//!
//! Metadata columns: `topic`, `partition`, `offset`, `timestamp`, `timestamp-type`, `headers`, and `leader-epoch`, which is NULL here; of
//! these `topic`, `timestamp` and `headers` can be written.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::{Connector, OptionSpec, Options, Sink, SinkChangelog, Source, SourceChangelog, TableDescriptor};
use crate::{Error, Result};

mod columns;
mod dead_letter;
mod metadata;
mod offsets;
mod options;
mod producer;
mod properties;
mod reader;
mod records;
mod rows;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod transactions;

use columns::{Layout, Metadata};
use options::{Kind, Settings};

/// The connector `kafka` or `upsert-kafka`.
#[derive(Debug, Clone, Copy)]
pub struct Kafka(Kind);

impl Kafka {
    /// `kafka`.
    pub fn log() -> Self {
        Self(Kind::Log)
    }

    /// `upsert-kafka`.
    pub fn upsert() -> Self {
        Self(Kind::Upsert)
    }

    fn settings(self, table: &TableDescriptor) -> Result<Settings> {
        Settings::read(self.0, table)
    }
}

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn options(&self, table: &Options) -> Vec<OptionSpec> {
        options::specs(self.0, table)
    }

    fn metadata(&self) -> Vec<(&'static str, DataType)> {
        Metadata::ALL.iter().map(|m| (m.key(), m.data_type())).collect()
    }

    fn check(&self, table: &TableDescriptor) -> Result<()> {
        let settings = self.settings(table)?;
        settings.consumer()?;
        settings.producer()?;
        Layout::of(table, &settings)?.check(&settings)
    }

    fn is_bounded(&self, table: &TableDescriptor) -> bool {
        self.settings(table).is_ok_and(|settings| settings.end.is_some())
    }

    fn changelog(&self, table: &TableDescriptor) -> Result<SourceChangelog> {
        let settings = self.settings(table)?;
        Ok(match self.0 {
            Kind::Log => settings.value.format.source_changelog(),
            Kind::Upsert => SourceChangelog::Upsert,
        })
    }

    fn accepts(&self, table: &TableDescriptor) -> Result<SinkChangelog> {
        let settings = self.settings(table)?;
        Layout::of(table, &settings)?.written_metadata()?;
        Ok(match self.0 {
            Kind::Log => settings.value.format.sink_changelog(),
            Kind::Upsert => SinkChangelog::Upsert,
        })
    }

    fn source(&self, table: &TableDescriptor, projection: SchemaRef) -> Result<Box<dyn Source>> {
        self.check(table)?;
        Ok(Box::new(source::KafkaSource::try_new(table, self.settings(table)?, projection)?))
    }

    fn sink(&self, table: &TableDescriptor) -> Result<Box<dyn Sink>> {
        self.check(table)?;
        sink::open(table, &self.settings(table)?)
    }
}

/// What Kafka's client says, and of what.
fn failed(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Io { context: format!("Kafka: {what}"), source: Arc::new(std::io::Error::other(error.to_string())) }
}
