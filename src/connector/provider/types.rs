//! Arrow's types as those that SQL has here.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};

/// The type that a column is read as; `None` where SQL has none for it.
pub(super) fn flink_type(provided: &DataType, zone: &Arc<str>) -> Option<DataType> {
    use DataType::*;
    Some(match provided {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Utf8 | Binary | Date32 => provided.clone(),
        Utf8View | LargeUtf8 => Utf8,
        BinaryView | LargeBinary | FixedSizeBinary(_) => Binary,
        UInt8 => Int16,
        UInt16 => Int32,
        UInt32 => Int64,
        UInt64 => Decimal128(20, 0),
        Float16 => Float32,
        Date64 => Timestamp(TimeUnit::Millisecond, None),
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) if *s >= 0 => Decimal128(*p, *s),
        Decimal256(p, s) if *p <= 38 && *s >= 0 => Decimal128(*p, *s),
        Time32(_) | Time64(_) => provided.clone(),
        Timestamp(unit, with_zone) => Timestamp(*unit, with_zone.as_ref().map(|_| Arc::clone(zone))),
        Dictionary(_, values) => flink_type(values, zone)?,
        List(element) | LargeList(element) | FixedSizeList(element, _) => {
            List(Arc::new(Field::new_list_field(flink_type(element.data_type(), zone)?, element.is_nullable())))
        }
        Struct(fields) => Struct(fields.iter().map(|f| field(f, zone)).collect::<Option<Vec<_>>>()?.into()),
        Map(entries, sorted) => Map(field(entries, zone)?, *sorted),
        _ => return None,
    })
}

fn field(field: &FieldRef, zone: &Arc<str>) -> Option<FieldRef> {
    Some(Arc::new(Field::clone(field).with_data_type(flink_type(field.data_type(), zone)?)))
}
