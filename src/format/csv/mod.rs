//! `csv`: values between delimiters, without a header, as Flink has it.
//!
//! Columns are known by their position. An empty value is an empty STRING, and NULL for every other type; beyond that,
//! `csv.null-literal` says what NULL looks like. ARRAY and ROW values stand in one field, their parts between
//! `csv.array-element-delimiter`.

use std::fs::File;

use arrow::datatypes::SchemaRef;

use super::message::collect::Collected;
use super::message::{MessageDecoder, MessageEncoder, MessageFormat};
use super::records::{RecordReader, RecordWriter};
use super::{Decoder, Encoder, FileFormat, FileReader, FileWriter, RecordFormat};
use crate::table::{OptionKind, OptionSpec, Options};
use crate::{Error, Result};

mod column;
mod decode;
mod encode;
mod split;
#[cfg(test)]
mod tests;

/// The format `csv`.
#[derive(Debug, Clone, Copy)]
pub struct Csv;

const DELIMITER: &str = "csv.field-delimiter";
const NO_QUOTE: &str = "csv.disable-quote-character";
const QUOTE: &str = "csv.quote-character";
const COMMENTS: &str = "csv.allow-comments";
const IGNORE_ERRORS: &str = "csv.ignore-parse-errors";
const ELEMENT_DELIMITER: &str = "csv.array-element-delimiter";
const ESCAPE: &str = "csv.escape-character";
const NULL: &str = "csv.null-literal";

/// What a file of values looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dialect {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    comments: bool,
    null: Option<String>,
    element_delimiter: String,
}

impl Dialect {
    fn new(options: &Options) -> Result<Self> {
        let no_quote = options.boolean(NO_QUOTE)?.unwrap_or(false);
        if no_quote && options.get(QUOTE).is_some() {
            return Err(Error::Option(format!("'{QUOTE}' has no meaning while '{NO_QUOTE}' is true")));
        }
        let quote = if no_quote { None } else { Some(byte(options, QUOTE)?.unwrap_or(b'"')) };
        let dialect = Self {
            delimiter: byte(options, DELIMITER)?.unwrap_or(b','),
            quote,
            escape: byte(options, ESCAPE)?,
            comments: options.boolean(COMMENTS)?.unwrap_or(false),
            null: options.get(NULL).map(str::to_owned),
            element_delimiter: options.get(ELEMENT_DELIMITER).unwrap_or(";").to_owned(),
        };
        let marks = [Some(dialect.delimiter), dialect.quote, dialect.escape];
        let mut known = marks.iter().flatten();
        if known.clone().any(|m| matches!(m, b'\n' | b'\r')) {
            return Err(Error::Option("csv: a line end can be neither delimiter, quote nor escape".into()));
        }
        if known.any(|m| marks.iter().filter(|n| **n == Some(*m)).count() > 1) && dialect.quote != dialect.escape {
            return Err(Error::Option("csv: delimiter, quote and escape must differ".into()));
        }
        if dialect.element_delimiter.is_empty() {
            return Err(Error::Option(format!("option '{ELEMENT_DELIMITER}' must not be empty")));
        }
        Ok(dialect)
    }
}

/// A single character, perhaps written as Java does: `\t`, `\\`, `\u0001`.
fn byte(options: &Options, key: &str) -> Result<Option<u8>> {
    let Some(text) = options.get(key) else { return Ok(None) };
    let byte = match text {
        "\\t" => Some(b'\t'),
        "\\\\" => Some(b'\\'),
        _ => match (text.strip_prefix("\\u"), text.as_bytes()) {
            (Some(hex), _) => u8::from_str_radix(hex, 16).ok().filter(u8::is_ascii),
            (None, [byte]) => Some(*byte),
            (None, _) => None,
        },
    };
    match byte {
        Some(b) => Ok(Some(b)),
        None => Err(Error::Option(format!("option '{key}' = '{text}': expected one ASCII character"))),
    }
}

impl Csv {
    fn options() -> Vec<OptionSpec> {
        use OptionKind::{Boolean, Text};
        let texts = [DELIMITER, QUOTE, ELEMENT_DELIMITER, ESCAPE, NULL].map(|k| OptionSpec::optional(k, Text));
        let flags = [NO_QUOTE, COMMENTS, IGNORE_ERRORS].map(|k| OptionSpec::optional(k, Boolean));
        texts.into_iter().chain(flags).collect()
    }
}

fn ignores_errors(options: &Options) -> Result<bool> {
    Ok(options.boolean(IGNORE_ERRORS)?.unwrap_or(false))
}

impl RecordFormat for Csv {
    fn decoder(&self, table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn Decoder>> {
        let record = decode::Record::new(table, &projection, Dialect::new(options)?)?;
        Ok(Box::new(decode::CsvDecoder::new(record, projection, ignores_errors(options)?)))
    }

    fn encoder(&self, _schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(encode::CsvEncoder::new(Dialect::new(options)?)))
    }
}

impl MessageFormat for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Csv::options()
    }

    fn check(&self, schema: &SchemaRef, options: &Options) -> Result<()> {
        decode::Record::new(schema, schema, Dialect::new(options)?).map(drop)
    }

    fn decoder(&self, table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn MessageDecoder>> {
        let record = decode::Record::new(table, &projection, Dialect::new(options)?)?;
        Ok(Collected::boxed(record, projection, ignores_errors(options)?))
    }

    fn encoder(&self, _schema: &SchemaRef, options: &Options) -> Result<Box<dyn MessageEncoder>> {
        Ok(Box::new(encode::CsvEncoder::new(Dialect::new(options)?)))
    }
}

impl FileFormat for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Csv::options()
    }

    fn check(&self, options: &Options) -> Result<()> {
        Dialect::new(options).map(|_| ())
    }

    fn reader(
        &self,
        file: File,
        table: &SchemaRef,
        projection: SchemaRef,
        options: &Options,
    ) -> Result<Box<dyn FileReader>> {
        Ok(Box::new(RecordReader::new(file, RecordFormat::decoder(self, table, projection, options)?)))
    }

    fn writer(&self, file: File, schema: &SchemaRef, options: &Options) -> Result<Box<dyn FileWriter>> {
        Ok(Box::new(RecordWriter::new(file, RecordFormat::encoder(self, schema, options)?)))
    }
}
