//! What the tests do at the broker themselves.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const ANSWER: Duration = Duration::from_secs(60);

/// The broker's address.
pub fn address() -> String {
    std::env::var("MILLSTREAM_TEST_KAFKA").expect("no Kafka broker: run the tests by tests/run.sh")
}

/// The folder that `tests/setup-kafka.sh` has put everything into.
pub fn folder() -> PathBuf {
    std::env::var("MILLSTREAM_TEST_KAFKA_DIR").expect("no Kafka broker: run the tests by tests/run.sh").into()
}

fn config() -> ClientConfig {
    config_of(&address())
}

fn config_of(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("broker.address.family", "v4");
    config
}

fn admin(address: &str) -> AdminClient<DefaultClientContext> {
    config_of(address).create().unwrap()
}

fn wait_for<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Makes a topic of a name that no other run has.
pub fn topic(name: &str, partitions: i32) -> String {
    topic_at(&address(), name, partitions)
}

/// The same at another broker.
pub fn topic_at(address: &str, name: &str, partitions: i32) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let name = format!("{name}-{since}-{}-{number}", std::process::id());
    let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let made = wait_for(admin(address).create_topics([&new], &AdminOptions::new())).unwrap();
    made.into_iter().for_each(|topic| drop(topic.unwrap()));
    name
}

/// Makes a topic's partitions more.
pub fn grow(topic: &str, partitions: usize) {
    let new = NewPartitions::new(topic, partitions);
    let grown = wait_for(admin(&address()).create_partitions([&new], &AdminOptions::new())).unwrap();
    grown.into_iter().for_each(|topic| drop(topic.unwrap()));
}

/// A message: partition, key and value.
pub type Sent<'a> = (i32, Option<&'a str>, Option<&'a str>);

/// Writes messages, each in its partition, in order.
pub fn produce(topic: &str, messages: &[Sent<'_>]) {
    produce_at(&address(), topic, messages);
}

/// The same at another broker.
pub fn produce_at(address: &str, topic: &str, messages: &[Sent<'_>]) {
    let producer: BaseProducer = config_of(address).set("enable.idempotence", "true").create().unwrap();
    for (partition, key, value) in messages {
        let mut record = BaseRecord::<str, str>::to(topic).partition(*partition);
        (record.key, record.payload) = (*key, *value);
        while let Err((error, back)) = producer.send(record) {
            assert!(error.to_string().contains("Queue full"), "{error}");
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer.flush(ANSWER).unwrap();
}

/// A message as a reader finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub partition: i32,
    pub key: Option<String>,
    pub value: Option<String>,
    pub timestamp: Option<i64>,
    pub headers: Vec<(String, String)>,
}

/// What a reader at read-committed finds in a topic from its beginning to where nothing is open.
pub fn read(topic: &str) -> Vec<Found> {
    read_at(&address(), topic)
}

/// The same at another broker.
pub fn read_at(address: &str, topic: &str) -> Vec<Found> {
    let mut config = config_of(address);
    config.set("group.id", "reader").set("enable.auto.commit", "false");
    config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER).unwrap();
    let mut list = TopicPartitionList::new();
    let mut open = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), ANSWER).unwrap();
        if low < high {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
            open += 1;
        }
    }
    consumer.assign(&list).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut found = Vec::new();
    while open > 0 {
        let message = match consumer.poll(ANSWER).expect("the broker answers") {
            Ok(message) => message,
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => {
                open -= 1;
                continue;
            }
            Err(e) => panic!("{e}"),
        };
        let headers =
            message.headers().map(|h| h.iter().map(|h| (h.key.to_owned(), text(h.value.unwrap_or_default()))));
        found.push(Found {
            partition: message.partition(),
            key: message.key().map(text),
            value: message.payload().map(text),
            timestamp: message.timestamp().to_millis(),
            headers: headers.map(Iterator::collect).unwrap_or_default(),
        });
    }
    found
}

/// The values of [`read`].
pub fn values(topic: &str) -> Vec<String> {
    read(topic).into_iter().map(|found| found.value.unwrap_or_else(|| "NULL".into())).collect()
}

/// What a group has committed in a partition.
pub fn committed(group: &str, topic: &str, partition: i32) -> Option<i64> {
    let consumer: BaseConsumer = config().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    match consumer.committed_offsets(list, ANSWER).unwrap().elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Commits an offset for a group.
pub fn commit(group: &str, topic: &str, partition: i32, offset: i64) {
    let consumer: BaseConsumer = config().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, rdkafka::consumer::CommitMode::Sync).unwrap();
}

/// Writes lines as plain strings with KafkaJS.
pub fn produce_with_kafkajs(topic: &str, lines: &str) {
    use std::io::Write;
    let mut node = Command::new("node");
    node.current_dir(folder().join("js")).args(["produce.mjs", &address(), topic]).stdin(Stdio::piped());
    let mut node = node.spawn().unwrap();
    node.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(node.wait().unwrap().success());
}

/// Asks again until it is so.
#[allow(clippy::disallowed_methods, reason = "a deadline")]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < ANSWER, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
