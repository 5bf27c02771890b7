//! Flink's types as Arrow's.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use datafusion_sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryLength, CharacterLength, DataType as SqlType, ExactNumberInfo, IntervalFields, TimezoneInfo,
};

use super::ast::TypeName;

/// The Arrow type of a declared type, and whether it is nullable (`NOT NULL` behind an element or field type).
///
/// `zone` is the session's time zone, which `TIMESTAMP_LTZ` columns carry.
///
/// # Errors
/// A sentence that says which part of the type has no Arrow image.
pub(super) fn arrow_type(name: &TypeName, zone: &Arc<str>) -> Result<(DataType, bool), String> {
    let data_type = match name {
        TypeName::Simple(simple) => simple_type(simple, zone)?,
        TypeName::TimestampLtz(precision) => timestamp(u64::from(*precision), Some(zone))?,
        TypeName::Array(element) => {
            let (element, nullable) = arrow_type(element, zone)?;
            DataType::List(Arc::new(Field::new_list_field(element, nullable)))
        }
        TypeName::Map(key, value) => {
            let (value, nullable) = arrow_type(value, zone)?;
            map_of(arrow_type(key, zone)?.0, value, nullable)
        }
        TypeName::Multiset(element) => map_of(arrow_type(element, zone)?.0, DataType::Int32, false),
        TypeName::Row(fields) => {
            let fields = fields.iter().map(|f| {
                let (data_type, nullable) = arrow_type(&f.data_type, zone)?;
                Ok(Field::new(&f.name.value, data_type, nullable))
            });
            DataType::Struct(fields.collect::<Result<Fields, String>>()?)
        }
        TypeName::NotNull(inner) => return Ok((arrow_type(inner, zone)?.0, false)),
    };
    Ok((data_type, true))
}

/// The Arrow type of one of sqlparser's types, as in `CAST(… AS …)`.
///
/// # Errors
/// A sentence that says which part of the type has no Arrow image.
pub(super) fn simple_type(name: &SqlType, zone: &Arc<str>) -> Result<DataType, String> {
    Ok(match name {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) => DataType::Int32,
        SqlType::BigInt(_) => DataType::Int64,
        SqlType::Float(_) | SqlType::Real => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision => DataType::Float64,
        SqlType::String(_) | SqlType::Text => DataType::Utf8,
        SqlType::Varchar(length) | SqlType::CharacterVarying(length) | SqlType::CharVarying(length) => text(length)?,
        SqlType::Char(length) | SqlType::Character(length) => text(length)?,
        SqlType::Bytes(_) | SqlType::Binary(_) | SqlType::Varbinary(_) | SqlType::Bytea => DataType::Binary,
        SqlType::Decimal(info) | SqlType::Dec(info) | SqlType::Numeric(info) => decimal(info)?,
        SqlType::Date => DataType::Date32,
        SqlType::Time(precision, _) => time(precision.unwrap_or(0))?,
        SqlType::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            timestamp(precision.unwrap_or(6), None)?
        }
        SqlType::Interval { fields, .. } => interval(fields.as_ref()),
        SqlType::Array(ArrayElemTypeDef::AngleBracket(element) | ArrayElemTypeDef::Parenthesis(element)) => {
            list_of(simple_type(element, zone)?)
        }
        SqlType::Array(ArrayElemTypeDef::SquareBracket(element, None)) => list_of(simple_type(element, zone)?),
        SqlType::Map(key, value) => map_of(simple_type(key, zone)?, simple_type(value, zone)?, true),
        SqlType::Struct(fields, _) => {
            let fields = fields.iter().enumerate().map(|(i, f)| {
                let name = f.field_name.as_ref().map_or_else(|| format!("f{i}"), |n| n.value.clone());
                Ok(Field::new(name, simple_type(&f.field_type, zone)?, true))
            });
            DataType::Struct(fields.collect::<Result<Fields, String>>()?)
        }
        SqlType::Custom(name, arguments) => custom(&name.to_string(), arguments, zone)?,
        other => return Err(format!("the type {other} is not one of Flink's")),
    })
}

fn custom(name: &str, arguments: &[String], zone: &Arc<str>) -> Result<DataType, String> {
    match (name.to_ascii_uppercase().as_str(), arguments) {
        ("TIMESTAMP_LTZ", []) => timestamp(6, Some(zone)),
        ("TIMESTAMP_LTZ", [p]) => {
            timestamp(p.parse().map_err(|_| format!("the precision of TIMESTAMP_LTZ is no number: {p}"))?, Some(zone))
        }
        _ => Err(format!("unknown type {name}")),
    }
}

fn text(length: &Option<CharacterLength>) -> Result<DataType, String> {
    match length {
        Some(CharacterLength::IntegerLength { length: 0, .. }) => {
            Err("a text type needs a length of at least 1".into())
        }
        _ => Ok(DataType::Utf8),
    }
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(p) => (p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (p, s),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if s >= 0 && s.unsigned_abs() <= p => Ok(DataType::Decimal128(p, s)),
        (Ok(1..=38), _) => {
            Err(format!("the scale of DECIMAL({precision}, {scale}) must be between 0 and its precision"))
        }
        _ => Err(format!("the precision of DECIMAL({precision}, {scale}) must be between 1 and 38")),
    }
}

fn time(precision: u64) -> Result<DataType, String> {
    Ok(match precision {
        0 => DataType::Time32(TimeUnit::Second),
        1..=3 => DataType::Time32(TimeUnit::Millisecond),
        4..=6 => DataType::Time64(TimeUnit::Microsecond),
        7..=9 => DataType::Time64(TimeUnit::Nanosecond),
        _ => return Err(format!("the precision of TIME({precision}) must be between 0 and 9")),
    })
}

fn timestamp(precision: u64, zone: Option<&Arc<str>>) -> Result<DataType, String> {
    let unit = match precision {
        0 => TimeUnit::Second,
        1..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        7..=9 => TimeUnit::Nanosecond,
        _ => return Err(format!("the precision of TIMESTAMP({precision}) must be between 0 and 9")),
    };
    Ok(DataType::Timestamp(unit, zone.cloned()))
}

fn interval(fields: Option<&IntervalFields>) -> DataType {
    use IntervalFields as F;
    match fields {
        Some(F::Year | F::Month | F::YearToMonth) => DataType::Interval(IntervalUnit::YearMonth),
        _ => DataType::Interval(IntervalUnit::MonthDayNano),
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

fn map_of(key: DataType, value: DataType, nullable: bool) -> DataType {
    let entry = [Field::new("key", key, false), Field::new("value", value, nullable)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry.into_iter().collect()), false)), false)
}

/// A declared type as Flink writes it back.
pub(super) fn flink_name(name: &TypeName) -> String {
    match name {
        TypeName::Simple(simple) => simple_name(simple),
        TypeName::TimestampLtz(precision) => format!("TIMESTAMP_LTZ({precision})"),
        TypeName::Array(element) => format!("ARRAY<{}>", flink_name(element)),
        TypeName::Multiset(element) => format!("MULTISET<{}>", flink_name(element)),
        TypeName::Map(key, value) => format!("MAP<{}, {}>", flink_name(key), flink_name(value)),
        TypeName::Row(fields) => {
            let field = |f: &super::ast::RowField| format!("`{}` {}", f.name.value, flink_name(&f.data_type));
            format!("ROW<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        TypeName::NotNull(inner) => format!("{} NOT NULL", flink_name(inner)),
    }
}

fn simple_name(name: &SqlType) -> String {
    match name {
        SqlType::Bool => "BOOLEAN".into(),
        SqlType::Integer(_) => "INT".into(),
        SqlType::Real => "FLOAT".into(),
        SqlType::DoublePrecision => "DOUBLE".into(),
        SqlType::String(_) | SqlType::Text | SqlType::Varchar(None) => "STRING".into(),
        SqlType::Char(None) => "CHAR(1)".into(),
        SqlType::Varbinary(Some(BinaryLength::Max)) | SqlType::Bytes(_) => "BYTES".into(),
        SqlType::Decimal(i) | SqlType::Dec(i) | SqlType::Numeric(i) => match i {
            ExactNumberInfo::None => "DECIMAL(10, 0)".into(),
            ExactNumberInfo::Precision(p) => format!("DECIMAL({p}, 0)"),
            ExactNumberInfo::PrecisionAndScale(p, s) => format!("DECIMAL({p}, {s})"),
        },
        SqlType::Time(p, _) => format!("TIME({})", p.unwrap_or(0)),
        SqlType::Timestamp(p, _) => format!("TIMESTAMP({})", p.unwrap_or(6)),
        other => other.to_string(),
    }
}

/// An Arrow type as Flink would name it; for columns that no DDL declared.
pub(super) fn flink_name_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "NULL".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 | DataType::UInt8 => "SMALLINT".into(),
        DataType::Int32 | DataType::UInt16 => "INT".into(),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "BIGINT".into(),
        DataType::Float16 | DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES".into(),
        DataType::FixedSizeBinary(n) => format!("BINARY({n})"),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => format!("DECIMAL({p}, {s})"),
        DataType::Date32 | DataType::Date64 => "DATE".into(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", digits(*unit)),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(*unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(*unit)),
        DataType::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH".into(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL DAY TO SECOND(3)".into(),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => {
            format!("ARRAY<{}>", field_type_name(f))
        }
        DataType::Struct(fields) => {
            let field = |f: &Arc<Field>| format!("`{}` {}", f.name(), field_type_name(f));
            format!("ROW<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(kv) if kv.len() == 2 => {
                let mut sides = kv.iter().map(|f| flink_name_of(f.data_type()));
                format!("MAP<{}, {}>", sides.next().unwrap_or_default(), sides.next().unwrap_or_default())
            }
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

fn field_type_name(field: &Field) -> String {
    format!("{}{}", flink_name_of(field.data_type()), if field.is_nullable() { "" } else { " NOT NULL" })
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}
