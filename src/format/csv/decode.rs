//! Lines of values to batches.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use super::Dialect;
use super::column::Column;
use super::split::{Event, Splitter};
use crate::change::ChangeBatch;
use crate::format::Decoder;
use crate::format::batches::{Batches, Columns, MAX_RECORD};
use crate::format::fit::fit;
use crate::format::message::collect::{MessageColumns, Unread};
use crate::table::rows_without_columns;
use crate::{Error, Result};

/// Decodes records of values.
pub(super) struct CsvDecoder {
    batches: Batches<Record>,
    /// How many bytes of a byte order mark at the beginning have been seen; 3 when it is settled.
    mark: usize,
}

/// A record's values, and the columns that grow by it.
pub(super) struct Record {
    splitter: Splitter,
    dialect: Dialect,
    columns: Vec<Read>,
    /// The columns as they are read: with all parts of a ROW.
    schema: SchemaRef,
    /// How many values a record has.
    width: usize,
}

/// A column that is read: its position in the record, and its values so far.
struct Read {
    position: usize,
    name: String,
    column: Column,
}

const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

impl Columns for Record {
    fn finish(&mut self, schema: &SchemaRef, rows: usize) -> Result<ChangeBatch> {
        let columns = self.columns.iter_mut().map(|r| r.column.finish(rows)).collect::<Result<Vec<_>>>()?;
        if columns.is_empty() {
            return rows_without_columns(SchemaRef::clone(schema), rows).map(ChangeBatch::append);
        }
        let read = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?;
        fit(&read, schema).map(ChangeBatch::append)
    }
}

impl Record {
    pub(super) fn new(table: &SchemaRef, projection: &SchemaRef, dialect: Dialect) -> Result<Self> {
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut columns = Vec::new();
        for wanted in projection.fields() {
            let (position, stored) = table
                .column_with_name(wanted.name())
                .ok_or_else(|| Error::internal(format!("no column '{}' in the table", wanted.name())))?;
            // Of a ROW all parts must be read, since they have no names; the wanted ones are picked at the end.
            let field = if matches!(wanted.data_type(), DataType::Struct(_)) { stored } else { wanted.as_ref() };
            columns.push(Read { position, name: wanted.name().clone(), column: Column::new(field)? });
            fields.push(field.clone().into());
        }
        Ok(Self {
            splitter: Splitter::new(dialect.clone()),
            dialect,
            columns,
            schema: SchemaRef::new(arrow::datatypes::Schema::new(fields)),
            width: table.fields().len(),
        })
    }

    /// Whether the event completes a record, which is appended then; after an error the columns may hold a part of it.
    fn event(&mut self, event: Event) -> Result<bool, String> {
        match event {
            Event::More => Ok(false),
            Event::Record => self.append().map(|()| true),
            Event::Bad => Err("text behind a closing quote, or a quote that is not closed".into()),
        }
    }

    fn append(&mut self) -> Result<(), String> {
        let Splitter { text, ends, .. } = &self.splitter;
        if ends.len() != self.width {
            return Err(format!("expected {} values, found {}", self.width, ends.len()));
        }
        let text = std::str::from_utf8(text).map_err(|_| "no valid UTF-8")?;
        for read in &mut self.columns {
            let start = read.position.checked_sub(1).and_then(|p| ends.get(p)).map_or(0, |e| e.0);
            let (end, quoted) = ends.get(read.position).copied().unwrap_or_default();
            let value = text.get(start..end).ok_or("no valid UTF-8")?;
            read.column
                .append(value, quoted, &self.dialect)
                .map_err(|reason| format!("column '{}': {reason}", read.name))?;
        }
        Ok(())
    }
}

/// A message is one record, with a line end behind it or not. What is empty is a record of one empty value.
impl MessageColumns for Record {
    fn read_message(&mut self, message: &[u8]) -> Result<usize, Unread> {
        self.splitter.restart();
        let mut rest = message.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(message);
        let mut rows = 0;
        if rest.is_empty() {
            self.splitter.empty_record();
            return Ok(usize::from(self.event(Event::Record)?));
        }
        while !rest.is_empty() {
            let (taken, event) = self.splitter.step(rest);
            rest = rest.get(taken..).unwrap_or_default();
            rows += usize::from(self.event(event)?);
        }
        let last = self.splitter.finish();
        rows += usize::from(self.event(last)?);
        if rows > 1 { Err("more than one record in the message".into()) } else { Ok(rows) }
    }
}

impl CsvDecoder {
    pub(super) fn new(record: Record, projection: SchemaRef, ignore_errors: bool) -> Self {
        Self { batches: Batches::new(record, projection, ignore_errors), mark: 0 }
    }

    fn event(&mut self, event: Event) -> Result<()> {
        match self.batches.columns.event(event) {
            Ok(complete) => self.batches.rows(usize::from(complete)),
            Err(reason) => {
                self.batches.columns.splitter.abandon();
                self.batches.bad_record(self.batches.columns.splitter.record_line, reason)?;
            }
        }
        Ok(())
    }

    /// How many of the first bytes belong to a byte order mark.
    fn byte_order_mark(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while self.mark < BYTE_ORDER_MARK.len() && bytes.get(taken).is_some() {
            if bytes.get(taken) != BYTE_ORDER_MARK.get(self.mark) {
                self.mark = BYTE_ORDER_MARK.len();
                break;
            }
            self.mark += 1;
            taken += 1;
        }
        taken
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut taken = self.byte_order_mark(bytes);
        while let Some(rest) = bytes.get(taken..).filter(|r| !r.is_empty() && !self.batches.is_full()) {
            let splitter = &mut self.batches.columns.splitter;
            let (count, event) = splitter.step(rest);
            taken += count;
            if splitter.text.len() > MAX_RECORD {
                let reason = format!("the record is longer than {} MiB", MAX_RECORD >> 20);
                return Err(Error::record(format!("line {}", splitter.record_line), reason));
            }
            self.batches.bytes(count);
            self.event(event)?;
        }
        Ok(taken)
    }

    fn finish(&mut self) -> Result<()> {
        let event = self.batches.columns.splitter.finish();
        self.event(event)
    }

    fn flush(&mut self) -> Result<Option<ChangeBatch>> {
        self.batches.flush()
    }

    fn skipped(&self) -> u64 {
        self.batches.skipped()
    }
}
