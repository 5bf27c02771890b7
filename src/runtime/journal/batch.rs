//! Rows as Arrow IPC messages and back. Schemas stand apart, each once a segment.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::RecordBatchDecoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, root_as_message};

use crate::{Error, Result};

/// Rows beyond this must have bytes: so many rows without any could come of a few bytes of a file.
const ROWS_WITHOUT_BYTES: usize = 1 << 24;
/// What begins in a message's body does so at multiples of this.
const ALIGNMENT: usize = 8;

/// Writes schemas and rows.
pub(super) struct BatchWriter {
    generator: IpcDataGenerator,
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl BatchWriter {
    pub fn try_new() -> Result<Self> {
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
        Ok(Self { generator: IpcDataGenerator::default(), options, context: IpcWriteContext::default() })
    }

    /// Appends a schema.
    ///
    /// # Errors
    /// When a column is of a dictionary type, which no SQL type is.
    pub fn schema(&self, schema: &Schema, out: &mut Vec<u8>) -> Result<()> {
        let is_dictionary = |t: &DataType| matches!(t, DataType::Dictionary(..));
        if let Some(field) = schema.flattened_fields().iter().find(|f| is_dictionary(f.data_type())) {
            let message =
                format!("column '{}' is of the type {}, which cannot be journaled", field.name(), field.data_type());
            return Err(Error::Unsupported(message));
        }
        let mut tracker = DictionaryTracker::new(false);
        let encoded = self.generator.schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &self.options);
        out.extend_from_slice(&encoded.ipc_message);
        Ok(())
    }

    /// Appends rows: the lengths of the message and its body, and both.
    ///
    /// # Errors
    /// When Arrow IPC has no form for them.
    pub fn rows(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let mut tracker = DictionaryTracker::new(false);
        let (_, encoded) = self.generator.encode(rows, &mut tracker, &self.options, &mut self.context)?;
        if !is_backed(rows.num_rows(), encoded.arrow_data.len()) {
            let message = format!(
                "a batch of {} rows without columns cannot be journaled; set millstream.step.max-rows lower",
                rows.num_rows()
            );
            return Err(Error::Option(message));
        }
        let length = |bytes: &[u8]| {
            u32::try_from(bytes.len()).map_err(|_| Error::Option("a batch is too large to be journaled".into()))
        };
        out.extend_from_slice(&length(&encoded.ipc_message)?.to_le_bytes());
        out.extend_from_slice(&length(&encoded.arrow_data)?.to_le_bytes());
        out.extend_from_slice(&encoded.ipc_message);
        out.extend_from_slice(&encoded.arrow_data);
        Ok(())
    }
}

/// Whether so many rows may stand in so many bytes.
fn is_backed(rows: usize, bytes: usize) -> bool {
    rows <= ROWS_WITHOUT_BYTES.max(bytes.saturating_mul(8))
}

/// Reads a schema; what is wrong is told in words.
pub(super) fn read_schema(message: &[u8]) -> Result<SchemaRef, String> {
    guarded(|| {
        let message = root_as_message(message).map_err(|e| e.to_string())?;
        let schema = message.header_as_schema().ok_or("it is no schema")?;
        Ok(Arc::new(fb_to_schema(schema)))
    })
}

/// Reads rows; what is wrong is told in words.
pub(super) fn read_rows(message: &[u8], body: &Buffer, schema: &SchemaRef) -> Result<RecordBatch, String> {
    guarded(|| {
        let message = root_as_message(message).map_err(|e| e.to_string())?;
        let batch = message.header_as_record_batch().ok_or("it is no batch of rows")?;
        // What is compressed claims a length of its own, for which memory would be taken.
        if batch.compression().is_some() {
            return Err("it is compressed".into());
        }
        let rows = usize::try_from(batch.length()).map_err(|_| "it has a negative number of rows")?;
        if !is_backed(rows, body.len()) {
            return Err(format!("it claims {rows} rows in {} bytes", body.len()));
        }
        let (none, version) = (HashMap::new(), message.version());
        let decoder = RecordBatchDecoder::try_new(body, batch, Arc::clone(schema), &none, &version);
        decoder.and_then(RecordBatchDecoder::read_record_batch).map_err(|e| e.to_string())
    })
}

/// Reading what may be anything: a panic in the decoder counts as damage.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("it is no Arrow message that can be read".into()))
}
