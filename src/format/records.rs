//! Files of records: what makes a [`FileReader`] of a [`Decoder`], and a [`FileWriter`] of an [`Encoder`].

use std::fs::File;
use std::io::{Read, Write};

use super::{Decoder, Encoder, FileReader, FileWriter};
use crate::change::ChangeBatch;
use crate::{Error, Result};

/// How much is read or written at once.
const BLOCK: usize = 1 << 20;

/// Reads a file of records, block by block.
pub struct RecordReader {
    file: File,
    decoder: Box<dyn Decoder>,
    block: Vec<u8>,
    /// The part of `block` that is still to be decoded.
    rest: std::ops::Range<usize>,
    position: u64,
    ended: bool,
}

impl RecordReader {
    /// Reads `file` from where it stands.
    pub fn new(file: File, decoder: Box<dyn Decoder>) -> Self {
        Self { file, decoder, block: vec![0; BLOCK], rest: 0..0, position: 0, ended: false }
    }

    fn fill(&mut self) -> Result<()> {
        let read = self.file.read(&mut self.block).map_err(|e| Error::io("reading records", e))?;
        self.rest = 0..read;
        self.position += read as u64;
        if read == 0 {
            self.ended = true;
            self.decoder.finish()?;
        }
        Ok(())
    }
}

impl FileReader for RecordReader {
    fn next(&mut self) -> Result<Option<ChangeBatch>> {
        loop {
            let bytes = self.block.get(self.rest.clone()).unwrap_or_default();
            let taken = self.decoder.decode(bytes)?;
            let is_full = taken < bytes.len();
            self.rest.start += taken;
            if is_full || self.ended {
                let batch = self.decoder.flush()?;
                if batch.is_some() || self.ended {
                    return Ok(batch);
                }
            } else {
                self.fill()?;
            }
        }
    }

    fn position(&self) -> u64 {
        self.position - self.rest.len() as u64
    }

    fn skipped(&self) -> u64 {
        self.decoder.skipped()
    }
}

/// Writes a file of records.
pub struct RecordWriter {
    file: File,
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
    written: u64,
}

impl RecordWriter {
    /// Writes into `file` from where it stands.
    pub fn new(file: File, encoder: Box<dyn Encoder>) -> Self {
        Self { file, encoder, buffer: Vec::new(), written: 0 }
    }

    fn write_out(&mut self) -> Result<()> {
        self.file.write_all(&self.buffer).map_err(|e| Error::io("writing records", e))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl FileWriter for RecordWriter {
    fn write(&mut self, changes: &ChangeBatch) -> Result<()> {
        self.encoder.encode(changes, &mut self.buffer)?;
        if self.buffer.len() >= BLOCK { self.write_out() } else { Ok(()) }
    }

    fn size(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn finish(mut self: Box<Self>) -> Result<File> {
        self.write_out()?;
        Ok(self.file)
    }
}
