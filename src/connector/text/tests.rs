use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};

use super::*;

fn text(array: &dyn Array) -> String {
    let mut out = String::new();
    for row in 0..array.len() {
        if row > 0 {
            out.push(' ');
        }
        write_value(&mut out, array, row).unwrap();
    }
    out
}

#[test]
fn doubles_as_java_prints_them() {
    let table = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-1.5, "-1.5"),
        (100.0, "100.0"),
        (0.1, "0.1"),
        (0.001, "0.001"),
        (0.0012, "0.0012"),
        (0.000_999, "9.99E-4"),
        (9_999_999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (1e10, "1.0E10"),
        (12_345_678.9, "1.23456789E7"),
        (1_234_567.875, "1234567.875"),
        (2e23, "2.0E23"),
        (0.1 + 0.2, "0.30000000000000004"),
        (f64::MAX, "1.7976931348623157E308"),
        (f64::from_bits(1), "4.9E-324"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    for (value, wanted) in table {
        let mut out = String::new();
        write_double(&mut out, value);
        assert_eq!(out, wanted);
    }
}

#[test]
fn floats_as_java_prints_them() {
    for (value, wanted) in
        [(1.1f32, "1.1"), (16_777_216.0, "1.6777216E7"), (f32::from_bits(1), "1.4E-45"), (0.5, "0.5")]
    {
        let mut out = String::new();
        write_float(&mut out, value);
        assert_eq!(out, wanted);
    }
}

#[test]
fn decimals_keep_their_scale() {
    let decimals = |values: Vec<i128>, precision, scale| {
        text(&Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
    };
    assert_eq!(decimals(vec![1250, -5, 0, 100_000], 10, 2), "12.50 -0.05 0.00 1000.00");
    assert_eq!(decimals(vec![7, -42], 10, 0), "7 -42");
    assert_eq!(decimals(vec![0, 1, 123, 1_000], 20, 9), "0E-9 1E-9 1.23E-7 0.000001000");
}

#[test]
fn times_leave_out_what_is_nought() {
    let millis = vec![1_577_836_801_500, 1_577_836_800_000, -1];
    let plain = TimestampMillisecondArray::from(millis.clone());
    assert_eq!(text(&plain), "2020-01-01T00:00:01.500 2020-01-01T00:00 1969-12-31T23:59:59.999");
    let zoned = TimestampMillisecondArray::from(millis).with_timezone("UTC");
    assert_eq!(text(&zoned), "2020-01-01T00:00:01.500Z 2020-01-01T00:00:00Z 1969-12-31T23:59:59.999Z");
    let nanos = TimestampNanosecondArray::from(vec![1_000, 1, 61_000_000_000]);
    assert_eq!(text(&nanos), "1970-01-01T00:00:00.000001 1970-01-01T00:00:00.000000001 1970-01-01T00:01:01");
    assert_eq!(text(&Date32Array::from(vec![0, -1, 2_932_897])), "1970-01-01 1969-12-31 +10000-01-01");
    assert_eq!(text(&Time32MillisecondArray::from(vec![0, 36_000_000, 36_001_010])), "00:00 10:00 10:00:01.010");
}

#[test]
fn spans_as_periods_and_durations() {
    assert_eq!(text(&IntervalYearMonthArray::from(vec![0, 14, 24, -3])), "P0D P1Y2M P2Y P-3M");
    let millis = vec![0, 93_784_500, 60_000, -500, -61_500];
    assert_eq!(text(&DurationMillisecondArray::from(millis)), "PT0S PT26H3M4.5S PT1M PT-0.5S PT-1M-1.5S");
}

#[test]
fn nested_values() {
    let ints = Int32Array::from(vec![Some(1), None, Some(3)]);
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(ints.clone()), None);
    assert_eq!(text(&list), "[1, null] [] [3]");

    let fields: Fields = vec![Field::new("a", DataType::Int32, true), Field::new("s", DataType::Utf8, true)].into();
    let strings: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
    let nulls = NullBuffer::from(vec![true, true, false]);
    let row = StructArray::new(fields, vec![Arc::new(ints), strings], Some(nulls));
    assert_eq!(text(&row), "+I[1, x] +I[null, y] null");

    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(7);
    map.keys().append_value("l");
    map.values().append_null();
    map.append(true).unwrap();
    assert_eq!(text(&map.finish()), "{k=7, l=null}");
}

#[test]
fn bytes_and_booleans() {
    assert_eq!(text(&BinaryArray::from(vec![&[1u8, 254][..], &[]])), "[1, -2] []");
    assert_eq!(text(&BooleanArray::from(vec![Some(true), Some(false), None])), "true false null");
}

#[test]
fn a_row_outside_is_an_error() {
    assert!(write_value(&mut String::new(), &Int32Array::from(vec![1]), 1).is_err());
}
