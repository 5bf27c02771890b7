//! Avro schemas as their JSON says them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value as Json;

/// How long a schema's text may be.
pub(super) const MAX_TEXT: usize = 4 << 20;

/// A type's number within its schema; types may name themselves, so a schema is a graph.
pub(super) type TypeId = usize;

/// A schema.
#[derive(Debug)]
pub(super) struct Schema {
    types: Vec<Type>,
    pub(super) root: TypeId,
}

/// A type, as it lies in bytes and with what that means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    Int(Meaning),
    Long(Meaning),
    Float,
    Double,
    Bytes(Meaning),
    Text,
    Fixed(usize, Meaning),
    Enum(Arc<[String]>),
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) id: TypeId,
}

/// The logical type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Plain,
    Date,
    /// Of a day; how many decimal digits of a second a unit is.
    Time(u8),
    /// Since the epoch; how many decimal digits of a second a unit is, and whether it is a moment, not a local time.
    Timestamp(u8, bool),
    /// Precision and scale.
    Decimal(u8, u8),
}

impl Schema {
    /// Reads a schema's JSON.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("a schema of more than {} MiB", MAX_TEXT >> 20));
        }
        let json: Json = match serde_json::from_str(text) {
            Ok(json) => json,
            // A primitive type may stand there without quotes.
            Err(_) if primitive(text.trim()).is_some() => Json::String(text.trim().to_owned()),
            Err(e) => return Err(format!("the schema is no JSON: {e}")),
        };
        let mut parser = Parser::default();
        let root = parser.parse(&json, "")?;
        Ok(Self { types: parser.types, root })
    }

    pub(super) fn get(&self, id: TypeId) -> &Type {
        self.types.get(id).unwrap_or(&Type::Null)
    }
}

#[derive(Default)]
struct Parser {
    types: Vec<Type>,
    names: HashMap<String, TypeId>,
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" => Type::Int(Meaning::Plain),
        "long" => Type::Long(Meaning::Plain),
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes(Meaning::Plain),
        "string" => Type::Text,
        _ => return None,
    })
}

fn text<'a>(json: &'a Json, key: &str) -> Option<&'a str> {
    json.get(key).and_then(Json::as_str)
}

impl Parser {
    /// The parser of JSON bounds how deep this goes.
    fn parse(&mut self, json: &Json, space: &str) -> Result<TypeId, String> {
        match json {
            Json::String(name) => match primitive(name) {
                Some(t) => Ok(self.add(t)),
                None => self.named(name, space),
            },
            Json::Array(branches) => self.union(branches, space),
            Json::Object(_) => self.object(json, space),
            other => Err(format!("{other} is no type")),
        }
    }

    fn add(&mut self, t: Type) -> TypeId {
        self.types.push(t);
        self.types.len() - 1
    }

    fn named(&self, name: &str, space: &str) -> Result<TypeId, String> {
        let full = if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") };
        let found = self.names.get(&full).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| format!("the schema names a type '{full}', and has none"))
    }

    fn union(&mut self, branches: &[Json], space: &str) -> Result<TypeId, String> {
        let ids = branches.iter().map(|b| self.parse(b, space)).collect::<Result<Vec<_>, _>>()?;
        if ids.is_empty() || ids.iter().any(|id| matches!(self.types.get(*id), Some(Type::Union(_)))) {
            return Err("a union of nothing, or within another".into());
        }
        Ok(self.add(Type::Union(ids)))
    }

    fn object(&mut self, json: &Json, space: &str) -> Result<TypeId, String> {
        let Some(kind) = text(json, "type") else {
            // A type may stand within an object of its own.
            let inner = json.get("type").ok_or("a type without 'type'")?;
            return self.parse(inner, space);
        };
        match kind {
            "record" | "error" => {
                let (id, space) = self.declare(json, space)?;
                let fields = json.get("fields").and_then(Json::as_array).ok_or("a record without 'fields'")?;
                let fields = fields.iter().map(|f| self.field(f, &space)).collect::<Result<Vec<_>, _>>()?;
                let mut names = HashSet::new();
                if let Some(twice) = fields.iter().find(|f| !names.insert(f.name.as_str())) {
                    return Err(format!("a record has two fields '{}'", twice.name));
                }
                self.define(id, Type::Record(fields))
            }
            "enum" => {
                let (id, _) = self.declare(json, space)?;
                let symbols = json.get("symbols").and_then(Json::as_array).ok_or("an enum without 'symbols'")?;
                let symbols = symbols.iter().map(|s| s.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
                self.define(id, Type::Enum(symbols.ok_or("an enum's symbol is no text")?.into()))
            }
            "fixed" => {
                let (id, _) = self.declare(json, space)?;
                let size = json.get("size").and_then(Json::as_u64).and_then(|s| usize::try_from(s).ok());
                let size = size.ok_or("a fixed type without 'size'")?;
                self.define(id, Type::Fixed(size, decimal(json).unwrap_or(Meaning::Plain)))
            }
            "array" => {
                let item = self.parse(json.get("items").ok_or("an array without 'items'")?, space)?;
                Ok(self.add(Type::Array(item)))
            }
            "map" => {
                let value = self.parse(json.get("values").ok_or("a map without 'values'")?, space)?;
                Ok(self.add(Type::Map(value)))
            }
            name => match primitive(name) {
                Some(t) => Ok(self.add(meant(t, json))),
                None => self.named(name, space),
            },
        }
    }

    fn field(&mut self, json: &Json, space: &str) -> Result<Field, String> {
        let name = text(json, "name").ok_or("a field without 'name'")?;
        let id = self.parse(json.get("type").ok_or_else(|| format!("the field '{name}' without 'type'"))?, space)?;
        Ok(Field { name: name.to_owned(), id })
    }

    /// Takes a place and a name for a type that may name itself; gives the namespace within it, too.
    fn declare(&mut self, json: &Json, space: &str) -> Result<(TypeId, String), String> {
        let name = text(json, "name").ok_or("a named type without 'name'")?;
        let (space, full) = match (name.rsplit_once('.'), text(json, "namespace")) {
            (Some((space, _)), _) => (space.to_owned(), name.to_owned()),
            (None, own) => match own.unwrap_or(space) {
                "" => (String::new(), name.to_owned()),
                space => (space.to_owned(), format!("{space}.{name}")),
            },
        };
        let id = self.add(Type::Null);
        match self.names.insert(full, id) {
            None => Ok((id, space)),
            Some(_) => Err(format!("the schema has two types '{name}'")),
        }
    }

    fn define(&mut self, id: TypeId, t: Type) -> Result<TypeId, String> {
        if let Some(place) = self.types.get_mut(id) {
            *place = t;
        }
        Ok(id)
    }
}

/// Logical types that are unknown, or do not go with the type, mean nothing: so says the specification.
fn meant(t: Type, json: &Json) -> Type {
    match (t, text(json, "logicalType").unwrap_or_default()) {
        (Type::Int(_), "date") => Type::Int(Meaning::Date),
        (Type::Int(_), "time-millis") => Type::Int(Meaning::Time(3)),
        (Type::Long(_), "time-micros") => Type::Long(Meaning::Time(6)),
        (Type::Long(_), "timestamp-millis") => Type::Long(Meaning::Timestamp(3, true)),
        (Type::Long(_), "timestamp-micros") => Type::Long(Meaning::Timestamp(6, true)),
        (Type::Long(_), "timestamp-nanos") => Type::Long(Meaning::Timestamp(9, true)),
        (Type::Long(_), "local-timestamp-millis") => Type::Long(Meaning::Timestamp(3, false)),
        (Type::Long(_), "local-timestamp-micros") => Type::Long(Meaning::Timestamp(6, false)),
        (Type::Long(_), "local-timestamp-nanos") => Type::Long(Meaning::Timestamp(9, false)),
        (Type::Bytes(_), "decimal") => Type::Bytes(decimal(json).unwrap_or(Meaning::Plain)),
        (t, _) => t,
    }
}

fn decimal(json: &Json) -> Option<Meaning> {
    let number = |key| json.get(key).map(|n| n.as_u64().and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= 76));
    let precision = number("precision")??;
    let scale = number("scale").unwrap_or(Some(0))?;
    let is_decimal = text(json, "logicalType") == Some("decimal") && scale <= precision;
    is_decimal.then_some(Meaning::Decimal(precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_namespaces() {
        let schema = Schema::parse(
            r#"{"type":"record","name":"a.b.List","fields":[
                {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["X","Y"]}},
                {"name":"again","type":"Kind"},
                {"name":"full","type":"a.b.Kind"},
                {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
                {"name":"next","type":["null","List"],"default":null}]}"#,
        )
        .unwrap();
        let Type::Record(fields) = schema.get(schema.root) else { panic!("no record") };
        assert_eq!(fields[0].id, fields[1].id);
        assert_eq!(fields[0].id, fields[2].id);
        assert_eq!(schema.get(fields[3].id), &Type::Bytes(Meaning::Decimal(9, 2)));
        let Type::Union(branches) = schema.get(fields[4].id) else { panic!("no union") };
        assert_eq!(branches[1], schema.root);
    }

    #[test]
    fn what_is_no_schema() {
        for text in [
            "",
            "[]",
            "{}",
            "\"nothing\"",
            "[[\"null\"]]",
            "{\"type\":\"record\"}",
            "17",
            r#"{"type":"record","name":"r","fields":[{"name":"x","type":"y"}]}"#,
            r#"{"type":"record","name":"r","fields":[{"name":"x","type":{"type":"fixed","name":"r","size":1}}]}"#,
            r#"{"type":"fixed","name":"f","size":-1}"#,
            r#"{"type":"record","name":"r","fields":[{"name":"x","type":"int"},{"name":"x","type":"int"}]}"#,
        ] {
            assert!(Schema::parse(text).is_err(), "{text}");
        }
        assert!(Schema::parse(&format!("{}\"int\"{}", "[".repeat(10_000), "]".repeat(10_000))).is_err());
        assert_eq!(Schema::parse("long").unwrap().types, [Type::Long(Meaning::Plain)]);
    }
}
