//! The format `avro-confluent` against a real schema registry, which `tests/run.sh` starts and names in `MILLSTREAM_TEST_REGISTRY`.

use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream::arrow::datatypes::SchemaRef;
use millstream::change::ChangeBatch;
use millstream::format::message::{Decoded, MessageDecoder, Messages, message_format};
use millstream::table::Options;

/// The options of a subject of this test run alone.
fn options(subject: &str) -> Options {
    let url = std::env::var("MILLSTREAM_TEST_REGISTRY").expect("no schema registry: run the tests by tests/run.sh");
    let mut options = Options::default();
    options.set("avro-confluent.url", url);
    options.set("avro-confluent.subject", format!("{subject}-{}-value", std::process::id()));
    options
}

fn rows(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, c)| (*n, Arc::clone(c), true))).unwrap()
}

async fn encoded(rows: &RecordBatch, options: &Options) -> Messages {
    let mut encoder = message_format("avro-confluent", false).unwrap().encoder(&rows.schema(), options).unwrap();
    encoder.prepare().await.unwrap();
    let mut out = Messages::default();
    encoder.encode(&ChangeBatch::append(rows.clone()), &mut out).unwrap();
    out
}

async fn decoded(decoder: &mut dyn MessageDecoder, message: &[u8]) -> Decoded {
    loop {
        match decoder.decode(message).unwrap() {
            Decoded::Unprepared => decoder.prepare().await.unwrap(),
            decoded => return decoded,
        }
    }
}

fn decoder(schema: &SchemaRef, options: &Options) -> Box<dyn MessageDecoder> {
    message_format("avro-confluent", false).unwrap().decoder(schema, Arc::clone(schema), options).unwrap()
}

#[tokio::test]
async fn schemas_are_registered_and_found() {
    let options = options("orders é");
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let name: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let old = rows(&[("id", Arc::clone(&id))]);
    let new = rows(&[("id", id), ("name", name)]);
    let (first, second, again) =
        (encoded(&old, &options).await, encoded(&new, &options).await, encoded(&new, &options).await);
    // A schema has one number, however often it is registered.
    assert_eq!(second.get(0), again.get(0));
    assert_ne!(first.get(0).unwrap()[..5], second.get(0).unwrap()[..5]);

    // Whoever wrote, the columns are the table's.
    let mut decoder = decoder(&new.schema(), &options);
    for message in first.iter().chain(second.iter()) {
        assert_eq!(decoded(decoder.as_mut(), message.unwrap()).await, Decoded::Rows(1));
    }
    let unknown = decoded(decoder.as_mut(), &[0, 0x7F, 0xFF, 0xFF, 0, 0]).await;
    assert!(matches!(&unknown, Decoded::Bad(reason) if reason.contains("no schema 2147483392")), "{unknown:?}");
    let batch = decoder.flush().unwrap().unwrap().rows;
    assert_eq!(batch.column(0).as_ref(), &Int64Array::from(vec![1, 2, 1, 2]));
    assert_eq!(batch.column(1).as_ref(), &StringArray::from(vec![None, None, Some("a"), None]));
}

#[tokio::test]
async fn a_schema_of_its_own_is_registered() {
    let mut options = options("given");
    let record = r#"{"type":"record","name":"Given","fields":[{"name":"id","type":["long","null"]}]}"#;
    options.set("avro-confluent.schema", record);
    let rows = rows(&[("id", Arc::new(Int64Array::from(vec![Some(7), None])))]);
    let messages = encoded(&rows, &options).await;
    assert_eq!(messages.get(0).unwrap()[5..], [0, 14]);
    assert_eq!(messages.get(1).unwrap()[5..], [2]);
    let mut decoder = decoder(&rows.schema(), &options);
    for message in messages.iter() {
        assert_eq!(decoded(decoder.as_mut(), message.unwrap()).await, Decoded::Rows(1));
    }
    assert_eq!(decoder.flush().unwrap().unwrap().rows, rows);
}
