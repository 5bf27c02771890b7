use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};

use super::Csv;
use crate::format::{Decoder, FileFormat, RecordFormat};
use crate::table::Options;
use crate::{Error, Result};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]))
}

fn options(pairs: &[(&str, &str)]) -> Options {
    let mut options = Options::default();
    pairs.iter().for_each(|(k, v)| options.set(*k, *v));
    options
}

fn feed(decoder: &mut dyn Decoder, bytes: &[u8], piece: usize) -> Result<RecordBatch> {
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
    Ok(arrow::compute::concat_batches(&schema(), &batches).unwrap())
}

fn read(text: &str, pairs: &[(&str, &str)]) -> Result<Vec<(Option<i32>, Option<String>)>> {
    let mut first = None;
    for piece in [1, 2, 3, 7, 1000] {
        let mut decoder = Csv.decoder(&schema(), schema(), &options(pairs))?;
        let batch = feed(decoder.as_mut(), text.as_bytes(), piece)?;
        let texts = batch.column(1).as_string::<i32>().iter().map(|t| t.map(str::to_owned));
        let rows: Vec<_> = batch.column(0).as_primitive::<Int32Type>().iter().zip(texts).collect();
        assert_eq!(first.get_or_insert(rows.clone()), &rows, "pieces of {piece}");
    }
    Ok(first.unwrap())
}

fn row(a: impl Into<Option<i32>>, b: &str) -> (Option<i32>, Option<String>) {
    (a.into(), Some(b.into()))
}

#[test]
fn quotes_line_ends_and_empty_values() {
    let text = "\u{feff}1,x\r\n\r\n,\n 2 ,\"a,\"\"b\"\"\nc\"\n3,\"\"";
    assert_eq!(read(text, &[]).unwrap(), [row(1, "x"), row(None, ""), row(2, "a,\"b\"\nc"), row(3, "")]);
}

#[test]
fn options_shape_the_text() {
    let comments = [("csv.allow-comments", "true"), ("csv.field-delimiter", "|")];
    assert_eq!(read("#1|a\n2|b#\n", &comments).unwrap(), [row(2, "b#")]);
    let tabs = [("csv.field-delimiter", "\\t"), ("csv.disable-quote-character", "true")];
    assert_eq!(read("1\t\"a\"\n", &tabs).unwrap(), [row(1, "\"a\"")]);
    let escape = [("csv.escape-character", "\\"), ("csv.quote-character", "'")];
    assert_eq!(read("1,a\\,b\n2,'c\\'d'\n", &escape).unwrap(), [row(1, "a,b"), row(2, "c'd")]);
    assert_eq!(read("n/a,n/a\n", &[("csv.null-literal", "n/a")]).unwrap(), [(None, None)]);
}

#[test]
fn bad_records_are_named_or_skipped() {
    let cases = [
        ("1,a\n\n2\n", "line 3", "expected 2 values, found 1"),
        ("1,\"a\nb\"\nx,c\n", "line 3", "column 'a': 'x' is no Int32"),
        ("1,\"a\"b\n", "line 1", "text behind a closing quote, or a quote that is not closed"),
        ("1,\"a", "line 1", "text behind a closing quote, or a quote that is not closed"),
    ];
    for (text, line, why) in cases {
        let error = read(text, &[]).unwrap_err();
        assert!(matches!(&error, Error::Record { place, reason } if place == line && reason == why), "{error}");
    }
    let skip = options(&[("csv.ignore-parse-errors", "true")]);
    let mut decoder = Csv.decoder(&schema(), schema(), &skip).unwrap();
    let batch = feed(decoder.as_mut(), b"1,a\nx,b\n2\n3,\"c\"d\n4,\xff\n5,e\n", 4).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[1, 5]);
    assert_eq!(decoder.skipped(), 4);
}

#[test]
fn senseless_options_are_refused() {
    for pairs in [
        [("csv.field-delimiter", "ab"), ("csv.allow-comments", "true")],
        [("csv.disable-quote-character", "true"), ("csv.quote-character", "'")],
        [("csv.field-delimiter", ";"), ("csv.quote-character", ";")],
        [("csv.field-delimiter", "\n"), ("csv.allow-comments", "true")],
    ] {
        assert!(matches!(Csv.check(&options(&pairs)), Err(Error::Option(_))), "{pairs:?}");
    }
}
