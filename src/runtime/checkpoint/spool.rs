//! A checkpoint's file on its way back, on the local disk.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{ChunkReader, Length};

use crate::runtime::paging::read_at;
use crate::{Error, Result};

/// A file without a name, which goes with the last that holds it. Several threads may read it at once: no place in it is shared.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    file: Arc<File>,
    len: u64,
}

impl Spool {
    /// An empty one in a folder.
    ///
    /// # Errors
    /// When a file cannot be made there.
    pub fn create(dir: &Path) -> Result<Self> {
        let file =
            tempfile::tempfile_in(dir).map_err(|e| failed(&format!("making a file in '{}'", dir.display()), e))?;
        Ok(Self { file: Arc::new(file), len: 0 })
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.as_ref().write_all(bytes).map_err(|e| failed("keeping a checkpoint's file on disk", e))?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// What the local disk refuses is no damage to the checkpoint, whatever the kind.
fn failed(doing: &str, error: std::io::Error) -> Error {
    Error::io(doing, std::io::Error::other(error))
}

impl Length for Spool {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Spool {
    type T = BufReader<SpoolReader>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(SpoolReader { spool: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        // Lengths stand in the file: memory is not taken before it is known that so much is there.
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        let mut bytes = vec![0; length];
        read_at(&self.file, &mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Reads from somewhere on.
#[derive(Debug)]
pub(super) struct SpoolReader {
    spool: Spool,
    at: u64,
}

impl Read for SpoolReader {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let left = self.spool.len.saturating_sub(self.at);
        let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        read_at(&self.spool.file, &mut bytes[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
