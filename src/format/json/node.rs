//! Columns built from JSON values, nested ones too.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, MapArray, RecordBatch, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef};

use super::cursor::{Cursor, Reason};
use crate::format::leaf::{Leaf, Token, leaf};
use crate::format::text::TimeStyle;
use crate::table::rows_without_columns;
use crate::{Error, Result};

/// From how many fields on names are looked up in a hash table.
const MANY_FIELDS: usize = 12;

/// A column of any type under construction.
enum Node {
    Leaf(Box<dyn Leaf>, bool),
    Row(RowNode, Validity),
    List(Box<ListNode>),
    Map(Box<MapNode>),
}

/// One bit a value.
#[derive(Default)]
struct Validity(Vec<bool>);

impl Validity {
    fn finish(&mut self, rows: usize) -> Option<NullBuffer> {
        let mut bits = std::mem::take(&mut self.0);
        bits.truncate(rows);
        bits.contains(&false).then(|| NullBuffer::from(bits))
    }
}

impl Node {
    fn new(field: &Field, options: Reading) -> Result<Self> {
        Ok(match field.data_type() {
            DataType::Struct(fields) => Node::Row(RowNode::new(fields, options)?, Validity::default()),
            DataType::List(item) => Node::List(Box::new(ListNode {
                field: Arc::clone(item),
                item: Node::new(item, options)?,
                ends: vec![0],
                count: 0,
                validity: Validity::default(),
            })),
            DataType::Map(entries, ordered) => Node::Map(Box::new(MapNode::new(entries, *ordered, options)?)),
            other => {
                let text = matches!(other, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
                Node::Leaf(leaf(other, options.style)?, text)
            }
        })
    }

    /// Appends the value at the cursor, which is no null. After an error the column may hold a part of it.
    fn read(&mut self, c: &mut Cursor) -> Result<(), Reason> {
        match self {
            Node::Leaf(leaf, takes_text) => read_leaf(leaf.as_mut(), *takes_text, c),
            Node::Row(row, validity) => {
                row.read(c)?;
                validity.0.push(true);
                Ok(())
            }
            Node::List(list) => list.read(c),
            Node::Map(map) => map.read(c),
        }
    }

    fn null(&mut self) {
        match self {
            Node::Leaf(leaf, _) => leaf.null(),
            Node::Row(row, validity) => {
                row.fields.iter_mut().for_each(|f| f.node.null());
                validity.0.push(false);
            }
            Node::List(list) => list.null(),
            Node::Map(map) => map.null(),
        }
    }

    /// The first `rows` values; the column is empty then.
    fn finish(&mut self, rows: usize) -> Result<ArrayRef> {
        match self {
            Node::Leaf(leaf, _) => {
                let all = leaf.finish()?;
                Ok(if all.len() > rows { all.slice(0, rows) } else { all })
            }
            Node::Row(row, validity) => {
                let children = row.finish(rows)?;
                let fields = row.fields.iter().map(|f| Arc::clone(&f.field)).collect::<Fields>();
                let nulls = validity.finish(rows);
                Ok(Arc::new(StructArray::try_new_with_length(fields, children, nulls, rows)?))
            }
            Node::List(list) => list.finish(rows),
            Node::Map(map) => map.finish(rows),
        }
    }
}

fn read_leaf(leaf: &mut dyn Leaf, takes_text: bool, c: &mut Cursor) -> Result<(), Reason> {
    match c.peek() {
        b'"' => leaf.append(&c.string()?, Token::Text),
        b'-' | b'0'..=b'9' => leaf.append(c.number()?, Token::Number),
        b'{' | b'[' if takes_text => {
            let mut text = String::new();
            c.walk(&mut |part| text.push_str(part))?;
            leaf.append(&text, Token::Text)
        }
        b'{' => Err("an object where a single value belongs".into()),
        b'[' => Err("an array where a single value belongs".into()),
        _ => leaf.append(c.literal()?, Token::Literal),
    }
}

/// How records are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// How timestamps are written.
    pub(super) style: TimeStyle,
    /// Whether a field that is not there is an error rather than NULL.
    pub(super) fail_on_missing: bool,
}

/// The fields of a ROW, or of the whole record.
pub(super) struct RowNode {
    fields: Vec<FieldNode>,
    by_name: HashMap<String, usize>,
    fail_on_missing: bool,
    /// Grows with each object; a field whose mark equals it has been seen in this one.
    round: u64,
}

struct FieldNode {
    field: FieldRef,
    node: Node,
    seen: u64,
}

impl RowNode {
    pub(super) fn new(fields: &Fields, options: Reading) -> Result<Self> {
        let nodes = fields
            .iter()
            .map(|f| Ok(FieldNode { field: Arc::clone(f), node: Node::new(f, options)?, seen: 0 }))
            .collect::<Result<Vec<_>>>()?;
        let many = fields.len() >= MANY_FIELDS;
        let by_name = fields.iter().enumerate().filter(|_| many).map(|(i, f)| (f.name().clone(), i)).collect();
        Ok(Self { fields: nodes, by_name, fail_on_missing: options.fail_on_missing, round: 0 })
    }

    /// Reads an object. After an error some fields may have one value more than others.
    pub(super) fn read(&mut self, c: &mut Cursor) -> Result<(), Reason> {
        if c.peek() != b'{' {
            return Err(c.unexpected("an object"));
        }
        c.enter()?;
        self.round += 1;
        let (mut found, mut first, mut next) = (0, true, 0);
        while c.another(b'}', first)? {
            first = false;
            let key = c.key()?;
            match self.position(&key, next) {
                Some(i) => {
                    self.read_field(i, c)?;
                    found += 1;
                    next = i + 1;
                }
                None => c.skip()?,
            }
        }
        if found < self.fields.len() { self.missing() } else { Ok(()) }
    }

    /// Members mostly stand in the order of the fields, so the one after the last is looked at first.
    fn position(&self, key: &str, next: usize) -> Option<usize> {
        if self.fields.get(next).is_some_and(|f| f.field.name() == key) {
            return Some(next);
        }
        if self.by_name.is_empty() {
            self.fields.iter().position(|f| f.field.name() == key)
        } else {
            self.by_name.get(key).copied()
        }
    }

    fn read_field(&mut self, i: usize, c: &mut Cursor) -> Result<(), Reason> {
        let Some(field) = self.fields.get_mut(i) else { return Ok(()) };
        if field.seen == self.round {
            return Err(format!("the field '{}' stands there twice", field.field.name()));
        }
        field.seen = self.round;
        if c.take_null() {
            if !field.field.is_nullable() {
                return Err(format!("the field '{}' is NOT NULL and has no value", field.field.name()));
            }
            field.node.null();
            return Ok(());
        }
        field.node.read(c).map_err(|reason| format!("field '{}': {reason}", field.field.name()))
    }

    fn missing(&mut self) -> Result<(), Reason> {
        for f in self.fields.iter_mut().filter(|f| f.seen != self.round) {
            if self.fail_on_missing || !f.field.is_nullable() {
                let why = if self.fail_on_missing { "is missing" } else { "is NOT NULL and missing" };
                return Err(format!("the field '{}' {why}", f.field.name()));
            }
            f.node.null();
        }
        Ok(())
    }

    fn finish(&mut self, rows: usize) -> Result<Vec<ArrayRef>> {
        self.fields.iter_mut().map(|f| f.node.finish(rows)).collect()
    }

    /// The first `rows` records; no more are held then.
    pub(super) fn finish_batch(&mut self, schema: &SchemaRef, rows: usize) -> Result<RecordBatch> {
        let columns = self.finish(rows)?;
        if columns.is_empty() {
            return rows_without_columns(Arc::clone(schema), rows);
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

struct ListNode {
    field: FieldRef,
    item: Node,
    ends: Vec<i32>,
    count: i32,
    validity: Validity,
}

impl ListNode {
    fn read(&mut self, c: &mut Cursor) -> Result<(), Reason> {
        if c.peek() != b'[' {
            return Err(c.unexpected("an array"));
        }
        c.enter()?;
        let mut first = true;
        while c.another(b']', first)? {
            first = false;
            read_nullable(&mut self.item, self.field.is_nullable(), c)?;
            self.count += 1;
        }
        self.ends.push(self.count);
        self.validity.0.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.ends.push(self.count);
        self.validity.0.push(false);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef> {
        let offsets = finish_ends(&mut self.ends, &mut self.count, rows);
        let items = self.item.finish(offsets.last().copied().unwrap_or_default() as usize)?;
        let nulls = self.validity.finish(rows);
        Ok(Arc::new(ListArray::try_new(Arc::clone(&self.field), offsets, items, nulls)?))
    }
}

fn read_nullable(node: &mut Node, nullable: bool, c: &mut Cursor) -> Result<(), Reason> {
    match c.take_null() {
        true if nullable => node.null(),
        true => return Err("null where NOT NULL was declared".into()),
        false => node.read(c)?,
    }
    Ok(())
}

/// The offsets of the first `rows` lists. Batches are bounded in bytes, so `i32` never overflows.
fn finish_ends(ends: &mut Vec<i32>, count: &mut i32, rows: usize) -> OffsetBuffer<i32> {
    let mut all = std::mem::replace(ends, vec![0]);
    *count = 0;
    all.truncate(rows + 1);
    OffsetBuffer::new(all.into())
}

struct MapNode {
    entries: FieldRef,
    parts: Fields,
    ordered: bool,
    keys: Box<dyn Leaf>,
    values: Node,
    ends: Vec<i32>,
    count: i32,
    validity: Validity,
}

impl MapNode {
    fn new(entries: &FieldRef, ordered: bool, options: Reading) -> Result<Self> {
        let DataType::Struct(parts) = entries.data_type() else {
            return Err(Error::internal("a map without entries"));
        };
        let [key, value] = parts.as_ref() else { return Err(Error::internal("a map's entry is a pair")) };
        Ok(Self {
            entries: Arc::clone(entries),
            parts: parts.clone(),
            ordered,
            keys: leaf(key.data_type(), options.style)?,
            values: Node::new(value, options)?,
            ends: vec![0],
            count: 0,
            validity: Validity::default(),
        })
    }

    fn read(&mut self, c: &mut Cursor) -> Result<(), Reason> {
        if c.peek() != b'{' {
            return Err(c.unexpected("an object"));
        }
        c.enter()?;
        let nullable = self.parts.last().is_none_or(|v| v.is_nullable());
        let mut first = true;
        while c.another(b'}', first)? {
            first = false;
            let key = c.key()?;
            self.keys.append(&key, Token::Text)?;
            read_nullable(&mut self.values, nullable, c)?;
            self.count += 1;
        }
        self.ends.push(self.count);
        self.validity.0.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.ends.push(self.count);
        self.validity.0.push(false);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef> {
        let offsets = finish_ends(&mut self.ends, &mut self.count, rows);
        let count = offsets.last().copied().unwrap_or_default() as usize;
        let keys = self.keys.finish()?.slice(0, count);
        let pairs = vec![keys, self.values.finish(count)?];
        let entries = StructArray::try_new_with_length(self.parts.clone(), pairs, None, count)?;
        let nulls = self.validity.finish(rows);
        Ok(Arc::new(MapArray::try_new(Arc::clone(&self.entries), offsets, entries, nulls, self.ordered)?))
    }
}
