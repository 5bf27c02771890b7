//! JSON records, one a line, to batches.

use arrow::datatypes::SchemaRef;

use super::cursor::{Cursor, Reason};
use super::node::RowNode;
use crate::change::ChangeBatch;
use crate::format::Decoder;
use crate::format::batches::{Batches, Columns, MAX_RECORD};
use crate::format::message::collect::{MessageColumns, Unread};
use crate::{Error, Result};

/// How many bytes are looked at together, so that a full batch leaves little that was checked for nothing.
const WINDOW: usize = 64 << 10;

/// What a line's record is, and the columns that grow by it.
pub(super) trait Records: Columns {
    /// Reads the record at the cursor and gives how many rows it has appended. After an error the columns may hold a part of
    /// them.
    fn read_record(&mut self, c: &mut Cursor) -> Result<usize, Reason>;
}

/// Decodes lines of JSON.
pub(super) struct JsonDecoder<R> {
    batches: Batches<R>,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    line: u64,
}

impl Columns for RowNode {
    fn finish(&mut self, schema: &SchemaRef, rows: usize) -> Result<ChangeBatch> {
        self.finish_batch(schema, rows).map(ChangeBatch::append)
    }
}

/// A record is a row; a bare `null` is none.
impl Records for RowNode {
    fn read_record(&mut self, c: &mut Cursor) -> Result<usize, Reason> {
        if c.take_null() {
            return Ok(0);
        }
        self.read(c).map(|()| 1)
    }
}

/// A message is one record, over as many lines as it likes; an empty one says nothing.
impl<R: Records> MessageColumns for R {
    fn read_message(&mut self, message: &[u8]) -> Result<usize, Unread> {
        let text = std::str::from_utf8(message).map_err(|_| "no valid UTF-8")?;
        let mut cursor = Cursor::whole(text);
        cursor.skip_byte_order_mark();
        if cursor.peek() == b'\n' {
            return Ok(0);
        }
        let rows = self.read_record(&mut cursor)?;
        if cursor.peek() == b'\n' { Ok(rows) } else { Err(cursor.unexpected("the end of the message").into()) }
    }
}

impl<R: Records> JsonDecoder<R> {
    pub(super) fn new(records: R, schema: SchemaRef, ignore_errors: bool) -> Self {
        Self { batches: Batches::new(records, schema, ignore_errors), partial: Vec::new(), line: 0 }
    }

    /// Whole lines, perhaps the last without its end; returns how many bytes were taken before the batch was full.
    fn lines(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|r| !r.is_empty() && !self.batches.is_full()) {
            taken += match std::str::from_utf8(rest) {
                Ok(text) => self.text(text)?,
                Err(e) => self.broken_text(rest, e.valid_up_to())?,
            };
        }
        Ok(taken)
    }

    /// The lines before the first that is no UTF-8, or where there are none, that line itself.
    fn broken_text(&mut self, bytes: &[u8], valid: usize) -> Result<usize> {
        let (good, bad) = bytes.split_at(bytes[..valid].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1));
        if !good.is_empty() {
            return self.text(&String::from_utf8_lossy(good));
        }
        self.line += 1;
        self.batches.bad_record(self.line, "no valid UTF-8".into())?;
        Ok(bad.iter().position(|b| *b == b'\n').map_or(bad.len(), |n| n + 1))
    }

    fn text(&mut self, text: &str) -> Result<usize> {
        let mut cursor = Cursor::new(text);
        while cursor.position() < text.len() && !self.batches.is_full() {
            let start = cursor.position();
            self.line += 1;
            if self.line == 1 {
                cursor.skip_byte_order_mark();
            }
            match self.record(&mut cursor) {
                Ok(rows) => self.batches.rows(rows),
                Err(reason) => self.batches.bad_record(self.line, reason)?,
            }
            cursor.next_line();
            self.batches.bytes(cursor.position() - start);
        }
        Ok(cursor.position())
    }

    /// How many rows were appended; a blank line gives none.
    fn record(&mut self, cursor: &mut Cursor) -> Result<usize, Reason> {
        if cursor.peek() == b'\n' {
            return Ok(0);
        }
        let rows = self.batches.columns.read_record(cursor)?;
        if cursor.peek() == b'\n' {
            return Ok(rows);
        }
        // The row is complete, but it is not the whole line: it counts as a part of a bad record.
        Err(cursor.unexpected("the end of the line"))
    }

    fn keep_partial(&mut self, bytes: &[u8]) -> Result<()> {
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > MAX_RECORD {
            let place = format!("line {}", self.line + 1);
            return Err(Error::record(place, format!("the record is longer than {} MiB", MAX_RECORD >> 20)));
        }
        Ok(())
    }

    /// Completes the line that has begun; returns how many bytes belong to it.
    fn complete_partial(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
            self.keep_partial(bytes)?;
            return Ok(bytes.len());
        };
        let (head, _) = bytes.split_at(end + 1);
        self.keep_partial(head)?;
        let line = std::mem::take(&mut self.partial);
        self.lines(&line)?;
        Ok(end + 1)
    }
}

impl<R: Records> Decoder for JsonDecoder<R> {
    fn decode(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|r| !r.is_empty() && !self.batches.is_full()) {
            let window = &rest[..rest.len().min(WINDOW)];
            taken += if !self.partial.is_empty() {
                self.complete_partial(window)?
            } else if let Some(end) = window.iter().rposition(|b| *b == b'\n') {
                self.lines(&window[..=end])?
            } else {
                self.keep_partial(window)?;
                window.len()
            };
        }
        Ok(taken)
    }

    fn finish(&mut self) -> Result<()> {
        let line = std::mem::take(&mut self.partial);
        self.lines(&line).map(|_| ())
    }

    fn flush(&mut self) -> Result<Option<ChangeBatch>> {
        self.batches.flush()
    }

    fn skipped(&self) -> u64 {
        self.batches.skipped()
    }
}
