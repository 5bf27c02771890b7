//! Chunks of rows to Parquet files and back: a chunk is a row group.

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::ChunkReader;

use crate::{Error, Result};

/// Stands in for rows without columns.
const NO_COLUMNS: &str = "__row";
/// How many rows are decoded at once.
const BATCH_ROWS: usize = 8192;

/// Writes chunks of one schema into one file.
///
/// # Errors
/// When Parquet has no form for a type.
pub(super) fn encode(chunks: &[RecordBatch]) -> Result<Vec<u8>> {
    let Some(first) = chunks.first() else { return Err(Error::internal("a file of no chunks")) };
    let schema = stored_schema(first.schema_ref());
    // What changes with each checkpoint is not worth a dictionary or statistics.
    let properties = WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(None)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).map_err(failed)?;
    for chunk in chunks {
        let columns = match chunk.num_columns() {
            0 => vec![Arc::new(BooleanArray::from(vec![true; chunk.num_rows()])) as ArrayRef],
            _ => chunk.columns().to_vec(),
        };
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?).map_err(failed)?;
        writer.flush().map_err(failed)?;
    }
    writer.into_inner().map_err(failed)
}

/// The columns under names of which no two are the same.
fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    if schema.fields().is_empty() {
        return Arc::new(Schema::new(vec![Field::new(NO_COLUMNS, DataType::Boolean, false)]));
    }
    let mut names: Vec<String> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let mut name = field.name().clone();
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{}_{number}", field.name());
            number += 1;
        }
        names.push(name);
    }
    // A field's own nullability may be wider than what its rows hold, and never narrower.
    let fields = schema.fields().iter().zip(names).map(|(f, name)| f.as_ref().clone().with_name(name));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A file of chunks that can be read.
pub(super) struct ChunkFile {
    place: Place,
    metadata: ArrowReaderMetadata,
}

/// Where a file is.
enum Place {
    Memory(Bytes),
    /// In a file of the local disk without a name.
    Disk(File),
}

impl ChunkFile {
    /// Opens a file that is in memory; what is wrong with it is told in words.
    pub fn open(bytes: Bytes) -> Result<Self, String> {
        let metadata = guarded(|| metadata(&bytes))?;
        Ok(Self { place: Place::Memory(bytes), metadata })
    }

    /// Opens a file, and keeps it on disk.
    pub fn spool(bytes: &Bytes, dir: &Path) -> Result<Self, String> {
        let keep = || {
            let mut file = tempfile::tempfile_in(dir)?;
            file.write_all(bytes)?;
            Ok(file)
        };
        let metadata = guarded(|| metadata(bytes))?;
        let file = keep().map_err(|e: std::io::Error| format!("keeping it in '{}': {e}", dir.display()))?;
        Ok(Self { place: Place::Disk(file), metadata })
    }

    /// The rows of a group, under these names; there must be exactly so many.
    pub fn chunk(&self, group: usize, rows: usize, names: &[String]) -> Result<RecordBatch, String> {
        let groups = self.metadata.metadata().row_groups();
        let found = groups.get(group).map(|g| g.num_rows());
        if found != i64::try_from(rows).ok() {
            return Err(format!("row group {group} should have {rows} rows, and has {found:?}"));
        }
        guarded(|| self.read(group, rows, names))
    }

    fn reader(
        &self,
        place: impl ChunkReader + 'static,
        group: usize,
        rows: usize,
    ) -> Result<ParquetRecordBatchReader, String> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(place, self.metadata.clone());
        let reader = builder.with_row_groups(vec![group]).with_batch_size(BATCH_ROWS.min(rows.max(1))).build();
        reader.map_err(|e| e.to_string())
    }

    fn read(&self, group: usize, rows: usize, names: &[String]) -> Result<RecordBatch, String> {
        let reader = match &self.place {
            Place::Memory(bytes) => self.reader(bytes.clone(), group, rows)?,
            Place::Disk(file) => self.reader(file.try_clone().map_err(|e| e.to_string())?, group, rows)?,
        };
        let stored = Arc::clone(self.metadata.schema());
        let mut batches = Vec::new();
        let mut read = 0;
        for batch in reader {
            let batch = batch.map_err(|e| e.to_string())?;
            read += batch.num_rows();
            if read > rows {
                break;
            }
            batches.push(batch);
        }
        if read != rows {
            return Err(format!("row group {group} should have {rows} rows, and gives {read}"));
        }
        let joined = match batches.as_slice() {
            [only] => only.clone(),
            _ => concat_batches(&stored, &batches).map_err(|e| e.to_string())?,
        };
        renamed(joined, names)
    }
}

fn metadata(bytes: &Bytes) -> Result<ArrowReaderMetadata, String> {
    ArrowReaderMetadata::load(bytes, ArrowReaderOptions::new()).map_err(|e| e.to_string())
}

/// The rows under these names.
fn renamed(rows: RecordBatch, names: &[String]) -> Result<RecordBatch, String> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let schema = rows.schema();
    if names.is_empty() {
        let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
        return empty.map_err(|e| e.to_string());
    }
    if names.len() != schema.fields().len() {
        return Err(format!("it should have {} columns, and has {}", names.len(), schema.fields().len()));
    }
    let fields = schema.fields().iter().zip(names).map(|(f, name)| f.as_ref().clone().with_name(name));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new_with_options(schema, rows.columns().to_vec(), &options).map_err(|e| e.to_string())
}

/// Reading what may be anything: a panic in the decoder counts as damage.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("it is no Parquet file that can be read".into()))
}

fn failed(e: parquet::errors::ParquetError) -> Error {
    Error::Execution(format!("writing state as Parquet: {e}"))
}
