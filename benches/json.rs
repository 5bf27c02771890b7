//! Decoding JSON lines: ours beside arrow-json's own reader, over the same bytes in memory.
//!
//! `cargo bench --bench json` prints, for each round and in the median, MB/s and nanoseconds a row.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::json::ReaderBuilder;
use millstream::connector::Options;
use millstream::format::json::Json;
use millstream::format::{BATCH_ROWS, RecordFormat};

const ROWS: u64 = 500_000;
const ROUNDS: usize = 7;
const BLOCK: usize = 1 << 20;

fn main() {
    let bytes = bids();
    println!("{ROWS} bids, {:.1} MB, batches of {BATCH_ROWS}, {ROUNDS} rounds", bytes.len() as f64 / 1e6);
    let all = schema();
    compare("all columns", &bytes, &all);
    let some = Arc::new(all.project(&[0, 2, 5]).expect("columns of the schema"));
    compare("three columns", &bytes, &some);
}

/// Lines as a generator of auctions' bids writes them.
fn bids() -> Vec<u8> {
    let mut out = Vec::new();
    let mut state = 42u64;
    for i in 0..ROWS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (auction, bidder, price) =
            (1000 + state % 10_007, 1000 + (state >> 20) % 50_021, 100 + (state >> 40) % 9_999_900);
        let (minute, second, milli) = (i / 60_000 % 60, i / 1000 % 60, i % 1000);
        let channel = ["Google", "Facebook", "Baidu", "Apple", "channel-4711"][(state >> 33) as usize % 5];
        writeln!(
            out,
            "{{\"auction\":{auction},\"bidder\":{bidder},\"price\":{price},\"channel\":\"{channel}\",\
             \"url\":\"https://www.nexmark.com/aqw/xyz/item.htm?query=1&channel_id={bidder}\",\
             \"date_time\":\"2020-01-01 00:{minute:02}:{second:02}.{milli:03}\",\"extra\":\"{state:x}{auction:x}{price:x}\"}}"
        )
        .expect("writing to memory");
    }
    out
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("auction", DataType::Int64, true),
        Field::new("bidder", DataType::Int64, true),
        Field::new("price", DataType::Int64, true),
        Field::new("channel", DataType::Utf8, true),
        Field::new("url", DataType::Utf8, true),
        Field::new("date_time", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("extra", DataType::Utf8, true),
    ]))
}

fn compare(what: &str, bytes: &[u8], schema: &SchemaRef) {
    assert_eq!(ours(bytes, schema), theirs(bytes, schema), "the two read different rows");
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        // Alternating which goes first evens out what one leaves behind for the other.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let start = std::time::Instant::now();
            let batches = if which == 0 { ours(bytes, schema) } else { theirs(bytes, schema) };
            times[which].push(start.elapsed().as_secs_f64());
            black_box(batches);
        }
    }
    println!("\n{what}");
    let [ours, theirs] = times.map(median);
    for (name, seconds) in [("millstream", ours), ("arrow-json", theirs)] {
        let rate = bytes.len() as f64 / 1e6 / seconds;
        println!("  {name:<11} {rate:8.1} MB/s  {:7.1} ns/row", seconds * 1e9 / ROWS as f64);
    }
    println!("  ratio       {:8.2}", theirs / ours);
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn ours(bytes: &[u8], schema: &SchemaRef) -> Vec<RecordBatch> {
    let mut decoder = Json.decoder(schema, Arc::clone(schema), &Options::default()).expect("a decoder");
    let mut batches = Vec::new();
    for mut block in bytes.chunks(BLOCK) {
        loop {
            let taken = decoder.decode(block).expect("good records");
            block = &block[taken..];
            if block.is_empty() {
                break;
            }
            batches.extend(decoder.flush().expect("rows").map(|changes| changes.rows));
        }
    }
    batches.extend(decoder.flush().expect("rows").map(|changes| changes.rows));
    decoder.finish().expect("good records");
    batches.extend(decoder.flush().expect("rows").map(|changes| changes.rows));
    batches
}

fn theirs(bytes: &[u8], schema: &SchemaRef) -> Vec<RecordBatch> {
    let reader = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(BATCH_ROWS).build(bytes).expect("a reader");
    reader.collect::<Result<_, _>>().expect("good records")
}
