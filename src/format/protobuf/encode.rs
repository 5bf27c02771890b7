//! Rows to messages.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use prost_reflect::Value as DefaultValue;

use super::plan::{Element, FieldKind, FieldPlan, MessagePlan, Scalar, Symbols, WireKind};
use super::wire::{put_sized, put_tag, put_varint};

/// Writes rows as messages.
pub(super) struct Writer {
    /// What stands for a NULL among the texts of an array or map.
    pub(super) null_text: String,
}

impl Writer {
    /// Appends a row. What is NULL is left out.
    pub(super) fn message(
        &self,
        plan: &MessagePlan,
        columns: &[ArrayRef],
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let column_of = |field: &FieldPlan| field.column.and_then(|c| columns.get(c)).filter(|c| c.is_valid(row));
        for field in &plan.fields {
            let Some(column) = column_of(field) else {
                if field.required {
                    return Err(format!("the field '{}' is required, and NULL", field.name));
                }
                continue;
            };
            // Of several that displace each other the last column's counts.
            let displaces = |other: &FieldPlan| {
                other.oneof == field.oneof && other.column > field.column && column_of(other).is_some()
            };
            if field.oneof.is_some() && plan.fields.iter().any(displaces) {
                continue;
            }
            self.field(field, column, row, out).map_err(|e| format!("field '{}': {e}", field.name))?;
        }
        Ok(())
    }

    fn field(&self, field: &FieldPlan, column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        match &field.kind {
            FieldKind::Unread => Ok(()),
            FieldKind::One(Element::Scalar(scalar)) => {
                let start = out.len();
                put_tag(field.number, scalar.wire.wire_type(), out);
                let value = out.len();
                scalar.write(column, row, out)?;
                // The default, which is all zeros, says nothing where nothing means the default.
                if !field.has_presence && out.iter().skip(value).all(|b| *b == 0) {
                    out.truncate(start);
                }
                Ok(())
            }
            FieldKind::One(element) => self.element(field.number, element, column, row, out),
            FieldKind::List(element) => {
                let Some(list) = column.as_list_opt::<i32>() else { return Err("no list".into()) };
                let (start, end) = bounds(list.value_offsets(), row);
                match element {
                    Element::Scalar(scalar) if field.packed && start < end => {
                        put_tag(field.number, 2, out);
                        put_sized(out, |out| {
                            (start..end).try_for_each(|i| self.scalar_or_default(scalar, list.values(), i, out))
                        })
                    }
                    _ => (start..end).try_for_each(|i| self.element(field.number, element, list.values(), i, out)),
                }
            }
            FieldKind::Map(key, value) => {
                let Some(map) = column.as_map_opt() else { return Err("no map".into()) };
                let (start, end) = bounds(map.value_offsets(), row);
                (start..end).try_for_each(|i| {
                    put_tag(field.number, 2, out);
                    put_sized(out, |out| {
                        put_tag(1, key.wire.wire_type(), out);
                        self.scalar_or_default(key, map.keys(), i, out)?;
                        self.element(2, value, map.values(), i, out)
                    })
                })
            }
        }
    }

    /// Writes a value with its tag; an item that is NULL as the default, for the encoding has no NULL among items.
    fn element(
        &self,
        number: u32,
        element: &Element,
        column: &ArrayRef,
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match element {
            Element::Scalar(scalar) => {
                put_tag(number, scalar.wire.wire_type(), out);
                self.scalar_or_default(scalar, column, row, out)
            }
            Element::Message(plan) => {
                let Some(structs) = column.as_struct_opt() else { return Err("no row".into()) };
                put_tag(number, 2, out);
                put_sized(out, |out| match structs.is_null(row) {
                    true => Ok(()),
                    false => self.message(plan, structs.columns(), row, out),
                })
            }
        }
    }

    fn scalar_or_default(
        &self,
        scalar: &Scalar,
        column: &ArrayRef,
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        if column.is_valid(row) {
            return scalar.write(column, row, out);
        }
        match (&scalar.wire, &scalar.default) {
            (WireKind::Text, _) => put_bytes(self.null_text.as_bytes(), out),
            (WireKind::Enum(_), DefaultValue::EnumNumber(n)) => put_varint(i64::from(*n) as u64, out),
            (WireKind::Double | WireKind::Fixed64 | WireKind::Sfixed64, _) => out.extend_from_slice(&[0; 8]),
            (WireKind::Float | WireKind::Fixed32 | WireKind::Sfixed32, _) => out.extend_from_slice(&[0; 4]),
            _ => out.push(0),
        }
        Ok(())
    }
}

fn bounds(offsets: &[i32], row: usize) -> (usize, usize) {
    let at = |i: usize| offsets.get(i).map_or(0, |o| *o as usize);
    (at(row), at(row + 1))
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn number<T: ArrowPrimitiveType>(column: &ArrayRef, row: usize) -> T::Native {
    column.as_primitive::<T>().value(row)
}

fn integer(column: &ArrayRef, row: usize) -> Result<i64, String> {
    Ok(match column.data_type() {
        DataType::Int8 => number::<Int8Type>(column, row).into(),
        DataType::Int16 => number::<Int16Type>(column, row).into(),
        DataType::Int32 => number::<Int32Type>(column, row).into(),
        DataType::Int64 => number::<Int64Type>(column, row),
        other => return Err(format!("a {other}, where a whole number belongs")),
    })
}

impl Scalar {
    /// Appends a value that is not NULL, without its tag.
    fn write(&self, column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let zigzag = |n: i64| ((n << 1) ^ (n >> 63)) as u64;
        match (&self.wire, column.data_type()) {
            (WireKind::Double, DataType::Float64) => {
                out.extend_from_slice(&number::<Float64Type>(column, row).to_le_bytes());
            }
            (WireKind::Float, DataType::Float32) => {
                out.extend_from_slice(&number::<Float32Type>(column, row).to_le_bytes());
            }
            (WireKind::Bool, DataType::Boolean) => out.push(column.as_boolean().value(row).into()),
            (WireKind::Text, DataType::Utf8) => put_bytes(column.as_string::<i32>().value(row).as_bytes(), out),
            (WireKind::Bytes, DataType::Binary) => put_bytes(column.as_binary::<i32>().value(row), out),
            (WireKind::Enum(symbols), DataType::Utf8) => {
                put_varint(i64::from(symbols.number(column.as_string::<i32>().value(row))?) as u64, out);
            }
            (WireKind::Enum(_) | WireKind::Int32 | WireKind::Int64 | WireKind::Uint64, _) => {
                put_varint(integer(column, row)? as u64, out);
            }
            (WireKind::Sint32 | WireKind::Sint64, _) => put_varint(zigzag(integer(column, row)?), out),
            (WireKind::Uint32, _) => put_varint(self.bits32(integer(column, row)?)?.into(), out),
            (WireKind::Fixed32, _) => out.extend_from_slice(&self.bits32(integer(column, row)?)?.to_le_bytes()),
            (WireKind::Sfixed32, _) => out.extend_from_slice(&(integer(column, row)? as i32).to_le_bytes()),
            (WireKind::Fixed64 | WireKind::Sfixed64, _) => {
                out.extend_from_slice(&integer(column, row)?.to_le_bytes());
            }
            (wire, other) => return Err(format!("a {other} cannot be written as {wire:?}")),
        }
        Ok(())
    }

    fn bits32(&self, value: i64) -> Result<u32, String> {
        match self.narrow {
            true => Ok(value as i32 as u32),
            false => value.try_into().map_err(|_| format!("{value} is no unsigned number of 32 bits")),
        }
    }
}

impl Symbols {
    fn number(&self, name: &str) -> Result<i32, String> {
        self.by_name.get(name).copied().ok_or_else(|| format!("the enum has no value '{name}'"))
    }
}
