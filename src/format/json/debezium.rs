//! `debezium-json`: changes of a database's rows, as Debezium tells them, one a line or a message.
//!
//! ```json
//! {"before": null, "after": {"id": 1, "name": "a"}, "op": "c", "ts_ms": 1589362330904}
//! ```
//!
//! or the same as the `payload` beside its `schema`. `op` is `c` (made), `r` (read at the beginning), `u` (changed) or `d`
//! (gone). A record without a payload, the tombstone behind a `d`, says nothing.

use std::borrow::Cow;
use std::fs::File;

use arrow::datatypes::SchemaRef;

use super::cursor::{Cursor, Reason};
use super::decode::{JsonDecoder, Records};
use super::encode::JsonEncoder;
use super::node::{Reading, RowNode};
use super::{check_null_keys, time_style};
use crate::change::{ChangeBatch, RowKind};
use crate::format::batches::Columns;
use crate::format::message::collect::Collected;
use crate::format::message::{MessageDecoder, MessageEncoder, MessageFormat, Messages};
use crate::format::records::{RecordReader, RecordWriter};
use crate::format::render::Writing;
use crate::format::{Decoder, Encoder, FileFormat, FileReader, FileWriter, RecordFormat};
use crate::table::{OptionKind, OptionSpec, Options, SinkChangelog, SourceChangelog};
use crate::{Error, Result};

const NAME: &str = "debezium-json";
const IGNORE_ERRORS: &str = "debezium-json.ignore-parse-errors";
const SCHEMA_INCLUDE: &str = "debezium-json.schema-include";
const TIMESTAMPS: &str = "debezium-json.timestamp-format.standard";
const NULL_KEYS: &str = "debezium-json.map-null-key.mode";
const NULL_KEY_LITERAL: &str = "debezium-json.map-null-key.literal";
const PLAIN_DECIMALS: &str = "debezium-json.encode.decimal-as-plain-number";

/// The format `debezium-json`.
#[derive(Debug, Clone, Copy)]
pub struct DebeziumJson {
    /// Whether the table has a PRIMARY KEY. Then what a row was before a change may be missing, and is not relied upon.
    pub keyed: bool,
}

impl DebeziumJson {
    fn options() -> Vec<OptionSpec> {
        vec![
            OptionSpec::optional(IGNORE_ERRORS, OptionKind::Boolean),
            OptionSpec::optional(SCHEMA_INCLUDE, OptionKind::Boolean),
            OptionSpec::optional(TIMESTAMPS, OptionKind::Text),
            OptionSpec::optional(NULL_KEYS, OptionKind::Text),
            OptionSpec::optional(NULL_KEY_LITERAL, OptionKind::Text),
            OptionSpec::optional(PLAIN_DECIMALS, OptionKind::Boolean),
        ]
    }

    fn check(options: &Options) -> Result<()> {
        time_style(options, TIMESTAMPS)?;
        check_null_keys(options, NULL_KEYS)
    }

    fn read_changes(self) -> SourceChangelog {
        if self.keyed { SourceChangelog::Upsert } else { SourceChangelog::Retract }
    }

    fn envelope(self, projection: &SchemaRef, options: &Options) -> Result<Envelope> {
        let reading = Reading { style: time_style(options, TIMESTAMPS)?, fail_on_missing: false };
        Ok(Envelope {
            row: RowNode::new(projection.fields(), reading)?,
            kinds: Vec::new(),
            keyed: self.keyed,
            schema_include: options.boolean(SCHEMA_INCLUDE)?.unwrap_or(false),
        })
    }

    fn encoder(options: &Options) -> Result<DebeziumEncoder> {
        if options.boolean(SCHEMA_INCLUDE)?.unwrap_or(false) {
            return Err(Error::Option(format!("option '{SCHEMA_INCLUDE}' = 'true' is for reading only")));
        }
        Ok(DebeziumEncoder(JsonEncoder::new(Writing {
            style: time_style(options, TIMESTAMPS)?,
            plain_decimals: options.boolean(PLAIN_DECIMALS)?.unwrap_or(false),
        })))
    }
}

fn ignores_errors(options: &Options) -> Result<bool> {
    Ok(options.boolean(IGNORE_ERRORS)?.unwrap_or(false))
}

impl RecordFormat for DebeziumJson {
    fn decoder(&self, _table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn Decoder>> {
        let envelope = self.envelope(&projection, options)?;
        Ok(Box::new(JsonDecoder::new(envelope, projection, ignores_errors(options)?)))
    }

    fn encoder(&self, _schema: &SchemaRef, options: &Options) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(DebeziumJson::encoder(options)?))
    }
}

impl MessageFormat for DebeziumJson {
    fn name(&self) -> &'static str {
        NAME
    }

    fn options(&self) -> Vec<OptionSpec> {
        DebeziumJson::options()
    }

    fn source_changelog(&self) -> SourceChangelog {
        self.read_changes()
    }

    fn sink_changelog(&self) -> SinkChangelog {
        SinkChangelog::Retract
    }

    fn check(&self, schema: &SchemaRef, options: &Options) -> Result<()> {
        DebeziumJson::check(options)?;
        self.envelope(schema, options).map(drop)
    }

    fn decoder(&self, _table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn MessageDecoder>> {
        Ok(Collected::boxed(self.envelope(&projection, options)?, projection, ignores_errors(options)?))
    }

    fn encoder(&self, _schema: &SchemaRef, options: &Options) -> Result<Box<dyn MessageEncoder>> {
        Ok(Box::new(DebeziumJson::encoder(options)?))
    }
}

impl FileFormat for DebeziumJson {
    fn name(&self) -> &'static str {
        NAME
    }

    fn options(&self) -> Vec<OptionSpec> {
        DebeziumJson::options()
    }

    fn source_changelog(&self) -> SourceChangelog {
        self.read_changes()
    }

    fn sink_changelog(&self) -> SinkChangelog {
        SinkChangelog::Retract
    }

    fn check(&self, options: &Options) -> Result<()> {
        DebeziumJson::check(options)
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

/// The rows of envelopes, and their kinds.
struct Envelope {
    row: RowNode,
    /// Of all rows in `row`; after a bad record perhaps of more.
    kinds: Vec<RowKind>,
    keyed: bool,
    schema_include: bool,
}

/// What is read of a payload: the texts of its rows, and what was done.
#[derive(Default)]
struct Payload<'a> {
    before: Option<&'a str>,
    after: Option<&'a str>,
    op: Option<Cow<'a, str>>,
    /// Whether it looks as if the payload were one level below.
    is_wrapped: bool,
}

impl Columns for Envelope {
    fn finish(&mut self, schema: &SchemaRef, rows: usize) -> Result<ChangeBatch> {
        let mut kinds = std::mem::take(&mut self.kinds);
        kinds.truncate(rows);
        let changes = kinds.iter().any(|k| *k != RowKind::Insert).then(|| kinds.into());
        Ok(ChangeBatch { rows: self.row.finish_batch(schema, rows)?, kinds: changes, watermarks: None })
    }
}

impl Records for Envelope {
    fn read_record(&mut self, c: &mut Cursor) -> Result<usize, Reason> {
        if c.take_null() {
            return Ok(0);
        }
        let payload = match self.schema_include {
            false => Payload::read(c)?,
            true => match member(c, "payload")? {
                Some(text) => Payload::read(&mut c.within(text))?,
                None => return Ok(0),
            },
        };
        self.changes(c, &payload)
    }
}

impl Envelope {
    fn changes<'a>(&mut self, c: &Cursor<'a>, payload: &Payload<'a>) -> Result<usize, Reason> {
        let Payload { before, after, op, is_wrapped } = payload;
        match (op.as_deref(), before, after) {
            (Some("c" | "r"), _, Some(after)) => self.push(&mut c.within(after), RowKind::Insert).map(|()| 1),
            (Some("u"), Some(before), Some(after)) => {
                self.push(&mut c.within(before), RowKind::UpdateBefore)?;
                self.push(&mut c.within(after), RowKind::UpdateAfter).map(|()| 2)
            }
            (Some("u"), None, Some(after)) if self.keyed => {
                self.push(&mut c.within(after), RowKind::UpdateAfter).map(|()| 1)
            }
            (Some("d"), Some(before), _) => self.push(&mut c.within(before), RowKind::Delete).map(|()| 1),
            (Some(op @ ("u" | "d")), None, _) => Err(format!(
                "a change of kind '{op}' without 'before'; declare a PRIMARY KEY, or let the database tell old rows (in \
                 PostgreSQL: REPLICA IDENTITY FULL)"
            )),
            (Some(op @ ("c" | "r" | "u")), _, None) => Err(format!("a change of kind '{op}' without 'after'")),
            (Some(op), ..) => Err(format!("an unknown kind of change, '{op}'; known are c, r, u and d")),
            (None, ..) if *is_wrapped => {
                Err(format!("no 'op', but a 'payload': set '{SCHEMA_INCLUDE}' = 'true' for records with their schema"))
            }
            (None, ..) => Err("no 'op' that says what was done".into()),
        }
    }

    fn push(&mut self, text: &mut Cursor, kind: RowKind) -> Result<(), Reason> {
        self.row.read(text).map_err(|reason| {
            let part = if kind.is_addition() { "after" } else { "before" };
            format!("'{part}': {reason}")
        })?;
        self.kinds.push(kind);
        Ok(())
    }
}

impl<'a> Payload<'a> {
    fn read(c: &mut Cursor<'a>) -> Result<Self, Reason> {
        let mut payload = Self::default();
        let mut first = true;
        open(c)?;
        while c.another(b'}', std::mem::take(&mut first))? {
            match c.key()?.as_ref() {
                "before" => payload.before = c.text_of_value()?,
                "after" => payload.after = c.text_of_value()?,
                "op" if c.peek() == b'"' => payload.op = Some(c.string()?),
                key => {
                    payload.is_wrapped |= key == "payload";
                    c.skip()?;
                }
            }
        }
        Ok(payload)
    }
}

/// The text of a member of an object, which must be there; `None` for null.
fn member<'a>(c: &mut Cursor<'a>, name: &str) -> Result<Option<&'a str>, Reason> {
    let (mut found, mut first) = (None, true);
    open(c)?;
    while c.another(b'}', std::mem::take(&mut first))? {
        match c.key()? == name {
            true => found = Some(c.text_of_value()?),
            false => c.skip()?,
        }
    }
    found.ok_or_else(|| format!("no '{name}', as '{SCHEMA_INCLUDE}' = 'true' demands"))
}

fn open(c: &mut Cursor) -> Result<(), Reason> {
    if c.peek() == b'{' { c.enter() } else { Err(c.unexpected("an object")) }
}

/// Writes what comes as `c` and what goes as `d`, as Flink does.
struct DebeziumEncoder(JsonEncoder);

impl DebeziumEncoder {
    fn change(&mut self, changes: &ChangeBatch, row: usize) -> Result<&str> {
        let comes = changes.kind(row).is_addition();
        self.0.line.clear();
        self.0.line.push_str(if comes { "{\"before\":null,\"after\":" } else { "{\"before\":" });
        self.0.row(&changes.rows, row)?;
        self.0.line.push_str(if comes { ",\"op\":\"c\"}" } else { ",\"after\":null,\"op\":\"d\"}" });
        Ok(&self.0.line)
    }
}

impl Encoder for DebeziumEncoder {
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Vec<u8>) -> Result<()> {
        for row in 0..changes.num_rows() {
            out.extend_from_slice(self.change(changes, row)?.as_bytes());
            out.push(b'\n');
        }
        Ok(())
    }
}

impl MessageEncoder for DebeziumEncoder {
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Messages) -> Result<()> {
        for row in 0..changes.num_rows() {
            out.bytes.extend_from_slice(self.change(changes, row)?.as_bytes());
            out.end();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
