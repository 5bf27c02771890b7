//! Rows to lines of values.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use super::Dialect;
use crate::change::ChangeBatch;
use crate::format::message::{MessageEncoder, Messages};
use crate::format::render::{Writing, render};
use crate::format::text::TimeStyle;
use crate::format::{Encoder, appended};
use crate::{Error, Result};

const WRITING: Writing = Writing { style: TimeStyle::Sql, plain_decimals: true };

/// Encodes rows as values between delimiters, one row a line.
pub(super) struct CsvEncoder {
    dialect: Dialect,
    text: String,
}

impl CsvEncoder {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, text: String::new() }
    }

    fn field(&mut self, column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if column.is_null(row) {
            out.extend_from_slice(self.dialect.null.as_deref().unwrap_or_default().as_bytes());
            return Ok(());
        }
        self.text.clear();
        match column.data_type() {
            DataType::List(_) => {
                let items = column.as_list::<i32>().value(row);
                self.parts((0..items.len()).map(|i| (&items, i)))?;
            }
            DataType::Struct(_) => self.parts(column.as_struct().columns().iter().map(|c| (c, row)))?,
            _ => drop(render(column, row, WRITING, &mut self.text)?),
        }
        self.quoted(out)
    }

    fn parts<'a>(&mut self, parts: impl Iterator<Item = (&'a ArrayRef, usize)>) -> Result<()> {
        for (i, (column, row)) in parts.enumerate() {
            if i > 0 {
                self.text.push_str(&self.dialect.element_delimiter);
            }
            if column.is_null(row) {
                self.text.push_str(self.dialect.null.as_deref().unwrap_or_default());
            } else {
                render(column, row, WRITING, &mut self.text)?;
            }
        }
        Ok(())
    }

    fn quoted(&self, out: &mut Vec<u8>) -> Result<()> {
        let Dialect { delimiter, quote, escape, comments, .. } = &self.dialect;
        let is_mark = |b: u8| b == *delimiter || Some(b) == *quote || Some(b) == *escape || b == b'\n' || b == b'\r';
        let is_comment = *comments && self.text.starts_with('#');
        if !self.text.bytes().any(is_mark) && !is_comment {
            out.extend_from_slice(self.text.as_bytes());
            return Ok(());
        }
        let Some(quote) = *quote else {
            let Some(escape) = *escape else {
                let why = format!("csv: '{}' needs quotes or an escape character, and there are neither", self.text);
                return Err(Error::Execution(why));
            };
            for b in self.text.bytes() {
                if is_mark(b) {
                    out.push(escape);
                }
                out.push(match b {
                    b'\n' => b'n',
                    b'\r' => b'r',
                    other => other,
                });
            }
            return Ok(());
        };
        out.push(quote);
        for b in self.text.bytes() {
            if b == quote || Some(b) == *escape {
                out.push(escape.unwrap_or(quote));
            }
            out.push(b);
        }
        out.push(quote);
        Ok(())
    }
}

impl CsvEncoder {
    fn row(&mut self, rows: &RecordBatch, row: usize, out: &mut Vec<u8>) -> Result<()> {
        for (i, column) in rows.columns().iter().enumerate() {
            if i > 0 {
                out.push(self.dialect.delimiter);
            }
            self.field(column, row, out)?;
        }
        Ok(())
    }
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Vec<u8>) -> Result<()> {
        let rows = appended(changes, "csv")?;
        for row in 0..rows.num_rows() {
            self.row(rows, row, out)?;
            out.push(b'\n');
        }
        Ok(())
    }
}

impl MessageEncoder for CsvEncoder {
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Messages) -> Result<()> {
        let rows = appended(changes, "csv")?;
        for row in 0..rows.num_rows() {
            self.row(rows, row, &mut out.bytes)?;
            out.end();
        }
        Ok(())
    }
}
