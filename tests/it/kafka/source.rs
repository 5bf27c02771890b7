//! Topics that are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millstream::Engine;
use millstream::connector::kafka::Kafka;
use millstream::connector::{Connector, Options, Source, SplitPosition, TableDescriptor};
use millstream::engine::{JobEnd, lines};

use super::broker::{self, produce, until, values};
use super::{ALL, answer, insert, sorted, table};

/// Events of twelve partitions, each in order by itself: time in milliseconds, key, value.
fn events() -> Vec<(i32, i64, String, i64)> {
    (0..1200_i64).map(|i| ((i % 12) as i32, i * 100 + (i % 12) * 3, format!("k{}", i % 5), i)).collect()
}

#[test]
fn json_goes_in_and_windows_come_out() {
    let (from, to) = (broker::topic("events", 12), broker::topic("windows", 3));
    let texts: Vec<(i32, String)> =
        events().iter().map(|(p, at, k, v)| (*p, format!(r#"{{"at":{at},"k":"{k}","v":{v}}}"#))).collect();
    produce(&from, &texts.iter().map(|(p, text)| (*p, None, Some(text.as_str()))).collect::<Vec<_>>());
    let mut wanted = BTreeMap::<(i64, String), (i64, i64)>::new();
    for (_, at, k, v) in events() {
        let sum = wanted.entry((at / 10_000, k)).or_default();
        (sum.0, sum.1) = (sum.0 + 1, sum.1 + v);
    }
    let wanted: Vec<String> = wanted
        .iter()
        .map(|((window, k), (n, s))| {
            let second = window * 10;
            format!(r#"{{"w":"1970-01-01 00:0{}:{:02}","k":"{k}","n":{n},"s":{s}}}"#, second / 60, second % 60)
        })
        .collect();
    for workers in [1, 3] {
        let mut engine = Engine::new().unwrap();
        engine.set("parallelism.default", &workers.to_string()).unwrap();
        let columns = "`at` BIGINT, k STRING, v BIGINT, ts AS TO_TIMESTAMP_LTZ(`at`, 3), WATERMARK FOR ts AS ts";
        engine.set("table.local-time-zone", "UTC").unwrap();
        engine.execute(&table("events", columns, &from, &[&ALL[..], &[("format", "json")]].concat())).unwrap();
        let to = if workers == 1 { to.clone() } else { broker::topic("windows", 1) };
        engine
            .execute(&table("windows", "w TIMESTAMP(0), k STRING, n BIGINT, s BIGINT", &to, &[("format", "json")]))
            .unwrap();
        let query = "INSERT INTO windows SELECT CAST(window_start AS TIMESTAMP(0)), k, COUNT(*), SUM(v) FROM \
                     TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end, k";
        insert(&mut engine, query).unwrap();
        assert_eq!(sorted(values(&to)), wanted, "{workers}");
    }
}

#[test]
fn keys_and_metadata_are_columns() {
    let topic = broker::topic("columns", 2);
    let mut engine = Engine::new().unwrap();
    engine.set("table.local-time-zone", "UTC").unwrap();
    let columns = "id INT, v STRING, `at` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', h MAP<STRING, BYTES> METADATA FROM 'headers', \
                   p INT METADATA FROM 'partition' VIRTUAL, o BIGINT METADATA FROM 'offset' VIRTUAL, \
                   kind STRING METADATA FROM 'timestamp-type' VIRTUAL, epoch INT METADATA FROM 'leader-epoch' VIRTUAL, \
                   t STRING METADATA FROM 'topic' VIRTUAL";
    let options = [
        ("key.format", "json"),
        ("key.fields", "id"),
        ("value.format", "json"),
        ("value.fields-include", "EXCEPT_KEY"),
    ];
    engine.execute(&table("t", columns, &topic, &[&ALL[..], &options[..]].concat())).unwrap();
    let values = "(1, 'a', TO_TIMESTAMP_LTZ(1000, 3), MAP['h', X'6869']), (2, 'b', TO_TIMESTAMP_LTZ(2000, 3), \
                  CAST(NULL AS MAP<STRING, BYTES>)), (1, 'c', TO_TIMESTAMP_LTZ(3000, 3), MAP['h', X'6869'])";
    insert(&mut engine, &format!("INSERT INTO t VALUES {values}")).unwrap();
    let found = broker::read(&topic);
    assert_eq!(found.len(), 3);
    for one in &found {
        let key = one.key.as_deref().unwrap();
        assert!([r#"{"id":1}"#, r#"{"id":2}"#].contains(&key), "{one:?}");
        assert_eq!(one.headers, if key.contains('1') { vec![("h".into(), "hi".into())] } else { vec![] }, "{one:?}");
    }
    // Where Java's client has them, by the murmur2 of their keys.
    assert_eq!(found.iter().filter(|f| f.value.as_deref() == Some(r#"{"v":"a"}"#)).count(), 1, "{found:?}");
    let query = "SELECT id, v, `at`, CAST(h['h'] AS STRING), kind, epoch, o >= 0, p BETWEEN 0 AND 1, t FROM t";
    let shown = sorted(answer(&mut engine, query).unwrap());
    let row = |id, v, second, h| {
        format!("+I[{id}, {v}, 1970-01-01T00:00:0{second}Z, {h}, CreateTime, null, TRUE, TRUE, {topic}]").to_lowercase()
    };
    let shown: Vec<String> = shown.iter().map(|line| line.to_lowercase()).collect();
    assert_eq!(shown, [row(1, "a", 1, "hi"), row(1, "c", 3, "hi"), row(2, "b", 2, "null")]);
    // A projection changes nothing about which messages there are.
    assert!(answer(&mut engine, "SELECT COUNT(*) FROM t").unwrap().last().unwrap().ends_with("[3]"));
}

#[test]
fn reading_begins_and_ends_where_it_is_told_to() {
    let topic = broker::topic("bounds", 2);
    let messages: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    produce(&topic, &messages.iter().map(|m| (0, None, Some(m.as_str()))).collect::<Vec<_>>());
    produce(&topic, &[(1, None, Some("100"))]);
    let group = format!("group-{topic}");
    broker::commit(&group, &topic, 0, 7);
    let read = |options: &[(&str, &str)]| {
        let mut engine = Engine::new().unwrap();
        let all = [&[("format", "csv")], options].concat();
        engine.execute(&table("t", "n INT", &topic, &all)).unwrap();
        answer(&mut engine, "SELECT n FROM t").map(|lines| {
            let numbers = lines.iter().map(|l| l.trim_matches(|c: char| !c.is_ascii_digit()).parse::<i32>().unwrap());
            let mut numbers: Vec<i32> = numbers.collect();
            numbers.sort();
            numbers
        })
    };
    let (start, end) = ("scan.startup.mode", "scan.bounded.mode");
    let latest = (end, "latest-offset");
    assert_eq!(read(&[(start, "earliest-offset"), latest]).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100]);
    assert_eq!(read(&[(start, "latest-offset"), latest]).unwrap(), [0; 0]);
    let of_group = [("properties.group.id", group.as_str()), ("properties.auto.offset.reset", "latest")];
    assert_eq!(read(&[&of_group[..], &[latest]].concat()).unwrap(), [7, 8, 9]);
    let from = [("properties.group.id", group.as_str()), (start, "earliest-offset"), (end, "group-offsets")];
    assert_eq!(read(&from).unwrap(), [0, 1, 2, 3, 4, 5, 6, 100]);
    let error = read(&[("properties.group.id", group.as_str()), latest]).unwrap_err();
    assert!(error.contains("has committed no offset for partition 1"), "{error}");
    let specific = [
        (start, "specific-offsets"),
        ("scan.startup.specific-offsets", "partition:0,offset:4;partition:1,offset:1"),
        (end, "specific-offsets"),
        ("scan.bounded.specific-offsets", "partition:0,offset:6;partition:1,offset:1"),
    ];
    assert_eq!(read(&specific).unwrap(), [4, 5]);
    let long_ago = [(start, "timestamp"), ("scan.startup.timestamp-millis", "1"), latest];
    assert_eq!(read(&long_ago).unwrap().len(), 11);
    let much_later = [(start, "timestamp"), ("scan.startup.timestamp-millis", "32503680000000"), latest];
    assert_eq!(read(&much_later).unwrap(), [0; 0]);
    let until_long_ago = [(start, "earliest-offset"), (end, "timestamp"), ("scan.bounded.timestamp-millis", "1")];
    assert_eq!(read(&until_long_ago).unwrap(), [0; 0]);
    let gone = [
        (start, "specific-offsets"),
        ("scan.startup.specific-offsets", "partition:0,offset:1000"),
        (end, "specific-offsets"),
        ("scan.bounded.specific-offsets", "partition:0,offset:2000"),
    ];
    let error = read(&gone).unwrap_err();
    assert!(error.contains("bounds") && error.contains("/0"), "{error}");
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let mut engine = Engine::new().unwrap();
    engine.execute(&table("t", "n INT", "no-such-topic", &[&ALL[..], &[("format", "csv")]].concat())).unwrap();
    let error = answer(&mut engine, "SELECT n FROM t").unwrap_err();
    assert!(error.contains("'no-such-topic'"), "{error}");
}

#[test]
fn several_topics_are_read_by_name_and_by_pattern() {
    let topics = [broker::topic("several-a", 2), broker::topic("several-b", 1)];
    produce(&topics[0], &[(0, None, Some("1")), (1, None, Some("2"))]);
    produce(&topics[1], &[(0, None, Some("3"))]);
    let mut engine = Engine::new().unwrap();
    let columns = "n INT, t STRING METADATA FROM 'topic' VIRTUAL";
    engine.execute(&table("named", columns, &topics.join(";"), &[&ALL[..], &[("format", "csv")]].concat())).unwrap();
    let wanted = [format!("+I[1, {}]", topics[0]), format!("+I[2, {}]", topics[0]), format!("+I[3, {}]", topics[1])];
    assert_eq!(sorted(answer(&mut engine, "SELECT n, t FROM named").unwrap()), wanted);
    let pattern = format!("several-[ab]-.*-{}-.*", std::process::id());
    let statement = table("matching", columns, "x", &[&ALL[..], &[("format", "csv")]].concat());
    engine.execute(&statement.replace("'topic' = 'x'", &format!("'topic-pattern' = '{pattern}'"))).unwrap();
    assert_eq!(sorted(answer(&mut engine, "SELECT n, t FROM matching").unwrap()), wanted);
}

#[test]
fn messages_that_cannot_be_decoded_fail_are_skipped_or_go_elsewhere() {
    let topic = broker::topic("bad", 1);
    produce(
        &topic,
        &[(0, None, Some(r#"{"n":1}"#)), (0, Some("k"), Some("{oh")), (0, None, None), (0, None, Some(r#"{"n":2}"#))],
    );
    let read = |options: &[(&str, &str)]| {
        let mut engine = Engine::new().unwrap();
        let all = [&ALL[..], &[("value.format", "json")], options].concat();
        engine.execute(&table("t", "n INT", &topic, &all)).unwrap();
        answer(&mut engine, "SELECT n FROM t")
    };
    let error = read(&[]).unwrap_err();
    assert!(error.contains(&format!("topic '{topic}', partition 0, offset 1")), "{error}");
    let both = ["+I[1]", "+I[2]"];
    assert_eq!(read(&[("value.json.ignore-parse-errors", "true")]).unwrap(), both);

    let dead = broker::topic("dead", 1);
    assert_eq!(read(&[("millstream.dead-letter.topic", &dead)]).unwrap(), both);
    let found = broker::read(&dead);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].key.as_deref(), found[0].value.as_deref()), (Some("k"), Some("{oh")));
    let header = |key: &str| found[0].headers.iter().find(|h| h.0 == key).unwrap().1.clone();
    assert_eq!((header("millstream.topic"), header("millstream.offset")), (topic.clone(), "1".into()));
    assert!(!header("millstream.reason").is_empty());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead.jsonl");
    assert_eq!(read(&[("millstream.dead-letter.path", path.to_str().unwrap())]).unwrap(), both);
    let text = std::fs::read_to_string(path).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(
        (line["offset"].as_i64(), line["value"].as_str(), line["key"].as_str()),
        (Some(1), Some("e29o"), Some("aw=="))
    );
}

#[test]
fn plain_strings_of_the_javascript_client_are_read_with_format_raw() {
    let topic = broker::topic("kafkajs", 3);
    broker::produce_with_kafkajs(&topic, "hello\nk\tkeyed\n{\"no\": \"json\"}\nzażółć\n");
    let mut engine = Engine::new().unwrap();
    let options = [
        &ALL[..],
        &[("key.format", "raw"), ("key.fields", "k"), ("format", "raw"), ("value.fields-include", "EXCEPT_KEY")],
    ];
    engine.execute(&table("keyed", "k STRING, line STRING", &topic, &options.concat())).unwrap();
    engine.execute(&table("plain", "line STRING", &topic, &[&ALL[..], &[("format", "raw")]].concat())).unwrap();
    let wanted = ["+I[hello]", "+I[keyed]", "+I[zażółć]", "+I[{\"no\": \"json\"}]"];
    assert_eq!(sorted(answer(&mut engine, "SELECT line FROM plain").unwrap()), wanted);
    // A message without a key has a NULL one in format raw, and is not there in others, as in Flink.
    let keyed = answer(&mut engine, "SELECT k, line FROM keyed WHERE line = 'hello'").unwrap();
    assert_eq!(keyed, ["+I[null, hello]"]);
    assert_eq!(answer(&mut engine, "SELECT k, line FROM keyed WHERE k IS NOT NULL").unwrap(), ["+I[k, keyed]"]);
    let by_csv = [
        &ALL[..],
        &[("key.format", "csv"), ("key.fields", "k"), ("format", "raw"), ("value.fields-include", "EXCEPT_KEY")],
    ];
    engine.execute(&table("csv", "k STRING, line STRING", &topic, &by_csv.concat())).unwrap();
    assert_eq!(answer(&mut engine, "SELECT line FROM csv").unwrap(), ["+I[keyed]"]);
}

#[test]
fn partitions_that_come_later_are_found() {
    let topic = broker::topic("growing", 1);
    produce(&topic, &[(0, None, Some("0"))]);
    let mut engine = Engine::new().unwrap();
    let options = [
        ("format", "csv"),
        ("scan.startup.mode", "latest-offset"),
        ("scan.topic-partition-discovery.interval", "50 ms"),
    ];
    engine.execute(&table("t", "n INT, p INT METADATA FROM 'partition' VIRTUAL", &topic, &options)).unwrap();
    let (job, mut results) = engine.query("SELECT n, p FROM t").unwrap();
    broker::grow(&topic, 3);
    // From the beginning, whatever the others were read from.
    produce(&topic, &[(2, None, Some("2")), (1, None, Some("1"))]);
    let mut shown = Vec::new();
    while shown.len() < 2 {
        shown.extend(lines(&results.blocking_next().unwrap()).unwrap().lines().map(str::to_owned));
    }
    job.stop();
    while results.blocking_next().is_some() {}
    assert_eq!(engine.block_on(job.wait()).unwrap(), JobEnd::Finished);
    assert_eq!(sorted(shown), ["+I[1, 1]", "+I[2, 2]"]);
}

fn numbers() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn source(topic: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    let mut all = Options::default();
    let servers = broker::address();
    for (key, value) in
        [("topic", topic), ("properties.bootstrap.servers", &servers), ("format", "csv")].iter().chain(options)
    {
        all.set(*key, *value);
    }
    let table = TableDescriptor {
        name: "t".into(),
        schema: numbers(),
        metadata: vec![],
        options: all,
        partition_keys: vec![],
        primary_key: vec![],
    };
    Kafka::log().source(&table, numbers()).unwrap()
}

/// Reads batches until there are so many rows: by split, its rows and the last position.
async fn some(source: &mut Box<dyn Source>, rows: usize) -> BTreeMap<String, (Vec<i64>, SplitPosition)> {
    let mut read = BTreeMap::<String, (Vec<i64>, SplitPosition)>::new();
    let mut count = 0;
    while count < rows {
        let Some(batch) = source.next().await.unwrap() else { break };
        let position = source.position().unwrap();
        let column = batch.changes.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        count += column.len();
        let entry = read.entry(position.split.clone()).or_insert_with(|| (Vec::new(), position.clone()));
        entry.0.extend(column);
        entry.1 = position;
    }
    read
}

#[test]
fn a_source_goes_on_where_it_was() {
    let topic = broker::topic("seek", 3);
    let texts: Vec<String> = (0..30_000).map(|i| i.to_string()).collect();
    // Nothing comes of the third partition at first.
    produce(&topic, &texts.iter().zip(0..).map(|(t, i)| (i % 2, None, Some(t.as_str()))).collect::<Vec<_>>());
    let group = format!("group-{topic}");
    let options = [("scan.startup.mode", "earliest-offset"), ("properties.group.id", group.as_str())];
    let engine = Engine::new().unwrap();
    engine.block_on(async {
        let mut first = source(&topic, &options);
        let listener = first.listener().unwrap();
        let mut read = some(&mut first, 10_000).await;
        let positions: Vec<SplitPosition> = read.values().map(|(_, position)| position.clone()).collect();
        assert_eq!(positions.len(), 3, "every partition has a place before anything has come of it");
        listener.on_durable(&positions);
        let next = |split: usize| {
            let offset: serde_json::Value = serde_json::from_str(&positions[split].offset).unwrap();
            offset["next"].as_i64()
        };
        until("the group has been told", || (0..3).all(|p| broker::committed(&group, &topic, p as i32) == next(p)));
        drop(first);
        produce(&topic, &[(2, None, Some("-1"))]);
        let mut second = source(&topic, &[("scan.startup.mode", "latest-offset")]);
        second.seek(positions).await.unwrap();
        let left = 30_001 - read.values().map(|(rows, _)| rows.len()).sum::<usize>();
        for (split, (rows, _)) in some(&mut second, left).await {
            read.get_mut(&split).unwrap().0.extend(rows);
        }
        for (partition, (_, (rows, _))) in (0..).zip(&read) {
            let wanted: Vec<i64> = if partition == 2 { vec![-1] } else { (partition..30_000).step_by(2).collect() };
            assert_eq!(*rows, wanted, "{partition}");
        }
        let mut wrong = source(&topic, &[]);
        let position = SplitPosition { split: "file".into(), offset: "7".into() };
        assert!(wrong.seek(vec![position]).await.is_err());
    });
}

#[test]
fn a_bounded_run_that_goes_on_ends_where_it_was_to_end() {
    let topic = broker::topic("bounded-seek", 1);
    produce(&topic, &[(0, None, Some("1")), (0, None, Some("2"))]);
    let engine = Engine::new().unwrap();
    engine.block_on(async {
        let mut first = source(&topic, &ALL);
        first.next().await.unwrap().unwrap();
        let begin = first.position().unwrap();
        produce(&topic, &[(0, None, Some("3"))]);
        let mut second = source(&topic, &ALL);
        second.seek(vec![begin]).await.unwrap();
        let read = some(&mut second, usize::MAX).await;
        assert_eq!(read.values().next().unwrap().0, [1, 2]);
    });
}
