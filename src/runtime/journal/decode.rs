//! Bytes back to what a step took in. The bytes come from outside: nothing is taken for granted.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;

use super::batch::{read_rows, read_schema};
use super::encode::{KINDS, Recorded, WATERMARKS};
use super::frame::Frame;
use crate::change::{ChangeBatch, RowKind, Watermark};
use crate::operator::lookup_join::{Answer, Pairs};
use crate::runtime::executor::{SourceState, StepInput, StepPartitions};
use crate::runtime::lookup::LookupInput;

/// What is wrong, in words.
type Read<T> = Result<T, String>;

/// The schemas of a segment.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    schemas: Vec<SchemaRef>,
}

impl Decoder {
    /// Takes a schema in.
    pub fn schema(&mut self, frame: &Frame) -> Read<()> {
        self.schemas.push(read_schema(frame.content()).map_err(|e| format!("a schema: {e}"))?);
        Ok(())
    }

    /// What a step took in. Tables that are kept whole are still to be made of [`LookupInput::read`]; for each look-up whether one is.
    pub fn step(&self, frame: Frame) -> Read<(Recorded, Vec<bool>)> {
        let bytes = Buffer::from_vec(frame.bytes);
        let mut cursor = Cursor { bytes: &bytes, at: 1 };
        let (step, after_snapshot) = (u64::from_le_bytes(cursor.array()?), cursor.flag()?);
        let mut input = StepInput { processing_time: i64::from_le_bytes(cursor.array()?), ..StepInput::default() };
        input.sources = cursor.list(|c| c.state())?;
        input.watermarks = cursor.list(|c| Ok(Watermark(i64::from_le_bytes(c.array()?))))?;
        input.partitions = cursor.list(|c| {
            let holds = c.list(|c| c.flag())?;
            Ok(StepPartitions { holds, of_batches: c.list(|c| c.length())? })
        })?;
        input.batches = cursor.list(|c| c.list(|c| self.changes(c)))?;
        let mut whole = Vec::new();
        input.lookups = cursor.list(|c| {
            whole.push(c.flag()?);
            self.lookup(c)
        })?;
        match cursor.at == bytes.len() {
            true => Ok((Recorded { step, after_snapshot, input }, whole)),
            false => Err(format!("{} bytes too many", bytes.len() - cursor.at)),
        }
    }

    fn changes(&self, cursor: &mut Cursor<'_>) -> Read<ChangeBatch> {
        let rows = self.rows(cursor)?;
        let [flags] = cursor.array()?;
        if flags & !(KINDS | WATERMARKS) != 0 {
            return Err(format!("unknown flags {flags}"));
        }
        let kind = |byte: &u8| match byte {
            0 => Ok(RowKind::Insert),
            1 => Ok(RowKind::UpdateBefore),
            2 => Ok(RowKind::UpdateAfter),
            3 => Ok(RowKind::Delete),
            other => Err(format!("{other} is no kind of change")),
        };
        let kinds = match flags & KINDS != 0 {
            true => Some(cursor.take(rows.num_rows())?.iter().map(kind).collect::<Read<Vec<_>>>()?.into()),
            false => None,
        };
        let watermarks = match flags & WATERMARKS != 0 {
            true => {
                let bytes = cursor.take(rows.num_rows().saturating_mul(8))?;
                let words = bytes.as_chunks::<8>().0.iter().map(|w| i64::from_le_bytes(*w));
                Some(Int64Array::from_iter_values(words))
            }
            false => None,
        };
        Ok(ChangeBatch { rows, kinds, watermarks })
    }

    fn lookup(&self, cursor: &mut Cursor<'_>) -> Read<LookupInput> {
        let read = cursor.list(|c| self.rows(c))?;
        let answers = cursor.list(|c| {
            let rows = self.rows(c)?;
            let pairs = c.length()?;
            let (probes, found) = (c.numbers(pairs)?, c.numbers(pairs)?);
            if !probes.values().is_sorted() || found.values().iter().any(|row| *row as usize >= rows.num_rows()) {
                return Err("an answer that names rows which it does not have".into());
            }
            Ok(Answer { rows, pairs: Pairs { probes, found } })
        })?;
        Ok(LookupInput { read, answers, ..LookupInput::default() })
    }

    fn rows(&self, cursor: &mut Cursor<'_>) -> Read<RecordBatch> {
        let number = cursor.length()?;
        let schema = self.schemas.get(number).ok_or_else(|| format!("there is no schema {number}"))?;
        let (message, body) = (cursor.length()?, cursor.length()?);
        let message = cursor.take(message)?;
        let start = cursor.at;
        cursor.take(body)?;
        read_rows(message, &cursor.bytes.slice_with_length(start, body), &Arc::clone(schema))
            .map_err(|e| format!("a batch: {e}"))
    }
}

/// A place in some bytes.
struct Cursor<'a> {
    bytes: &'a Buffer,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end =
            end.ok_or_else(|| format!("{count} bytes are claimed, and {} are left", self.bytes.len() - self.at))?;
        let taken = &self.bytes.as_slice()[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| "too few bytes".to_string())
    }

    fn length(&mut self) -> Read<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// A list; each entry takes a byte at least, and so the list's length is bounded by what is left.
    fn list<T>(&mut self, mut entry: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let length = self.length()?;
        if length > self.bytes.len() - self.at {
            return Err(format!(
                "a list of {length} entries is claimed, and {} bytes are left",
                self.bytes.len() - self.at
            ));
        }
        (0..length).map(|_| entry(self)).collect()
    }

    fn numbers(&mut self, count: usize) -> Read<UInt32Array> {
        let bytes = self.take(count.saturating_mul(4))?;
        Ok(UInt32Array::from_iter_values(bytes.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w))))
    }

    fn flag(&mut self) -> Read<bool> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(format!("{other} is neither yes nor no")),
        }
    }

    fn state(&mut self) -> Read<SourceState> {
        match self.array()? {
            [0] => Ok(SourceState::Active),
            [1] => Ok(SourceState::Idle),
            [2] => Ok(SourceState::Ended),
            [other] => Err(format!("{other} is no state of a source")),
        }
    }
}
