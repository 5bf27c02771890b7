use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;
use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

/// Kind, id and name.
type Change = (RowKind, i64, Option<String>);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]))
}

fn options(given: &[(&str, &str)]) -> Options {
    let mut all = Options::default();
    given.iter().for_each(|(k, v)| all.set(*k, *v));
    all
}

/// The changes of some lines, and how many records were skipped.
fn read(keyed: bool, given: &[(&str, &str)], text: &str) -> Result<(Vec<Change>, u64)> {
    use arrow::array::{Array, AsArray};
    let mut decoder = RecordFormat::decoder(&DebeziumJson { keyed }, &schema(), schema(), &options(given))?;
    assert_eq!(decoder.decode(text.as_bytes())?, text.len());
    decoder.finish()?;
    let mut rows = Vec::new();
    while let Some(batch) = decoder.flush()? {
        let ids = batch.rows.column(0).as_primitive::<arrow::datatypes::Int64Type>();
        let names = batch.rows.column(1).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let name = names.is_valid(row).then(|| names.value(row).to_string());
            rows.push((batch.kind(row), ids.value(row), name));
        }
    }
    Ok((rows, decoder.skipped()))
}

fn rows(text: &str) -> Vec<Change> {
    read(false, &[], text).unwrap().0
}

fn refused(keyed: bool, given: &[(&str, &str)], text: &str) -> String {
    let error = read(keyed, given, text).unwrap_err();
    assert!(matches!(&error, Error::Record { .. }), "{error}");
    error.to_string()
}

fn name(name: &str) -> Option<String> {
    Some(name.into())
}

const CREATE: &str = r#"{"before":null,"after":{"id":1,"name":"a","more":[1]},"source":{"db":"x"},"op":"c","ts_ms":1}"#;
const UPDATE: &str = r#"{"op":"u","after":{"id":1,"name":"b"},"before":{"name":"a","id":1}}"#;
const DELETE: &str = r#"{"before":{"id":1},"after":null,"op":"d"}"#;

#[test]
fn each_kind_of_change_is_read() {
    let read = r#"{"before":null,"after":{"id":7},"op":"r"}"#;
    let text = format!("{CREATE}\n\n{UPDATE}\nnull\n{DELETE}\n{read}");
    let expected = [
        (Insert, 1, name("a")),
        (UpdateBefore, 1, name("a")),
        (UpdateAfter, 1, name("b")),
        (Delete, 1, None),
        (Insert, 7, None),
    ];
    assert_eq!(rows(&text), expected);
}

#[test]
fn the_schema_may_stand_beside() {
    let with = [(SCHEMA_INCLUDE, "true")];
    let text = format!(
        "{{\"schema\":{{\"type\":\"struct\",\"fields\":[]}},\"payload\":{UPDATE}}}\n{{\"payload\":null,\"schema\":null}}"
    );
    assert_eq!(read(false, &with, &text).unwrap().0.len(), 2);
    assert!(refused(false, &with, CREATE).contains("no 'payload'"));
    assert!(refused(false, &[], &text).contains("'debezium-json.schema-include' = 'true'"));
}

#[test]
fn without_a_key_the_old_row_must_be_there() {
    let bare = r#"{"before":null,"after":{"id":1,"name":"b"},"op":"u"}"#;
    let told = refused(false, &[], &format!("{CREATE}\n{bare}"));
    assert!(told.contains("line 2") && told.contains("PRIMARY KEY") && told.contains("REPLICA IDENTITY"), "{told}");
    assert_eq!(read(true, &[], bare).unwrap().0, [(UpdateAfter, 1, name("b"))]);
    let gone = r#"{"before":null,"op":"d"}"#;
    assert!(refused(true, &[], gone).contains("without 'before'"));
}

#[test]
fn what_is_no_change_is_told_or_skipped() {
    for (bad, why) in [
        (r#"{"op":"t","before":null,"after":null}"#, "'t'"),
        (r#"{"op":"c","after":null}"#, "without 'after'"),
        (r#"{"after":{"id":1}}"#, "no 'op'"),
        (r#"{"op":null,"after":{"id":1}}"#, "no 'op'"),
        (r#"{"op":"c","after":{"id":"x"}}"#, "'after': field 'id'"),
        (r#"{"op":"d","before":{"name":"x"}}"#, "'before': the field 'id' is NOT NULL"),
        (r#"{"op":"u","before":{"id":4},"after":{"id":4,"name":{}"#, "end of the record"),
        (r#"[]"#, "an object"),
        (r#"{"op":"c","after":{"id":1}} x"#, "end of the line"),
    ] {
        let told = refused(false, &[], &format!("{CREATE}\n{bad}"));
        assert!(told.starts_with("line 2") && told.contains(why), "{bad}: {told}");
        let text = format!("{CREATE}\n{bad}\n{DELETE}\n");
        let (rows, skipped) = read(false, &[(IGNORE_ERRORS, "true")], &text).unwrap();
        assert_eq!((rows, skipped), (vec![(Insert, 1, name("a")), (Delete, 1, None)], 1), "{bad}");
    }
}

#[test]
fn changes_are_written_as_coming_and_going() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 1, 1]));
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("a"), Some("b\""), None]));
    let kinds = Some([Insert, UpdateBefore, UpdateAfter, Delete].into());
    let rows = RecordBatch::try_new(schema(), vec![ids, names]).unwrap();
    let mut out = Vec::new();
    let format = DebeziumJson { keyed: false };
    let mut encoder = RecordFormat::encoder(&format, &schema(), &Options::default()).unwrap();
    encoder.encode(&ChangeBatch { rows, kinds, watermarks: None }, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let expected = [
        r#"{"before":null,"after":{"id":1,"name":"a"},"op":"c"}"#,
        r#"{"before":{"id":1,"name":"a"},"after":null,"op":"d"}"#,
        r#"{"before":null,"after":{"id":1,"name":"b\""},"op":"c"}"#,
        r#"{"before":{"id":1,"name":null},"after":null,"op":"d"}"#,
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let again = [(Insert, 1, name("a")), (Delete, 1, name("a")), (Insert, 1, name("b\"")), (Delete, 1, None)];
    assert_eq!(self::rows(&text), again);
    assert!(RecordFormat::encoder(&format, &schema(), &options(&[(SCHEMA_INCLUDE, "true")])).is_err());
}
