use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Float64Type, Int32Type, Int64Type, Schema, SchemaRef};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Json;
use crate::format::{Decoder, RecordFormat};
use crate::table::Options;
use crate::{Error, Result};

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn ab() -> SchemaRef {
    schema(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)])
}

fn decoder(schema: &SchemaRef, options: &[(&str, &str)]) -> Box<dyn Decoder> {
    let mut all = Options::default();
    options.iter().for_each(|(k, v)| all.set(*k, *v));
    Json.decoder(schema, Arc::clone(schema), &all).unwrap()
}

/// Feeds `bytes` in pieces of `piece`, and gives all rows.
fn feed(decoder: &mut dyn Decoder, schema: &SchemaRef, bytes: &[u8], piece: usize) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    for mut part in bytes.chunks(piece) {
        while !part.is_empty() {
            let taken = decoder.decode(part)?;
            part = &part[taken..];
            if !part.is_empty() {
                batches.extend(decoder.flush()?.map(|b| b.rows));
            }
        }
    }
    batches.extend(decoder.flush()?.map(|b| b.rows));
    decoder.finish()?;
    batches.extend(decoder.flush()?.map(|b| b.rows));
    Ok(arrow::compute::concat_batches(schema, &batches).unwrap())
}

fn read(schema: &SchemaRef, text: &str, options: &[(&str, &str)]) -> Result<RecordBatch> {
    feed(decoder(schema, options).as_mut(), schema, text.as_bytes(), usize::MAX)
}

fn ints(batch: &RecordBatch) -> Vec<Option<i32>> {
    batch.column(0).as_primitive::<Int32Type>().iter().collect()
}

fn one(data_type: DataType, value: &str) -> Result<Arc<dyn Array>> {
    let schema = schema(vec![Field::new("v", data_type, true)]);
    Ok(Arc::clone(read(&schema, &format!("{{\"v\":{value}}}"), &[])?.column(0)))
}

fn reason(result: Result<RecordBatch>) -> (String, String) {
    match result {
        Err(Error::Record { place, reason }) => (place, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_in_any_pieces() {
    let text = "\u{feff}{\"a\":1}\r\n\n  \r\n{\"b\":\"x\",\"c\":[1,{\"d\":2}],\"a\":2}\nnull\n{}\n{ \"a\" : 3 }";
    for piece in 1..40 {
        let batch = feed(decoder(&ab(), &[]).as_mut(), &ab(), text.as_bytes(), piece).unwrap();
        assert_eq!(ints(&batch), [Some(1), Some(2), None, Some(3)], "pieces of {piece}");
        assert_eq!(batch.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("x"), None, None]);
    }
}

#[test]
fn a_bad_record_is_named_by_its_line() {
    let cases = [
        ("{\"a\":1}\n\n{\"a\":x}\n", "line 3", "field 'a': expected a value, found 'x'"),
        ("{\"a\":1}\n{\"a\":2\n{\"a\":3}", "line 2", "expected ',' or '}', found the end of the record"),
        ("{\"a\":1} x", "line 1", "expected the end of the line, found 'x'"),
        ("[1]", "line 1", "expected an object, found '['"),
        ("{\"a\":\"q\"}", "line 1", "field 'a': 'q' is no Int32"),
        ("{\"a\":3000000000}", "line 1", "field 'a': '3000000000' is no Int32"),
        ("{\"a\":[1]}", "line 1", "field 'a': an array where a single value belongs"),
        ("{\"a\":1,\"a\":2}", "line 1", "the field 'a' stands there twice"),
        ("{\"b\":\"x\ny\"}", "line 1", "field 'b': the record ends within a string"),
        ("{\"a\":1,,\"b\":2}", "line 1", "expected a name in quotes, found ','"),
        ("{\"a\":01}", "line 1", "field 'a': a number without digits or with leading zeros"),
        ("{\"b\":\"\\ud800\"}", "line 1", "field 'b': half a surrogate pair"),
    ];
    for (text, place, why) in cases {
        assert_eq!(reason(read(&ab(), text, &[])), (place.into(), why.into()), "{text}");
    }
}

#[test]
fn bad_records_alone_are_skipped_and_counted() {
    let seed: u64 = 0x5eed;
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
    let bad: [&[u8]; 8] = [
        b"{\"a\":",
        b"nonsense",
        b"{\"b\":\"x\",\"a\":\"y\"}",
        b"\xff\xfe",
        b"{\"a\":1}}",
        b"[",
        b"\"",
        b"{\"b\":\"\xc3\"}",
    ];
    for round in 0..50 {
        let (mut bytes, mut want, mut skipped) = (Vec::new(), Vec::new(), 0);
        for i in 0..rng.random_range(1..400) {
            if rng.random_bool(0.3) {
                bytes.extend_from_slice(bad[rng.random_range(0..bad.len())]);
                skipped += 1;
            } else {
                bytes.extend_from_slice(format!("{{\"b\":\"{i}\",\"a\":{i}}}").as_bytes());
                want.push(Some(i));
            }
            bytes.push(b'\n');
        }
        let mut decoder = decoder(&ab(), &[("json.ignore-parse-errors", "true")]);
        let batch = feed(decoder.as_mut(), &ab(), &bytes, rng.random_range(1..500)).unwrap();
        assert_eq!(ints(&batch), want, "seed {seed}, round {round}");
        let texts =
            batch.column(1).as_string::<i32>().iter().map(|t| t.map(|t| t.parse().unwrap())).collect::<Vec<_>>();
        assert_eq!(texts, want, "seed {seed}, round {round}");
        assert_eq!(decoder.skipped(), skipped, "seed {seed}, round {round}");
    }
}

#[test]
fn values_of_other_kinds_as_flink_reads_them() {
    let text = |v| one(DataType::Utf8, v).unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!(text("12.50"), "12.50");
    assert_eq!(text("true"), "true");
    assert_eq!(text("{ \"x\" : [ 1 , \"a b\" ] }"), "{\"x\":[1,\"a b\"]}");
    assert_eq!(text("\"\\u00e9\\n\\ud83d\\ude00 long enough for words\""), "é\n😀 long enough for words");
    let long = |v| one(DataType::Int64, v).map(|a| a.as_primitive::<Int64Type>().value(0));
    assert_eq!(long("\" 42 \"").unwrap(), 42);
    assert_eq!(long("1.9").unwrap(), 1);
    assert_eq!(long("-9223372036854775808").unwrap(), i64::MIN);
    assert!(long("9223372036854775808").is_err());
    assert!(long("\"1.9\"").is_err());
    assert_eq!(one(DataType::Float64, "\"1e3\"").unwrap().as_primitive::<Float64Type>().value(0), 1000.0);
    let decimal =
        |v| one(DataType::Decimal128(5, 2), v).unwrap().as_primitive::<Decimal128Type>().iter().next().unwrap();
    assert_eq!(decimal("1.005"), Some(101));
    assert_eq!(decimal("\"-2.5e1\""), Some(-2500));
    assert_eq!(decimal("1000"), None);
    assert_eq!(one(DataType::Binary, "\"aGk=\"").unwrap().as_binary::<i32>().value(0), b"hi");
}

#[test]
fn not_null_and_missing_fields() {
    let strict = schema(vec![Field::new("a", DataType::Int32, false)]);
    assert_eq!(reason(read(&strict, "{\"b\":1}", &[])).1, "the field 'a' is NOT NULL and missing");
    assert_eq!(reason(read(&strict, "{\"a\":null}", &[])).1, "the field 'a' is NOT NULL and has no value");
    let missing = read(&ab(), "{\"a\":1}", &[("json.fail-on-missing-field", "true")]);
    assert_eq!(reason(missing).1, "the field 'b' is missing");
}

#[test]
fn timestamps_keep_to_the_standard_asked_for() {
    let millis =
        || schema(vec![Field::new("t", DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None), true)]);
    let iso = [("json.timestamp-format.standard", "ISO-8601")];
    assert!(read(&millis(), "{\"t\":\"2020-01-01 00:00:00.123\"}", &[]).is_ok());
    assert!(read(&millis(), "{\"t\":\"2020-01-01T00:00:00.123\"}", &iso).is_ok());
    let (_, why) = reason(read(&millis(), "{\"t\":\"2020-01-01T00:00:00.123\"}", &[]));
    assert!(why.contains("json.timestamp-format.standard"), "{why}");
}

#[test]
fn deep_nesting_is_refused_without_harm() {
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(100_000);
        for text in [format!("{{\"zzz\":{deep}"), format!("{{\"b\":{deep}"), deep.clone()] {
            assert!(read(&ab(), &text, &[]).is_err());
        }
    }
    let fine = format!("{{\"zzz\":{}{},\"a\":1}}", "[".repeat(900), "]".repeat(900));
    assert_eq!(ints(&read(&ab(), &fine, &[]).unwrap()), [Some(1)]);
}

#[test]
fn endless_lines_are_refused() {
    let mut decoder = decoder(&ab(), &[]);
    let block = vec![b' '; 1 << 20];
    let error = (0..65).find_map(|_| decoder.decode(&block).err()).unwrap();
    assert!(error.to_string().contains("line 1: the record is longer than 64 MiB"), "{error}");
}

#[test]
fn nested_rows_are_projected() {
    let inner = Fields::from(vec![Field::new("y", DataType::Int32, true)]);
    let schema = schema(vec![Field::new("r", DataType::Struct(inner), true)]);
    let batch = read(&schema, "{\"r\":{\"x\":[{}],\"y\":7}}\n{\"r\":null}\n{\"r\":{}}\n{}", &[]).unwrap();
    let row = batch.column(0).as_struct();
    let ys: Vec<_> = row.column(0).as_primitive::<Int32Type>().iter().collect();
    assert_eq!((0..4).map(|i| row.is_valid(i)).collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!(ys, [Some(7), None, None, None]);
}
