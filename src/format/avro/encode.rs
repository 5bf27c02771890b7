//! Rows to Avro records.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Fields, Schema as ArrowSchema, SchemaRef};
use arrow_avro::schema::SCHEMA_METADATA_KEY;
use arrow_avro::writer::format::AvroBinaryFormat;
use arrow_avro::writer::{Encoder, WriterBuilder};

use super::derive::written_columns;
use super::schema::Schema;
use crate::format::fit::fit;
use crate::format::message::Messages;
use crate::{Error, Result};

/// Writes rows as records of one schema.
pub(super) struct RecordWriter {
    encoder: Encoder,
    /// The columns in the types that the schema has.
    written: SchemaRef,
}

impl RecordWriter {
    /// A writer of rows with these columns by a schema's text.
    pub(super) fn new(text: &str, columns: &Fields) -> Result<Self> {
        let wrong = |e: String| Error::Option(format!("avro: {e}"));
        let schema = Schema::parse(text).map_err(wrong)?;
        let fields = written_columns(&schema, columns).map_err(wrong)?;
        let metadata = HashMap::from([(SCHEMA_METADATA_KEY.to_owned(), text.to_owned())]);
        let with_text = ArrowSchema::new_with_metadata(fields.clone(), metadata);
        let encoder = WriterBuilder::new(with_text).build_encoder::<AvroBinaryFormat>();
        let encoder = encoder.map_err(|e| Error::Option(format!("avro: {e}")))?;
        Ok(Self { encoder, written: Arc::new(ArrowSchema::new(fields)) })
    }

    /// Appends a message for each row, each behind `header`.
    pub(super) fn write(&mut self, rows: &RecordBatch, header: &[u8], out: &mut Messages) -> Result<()> {
        let rows = fit(rows, &self.written)?;
        self.encoder.encode(&rows).map_err(|e| Error::Execution(format!("avro: {e}")))?;
        let encoded = self.encoder.flush();
        for (start, end) in encoded.offsets().iter().zip(encoded.offsets().iter().skip(1)) {
            out.bytes.extend_from_slice(header);
            out.bytes.extend_from_slice(encoded.bytes().get(*start..*end).unwrap_or_default());
            out.end();
        }
        Ok(())
    }
}
