//! What messages have beside key and value, as columns.

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, MapBuilder, MapFieldNames, StringBuilder,
    TimestampMillisecondBuilder,
};
use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::Timestamp;

use super::columns::Metadata;
use crate::Result;

/// A message as it comes from the broker.
#[derive(Debug, Clone)]
pub(super) struct Incoming<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Left empty where nobody asks for them.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// A column of metadata under construction.
pub(super) enum MetadataBuilder {
    Topic(StringBuilder),
    Partition(Int32Builder),
    Headers(Box<MapBuilder<StringBuilder, BinaryBuilder>>),
    LeaderEpoch(Int32Builder),
    Offset(Int64Builder),
    Timestamp(TimestampMillisecondBuilder),
    TimestampType(StringBuilder),
}

impl MetadataBuilder {
    pub fn new(metadata: Metadata) -> Self {
        match metadata {
            Metadata::Topic => Self::Topic(StringBuilder::new()),
            Metadata::Partition => Self::Partition(Int32Builder::new()),
            Metadata::Headers => {
                let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
                Self::Headers(Box::new(MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new())))
            }
            Metadata::LeaderEpoch => Self::LeaderEpoch(Int32Builder::new()),
            Metadata::Offset => Self::Offset(Int64Builder::new()),
            Metadata::Timestamp => Self::Timestamp(TimestampMillisecondBuilder::new().with_timezone("UTC")),
            Metadata::TimestampType => Self::TimestampType(StringBuilder::new()),
        }
    }

    /// What the message has, once more.
    ///
    /// # Errors
    /// Never, as long as Arrow takes the entries of a map.
    pub fn append(&mut self, message: &Incoming<'_>) -> Result<()> {
        match self {
            Self::Topic(b) => b.append_value(message.topic),
            Self::Partition(b) => b.append_value(message.partition),
            Self::LeaderEpoch(b) => b.append_null(),
            Self::Offset(b) => b.append_value(message.offset),
            // As Java's client has it where there is none.
            Self::Timestamp(b) => b.append_value(message.timestamp.to_millis().unwrap_or(-1)),
            Self::TimestampType(b) => b.append_value(match message.timestamp {
                Timestamp::NotAvailable => "NoTimestampType",
                Timestamp::CreateTime(_) => "CreateTime",
                Timestamp::LogAppendTime(_) => "LogAppendTime",
            }),
            Self::Headers(b) => {
                // Of a key that comes twice the last one counts.
                let last: BTreeMap<&str, usize> = (0..).zip(&message.headers).map(|(i, (key, _))| (*key, i)).collect();
                for (i, (key, value)) in message.headers.iter().enumerate() {
                    if last.get(key) == Some(&i) {
                        b.keys().append_value(key);
                        b.values().append_option(*value);
                    }
                }
                b.append(true)?;
            }
        }
        Ok(())
    }

    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Topic(b) | Self::TimestampType(b) => Arc::new(b.finish()),
            Self::Partition(b) | Self::LeaderEpoch(b) => Arc::new(b.finish()),
            Self::Headers(b) => Arc::new(b.finish()),
            Self::Offset(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
        }
    }
}
