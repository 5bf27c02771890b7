//! Topics that are written.

use std::collections::BTreeMap;

use millstream::Engine;

use super::broker::{self, Found, values};
use super::{insert, sorted, table};

const NUMBERS: &str = "CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence', \
                       'fields.n.start' = '1', 'fields.n.end' = '300')";

#[test]
fn messages_go_to_the_partition_of_their_key_as_with_javas_client() {
    let topic = broker::topic("keyed", 5);
    let mut engine = Engine::new().unwrap();
    let options = [("key.format", "raw"), ("key.fields", "k"), ("format", "csv")];
    engine.execute(&table("t", "k STRING, n INT", &topic, &options)).unwrap();
    engine.execute(NUMBERS).unwrap();
    insert(&mut engine, "INSERT INTO t SELECT CONCAT('key-', CAST(n AS STRING)), n FROM numbers").unwrap();
    let own: BTreeMap<String, i32> =
        broker::read(&topic).into_iter().map(|Found { partition, key, .. }| (key.unwrap(), partition)).collect();
    // KafkaJS has the same partitioner as Java's client.
    let other = broker::topic("keyed", 5);
    let lines: String = own.keys().map(|key| format!("{key}\tx\n")).collect();
    broker::produce_with_kafkajs(&other, &lines);
    let theirs: BTreeMap<String, i32> =
        broker::read(&other).into_iter().map(|Found { partition, key, .. }| (key.unwrap(), partition)).collect();
    assert_eq!(own.len(), 300);
    assert_eq!(own, theirs);
}

#[test]
fn messages_without_a_key_go_where_the_options_say() {
    let mut engine = Engine::new().unwrap();
    engine.execute(NUMBERS).unwrap();
    for (partitioner, wanted) in [("round-robin", vec![100, 100, 100]), ("fixed", vec![300, 0, 0])] {
        let topic = broker::topic("partitioner", 3);
        let name = partitioner.replace('-', "_");
        engine
            .execute(&table(&name, "n INT", &topic, &[("format", "csv"), ("sink.partitioner", partitioner)]))
            .unwrap();
        insert(&mut engine, &format!("INSERT INTO {name} SELECT n FROM numbers")).unwrap();
        let found = broker::read(&topic);
        let count = |partition| found.iter().filter(|f| f.partition == partition).count();
        assert_eq!((0..3).map(count).collect::<Vec<_>>(), wanted, "{partitioner}");
    }
}

#[test]
fn a_changelog_is_written_as_debezium_has_it() {
    let topic = broker::topic("changes", 1);
    let mut engine = Engine::new().unwrap();
    engine.execute(NUMBERS).unwrap();
    engine.execute(&table("t", "k INT, c BIGINT", &topic, &[("format", "debezium-json")])).unwrap();
    insert(&mut engine, "INSERT INTO t SELECT MOD(n, 2), COUNT(*) FROM numbers GROUP BY MOD(n, 2)").unwrap();
    let last = values(&topic);
    let last = sorted(last.into_iter().rev().filter(|v| v.contains("\"op\":\"c\"")).take(2).collect());
    assert!(
        last[0].contains(r#""after":{"k":0,"c":150}"#) && last[1].contains(r#""after":{"k":1,"c":150}"#),
        "{last:?}"
    );
}

#[test]
fn several_topics_are_written_by_their_column() {
    let topics = [broker::topic("by-column", 1), broker::topic("by-column", 1)];
    let mut engine = Engine::new().unwrap();
    engine.execute(NUMBERS).unwrap();
    let columns = "n INT, t STRING METADATA FROM 'topic'";
    engine.execute(&table("t", columns, &topics.join(";"), &[("format", "csv")])).unwrap();
    let query =
        format!("INSERT INTO t SELECT n, CASE WHEN n < 101 THEN '{}' ELSE '{}' END FROM numbers", topics[0], topics[1]);
    insert(&mut engine, &query).unwrap();
    assert_eq!(topics.map(|topic| values(&topic).len()), [100, 200]);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let mut engine = Engine::new().unwrap();
    engine.execute(NUMBERS).unwrap();
    let refused = |engine: &mut Engine, columns: &str, options: &[(&str, &str)], query: &str| {
        engine.execute("DROP TABLE IF EXISTS t").unwrap();
        engine
            .execute(&table("t", columns, "x", options))
            .map_err(|e| e.to_string())
            .and_then(|_| insert(engine, query))
            .unwrap_err()
    };
    let error = refused(
        &mut engine,
        "n INT, o BIGINT METADATA FROM 'offset'",
        &[("format", "csv")],
        "INSERT INTO t SELECT n, 1 FROM numbers",
    );
    assert!(error.contains("VIRTUAL"), "{error}");
    let error = refused(&mut engine, "n BIGINT", &[("format", "json")], "INSERT INTO t SELECT COUNT(*) FROM numbers");
    assert!(error.contains("only new rows"), "{error}");
    let once = [
        ("format", "csv"),
        ("sink.delivery-guarantee", "exactly-once"),
        ("sink.transactional-id-prefix", "without-checkpoints"),
    ];
    let error = refused(&mut engine, "n INT", &once, "INSERT INTO t SELECT n FROM numbers");
    assert!(error.contains("needs checkpoints"), "{error}");
}
