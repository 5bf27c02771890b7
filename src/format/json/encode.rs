//! Rows to lines of JSON.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use crate::Result;
use crate::change::ChangeBatch;
use crate::format::message::{MessageEncoder, Messages};
use crate::format::render::{Writing, render, value_to_text};
use crate::format::{Encoder, appended};

/// Encodes rows as JSON, one a line.
pub(super) struct JsonEncoder {
    writing: Writing,
    /// A line under construction, and a value in it.
    pub(super) line: String,
    text: String,
}

impl JsonEncoder {
    pub(super) fn new(writing: Writing) -> Self {
        Self { writing, line: String::new(), text: String::new() }
    }

    fn value(&mut self, column: &ArrayRef, row: usize) -> Result<()> {
        if column.is_null(row) {
            self.line.push_str("null");
            return Ok(());
        }
        match column.data_type() {
            DataType::Null => self.line.push_str("null"),
            DataType::Struct(fields) => {
                let names = fields.iter().map(|f| f.name().as_str());
                self.object(names.zip(column.as_struct().columns()), row)?;
            }
            DataType::List(_) => self.list(&column.as_list::<i32>().value(row))?,
            DataType::Map(_, _) => self.map(&column.as_map().value(row))?,
            _ => {
                self.text.clear();
                let bare = render(column, row, self.writing, &mut self.text)?;
                if bare { self.line.push_str(&self.text) } else { quote(&self.text, &mut self.line) }
            }
        }
        Ok(())
    }

    /// Appends a row to the line.
    pub(super) fn row(&mut self, rows: &RecordBatch, row: usize) -> Result<()> {
        let schema = rows.schema_ref();
        let names = schema.fields().iter().map(|f| f.name().as_str());
        self.object(names.zip(rows.columns()), row)
    }

    fn object<'a>(&mut self, members: impl Iterator<Item = (&'a str, &'a ArrayRef)>, row: usize) -> Result<()> {
        self.line.push('{');
        for (i, (name, column)) in members.enumerate() {
            if i > 0 {
                self.line.push(',');
            }
            quote(name, &mut self.line);
            self.line.push(':');
            self.value(column, row)?;
        }
        self.line.push('}');
        Ok(())
    }

    fn list(&mut self, items: &ArrayRef) -> Result<()> {
        self.line.push('[');
        for i in 0..items.len() {
            if i > 0 {
                self.line.push(',');
            }
            self.value(items, i)?;
        }
        self.line.push(']');
        Ok(())
    }

    fn map(&mut self, entries: &arrow::array::StructArray) -> Result<()> {
        self.line.push('{');
        if let [keys, values] = entries.columns() {
            for i in 0..entries.len() {
                if i > 0 {
                    self.line.push(',');
                }
                quote(&value_to_text(keys, i)?.unwrap_or_default(), &mut self.line);
                self.line.push(':');
                self.value(values, i)?;
            }
        }
        self.line.push('}');
        Ok(())
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Vec<u8>) -> Result<()> {
        let rows = appended(changes, "json")?;
        for row in 0..rows.num_rows() {
            self.line.clear();
            self.row(rows, row)?;
            self.line.push('\n');
            out.extend_from_slice(self.line.as_bytes());
        }
        Ok(())
    }
}

impl MessageEncoder for JsonEncoder {
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Messages) -> Result<()> {
        let rows = appended(changes, "json")?;
        for row in 0..rows.num_rows() {
            self.line.clear();
            self.row(rows, row)?;
            out.bytes.extend_from_slice(self.line.as_bytes());
            out.end();
        }
        Ok(())
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (i, b) in text.bytes().enumerate().filter(|(_, b)| *b < 0x20 || *b == b'"' || *b == b'\\') {
        out.push_str(&text[plain..i]);
        plain = i + 1;
        match b {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => out.push_str(&format!("\\u{control:04x}")),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}
