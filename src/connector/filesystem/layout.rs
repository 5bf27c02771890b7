//! Which columns stand in files, and which come from their paths and metadata.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::default_partition;
use super::discover::Found;
use crate::format::value_from_text;
use crate::table::{TableDescriptor, rows_without_columns};
use crate::{Error, Result};

/// How a table's columns lie in its files.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// What the source gives.
    pub(super) projection: SchemaRef,
    /// Where each column of `projection` comes from.
    origins: Vec<Origin>,
    /// All columns that stand in files.
    pub(super) stored: SchemaRef,
    /// Those of them that are read.
    pub(super) read: SchemaRef,
    default_partition: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Origin {
    /// The column of that index in what is read from the file.
    Stored(usize),
    /// The path, under the column's name.
    Partition,
    /// The file's metadata, by key.
    Metadata(String),
}

impl Layout {
    /// The layout of a table of which `projection` is read.
    pub(super) fn new(table: &TableDescriptor, projection: SchemaRef) -> Result<Self> {
        let mut read = Vec::new();
        let origins = projection.fields().iter().map(|field| {
            let column = table.schema.index_of(field.name())?;
            Ok(match table.metadata.iter().find(|m| m.column == column) {
                Some(metadata) => Origin::Metadata(metadata.key.clone()),
                None if table.partition_keys.contains(&column) => Origin::Partition,
                None => {
                    read.push(Arc::clone(field));
                    Origin::Stored(read.len() - 1)
                }
            })
        });
        let origins = origins.collect::<Result<Vec<_>>>()?;
        Ok(Self {
            stored: stored_schema(table),
            read: Arc::new(Schema::new(read)),
            origins,
            projection,
            default_partition: default_partition(&table.options).to_owned(),
        })
    }

    /// The columns that a file's path and metadata give, one row each; `None` where the file itself has the column.
    pub(super) fn constants(&self, file: &Found) -> Result<Vec<Option<ArrayRef>>> {
        let constant = |(origin, field): (&Origin, &Arc<Field>)| match origin {
            Origin::Stored(_) => Ok(None),
            Origin::Partition => self.partition_value(file, field).map(Some),
            Origin::Metadata(key) => metadata_value(file, key, field.data_type()).map(Some),
        };
        self.origins.iter().zip(self.projection.fields()).map(constant).collect()
    }

    /// The rows of a file with the columns of `constants` put in.
    pub(super) fn assemble(&self, read: RecordBatch, constants: &[Option<ArrayRef>]) -> Result<RecordBatch> {
        let rows = read.num_rows();
        if self.origins.is_empty() {
            return rows_without_columns(Arc::clone(&self.projection), rows);
        }
        let first = UInt32Array::from(vec![0; if constants.iter().any(Option::is_some) { rows } else { 0 }]);
        let column = |(origin, constant): (&Origin, &Option<ArrayRef>)| match (origin, constant) {
            (Origin::Stored(i), _) => Ok(Arc::clone(read.column(*i))),
            (_, Some(value)) => Ok(take(value, &first, None)?),
            (_, None) => Err(Error::internal("a column of a file's path without a value")),
        };
        let columns = self.origins.iter().zip(constants).map(column).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.projection), columns)?)
    }

    fn partition_value(&self, file: &Found, field: &Field) -> Result<ArrayRef> {
        let Some(text) = partition_text(&file.path, field.name()) else {
            let message = format!("no directory '{}=…' in the path, as PARTITIONED BY demands", field.name());
            return Err(Error::record(file.path.display().to_string(), message));
        };
        let text = Some(text.as_str()).filter(|t| *t != self.default_partition);
        let place = || format!("{} (partition '{}')", file.path.display(), field.name());
        value_from_text(field.data_type(), text).map_err(|e| Error::record(place(), e.to_string()))
    }
}

/// The columns that stand in files: neither in the path nor metadata.
pub(super) fn stored_schema(table: &TableDescriptor) -> SchemaRef {
    let outside = |i: &usize| table.partition_keys.contains(i) || table.metadata.iter().any(|m| m.column == *i);
    let fields = table.schema.fields().iter().enumerate().filter(|(i, _)| !outside(i));
    Arc::new(Schema::new(fields.map(|(_, f)| Arc::clone(f)).collect::<Vec<_>>()))
}

fn partition_text(path: &Path, key: &str) -> Option<String> {
    path.parent()?.components().rev().find_map(|part| {
        let part = part.as_os_str().to_str()?;
        let (name, value) = part.split_once('=')?;
        (unescape(name) == key).then(|| unescape(value))
    })
}

fn metadata_value(file: &Found, key: &str, data_type: &DataType) -> Result<ArrayRef> {
    let name = || file.path.file_name().map(|n| n.to_string_lossy().into_owned());
    let value: ArrayRef = match key {
        "file.path" => Arc::new(StringArray::from(vec![file.path.display().to_string()])),
        "file.name" => Arc::new(StringArray::from(vec![name()])),
        "file.size" => Arc::new(Int64Array::from(vec![file.size as i64])),
        "file.modification-time" => Arc::new(TimestampMillisecondArray::from(vec![file.modified]).with_timezone("UTC")),
        other => return Err(Error::Option(format!("the connector 'filesystem' has no metadata '{other}'"))),
    };
    Ok(cast(&value, data_type)?)
}

/// A partition's directory name: what a path cannot hold is written as `%` and two hexadecimal digits.
pub(super) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        if c.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(c) {
            out.push_str(&format!("%{:02X}", c as u32));
        } else {
            out.push(c);
        }
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(b'%'));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_there_and_back() {
        for text in ["", "a", "a=b/c", "100%", "%4", "é:ü", "..", "\n"] {
            let mut escaped = String::new();
            escape(text, &mut escaped);
            assert!(!escaped.contains(['/', '=']), "{escaped}");
            assert_eq!(unescape(&escaped), text);
        }
    }
}
