//! Rows as scripts write them: values with commas between them, JSON, or changes as they are printed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};

use super::running::kind_of;
use super::time::completed;
use crate::change::{ChangeBatch, RowKind};
use crate::format::json::Json;
use crate::format::{RecordFormat, value_from_text};
use crate::plan::StreamTable;
use crate::table::options::nearest;
use crate::table::{Options, SourceChangelog};
use crate::{Error, Result};

/// The rows of some lines, with all columns of the table's connector. An error comes with the number of its line, from 0.
///
/// A line is `1, a` or `{"k": 1, "v": "a"}`; in a table that changes, `-D` and the like may stand before it. Changes as they are
/// printed, `+I[1, a]`, are read too.
pub(super) fn rows_of(table: &StreamTable, lines: &[&str]) -> Result<ChangeBatch, (usize, Error)> {
    let whole = |e| (0, e);
    let d = &table.descriptor;
    let changes = table.connector.changelog(d).map_err(whole)? != SourceChangelog::Append;
    let mut kinds = Vec::with_capacity(lines.len());
    let mut batches = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        let (kind, row) = split_kind(line.trim());
        if !changes && kind != RowKind::Insert {
            let message = format!(
                "a change of kind {kind} for table '{}', which takes new rows only; declare it WITH ('connector' = 'channel', \
                 'changelog.mode' = 'retract') or 'upsert'",
                d.name
            );
            return Err((at, Error::Option(message)));
        }
        let read = if row.starts_with('{') { object(row, &d.schema) } else { values(row, table) };
        batches.push(read.map_err(|e| (at, e))?);
        kinds.push(kind);
    }
    let rows = concat_batches(&d.schema, &batches).map_err(|e| whole(e.into()))?;
    let kinds = kinds.iter().any(|k| *k != RowKind::Insert).then(|| kinds.into());
    Ok(ChangeBatch { rows, kinds, watermarks: None })
}

/// The kind before a row, and the row without it.
fn split_kind(line: &str) -> (RowKind, &str) {
    let Some((kind, rest)) = kind_of(line) else { return (RowKind::Insert, line) };
    match rest.strip_prefix('[').and_then(|r| r.strip_suffix(']')) {
        Some(row) => (kind, row),
        None if rest.starts_with(char::is_whitespace) => (kind, rest.trim_start()),
        None => (RowKind::Insert, line),
    }
}

/// A JSON object, its columns found by name; what it lacks is NULL.
fn object(line: &str, schema: &SchemaRef) -> Result<RecordBatch> {
    let parsed: serde_json::Value =
        serde_json::from_str(line).map_err(|e| Error::Option(format!("this is no JSON object: {e}")))?;
    for key in parsed.as_object().into_iter().flat_map(|o| o.keys()) {
        if schema.column_with_name(key).is_none() {
            return Err(no_column(key, schema));
        }
    }
    let mut decoder = Json.decoder(schema, Arc::clone(schema), &Options::default())?;
    decoder.decode(line.as_bytes())?;
    decoder.finish()?;
    let batch = decoder.flush()?.ok_or_else(|| Error::Option("this is no row".into()))?;
    Ok(batch.rows)
}

fn no_column(name: &str, schema: &SchemaRef) -> Error {
    let near = nearest(name, schema.fields().iter().map(|f| f.name().as_str()));
    let hint = near.map_or(String::new(), |n| format!("; did you mean '{n}'?"));
    Error::Option(format!("the table has no column '{name}'{hint}"))
}

/// Values in the order of the columns; metadata columns may be left out.
fn values(line: &str, table: &StreamTable) -> Result<RecordBatch> {
    let schema = &table.descriptor.schema;
    let mut cells = cells(line)?;
    let (all, physical) = (schema.fields().len(), schema.fields().len() - table.descriptor.metadata.len());
    if cells.len() != all && cells.len() != physical {
        let names = schema.fields().iter().take(physical).map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::Option(format!("{} values for the {physical} columns ({names})", cells.len())));
    }
    cells.resize(all, None);
    let columns = schema.fields().iter().zip(cells).map(|(field, cell)| {
        let about = |e: String| Error::Option(format!("column '{}': {e}", field.name()));
        value(field.data_type(), cell.as_deref()).map_err(|e| about(e.to_string()))
    });
    let batch = RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?);
    batch.map_err(|e| Error::Option(e.to_string()))
}

fn value(data_type: &DataType, cell: Option<&str>) -> Result<ArrayRef> {
    if data_type.is_nested() {
        return match cell {
            None => Ok(arrow::array::new_null_array(data_type, 1)),
            Some(_) => Err(Error::Option("values with parts are written in JSON: {\"column\": [1, 2]}".into())),
        };
    }
    let timed = matches!(data_type, DataType::Timestamp(..));
    let cell = cell.map(|c| if timed { completed(c) } else { c.to_string() });
    value_from_text(data_type, cell.as_deref())
}

/// Cuts a line at its commas; `None` is NULL. Within quotes commas and spaces count as text, and a doubled quote is one.
fn cells(line: &str) -> Result<Vec<Option<String>>> {
    let mut cells = Vec::new();
    let mut rest = line.trim();
    loop {
        let quote = rest.chars().next().filter(|c| ['"', '\''].contains(c));
        let after = match quote {
            Some(quote) => {
                let (text, after) = quoted(&rest[1..], quote)?;
                cells.push(Some(text));
                after.trim_start()
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (cell, after) = rest.split_at(end);
                let cell = cell.trim();
                cells.push((!cell.eq_ignore_ascii_case("null")).then(|| cell.to_string()));
                after
            }
        };
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Ok(cells),
            None => return Err(Error::Option(format!("text behind a closing quote: {after}"))),
        }
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str, quote: char) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c == quote, chars.peek()) {
            (true, Some((_, next))) if *next == quote => {
                value.push(quote);
                chars.next();
            }
            (true, _) => return Ok((value, &text[at + 1..])),
            (false, _) => value.push(c),
        }
    }
    Err(Error::Option(format!("a quote that is not closed: {quote}{text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(line: &str) -> Vec<Option<String>> {
        cells(line).unwrap()
    }

    #[test]
    fn lines_are_cut_at_commas() {
        let text = |t: &str| Some(t.to_string());
        assert_eq!(cut("1, a b ,NULL,null, "), [text("1"), text("a b"), None, None, text("")]);
        assert_eq!(cut("'it''s, so', \"null\",''"), [text("it's, so"), text("null"), text("")]);
        assert!(cells("'open").is_err());
        assert!(cells("'a' b, c").is_err());
    }

    #[test]
    fn kinds_stand_before_rows() {
        assert_eq!(split_kind("-D 1, a"), (RowKind::Delete, "1, a"));
        assert_eq!(split_kind("+U[1, [2]]"), (RowKind::UpdateAfter, "1, [2]"));
        assert_eq!(split_kind("-Dora, 1"), (RowKind::Insert, "-Dora, 1"));
    }
}
