//! Formats: bytes to batches and back.
//!
//! Three kinds. A [`RecordFormat`] (json, csv) knows records one after another, in files one a line; a [`FileFormat`] (parquet,
//! arrow) knows whole files; a [`MessageFormat`](message::MessageFormat) knows single messages. Every record format is a file
//! format too, through [`records`], and a format of messages. Neither knows where bytes come from or go to: that is the connector's part.
//!
//! All but `debezium-json` are append-only: a change that is no `+I` has no form in them and is refused.

use std::fs::File;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::change::{ChangeBatch, RowKind};
use crate::table::options::nearest;
use crate::table::{OptionSpec, Options, SinkChangelog, SourceChangelog};
use crate::{Error, Result};
use json::debezium::DebeziumJson;

pub mod arrow_ipc;
#[cfg(feature = "avro")]
pub mod avro;
mod batches;
pub mod csv;
mod fit;
pub mod json;
mod leaf;
pub mod message;
pub mod parquet;
#[cfg(feature = "protobuf")]
pub mod protobuf;
pub mod raw;
pub mod records;
mod render;
mod text;
#[cfg_attr(not(all(feature = "avro", feature = "protobuf")), allow(dead_code, unused_imports))]
mod typed;

#[cfg(test)]
mod conformance;

pub(crate) use leaf::value_from_text;
pub(crate) use render::value_to_text;

/// How many rows a decoder puts into one batch.
pub const BATCH_ROWS: usize = 8192;

/// Turns bytes into changes.
///
/// The bytes may be cut anywhere. The calls: any number of [`decode`](Decoder::decode) and [`flush`](Decoder::flush),
/// then [`finish`](Decoder::finish) and a last `flush`. After an error a decoder is of no more use.
pub trait Decoder: Send {
    /// Reads records, and returns how many bytes were taken: fewer than given when a batch is full. Then `flush` is to
    /// be called before the rest is given again.
    ///
    /// # Errors
    /// [`Error::Record`] for a record that cannot be read, its place being `line N`, unless such records are skipped.
    fn decode(&mut self, bytes: &[u8]) -> Result<usize>;

    /// There are no more bytes: what follows the last line end is a record too.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    fn finish(&mut self) -> Result<()>;

    /// The changes since the last call, if there are any.
    ///
    /// # Errors
    /// When the rows do not fit the schema.
    fn flush(&mut self) -> Result<Option<ChangeBatch>>;

    /// How many records were skipped because they could not be read.
    fn skipped(&self) -> u64;
}

/// Turns changes into bytes.
pub trait Encoder: Send {
    /// Appends the records of `changes` to `out`, each with its line end.
    ///
    /// # Errors
    /// When the format cannot express a change or a value.
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Vec<u8>) -> Result<()>;
}

/// A format of single records.
pub trait RecordFormat: Send + Sync {
    /// A decoder that builds the columns of `projection`, found by name or, where records have no names, by their
    /// position in `table`.
    ///
    /// # Errors
    /// When an option is wrong or the format has no form for a type.
    fn decoder(&self, table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn Decoder>>;

    /// An encoder of rows of `schema`.
    ///
    /// # Errors
    /// As [`RecordFormat::decoder`].
    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>>;
}

/// Reads one file, batch by batch.
pub trait FileReader: Send {
    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else than it should.
    fn next(&mut self) -> Result<Option<ChangeBatch>>;

    /// About how many bytes of the file have been read.
    fn position(&self) -> u64;

    /// How many records were skipped because they could not be read.
    fn skipped(&self) -> u64 {
        0
    }
}

/// Writes one file.
pub trait FileWriter: Send {
    /// Appends rows.
    ///
    /// # Errors
    /// When writing fails or the format cannot express a change.
    fn write(&mut self, changes: &ChangeBatch) -> Result<()>;

    /// About how many bytes the file has by now, those included that are still in memory.
    fn size(&self) -> u64;

    /// Writes what is still in memory and the file's end; returns the file, not yet synced.
    ///
    /// # Errors
    /// When writing fails.
    fn finish(self: Box<Self>) -> Result<File>;
}

/// A format of whole files.
pub trait FileFormat: Send + Sync + std::fmt::Debug {
    /// The name in `'format' = '…'`.
    fn name(&self) -> &'static str;

    /// The options it knows.
    fn options(&self) -> Vec<OptionSpec>;

    /// How the rows that it reads change.
    fn source_changelog(&self) -> SourceChangelog {
        SourceChangelog::Append
    }

    /// Which changes it has a form for.
    fn sink_changelog(&self) -> SinkChangelog {
        SinkChangelog::Append
    }

    /// Checks what the options say beyond their keys and kinds.
    ///
    /// # Errors
    /// [`Error::Option`] with what is wrong.
    fn check(&self, options: &Options) -> Result<()>;

    /// Reads the columns of `projection` from a file of rows of `table`.
    ///
    /// # Errors
    /// When an option is wrong, the file is none of this format, or a type has no form in it.
    fn reader(
        &self,
        file: File,
        table: &SchemaRef,
        projection: SchemaRef,
        options: &Options,
    ) -> Result<Box<dyn FileReader>>;

    /// Writes rows of `schema` into an empty file.
    ///
    /// # Errors
    /// As [`FileFormat::reader`].
    fn writer(&self, file: File, schema: &SchemaRef, options: &Options) -> Result<Box<dyn FileWriter>>;
}

const FILE_FORMATS: &[&dyn FileFormat] = &[
    &json::Json,
    &DebeziumJson { keyed: false },
    &csv::Csv,
    &parquet::Parquet,
    &arrow_ipc::Arrow,
    #[cfg(feature = "avro")]
    &avro::Avro,
];

/// The file format of that name, for a table that is `keyed`, by a PRIMARY KEY, or not.
///
/// # Errors
/// [`Error::Option`] for an unknown name, with the nearest known one.
pub fn file_format(name: &str, keyed: bool) -> Result<&'static dyn FileFormat> {
    const KEYED: &dyn FileFormat = &DebeziumJson { keyed: true };
    if keyed && name == KEYED.name() {
        return Ok(KEYED);
    }
    if let Some(format) = FILE_FORMATS.iter().find(|f| f.name() == name) {
        return Ok(*format);
    }
    Err(unknown(name, "format", FILE_FORMATS.iter().map(|f| f.name()).collect()))
}

fn unknown(name: &str, what: &str, known: Vec<&str>) -> Error {
    Error::Option(match nearest(name, known.iter().copied()) {
        Some(known) => format!("unknown {what} '{name}'; did you mean '{known}'?"),
        None => {
            let (last, others) = known.split_last().unwrap_or((&"", &[]));
            let others = others.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
            format!("unknown {what} '{name}'; known are {others} and '{last}'")
        }
    })
}

/// The rows of `changes`, which must all be new.
fn appended<'a>(changes: &'a ChangeBatch, format: &str) -> Result<&'a RecordBatch> {
    let other = changes.kinds.as_ref().and_then(|k| k.iter().find(|k| **k != RowKind::Insert));
    match other {
        None => Ok(&changes.rows),
        Some(kind) => Err(Error::Unsupported(format!(
            "the format '{format}' is append-only and cannot express a change of kind {kind}; \
             use a query that only appends, such as one over windows"
        ))),
    }
}
