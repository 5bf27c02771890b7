//! The Avro schema of a table, as Flink derives it, and how columns are written by a schema.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use serde_json::{Value as Json, json};

use super::schema::{Meaning, Schema, Type, TypeId};

/// The schema of rows with these columns. `legacy` is Flink's mapping of timestamps before 1.19, and still its default:
/// TIMESTAMP as `timestamp-millis`, and none for TIMESTAMP_LTZ; otherwise they are `local-timestamp-…` and `timestamp-…`.
pub(super) fn table_schema(columns: &Fields, legacy: bool) -> Result<String, String> {
    Deriving { legacy }.record(columns, "record").map(|json| json.to_string())
}

/// How Flink names the records of all tables.
const NAMESPACE: &str = "org.apache.flink.avro.generated";

struct Deriving {
    legacy: bool,
}

impl Deriving {
    fn record(&self, columns: &Fields, name: &str) -> Result<Json, String> {
        let fields = columns.iter().map(|column| {
            let t = self.optional(column, &format!("{name}_{}", column.name()))?;
            Ok(match column.is_nullable() {
                true => json!({"name": column.name(), "type": t, "default": null}),
                false => json!({"name": column.name(), "type": t}),
            })
        });
        let fields = fields.collect::<Result<Vec<_>, String>>()?;
        let full = if name == "record" { format!("{NAMESPACE}.record") } else { name.to_owned() };
        Ok(json!({"type": "record", "name": full, "fields": fields}))
    }

    fn optional(&self, column: &Field, name: &str) -> Result<Json, String> {
        let t = self.required(column, name)?;
        Ok(if column.is_nullable() && t != json!("null") { json!(["null", t]) } else { t })
    }

    fn required(&self, column: &Field, name: &str) -> Result<Json, String> {
        use DataType as D;
        let refused = |what: &str| Err(format!("'{}': Avro has no form for {what}", column.name()));
        Ok(match column.data_type() {
            D::Null => json!("null"),
            D::Boolean => json!("boolean"),
            D::Int8 | D::Int16 | D::Int32 => json!("int"),
            D::Int64 => json!("long"),
            D::Float32 => json!("float"),
            D::Float64 => json!("double"),
            D::Utf8 | D::LargeUtf8 | D::Utf8View => json!("string"),
            D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => json!("bytes"),
            D::Date32 => json!({"type": "int", "logicalType": "date"}),
            D::Time32(_) => json!({"type": "int", "logicalType": "time-millis"}),
            D::Time64(_) => return refused("TIME of more than 3 digits of a second"),
            D::Timestamp(_, Some(_)) if self.legacy => {
                return refused("TIMESTAMP_LTZ, unless the option 'timestamp_mapping.legacy' is 'false'");
            }
            D::Timestamp(unit, zone) => {
                let local = if zone.is_some() || self.legacy { "" } else { "local-" };
                let unit = match unit {
                    TimeUnit::Second | TimeUnit::Millisecond => "millis",
                    TimeUnit::Microsecond if !self.legacy => "micros",
                    TimeUnit::Microsecond => {
                        return refused(
                            "TIMESTAMP of more than 3 digits, unless 'timestamp_mapping.legacy' is 'false'",
                        );
                    }
                    TimeUnit::Nanosecond => return refused("TIMESTAMP of more than 6 digits of a second"),
                };
                json!({"type": "long", "logicalType": format!("{local}timestamp-{unit}")})
            }
            D::Decimal128(precision, scale) => {
                json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
            }
            D::Struct(fields) => self.record(fields, name)?,
            D::List(item) => json!({"type": "array", "items": self.optional(item, name)?}),
            D::Map(entries, _) => match entries.data_type() {
                D::Struct(parts) => match parts.as_ref() {
                    [key, value] if key.data_type() == &D::Utf8 => {
                        json!({"type": "map", "values": self.optional(value, name)?})
                    }
                    _ => return refused("MAP whose keys are not STRING"),
                },
                _ => return refused("a map without entries"),
            },
            other => return refused(&other.to_string()),
        })
    }
}

/// The columns as the schema has them: cast to these, they are written as it says.
pub(super) fn written_columns(schema: &Schema, columns: &Fields) -> Result<Fields, String> {
    let Type::Record(_) = schema.get(schema.root) else { return Err("the schema is of no record".into()) };
    match written_type(schema, schema.root, &DataType::Struct(columns.clone()))? {
        DataType::Struct(fields) => Ok(fields),
        _ => Err("the schema is of no record".into()),
    }
}

fn written_field(schema: &Schema, id: TypeId, column: &Field) -> Result<FieldRef, String> {
    let (id, nullable) = match schema.get(id) {
        Type::Union(branches) => match branches.as_slice() {
            [null, other] | [other, null] if schema.get(*null) == &Type::Null => (*other, true),
            _ => return Err(format!("'{}': a union of more than null and one type cannot be written", column.name())),
        },
        other => (id, other == &Type::Null),
    };
    let data_type = written_type(schema, id, column.data_type()).map_err(|e| format!("'{}': {e}", column.name()))?;
    Ok(Arc::new(Field::new(column.name(), data_type, nullable)))
}

/// As deep as the column's type.
fn written_type(schema: &Schema, id: TypeId, column: &DataType) -> Result<DataType, String> {
    use DataType as D;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond};
    let unit = |digits: u8| match digits {
        3 => Millisecond,
        6 => Microsecond,
        _ => Nanosecond,
    };
    Ok(match (schema.get(id), column) {
        (Type::Null, D::Null) => D::Null,
        (Type::Boolean, D::Boolean) => D::Boolean,
        (Type::Int(Meaning::Plain), D::Int8 | D::Int16 | D::Int32) => D::Int32,
        (Type::Int(Meaning::Date), D::Date32) => D::Date32,
        (Type::Int(Meaning::Time(_)), D::Time32(_)) => D::Time32(Millisecond),
        (Type::Long(Meaning::Plain), D::Int8 | D::Int16 | D::Int32 | D::Int64) => D::Int64,
        (Type::Long(Meaning::Time(_)), D::Time32(_) | D::Time64(Microsecond)) => D::Time64(Microsecond),
        (Type::Long(Meaning::Timestamp(digits, _)), D::Timestamp(_, zone)) => D::Timestamp(unit(*digits), zone.clone()),
        (Type::Float, D::Float32) => D::Float32,
        (Type::Double, D::Float32 | D::Float64) => D::Float64,
        (Type::Bytes(Meaning::Plain), D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_)) => D::Binary,
        (Type::Text, D::Utf8 | D::LargeUtf8 | D::Utf8View) => D::Utf8,
        (Type::Bytes(Meaning::Decimal(p, s)) | Type::Fixed(_, Meaning::Decimal(p, s)), D::Decimal128(cp, cs))
            if i16::from(*s) >= i16::from(*cs) && i16::from(*p) - i16::from(*s) >= i16::from(*cp) - i16::from(*cs) =>
        {
            D::Decimal128(*p, i8::try_from(*s).map_err(|_| "too large a scale")?)
        }
        (Type::Array(item), D::List(field)) => D::List(written_field(schema, *item, field)?),
        (Type::Map(value), D::Map(entries, ordered)) => {
            let D::Struct(parts) = entries.data_type() else { return Err("a map without entries".into()) };
            let [key, column] = parts.as_ref() else { return Err("a map's entry is a pair".into()) };
            if key.data_type() != &D::Utf8 {
                return Err("a map whose keys are not STRING".into());
            }
            let pair = vec![Arc::clone(key), written_field(schema, *value, column)?];
            D::Map(Arc::new(entries.as_ref().clone().with_data_type(D::Struct(pair.into()))), *ordered)
        }
        (Type::Record(written), D::Struct(columns)) => {
            if let Some(w) = written.iter().find(|w| columns.iter().all(|c| *c.name() != w.name)) {
                return Err(format!("the schema has a field '{}', and there is no such column", w.name));
            }
            let field = |column: &FieldRef| match written.iter().find(|w| w.name == *column.name()) {
                Some(w) => written_field(schema, w.id, column),
                None => Err(format!("the schema has no field '{}'", column.name())),
            };
            D::Struct(columns.iter().map(field).collect::<Result<_, _>>()?)
        }
        (t, column) => return Err(format!("a {column} cannot be written as {t:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
        Field::new(name, data_type, nullable)
    }

    #[test]
    fn as_flink_derives_it() {
        let row = DataType::Struct(Fields::from(vec![field("x", DataType::Int16, true)]));
        let columns = Fields::from(vec![
            field("id", DataType::Int64, false),
            field("t", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            field("d", DataType::Decimal128(10, 2), true),
            field("r", row, true),
        ]);
        let json: Json = serde_json::from_str(&table_schema(&columns, true).unwrap()).unwrap();
        let want = json!({
        "type": "record", "name": "org.apache.flink.avro.generated.record", "fields": [
            {"name": "id", "type": "long"},
            {"name": "t", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
            {"name": "d", "default": null,
             "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}]},
            {"name": "r", "default": null, "type": ["null", {"type": "record", "name": "record_r", "fields": [
                {"name": "x", "type": ["null", "int"], "default": null}]}]},
        ]});
        assert_eq!(json, want);
        let modern = table_schema(&columns, false).unwrap();
        assert!(modern.contains("local-timestamp-millis"), "{modern}");
    }

    #[test]
    fn what_has_no_form_is_refused() {
        let zone = Some("UTC".into());
        let ltz = Fields::from(vec![field("t", DataType::Timestamp(TimeUnit::Millisecond, zone), true)]);
        assert!(table_schema(&ltz, true).unwrap_err().contains("timestamp_mapping.legacy"));
        assert!(table_schema(&ltz, false).is_ok());
        let nanos = Fields::from(vec![field("t", DataType::Timestamp(TimeUnit::Nanosecond, None), true)]);
        assert!(table_schema(&nanos, false).is_err());
    }

    #[test]
    fn columns_written_by_a_given_schema() {
        let schema = |t: &str| {
            Schema::parse(&format!(r#"{{"type":"record","name":"r","fields":[{{"name":"a","type":{t}}}]}}"#)).unwrap()
        };
        let columns = |t| Fields::from(vec![field("a", t, true)]);
        let written = written_columns(&schema(r#"["long","null"]"#), &columns(DataType::Int32)).unwrap();
        assert_eq!(written, Fields::from(vec![field("a", DataType::Int64, true)]));
        assert!(written_columns(&schema("\"int\""), &columns(DataType::Int64)).is_err());
        assert!(written_columns(&schema(r#"["null","int","string"]"#), &columns(DataType::Int32)).is_err());
        let two = Fields::from(vec![field("a", DataType::Int32, true), field("b", DataType::Int32, true)]);
        assert!(written_columns(&schema("\"int\""), &two).unwrap_err().contains("'b'"));
    }
}
