//! `json`: one JSON object a line, or a message.
//!
//! Decoding builds only the columns that are read, in one pass and without a tree or tape between, and reads values as
//! Flink does: text that holds a number into a number, a number or a whole object into a STRING, base64 into BYTES.

use std::fs::File;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;

use super::message::collect::Collected;
use super::message::{MessageDecoder, MessageEncoder, MessageFormat};
use super::records::{RecordReader, RecordWriter};
use super::render::Writing;
use super::text::TimeStyle;
use super::{Decoder, Encoder, FileFormat, FileReader, FileWriter, RecordFormat};
use crate::table::{OptionKind, OptionSpec, Options};
use crate::{Error, Result};

mod cursor;
pub mod debezium;
mod decode;
mod encode;
mod node;

/// The format `json`.
#[derive(Debug, Clone, Copy)]
pub struct Json;

const IGNORE_ERRORS: &str = "json.ignore-parse-errors";
const FAIL_ON_MISSING: &str = "json.fail-on-missing-field";
const TIMESTAMPS: &str = "json.timestamp-format.standard";
const NULL_KEYS: &str = "json.map-null-key.mode";
const NULL_KEY_LITERAL: &str = "json.map-null-key.literal";
const PLAIN_DECIMALS: &str = "json.encode.decimal-as-plain-number";

impl Json {
    fn options() -> Vec<OptionSpec> {
        vec![
            OptionSpec::optional(IGNORE_ERRORS, OptionKind::Boolean),
            OptionSpec::optional(FAIL_ON_MISSING, OptionKind::Boolean),
            OptionSpec::optional(TIMESTAMPS, OptionKind::Text),
            OptionSpec::optional(NULL_KEYS, OptionKind::Text),
            OptionSpec::optional(NULL_KEY_LITERAL, OptionKind::Text),
            OptionSpec::optional(PLAIN_DECIMALS, OptionKind::Boolean),
        ]
    }

    /// A map's keys are never NULL here, so what `json.map-null-key.mode` says never comes to pass; it is only checked.
    fn check(options: &Options) -> Result<()> {
        time_style(options, TIMESTAMPS)?;
        if ignores_errors(options)? && options.boolean(FAIL_ON_MISSING)?.unwrap_or(false) {
            return Err(Error::Option(format!("'{IGNORE_ERRORS}' and '{FAIL_ON_MISSING}' cannot both be true")));
        }
        check_null_keys(options, NULL_KEYS)
    }

    fn root(projection: &SchemaRef, options: &Options) -> Result<node::RowNode> {
        let reading = node::Reading {
            style: time_style(options, TIMESTAMPS)?,
            fail_on_missing: options.boolean(FAIL_ON_MISSING)?.unwrap_or(false),
        };
        node::RowNode::new(projection.fields(), reading)
    }

    fn encoder(options: &Options) -> Result<encode::JsonEncoder> {
        Ok(encode::JsonEncoder::new(Writing {
            style: time_style(options, TIMESTAMPS)?,
            plain_decimals: options.boolean(PLAIN_DECIMALS)?.unwrap_or(false),
        }))
    }
}

fn ignores_errors(options: &Options) -> Result<bool> {
    Ok(options.boolean(IGNORE_ERRORS)?.unwrap_or(false))
}

impl RecordFormat for Json {
    fn decoder(&self, _table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn Decoder>> {
        let root = Json::root(&projection, options)?;
        Ok(Box::new(decode::JsonDecoder::new(root, projection, ignores_errors(options)?)))
    }

    fn encoder(&self, _schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(Json::encoder(options)?))
    }
}

impl MessageFormat for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Json::options()
    }

    fn check(&self, schema: &SchemaRef, options: &Options) -> Result<()> {
        Json::check(options)?;
        Json::root(schema, options).map(drop)
    }

    fn decoder(&self, _table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn MessageDecoder>> {
        Ok(Collected::boxed(Json::root(&projection, options)?, projection, ignores_errors(options)?))
    }

    fn encoder(&self, _schema: &SchemaRef, options: &Options) -> Result<Box<dyn MessageEncoder>> {
        Ok(Box::new(Json::encoder(options)?))
    }
}

impl FileFormat for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Json::options()
    }

    fn check(&self, options: &Options) -> Result<()> {
        Json::check(options)
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

/// Rows as texts of JSON, an object each.
///
/// # Errors
/// When a column's type has no form as text.
pub(crate) fn objects(rows: &RecordBatch) -> Result<StringArray> {
    let mut encoder = encode::JsonEncoder::new(Writing { style: TimeStyle::Sql, plain_decimals: false });
    let texts = (0..rows.num_rows()).map(|row| {
        encoder.line.clear();
        encoder.row(rows, row)?;
        Ok(Some(encoder.line.clone()))
    });
    texts.collect()
}

fn check_null_keys(options: &Options, key: &str) -> Result<()> {
    match options.get(key).map(str::to_ascii_uppercase).as_deref() {
        None | Some("FAIL" | "DROP" | "LITERAL") => Ok(()),
        Some(other) => Err(Error::Option(format!("option '{key}' = '{other}': expected FAIL, DROP or LITERAL"))),
    }
}

fn time_style(options: &Options, key: &str) -> Result<TimeStyle> {
    match options.get(key) {
        None | Some("SQL") => Ok(TimeStyle::Sql),
        Some("ISO-8601") => Ok(TimeStyle::Iso),
        Some(other) => Err(Error::Option(format!("option '{key}' = '{other}': expected 'SQL' or 'ISO-8601'"))),
    }
}

#[cfg(test)]
mod tests;
