//! Where messages go that cannot be decoded: another topic or a file, with the place and the reason.

use std::fs::{File, OpenOptions};
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::metadata::Incoming;
use super::options::{DeadLetter, Settings};
use super::producer::Producer;
use crate::{Error, Result};

/// Takes undecodable messages.
pub(super) enum DeadLetters {
    Topic { producer: Producer, topic: String },
    File { file: File, path: String },
}

impl DeadLetters {
    /// What the options name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(settings: &Settings) -> Result<Option<Self>> {
        match &settings.dead_letter {
            None => Ok(None),
            Some(DeadLetter::Topic(topic)) => {
                let mut config = settings.producer()?;
                config.remove("transaction.timeout.ms");
                Ok(Some(Self::Topic { producer: Producer::create(&config)?, topic: topic.clone() }))
            }
            Some(DeadLetter::Path(path)) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                let file = file.map_err(|e| Error::io(format!("opening '{path}'"), e))?;
                Ok(Some(Self::File { file, path: path.clone() }))
            }
        }
    }

    /// Takes a message. [`DeadLetters::flush`] makes it durable.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&mut self, message: &Incoming<'_>, reason: &str) -> Result<()> {
        match self {
            Self::Topic { producer, topic } => {
                let (partition, offset) = (message.partition.to_string(), message.offset.to_string());
                let mut headers = OwnedHeaders::new();
                for (key, value) in [
                    ("millstream.topic", message.topic),
                    ("millstream.partition", partition.as_str()),
                    ("millstream.offset", offset.as_str()),
                    ("millstream.reason", reason),
                ] {
                    headers = headers.insert(Header { key, value: Some(value) });
                }
                producer.send_blocking(BaseRecord {
                    topic,
                    partition: None,
                    payload: message.value,
                    key: message.key,
                    timestamp: message.timestamp.to_millis(),
                    headers: Some(headers),
                    delivery_opaque: (),
                })
            }
            Self::File { file, path } => {
                let bytes = |bytes: Option<&[u8]>| bytes.map(|bytes| STANDARD.encode(bytes));
                let line = serde_json::json!({
                    "topic": message.topic,
                    "partition": message.partition,
                    "offset": message.offset,
                    "timestamp": message.timestamp.to_millis(),
                    "key": bytes(message.key),
                    "value": bytes(message.value),
                    "reason": reason,
                });
                writeln!(file, "{line}").map_err(|e| Error::io(format!("writing '{path}'"), e))
            }
        }
    }

    /// All that was taken is there.
    ///
    /// # Errors
    /// As [`DeadLetters::put`].
    pub fn flush(&mut self) -> Result<()> {
        match self {
            Self::Topic { producer, .. } => producer.flush_blocking(),
            Self::File { file, path } => file.sync_data().map_err(|e| Error::io(format!("writing '{path}'"), e)),
        }
    }
}
