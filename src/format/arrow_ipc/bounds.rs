//! Whether the lengths that a file claims lie within it. Arrow's readers reserve memory for what is claimed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use arrow::ipc::{Block, root_as_footer, root_as_message};

use crate::{Error, Result};

/// Magic and length at the end of a file.
const TAIL: u64 = 10;
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// Checks the blocks that a file's footer lists.
pub(super) fn check_file(file: &mut File) -> Result<()> {
    let size = size(file)?;
    let mut tail = [0; TAIL as usize];
    seek(file, size.checked_sub(TAIL).ok_or_else(|| broken("no footer"))?)?;
    read(file, &mut tail)?;
    let [a, b, c, d, ..] = tail;
    let length = u64::try_from(i32::from_le_bytes([a, b, c, d])).map_err(|_| broken("a footer of negative length"))?;
    let start = size.checked_sub(TAIL + length).ok_or_else(|| broken("a footer larger than the file"))?;
    let mut footer = vec![0; length as usize];
    seek(file, start)?;
    read(file, &mut footer)?;
    let footer = root_as_footer(&footer).map_err(|e| broken(&format!("a footer that cannot be read: {e}")))?;
    if footer.schema().is_none() {
        return Err(broken("no schema"));
    }
    let blocks = [footer.recordBatches(), footer.dictionaries()];
    let fits = |b: &Block| {
        let lengths = [b.offset(), i64::from(b.metaDataLength()), b.bodyLength()];
        let end = lengths.iter().try_fold(0u64, |sum, n| sum.checked_add(u64::try_from(*n).ok()?));
        // A message has at least its mark and its length.
        b.metaDataLength() >= 8 && end.is_some_and(|end| end <= size)
    };
    let all_fit = blocks.iter().flatten().all(|list| list.iter().all(fits));
    if all_fit { Ok(()) } else { Err(broken("a batch beyond the end of the file")) }
}

/// Checks each message of a stream, going from one to the next.
pub(super) fn check_stream(file: &mut File) -> Result<()> {
    let size = size(file)?;
    let mut at = 0;
    seek(file, at)?;
    while at + 4 <= size {
        let mut word = [0; 4];
        read(file, &mut word)?;
        at += 4;
        if word == CONTINUATION {
            read(file, &mut word)?;
            at += 4;
        }
        let length = u64::try_from(i32::from_le_bytes(word)).map_err(|_| broken("a message of negative length"))?;
        if length == 0 {
            break;
        }
        if length > size.saturating_sub(at) {
            return Err(broken("a message beyond the end of the file"));
        }
        let mut metadata = vec![0; length as usize];
        read(file, &mut metadata)?;
        let message = root_as_message(&metadata).map_err(|e| broken(&format!("a message that cannot be read: {e}")))?;
        let body = u64::try_from(message.bodyLength()).map_err(|_| broken("a body of negative length"))?;
        at += length;
        if body > size.saturating_sub(at) {
            return Err(broken("a message beyond the end of the file"));
        }
        at += body;
        seek(file, at)?;
    }
    Ok(())
}

fn size(file: &File) -> Result<u64> {
    file.metadata().map(|m| m.len()).map_err(super::reading)
}

fn seek(file: &mut File, to: u64) -> Result<()> {
    file.seek(SeekFrom::Start(to)).map(|_| ()).map_err(super::reading)
}

fn read(file: &mut File, buffer: &mut [u8]) -> Result<()> {
    file.read_exact(buffer).map_err(super::reading)
}

fn broken(what: &str) -> Error {
    Error::Execution(format!("no arrow file or stream: {what}"))
}
