//! Chunks of rows to Parquet files and back: a chunk is a row group.

use std::panic::{AssertUnwindSafe, catch_unwind};
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

use super::spool::Spool;
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
pub(super) enum Place {
    Memory(Bytes),
    Disk(Spool),
}

impl ChunkFile {
    /// Opens a file; what is wrong with it is told in words.
    pub fn open(place: Place) -> Result<Self, String> {
        let metadata = match &place {
            Place::Memory(bytes) => metadata(bytes),
            Place::Disk(spool) => metadata(spool),
        };
        Ok(Self { metadata: metadata?, place })
    }

    /// The rows of a group, under these names; there must be exactly so many.
    pub fn chunk(&self, group: usize, rows: usize, names: &[String]) -> Result<RecordBatch, String> {
        let batches = self.batches(group, rows, names)?.collect::<Result<Vec<_>, _>>()?;
        match batches.as_slice() {
            [] => renamed(RecordBatch::new_empty(Arc::clone(self.metadata.schema())), names),
            [only] => Ok(only.clone()),
            [first, ..] => concat_batches(first.schema_ref(), &batches).map_err(|e| e.to_string()),
        }
    }

    /// The same, some thousands of rows at a time.
    pub fn batches<'a>(&self, group: usize, rows: usize, names: &'a [String]) -> Result<Batches<'a>, String> {
        let groups = self.metadata.metadata().row_groups();
        let found = groups.get(group).map(|g| g.num_rows());
        if found != i64::try_from(rows).ok() {
            return Err(format!("row group {group} should have {rows} rows, and has {found:?}"));
        }
        let reader = match &self.place {
            Place::Memory(bytes) => self.reader(bytes.clone(), group, rows),
            Place::Disk(spool) => self.reader(spool.clone(), group, rows),
        };
        Ok(Batches { reader: reader?, group, rows, read: 0, names })
    }

    fn reader(
        &self,
        place: impl ChunkReader + 'static,
        group: usize,
        rows: usize,
    ) -> Result<ParquetRecordBatchReader, String> {
        guarded(|| {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(place, self.metadata.clone());
            let builder = builder.with_row_groups(vec![group]).with_batch_size(BATCH_ROWS.min(rows.max(1)));
            builder.build().map_err(|e| e.to_string())
        })
    }
}

/// The rows of a group, some at a time.
pub(super) struct Batches<'a> {
    reader: ParquetRecordBatchReader,
    group: usize,
    rows: usize,
    read: usize,
    names: &'a [String],
}

impl Iterator for Batches<'_> {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match guarded(|| self.reader.next().transpose().map_err(|e| e.to_string())) {
            Ok(batch) => batch,
            Err(e) => return Some(Err(e)),
        };
        self.read += batch.as_ref().map_or(0, RecordBatch::num_rows);
        if self.read > self.rows || (batch.is_none() && self.read < self.rows) {
            let Self { group, rows, read, .. } = self;
            let reason = format!("row group {group} should have {rows} rows, and gives {read}");
            self.rows = self.read;
            return Some(Err(reason));
        }
        batch.map(|batch| renamed(batch, self.names))
    }
}

fn metadata(file: &impl ChunkReader) -> Result<ArrowReaderMetadata, String> {
    guarded(|| ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).map_err(|e| e.to_string()))
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
