//! Frames: runs of bytes with their length and checksums.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | the length of what follows the head, little-endian |
//! | 4 | CRC-32 of it |
//! | 4 | CRC-32 of these eight bytes |
//! | 1 | the kind |
//! | … | the content |

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::{Error, Result};

/// What every segment begins with.
pub(super) const MAGIC: [u8; 8] = *b"msjournl";
/// The longest frame. More than this is never read into memory at once, whatever a file claims.
pub(super) const MOST_BYTES: usize = 1 << 30;
const HEAD: usize = 12;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The header, as JSON.
    Header = 1,
    /// A schema that batches behind it refer to, as an Arrow IPC message.
    Schema = 2,
    /// What a step took in.
    Step = 3,
    /// A checkpoint that has become durable, as JSON.
    Checkpoint = 4,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Kind::Header, Kind::Schema, Kind::Step, Kind::Checkpoint].into_iter().find(|k| *k as u8 == byte)
    }
}

/// Begins a frame in an empty buffer; its content goes behind.
pub(super) fn begin(buffer: &mut Vec<u8>, kind: Kind) {
    buffer.clear();
    buffer.extend_from_slice(&[0; HEAD]);
    buffer.push(kind as u8);
}

/// Puts in length and checksums, when the content is there.
///
/// # Errors
/// When it is too long.
pub(super) fn seal(buffer: &mut [u8]) -> Result<()> {
    let (head, content) = buffer.split_at_mut(HEAD);
    if content.len() > MOST_BYTES {
        let message = format!(
            "a step's input of {} bytes is longer than the {MOST_BYTES} that a journal takes; set millstream.step.max-rows lower",
            content.len()
        );
        return Err(Error::Option(message));
    }
    let length = u32::try_from(content.len()).map_err(|_| Error::internal("a frame that is too long"))?;
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..8].copy_from_slice(&crc32fast::hash(content).to_le_bytes());
    let sum = crc32fast::hash(&head[..8]);
    head[8..].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

/// A frame that was read; its content begins behind the kind.
#[derive(Debug)]
pub(super) struct Frame {
    pub kind: Kind,
    /// The kind's byte and the content.
    pub bytes: Vec<u8>,
}

impl Frame {
    pub fn content(&self) -> &[u8] {
        &self.bytes[1..]
    }
}

/// Why no frame could be read where one should be.
#[derive(Debug)]
pub(super) enum Broken {
    /// The file ends within it: the process was killed while it was written.
    Torn,
    /// Something else stands there.
    Damaged(String),
    Io(std::io::Error),
}

/// Reads the frames of a segment.
#[derive(Debug)]
pub(super) struct Frames {
    file: BufReader<File>,
    /// How many bytes are left.
    left: u64,
}

impl Frames {
    /// Opens a segment.
    pub fn open(path: &Path) -> Result<Self, Broken> {
        let file = File::open(path).map_err(Broken::Io)?;
        let left = file.metadata().map_err(Broken::Io)?.len();
        let mut frames = Self { file: BufReader::new(file), left };
        let mut magic = [0; MAGIC.len()];
        frames.fill(&mut magic)?;
        if magic == MAGIC { Ok(frames) } else { Err(Broken::Damaged("it is no segment of a journal".into())) }
    }

    /// The next frame; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Frame>, Broken> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        self.fill(&mut head)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, sum) = (word(0) as usize, word(4));
        if crc32fast::hash(&head[..8]) != word(8) {
            return Err(Broken::Damaged("the checksum of a frame's head does not fit".into()));
        }
        if length == 0 || length > MOST_BYTES {
            return Err(Broken::Damaged(format!("a frame of {length} bytes")));
        }
        if length as u64 > self.left {
            return Err(Broken::Torn);
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        if crc32fast::hash(&bytes) != sum {
            return Err(Broken::Damaged("the checksum of a frame does not fit".into()));
        }
        let kind =
            Kind::of(bytes[0]).ok_or_else(|| Broken::Damaged(format!("a frame of unknown kind {}", bytes[0])))?;
        Ok(Some(Frame { kind, bytes }))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Broken> {
        if bytes.len() as u64 > self.left {
            return Err(Broken::Torn);
        }
        self.left -= bytes.len() as u64;
        self.file.read_exact(bytes).map_err(|e| match e.kind() {
            // It was cut off after it was opened.
            std::io::ErrorKind::UnexpectedEof => Broken::Torn,
            _ => Broken::Io(e),
        })
    }
}
