//! Formats of single messages, as a log of messages has them.
//!
//! A message is bytes without an end mark; a message's key and value each have a format. Formats know nothing of prefixes in
//! option keys (`key.`, `value.`): the connector strips them ([`Options::under`]), and puts them before the keys that a format
//! takes ([`OptionSpec::under`]). What a NULL message (a tombstone) means is the connector's matter; a format may be asked what
//! rows it gives, which are none in all but `raw`.
//!
//! Some formats must ask a schema registry before they can go on. They never block: decoding answers [`Decoded::Unprepared`],
//! the connector awaits [`MessageDecoder::prepare`], and decodes the message again.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::csv::Csv;
use super::json::Json;
use super::json::debezium::DebeziumJson;
use super::raw::Raw;
use super::unknown;
use crate::change::ChangeBatch;
use crate::table::{OptionSpec, Options, SinkChangelog, SourceChangelog};
use crate::{Error, Result};

pub(super) mod collect;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// So many changes were appended; there may be none in it, or several.
    Rows(usize),
    /// It cannot be read, for this reason, and has left nothing behind. The connector fails, skips and counts, or sends it to
    /// another place; it skips where [`MessageDecoder::ignores_errors`].
    Bad(String),
    /// The format must learn something first: [`MessageDecoder::prepare`] is to be awaited, and the message given again.
    Unprepared,
}

/// Turns messages into changes.
///
/// The calls: any number of `decode`, each of which may be taken back by `undo` before the next one; `flush` whenever the
/// connector wants the changes, and at the latest when it `is_full`.
#[async_trait]
pub trait MessageDecoder: Send {
    /// Reads a message that is not NULL, and appends its changes.
    ///
    /// # Errors
    /// When the format as such is at its end. A bad message is none: see [`Decoded::Bad`].
    fn decode(&mut self, message: &[u8]) -> Result<Decoded>;

    /// Appends what a NULL message says: nothing, in most formats.
    ///
    /// # Errors
    /// As `decode`.
    fn decode_null(&mut self) -> Result<Decoded> {
        Ok(Decoded::Rows(0))
    }

    /// Takes back what the last `decode` has appended; for a message of which another part turned out to be bad.
    ///
    /// # Errors
    /// When the rows before do not fit the schema.
    fn undo(&mut self) -> Result<()>;

    /// Learns what [`Decoded::Unprepared`] was answered for. The future may be dropped at any await.
    ///
    /// # Errors
    /// When a registry cannot be asked, or refuses. That it does not know a schema makes the message bad, not the format.
    async fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// How many changes wait for `flush`.
    fn pending(&self) -> usize;

    /// Whether `flush` is due: there are [`BATCH_ROWS`](super::BATCH_ROWS) changes, or they are large.
    fn is_full(&self) -> bool;

    /// The changes since the last call, if there are any.
    ///
    /// # Errors
    /// When the rows do not fit the schema.
    fn flush(&mut self) -> Result<Option<ChangeBatch>>;

    /// Whether the options say that bad messages are skipped (`….ignore-parse-errors`).
    fn ignores_errors(&self) -> bool;
}

/// Messages one after another in one buffer, which is used again and again.
#[derive(Debug, Clone, Default)]
pub struct Messages {
    pub(super) bytes: Vec<u8>,
    /// Where each message ends, and whether it is one at all.
    ends: Vec<(usize, bool)>,
}

impl Messages {
    /// Forgets all messages, but keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many messages there are, those that are NULL included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many bytes they have together.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// A message; `None` where it is NULL.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |e| e.0);
        let (end, _) = self.ends.get(index).filter(|e| e.1)?;
        self.bytes.get(start..*end)
    }

    /// All messages in their order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// What was put behind the last message is one.
    pub(super) fn end(&mut self) {
        self.ends.push((self.bytes.len(), true));
    }

    /// A message that is NULL.
    pub(super) fn null(&mut self) {
        self.ends.push((self.bytes.len(), false));
    }
}

/// Turns changes into messages.
#[async_trait]
pub trait MessageEncoder: Send {
    /// Learns what encoding takes, such as the number of its schema in a registry. Awaited once, before the first `encode`.
    ///
    /// # Errors
    /// When a registry cannot be asked, or refuses the schema.
    async fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Appends a message for each change, in their order.
    ///
    /// # Errors
    /// When the format cannot express a change or a value. Some of the messages may then have been appended.
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Messages) -> Result<()>;
}

/// A format of single messages.
pub trait MessageFormat: Send + Sync + std::fmt::Debug {
    /// The name in `'format' = '…'`.
    fn name(&self) -> &'static str;

    /// The options it knows, without prefix.
    fn options(&self) -> Vec<OptionSpec>;

    /// How the rows that it reads change.
    fn source_changelog(&self) -> SourceChangelog {
        SourceChangelog::Append
    }

    /// Which changes it has a form for.
    fn sink_changelog(&self) -> SinkChangelog {
        SinkChangelog::Append
    }

    /// Checks what the options say beyond their keys and kinds, and whether the columns of `schema` have a form.
    ///
    /// # Errors
    /// [`Error::Option`] or [`Error::Unsupported`] with what is wrong.
    fn check(&self, schema: &SchemaRef, options: &Options) -> Result<()>;

    /// A decoder of messages that hold the columns of `table`, which builds those of `projection`: some of them, in the
    /// table's order, and of a ROW perhaps only some fields.
    ///
    /// # Errors
    /// As [`MessageFormat::check`].
    fn decoder(&self, table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn MessageDecoder>>;

    /// An encoder of rows of `schema`.
    ///
    /// # Errors
    /// As [`MessageFormat::check`].
    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn MessageEncoder>>;
}

const MESSAGE_FORMATS: &[&dyn MessageFormat] = &[
    &Json,
    &DebeziumJson { keyed: false },
    &Csv,
    &Raw,
    #[cfg(feature = "avro")]
    &super::avro::Avro,
    #[cfg(feature = "avro")]
    &super::avro::AvroConfluent,
    #[cfg(feature = "protobuf")]
    &super::protobuf::Protobuf,
];

/// Formats that take a feature of this crate.
const FEATURES: [(&str, &str); 3] = [("avro", "avro"), ("avro-confluent", "avro"), ("protobuf", "protobuf")];

/// The format of messages of that name, for a table that is `keyed`, by a PRIMARY KEY, or not.
///
/// # Errors
/// [`Error::Option`] for an unknown name, with the nearest known one.
pub fn message_format(name: &str, keyed: bool) -> Result<&'static dyn MessageFormat> {
    const KEYED: &dyn MessageFormat = &DebeziumJson { keyed: true };
    if keyed && name == KEYED.name() {
        return Ok(KEYED);
    }
    if let Some(format) = MESSAGE_FORMATS.iter().find(|f| f.name() == name) {
        return Ok(*format);
    }
    if let Some((_, feature)) = FEATURES.into_iter().find(|(known, _)| *known == name) {
        return Err(Error::Option(format!("the format '{name}' takes the feature '{feature}', which is not built in")));
    }
    Err(unknown(name, "format of messages", MESSAGE_FORMATS.iter().map(|f| f.name()).collect()))
}

#[cfg(test)]
mod tests;
