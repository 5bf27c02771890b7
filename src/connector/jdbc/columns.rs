//! Columns as the server's text, and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::util::display::FormatOptions;
use tokio_postgres::Row;

use crate::{Error, Result};

/// A name in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The server's type for a column's values.
pub(super) fn sql_type(field: &Field) -> Result<&'static str> {
    Ok(match field.data_type() {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric",
        DataType::Utf8 => "text",
        DataType::Date32 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Binary => "bytea",
        other => {
            let message = format!("column '{}': connector 'jdbc' has no type for {other}", field.name());
            return Err(Error::Option(message));
        }
    })
}

/// A column as text that Arrow reads.
pub(super) fn selected(field: &Field) -> String {
    let name = format!("t.{}", quoted(field.name()));
    match field.data_type() {
        DataType::Binary => format!("encode({name}, 'hex')"),
        DataType::Timestamp(_, Some(_)) => {
            format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        }
        _ => format!("({name})::text"),
    }
}

/// Keys as text that the server reads.
pub(super) fn to_text(column: &ArrayRef) -> Result<Vec<Option<String>>> {
    if let Some(bytes) = column.as_binary_opt::<i32>() {
        let hex = |b: &[u8]| b.iter().fold("\\x".to_string(), |text, byte| text + &format!("{byte:02x}"));
        return Ok(bytes.iter().map(|b| b.map(hex)).collect());
    }
    let text = cast_with_options(column, &DataType::Utf8, &strict())?;
    Ok(text.as_string::<i32>().iter().map(|t| t.map(String::from)).collect())
}

/// The rows of an answer whose columns from `first` on are text.
pub(super) fn from_rows(rows: &[Row], first: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |(i, field): (usize, &Arc<Field>)| {
        let text = |row: &Row| {
            let value: Result<Option<String>, _> = row.try_get(first + i);
            value.map_err(|e| Error::Execution(format!("column '{}': PostgreSQL: {e}", field.name())))
        };
        parsed(rows.iter().map(text).collect::<Result<Vec<_>>>()?, field)
    };
    let columns = schema.fields().iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn parsed(texts: Vec<Option<String>>, field: &Field) -> Result<ArrayRef> {
    if field.data_type() != &DataType::Binary {
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        return cast_with_options(&texts, field.data_type(), &strict())
            .map_err(|e| Error::Execution(format!("column '{}': {e}", field.name())));
    }
    let mut bytes = BinaryBuilder::new();
    for text in texts {
        match text.map(|t| from_hex(&t)) {
            None => bytes.append_null(),
            Some(Some(value)) => bytes.append_value(value),
            Some(None) => return Err(Error::internal("an answer in hex that is none")),
        }
    }
    Ok(Arc::new(bytes.finish()))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn strict() -> CastOptions<'static> {
    CastOptions { safe: false, format_options: FormatOptions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bytes_are_safe() {
        assert_eq!(quoted("a\"b; DROP TABLE t"), "\"a\"\"b; DROP TABLE t\"");
        let bytes: ArrayRef = Arc::new(arrow::array::BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None]));
        assert_eq!(to_text(&bytes).unwrap(), [Some("\\x00ff".to_string()), None]);
        assert_eq!(from_hex("00ff"), Some(vec![0, 255]));
        assert_eq!(from_hex("0g"), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let zone = Some("UTC".into());
        let types = [DataType::Date32, DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, zone)];
        for data_type in types {
            let field = Field::new("c", data_type.clone(), true);
            let texts = vec![Some("2024-02-29".to_string()), None];
            let column = parsed(texts, &field).unwrap();
            assert_eq!(parsed(to_text(&column).unwrap(), &field).unwrap().as_ref(), column.as_ref());
        }
        assert!(parsed(vec![Some("x".into())], &Field::new("c", DataType::Int32, true)).is_err());
    }
}
