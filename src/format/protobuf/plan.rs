//! How a message's fields are a table's columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Syntax, Value as DefaultValue};

/// A message whose fields are columns.
#[derive(Debug)]
pub(super) struct MessagePlan {
    /// All that matter: those of columns, and those that are required or displace others. Sorted by number.
    pub(super) fields: Vec<FieldPlan>,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct FieldPlan {
    pub(super) number: u32,
    pub(super) name: String,
    /// The column's position among those of the row.
    pub(super) column: Option<usize>,
    pub(super) kind: FieldKind,
    /// Only one field of each group is set: the last.
    pub(super) oneof: Option<usize>,
    pub(super) required: bool,
    /// Whether the wire tells a value that is the default from none.
    pub(super) has_presence: bool,
    pub(super) packed: bool,
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum FieldKind {
    /// No column's; only whether it is there counts.
    Unread,
    One(Element),
    List(Element),
    Map(Scalar, Element),
}

/// A value, or an item of several.
#[derive(Debug)]
pub(super) enum Element {
    Scalar(Scalar),
    Message(MessagePlan),
}

/// A value without parts.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) wire: WireKind,
    /// Whether the column has 32 bits; an unsigned number's highest is then its sign, as in Java.
    pub(super) narrow: bool,
    /// The value of a field that is not there.
    pub(super) default: DefaultValue,
}

/// How a value lies on the wire, and what it means.
#[derive(Debug, Clone)]
pub(super) enum WireKind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    Text,
    Bytes,
    Enum(Arc<Symbols>),
}

/// The values of an enum.
#[derive(Debug)]
pub(super) struct Symbols {
    pub(super) by_number: HashMap<i32, String>,
    pub(super) by_name: HashMap<String, i32>,
    /// Whether the column has names.
    pub(super) as_text: bool,
    /// Whether a number without a name is a value.
    pub(super) open: bool,
}

impl WireKind {
    /// The wire type of a value that is not packed.
    pub(super) fn wire_type(&self) -> u32 {
        match self {
            WireKind::Double | WireKind::Fixed64 | WireKind::Sfixed64 => 1,
            WireKind::Float | WireKind::Fixed32 | WireKind::Sfixed32 => 5,
            WireKind::Text | WireKind::Bytes => 2,
            _ => 0,
        }
    }
}

impl MessagePlan {
    /// A plan for the columns, each of which must be a field of its name.
    pub(super) fn new(message: &MessageDescriptor, columns: &Fields) -> Result<Self, String> {
        if let Some(unknown) = columns.iter().find(|c| message.get_field_by_name(c.name()).is_none()) {
            return Err(format!("the message '{}' has no field '{}'", message.full_name(), unknown.name()));
        }
        let mut fields = Vec::new();
        for field in message.fields() {
            let column = columns.iter().enumerate().find(|(_, c)| c.name() == field.name());
            let oneof = field.containing_oneof().map(|o| o.name().to_owned());
            let oneof = oneof.and_then(|name| message.oneofs().position(|o| o.name() == name));
            let kind = match column {
                None => FieldKind::Unread,
                Some((_, c)) => kind(&field, c).map_err(|e| format!("'{}': {e}", c.name()))?,
            };
            if column.is_none() && oneof.is_none() && !field.is_required() {
                continue;
            }
            fields.push(FieldPlan {
                number: field.number(),
                name: field.name().to_owned(),
                column: column.map(|(i, _)| i),
                kind,
                oneof,
                required: field.is_required(),
                has_presence: field.supports_presence(),
                packed: field.is_packed(),
            });
        }
        fields.sort_by_key(|f| f.number);
        Ok(Self { fields })
    }

    pub(super) fn position(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |f| f.number).ok()
    }
}

fn kind(field: &FieldDescriptor, column: &Field) -> Result<FieldKind, String> {
    let mismatch =
        || Err(format!("the field is a {}{:?}, and the column a {}", plural(field), field.kind(), column.data_type()));
    if field.is_map() {
        let (Kind::Message(entry), DataType::Map(entries, _)) = (field.kind(), column.data_type()) else {
            return mismatch();
        };
        let DataType::Struct(parts) = entries.data_type() else { return mismatch() };
        let [key, value] = parts.as_ref() else { return mismatch() };
        let Element::Scalar(key) = element(&entry.map_entry_key_field(), key.data_type())? else { return mismatch() };
        return Ok(FieldKind::Map(key, element(&entry.map_entry_value_field(), value.data_type())?));
    }
    match (field.is_list(), column.data_type()) {
        (true, DataType::List(item)) => Ok(FieldKind::List(element(field, item.data_type())?)),
        (true, _) => mismatch(),
        (false, data_type) => Ok(FieldKind::One(element(field, data_type)?)),
    }
}

fn plural(field: &FieldDescriptor) -> &'static str {
    if field.is_list() { "repeated " } else { "" }
}

/// Flink's table of types, and beyond it unsigned numbers of 32 bits as BIGINT.
fn element(field: &FieldDescriptor, column: &DataType) -> Result<Element, String> {
    use DataType as D;
    let wire = match (field.kind(), column) {
        (Kind::Message(_), _) if field.is_group() => return Err("groups are not supported".into()),
        (Kind::Message(message), D::Struct(fields)) => {
            return Ok(Element::Message(MessagePlan::new(&message, fields)?));
        }
        (Kind::Double, D::Float64) => WireKind::Double,
        (Kind::Float, D::Float32) => WireKind::Float,
        (Kind::Int32, D::Int32) => WireKind::Int32,
        (Kind::Int64, D::Int64) => WireKind::Int64,
        (Kind::Uint32, D::Int32 | D::Int64) => WireKind::Uint32,
        (Kind::Uint64, D::Int64) => WireKind::Uint64,
        (Kind::Sint32, D::Int32) => WireKind::Sint32,
        (Kind::Sint64, D::Int64) => WireKind::Sint64,
        (Kind::Fixed32, D::Int32 | D::Int64) => WireKind::Fixed32,
        (Kind::Fixed64, D::Int64) => WireKind::Fixed64,
        (Kind::Sfixed32, D::Int32) => WireKind::Sfixed32,
        (Kind::Sfixed64, D::Int64) => WireKind::Sfixed64,
        (Kind::Bool, D::Boolean) => WireKind::Bool,
        (Kind::String, D::Utf8) => WireKind::Text,
        (Kind::Bytes, D::Binary) => WireKind::Bytes,
        (Kind::Enum(descriptor), D::Utf8) => WireKind::Enum(symbols(&descriptor, true)),
        (Kind::Enum(descriptor), D::Int8 | D::Int16 | D::Int32 | D::Int64) => {
            WireKind::Enum(symbols(&descriptor, false))
        }
        (kind, column) => return Err(format!("a {kind:?} cannot be a {column}")),
    };
    let default = if field.is_list() { DefaultValue::default_value(&field.kind()) } else { field.default_value() };
    Ok(Element::Scalar(Scalar { wire, narrow: column == &D::Int32, default }))
}

fn symbols(descriptor: &EnumDescriptor, as_text: bool) -> Arc<Symbols> {
    // Of several names for a number the first counts.
    let mut by_number = HashMap::new();
    for value in descriptor.values() {
        by_number.entry(value.number()).or_insert_with(|| value.name().to_owned());
    }
    Arc::new(Symbols {
        by_number,
        by_name: descriptor.values().map(|v| (v.name().to_owned(), v.number())).collect(),
        as_text,
        open: descriptor.parent_file().syntax() == Syntax::Proto3,
    })
}
