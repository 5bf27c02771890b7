//! `arrow`: Arrow's own interchange format, as a file or as a stream; files are what is written.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader as IpcFileReader, StreamReader};
use arrow::ipc::writer::FileWriter as IpcFileWriter;

use super::fit::fit;
use super::{BATCH_ROWS, FileFormat, FileReader, FileWriter, appended};
use crate::change::ChangeBatch;
use crate::table::{OptionSpec, Options};
use crate::{Error, Result};

mod bounds;

/// What an Arrow file begins with, unlike a stream.
const MAGIC: &[u8; 6] = b"ARROW1";

/// The format `arrow`.
#[derive(Debug, Clone, Copy)]
pub struct Arrow;

impl FileFormat for Arrow {
    fn name(&self) -> &'static str {
        "arrow"
    }

    fn options(&self) -> Vec<OptionSpec> {
        Vec::new()
    }

    fn check(&self, _: &Options) -> Result<()> {
        Ok(())
    }

    fn reader(&self, mut file: File, _: &SchemaRef, projection: SchemaRef, _: &Options) -> Result<Box<dyn FileReader>> {
        let mut magic = Vec::new();
        Read::by_ref(&mut file).take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(reading)?;
        let batches = if magic == MAGIC {
            bounds::check_file(&mut file)?;
            file.rewind().map_err(reading)?;
            Batches::file(file, &projection)?
        } else {
            bounds::check_stream(&mut file)?;
            file.rewind().map_err(reading)?;
            Batches::stream(file, &projection)?
        };
        Ok(Box::new(Reader { batches, projection, rest: None, position: 0 }))
    }

    fn writer(&self, file: File, schema: &SchemaRef, _: &Options) -> Result<Box<dyn FileWriter>> {
        let writer = IpcFileWriter::try_new(BufWriter::new(file), schema)?;
        Ok(Box::new(Writer { writer, size: 0 }))
    }
}

fn reading(e: std::io::Error) -> Error {
    Error::io("reading arrow", e)
}

enum Batches {
    File(Box<IpcFileReader<BufReader<File>>>),
    Stream(Box<StreamReader<BufReader<File>>>),
}

impl Batches {
    fn file(mut file: File, projection: &SchemaRef) -> Result<Self> {
        let schema = IpcFileReader::try_new(BufReader::new(file.try_clone().map_err(reading)?), None)?.schema();
        file.rewind().map_err(reading)?;
        let columns = indices(&schema, projection);
        Ok(Batches::File(Box::new(IpcFileReader::try_new(BufReader::new(file), columns)?)))
    }

    fn stream(mut file: File, projection: &SchemaRef) -> Result<Self> {
        let schema = StreamReader::try_new(BufReader::new(file.try_clone().map_err(reading)?), None)?.schema();
        file.rewind().map_err(reading)?;
        let columns = indices(&schema, projection);
        Ok(Batches::Stream(Box::new(StreamReader::try_new(BufReader::new(file), columns)?)))
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match self {
            Batches::File(reader) => reader.next(),
            Batches::Stream(reader) => reader.next(),
        }
    }

    fn position(&mut self) -> u64 {
        let file = match self {
            Batches::File(reader) => reader.get_mut(),
            Batches::Stream(reader) => reader.get_mut(),
        };
        file.get_mut().stream_position().unwrap_or(0)
    }
}

/// The columns of the file that are read. To count rows alone, the first is read.
fn indices(file: &Schema, projection: &SchemaRef) -> Option<Vec<usize>> {
    let mut columns: Vec<usize> = projection.fields().iter().filter_map(|f| file.index_of(f.name()).ok()).collect();
    if columns.is_empty() && !file.fields().is_empty() {
        columns.push(0);
    }
    columns.sort_unstable();
    Some(columns)
}

struct Reader {
    batches: Batches,
    projection: SchemaRef,
    /// What is left of a batch that was larger than ours are, and where it goes on.
    rest: Option<(RecordBatch, usize)>,
    position: u64,
}

impl FileReader for Reader {
    fn next(&mut self) -> Result<Option<ChangeBatch>> {
        loop {
            if let Some((batch, from)) = self.rest.take() {
                let rows = (batch.num_rows() - from).min(BATCH_ROWS);
                let part = batch.slice(from, rows);
                if from + rows < batch.num_rows() {
                    self.rest = Some((batch, from + rows));
                }
                return Ok(Some(ChangeBatch::append(part)));
            }
            let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
            self.position = self.batches.position();
            let batch = fit(&batch, &self.projection)?;
            self.rest = Some((batch, 0)).filter(|(b, _)| b.num_rows() > 0);
        }
    }

    fn position(&self) -> u64 {
        self.position
    }
}

struct Writer {
    writer: IpcFileWriter<BufWriter<File>>,
    size: u64,
}

impl FileWriter for Writer {
    fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        let rows = appended(changes, "arrow")?;
        // The columns are as declared; only whether they may be NULL can differ.
        let rows = RecordBatch::try_new(Arc::clone(self.writer.schema()), rows.columns().to_vec())?;
        self.writer.write(&rows)?;
        self.size += rows.get_array_memory_size() as u64;
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn finish(mut self: Box<Self>) -> Result<File> {
        self.writer.finish()?;
        let buffered = self.writer.into_inner()?;
        buffered.into_inner().map_err(|e| Error::io("writing arrow", e.into_error()))
    }
}
