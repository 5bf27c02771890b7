//! Messages there and back, and against the library that knows messages whole.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::format::conformance::seed;
use crate::format::message::Decoded;

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn map(key: DataType, value: DataType) -> DataType {
    let entry = Fields::from(vec![Field::new("key", key, false), field("value", value)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

fn row(fields: Vec<Field>) -> DataType {
    DataType::Struct(fields.into())
}

fn part() -> DataType {
    let within = row(vec![field("name", DataType::Utf8), field("sizes", list(DataType::Float64))]);
    row(vec![field("name", DataType::Utf8), field("sizes", list(DataType::Float64)), field("within", within)])
}

fn orders() -> SchemaRef {
    use DataType as D;
    Arc::new(Schema::new(vec![
        field("text", D::Utf8),
        field("b", D::Boolean),
        field("i32", D::Int32),
        field("i64", D::Int64),
        field("u32", D::Int32),
        field("u64", D::Int64),
        field("s32", D::Int32),
        field("s64", D::Int64),
        field("f32", D::Int64),
        field("f64", D::Int64),
        field("sf32", D::Int32),
        field("sf64", D::Int64),
        field("float", D::Float32),
        field("double", D::Float64),
        field("bytes", D::Binary),
        field("color", D::Utf8),
        field("number", D::Int16),
        field("maybe", D::Int32),
        field("part", part()),
        field("list", list(D::Int32)),
        field("unpacked", list(D::Int64)),
        field("texts", list(D::Utf8)),
        field("parts", list(part())),
        field("counts", map(D::Utf8, D::Int64)),
        field("by_number", map(D::Int32, part())),
        field("at", row(vec![field("seconds", D::Int64), field("nanos", D::Int32)])),
        field("left", D::Utf8),
        field("right", part()),
        field("wide", D::Int64),
    ]))
}

fn options(file: &str, message: &str) -> Options {
    let mut options = Options::default();
    options.set(schema::FILE, format!("{}/src/format/protobuf/tests/{file}", env!("CARGO_MANIFEST_DIR")));
    options.set(schema::MESSAGE, message);
    options
}

fn shop() -> Options {
    options("shop.proto", "shop.Order")
}

fn decoder(table: &SchemaRef, options: &Options) -> Box<dyn MessageDecoder> {
    Protobuf.decoder(table, Arc::clone(table), options).unwrap()
}

fn encode(rows: &RecordBatch, options: &Options) -> Messages {
    let mut out = Messages::default();
    let mut encoder = Protobuf.encoder(&rows.schema(), options).unwrap();
    encoder.encode(&ChangeBatch::append(rows.clone()), &mut out).unwrap();
    out
}

/// A random value of a field, as the library has it.
fn value(kind: &prost_reflect::Kind, depth: u32, r: &mut Xoshiro256PlusPlus) -> Value {
    use prost_reflect::Kind as K;
    match kind {
        K::Double => Value::F64(r.random_range(-1e9..1e9)),
        K::Float => Value::F32(r.random_range(-1e9..1e9)),
        K::Int32 | K::Sint32 | K::Sfixed32 => Value::I32(r.random()),
        K::Int64 | K::Sint64 | K::Sfixed64 => Value::I64(r.random()),
        K::Uint32 | K::Fixed32 => Value::U32(r.random()),
        K::Uint64 | K::Fixed64 => Value::U64(r.random()),
        K::Bool => Value::Bool(r.random()),
        K::String => Value::String((0..r.random_range(0..9)).map(|_| *['a', 'é', '漢'].choose(r)).collect()),
        K::Bytes => Value::Bytes((0..r.random_range(0..9)).map(|_| r.random::<u8>()).collect::<Vec<_>>().into()),
        K::Enum(_) => Value::EnumNumber([0, 1, -5][r.random_range(0..3)]),
        K::Message(message) => Value::Message(random(message, depth, r)),
    }
}

trait Choose<T> {
    fn choose(&self, r: &mut Xoshiro256PlusPlus) -> &T;
}

impl<T, const N: usize> Choose<T> for [T; N] {
    fn choose(&self, r: &mut Xoshiro256PlusPlus) -> &T {
        &self[r.random_range(0..N)]
    }
}

fn random(message: &MessageDescriptor, depth: u32, r: &mut Xoshiro256PlusPlus) -> DynamicMessage {
    let mut out = DynamicMessage::new(message.clone());
    for field in message.fields().filter(|f| depth > 0 || f.name() != "within") {
        let depth = depth.saturating_sub(1);
        let count = r.random_range(0..4);
        let set = if field.is_map() {
            let prost_reflect::Kind::Message(entry) = field.kind() else { unreachable!() };
            let pair = |r: &mut _| {
                let key = value(&entry.map_entry_key_field().kind(), depth, r).into_map_key().unwrap();
                (key, value(&entry.map_entry_value_field().kind(), depth, r))
            };
            Value::Map((0..count).map(|_| pair(r)).collect())
        } else if field.is_list() {
            Value::List((0..count).map(|_| value(&field.kind(), depth, r)).collect())
        } else if r.random_bool(0.3) {
            continue;
        } else {
            value(&field.kind(), depth, r)
        };
        out.set_field(&field, set);
    }
    out
}

/// What the library writes is read, and what is written of that the library reads as the same message.
#[test]
fn as_the_library_has_it() {
    let r = &mut Xoshiro256PlusPlus::seed_from_u64(seed());
    let message = schema::message(&shop()).unwrap();
    let table = orders();
    let all: Vec<_> = (0..300).map(|_| random(&message, 2, r)).collect();
    let mut decoder = decoder(&table, &shop());
    for one in &all {
        assert_eq!(decoder.decode(&one.encode_to_vec()).unwrap(), Decoded::Rows(1));
    }
    let rows = decoder.flush().unwrap().unwrap().rows;
    let written = encode(&rows, &shop());
    for (i, one) in all.iter().enumerate() {
        let mut again = DynamicMessage::decode(message.clone(), written.get(i).unwrap()).unwrap();
        let mut one = DynamicMessage::decode(message.clone(), one.encode_to_vec().as_slice()).unwrap();
        // Syntax proto3 does not tell a default from nothing, where it is no message; so it is read, and then written.
        let maybe = message.get_field_by_name("maybe").unwrap();
        if one.get_field(&maybe).as_i32() == Some(0) {
            one.clear_field(&maybe);
            again.clear_field(&maybe);
        }
        if again.has_field_by_name("left") && !one.has_field_by_name("left") {
            assert_eq!(again.get_field_by_name("left").unwrap().as_str(), Some(""));
            again.clear_field_by_name("left");
        }
        // (To print one, the library would go through its recursive type without end.)
        assert!(again == one, "message {i}");
    }
    assert_eq!(encode(&rows.slice(100, 50), &shop()).get(49), written.get(149));
}

#[test]
fn damaged_messages_leave_nothing() {
    let r = &mut Xoshiro256PlusPlus::seed_from_u64(seed());
    let message = schema::message(&shop()).unwrap();
    let table = orders();
    let mut plain = decoder(&table, &shop());
    let mut tried = decoder(&table, &shop());
    let mut bad = 0;
    for _ in 0..300 {
        let good = random(&message, 2, r).encode_to_vec();
        for _ in 0..3 {
            let mut bytes = good.clone();
            match r.random_range(0..4) {
                0 => bytes.truncate(r.random_range(0..=good.len())),
                1 => bytes.shuffle(r),
                2 => bytes = (0..r.random_range(1..80)).map(|_| r.random()).collect(),
                _ => bytes.iter_mut().for_each(|b| *b = if r.random_bool(0.02) { r.random() } else { *b }),
            }
            match tried.decode(&bytes).unwrap() {
                Decoded::Rows(1) => tried.undo().unwrap(),
                Decoded::Bad(_) => bad += 1,
                other => panic!("{other:?}"),
            }
        }
        tried.decode(&good).unwrap();
        plain.decode(&good).unwrap();
    }
    assert!(bad > 100, "{bad}");
    assert_eq!(tried.flush().unwrap().unwrap().rows, plain.flush().unwrap().unwrap().rows);
}

fn one(table: Vec<Field>, options: &Options, message: &[u8]) -> Result<RecordBatch, String> {
    let table = Arc::new(Schema::new(table));
    let mut decoder = decoder(&table, options);
    match decoder.decode(message).unwrap() {
        Decoded::Rows(1) => Ok(decoder.flush().unwrap().unwrap().rows),
        Decoded::Bad(reason) => Err(reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_there() {
    let table = || {
        vec![
            field("i32", DataType::Int32),
            field("part", row(vec![field("name", DataType::Utf8)])),
            field("list", list(DataType::Int32)),
            field("counts", map(DataType::Utf8, DataType::Int64)),
            field("color", DataType::Utf8),
        ]
    };
    let read = |options: &Options| {
        let batch = one(table(), options, &[]).unwrap();
        batch.columns().iter().map(|c| c.null_count()).collect::<Vec<_>>()
    };
    assert_eq!(read(&shop()), [0, 1, 1, 1, 0]);
    let mut defaults = shop();
    defaults.set(READ_DEFAULTS, "true");
    assert_eq!(read(&defaults), [0; 5]);

    let old = || vec![field("n", DataType::Int32), field("s", DataType::Utf8), field("kind", DataType::Utf8)];
    let options = options("old.proto", "Old");
    let batch = one(old(), &options, &[8, 1]).unwrap();
    assert!(batch.columns().iter().all(|c| c.null_count() == 1));
    let mut defaults = options.clone();
    defaults.set(READ_DEFAULTS, "true");
    let batch = one(old(), &defaults, &[8, 1]).unwrap();
    assert_eq!(batch.column(0).as_ref(), &Int32Array::from(vec![7]));
    assert_eq!(batch.column(2).as_ref(), &StringArray::from(vec!["B"]));
    assert!(one(old(), &options, &[]).unwrap_err().contains("required"));
}

#[test]
fn what_the_encoding_leaves_open() {
    let number = |bytes: &[u8]| one(vec![field("i32", DataType::Int32)], &shop(), bytes).unwrap();
    // The last of several counts; another wire type is another field.
    assert_eq!(number(&[16, 1, 16, 2, 18, 1, 9]).column(0).as_ref(), &Int32Array::from(vec![2]));
    // A negative number has ten bytes, and only 32 bits of them count.
    let negative = [&[16][..], &[0xFF; 9], &[1]].concat();
    assert_eq!(number(&negative).column(0).as_ref(), &Int32Array::from(vec![-1]));
    // Packed or not, whatever the schema says.
    let list_of = |bytes: &[u8]| one(vec![field("list", list(DataType::Int32))], &shop(), bytes).unwrap();
    assert_eq!(
        list_of(&[0xA8, 1, 1, 0xAA, 1, 2, 2, 3]).column(0).as_list::<i32>().value(0).as_ref(),
        &Int32Array::from(vec![1, 2, 3])
    );
    // A message in two parts is one.
    let part =
        one(vec![field("part", part())], &shop(), &[0xA2, 1, 3, 10, 1, b'a', 0xA2, 1, 9, 17, 0, 0, 0, 0, 0, 0, 0, 0])
            .unwrap();
    let part = part.column(0).as_struct();
    assert_eq!(part.column(0).as_string::<i32>().value(0), "a");
    assert_eq!(part.column(1).as_list::<i32>().value(0).len(), 1);
    // Of a map's entries with one key the last.
    let entry = |n: u8| [0xCA, 1, 5, 10, 1, b'k', 16, n];
    let counts =
        one(vec![field("counts", map(DataType::Utf8, DataType::Int64))], &shop(), &[entry(1), entry(2)].concat())
            .unwrap();
    assert_eq!(counts.column(0).as_map().values().as_ref(), &Int64Array::from(vec![2]));
    // One of several: the last, even if it is no column.
    let left = |bytes: &[u8]| one(vec![field("left", DataType::Utf8)], &shop(), bytes).unwrap();
    assert_eq!(left(&[0xFA, 1, 0, 0xF2, 1, 1, b'x']).column(0).as_string::<i32>().value(0), "x");
    assert_eq!(left(&[0xF2, 1, 1, b'x', 0xFA, 1, 0]).column(0).as_string::<i32>().value(0), "");
    // Numbers without a name.
    let color =
        one(vec![field("color", DataType::Utf8), field("number", DataType::Int32)], &shop(), &[0x80, 1, 9, 0x88, 1, 9])
            .unwrap();
    assert_eq!(color.column(0).as_string::<i32>().value(0), "UNRECOGNIZED");
    assert_eq!(color.column(1).as_ref(), &Int32Array::from(vec![9]));
    let kind = one(vec![field("kind", DataType::Utf8)], &options("old.proto", "Old"), &[8, 1, 32, 9]).unwrap();
    assert_eq!(kind.column(0).null_count(), 1);
    // Groups that nobody knows are read over.
    assert_eq!(number(&[0x1B, 0x23, 0x08, 1, 0x24, 0x1C, 16, 5]).column(0).as_ref(), &Int32Array::from(vec![5]));
}

#[test]
fn hostile_messages_are_bounded() {
    let fails = |bytes: &[u8]| one(vec![field("part", part())], &shop(), bytes).unwrap_err();
    assert!(fails(&[0xA2, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]).contains("should follow"));
    assert!(fails(&[0x1B; 5000]).contains("deep"));
    assert!(fails(&[0x1B]).contains("number"));
    assert!(fails(&[0x1B, 0x24]).contains("another group"));
    assert!(fails(&[0x1C]).contains("not begun"));
    assert!(fails(&[0]).contains("begins no field"));
    assert!(fails(&[0x0F]).contains("wire type 7"));
    assert!(fails(&[0xFF; 20]).contains("number"));
    assert!(fails(&[0xA2, 1, 2, 10, 1]).contains("'part'"));
    // As deep as it likes where no column is.
    let mut deep = Vec::new();
    for _ in 0..2000 {
        let mut out = Vec::new();
        wire::put_tag(3, 2, &mut out);
        wire::put_varint(deep.len() as u64, &mut out);
        out.extend_from_slice(&deep);
        deep = out;
    }
    let mut message = Vec::new();
    wire::put_tag(20, 2, &mut message);
    wire::put_varint(deep.len() as u64, &mut message);
    message.extend_from_slice(&deep);
    assert!(one(vec![field("part", part())], &shop(), &message).is_ok());
    assert!(one(vec![field("text", DataType::Utf8)], &shop(), &[0x72, 1, 0xFF]).unwrap_err().contains("UTF-8"));
}

#[test]
fn nulls_within_arrays_and_maps() {
    let table = Arc::new(Schema::new(vec![field("texts", list(DataType::Utf8)), field("list", list(DataType::Int32))]));
    let mut texts = ListBuilder::new(StringBuilder::new());
    texts.append_value([Some("a"), None]);
    let mut numbers = ListBuilder::new(Int32Builder::new());
    numbers.append_value([None, Some(5)]);
    let columns: Vec<ArrayRef> = vec![Arc::new(texts.finish()), Arc::new(numbers.finish())];
    let rows = RecordBatch::try_new(table, columns).unwrap();
    let mut options = shop();
    options.set(NULL_TEXT, "-");
    let written = encode(&rows, &options);
    let message = DynamicMessage::decode(schema::message(&options).unwrap(), written.get(0).unwrap()).unwrap();
    let texts = message.get_field_by_name("texts").unwrap();
    assert_eq!(texts.as_list().unwrap(), [Value::String("a".into()), Value::String("-".into())]);
    assert_eq!(message.get_field_by_name("list").unwrap().as_list().unwrap(), [Value::I32(0), Value::I32(5)]);
}

#[test]
fn schemas_come_from_files() {
    let table = Arc::new(Schema::new(vec![field("x", DataType::Utf8)]));
    for name in ["shop.Order.Inner", "shop.Order$Inner", "com.example.shop.Shop$Order$Inner"] {
        Protobuf.check(&table, &options("shop.proto", name)).unwrap();
    }
    let set = schema::message(&shop()).unwrap().parent_pool().encode_to_vec();
    assert!(DescriptorPool::decode(set.as_slice()).is_ok());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.desc"), &set).unwrap();
    std::fs::write(folder.path().join("bad.desc"), &set[..set.len() - 3]).unwrap();
    let mut from_set = options("shop.proto", "shop.Order.Inner");
    from_set.set(schema::FILE, folder.path().join("shop.desc").to_str().unwrap());
    Protobuf.check(&table, &from_set).unwrap();
    from_set.set(schema::FILE, folder.path().join("bad.desc").to_str().unwrap());
    assert!(Protobuf.check(&table, &from_set).unwrap_err().to_string().contains("descriptor set"));

    let refused = |file: &str, message: &str| Protobuf.check(&table, &options(file, message)).unwrap_err().to_string();
    assert!(refused("shop.proto", "shop.Odrer").contains("did you mean 'shop.Order'?"));
    assert!(refused("nothing.proto", "shop.Order").contains("nothing.proto"));
    assert!(refused("shop.proto", "shop.Order").contains("no field 'x'"));
    let wrong = Arc::new(Schema::new(vec![field("x", DataType::Int32)]));
    assert!(
        Protobuf.check(&wrong, &options("shop.proto", "shop.Order.Inner")).unwrap_err().to_string().contains("'x'")
    );
}
