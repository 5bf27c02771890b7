//! Values as bytes, there and back.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::*;
use crate::format::message::Decoded;

fn schema(data_type: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("v", data_type, true)]))
}

fn options(pairs: &[(&str, &str)]) -> Options {
    let mut options = Options::default();
    pairs.iter().for_each(|(k, v)| options.set(*k, *v));
    options
}

fn encode(column: ArrayRef, pairs: &[(&str, &str)]) -> Result<Messages> {
    let schema = schema(column.data_type().clone());
    let rows = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let mut out = Messages::default();
    Raw.encoder(&schema, &options(pairs))?.encode(&ChangeBatch::append(rows), &mut out)?;
    Ok(out)
}

fn decode(data_type: DataType, messages: &[Option<&[u8]>], pairs: &[(&str, &str)]) -> (Vec<Decoded>, ArrayRef) {
    let schema = schema(data_type);
    let mut decoder = Raw.decoder(&schema, Arc::clone(&schema), &options(pairs)).unwrap();
    let mut decode = |message: &Option<&[u8]>| match message {
        Some(message) => decoder.decode(message).unwrap(),
        None => decoder.decode_null().unwrap(),
    };
    let outcomes = messages.iter().map(&mut decode).collect();
    (outcomes, Arc::clone(decoder.flush().unwrap().unwrap().rows.column(0)))
}

#[test]
fn numbers_in_both_orders() {
    let column: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(-2)]));
    let big = encode(Arc::clone(&column), &[]).unwrap();
    assert_eq!(big.iter().collect::<Vec<_>>(), [Some(&[0, 0, 0, 1][..]), None, Some(&[255, 255, 255, 254][..])]);
    let little = encode(Arc::clone(&column), &[("raw.endianness", "little-endian")]).unwrap();
    assert_eq!(little.get(0), Some(&[1, 0, 0, 0][..]));
    let messages: Vec<_> = little.iter().collect();
    assert_eq!(decode(DataType::Int32, &messages, &[("raw.endianness", "little-endian")]).1.as_ref(), column.as_ref());
}

#[test]
fn every_type_there_and_back() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Int8Array::from(vec![i8::MIN, 0, i8::MAX])),
        Arc::new(Int16Array::from(vec![i16::MIN, 1, i16::MAX])),
        Arc::new(Int64Array::from(vec![i64::MIN, -1, i64::MAX])),
        Arc::new(Float32Array::from(vec![f32::MIN, -0.0, f32::INFINITY])),
        Arc::new(Float64Array::from(vec![1.5, -0.0, f64::MAX])),
        Arc::new(StringArray::from(vec![Some("é漢😀"), Some(""), None])),
        Arc::new(BinaryArray::from(vec![Some(&[0u8, 255][..]), Some(&[][..]), None])),
    ];
    for column in columns {
        let messages = encode(Arc::clone(&column), &[]).unwrap();
        let messages: Vec<_> = messages.iter().collect();
        assert_eq!(decode(column.data_type().clone(), &messages, &[]).1.as_ref(), column.as_ref());
    }
}

#[test]
fn charsets() {
    for (name, _) in Charset::NAMES {
        let text = match name {
            "US-ASCII" => "abc",
            "ISO-8859-1" => "abcé",
            _ => "aé漢😀",
        };
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let messages = encode(Arc::clone(&column), &[("raw.charset", name)]).unwrap();
        let messages: Vec<_> = messages.iter().collect();
        assert_eq!(decode(DataType::Utf8, &messages, &[("raw.charset", name)]).1.as_ref(), column.as_ref(), "{name}");
    }
    let column: ArrayRef = Arc::new(StringArray::from(vec!["漢"]));
    assert!(encode(column, &[("raw.charset", "iso-8859-1")]).unwrap_err().to_string().contains("ISO-8859-1"));
    assert!(encode(Arc::new(StringArray::from(vec!["a"])), &[("raw.charset", "klingon")]).is_err());
}

#[test]
fn bad_messages_leave_nothing() {
    let (outcomes, column) =
        decode(DataType::Int16, &[Some(&[0, 1]), Some(&[1]), Some(&[]), Some(&[0, 0, 0]), Some(&[0, 2])], &[]);
    assert_eq!(column.as_ref(), &Int16Array::from(vec![1, 2]));
    assert_eq!(outcomes.iter().filter(|o| matches!(o, Decoded::Bad(_))).count(), 3);
    let (outcomes, _) = decode(DataType::Utf8, &[Some(&[0xFF]), Some(b"x")], &[]);
    assert_eq!(outcomes[0], Decoded::Bad("no valid UTF-8".into()));
}

#[test]
fn one_column_of_a_plain_type() {
    let two = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Utf8, true)]));
    assert!(Raw.check(&two, &Options::default()).is_err());
    assert!(Raw.check(&schema(DataType::Date32), &Options::default()).is_err());
    assert!(Raw.check(&schema(DataType::Utf8), &options(&[("raw.endianness", "middle")])).is_err());
}
