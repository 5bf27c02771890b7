use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::*;

use super::*;
use crate::connector::text::write_value;

const NOW: i64 = 1_700_000_000_000;

fn datagen() -> Datagen {
    Datagen::new(Arc::new(crate::change::ManualClock::new(NOW)))
}

fn table(fields: Vec<Field>, options: &[(&str, &str)]) -> TableDescriptor {
    let mut with = Options::default();
    with.set("rows-per-second", "100000000");
    options.iter().for_each(|(k, v)| with.set(*k, *v));
    TableDescriptor {
        name: "t".into(),
        schema: Arc::new(Schema::new(fields)),
        metadata: Vec::new(),
        options: with,
        partition_keys: Vec::new(),
        primary_key: Vec::new(),
    }
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn row(name: &str, fields: Vec<Field>) -> Field {
    field(name, DataType::Struct(fields.into()))
}

async fn read(table: &TableDescriptor, projection: &SchemaRef) -> RecordBatch {
    table.options.check(&datagen().options(&table.options)).unwrap();
    datagen().check(table).unwrap();
    let mut source = datagen().source(table, Arc::clone(projection)).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = source.next().await.unwrap() {
        batches.push(batch.changes.rows);
    }
    assert_eq!(source.progress().fraction, Some(1.0));
    concat_batches(projection, &batches).unwrap()
}

fn every_type() -> Vec<Field> {
    use DataType::*;
    let map = Map(
        Arc::new(Field::new(
            "entries",
            Struct(vec![Field::new("key", Int8, false), field("value", Utf8)].into()),
            false,
        )),
        false,
    );
    vec![
        field("bool", Boolean),
        field("i8", Int8),
        field("i16", Int16),
        field("i32", Int32),
        field("i64", Int64),
        field("f32", Float32),
        field("f64", Float64),
        field("dec", Decimal128(10, 2)),
        field("s", Utf8),
        field("b", Binary),
        field("fb", FixedSizeBinary(4)),
        field("d", Date32),
        field("t", Time32(TimeUnit::Millisecond)),
        field("ts", Timestamp(TimeUnit::Microsecond, None)),
        field("ltz", Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        field("ym", Interval(IntervalUnit::YearMonth)),
        field("dt", Duration(TimeUnit::Millisecond)),
        row("r", vec![field("a", Int32), row("deep", vec![field("x", Float64)])]),
        field("xs", List(Arc::new(field("element", Int16)))),
        field("m", map),
    ]
}

#[tokio::test]
async fn makes_every_type_and_the_same_for_a_seed() {
    let options =
        [("number-of-rows", "500"), ("seed", "42"), ("fields.m.value.length", "4"), ("fields.s.var-len", "true")];
    let all = table(every_type(), &options);
    let batch = read(&all, &all.schema).await;
    assert_eq!(batch.num_rows(), 500);
    assert_eq!(read(&all, &all.schema).await, batch);
    let mut text = String::new();
    batch.columns().iter().for_each(|c| write_value(&mut text, c.as_ref(), 499).unwrap());
    assert!(!text.contains("null"), "{text}");

    let other = table(every_type(), &[&options[..], &[("seed", "43")]].concat());
    assert_ne!(read(&other, &other.schema).await, batch);
}

#[tokio::test]
async fn a_projection_gives_what_the_whole_gives() {
    let options = [("number-of-rows", "300"), ("seed", "5"), ("fields.r.null-rate", "0.5")];
    let all = table(every_type(), &options);
    let whole = read(&all, &all.schema).await;
    let narrow = row("r", vec![row("deep", vec![field("x", DataType::Float64)])]);
    let projection: SchemaRef = Arc::new(Schema::new(vec![field("i64", DataType::Int64), narrow]));
    let part = read(&all, &projection).await;
    assert_eq!(part.column(0), whole.column(4));
    let deep = |batch: &RecordBatch, column: usize, inner: usize| {
        let rows = batch.column(column).as_struct();
        rows.column(inner).as_struct().column(0).clone()
    };
    assert_eq!(&deep(&part, 1, 0), &deep(&whole, 17, 1));
    assert_eq!(deep(&part, 1, 0).null_count(), part.column(1).null_count());

    let nothing: SchemaRef = Arc::new(Schema::empty());
    let mut source = datagen().source(&all, nothing).unwrap();
    let mut rows = 0;
    while let Some(batch) = source.next().await.unwrap() {
        rows += batch.changes.num_rows();
    }
    assert_eq!(rows, 300);
}

#[tokio::test]
async fn values_stay_within_their_bounds() {
    let options = [
        ("number-of-rows", "2000"),
        ("fields.a.min", "-3"),
        ("fields.a.max", "3"),
        ("fields.f.min", "0.5"),
        ("fields.f.max", "0.75"),
        ("fields.d.min", "-1.25"),
        ("fields.d.max", "1.25"),
        ("fields.ts.max-past", "10 s"),
        ("fields.xs.length", "4"),
        ("fields.xs.var-len", "true"),
        ("fields.xs.element.max", "9"),
        ("fields.xs.element.min", "9"),
    ];
    let fields = vec![
        field("a", DataType::Int32),
        field("f", DataType::Float64),
        field("d", DataType::Decimal128(5, 2)),
        field("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("xs", DataType::List(Arc::new(field("element", DataType::Int32)))),
    ];
    let table = table(fields, &options);
    let batch = read(&table, &table.schema).await;
    let a = batch.column(0).as_primitive::<Int32Type>().values();
    assert_eq!((a.iter().min(), a.iter().max()), (Some(&-3), Some(&3)));
    assert!(batch.column(1).as_primitive::<Float64Type>().values().iter().all(|v| (0.5..=0.75).contains(v)));
    let d = batch.column(2).as_primitive::<Decimal128Type>().values();
    assert_eq!((d.iter().min(), d.iter().max()), (Some(&-125), Some(&125)));
    let ts = batch.column(3).as_primitive::<TimestampMillisecondType>().values();
    assert!(ts.iter().all(|v| (NOW - 10_000..=NOW).contains(v)));
    let xs = batch.column(4).as_list::<i32>();
    assert!((0..2000).all(|i| (1..=4).contains(&xs.value_length(i))));
    assert!(xs.values().as_primitive::<Int32Type>().values().iter().all(|v| *v == 9));
}

#[tokio::test]
async fn the_shortest_sequence_ends_the_table() {
    let options = [
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "10"),
        ("fields.id.end", "1000"),
        ("fields.s.kind", "sequence"),
        ("fields.s.start", "1"),
        ("fields.s.end", "3"),
    ];
    let table = table(vec![field("id", DataType::Int16), field("s", DataType::Utf8)], &options);
    assert!(datagen().is_bounded(&table));
    let batch = read(&table, &table.schema).await;
    assert_eq!(batch.column(0).as_primitive::<Int16Type>().values(), &[10, 11, 12]);
    assert!(batch.column(1).as_string::<i32>().iter().flatten().eq(["1", "2", "3"]));
    // Also where the sequence itself is not read.
    let projection: SchemaRef = Arc::new(Schema::new(vec![field("id", DataType::Int16)]));
    assert_eq!(read(&table, &projection).await.num_rows(), 3);
}

#[tokio::test]
async fn null_rates_hold() {
    let options =
        [("number-of-rows", "10000"), ("seed", "1"), ("fields.a.null-rate", "0.25"), ("fields.b.null-rate", "1")];
    let table = table(vec![field("a", DataType::Int32), field("b", DataType::Utf8)], &options);
    let batch = read(&table, &table.schema).await;
    assert!((2300..2700).contains(&batch.column(0).null_count()), "{}", batch.column(0).null_count());
    assert_eq!(batch.column(1).null_count(), 10_000);
}

#[tokio::test]
async fn map_keys_are_distinct() {
    let entries =
        DataType::Struct(vec![Field::new("key", DataType::Int8, false), field("value", DataType::Int32)].into());
    let map = DataType::Map(Arc::new(Field::new("entries", entries, false)), false);
    let options =
        [("number-of-rows", "50"), ("fields.m.length", "20"), ("fields.m.key.min", "1"), ("fields.m.key.max", "3")];
    let table = table(vec![field("m", map)], &options);
    let batch = read(&table, &table.schema).await;
    let maps = batch.column(0).as_map();
    for i in 0..50 {
        let entries = maps.value(i);
        let keys = entries.column(0).as_primitive::<Int8Type>().values().to_vec();
        assert!(keys.windows(2).all(|w| w[0] < w[1]), "{keys:?}");
    }
}

#[test]
fn wrong_options_are_refused() {
    let message = |options: &[(&str, &str)]| {
        let fields = vec![
            field("a", DataType::Int8),
            Field::new("n", DataType::Int32, false),
            field("s", DataType::Utf8),
            field("xs", DataType::List(Arc::new(field("element", DataType::Utf8)))),
        ];
        datagen().check(&table(fields, options)).unwrap_err().to_string()
    };
    assert!(message(&[("fields.a.max", "128")]).contains("from -128 to 127"));
    assert!(message(&[("fields.a.min", "5"), ("fields.a.max", "4")]).contains("min 5 is above max 4"));
    assert!(message(&[("fields.a.length", "5")]).contains("'fields.a.length' does not apply"));
    assert!(message(&[("fields.c.min", "5")]).contains("'fields.c.min' does not apply"));
    assert!(message(&[("fields.a.kind", "constant")]).contains("random or sequence"));
    assert!(message(&[("fields.a.kind", "sequence")]).contains("'fields.a.start' is required"));
    let sequence = [("fields.a.kind", "sequence"), ("fields.a.start", "1"), ("fields.a.end", "1000")];
    assert!(message(&sequence).contains("beyond"));
    assert!(message(&[("fields.xs.element.kind", "sequence")]).contains("inside of collections"));
    assert!(message(&[("fields.n.null-rate", "0.1")]).contains("NOT NULL"));
    assert!(message(&[("fields.a.null-rate", "2")]).contains("from 0 to 1"));
    assert!(message(&[("number-of-rows", "-1")]).contains("number-of-rows"));
    assert!(message(&[("rows-per-second", "0")]).contains("more than 0"));
    let huge = [("fields.xs.length", "1000000"), ("fields.xs.element.length", "1000000")];
    assert!(message(&huge).contains("at most"));
}

#[test]
fn is_unbounded_without_an_end() {
    assert!(!datagen().is_bounded(&table(vec![field("a", DataType::Int8)], &[])));
    assert!(datagen().is_bounded(&table(vec![field("a", DataType::Int8)], &[("number-of-rows", "0")])));
}
