//! What other writers write is read; a registry is asked.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::format::message::Decoded;

fn table(fields: Vec<Field>) -> SchemaRef {
    Arc::new(ArrowSchema::new(fields))
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// The columns of a table, and a record of them that Flink 2.3 wrote (to a file, whose schema is a union with null around it).
fn written_by_flink() -> (SchemaRef, Vec<u8>) {
    let item = |t| DataType::List(Arc::new(Field::new_list_field(t, true)));
    let y = DataType::Struct(vec![field("z", DataType::Utf8)].into());
    let entry =
        DataType::Struct(vec![Field::new("key", DataType::Utf8, false), field("value", DataType::Int32)].into());
    let table = table(vec![
        Field::new("id", DataType::Int64, false),
        field("b", DataType::Boolean),
        field("i8", DataType::Int8),
        field("i16", DataType::Int16),
        field("i32", DataType::Int32),
        field("f", DataType::Float32),
        field("d", DataType::Float64),
        field("dec", DataType::Decimal128(20, 5)),
        field("s", DataType::Utf8),
        field("bin", DataType::Binary),
        field("dt", DataType::Date32),
        field("t", DataType::Time32(TimeUnit::Millisecond)),
        field("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("l", item(DataType::Int32)),
        field("r", DataType::Struct(vec![field("x", DataType::Int32), field("y", y)].into())),
        field("m", DataType::Map(Arc::new(Field::new("entries", entry, false)), false)),
        field("lr", item(DataType::Struct(vec![Field::new("a", DataType::Int32, false)].into()))),
    ]);
    let hex = "020201020902d80402dfc508020000c03f0200000000000002c0020cf4c58c31a4a7020ac3a9e6bca2020400ff02a29e020280a6992b02\
               f6a1b7e6eb5b02060202020402060002020e0202027a0202026b0212000202020800";
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let bytes = digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap());
    (table, bytes.collect())
}

#[test]
fn a_record_of_flink_there_and_back() {
    let (table, record) = written_by_flink();
    let mut decoder = Avro.decoder(&table, Arc::clone(&table), &Options::default()).unwrap();
    assert_eq!(decoder.decode(&record).unwrap(), Decoded::Rows(1));
    let batch = decoder.flush().unwrap().unwrap();
    let text = crate::format::json::objects(&batch.rows).unwrap();
    let want = r#"{"id":1,"b":true,"i8":-5,"i16":300,"i32":-70000,"f":1.5,"d":-2.25,"dec":-123456789.12345,"s":"é漢","bin":"AP8=",
        "dt":"2020-02-29","t":"12:34:56","ts":"2020-01-01 00:00:00.123","l":[1,2,3],"r":{"x":7,"y":{"z":"z"}},"m":{"k":9},
        "lr":[{"a":4}]}"#;
    assert_eq!(text.value(0), want.replace("\n        ", ""));

    let mut out = Messages::default();
    Avro.encoder(&table, &Options::default()).unwrap().encode(&batch, &mut out).unwrap();
    assert_eq!(out.get(0).unwrap(), record);
}

/// The file that the record above is from.
const FLINKS_FILE: &[u8] = include_bytes!("tests/flink.avro");

fn read_file(bytes: &[u8], table: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut reader = FileFormat::reader(&Avro, file, table, Arc::clone(table), &Options::default())?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next()? {
        batches.push(batch.rows);
    }
    assert!(reader.position() <= bytes.len() as u64);
    Ok(batches)
}

#[test]
fn a_file_of_flink() {
    let (table, record) = written_by_flink();
    let mut decoder = Avro.decoder(&table, Arc::clone(&table), &Options::default()).unwrap();
    decoder.decode(&record).unwrap();
    assert_eq!(read_file(FLINKS_FILE, &table).unwrap(), [decoder.flush().unwrap().unwrap().rows]);
}

#[test]
fn damaged_files_are_errors() {
    let (table, _) = written_by_flink();
    let r = &mut Xoshiro256PlusPlus::seed_from_u64(crate::format::conformance::seed());
    let header = FLINKS_FILE.len() - 16 - 90 - 3;
    for end in 0..FLINKS_FILE.len() {
        // Without its blocks it is a file without rows.
        assert!(end == header || read_file(&FLINKS_FILE[..end], &table).is_err(), "{end}");
    }
    for _ in 0..2000 {
        let mut bytes = FLINKS_FILE.to_vec();
        for _ in 0..r.random_range(1..4) {
            let at = r.random_range(0..bytes.len());
            bytes[at] = r.random();
        }
        drop(read_file(&bytes, &table));
    }
    let mut packed = Vec::new();
    for codec in ["deflate", "snappy"] {
        let mut options = Options::default();
        options.set(CODEC, codec);
        let rows = read_file(FLINKS_FILE, &table).unwrap().remove(0);
        let file = tempfile::tempfile().unwrap();
        let mut writer = FileFormat::writer(&Avro, file, &table, &options).unwrap();
        writer.write(&ChangeBatch::append(rows.clone())).unwrap();
        let mut file = writer.finish().unwrap();
        packed.clear();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut packed).unwrap();
        assert_eq!(read_file(&packed, &table).unwrap(), [rows]);
        for at in packed.len() - 60..packed.len() {
            let mut bytes = packed.clone();
            bytes[at] ^= 1 << r.random_range(0..8);
            assert!(read_file(&bytes, &table).is_err() || codec == "deflate", "{codec}, {at}");
        }
    }
}

#[test]
fn every_cut_of_a_record_is_bad() {
    let (table, record) = written_by_flink();
    let mut decoder = Avro.decoder(&table, Arc::clone(&table), &Options::default()).unwrap();
    for end in 0..record.len() {
        assert!(matches!(decoder.decode(&record[..end]).unwrap(), Decoded::Bad(_)), "{end}");
    }
    let longer = [record.as_slice(), &[0]].concat();
    assert!(matches!(decoder.decode(&longer).unwrap(), Decoded::Bad(_)));
    assert!(decoder.flush().unwrap().is_none());
}

/// Reads one record by a writer's schema.
fn resolved(schema: &str, columns: &SchemaRef, bytes: &[u8]) -> Result<RecordBatch, String> {
    let plan = Plan::new(Schema::parse(schema)?, columns.fields())?;
    let mut row = RowColumn::new(columns.fields()).unwrap();
    let mut reader = Reader::new(bytes);
    plan.read(&mut row, &mut reader)?;
    assert!(reader.is_at_end());
    Ok(row.finish_batch(columns, 1).unwrap())
}

#[test]
fn writers_have_other_schemas() {
    let columns = table(vec![
        field("d", DataType::Float64),
        field("t", DataType::Timestamp(TimeUnit::Microsecond, None)),
        field("e", DataType::Utf8),
        field("new", DataType::Int32),
        field("n", DataType::Int16),
    ]);
    let schema = r#"{"type":"record","name":"w","fields":[
        {"name":"gone","type":{"type":"array","items":{"type":"map","values":"string"}}},
        {"name":"n","type":"long"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
        {"name":"d","type":["float","null"]},
        {"name":"tree","type":["null","w"]},
        {"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#;
    let bytes = |n: u8, symbol: u8| {
        let gone: &[u8] = &[1, 10, 2, 2, b'k', 2, b'v', 0, 0];
        [gone, &[n, symbol, 0, 0, 0, 0xC0, 0x3F, 0, 3]].concat()
    };
    let batch = resolved(schema, &columns, &bytes(8, 2)).unwrap();
    assert_eq!(batch.column(0).as_ref(), &Float64Array::from(vec![1.5]));
    assert_eq!(batch.column(1).as_ref(), &TimestampMicrosecondArray::from(vec![-2000]));
    assert_eq!(batch.column(2).as_ref(), &StringArray::from(vec!["B"]));
    assert_eq!(batch.column(3).null_count(), 1);
    assert_eq!(batch.column(4).as_ref(), &Int16Array::from(vec![4]));
    assert!(resolved(schema, &columns, &bytes(8, 4)).unwrap_err().contains("symbol 2"));

    let required = table(vec![Field::new("new", DataType::Int32, false)]);
    assert!(resolved(schema, &required, &bytes(8, 2)).unwrap_err().contains("NOT NULL"));
    let other = table(vec![field("gone", DataType::Int32)]);
    assert!(resolved(schema, &other, &bytes(8, 2)).unwrap_err().contains("an array was written"));
}

#[test]
fn hostile_records_are_bounded() {
    let columns = table(vec![field("n", DataType::Int64)]);
    // A type that holds itself without end.
    let endless = r#"{"type":"record","name":"w","fields":[{"name":"n","type":"long"},{"name":"w","type":"w"}]}"#;
    assert!(resolved(endless, &columns, &[0; 4000]).unwrap_err().contains("deep"));
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Null, true)));
    let nulls = table(vec![field("a", list)]);
    let many = r#"{"type":"record","name":"w","fields":[{"name":"a","type":{"type":"array","items":"null"}}]}"#;
    for count in [&[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1][..], &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F]] {
        assert!(resolved(many, &nulls, count).unwrap_err().contains("so few bytes"));
    }
    assert!(resolved(many, &nulls, &[0xFF; 30]).is_err());
    let text = r#"{"type":"record","name":"w","fields":[{"name":"n","type":"bytes"}]}"#;
    assert!(resolved(text, &columns, &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]).is_err());
    // More decimal digits than any number has.
    let decimals = table(vec![field("n", DataType::Decimal128(38, 0))]);
    let decimal = r#"{"type":"record","name":"w","fields":[{"name":"n","type":
        {"type":"bytes","logicalType":"decimal","precision":38,"scale":0}}]}"#;
    assert!(resolved(decimal, &decimals, &[&[40][..], &[1; 20]].concat()).unwrap_err().contains("digits"));
    assert_eq!(
        resolved(decimal, &decimals, &[&[40][..], &[0xFF; 20]].concat()).unwrap().column(0).as_ref(),
        &Decimal128Array::from(vec![-1]).with_precision_and_scale(38, 0).unwrap()
    );
}

/// What a registry on loopback holds, and what it was asked.
#[derive(Default)]
struct Held {
    schemas: Mutex<Vec<String>>,
    asked: Mutex<Vec<String>>,
    /// How many requests it still answers with an error of its own.
    failures: Mutex<u32>,
}

/// Answers as Confluent's registry does, as far as this crate asks; gives its address.
fn registry(held: Arc<Held>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (head, body) = request(&mut stream);
            let answer = answer(&held, head.lines().next().unwrap_or_default(), &body);
            held.asked.lock().unwrap().push(head);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    format!("http://{address}")
}

fn request(stream: &mut TcpStream) -> (String, String) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let fields = head.lines().filter_map(|l| l.split_once(": "));
            let length = fields.into_iter().find(|(k, _)| k.eq_ignore_ascii_case("content-length"));
            if body.len() >= length.map_or(0, |(_, n)| n.parse().unwrap()) {
                return (head.to_owned(), body.to_owned());
            }
        }
        match stream.read(&mut chunk).unwrap() {
            0 => return Default::default(),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

fn answer(held: &Held, line: &str, body: &str) -> String {
    let reply = |status: &str, body: serde_json::Value| {
        let body = body.to_string();
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let mut failures = held.failures.lock().unwrap();
    if *failures > 0 {
        *failures -= 1;
        return reply("503 Service Unavailable", serde_json::json!({"message": "busy"}));
    }
    let mut schemas = held.schemas.lock().unwrap();
    match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["GET", path, _] if path.starts_with("/schemas/ids/") => {
            let id: usize = path.trim_start_matches("/schemas/ids/").parse().unwrap();
            match schemas.get(id) {
                Some(schema) => reply("200 OK", serde_json::json!({"schema": schema})),
                None => reply("404 Not Found", serde_json::json!({"error_code": 40403, "message": "Schema not found"})),
            }
        }
        ["POST", "/subjects/a%20b-value/versions", _] => {
            let asked: HashMap<String, String> = serde_json::from_str(body).unwrap();
            schemas.push(asked["schema"].clone());
            reply("200 OK", serde_json::json!({"id": schemas.len() - 1}))
        }
        _ => reply("409 Conflict", serde_json::json!({"error_code": 409, "message": "incompatible"})),
    }
}

fn options(url: &str) -> Options {
    let mut options = Options::default();
    options.set("avro-confluent.url", url);
    options.set("avro-confluent.subject", "a b-value");
    options
}

async fn decode(decoder: &mut dyn MessageDecoder, message: &[u8]) -> Decoded {
    match decoder.decode(message).unwrap() {
        Decoded::Unprepared => {
            decoder.prepare().await.unwrap();
            decoder.decode(message).unwrap()
        }
        decoded => decoded,
    }
}

#[tokio::test]
async fn a_registry_is_asked_once_for_each_schema() {
    let held = Arc::new(Held::default());
    let url = registry(Arc::clone(&held));
    let old = r#"["null",{"type":"record","name":"o","fields":[{"name":"s","type":"string"}]}]"#;
    held.schemas.lock().unwrap().extend([old.to_owned(), "\"int\"".to_owned()]);
    *held.failures.lock().unwrap() = 2;

    let (table, record) = written_by_flink();
    let mut options = options(&url);
    options.set("avro-confluent.basic-auth.user-info", "me:secret");
    AvroConfluent.check(&table, &options).unwrap();
    let mut first = Avro.decoder(&table, Arc::clone(&table), &Options::default()).unwrap();
    first.decode(&record).unwrap();
    let rows = first.flush().unwrap().unwrap();

    let mut encoder = AvroConfluent.encoder(&table, &options).unwrap();
    let mut out = Messages::default();
    assert!(encoder.encode(&rows, &mut out).is_err());
    encoder.prepare().await.unwrap();
    encoder.encode(&rows, &mut out).unwrap();
    let message = out.get(0).unwrap();
    assert_eq!(message, [&[0, 0, 0, 0, 2][..], &record].concat());

    let projection = Arc::new(table.project(&[8, 13]).unwrap());
    let columns = Arc::new(ArrowSchema::new(vec![field("s", DataType::Utf8), projection.field(1).clone()]));
    let mut decoder = AvroConfluent.decoder(&table, Arc::clone(&columns), &options).unwrap();
    for _ in 0..3 {
        assert_eq!(decode(decoder.as_mut(), message).await, Decoded::Rows(1));
        assert_eq!(decode(decoder.as_mut(), &[0, 0, 0, 0, 0, 2, 2, b'x']).await, Decoded::Rows(1));
        for (bad, why) in [
            (&[0u8, 0, 0, 0, 9, 1][..], "no schema 9"),
            (&[0, 0, 0, 0, 1, 2], "no record"),
            (&[1, 0, 0, 0, 0], "number"),
        ] {
            let outcome = decode(decoder.as_mut(), bad).await;
            assert!(matches!(&outcome, Decoded::Bad(reason) if reason.contains(why)), "{outcome:?}");
        }
    }
    let batch = decoder.flush().unwrap().unwrap().rows;
    assert_eq!(batch.column(0).as_ref(), &StringArray::from(["é漢", "x"].repeat(3)));
    assert_eq!(batch.column(1).null_count(), 3);
    let asked = held.asked.lock().unwrap();
    // Two that failed, one to register, and one for each of the four numbers.
    assert_eq!(asked.len(), 7, "{asked:?}");
    assert!(asked.iter().all(|head| head.to_lowercase().contains("authorization: basic bwu6c2vjcmv0")));
}

#[tokio::test]
async fn a_registry_that_refuses_or_is_not_there() {
    let url = registry(Arc::new(Held::default()));
    let (table, _) = written_by_flink();
    let mut other = options(&url);
    other.set("avro-confluent.subject", "other");
    let error = AvroConfluent.encoder(&table, &other).unwrap().prepare().await.unwrap_err().to_string();
    assert!(error.contains("409") && error.contains("incompatible"), "{error}");
    for wrong in ["", "ftp://x", "nowhere"] {
        assert!(AvroConfluent.check(&table, &options(wrong)).is_err());
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = options(&format!("http://{gone}"));
    let error = AvroConfluent.encoder(&table, &nobody).unwrap().prepare().await.unwrap_err().to_string();
    assert!(error.contains("attempts"), "{error}");
    // With another address beside, that one is asked.
    let both = options(&format!("http://{gone}, {url}"));
    AvroConfluent.encoder(&table, &both).unwrap().prepare().await.unwrap();
}

#[test]
fn a_schema_given_must_go_with_the_table() {
    let table = table(vec![field("a", DataType::Int32)]);
    let mut given = options("http://127.0.0.1:1");
    given
        .set("avro-confluent.schema", r#"{"type":"record","name":"x","fields":[{"name":"a","type":["null","long"]}]}"#);
    AvroConfluent.check(&table, &given).unwrap();
    given
        .set("avro-confluent.schema", r#"{"type":"record","name":"x","fields":[{"name":"b","type":["null","long"]}]}"#);
    assert!(AvroConfluent.check(&table, &given).unwrap_err().to_string().contains("'b'"));
}
