//! Columns with parts: rows, lists, maps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, MapArray, RecordBatch, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};

use super::{Leaf, Value, leaf};
use crate::table::rows_without_columns;
use crate::{Error, Result};

/// A column of any type under construction. A value that was begun and not ended is cut off by [`Column::finish`].
pub(in crate::format) enum Column {
    Leaf(Box<dyn Leaf>),
    Row(RowColumn),
    List(Box<ListColumn>),
    Map(Box<MapColumn>),
}

/// A column and its name, and whether it takes NULL.
pub(in crate::format) struct FieldColumn {
    pub(in crate::format) field: FieldRef,
    pub(in crate::format) column: Column,
}

impl FieldColumn {
    fn new(field: &FieldRef) -> Result<Self> {
        let data_type = field.data_type();
        let column = match data_type {
            DataType::Struct(fields) => Column::Row(RowColumn::new(fields)?),
            DataType::List(item) => {
                Column::List(Box::new(ListColumn { item: Self::new(item)?, ends: Ends::default() }))
            }
            DataType::Map(entries, ordered) => Column::Map(Box::new(MapColumn::new(entries, *ordered)?)),
            other => Column::Leaf(leaf(other)?),
        };
        Ok(Self { field: Arc::clone(field), column })
    }

    /// Appends a NULL, where that is allowed.
    pub(in crate::format) fn null(&mut self) -> Result<(), String> {
        if !self.field.is_nullable() {
            return Err(format!("'{}' is NOT NULL and has no value", self.field.name()));
        }
        self.column.null();
        Ok(())
    }

    /// Appends a value without parts.
    pub(in crate::format) fn value(&mut self, value: Value) -> Result<(), String> {
        match &mut self.column {
            Column::Leaf(leaf) => leaf.append(value).map_err(|reason| format!("'{}': {reason}", self.field.name())),
            _ => Err(format!("'{}': a single value where a {} belongs", self.field.name(), self.field.data_type())),
        }
    }
}

impl Column {
    fn null(&mut self) {
        match self {
            Column::Leaf(leaf) => leaf.null(),
            Column::Row(row) => {
                row.fields.iter_mut().for_each(|f| f.column.null());
                row.valid.push(false);
            }
            Column::List(list) => list.ends.end(false),
            Column::Map(map) => map.ends.end(false),
        }
    }

    /// The first `rows` values; the column is empty then.
    fn finish(&mut self, rows: usize) -> Result<ArrayRef> {
        match self {
            Column::Leaf(leaf) => {
                let all = leaf.finish()?;
                Ok(if all.len() > rows { all.slice(0, rows) } else { all })
            }
            Column::Row(row) => {
                let children = row.finish_fields(rows)?;
                let fields = row.fields.iter().map(|f| Arc::clone(&f.field)).collect::<Fields>();
                let nulls = nulls(&mut row.valid, rows);
                Ok(Arc::new(StructArray::try_new_with_length(fields, children, nulls, rows)?))
            }
            Column::List(list) => {
                let (offsets, count, nulls) = list.ends.finish(rows);
                let items = list.item.column.finish(count)?;
                Ok(Arc::new(ListArray::try_new(Arc::clone(&list.item.field), offsets, items, nulls)?))
            }
            Column::Map(map) => map.finish(rows),
        }
    }
}

/// The fields of a ROW, or of a whole record.
pub(in crate::format) struct RowColumn {
    pub(in crate::format) fields: Vec<FieldColumn>,
    valid: Vec<bool>,
}

impl RowColumn {
    pub(in crate::format) fn new(fields: &Fields) -> Result<Self> {
        Ok(Self { fields: fields.iter().map(FieldColumn::new).collect::<Result<_>>()?, valid: Vec::new() })
    }

    /// All fields have got one more value.
    pub(in crate::format) fn end(&mut self) {
        self.valid.push(true);
    }

    fn finish_fields(&mut self, rows: usize) -> Result<Vec<ArrayRef>> {
        self.fields.iter_mut().map(|f| f.column.finish(rows)).collect()
    }

    /// The first `rows` records; no more are held then.
    pub(in crate::format) fn finish_batch(&mut self, schema: &SchemaRef, rows: usize) -> Result<RecordBatch> {
        self.valid.clear();
        let columns = self.finish_fields(rows)?;
        if columns.is_empty() {
            return rows_without_columns(Arc::clone(schema), rows);
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

/// Where lists end, and which are NULL.
struct Ends {
    ends: Vec<i32>,
    count: i32,
    valid: Vec<bool>,
}

impl Default for Ends {
    fn default() -> Self {
        Self { ends: vec![0], count: 0, valid: Vec::new() }
    }
}

impl Ends {
    fn end(&mut self, valid: bool) {
        self.ends.push(self.count);
        self.valid.push(valid);
    }

    /// The offsets of the first `rows` lists, how many items they have, and which are NULL.
    fn finish(&mut self, rows: usize) -> (OffsetBuffer<i32>, usize, Option<NullBuffer>) {
        let mut all = std::mem::replace(&mut self.ends, vec![0]);
        self.count = 0;
        all.truncate(rows + 1);
        let count = all.last().copied().unwrap_or_default() as usize;
        (OffsetBuffer::new(all.into()), count, nulls(&mut self.valid, rows))
    }
}

fn nulls(valid: &mut Vec<bool>, rows: usize) -> Option<NullBuffer> {
    let mut bits = std::mem::take(valid);
    bits.truncate(rows);
    bits.contains(&false).then(|| NullBuffer::from(bits))
}

/// Lists: each item is appended to `item` and told by [`ListColumn::added`]; then [`ListColumn::end`].
pub(in crate::format) struct ListColumn {
    pub(in crate::format) item: FieldColumn,
    ends: Ends,
}

impl ListColumn {
    /// An item was appended. A batch's bytes are bounded, and each item takes one, so `i32` does not overflow.
    pub(in crate::format) fn added(&mut self) {
        self.ends.count += 1;
    }

    /// The list is complete.
    pub(in crate::format) fn end(&mut self) {
        self.ends.end(true);
    }
}

/// Maps: each entry is appended to `key` and `value` and told by [`MapColumn::added`]; then [`MapColumn::end`].
pub(in crate::format) struct MapColumn {
    pub(in crate::format) key: FieldColumn,
    pub(in crate::format) value: FieldColumn,
    entries: FieldRef,
    ordered: bool,
    ends: Ends,
}

impl MapColumn {
    fn new(entries: &FieldRef, ordered: bool) -> Result<Self> {
        let DataType::Struct(parts) = entries.data_type() else {
            return Err(Error::internal("a map without entries"));
        };
        let [key, value] = parts.as_ref() else { return Err(Error::internal("a map's entry is a pair")) };
        let (key, value) = (FieldColumn::new(key)?, FieldColumn::new(value)?);
        Ok(Self { key, value, entries: Arc::clone(entries), ordered, ends: Ends::default() })
    }

    /// An entry was appended; as for lists.
    pub(in crate::format) fn added(&mut self) {
        self.ends.count += 1;
    }

    /// The map is complete.
    pub(in crate::format) fn end(&mut self) {
        self.ends.end(true);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef> {
        let (offsets, count, nulls) = self.ends.finish(rows);
        let parts = Fields::from(vec![Arc::clone(&self.key.field), Arc::clone(&self.value.field)]);
        let pairs = vec![self.key.column.finish(count)?, self.value.column.finish(count)?];
        let entries = StructArray::try_new_with_length(parts, pairs, None, count)?;
        Ok(Arc::new(MapArray::try_new(Arc::clone(&self.entries), offsets, entries, nulls, self.ordered)?))
    }
}
