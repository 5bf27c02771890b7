//! `raw`: a message is the value of the table's one column, without anything around it.
//!
//! STRING in the charset of `raw.charset` (default UTF-8), BYTES as they are, BOOLEAN as one byte, numbers in the byte order of
//! `raw.endianness` (default `big-endian`). A NULL message is a row whose column is NULL, and the other way round.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef, ToByteSlice,
};

use super::appended;
use super::batches::Columns;
use super::message::collect::{Collected, MessageColumns, Unread};
use super::message::{MessageDecoder, MessageEncoder, MessageFormat, Messages};
use super::typed::{RowColumn, Value};
use crate::change::ChangeBatch;
use crate::table::{OptionKind, OptionSpec, Options};
use crate::{Error, Result};
use charset::Charset;

mod charset;
#[cfg(test)]
mod tests;

/// The format `raw`.
#[derive(Debug, Clone, Copy)]
pub struct Raw;

const CHARSET: &str = "raw.charset";
const ENDIANNESS: &str = "raw.endianness";

/// How values lie in messages.
#[derive(Debug, Clone, Copy)]
struct Layout {
    charset: Charset,
    little_endian: bool,
}

impl Layout {
    fn new(options: &Options) -> Result<Self> {
        let little_endian = match options.get(ENDIANNESS) {
            None | Some("big-endian") => false,
            Some("little-endian") => true,
            Some(other) => {
                let message = format!("option '{ENDIANNESS}' = '{other}': expected 'big-endian' or 'little-endian'");
                return Err(Error::Option(message));
            }
        };
        let name = options.get(CHARSET).unwrap_or("UTF-8");
        let charset = Charset::named(name).ok_or_else(|| {
            let known = Charset::NAMES.map(|(name, _)| name).join(", ");
            Error::Option(format!("option '{CHARSET}' = '{name}': known are {known}"))
        })?;
        Ok(Self { charset, little_endian })
    }

    /// The bytes of a number, the most significant first.
    fn number<const N: usize>(self, message: &[u8]) -> Result<[u8; N], String> {
        let mut bytes: [u8; N] =
            message.try_into().map_err(|_| format!("{} bytes, where the column's type takes {N}", message.len()))?;
        if self.little_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }
}

/// The type of the one column.
fn only_type(schema: &SchemaRef) -> Result<&DataType> {
    use DataType as D;
    let [field] = schema.fields().as_ref() else {
        let message = format!("the format 'raw' takes one physical column, and there are {}", schema.fields().len());
        return Err(Error::Unsupported(message));
    };
    match field.data_type() {
        t @ (D::Boolean | D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::Float32 | D::Float64) => Ok(t),
        t @ (D::Utf8 | D::LargeUtf8 | D::Utf8View) => Ok(t),
        t @ (D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_)) => Ok(t),
        other => Err(Error::Unsupported(format!("the type {other} of '{}' in the format 'raw'", field.name()))),
    }
}

impl MessageFormat for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn options(&self) -> Vec<OptionSpec> {
        [CHARSET, ENDIANNESS].map(|k| OptionSpec::optional(k, OptionKind::Text)).into()
    }

    fn check(&self, schema: &SchemaRef, options: &Options) -> Result<()> {
        only_type(schema)?;
        Layout::new(options).map(drop)
    }

    fn decoder(&self, table: &SchemaRef, projection: SchemaRef, options: &Options) -> Result<Box<dyn MessageDecoder>> {
        let columns = RawColumn {
            data_type: only_type(table)?.clone(),
            layout: Layout::new(options)?,
            row: RowColumn::new(projection.fields())?,
            text: String::new(),
        };
        Ok(Collected::boxed(columns, projection, false))
    }

    fn encoder(&self, schema: &SchemaRef, options: &Options) -> Result<Box<dyn MessageEncoder>> {
        only_type(schema)?;
        Ok(Box::new(RawEncoder { layout: Layout::new(options)? }))
    }
}

/// The one column, which a query may not even read.
struct RawColumn {
    data_type: DataType,
    layout: Layout,
    row: RowColumn,
    text: String,
}

impl Columns for RawColumn {
    fn finish(&mut self, schema: &SchemaRef, rows: usize) -> Result<ChangeBatch> {
        self.row.finish_batch(schema, rows).map(ChangeBatch::append)
    }
}

impl MessageColumns for RawColumn {
    fn read_message(&mut self, message: &[u8]) -> Result<usize, Unread> {
        let layout = self.layout;
        let value = match &self.data_type {
            DataType::Boolean => Value::Boolean(layout.number::<1>(message)? != [0]),
            DataType::Int8 => Value::Integer(i8::from_be_bytes(layout.number(message)?).into()),
            DataType::Int16 => Value::Integer(i16::from_be_bytes(layout.number(message)?).into()),
            DataType::Int32 => Value::Integer(i32::from_be_bytes(layout.number(message)?).into()),
            DataType::Int64 => Value::Integer(i64::from_be_bytes(layout.number(message)?)),
            DataType::Float32 => Value::Float(f32::from_be_bytes(layout.number(message)?)),
            DataType::Float64 => Value::Double(f64::from_be_bytes(layout.number(message)?)),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Value::Text(layout.charset.decode(message, &mut self.text)?)
            }
            _ => Value::Bytes(message),
        };
        for field in &mut self.row.fields {
            field.value(value)?;
        }
        Ok(1)
    }

    fn read_null(&mut self) -> Result<usize, Unread> {
        for field in &mut self.row.fields {
            field.null()?;
        }
        Ok(1)
    }
}

/// Writes the one column's values.
struct RawEncoder {
    layout: Layout,
}

impl MessageEncoder for RawEncoder {
    fn encode(&mut self, changes: &ChangeBatch, out: &mut Messages) -> Result<()> {
        let rows = appended(changes, "raw")?;
        let column = rows.columns().first().ok_or_else(|| Error::internal("raw: no column"))?;
        match column.data_type() {
            DataType::LargeUtf8 | DataType::Utf8View => self.column(&cast(column, &DataType::Utf8)?, out),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                self.column(&cast(column, &DataType::Binary)?, out)
            }
            _ => self.column(column, out),
        }
    }
}

impl RawEncoder {
    fn column(&self, column: &ArrayRef, out: &mut Messages) -> Result<()> {
        match column.data_type() {
            DataType::Boolean => {
                let values = column.as_boolean();
                each(column, out, |row, bytes| {
                    bytes.push(u8::from(values.value(row)));
                    Ok(())
                })
            }
            DataType::Int8 => self.numbers::<Int8Type>(column, out),
            DataType::Int16 => self.numbers::<Int16Type>(column, out),
            DataType::Int32 => self.numbers::<Int32Type>(column, out),
            DataType::Int64 => self.numbers::<Int64Type>(column, out),
            DataType::Float32 => self.numbers::<Float32Type>(column, out),
            DataType::Float64 => self.numbers::<Float64Type>(column, out),
            DataType::Utf8 => {
                let texts = column.as_string::<i32>();
                each(column, out, |row, bytes| self.layout.charset.encode(texts.value(row), bytes))
            }
            DataType::Binary => {
                let values = column.as_binary::<i32>();
                each(column, out, |row, bytes| {
                    bytes.extend_from_slice(values.value(row));
                    Ok(())
                })
            }
            other => Err(Error::Unsupported(format!("the type {other} in the format 'raw'"))),
        }
    }

    fn numbers<T: ArrowPrimitiveType>(&self, column: &ArrayRef, out: &mut Messages) -> Result<()> {
        let values = column.as_primitive::<T>();
        let reversed = self.layout.little_endian != cfg!(target_endian = "little");
        each(column, out, |row, bytes| {
            let start = bytes.len();
            bytes.extend_from_slice(values.value(row).to_byte_slice());
            if reversed && let Some(number) = bytes.get_mut(start..) {
                number.reverse();
            }
            Ok(())
        })
    }
}

/// A message for each value; NULL for NULL.
fn each(column: &ArrayRef, out: &mut Messages, mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<()>) -> Result<()> {
    for row in 0..column.len() {
        if column.is_null(row) {
            out.null();
        } else {
            write(row, &mut out.bytes)?;
            out.end();
        }
    }
    Ok(())
}
