//! Values as the answers write them.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, TimestampMillisecondType};
use millstream::change::ChangeBatch;
use serde_json::{Map, Number, Value, json};

/// One change: its kind, then its values.
pub fn row_of(batch: &ChangeBatch, row: usize) -> Value {
    let kind = json!(batch.kind(row).short());
    Value::Array(std::iter::once(kind).chain(values_of(&batch.rows, row)).map(rounded).collect())
}

fn values_of(rows: &RecordBatch, row: usize) -> impl Iterator<Item = Value> {
    rows.columns().iter().map(move |c| value_of(c, row))
}

/// Fractions to twelve digits: sums of them depend on the order in the last ones.
pub fn rounded(value: Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() => json!(format!("{:.12e}", n.as_f64().unwrap() + 0.0)),
        Value::Array(values) => values.into_iter().map(rounded).collect(),
        other => other,
    }
}

fn value_of(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::Float32 => float(column.as_primitive::<Float32Type>().value(row).to_string().parse().unwrap()),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8View => json!(column.as_string_view().value(row)),
        DataType::Decimal128(..) => json!(column.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Date32 => {
            json!(column.as_primitive::<Date32Type>().value_as_date(row).unwrap().to_string())
        }
        DataType::Timestamp(_, zone) => {
            let millis = column.as_primitive::<TimestampMillisecondType>().value(row);
            let time = chrono::DateTime::from_timestamp_millis(millis).unwrap().format("%Y-%m-%d %H:%M:%S%.3f");
            json!(format!("{time}{}", if zone.is_some() { "Z" } else { "" }))
        }
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            (0..values.len()).map(|i| value_of(&values, i)).collect()
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let pairs = (0..entries.len()).map(|i| (entries.column(0), entries.column(1), i));
            Value::Object(pairs.map(|(k, v, i)| (text(value_of(k, i)), value_of(v, i))).collect::<Map<_, _>>())
        }
        other => match arrow::util::display::array_value_to_string(column, row).map(|t| t.parse::<i64>()) {
            Ok(Ok(number)) => json!(number),
            _ => json!(format!("a value of type {other}")),
        },
    }
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| json!(value.to_string()), Value::Number)
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
