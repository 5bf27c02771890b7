//! `upsert-kafka`, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream::Engine;
use millstream::change::{ChangeBatch, RowKind};

use super::broker::{self, produce};
use super::{answer, connector, insert, sorted};

fn upsert(name: &str, columns: &str, topic: &str, options: &[(&str, &str)]) -> String {
    let formats = [("key.format", "json"), ("value.format", "json")];
    let all = [&formats[..], options].concat();
    format!(
        "CREATE TABLE {name} ({columns}, PRIMARY KEY (k) NOT ENFORCED) WITH ({})",
        connector("upsert-kafka", topic, &all)
    )
}

#[test]
fn keyed_messages_are_a_table() {
    let topic = broker::topic("upsert", 2);
    let (one, two) = (Some(r#"{"k":1}"#), Some(r#"{"k":2}"#));
    produce(
        &topic,
        &[
            (0, one, Some(r#"{"k":1,"v":"a","n":1}"#)),
            (1, two, Some(r#"{"k":2,"v":"b","n":2}"#)),
            (0, one, Some(r#"{"k":1,"v":"c","n":3}"#)),
            (1, two, None),
            (1, two, Some(r#"{"k":2,"v":"d","n":4}"#)),
            (0, Some(r#"{"k":3}"#), Some(r#"{"k":3,"v":"e","n":5}"#)),
            (0, Some(r#"{"k":3}"#), None),
            (0, Some(r#"{"k":4}"#), None),
        ],
    );
    let mut engine = Engine::new().unwrap();
    let bounded = [("scan.bounded.mode", "latest-offset")];
    engine.execute(&upsert("t", "k INT, v STRING, n BIGINT NOT NULL", &topic, &bounded)).unwrap();
    let mut table = BTreeMap::<String, i64>::new();
    for line in answer(&mut engine, "SELECT k, v, n FROM t").unwrap() {
        let (kind, row) = line.split_at(2);
        *table.entry(row.to_owned()).or_default() += if kind.starts_with('+') { 1 } else { -1 };
    }
    let left: Vec<String> = table.into_iter().filter(|(_, count)| *count != 0).map(|(row, _)| row).collect();
    assert_eq!(left, ["[1, c, 3]", "[2, d, 4]"]);
    let sum = answer(&mut engine, "SELECT SUM(n) FROM t").unwrap();
    assert!(sum.last().unwrap().ends_with("[7]"), "{sum:?}");
}

#[test]
fn the_last_change_of_a_key_is_written_and_nothing_takes_it_away() {
    let (from, to) = (broker::topic("upsert-in", 1), broker::topic("upsert-out", 3));
    let row = |k: i32, g: &str| (format!(r#"{{"k":{k}}}"#), format!(r#"{{"k":{k},"g":"{g}"}}"#));
    let rows = [row(1, "a"), row(2, "a"), row(3, "b")];
    let mut messages: Vec<broker::Sent<'_>> =
        rows.iter().map(|(k, v)| (0, Some(k.as_str()), Some(v.as_str()))).collect();
    messages.push((0, Some(r#"{"k":3}"#), None));
    produce(&from, &messages);
    let mut engine = Engine::new().unwrap();
    engine.execute(&upsert("f", "k INT, g STRING", &from, &[("scan.bounded.mode", "latest-offset")])).unwrap();
    let bounded = [("scan.bounded.mode", "latest-offset"), ("value.fields-include", "EXCEPT_KEY")];
    engine.execute(&upsert("o", "k STRING, c BIGINT", &to, &bounded)).unwrap();
    insert(&mut engine, "INSERT INTO o SELECT g, COUNT(*) FROM f GROUP BY g").unwrap();
    let mut last = BTreeMap::new();
    for found in broker::read(&to) {
        last.insert(found.key.unwrap(), found.value);
    }
    assert_eq!(last.get(r#"{"k":"a"}"#), Some(&Some(r#"{"c":2}"#.to_owned())), "{last:?}");
    assert!(last.get(r#"{"k":"b"}"#).is_none_or(Option::is_none), "{last:?}");
    // And back.
    let lines = answer(&mut engine, "SELECT k, c FROM o").unwrap();
    assert!(sorted(lines).contains(&"+I[a, 2]".to_owned()));
}

#[test]
fn a_row_that_goes_leaves_a_message_without_value() {
    let topic = broker::topic("tombstones", 1);
    let mut engine = Engine::new().unwrap();
    engine.execute(&upsert("o", "k STRING, c BIGINT", &topic, &[])).unwrap();
    engine
        .execute(
            "CREATE TABLE i (k STRING, c BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'channel', \
                    'changelog.mode' = 'upsert')",
        )
        .unwrap();
    let input = engine.input("i").unwrap();
    let job = engine.run("INSERT INTO o SELECT k, c FROM i", |_, _| Ok(())).unwrap().unwrap();
    for (kind, c, messages) in [(RowKind::Insert, 1, 1), (RowKind::UpdateAfter, 2, 2), (RowKind::Delete, 2, 3)] {
        let (k, c): (ArrayRef, ArrayRef) =
            (Arc::new(StringArray::from(vec!["x"])), Arc::new(Int64Array::from(vec![c])));
        let rows = RecordBatch::try_from_iter_with_nullable([("k", k, false), ("c", c, true)]).unwrap();
        input.blocking_push_changes(ChangeBatch { rows, kinds: Some([kind].into()), watermarks: None }).unwrap();
        broker::until("the change has been written", || broker::read(&topic).len() == messages);
    }
    drop(input);
    engine.block_on(job.wait()).unwrap();
    let found: Vec<_> = broker::read(&topic).into_iter().map(|f| (f.key.unwrap(), f.value)).collect();
    let key = r#"{"k":"x"}"#.to_owned();
    let row = |c: i32| Some(format!(r#"{{"k":"x","c":{c}}}"#));
    assert_eq!(found, [(key.clone(), row(1)), (key.clone(), row(2)), (key, None)]);
}
