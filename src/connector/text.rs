//! Values as Flink prints them: the text of a `Row` and of the Java values in it.

use std::fmt::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::*;

use crate::change::{ChangeBatch, RowKind};
use crate::{Error, Result};

mod number;
mod time;

pub use number::{write_double, write_float};

/// Changes as Flink prints them, a line each: `+I[1, a]`.
///
/// # Errors
/// When a column's type has no text.
pub fn lines(changes: &ChangeBatch) -> Result<String> {
    let mut text = String::new();
    for row in 0..changes.num_rows() {
        write_row(&mut text, changes.kind(row), &changes.rows, row)?;
        text.push('\n');
    }
    Ok(text)
}

/// Appends a row: `+I[1, a, null]`.
///
/// # Errors
/// When a column has a type that no Flink type maps to, or `row` is out of bounds.
pub fn write_row(out: &mut String, kind: RowKind, rows: &RecordBatch, row: usize) -> Result<()> {
    out.push_str(kind.short());
    write_all(out, ['[', ']'], rows.columns().iter().map(|c| (c.as_ref(), row)))
}

/// Appends one value; NULL as `null`.
///
/// # Errors
/// As [`write_row`].
pub fn write_value(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    if row >= array.len() {
        return Err(Error::internal(format!("row {row} of {}", array.len())));
    }
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => out.push_str("null"),
        DataType::Boolean => show(out, array.as_boolean().value(row)),
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Binary => write_bytes(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => write_bytes(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => write_bytes(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => write_bytes(out, array.as_fixed_size_binary().value(row)),
        DataType::List(_) => write_elements(out, array.as_list::<i32>().value(row).as_ref())?,
        DataType::LargeList(_) => write_elements(out, array.as_list::<i64>().value(row).as_ref())?,
        DataType::FixedSizeList(..) => write_elements(out, array.as_fixed_size_list().value(row).as_ref())?,
        DataType::Struct(_) => {
            out.push_str(RowKind::Insert.short());
            write_all(out, ['[', ']'], array.as_struct().columns().iter().map(|c| (c.as_ref(), row)))?;
        }
        DataType::Map(..) => write_map(out, array, row)?,
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = dictionary.normalized_keys().get(row).copied().unwrap_or_default();
            write_value(out, dictionary.values().as_ref(), key)?;
        }
        _ => return write_number_or_time(out, array, row),
    }
    Ok(())
}

fn write_number_or_time(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    match array.data_type() {
        DataType::Int8 => show(out, array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => show(out, array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => show(out, array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => show(out, array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => show(out, array.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => show(out, array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => show(out, array.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => show(out, array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => write_float(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => write_double(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            number::write_decimal(out, &array.as_primitive::<Decimal128Type>().value(row).to_string(), *scale);
        }
        DataType::Decimal256(_, scale) => {
            number::write_decimal(out, &array.as_primitive::<Decimal256Type>().value(row).to_string(), *scale);
        }
        _ => return time::write_time(out, array, row),
    }
    Ok(())
}

fn show(out: &mut String, value: impl std::fmt::Display) {
    // Writing into a string cannot fail.
    let _ = write!(out, "{value}");
}

fn write_all<'a>(
    out: &mut String,
    [open, close]: [char; 2],
    values: impl Iterator<Item = (&'a dyn Array, usize)>,
) -> Result<()> {
    out.push(open);
    for (i, (array, row)) in values.enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_value(out, array, row)?;
    }
    out.push(close);
    Ok(())
}

fn write_elements(out: &mut String, elements: &dyn Array) -> Result<()> {
    write_all(out, ['[', ']'], (0..elements.len()).map(|i| (elements, i)))
}

/// `[1, -2]`: Java's bytes have signs.
fn write_bytes(out: &mut String, bytes: &[u8]) {
    out.push('[');
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        show(out, byte.cast_signed());
    }
    out.push(']');
}

fn write_map(out: &mut String, array: &dyn Array, row: usize) -> Result<()> {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    out.push('{');
    for i in 0..entries.len() {
        if i > 0 {
            out.push_str(", ");
        }
        write_value(out, keys.as_ref(), i)?;
        out.push('=');
        write_value(out, values.as_ref(), i)?;
    }
    out.push('}');
    Ok(())
}

#[cfg(test)]
mod tests;
