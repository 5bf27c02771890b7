//! `parquet`: row group after row group, and only the leaves that are read.

use std::fs::File;

use arrow::datatypes::{DataType, Fields, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;

use super::fit::fit;
use super::{BATCH_ROWS, FileFormat, FileReader, FileWriter, appended};
use crate::change::ChangeBatch;
use crate::table::{OptionKind, OptionSpec, Options};
use crate::{Error, Result};

const COMPRESSION: &str = "parquet.compression";
/// How large a row group may grow in memory before it is written.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// The format `parquet`.
#[derive(Debug, Clone, Copy)]
pub struct Parquet;

impl FileFormat for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn options(&self) -> Vec<OptionSpec> {
        vec![OptionSpec::optional(COMPRESSION, OptionKind::Text)]
    }

    fn check(&self, options: &Options) -> Result<()> {
        compression(options).map(|_| ())
    }

    fn reader(&self, file: File, _: &SchemaRef, projection: SchemaRef, _: &Options) -> Result<Box<dyn FileReader>> {
        let size = file.metadata().map_err(|e| Error::io("reading the file's size", e))?.len();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
        let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
        let mask = mask(builder.parquet_schema(), projection.fields());
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(failed)?;
        Ok(Box::new(Reader { reader, projection, size, rows, read: 0 }))
    }

    fn writer(&self, file: File, schema: &SchemaRef, options: &Options) -> Result<Box<dyn FileWriter>> {
        let properties = WriterProperties::builder().set_compression(compression(options)?).build();
        let writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties)).map_err(failed)?;
        Ok(Box::new(Writer(writer)))
    }
}

fn compression(options: &Options) -> Result<Compression> {
    let name = options.get(COMPRESSION).unwrap_or("SNAPPY");
    Ok(match name.to_ascii_uppercase().as_str() {
        "UNCOMPRESSED" | "NONE" => Compression::UNCOMPRESSED,
        "SNAPPY" => Compression::SNAPPY,
        "GZIP" => Compression::GZIP(GzipLevel::default()),
        "ZSTD" => Compression::ZSTD(ZstdLevel::default()),
        "LZ4" | "LZ4_RAW" => Compression::LZ4_RAW,
        _ => {
            let known = "UNCOMPRESSED, SNAPPY, GZIP, ZSTD or LZ4";
            return Err(Error::Option(format!("option '{COMPRESSION}' = '{name}': expected {known}")));
        }
    })
}

fn failed(e: ParquetError) -> Error {
    Error::Execution(format!("parquet: {e}"))
}

/// The leaves below the columns, and below the fields of ROW columns, that are read.
fn mask(file: &SchemaDescriptor, wanted: &Fields) -> ProjectionMask {
    let mut prefixes = Vec::new();
    collect_prefixes(&[], wanted, &mut prefixes);
    let is_wanted = |leaf: &usize| prefixes.iter().any(|p| file.column(*leaf).path().parts().starts_with(p));
    ProjectionMask::leaves(file, (0..file.num_columns()).filter(is_wanted))
}

fn collect_prefixes(parent: &[String], fields: &Fields, prefixes: &mut Vec<Vec<String>>) {
    for field in fields {
        let path: Vec<String> = parent.iter().chain([field.name()]).cloned().collect();
        match field.data_type() {
            DataType::Struct(children) => collect_prefixes(&path, children, prefixes),
            _ => prefixes.push(path),
        }
    }
}

struct Reader {
    reader: ParquetRecordBatchReader,
    projection: SchemaRef,
    /// Bytes and rows of the file, and rows read.
    size: u64,
    rows: u64,
    read: u64,
}

impl FileReader for Reader {
    fn next(&mut self) -> Result<Option<ChangeBatch>> {
        let Some(batch) = self.reader.next().transpose()? else { return Ok(None) };
        self.read += batch.num_rows() as u64;
        Ok(Some(ChangeBatch::append(fit(&batch, &self.projection)?)))
    }

    fn position(&self) -> u64 {
        (u128::from(self.size) * u128::from(self.read) / u128::from(self.rows.max(1))) as u64
    }
}

struct Writer(ArrowWriter<File>);

impl FileWriter for Writer {
    fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        self.0.write(appended(changes, "parquet")?).map_err(failed)?;
        if self.0.in_progress_size() >= ROW_GROUP_BYTES { self.0.flush().map_err(failed) } else { Ok(()) }
    }

    fn size(&self) -> u64 {
        (self.0.bytes_written() + self.0.in_progress_size()) as u64
    }

    fn finish(self: Box<Self>) -> Result<File> {
        self.0.into_inner().map_err(failed)
    }
}
