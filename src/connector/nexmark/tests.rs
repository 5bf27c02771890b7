use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::*;

use super::*;

fn field(name: &str) -> Field {
    let text = ["name", "emailAddress", "creditCard", "city", "state", "itemName", "description", "channel", "url"];
    let data_type = match name {
        "dateTime" | "expires" => DataType::Timestamp(TimeUnit::Millisecond, None),
        "extra" => DataType::Utf8,
        _ if text.contains(&name) => DataType::Utf8,
        _ => DataType::Int64,
    };
    Field::new(name, data_type, true)
}

fn flat(kind: EventKind) -> Vec<Field> {
    kind.fields().iter().map(|f| field(f)).collect()
}

fn row(name: &str, fields: Vec<Field>) -> Field {
    Field::new(name, DataType::Struct(fields.into()), true)
}

fn full() -> SchemaRef {
    let kinds = [("person", EventKind::Person), ("auction", EventKind::Auction), ("bid", EventKind::Bid)];
    let mut fields = vec![Field::new("event_type", DataType::Int32, true)];
    fields.extend(kinds.map(|(name, kind)| row(name, flat(kind))));
    Arc::new(Schema::new(fields))
}

fn all(config: &NexmarkConfig, only: Option<EventKind>, schema: SchemaRef, events: u64, cut: usize) -> RecordBatch {
    let mut generator = Generator::new(config, only, Arc::clone(&schema), 0..events).unwrap();
    let mut batches = Vec::new();
    loop {
        let batch = generator.batch(cut).unwrap();
        if batch.num_rows() == 0 {
            return concat_batches(&schema, &batches).unwrap();
        }
        batches.push(batch);
    }
}

fn bids(config: &NexmarkConfig, events: u64) -> RecordBatch {
    all(config, Some(EventKind::Bid), Arc::new(Schema::new(flat(EventKind::Bid))), events, 8192)
}

fn longs<'a>(batch: &'a RecordBatch, name: &str) -> &'a [i64] {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values()
}

#[test]
fn the_cut_into_batches_does_not_matter() {
    let config = NexmarkConfig { seed: 7, out_of_order: 50, ..Default::default() };
    let whole = all(&config, None, full(), 5000, 5000);
    assert_eq!(whole.num_rows(), 5000);
    for cut in [1, 49, 50, 1023] {
        assert_eq!(all(&config, None, full(), 5000, cut), whole);
    }
    let mut tail = Generator::new(&config, None, full(), 4321..5000).unwrap();
    assert_eq!(tail.batch(10_000).unwrap(), whole.slice(4321, 679));
}

#[test]
fn the_seed_matters() {
    let of = |seed| all(&NexmarkConfig { seed, ..Default::default() }, None, full(), 1000, 100);
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn kinds_come_in_their_proportions_and_are_null_elsewhere() {
    let batch = all(&NexmarkConfig::default(), None, full(), 5000, 8192);
    let types = batch.column(0).as_primitive::<Int32Type>().values();
    for (column, count) in [(1, 100), (2, 300), (3, 4600)] {
        assert_eq!(types.iter().filter(|t| **t == column - 1).count(), count);
        let rows = batch.column(column as usize);
        assert!((0..5000).all(|i| rows.is_valid(i) == (types[i] == column - 1)));
        assert!(rows.as_struct().columns().iter().all(|c| c.null_count() == 5000 - count));
    }
}

#[test]
fn a_table_of_one_kind_holds_the_same_events() {
    let config = NexmarkConfig { seed: 3, ..Default::default() };
    let whole = all(&config, None, full(), 3000, 8192);
    for (column, kind) in [(1, EventKind::Person), (2, EventKind::Auction), (3, EventKind::Bid)] {
        let schema = Arc::new(Schema::new(flat(kind)));
        let rows: &StructArray = whole.column(column).as_struct();
        let wanted = RecordBatch::try_new(Arc::clone(&schema), rows.columns().to_vec()).unwrap();
        let there = arrow::compute::is_not_null(rows).unwrap();
        let wanted = filter_record_batch(&wanted, &there).unwrap();
        assert_eq!(all(&config, Some(kind), schema, 3000, 77), wanted);
    }
}

#[test]
fn a_projection_gives_what_the_whole_gives() {
    let config = NexmarkConfig { seed: 11, ..Default::default() };
    let whole = all(&config, None, full(), 2000, 8192);
    for (column, name) in [(1, "person"), (2, "auction"), (3, "bid")] {
        let rows = whole.column(column).as_struct();
        for f in rows.fields() {
            let schema = Arc::new(Schema::new(vec![row(name, vec![f.as_ref().clone()])]));
            let part = all(&config, None, schema, 2000, 333);
            let made = part.column(0).as_struct().column(0).to_data();
            assert_eq!(made, rows.column_by_name(f.name()).unwrap().to_data(), "{name}.{}", f.name());
        }
    }
    assert_eq!(all(&config, None, Arc::new(Schema::empty()), 2000, 333).num_rows(), 2000);
}

#[test]
fn ids_stay_near_the_newest() {
    let batch = bids(&NexmarkConfig::default(), 100_000);
    for (i, (auction, bidder)) in longs(&batch, "auction").iter().zip(longs(&batch, "bidder")).enumerate() {
        let cycle = i as i64 / 46;
        let (newest_auction, newest_person) = (1000 + cycle * 3 + 2, 1000 + cycle);
        assert!((newest_auction - 100..=newest_auction + 10).contains(auction), "{auction} at bid {i}");
        assert!((newest_person - 1009..=newest_person + 10).contains(bidder), "{bidder} at bid {i}");
        assert!(*auction >= 1000 && *bidder >= 1000);
    }
    let schema = Arc::new(Schema::new(flat(EventKind::Person)));
    let persons = all(&NexmarkConfig::default(), Some(EventKind::Person), schema, 10_000, 64);
    assert!(longs(&persons, "id").iter().copied().eq(1000..1200));
}

#[test]
fn hot_ids_get_their_share() {
    let batch = bids(&NexmarkConfig::default(), 200_000);
    let share = |name: &str, remainder: i64| {
        let values = longs(&batch, name);
        values.iter().filter(|v| *v % 100 == remainder).count() as f64 / values.len() as f64
    };
    assert!((0.48..0.53).contains(&share("auction", 0)), "{}", share("auction", 0));
    assert!((0.73..0.78).contains(&share("bidder", 1)), "{}", share("bidder", 1));
}

#[test]
fn prices_are_even_over_six_decades() {
    let batch = bids(&NexmarkConfig::default(), 100_000);
    let prices = longs(&batch, "price");
    for decade in 2..8 {
        let (from, to) = (10i64.pow(decade), 10i64.pow(decade + 1));
        let share = prices.iter().filter(|p| (from..to).contains(p)).count() as f64 / prices.len() as f64;
        assert!((share - 1.0 / 6.0).abs() < 0.01, "{share} from {from}");
    }
    assert!(prices.iter().all(|p| (100..=100_000_000).contains(p)));
}

#[test]
fn texts_look_as_they_should() {
    let batch = bids(&NexmarkConfig::default(), 20_000);
    let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
    let (channels, urls, extras) = (text("channel"), text("url"), text("extra"));
    let hot = channels.iter().flatten().filter(|c| ["Google", "Facebook", "Baidu", "Apple"].contains(c)).count();
    assert!((0.48..0.52).contains(&(hot as f64 / batch.num_rows() as f64)));
    assert!(
        urls.iter().flatten().all(|u| u.starts_with("https://www.nexmark.com/") && u.contains("/item.htm?query=1"))
    );
    let told = urls.iter().flatten().filter(|u| u.contains("&channel_id=")).count() as f64 / batch.num_rows() as f64;
    assert!((0.43..0.47).contains(&told), "{told}");
    let length = extras.iter().flatten().map(str::len).sum::<usize>() as f64 / batch.num_rows() as f64;
    assert!((67.0..69.0).contains(&length), "{length}");
}

#[test]
fn times_follow_the_rate_and_the_disorder_its_bound() {
    let config = NexmarkConfig { rate: 3, base_time: 1000, out_of_order: 700, ..Default::default() };
    let schema = Arc::new(Schema::new(vec![row("bid", vec![field("dateTime")])]));
    let batch = all(&config, None, schema, 500, 64);
    let times = batch.column(0).as_struct().column(0).as_primitive::<TimestampMillisecondType>().clone();
    let mut early = 0;
    for (n, time) in times.iter().enumerate() {
        let (turn, Some(time)) = (1000 + n as i64 * 1000 / 3, time) else { continue };
        assert!((turn - 700..=turn).contains(&time), "event {n} at {time}");
        early += usize::from(time < turn);
    }
    assert!(early > 400);
}

fn table(schema: SchemaRef, options: &[(&str, &str)]) -> TableDescriptor {
    let mut with = Options::default();
    options.iter().for_each(|(k, v)| with.set(*k, *v));
    TableDescriptor {
        name: "n".into(),
        schema,
        metadata: Vec::new(),
        options: with,
        partition_keys: Vec::new(),
        primary_key: Vec::new(),
    }
}

#[tokio::test]
async fn a_source_ends_after_its_events() {
    let table = table(full(), &[("events.num", "20000"), ("stop-at", "10000")]);
    table.options.check(&Nexmark.options(&table.options)).unwrap();
    assert!(Nexmark.is_bounded(&table) && Nexmark.check(&table).is_ok());
    let mut source = Nexmark.source(&table, full()).unwrap();
    let mut rows = 0;
    while let Some(batch) = source.next().await.unwrap() {
        rows += batch.changes.num_rows();
    }
    assert_eq!((rows, source.progress().fraction), (10_000, Some(1.0)));
}

#[tokio::test]
async fn a_limited_source_gives_all_events_of_its_kind() {
    let schema: SchemaRef = Arc::new(Schema::new(flat(EventKind::Person)));
    let options = [("events.num", "1000"), ("table-type", "person"), ("rate.limited", "true")];
    let table = table(Arc::clone(&schema), &[&options[..], &[("first-event.rate", "1000000")]].concat());
    let mut source = Nexmark.source(&table, schema).unwrap();
    let mut rows = 0;
    while let Some(batch) = source.next().await.unwrap() {
        rows += batch.changes.num_rows();
    }
    assert_eq!(rows, 20);
}

#[test]
fn wrong_tables_are_refused() {
    let message = |schema: Vec<Field>, options: &[(&str, &str)]| {
        Nexmark.check(&table(Arc::new(Schema::new(schema)), options)).unwrap_err().to_string()
    };
    assert!(message(vec![field("bids")], &[]).contains("no column 'bids' here"));
    assert!(message(vec![row("bid", vec![field("cost")])], &[]).contains("no column 'cost'"));
    assert!(message(vec![Field::new("bid", DataType::Int64, true)], &[]).contains("must be a ROW"));
    let text = Field::new("price", DataType::Utf8, true);
    assert!(message(vec![text], &[("table-type", "bid")]).contains("'price'"));
    assert!(message(Vec::new(), &[("table-type", "bids")]).contains("expected all, person"));
    assert!(message(Vec::new(), &[("first-event.rate", "0")]).contains("above 0"));
    assert!(message(Vec::new(), &[("events.num", "-1")]).contains("events.num"));
    assert!(message(Vec::new(), &[("base-time", "soon")]).contains("base-time"));
    let none = [("person.proportion", "0"), ("auction.proportion", "0"), ("bid.proportion", "0")];
    assert!(message(Vec::new(), &none).contains("proportions"));
}

#[test]
fn a_kind_that_never_comes_ends_at_once() {
    let config = NexmarkConfig { bids: 0, ..Default::default() };
    assert_eq!(bids(&config, 1000).num_rows(), 0);
    let config = NexmarkConfig { persons: 0, auctions: 0, ..Default::default() };
    assert_eq!(bids(&config, 1000).num_rows(), 1000);
}

#[test]
fn other_precisions_and_base_times_are_taken() {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("dateTime", zoned, true)]));
    let table = table(Arc::clone(&schema), &[("table-type", "person"), ("base-time", "2024-01-01 00:00:01")]);
    let (_, mut generator) = generator(&table, schema).unwrap();
    let batch = generator.batch(1).unwrap();
    assert_eq!(batch.column(0).as_primitive::<TimestampMicrosecondType>().value(0), 1_704_067_201_000_000);
}
