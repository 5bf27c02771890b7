//! What every file format must keep to, run by each.

use std::fs::File;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema, SchemaRef, TimeUnit};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{BATCH_ROWS, FileFormat, file_format};
use crate::change::{ChangeBatch, RowKind};
use crate::table::Options;
use crate::{Error, Result};

pub(super) fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let seed = std::hash::RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    seed
}

pub(super) fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn row_fields() -> Fields {
    Fields::from(vec![field("x", DataType::Int32), field("y", DataType::Utf8)])
}

fn map_type() -> DataType {
    let entry = Fields::from(vec![Field::new("key", DataType::Utf8, false), field("value", DataType::Int32)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

pub(super) fn schema(with_map: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("id", DataType::Int64, false),
        field("b", DataType::Boolean),
        field("i8", DataType::Int8),
        field("i16", DataType::Int16),
        field("i32", DataType::Int32),
        field("f32", DataType::Float32),
        field("f64", DataType::Float64),
        field("dec", DataType::Decimal128(20, 5)),
        field("s", DataType::Utf8),
        field("bin", DataType::Binary),
        field("d", DataType::Date32),
        field("t", DataType::Time32(TimeUnit::Millisecond)),
        field("ts3", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("ts9", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        field("ltz", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        field("list", DataType::List(Arc::new(field("item", DataType::Int32)))),
        field("row", DataType::Struct(row_fields())),
    ];
    if with_map {
        fields.push(field("map", map_type()));
    }
    Arc::new(Schema::new(fields))
}

/// A random text that every format can hold; never empty, for csv takes an empty one for NULL within a ROW.
fn text(rng: &mut Xoshiro256PlusPlus) -> String {
    const ALPHABET: [char; 14] = ['a', 'Z', '0', ' ', '"', '\\', ',', '\'', 'é', '漢', '😀', '\t', '\n', '#'];
    let length = rng.random_range(0..12);
    std::iter::once('x').chain((0..length).map(|_| ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

fn optional<T>(rng: &mut Xoshiro256PlusPlus, make: impl FnOnce(&mut Xoshiro256PlusPlus) -> T) -> Option<T> {
    (!rng.random_bool(0.2)).then(|| make(rng))
}

macro_rules! column {
    ($array:ty, $rows:expr, $rng:expr, $make:expr) => {
        <$array>::from((0..$rows).map(|_| optional($rng, $make)).collect::<Vec<_>>())
    };
}

pub(super) fn rows(schema: &SchemaRef, rows: usize, rng: &mut Xoshiro256PlusPlus) -> RecordBatch {
    let columns = schema.fields().iter().map(|f| values(f, rows, rng)).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn values(field: &Field, n: usize, r: &mut Xoshiro256PlusPlus) -> ArrayRef {
    match field.name().as_str() {
        "id" => Arc::new(Int64Array::from_iter_values((0..n).map(|_| r.random()))),
        "b" => Arc::new(column!(BooleanArray, n, r, |r| r.random())),
        "i8" => Arc::new(column!(Int8Array, n, r, |r| r.random())),
        "i16" => Arc::new(column!(Int16Array, n, r, |r| r.random())),
        "i32" => Arc::new(column!(Int32Array, n, r, |r| r.random())),
        "f32" => Arc::new(column!(Float32Array, n, r, |r| f32::from_bits(r.random::<u32>() & 0xBFFF_FFFF))),
        "f64" => Arc::new(column!(Float64Array, n, r, |r| f64::from_bits(r.random::<u64>() & 0xBFFF_FFFF_FFFF_FFFF))),
        "dec" => {
            let limit = 10i128.pow(20) - 1;
            let column = column!(Decimal128Array, n, r, |r| r.random_range(-limit..=limit));
            Arc::new(column.with_precision_and_scale(20, 5).unwrap())
        }
        "s" => Arc::new((0..n).map(|_| optional(r, text).or(Some("".into()))).collect::<StringArray>()),
        "bin" => {
            let column =
                (0..n).map(|_| optional(r, |r| (0..r.random_range(1..9)).map(|_| r.random()).collect::<Vec<u8>>()));
            Arc::new(column.collect::<BinaryArray>())
        }
        "d" => Arc::new(column!(Date32Array, n, r, |r| r.random_range(-700_000..2_900_000))),
        "t" => Arc::new(column!(Time32MillisecondArray, n, r, |r| r.random_range(0..86_400_000))),
        "ts3" => Arc::new(
            column!(TimestampMillisecondArray, n, r, |r| r.random_range(-60_000_000_000_000..200_000_000_000_000))
        ),
        "ts9" => Arc::new(column!(TimestampNanosecondArray, n, r, |r| r.random())),
        "ltz" => {
            let column = column!(TimestampMicrosecondArray, n, r, |r| r.random_range(0..4_000_000_000_000_000));
            Arc::new(column.with_timezone("UTC"))
        }
        "list" => {
            let lists = (0..n).map(|_| {
                optional(r, |r| {
                    (0..r.random_range(1..4)).map(|_| optional(r, |r| r.random())).collect::<Vec<Option<i32>>>()
                })
            });
            // A list of one NULL is, in csv, an empty field, and so a NULL itself.
            let lists = lists.map(|l| l.map(|l| if l == [None] { vec![Some(1)] } else { l }));
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists.collect::<Vec<_>>()))
        }
        "row" => {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(column!(Int32Array, n, r, |r| r.random())),
                Arc::new((0..n).map(|_| Some(text(r))).collect::<StringArray>()),
            ];
            let valid = (0..n).map(|_| r.random_bool(0.8)).collect::<Vec<_>>();
            Arc::new(StructArray::new(row_fields(), columns, Some(NullBuffer::from(valid))))
        }
        "map" => {
            let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
            for _ in 0..n {
                for k in 0..r.random_range(0..3) {
                    builder.keys().append_value(format!("k{k}"));
                    builder.values().append_option(optional(r, |r| r.random()));
                }
                builder.append(r.random_bool(0.8)).unwrap();
            }
            let built = builder.finish();
            let DataType::Map(entries, _) = map_type() else { unreachable!() };
            let DataType::Struct(parts) = entries.data_type().clone() else { unreachable!() };
            let pairs = StructArray::new(parts, built.entries().columns().to_vec(), None);
            let offsets = OffsetBuffer::new(built.offsets().inner().clone());
            Arc::new(MapArray::new(entries, offsets, pairs, built.nulls().cloned(), false))
        }
        other => unreachable!("{other}"),
    }
}

fn write(format: &dyn FileFormat, batches: &[RecordBatch], options: &Options) -> Result<File> {
    use std::io::Seek;
    let file = tempfile::tempfile().unwrap();
    let mut writer = format.writer(file, &batches[0].schema(), options)?;
    for batch in batches {
        writer.write(&ChangeBatch::append(batch.clone()))?;
    }
    let mut file = writer.finish()?;
    file.rewind().unwrap();
    Ok(file)
}

fn read(
    format: &dyn FileFormat,
    file: File,
    table: &SchemaRef,
    projection: &SchemaRef,
    options: &Options,
) -> Result<RecordBatch> {
    let size = file.metadata().unwrap().len();
    let mut reader = format.reader(file, table, Arc::clone(projection), options)?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next()? {
        assert!(batch.num_rows() > 0 && batch.num_rows() <= BATCH_ROWS);
        assert!(reader.position() <= size);
        assert!(batch.kinds.is_none());
        batches.push(batch.rows);
    }
    if projection.fields().is_empty() {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        return crate::table::rows_without_columns(Arc::clone(projection), rows);
    }
    Ok(arrow::compute::concat_batches(projection, &batches)?)
}

/// What is written is read, whole, in part, within a ROW, and by number alone.
fn check(format: &str) {
    check_with(format, &[], if format == "csv" { &["map"] } else { &[] });
}

/// The same under some options, `without` some columns.
fn check_with(format: &str, pairs: &[(&str, &str)], without: &[&str]) {
    let format = file_format(format, false).unwrap();
    let mut options = Options::default();
    pairs.iter().for_each(|(k, v)| options.set(*k, *v));
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed());
    let all = schema(true);
    let kept = all.fields().iter().filter(|f| !without.contains(&f.name().as_str())).cloned();
    let table: SchemaRef = Arc::new(Schema::new(kept.collect::<Fields>()));
    let row_index = table.index_of("row").unwrap();
    let batches: Vec<_> = [1, 700, 9_000].map(|n| rows(&table, n, rng)).into();
    let all = arrow::compute::concat_batches(&table, &batches).unwrap();
    let reread = |projection: &SchemaRef| {
        read(format, write(format, &batches, &options).unwrap(), &table, projection, &options).unwrap()
    };

    let got = reread(&table);
    for (i, f) in table.fields().iter().enumerate() {
        assert_eq!(got.column(i).as_ref(), all.column(i).as_ref(), "column {}", f.name());
    }

    let some = Arc::new(table.project(&[1, 8, row_index]).unwrap());
    assert_eq!(reread(&some), all.project(&[1, 8, row_index]).unwrap());

    let y_only = Fields::from(vec![field("y", DataType::Utf8)]);
    let nested = Arc::new(Schema::new(vec![field("row", DataType::Struct(y_only))]));
    let row = reread(&nested).column(0).as_struct().clone();
    assert_eq!(row.num_columns(), 1);
    let want = all.column(row_index).as_struct();
    for i in 0..all.num_rows() {
        assert_eq!(row.is_null(i), want.is_null(i));
        if want.is_valid(i) {
            assert_eq!(row.column(0).as_string::<i32>().value(i), want.column(1).as_string::<i32>().value(i));
        }
    }

    assert_eq!(reread(&Arc::new(Schema::empty())).num_rows(), all.num_rows());
}

#[test]
fn json_conforms() {
    check("json");
}

#[test]
fn debezium_json_conforms() {
    check("debezium-json");
}

#[test]
fn csv_conforms() {
    check("csv");
}

#[test]
fn parquet_conforms() {
    check("parquet");
}

#[cfg(feature = "avro")]
#[test]
fn avro_conforms() {
    for codec in ["null", "deflate", "snappy"] {
        check_with("avro", &[("avro.timestamp_mapping.legacy", "false"), ("avro.codec", codec)], &["ts9"]);
    }
}

#[test]
fn arrow_conforms() {
    check("arrow");
}

#[test]
fn changes_other_than_inserts_are_refused() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let batch = rows(&schema(false), 2, rng);
    for name in ["json", "csv", "parquet", "arrow"] {
        let file = tempfile::tempfile().unwrap();
        let mut writer = file_format(name, false).unwrap().writer(file, &batch.schema(), &Options::default()).unwrap();
        let mut changes = ChangeBatch::append(batch.clone());
        changes.kinds = Some([RowKind::Insert, RowKind::Delete].into());
        let error = writer.write(&changes).unwrap_err();
        assert!(matches!(&error, Error::Unsupported(m) if m.contains("-D") && m.contains(name)), "{error}");
    }
}

#[test]
fn garbage_is_an_error_and_no_panic() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed());
    let table = schema(false);
    for name in ["json", "debezium-json", "csv", "parquet", "arrow"] {
        for _ in 0..200 {
            use std::io::{Seek, Write};
            let bytes: Vec<u8> = (0..rng.random_range(1..400)).map(|_| rng.random_range(0..=255)).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            file.rewind().unwrap();
            let outcome = read(file_format(name, false).unwrap(), file, &table, &table, &Options::default());
            // A blank line or two is a fine file of no records.
            assert!(outcome.is_err() || outcome.is_ok_and(|b| b.num_rows() == 0));
        }
    }
}

#[test]
fn unknown_formats_are_named() {
    assert!(file_format("jsno", false).unwrap_err().to_string().contains("did you mean 'json'?"));
    assert!(file_format("debezium-avro-confluent", false).is_err());
}
