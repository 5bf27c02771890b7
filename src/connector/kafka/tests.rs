//! What needs no broker.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rdkafka::Timestamp;

use super::columns::Layout;
use super::metadata::Incoming;
use super::offsets::{self, Place, TopicPartition};
use super::options::{Kind, Point, Settings};
use super::rows::{Outcome, Rows};
use super::*;
use crate::change::ChangeBatch;
use crate::connector::{MetadataColumn, SplitPosition};
use crate::format::value_to_text;

const SERVERS: (&str, &str) = ("properties.bootstrap.servers", "127.0.0.1:1");

fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field::new(name, data_type, nullable)
}

/// A table of `columns`, of which those with a key are metadata.
fn table(columns: Vec<(Field, Option<&str>)>, primary_key: Vec<usize>, options: &[(&str, &str)]) -> TableDescriptor {
    let mut all = Options::default();
    for (key, value) in options.iter().chain([&SERVERS, &("topic", "t")]) {
        if all.get(key).is_none() && !(*key == "topic" && all.get("topic-pattern").is_some()) {
            all.set(*key, *value);
        }
    }
    let metadata = columns.iter().enumerate().filter_map(|(column, (_, key))| {
        Some(MetadataColumn { column, key: key.as_ref()?.to_string(), is_virtual: true })
    });
    TableDescriptor {
        name: "k".into(),
        metadata: metadata.collect(),
        schema: Arc::new(Schema::new(columns.into_iter().map(|(f, _)| f).collect::<Vec<_>>())),
        options: all,
        partition_keys: vec![],
        primary_key,
    }
}

fn two_columns() -> Vec<(Field, Option<&'static str>)> {
    vec![(field("a", DataType::Int32, false), None), (field("b", DataType::Utf8, true), None)]
}

fn rows(kind: Kind, table: &TableDescriptor, projection: SchemaRef) -> Rows {
    let settings = Settings::read(kind, table).unwrap();
    let layout = Layout::of(table, &settings).unwrap();
    layout.check(&settings).unwrap();
    Rows::try_new(&settings, &layout, projection).unwrap()
}

fn message<'a>(offset: i64, key: Option<&'a str>, value: Option<&'a str>) -> Incoming<'a> {
    Incoming {
        topic: "t",
        partition: 3,
        offset,
        timestamp: Timestamp::CreateTime(1_700_000_000_000 + offset),
        key: key.map(str::as_bytes),
        value: value.map(str::as_bytes),
        headers: vec![("h", Some(b"1")), ("n", None), ("h", Some(b"2"))],
    }
}

fn shown(changes: &ChangeBatch) -> Vec<String> {
    let cell = |rows: &RecordBatch, column: usize, row: usize| {
        value_to_text(rows.column(column), row).unwrap().unwrap_or_else(|| "-".into())
    };
    let row = |row: usize| {
        let cells = (0..changes.rows.num_columns()).map(|column| cell(&changes.rows, column, row));
        format!("{} {}", changes.kind(row), cells.collect::<Vec<_>>().join(" "))
    };
    (0..changes.num_rows()).map(row).collect()
}

#[test]
fn keyed_messages_become_changes_by_key() {
    let columns = vec![
        (field("id", DataType::Int32, false), None),
        (field("v", DataType::Utf8, true), None),
        (field("n", DataType::Int64, false), None),
        (field("o", DataType::Int64, false), Some("offset")),
    ];
    for include in ["ALL", "EXCEPT_KEY"] {
        let options = [("key.format", "json"), ("value.format", "json"), ("value.fields-include", include)];
        let table = table(columns.clone(), vec![0], &options);
        let mut rows = rows(Kind::Upsert, &table, Arc::clone(&table.schema));
        let first = if include == "ALL" { r#"{"id":1,"v":"x","n":5}"# } else { r#"{"v":"x","n":5}"# };
        for (offset, key, value, wanted) in [
            (0, Some(r#"{"id":1}"#), Some(first), Outcome::Read),
            (1, Some(r#"{"id":2}"#), None, Outcome::Read),
            (2, None, Some(first), Outcome::Empty),
            (3, Some(r#"{"id":1}"#), Some(first), Outcome::Read),
            (4, Some(r#"{"id":1}"#), None, Outcome::Read),
        ] {
            assert_eq!(rows.read(&message(offset, key, value)).unwrap(), wanted, "{offset}");
        }
        assert!(matches!(rows.read(&message(5, Some(r#"{"id":1}"#), Some("{"))).unwrap(), Outcome::Bad(_)));
        assert!(matches!(rows.read(&message(6, Some("{"), Some(first))).unwrap(), Outcome::Bad(_)));
        rows.read(&message(7, Some(r#"{"id":1}"#), Some(first))).unwrap();
        let changes = rows.flush().unwrap();
        // What a row that goes has beside its key means nothing.
        assert_eq!(
            shown(&changes),
            ["+I 1 x 5 0", "-D 2 - 0 1", "+I 1 x 5 3", "-D 1 - 0 4", "+I 1 x 5 7"],
            "{include}"
        );
        rows.read(&message(8, Some(r#"{"id":9}"#), None)).unwrap();
        assert_eq!(shown(&rows.flush().unwrap()), ["-D 9 - 0 8"]);
    }
}

#[test]
fn keys_and_metadata_stand_beside_values() {
    let millis = DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into()));
    let columns = vec![
        (field("k_id", DataType::Int32, true), None),
        (field("id", DataType::Utf8, true), None),
        (field("p", DataType::Int64, false), Some("partition")),
        (field("at", millis, false), Some("timestamp")),
        (field("kind", DataType::Utf8, false), Some("timestamp-type")),
        (field("epoch", DataType::Int32, true), Some("leader-epoch")),
        (field("h", columns::Metadata::Headers.data_type(), false), Some("headers")),
        (field("topic", DataType::Utf8, false), Some("topic")),
    ];
    let options = [
        ("key.format", "csv"),
        ("key.fields", "k_id"),
        ("key.fields-prefix", "k_"),
        ("value.format", "json"),
        ("value.fields-include", "EXCEPT_KEY"),
    ];
    let table = table(columns, vec![], &options);
    let mut all = rows(Kind::Log, &table, Arc::clone(&table.schema));
    assert!(all.needs_headers());
    all.read(&message(1, Some("7"), Some(r#"{"id":"x"}"#))).unwrap();
    // Without a value there is no row, and without a key neither, as in Flink.
    assert_eq!(all.read(&message(2, Some("8"), None)).unwrap(), Outcome::Empty);
    assert_eq!(all.read(&message(3, None, Some(r#"{"id":"y"}"#))).unwrap(), Outcome::Empty);
    all.read(&message(4, Some("9"), Some(r#"{"id":"z"}"#))).unwrap();
    let changes = all.flush().unwrap();
    let without_headers = changes.rows.project(&[0, 1, 2, 4, 5, 7]).unwrap();
    assert_eq!(shown(&ChangeBatch::append(without_headers)), ["+I 7 x 3 CreateTime - t", "+I 9 z 3 CreateTime - t"]);
    let headers = format!("{:?}", arrow::array::cast::AsArray::as_map(changes.rows.column(6)).value(0));
    assert!(headers.contains("\"n\"") && headers.contains("50") && !headers.contains("49"), "{headers}");

    let nothing: SchemaRef = Arc::new(Schema::empty());
    let mut counted = rows(Kind::Log, &table, nothing);
    for offset in 0..3 {
        counted.read(&message(offset, Some("1"), Some("{}"))).unwrap();
    }
    assert_eq!(counted.flush().unwrap().num_rows(), 3);
    assert_eq!(counted.flush().unwrap().num_rows(), 0);
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for (kind, key, options, wanted) in [
        (Kind::Log, false, vec![], "'format' or 'value.format' is required"),
        (Kind::Log, false, vec![("format", "json"), ("value.format", "json")], "exclude"),
        (Kind::Log, false, vec![("format", "jsn")], "did you mean 'json'"),
        (Kind::Log, false, vec![("format", "json"), ("key.format", "json")], "needs 'key.fields'"),
        (Kind::Log, false, vec![("format", "json"), ("key.fields", "a")], "needs 'key.format'"),
        (Kind::Log, false, vec![("format", "json"), ("key.format", "json"), ("key.fields", "c")], "no column 'c'"),
        (
            Kind::Log,
            false,
            vec![("format", "json"), ("key.format", "debezium-json"), ("key.fields", "a")],
            "no changes",
        ),
        (
            Kind::Log,
            false,
            vec![("format", "json"), ("key.format", "json"), ("key.fields", "a"), ("key.fields-prefix", "k_")],
            "does not begin so",
        ),
        (
            Kind::Log,
            false,
            vec![("format", "json"), ("key.format", "json"), ("key.fields", "a"), ("sink.partitioner", "round-robin")],
            "without a key",
        ),
        (Kind::Log, true, vec![("format", "json")], "use 'upsert-kafka'"),
        (Kind::Log, false, vec![("format", "json"), ("topic-pattern", "x")], "exclude"),
        (Kind::Log, false, vec![("format", "json"), ("scan.startup.mode", "earliest")], "expected earliest-offset"),
        (
            Kind::Log,
            false,
            vec![("format", "json"), ("scan.startup.mode", "timestamp")],
            "timestamp-millis' is required",
        ),
        (
            Kind::Log,
            false,
            vec![
                ("format", "json"),
                ("scan.startup.mode", "specific-offsets"),
                ("scan.startup.specific-offsets", "0:1"),
            ],
            "partition:0,offset:42",
        ),
        (
            Kind::Log,
            false,
            vec![("format", "json"), ("sink.delivery-guarantee", "exactly-once")],
            "transactional-id-prefix",
        ),
        (Kind::Log, false, vec![("format", "json"), ("sink.delivery-guarantee", "once")], "expected none"),
        (
            Kind::Log,
            false,
            vec![("format", "json"), ("properties.transactional.id", "x")],
            "sink.transactional-id-prefix",
        ),
        (
            Kind::Log,
            false,
            vec![("format", "json"), ("millstream.dead-letter.topic", "x"), ("millstream.dead-letter.path", "y")],
            "exclude",
        ),
        (Kind::Upsert, false, vec![("key.format", "json"), ("value.format", "json")], "PRIMARY KEY"),
        (Kind::Upsert, true, vec![("value.format", "json")], "'key.format' is required"),
        (Kind::Upsert, true, vec![("key.format", "json"), ("value.format", "debezium-json")], "of plain rows"),
    ] {
        let table = table(two_columns(), if key { vec![0] } else { vec![] }, &options);
        let error = Kafka(kind).check(&table).unwrap_err().to_string();
        assert!(error.contains(wanted), "{options:?}: {error}");
    }
    let fine =
        table(two_columns(), vec![], &[("format", "json"), ("topic", "a;b"), ("scan.bounded.mode", "latest-offset")]);
    Kafka::log().check(&fine).unwrap();
    assert!(Kafka::log().is_bounded(&fine));
    let error = Kafka::log().sink(&fine).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("topic STRING"), "{error}");
}

#[test]
fn offsets_are_read_as_flink_writes_them() {
    let options = [
        ("format", "json"),
        ("scan.startup.mode", "specific-offsets"),
        ("scan.startup.specific-offsets", "partition:0,offset:42; partition:1, offset:300"),
    ];
    let settings = Settings::read(Kind::Log, &table(two_columns(), vec![], &options)).unwrap();
    assert_eq!(settings.start, Point::Offsets([(0, 42), (1, 300)].into()));
}

#[test]
fn places_come_back_from_a_checkpoint() {
    let of = TopicPartition { topic: "a/b".into(), partition: 11 };
    for place in [Place { number: 2, next: 5, end: None }, Place { number: 0, next: i64::MAX, end: Some(3) }] {
        let position = offsets::position(&of.split(), place).unwrap();
        assert_eq!(offsets::restored(&position).unwrap(), (of.clone(), place));
    }
    for (split, offset) in
        [("a", r#"{"number":0,"next":1}"#), ("a/x", r#"{"number":0,"next":1}"#), ("a/1", "7"), ("a/1", "{}")]
    {
        let position = SplitPosition { split: split.into(), offset: offset.into() };
        assert!(offsets::restored(&position).is_err(), "{split} {offset}");
    }
}
