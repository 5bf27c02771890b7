//! Avro's files: records in blocks, behind a header with their schema.

use std::fs::File;
use std::io::{BufReader, Read};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use arrow_avro::compression::CompressionCodec;
use arrow_avro::schema::SCHEMA_METADATA_KEY;
use arrow_avro::writer::format::AvroOcfFormat;
use arrow_avro::writer::{Writer, WriterBuilder};

use super::derive::written_columns;
use super::plan::Plan;
use super::read::Reader;
use super::schema::{MAX_TEXT, Schema};
use crate::change::ChangeBatch;
use crate::format::fit::fit;
use crate::format::typed::RowColumn;
use crate::format::{BATCH_ROWS, FileReader, FileWriter, appended};
use crate::{Error, Result};

const MAGIC: &[u8; 4] = b"Obj\x01";

/// How many entries a header may have, and how large a block may be, packed and unpacked.
const MAX_ENTRIES: usize = 1000;
const MAX_BLOCK: usize = 256 << 20;

/// How the blocks are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Deflate,
    Snappy,
}

impl Packing {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "null" => Some(Packing::None),
            "deflate" => Some(Packing::Deflate),
            "snappy" => Some(Packing::Snappy),
            _ => None,
        }
    }

    fn unpack(self, packed: Vec<u8>) -> Result<Vec<u8>, String> {
        match self {
            Packing::None => Ok(packed),
            Packing::Deflate => {
                let mut out = Vec::new();
                let decoder = flate2::read::DeflateDecoder::new(packed.as_slice());
                decoder.take(MAX_BLOCK as u64 + 1).read_to_end(&mut out).map_err(|e| e.to_string())?;
                if out.len() > MAX_BLOCK { Err("a block that unpacks to too much".into()) } else { Ok(out) }
            }
            Packing::Snappy => {
                let (data, checksum) = packed.split_last_chunk::<4>().ok_or("a block that is cut off")?;
                if snap::raw::decompress_len(data).map_err(|e| e.to_string())? > MAX_BLOCK {
                    return Err("a block that unpacks to too much".into());
                }
                let out = snap::raw::Decoder::new().decompress_vec(data).map_err(|e| e.to_string())?;
                if crc32fast::hash(&out) != u32::from_be_bytes(*checksum) {
                    return Err("a block's checksum is wrong".into());
                }
                Ok(out)
            }
        }
    }
}

/// Reads a file's records as rows.
pub(super) struct AvroReader {
    file: Counted,
    plan: Plan,
    row: RowColumn,
    projection: SchemaRef,
    packing: Packing,
    sync: [u8; 16],
    /// The block under way: its bytes, how many were read, and how many records are still in it.
    block: Vec<u8>,
    at: usize,
    left: usize,
}

/// A file, and how many bytes of it have been read.
struct Counted {
    file: BufReader<File>,
    position: u64,
}

impl AvroReader {
    pub(super) fn new(file: File, projection: SchemaRef) -> Result<Self> {
        let mut file = Counted { file: BufReader::new(file), position: 0 };
        let (text, packing, sync) = file.header()?;
        let plan = Schema::parse(&text).and_then(|schema| Plan::new(schema, projection.fields())).map_err(failed)?;
        let row = RowColumn::new(projection.fields())?;
        Ok(Self { file, plan, row, projection, packing, sync, block: Vec::new(), at: 0, left: 0 })
    }

    /// Reads the next block; false at the file's end.
    fn next_block(&mut self) -> Result<bool> {
        let Some(count) = self.file.long_or_end()? else { return Ok(false) };
        let size = self.file.size(MAX_BLOCK)?;
        let packed = self.file.bytes(size)?;
        if self.file.array::<16>()? != self.sync {
            return Err(self.file.bad("a block does not end with the file's mark"));
        }
        self.block = self.packing.unpack(packed).map_err(|e| self.file.bad(&e))?;
        self.at = 0;
        // Records may take no bytes, but then a few are enough.
        let most = self.block.len() + BATCH_ROWS;
        self.left = usize::try_from(count)
            .ok()
            .filter(|n| *n <= most)
            .ok_or_else(|| self.file.bad(&format!("{count} records in a block of {} bytes", self.block.len())))?;
        Ok(true)
    }

    fn record(&mut self) -> Result<()> {
        let bytes = self.block.get(self.at..).unwrap_or_default();
        let mut reader = Reader::new(bytes);
        self.plan.read(&mut self.row, &mut reader).map_err(|e| self.file.bad(&e))?;
        self.at = self.block.len() - reader.left();
        self.left -= 1;
        if self.left == 0 && self.at < self.block.len() {
            return Err(self.file.bad("a block has more bytes than its records"));
        }
        Ok(())
    }
}

impl FileReader for AvroReader {
    fn next(&mut self) -> Result<Option<ChangeBatch>> {
        let mut rows = 0;
        while rows < BATCH_ROWS && (self.left > 0 || self.next_block()?) {
            if self.left > 0 {
                self.record()?;
                rows += 1;
            }
        }
        match rows {
            0 => Ok(None),
            _ => Ok(Some(ChangeBatch::append(self.row.finish_batch(&self.projection, rows)?))),
        }
    }

    fn position(&self) -> u64 {
        self.file.position
    }
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::Execution(format!("avro: {e}"))
}

impl Counted {
    fn bad(&self, reason: &str) -> Error {
        Error::record(format!("byte {}", self.position), reason)
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(count as u64).read_to_end(&mut bytes);
        self.position += read.map_err(|e| Error::io("reading an Avro file", e))? as u64;
        if bytes.len() < count { Err(self.bad("the file is cut off")) } else { Ok(bytes) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| self.bad("the file is cut off"))
    }

    /// A number, unless the file ends before it.
    fn long_or_end(&mut self) -> Result<Option<i64>> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let mut byte = [0];
            let read = self.file.read(&mut byte).map_err(|e| Error::io("reading an Avro file", e))?;
            let [byte] = byte;
            match read {
                0 if shift == 0 => return Ok(None),
                0 => return Err(self.bad("the file is cut off")),
                _ => self.position += 1,
            }
            if shift == 63 && byte > 1 {
                return Err(self.bad("a number that does not end, or is too large"));
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(Some((value >> 1) as i64 ^ -((value & 1) as i64)));
            }
            shift += 7;
        }
    }

    fn long(&mut self) -> Result<i64> {
        self.long_or_end()?.ok_or_else(|| self.bad("the file is cut off"))
    }

    fn size(&mut self, most: usize) -> Result<usize> {
        let size = self.long()?;
        usize::try_from(size).ok().filter(|s| *s <= most).ok_or_else(|| self.bad(&format!("{size} bytes")))
    }

    /// The schema's text, how blocks are packed, and the mark that ends them.
    fn header(&mut self) -> Result<(String, Packing, [u8; 16])> {
        if self.array::<4>()? != *MAGIC {
            return Err(self.bad("no Avro file"));
        }
        let (mut schema, mut packing, mut entries) = (None, Packing::None, 0);
        loop {
            let count = self.long()?;
            if count < 0 {
                self.long()?;
            }
            if count == 0 {
                break;
            }
            for _ in 0..count.unsigned_abs() {
                entries += 1;
                if entries > MAX_ENTRIES {
                    return Err(self.bad("too large a header"));
                }
                let key_size = self.size(MAX_TEXT)?;
                let key = self.bytes(key_size)?;
                let size = self.size(MAX_TEXT)?;
                let value = self.bytes(size)?;
                let text = String::from_utf8(value);
                match (key.as_slice(), text) {
                    (b"avro.schema", Ok(text)) => schema = Some(text),
                    (b"avro.codec", Ok(name)) => {
                        packing = Packing::named(&name)
                            .ok_or_else(|| self.bad(&format!("blocks packed by {name}, which is not supported")))?;
                    }
                    _ => {}
                }
            }
        }
        let schema = schema.ok_or_else(|| self.bad("no schema"))?;
        Ok((schema, packing, self.array()?))
    }
}

/// Writes rows as a file's records.
pub(super) struct AvroWriter {
    writer: Writer<File, AvroOcfFormat>,
    /// The same file, to ask its size.
    file: File,
    written: SchemaRef,
    /// Rows that are not enough for a block yet.
    waiting: Vec<RecordBatch>,
    rows: usize,
}

impl AvroWriter {
    pub(super) fn new(file: File, text: &str, schema: &SchemaRef, packing: Packing) -> Result<Self> {
        let fields = Schema::parse(text).and_then(|s| written_columns(&s, schema.fields())).map_err(failed)?;
        let metadata = [(SCHEMA_METADATA_KEY.to_owned(), text.to_owned())].into();
        let with_text = ArrowSchema::new_with_metadata(fields.clone(), metadata);
        let codec = match packing {
            Packing::None => None,
            Packing::Deflate => Some(CompressionCodec::Deflate),
            Packing::Snappy => Some(CompressionCodec::Snappy),
        };
        let same = file.try_clone().map_err(|e| Error::io("writing an Avro file", e))?;
        let builder = WriterBuilder::new(with_text).with_compression(codec);
        let writer = builder.build::<_, AvroOcfFormat>(file).map_err(failed)?;
        let written = SchemaRef::new(ArrowSchema::new(fields));
        Ok(Self { writer, file: same, written, waiting: Vec::new(), rows: 0 })
    }

    fn write_block(&mut self) -> Result<()> {
        if self.rows > 0 {
            let block = concat_batches(&self.written, &std::mem::take(&mut self.waiting))?;
            self.writer.write(&block).map_err(failed)?;
        }
        self.rows = 0;
        Ok(())
    }
}

impl FileWriter for AvroWriter {
    fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        let rows = fit(appended(changes, "avro")?, &self.written)?;
        self.rows += rows.num_rows();
        self.waiting.push(rows);
        if self.rows >= BATCH_ROWS { self.write_block() } else { Ok(()) }
    }

    fn size(&self) -> u64 {
        let waiting: usize = self.waiting.iter().map(RecordBatch::get_array_memory_size).sum();
        self.file.metadata().map_or(0, |m| m.len()) + waiting as u64
    }

    fn finish(mut self: Box<Self>) -> Result<File> {
        self.write_block()?;
        self.writer.finish().map_err(failed)?;
        Ok(self.writer.into_inner())
    }
}
