//! `protobuf`: a message is one of Protocol Buffers.
//!
//! `protobuf.message-class-name` names it, by its full name or, as in Flink, by that of its Java class;
//! `protobuf.schema-file` is the `.proto` file, or a descriptor set of `protoc`. Fields are columns of their names: nested
//! messages ROW, repeated fields ARRAY, maps MAP, enums STRING or a whole number.
//!
//! What is not in a message is NULL, or its default with `protobuf.read-default-values`; in syntax proto3 the default always, for
//! values without parts. An empty repeated field or map cannot be told from none. Going out, NULL is left out; within an
//! array or map, where that cannot be, it becomes the default, for texts `protobuf.write-null-string-literal`.
//!
//! The descriptors steer a reader and a writer of the wire format, without a message in memory between bytes and columns.

use arrow::datatypes::{Fields, SchemaRef};
use prost_reflect::{MessageDescriptor, Syntax};

use super::appended;
use super::batches::Columns;
use super::message::collect::{Collected, MessageColumns, Unread};
use super::message::{MessageDecoder, MessageEncoder, MessageFormat, Messages};
use super::typed::RowColumn;
use crate::change::ChangeBatch;
use crate::table::{OptionKind, OptionSpec, Options};
use crate::{Error, Result};
use decode::{Absent, Reader};
use encode::Writer;
use plan::MessagePlan;

mod decode;
mod encode;
mod plan;
mod schema;
#[cfg(test)]
mod tests;
mod wire;

/// The format `protobuf`.
#[derive(Debug, Clone, Copy)]
pub struct Protobuf;

const IGNORE_ERRORS: &str = "protobuf.ignore-parse-errors";
const READ_DEFAULTS: &str = "protobuf.read-default-values";
const NULL_TEXT: &str = "protobuf.write-null-string-literal";

fn plan(message: &MessageDescriptor, columns: &Fields) -> Result<MessagePlan> {
    MessagePlan::new(message, columns).map_err(|e| Error::Option(format!("protobuf: {e}")))
}

impl MessageFormat for Protobuf {
    fn name(&self) -> &'static str {
        "protobuf"
    }

    fn options(&self) -> Vec<OptionSpec> {
        vec![
            OptionSpec::required(schema::MESSAGE, OptionKind::Text),
            OptionSpec::required(schema::FILE, OptionKind::Text),
            OptionSpec::optional(IGNORE_ERRORS, OptionKind::Boolean),
            OptionSpec::optional(READ_DEFAULTS, OptionKind::Boolean),
            OptionSpec::optional(NULL_TEXT, OptionKind::Text),
        ]
    }

    fn check(&self, schema: &SchemaRef, options: &Options) -> Result<()> {
        plan(&schema::message(options)?, schema.fields()).map(drop)
    }

    fn decoder(&self, _table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn MessageDecoder>> {
        let message = schema::message(options)?;
        let defaults = options.boolean(READ_DEFAULTS)?.unwrap_or(false);
        let scalar_defaults = message.parent_file().syntax() == Syntax::Proto3;
        let columns = ProtobufColumns {
            plan: plan(&message, projection.fields())?,
            row: RowColumn::new(projection.fields())?,
            reader: Reader::new(Absent { defaults, scalar_defaults }),
        };
        Ok(Collected::boxed(columns, projection, options.boolean(IGNORE_ERRORS)?.unwrap_or(false)))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn MessageEncoder>> {
        let plan = plan(&schema::message(options)?, schema.fields())?;
        let writer = Writer { null_text: options.get(NULL_TEXT).unwrap_or_default().to_owned() };
        Ok(Box::new(ProtobufEncoder { plan, writer }))
    }
}

/// Rows of messages.
struct ProtobufColumns {
    plan: MessagePlan,
    row: RowColumn,
    reader: Reader,
}

impl Columns for ProtobufColumns {
    fn finish(&mut self, schema: &SchemaRef, rows: usize) -> Result<ChangeBatch> {
        self.row.finish_batch(schema, rows).map(ChangeBatch::append)
    }
}

impl MessageColumns for ProtobufColumns {
    fn read_message(&mut self, message: &[u8]) -> Result<usize, Unread> {
        self.reader.message(&self.plan, &mut self.row, message)?;
        Ok(1)
    }
}

/// Writes rows as messages.
struct ProtobufEncoder {
    plan: MessagePlan,
    writer: Writer,
}

impl MessageEncoder for ProtobufEncoder {
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Messages) -> Result<()> {
        let rows = appended(changes, "protobuf")?;
        for row in 0..rows.num_rows() {
            let written = self.writer.message(&self.plan, rows.columns(), row, &mut out.bytes);
            written.map_err(|e| Error::Execution(format!("protobuf: {e}")))?;
            out.end();
        }
        Ok(())
    }
}
