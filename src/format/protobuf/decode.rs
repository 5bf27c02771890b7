//! Messages to rows.

use indexmap::IndexMap;
use prost_reflect::Value as DefaultValue;

use super::plan::{Element, FieldKind, FieldPlan, MessagePlan, Scalar, Symbols, WireKind};
use super::wire::{Raw, Wire};
use crate::format::typed::{Column, FieldColumn, ListColumn, MapColumn, RowColumn, Value};

/// What fields that are not there become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absent {
    /// Their defaults, rather than NULL.
    pub(super) defaults: bool,
    /// That for values without parts only, as in a file of syntax proto3.
    pub(super) scalar_defaults: bool,
}

/// Reads messages into rows.
pub(super) struct Reader {
    pub(super) absent: Absent,
    /// What the fields of the message under way have so far, above those of the messages around it.
    slots: Vec<Slot>,
}

/// What was read of a field.
#[derive(Debug, Clone, Default, PartialEq)]
enum Slot {
    #[default]
    None,
    One(Raw),
    /// A message in several parts: they are one when put together.
    Merged(Vec<u8>),
    /// So many items, in the column already.
    Items(usize),
    /// The entries of a map.
    Entries(Vec<std::ops::Range<usize>>),
}

impl Reader {
    pub(super) fn new(absent: Absent) -> Self {
        Self { absent, slots: Vec::new() }
    }

    /// Appends a message to a row's fields. After an error some may have one value more than others.
    pub(super) fn message(&mut self, plan: &MessagePlan, row: &mut RowColumn, bytes: &[u8]) -> Result<(), String> {
        let base = self.slots.len();
        self.slots.resize(base + plan.fields.len(), Slot::None);
        let outcome = self.scan(plan, row, bytes, base).and_then(|()| self.complete(plan, row, bytes, base));
        self.slots.truncate(base);
        outcome
    }

    /// Goes through the fields: items go into their columns at once, of all else the last value counts.
    fn scan(&mut self, plan: &MessagePlan, row: &mut RowColumn, bytes: &[u8], base: usize) -> Result<(), String> {
        let mut wire = Wire::new(bytes);
        while let Some((number, raw)) = wire.field()? {
            let Some((i, field)) = plan.position(number).and_then(|i| Some((i, plan.fields.get(i)?))) else { continue };
            if let Some(group) = field.oneof {
                let others = plan.fields.iter().enumerate().filter(|(j, f)| *j != i && f.oneof == Some(group));
                others.for_each(|(j, _)| self.set(base + j, Slot::None));
            }
            let column = field.column.and_then(|c| row.fields.get_mut(c));
            match (&field.kind, column.map(|c| &mut c.column)) {
                (FieldKind::List(element), Some(Column::List(list))) => {
                    let added = self.items(element, list, bytes, raw).map_err(|e| format!("'{}': {e}", field.name))?;
                    if let (Some(added), Some(slot)) = (added, self.slots.get_mut(base + i)) {
                        let before = if let Slot::Items(n) = slot { *n } else { 0 };
                        *slot = Slot::Items(before + added);
                    }
                }
                (FieldKind::Map(..), _) => {
                    if let (Raw::Bytes(entry), Some(slot)) = (raw, self.slots.get_mut(base + i)) {
                        match slot {
                            Slot::Entries(entries) => entries.push(entry),
                            other => *other = Slot::Entries(vec![entry]),
                        }
                    }
                }
                (FieldKind::One(Element::Message(_)), _) => self.part(base + i, bytes, raw),
                (FieldKind::One(Element::Scalar(scalar)), _) => {
                    if scalar.takes(&raw) {
                        self.set(base + i, Slot::One(raw));
                    }
                }
                _ => self.set(base + i, Slot::One(raw)),
            }
        }
        Ok(())
    }

    fn set(&mut self, index: usize, value: Slot) {
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = value;
        }
    }

    /// A message, or a part of it.
    fn part(&mut self, index: usize, bytes: &[u8], raw: Raw) {
        let (Raw::Bytes(range), Some(slot)) = (raw, self.slots.get_mut(index)) else { return };
        let part = |range: std::ops::Range<usize>| bytes.get(range).unwrap_or_default();
        match slot {
            Slot::Merged(all) => all.extend_from_slice(part(range)),
            Slot::One(Raw::Bytes(first)) => *slot = Slot::Merged([part(first.clone()), part(range)].concat()),
            other => *other = Slot::One(Raw::Bytes(range)),
        }
    }

    /// Appends one item or, where they are packed, several; `None` when it is another field's value.
    fn items(
        &mut self,
        element: &Element,
        list: &mut ListColumn,
        bytes: &[u8],
        raw: Raw,
    ) -> Result<Option<usize>, String> {
        match (element, raw) {
            (Element::Message(plan), Raw::Bytes(range)) => {
                let part = bytes.get(range).unwrap_or_default();
                self.row(plan, &mut list.item, part)?;
                list.added();
                Ok(Some(1))
            }
            (Element::Message(_), _) => Ok(None),
            (Element::Scalar(scalar), Raw::Bytes(range)) if scalar.wire.wire_type() != 2 => {
                let mut wire = Wire::new(bytes.get(range).unwrap_or_default());
                let mut added = 0;
                while !wire.is_at_end() {
                    let raw = match scalar.wire.wire_type() {
                        0 => Raw::Varint(wire.varint()?),
                        1 => Raw::Fixed64(wire.fixed64()?),
                        _ => Raw::Fixed32(wire.fixed32()?),
                    };
                    if scalar.takes(&raw) {
                        list.item.value(scalar.value(&[], &raw)?)?;
                        list.added();
                        added += 1;
                    }
                }
                Ok(Some(added))
            }
            (Element::Scalar(scalar), raw) => {
                if !scalar.takes(&raw) {
                    return Ok(None);
                }
                list.item.value(scalar.value(bytes, &raw)?)?;
                list.added();
                Ok(Some(1))
            }
        }
    }

    fn row(&mut self, plan: &MessagePlan, field: &mut FieldColumn, bytes: &[u8]) -> Result<(), String> {
        let Column::Row(row) = &mut field.column else { return Err("a message where none belongs".into()) };
        self.message(plan, row, bytes)?;
        row.end();
        Ok(())
    }

    /// Appends what has been read of the other fields, and ends the lists.
    fn complete(&mut self, plan: &MessagePlan, row: &mut RowColumn, bytes: &[u8], base: usize) -> Result<(), String> {
        for (i, field) in plan.fields.iter().enumerate() {
            let slot = self.slots.get_mut(base + i).map(std::mem::take).unwrap_or_default();
            if field.required && slot == Slot::None {
                return Err(format!("the required field '{}' is missing", field.name));
            }
            let Some(column) = field.column.and_then(|c| row.fields.get_mut(c)) else { continue };
            self.field(field, column, slot, bytes).map_err(|e| format!("field '{}': {e}", field.name))?;
        }
        Ok(())
    }

    fn field(&mut self, plan: &FieldPlan, column: &mut FieldColumn, slot: Slot, bytes: &[u8]) -> Result<(), String> {
        match (&plan.kind, slot) {
            (FieldKind::One(Element::Scalar(scalar)), Slot::One(raw)) => column.value(scalar.value(bytes, &raw)?),
            (FieldKind::One(Element::Message(plan)), Slot::One(Raw::Bytes(range))) => {
                self.row(plan, column, bytes.get(range).unwrap_or_default())
            }
            (FieldKind::One(Element::Message(plan)), Slot::Merged(all)) => self.row(plan, column, &all),
            (FieldKind::Map(key, value), Slot::Entries(entries)) => match &mut column.column {
                Column::Map(map) => self.entries(key, value, map, bytes, entries),
                _ => Err("a map where none belongs".into()),
            },
            (FieldKind::List(_), Slot::Items(_)) => {
                end(&mut column.column);
                Ok(())
            }
            (FieldKind::One(Element::Scalar(scalar)), _) if self.absent.defaults || self.absent.scalar_defaults => {
                column.value(scalar.default_value()?)
            }
            (FieldKind::One(Element::Message(plan)), _) if self.absent.defaults => self.row(plan, column, &[]),
            (FieldKind::List(_) | FieldKind::Map(..), _) if self.absent.defaults => {
                end(&mut column.column);
                Ok(())
            }
            _ => column.null(),
        }
    }

    /// Of entries with the same key the last counts.
    fn entries(
        &mut self,
        key: &Scalar,
        value: &Element,
        map: &mut MapColumn,
        bytes: &[u8],
        ranges: Vec<std::ops::Range<usize>>,
    ) -> Result<(), String> {
        let mut entries: IndexMap<EntryKey, (&[u8], Option<Raw>)> = IndexMap::with_capacity(ranges.len());
        for range in ranges {
            let entry = bytes.get(range).unwrap_or_default();
            let (entry_key, raw) = split(key, value, entry)?;
            entries.insert(entry_key, (entry, raw));
        }
        for (entry_key, (entry, raw)) in entries {
            match &entry_key {
                EntryKey::Default => map.key.value(key.default_value()?)?,
                EntryKey::Number(raw) => map.key.value(key.value(entry, raw)?)?,
                EntryKey::Text(text) => map.key.value(key.value(text, &Raw::Bytes(0..text.len()))?)?,
            }
            match (value, raw) {
                (Element::Scalar(scalar), Some(raw)) => map.value.value(scalar.value(entry, &raw)?)?,
                (Element::Scalar(scalar), None) => map.value.value(scalar.default_value()?)?,
                (Element::Message(plan), Some(Raw::Bytes(range))) => {
                    self.row(plan, &mut map.value, entry.get(range).unwrap_or_default())?;
                }
                (Element::Message(plan), _) => self.row(plan, &mut map.value, &[])?,
            }
            map.added();
        }
        map.end();
        Ok(())
    }
}

fn end(column: &mut Column) {
    match column {
        Column::List(list) => list.end(),
        Column::Map(map) => map.end(),
        Column::Leaf(_) | Column::Row(_) => {}
    }
}

/// A map's key as it lies on the wire.
#[derive(Debug, PartialEq, Eq, Hash)]
enum EntryKey<'a> {
    Default,
    Number(Raw),
    Text(&'a [u8]),
}

/// The key and the value of a map's entry.
fn split<'a>(key: &Scalar, value: &Element, entry: &'a [u8]) -> Result<(EntryKey<'a>, Option<Raw>), String> {
    let (mut found_key, mut found_value) = (EntryKey::Default, None);
    let mut wire = Wire::new(entry);
    while let Some((number, raw)) = wire.field()? {
        match (number, value) {
            (1, _) if key.takes(&raw) => {
                found_key = match raw {
                    Raw::Bytes(range) => EntryKey::Text(entry.get(range).unwrap_or_default()),
                    raw => EntryKey::Number(raw),
                };
            }
            (2, Element::Scalar(scalar)) if scalar.takes(&raw) => found_value = Some(raw),
            (2, Element::Message(_)) if matches!(raw, Raw::Bytes(_)) => found_value = Some(raw),
            _ => {}
        }
    }
    Ok((found_key, found_value))
}

impl Scalar {
    /// Whether this is a value of the field; one of another wire type counts as unknown, as does an enum's unknown number in
    /// a file of syntax proto2.
    fn takes(&self, raw: &Raw) -> bool {
        match (&self.wire, raw) {
            (WireKind::Enum(symbols), Raw::Varint(n)) => symbols.open || symbols.by_number.contains_key(&(*n as i32)),
            (wire, Raw::Varint(_)) => wire.wire_type() == 0,
            (wire, Raw::Fixed64(_)) => wire.wire_type() == 1,
            (wire, Raw::Bytes(_)) => wire.wire_type() == 2,
            (wire, Raw::Fixed32(_)) => wire.wire_type() == 5,
        }
    }

    /// The value; numbers are cut to their size, as by every reader of this encoding.
    fn value<'a>(&'a self, bytes: &'a [u8], raw: &Raw) -> Result<Value<'a>, String> {
        Ok(match (&self.wire, raw) {
            (WireKind::Double, Raw::Fixed64(n)) => Value::Double(f64::from_bits(*n)),
            (WireKind::Float, Raw::Fixed32(n)) => Value::Float(f32::from_bits(*n)),
            (WireKind::Int32, Raw::Varint(n)) => Value::Integer((*n as i32).into()),
            (WireKind::Int64 | WireKind::Uint64, Raw::Varint(n)) => Value::Integer(*n as i64),
            (WireKind::Uint32, Raw::Varint(n)) => self.unsigned(*n as u32),
            (WireKind::Sint32, Raw::Varint(n)) => Value::Integer(((*n as u32 >> 1) as i32 ^ -(*n as i32 & 1)).into()),
            (WireKind::Sint64, Raw::Varint(n)) => Value::Integer((*n >> 1) as i64 ^ -((*n & 1) as i64)),
            (WireKind::Fixed32, Raw::Fixed32(n)) => self.unsigned(*n),
            (WireKind::Sfixed32, Raw::Fixed32(n)) => Value::Integer((*n as i32).into()),
            (WireKind::Fixed64 | WireKind::Sfixed64, Raw::Fixed64(n)) => Value::Integer(*n as i64),
            (WireKind::Bool, Raw::Varint(n)) => Value::Boolean(*n != 0),
            (WireKind::Enum(symbols), Raw::Varint(n)) => symbols.value(*n as i32),
            (WireKind::Bytes, Raw::Bytes(range)) => Value::Bytes(bytes.get(range.clone()).unwrap_or_default()),
            (WireKind::Text, Raw::Bytes(range)) => {
                let text = std::str::from_utf8(bytes.get(range.clone()).unwrap_or_default());
                Value::Text(text.map_err(|_| "no valid UTF-8")?)
            }
            _ => return Err("a value of another wire type".into()),
        })
    }

    fn unsigned(&self, value: u32) -> Value<'static> {
        Value::Integer(if self.narrow { (value as i32).into() } else { value.into() })
    }

    fn default_value(&self) -> Result<Value<'_>, String> {
        Ok(match &self.default {
            DefaultValue::Bool(v) => Value::Boolean(*v),
            DefaultValue::I32(v) => Value::Integer((*v).into()),
            DefaultValue::I64(v) => Value::Integer(*v),
            DefaultValue::U32(v) => self.unsigned(*v),
            DefaultValue::U64(v) => Value::Integer(*v as i64),
            DefaultValue::F32(v) => Value::Float(*v),
            DefaultValue::F64(v) => Value::Double(*v),
            DefaultValue::String(v) => Value::Text(v),
            DefaultValue::Bytes(v) => Value::Bytes(v),
            DefaultValue::EnumNumber(n) => match &self.wire {
                WireKind::Enum(symbols) => symbols.value(*n),
                _ => Value::Integer((*n).into()),
            },
            DefaultValue::Message(_) | DefaultValue::List(_) | DefaultValue::Map(_) => {
                return Err("a default that is no single value".into());
            }
        })
    }
}

impl Symbols {
    fn value(&self, number: i32) -> Value<'_> {
        match self.as_text {
            true => Value::Text(self.by_number.get(&number).map_or("UNRECOGNIZED", String::as_str)),
            false => Value::Integer(number.into()),
        }
    }
}
