//! Files of keys that were put aside.
//!
//! A segment is written once, in the order of the keys' hashes, and then only read. It consists of blocks of entries; an entry is
//! a key's hash, how many rows it has, and the rows. In memory stand a filter over the hashes and, for each block, where it begins.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::bloom::Bloom;
use crate::{Error, Result};

/// A block is closed when it has so many bytes.
const BLOCK_BYTES: usize = 4 << 10;
/// Who reads all blocks reads about so many bytes at a time.
const READ_AHEAD: usize = 256 << 10;
const ENTRY_HEAD: usize = 16;

/// A file of entries, which goes with the last that holds it.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    blocks: Vec<Block>,
    filter: Bloom,
    len: u32,
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    /// The hash of its first entry.
    first: u64,
    /// Where it stands in the file.
    at: u64,
    len: u32,
    /// The number of its first entry.
    number: u32,
}

/// An entry as it stands in a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub hash: u64,
    /// Its number within the segment.
    pub number: u32,
    pub rows: u32,
    pub payload: &'a [u8],
}

/// One block of a segment in memory; the one that was read last.
#[derive(Debug, Default)]
pub(super) struct BlockBuffer {
    block: Option<usize>,
    bytes: Vec<u8>,
}

impl Segment {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it takes in memory.
    pub fn memory(&self) -> usize {
        self.filter.bytes() + self.blocks.capacity() * size_of::<Block>()
    }

    /// The entry of a hash. Asked in the order of hashes, each block is read once.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find<'a>(&self, hash: u64, buffer: &'a mut BlockBuffer) -> Result<Option<Entry<'a>>> {
        if !self.filter.may_have(hash) {
            return Ok(None);
        }
        let Some(block) = self.blocks.partition_point(|b| b.first <= hash).checked_sub(1) else { return Ok(None) };
        for entry in self.read(block, buffer)? {
            let entry = entry?;
            if entry.hash >= hash {
                return Ok((entry.hash == hash).then_some(entry));
            }
        }
        Ok(None)
    }

    fn read<'a>(&self, number: usize, buffer: &'a mut BlockBuffer) -> Result<Entries<'a>> {
        let block = self.blocks[number];
        if buffer.block != Some(number) {
            buffer.block = None;
            buffer.bytes.resize(block.len as usize, 0);
            read_at(&self.file, &mut buffer.bytes, block.at).map_err(|e| Error::io("reading state on disk", e))?;
            buffer.block = Some(number);
        }
        Ok(Entries { rest: &buffer.bytes, number: block.number })
    }

    /// Hands all entries out, in the order of their hashes.
    ///
    /// # Errors
    /// When the file cannot be read, or with what `each` fails.
    pub fn scan(&self, each: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        let mut cursor = Cursor::new(self);
        while let Some(entry) = cursor.entry()? {
            let payload = entry.payload.len();
            each(entry)?;
            cursor.pass(payload);
        }
        Ok(())
    }
}

/// Goes through a segment entry by entry.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    segment: &'a Segment,
    /// Some blocks, and the number of the first behind them.
    bytes: Vec<u8>,
    block: usize,
    /// Where in `bytes` the next entry begins, and its number.
    at: usize,
    number: u32,
}

impl<'a> Cursor<'a> {
    pub fn new(segment: &'a Segment) -> Self {
        Self { segment, bytes: Vec::new(), block: 0, at: 0, number: 0 }
    }

    /// The entry that it stands at; `None` behind the last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entry(&mut self) -> Result<Option<Entry<'_>>> {
        if self.at >= self.bytes.len() && self.block < self.segment.blocks.len() {
            self.read_on()?;
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        Entries { rest, number: self.number }.next().transpose()
    }

    fn read_on(&mut self) -> Result<()> {
        let from = self.segment.blocks[self.block].at;
        let mut len = 0;
        while let Some(block) = self.segment.blocks.get(self.block) {
            if len > 0 && len + block.len as usize > READ_AHEAD {
                break;
            }
            len += block.len as usize;
            self.block += 1;
        }
        self.bytes.resize(len, 0);
        self.at = 0;
        read_at(&self.segment.file, &mut self.bytes, from).map_err(|e| Error::io("reading state on disk", e))
    }

    /// Goes on behind an entry that it stood at.
    pub fn pass(&mut self, payload: usize) {
        self.at += ENTRY_HEAD + payload;
        self.number += 1;
    }
}

struct Entries<'a> {
    rest: &'a [u8],
    number: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = || {
            let (hash, rest) = self.rest.split_first_chunk::<8>()?;
            let (rows, rest) = rest.split_first_chunk::<4>()?;
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            let (hash, rows) = (u64::from_le_bytes(*hash), u32::from_le_bytes(*rows));
            Some((Entry { hash, number: self.number, rows, payload }, rest))
        };
        let Some((entry, rest)) = read() else {
            self.rest = &[];
            return Some(Err(Error::internal("a block of state on disk is cut off")));
        };
        self.rest = rest;
        self.number += 1;
        Some(Ok(entry))
    }
}

/// Writes a segment, entry by entry.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    file: BufWriter<File>,
    blocks: Vec<Block>,
    /// How many bytes the last block has so far.
    open: usize,
    filter: Bloom,
    len: u32,
    rows: u64,
    bytes: u64,
}

impl SegmentWriter {
    /// A segment in a folder, of about so many entries. Its file has no name: with the process it is gone.
    ///
    /// # Errors
    /// When a file cannot be made there.
    pub fn create(dir: &Path, entries: usize) -> Result<Self> {
        let file =
            tempfile::tempfile_in(dir).map_err(|e| Error::io(format!("making a file in {}", dir.display()), e))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, file),
            blocks: Vec::new(),
            open: 0,
            filter: Bloom::new(entries),
            len: 0,
            rows: 0,
            bytes: 0,
        })
    }

    /// Adds a key's rows; its hash is greater than all before.
    ///
    /// # Errors
    /// When the file cannot be written, or a key's rows take more than four gigabytes.
    pub fn push(&mut self, hash: u64, rows: u32, payload: &[u8]) -> Result<()> {
        let too_large = || Error::Execution("one key's state is larger than four gigabytes".into());
        let len = u32::try_from(payload.len()).map_err(|_| too_large())?;
        let whole = len.checked_add(ENTRY_HEAD as u32).ok_or_else(too_large)?;
        if self.open == 0 || self.open.saturating_add(whole as usize) > BLOCK_BYTES {
            self.blocks.push(Block { first: hash, at: self.bytes, len: 0, number: self.len });
            self.open = 0;
        }
        let write = |file: &mut BufWriter<File>| {
            file.write_all(&hash.to_le_bytes())?;
            file.write_all(&rows.to_le_bytes())?;
            file.write_all(&len.to_le_bytes())?;
            file.write_all(payload)
        };
        write(&mut self.file).map_err(|e| Error::io("writing state to disk", e))?;
        self.filter.insert(hash);
        self.open += whole as usize;
        self.blocks.last_mut().into_iter().for_each(|b| b.len += whole);
        self.bytes += u64::from(whole);
        self.rows += u64::from(rows);
        self.len = self.len.checked_add(1).ok_or_else(|| Error::Execution("too many keys on disk".into()))?;
        Ok(())
    }

    /// The segment.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<Segment> {
        let file = self.file.into_inner().map_err(|e| Error::io("writing state to disk", e.into_error()))?;
        let (mut blocks, filter) = (self.blocks, self.filter);
        blocks.shrink_to_fit();
        Ok(Segment { file, blocks, filter, len: self.len, rows: self.rows, bytes: self.bytes })
    }
}

/// Fills `bytes` with what stands in a file from `at` on.
#[cfg(unix)]
pub(in crate::runtime) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Fills `bytes` with what stands in a file from `at` on.
#[cfg(windows)]
pub(in crate::runtime) fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => (bytes, at) = (&mut bytes[read..], at + read as u64),
        }
    }
    Ok(())
}
