//! `avro` and `avro-confluent`: a message is an Avro record; `avro` has files of them, too.
//!
//! `avro` knows one schema, which is derived from the table as Flink derives it. In `avro-confluent` a message begins with the
//! number of its schema in a registry: reading asks the registry for it and resolves it against the table's columns, by name;
//! writing registers the table's schema, or that of `avro-confluent.schema`, under `avro-confluent.subject`, which the Kafka
//! connector sets to `<topic>-value` or `<topic>-key` where it is not set.
//!
//! A column takes what the writer's type can become without loss: whole numbers that fit, FLOAT into DOUBLE, timestamps of any
//! unit, an enum's symbol into STRING. What the writer does not know is NULL. Values are read here rather than by Arrow's codec,
//! so that a message that is no record leaves nothing in the columns, and messages of several schemas go into the same ones.

use std::fs::File;

use arrow::datatypes::{Fields, SchemaRef};
use async_trait::async_trait;
use indexmap::IndexMap;

use super::appended;
use super::batches::Columns;
use super::message::collect::{Collected, MessageColumns, Unread};
use super::message::{MessageDecoder, MessageEncoder, MessageFormat, Messages};
use super::typed::RowColumn;
use super::{FileFormat, FileReader, FileWriter};
use crate::change::ChangeBatch;
use crate::table::{OptionKind, OptionSpec, Options};
use crate::{Error, Result};
use encode::RecordWriter;
use file::{AvroReader, AvroWriter, Packing};
use plan::Plan;
use read::Reader;
use registry::Registry;
use schema::Schema;

mod derive;
mod encode;
mod file;
mod plan;
mod read;
mod registry;
mod schema;
#[cfg(test)]
mod tests;

/// The format `avro`.
#[derive(Debug, Clone, Copy)]
pub struct Avro;

/// The format `avro-confluent`.
#[derive(Debug, Clone, Copy)]
pub struct AvroConfluent;

const CODEC: &str = "avro.codec";
const ENCODING: &str = "avro.encoding";
const LEGACY: &str = "avro.timestamp_mapping.legacy";
const CONFLUENT_LEGACY: &str = "avro-confluent.timestamp_mapping.legacy";
const SUBJECT: &str = "avro-confluent.subject";
const SCHEMA: &str = "avro-confluent.schema";

/// What stands before the schema's number.
const MAGIC: u8 = 0;

/// How many schemas of a registry are kept.
const MAX_SCHEMAS: usize = 1000;

fn derived(columns: &Fields, legacy: Option<bool>) -> Result<String> {
    derive::table_schema(columns, legacy.unwrap_or(true)).map_err(Error::Unsupported)
}

impl Avro {
    fn options() -> [OptionSpec; 2] {
        [OptionSpec::optional(ENCODING, OptionKind::Text), OptionSpec::optional(LEGACY, OptionKind::Boolean)]
    }

    fn check(options: &Options) -> Result<()> {
        match options.get(ENCODING).filter(|e| *e != "binary") {
            Some(other) => Err(Error::Option(format!("option '{ENCODING}' = '{other}': only 'binary' is supported"))),
            None => Ok(()),
        }
    }
}

fn packing(options: &Options) -> Result<Packing> {
    let name = options.get(CODEC).unwrap_or("snappy");
    Packing::named(name)
        .ok_or_else(|| Error::Option(format!("option '{CODEC}' = '{name}': expected null, deflate or snappy")))
}

impl FileFormat for Avro {
    fn name(&self) -> &'static str {
        "avro"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Avro::options().into_iter().chain([OptionSpec::optional(CODEC, OptionKind::Text)]).collect()
    }

    fn check(&self, options: &Options) -> Result<()> {
        packing(options)?;
        Avro::check(options)
    }

    /// The file's own schema is resolved against the columns.
    fn reader(&self, file: File, _: &SchemaRef, projection: SchemaRef, _: &Options) -> Result<Box<dyn FileReader>> {
        Ok(Box::new(AvroReader::new(file, projection)?))
    }

    fn writer(&self, file: File, schema: &SchemaRef, options: &Options) -> Result<Box<dyn FileWriter>> {
        let text = derived(schema.fields(), options.boolean(LEGACY)?)?;
        Ok(Box::new(AvroWriter::new(file, &text, schema, packing(options)?)?))
    }
}

impl MessageFormat for Avro {
    fn name(&self) -> &'static str {
        "avro"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Avro::options().into()
    }

    fn check(&self, schema: &SchemaRef, options: &Options) -> Result<()> {
        Avro::check(options)?;
        derived(schema.fields(), options.boolean(LEGACY)?).map(drop)
    }

    fn decoder(&self, table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn MessageDecoder>> {
        let text = derived(table.fields(), options.boolean(LEGACY)?)?;
        let plan = Schema::parse(&text).and_then(|s| Plan::new(s, projection.fields())).map_err(Error::internal)?;
        Ok(Collected::boxed(Records { row: RowColumn::new(projection.fields())?, plan }, projection, false))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn MessageEncoder>> {
        let text = derived(schema.fields(), options.boolean(LEGACY)?)?;
        Ok(Box::new(AvroEncoder { writer: RecordWriter::new(&text, schema.fields())? }))
    }
}

impl MessageFormat for AvroConfluent {
    fn name(&self) -> &'static str {
        "avro-confluent"
    }

    fn options(&self) -> Vec<OptionSpec> {
        use registry::{BASIC_SOURCE, BASIC_USER, BEARER_SOURCE, BEARER_TOKEN, URL};
        let texts = [SUBJECT, SCHEMA, BASIC_SOURCE, BASIC_USER, BEARER_SOURCE, BEARER_TOKEN];
        let mut options = vec![
            OptionSpec::required(URL, OptionKind::Text),
            OptionSpec::optional(CONFLUENT_LEGACY, OptionKind::Boolean),
        ];
        options.extend(texts.map(|key| OptionSpec::optional(key, OptionKind::Text)));
        options
    }

    fn check(&self, schema: &SchemaRef, options: &Options) -> Result<()> {
        Registry::new(options)?;
        RowColumn::new(schema.fields())?;
        match options.get(SCHEMA) {
            Some(text) => RecordWriter::new(text, schema.fields()).map(drop),
            None => Ok(()),
        }
    }

    fn decoder(&self, _table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn MessageDecoder>> {
        let records = FramedRecords {
            row: RowColumn::new(projection.fields())?,
            columns: projection.fields().clone(),
            registry: Registry::new(options)?,
            plans: IndexMap::new(),
            wanted: None,
        };
        Ok(Collected::boxed(records, projection, false))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn MessageEncoder>> {
        let text = match options.get(SCHEMA) {
            Some(text) => text.to_owned(),
            None => derived(schema.fields(), options.boolean(CONFLUENT_LEGACY)?)?,
        };
        Ok(Box::new(FramedEncoder {
            writer: RecordWriter::new(&text, schema.fields())?,
            registry: Registry::new(options)?,
            subject: options.require(SUBJECT)?.to_owned(),
            text,
            header: None,
        }))
    }
}

/// Rows of records of one schema.
struct Records {
    row: RowColumn,
    plan: Plan,
}

/// Reads a record that takes all the bytes.
fn read_record(plan: &Plan, row: &mut RowColumn, bytes: &[u8]) -> Result<usize, Unread> {
    let mut reader = Reader::new(bytes);
    plan.read(row, &mut reader)?;
    if reader.is_at_end() { Ok(1) } else { Err("more bytes than the record has".into()) }
}

impl Columns for Records {
    fn finish(&mut self, schema: &SchemaRef, rows: usize) -> Result<ChangeBatch> {
        self.row.finish_batch(schema, rows).map(ChangeBatch::append)
    }
}

impl MessageColumns for Records {
    fn read_message(&mut self, message: &[u8]) -> Result<usize, Unread> {
        read_record(&self.plan, &mut self.row, message)
    }
}

/// Rows of records that name their schemas.
struct FramedRecords {
    row: RowColumn,
    columns: Fields,
    registry: Registry,
    /// By the schema's number: how it is read, or why not. The oldest are dropped.
    plans: IndexMap<u32, Result<Plan, String>>,
    /// The schema that the last message lacked.
    wanted: Option<u32>,
}

impl Columns for FramedRecords {
    fn finish(&mut self, schema: &SchemaRef, rows: usize) -> Result<ChangeBatch> {
        self.row.finish_batch(schema, rows).map(ChangeBatch::append)
    }
}

#[async_trait]
impl MessageColumns for FramedRecords {
    fn read_message(&mut self, message: &[u8]) -> Result<usize, Unread> {
        let Some((&[MAGIC, a, b, c, d], record)) = message.split_first_chunk::<5>() else {
            return Err("no number of a schema, which each message begins with in this format".into());
        };
        let id = u32::from_be_bytes([a, b, c, d]);
        match self.plans.get(&id) {
            Some(Ok(plan)) => read_record(plan, &mut self.row, record),
            Some(Err(reason)) => Err(Unread::Bad(reason.clone())),
            None => {
                self.wanted = Some(id);
                Err(Unread::Unprepared)
            }
        }
    }

    async fn prepare(&mut self) -> Result<()> {
        let Some(id) = self.wanted else { return Ok(()) };
        let plan = |text: String| {
            let plan = Schema::parse(&text).and_then(|s| Plan::new(s, &self.columns));
            plan.map_err(|reason| format!("schema {id}: {reason}"))
        };
        let plan = self.registry.schema(id).await?.and_then(plan);
        if self.plans.len() >= MAX_SCHEMAS {
            self.plans.shift_remove_index(0);
        }
        self.plans.insert(id, plan);
        self.wanted = None;
        Ok(())
    }
}

/// Writes records of one schema.
struct AvroEncoder {
    writer: RecordWriter,
}

impl MessageEncoder for AvroEncoder {
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Messages) -> Result<()> {
        self.writer.write(appended(changes, "avro")?, &[], out)
    }
}

/// Writes records that name their schema.
struct FramedEncoder {
    writer: RecordWriter,
    registry: Registry,
    subject: String,
    text: String,
    header: Option<[u8; 5]>,
}

#[async_trait]
impl MessageEncoder for FramedEncoder {
    async fn prepare(&mut self) -> Result<()> {
        if self.header.is_none() {
            let [a, b, c, d] = self.registry.register(&self.subject, &self.text).await?.to_be_bytes();
            self.header = Some([MAGIC, a, b, c, d]);
        }
        Ok(())
    }

    fn encode(&mut self, changes: &ChangeBatch, out: &mut Messages) -> Result<()> {
        let rows = appended(changes, "avro-confluent")?;
        let header = self.header.ok_or_else(|| Error::internal("avro-confluent: the schema is not registered yet"))?;
        self.writer.write(rows, &header, out)
    }
}
