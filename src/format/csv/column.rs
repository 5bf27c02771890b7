//! Columns built from the text of fields.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::Dialect;
use crate::format::leaf::{Leaf, Token, leaf};
use crate::format::text::TimeStyle;
use crate::{Error, Result};

/// A column under construction.
pub(super) enum Column {
    Leaf { leaf: Box<dyn Leaf>, is_text: bool, nullable: bool },
    List { field: FieldRef, items: Box<Column>, ends: Vec<i32>, valid: Vec<bool>, nullable: bool },
    Row { fields: Fields, columns: Vec<Column>, valid: Vec<bool>, nullable: bool },
}

impl Column {
    pub(super) fn new(field: &Field) -> Result<Self> {
        let nullable = field.is_nullable();
        Ok(match field.data_type() {
            DataType::List(item) => Column::List {
                field: Arc::clone(item),
                items: Box::new(Column::part(item)?),
                ends: vec![0],
                valid: Vec::new(),
                nullable,
            },
            DataType::Struct(fields) => Column::Row {
                fields: fields.clone(),
                columns: fields.iter().map(|f| Column::part(f)).collect::<Result<_>>()?,
                valid: Vec::new(),
                nullable,
            },
            _ => Column::part(field)?,
        })
    }

    /// A part of an ARRAY or ROW; it has no parts itself, for there is but one delimiter.
    fn part(field: &Field) -> Result<Self> {
        if field.data_type().is_nested() {
            let message = format!("the type {} of '{}' in the format 'csv'", field.data_type(), field.name());
            return Err(Error::Unsupported(message));
        }
        let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        Ok(Column::Leaf { leaf: leaf(field.data_type(), TimeStyle::Any)?, is_text, nullable: field.is_nullable() })
    }

    /// Appends a field's value.
    pub(super) fn append(&mut self, text: &str, quoted: bool, dialect: &Dialect) -> Result<(), String> {
        let is_null = match (&dialect.null, &*self) {
            (Some(null), _) if null == text => true,
            (_, Column::Leaf { is_text, .. }) => text.is_empty() && !is_text && !quoted,
            _ => text.is_empty() && !quoted,
        };
        if is_null {
            return self.null();
        }
        match self {
            Column::Leaf { leaf, .. } => leaf.append(text, Token::Text)?,
            Column::List { items, ends, valid, .. } => {
                let mut count = ends.last().copied().unwrap_or_default();
                for part in text.split(&dialect.element_delimiter).filter(|_| !text.is_empty()) {
                    items.append(part, false, dialect)?;
                    count += 1;
                }
                ends.push(count);
                valid.push(true);
            }
            Column::Row { columns, valid, .. } => {
                let mut parts = text.split(&dialect.element_delimiter);
                for column in columns.iter_mut() {
                    let part = parts.next().ok_or("fewer parts than the ROW has fields")?;
                    column.append(part, false, dialect)?;
                }
                if parts.next().is_some() {
                    return Err("more parts than the ROW has fields".into());
                }
                valid.push(true);
            }
        }
        Ok(())
    }

    fn null(&mut self) -> Result<(), String> {
        let (Column::Leaf { nullable, .. } | Column::List { nullable, .. } | Column::Row { nullable, .. }) = self;
        if !*nullable {
            return Err("no value, and the column is NOT NULL".into());
        }
        self.append_null();
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Column::Leaf { leaf, .. } => leaf.null(),
            Column::List { ends, valid, .. } => {
                ends.push(ends.last().copied().unwrap_or_default());
                valid.push(false);
            }
            Column::Row { columns, valid, .. } => {
                columns.iter_mut().for_each(Column::append_null);
                valid.push(false);
            }
        }
    }

    /// The first `rows` values; the column is empty then.
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef> {
        match self {
            Column::Leaf { leaf, .. } => {
                let all = leaf.finish()?;
                Ok(if all.len() > rows { all.slice(0, rows) } else { all })
            }
            Column::List { field, items, ends, valid, .. } => {
                let mut all = std::mem::replace(ends, vec![0]);
                all.truncate(rows + 1);
                let offsets = OffsetBuffer::new(all.into());
                let items = items.finish(offsets.last().copied().unwrap_or_default() as usize)?;
                Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, items, nulls(valid, rows))?))
            }
            Column::Row { fields, columns, valid, .. } => {
                let children = columns.iter_mut().map(|c| c.finish(rows)).collect::<Result<_>>()?;
                Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, nulls(valid, rows), rows)?))
            }
        }
    }
}

fn nulls(valid: &mut Vec<bool>, rows: usize) -> Option<NullBuffer> {
    let mut bits = std::mem::take(valid);
    bits.truncate(rows);
    bits.contains(&false).then(|| NullBuffer::from(bits))
}
