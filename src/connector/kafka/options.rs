//! What a table's options say.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

use crate::connector::{OptionKind, OptionSpec, Options, SinkChangelog, SourceChangelog, TableDescriptor};
use crate::format::message::{MessageFormat, message_format};
use crate::{Error, Result};

const TOPIC: &str = "topic";
const TOPIC_PATTERN: &str = "topic-pattern";
const STARTUP: &str = "scan.startup.mode";
const STARTUP_TIMESTAMP: &str = "scan.startup.timestamp-millis";
const STARTUP_OFFSETS: &str = "scan.startup.specific-offsets";
const BOUNDED: &str = "scan.bounded.mode";
const BOUNDED_TIMESTAMP: &str = "scan.bounded.timestamp-millis";
const BOUNDED_OFFSETS: &str = "scan.bounded.specific-offsets";
const DISCOVERY: &str = "scan.topic-partition-discovery.interval";
const FORMAT: &str = "format";
const VALUE_FORMAT: &str = "value.format";
const KEY_FORMAT: &str = "key.format";
const KEY_FIELDS: &str = "key.fields";
const KEY_PREFIX: &str = "key.fields-prefix";
const VALUE_INCLUDE: &str = "value.fields-include";
const PARTITIONER: &str = "sink.partitioner";
const GUARANTEE: &str = "sink.delivery-guarantee";
const TRANSACTION_PREFIX: &str = "sink.transactional-id-prefix";
const TRANSACTION_SIZE: &str = "millstream.transaction.max-size";
const DEAD_TOPIC: &str = "millstream.dead-letter.topic";
const DEAD_PATH: &str = "millstream.dead-letter.path";
/// What stands before the options of Kafka's client.
pub(super) const PROPERTIES: &str = "properties.";

/// How often Flink looks for new partitions.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// How many bytes of messages go into one transaction at most.
const MOST_IN_TRANSACTION: u64 = 1 << 30;

/// Which of the two connectors a table is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `kafka`: every message is a change of its own.
    Log,
    /// `upsert-kafka`: a message takes the place of the last one with its key.
    Upsert,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Log => "kafka",
            Kind::Upsert => "upsert-kafka",
        }
    }
}

/// Which topics are read.
#[derive(Debug, Clone)]
pub(super) enum Topics {
    Named(Vec<String>),
    Matching(Regex),
}

/// A format and its options, without prefix.
#[derive(Debug, Clone)]
pub(super) struct Encoding {
    pub format: &'static dyn MessageFormat,
    pub options: Options,
}

/// A place in each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Point {
    Earliest,
    Latest,
    /// What the group has committed.
    Group,
    /// The first message of that time, in milliseconds, or later.
    Timestamp(i64),
    /// By partition; others where the group has committed, or at the beginning.
    Offsets(BTreeMap<i32, i64>),
}

/// What becomes of messages that cannot be decoded, beside failing and skipping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeadLetter {
    Topic(String),
    Path(String),
}

/// What is promised of messages that are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Guarantee {
    None,
    AtLeastOnce,
    /// In transactions whose ids begin so, of at most so many bytes.
    ExactlyOnce {
        prefix: String,
        max_size: u64,
    },
}

/// Which partition a message without a key goes to; one with a key goes to that of its key, as Kafka's own clients have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partitioner {
    Default,
    /// All to the first, keys or not.
    Fixed,
    RoundRobin,
}

/// The options of a table.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub kind: Kind,
    pub topics: Topics,
    pub key: Option<Encoding>,
    pub value: Encoding,
    /// The columns of the key, by name.
    pub key_fields: Vec<String>,
    pub key_prefix: String,
    /// Whether the value holds the columns of the key, too.
    pub value_has_key: bool,
    pub start: Point,
    pub end: Option<Point>,
    /// How often new partitions are looked for; `None`: never.
    pub discovery: Option<Duration>,
    pub dead_letter: Option<DeadLetter>,
    pub partitioner: Partitioner,
    pub guarantee: Guarantee,
    /// What is handed to Kafka's client, without prefix.
    pub properties: Options,
}

/// The options that a table may have.
pub(super) fn specs(kind: Kind, table: &Options) -> Vec<OptionSpec> {
    use OptionKind::{Duration, Integer, Memory, Text};
    let optional = OptionSpec::optional;
    let mut known = vec![
        optional("properties.#", Text),
        OptionSpec::required("properties.bootstrap.servers", Text),
        optional(TOPIC, Text),
        optional(BOUNDED, Text),
        optional(BOUNDED_TIMESTAMP, Integer),
        optional(BOUNDED_OFFSETS, Text),
        optional(KEY_FORMAT, Text),
        optional(VALUE_FORMAT, Text),
        optional(KEY_PREFIX, Text),
        optional(VALUE_INCLUDE, Text),
        optional(GUARANTEE, Text),
        optional(TRANSACTION_PREFIX, Text),
        optional(TRANSACTION_SIZE, Memory),
        // There is one writer, as fast as several.
        optional("sink.parallelism", Integer),
        optional("scan.parallelism", Integer),
        optional(DEAD_TOPIC, Text),
        optional(DEAD_PATH, Text),
    ];
    known.extend(match kind {
        Kind::Log => vec![
            optional(TOPIC_PATTERN, Text),
            optional(STARTUP, Text),
            optional(STARTUP_TIMESTAMP, Integer),
            optional(STARTUP_OFFSETS, Text),
            optional(DISCOVERY, Duration),
            optional(FORMAT, Text),
            optional(KEY_FIELDS, Text),
            optional(PARTITIONER, Text),
        ],
        // A step gives no more than the last change of each key: there is nothing to gather.
        Kind::Upsert => {
            vec![optional("sink.buffer-flush.max-rows", Integer), optional("sink.buffer-flush.interval", Duration)]
        }
    });
    for (option, prefix) in [(FORMAT, ""), (VALUE_FORMAT, "value."), (KEY_FORMAT, "key.")] {
        if let Some(Ok(format)) = table.get(option).map(|name| message_format(name, false)) {
            known.extend(format.options().into_iter().map(|spec| spec.under(prefix)));
        }
    }
    known
}

impl Settings {
    /// Reads a table's options.
    ///
    /// # Errors
    /// What is missing, is none of what can be chosen, or does not go together.
    pub fn read(kind: Kind, table: &TableDescriptor) -> Result<Self> {
        let options = &table.options;
        let keyed = !table.primary_key.is_empty();
        let value = Encoding::value(options, keyed)?;
        let key = Encoding::key(options)?;
        let key_fields = key_fields(kind, table, key.is_some())?;
        let settings = Self {
            kind,
            topics: topics(options)?,
            key,
            value,
            key_fields,
            key_prefix: options.get(KEY_PREFIX).unwrap_or_default().to_owned(),
            value_has_key: choice(options, VALUE_INCLUDE, &[("ALL", true), ("EXCEPT_KEY", false)], true)?,
            start: match kind {
                Kind::Log => start(options)?,
                Kind::Upsert => Point::Earliest,
            },
            end: end(options)?,
            discovery: match options.duration(DISCOVERY)?.unwrap_or(DISCOVERY_INTERVAL) {
                Duration::ZERO => None,
                interval => Some(interval),
            },
            dead_letter: match (options.get(DEAD_TOPIC), options.get(DEAD_PATH)) {
                (Some(_), Some(_)) => {
                    return wrong(format!("options '{DEAD_TOPIC}' and '{DEAD_PATH}' exclude each other"));
                }
                (Some(topic), None) => Some(DeadLetter::Topic(topic.to_owned())),
                (None, path) => path.map(|path| DeadLetter::Path(path.to_owned())),
            },
            partitioner: partitioner(options)?,
            guarantee: guarantee(options)?,
            properties: options.under(PROPERTIES),
        };
        settings.check(table)?;
        Ok(settings)
    }

    fn check(&self, table: &TableDescriptor) -> Result<()> {
        let appends = |encoding: &Encoding| {
            let format = encoding.format;
            format.source_changelog() == SourceChangelog::Append && format.sink_changelog() == SinkChangelog::Append
        };
        if let Some(key) = self.key.as_ref().filter(|key| !appends(key)) {
            return wrong(format!("option '{KEY_FORMAT}': a key holds no changes, as '{}' does", key.format.name()));
        }
        match self.kind {
            Kind::Log if !table.primary_key.is_empty() && appends(&self.value) => wrong(format!(
                "the connector 'kafka' with the format '{}' does not support a PRIMARY KEY, because messages of one key do not \
                 take each other's place; use 'upsert-kafka'",
                self.value.format.name()
            )),
            Kind::Upsert if table.primary_key.is_empty() => {
                wrong("the connector 'upsert-kafka' needs a PRIMARY KEY: it is the messages' key".into())
            }
            Kind::Upsert if self.key.is_none() => wrong(format!("option '{KEY_FORMAT}' is required")),
            Kind::Upsert if !appends(&self.value) => wrong(format!(
                "option '{VALUE_FORMAT}' = '{}': it holds changes of its own; 'upsert-kafka' takes formats of plain rows",
                self.value.format.name()
            )),
            _ => Ok(()),
        }
    }

    /// What is promised of messages, and with the prefix of which transactions.
    pub fn transactions(&self) -> Option<(&str, u64)> {
        match &self.guarantee {
            Guarantee::ExactlyOnce { prefix, max_size } => Some((prefix, *max_size)),
            _ => None,
        }
    }
}

impl Encoding {
    fn value(options: &Options, keyed: bool) -> Result<Self> {
        let (name, prefix) = match (options.get(FORMAT), options.get(VALUE_FORMAT)) {
            (Some(_), Some(_)) => return wrong(format!("options '{FORMAT}' and '{VALUE_FORMAT}' exclude each other")),
            (Some(name), None) => (name, ""),
            (None, Some(name)) => (name, "value."),
            (None, None) => return wrong(format!("option '{FORMAT}' or '{VALUE_FORMAT}' is required")),
        };
        Self::of(name, prefix, "value", keyed, options)
    }

    fn key(options: &Options) -> Result<Option<Self>> {
        options.get(KEY_FORMAT).map(|name| Self::of(name, "key.", "key", false, options)).transpose()
    }

    fn of(name: &str, prefix: &str, part: &str, keyed: bool, all: &Options) -> Result<Self> {
        const SUBJECT: &str = "avro-confluent.subject";
        let format = message_format(name, keyed)?;
        let mut options = all.under(prefix);
        if name == "avro-confluent" && options.get(SUBJECT).is_none() {
            // As Flink has it; a table of several topics must say it.
            let topic = all.get(TOPIC).filter(|topic| !topic.contains(';'));
            if let Some(topic) = topic {
                options.set(SUBJECT, format!("{topic}-{part}"));
            }
        }
        Ok(Self { format, options })
    }
}

fn key_fields(kind: Kind, table: &TableDescriptor, has_format: bool) -> Result<Vec<String>> {
    if kind == Kind::Upsert {
        return Ok(table.primary_key.iter().map(|i| table.schema.field(*i).name().clone()).collect());
    }
    match (table.options.get(KEY_FIELDS), has_format) {
        (Some(fields), true) if !fields.trim().is_empty() => {
            Ok(fields.split(';').map(|name| name.trim().to_owned()).collect())
        }
        (_, true) => wrong(format!("option '{KEY_FORMAT}' needs '{KEY_FIELDS}', which name the columns of the key")),
        (Some(_), false) => wrong(format!("option '{KEY_FIELDS}' needs '{KEY_FORMAT}'")),
        (None, false) => Ok(Vec::new()),
    }
}

fn topics(options: &Options) -> Result<Topics> {
    match (options.get(TOPIC), options.get(TOPIC_PATTERN)) {
        (Some(_), Some(_)) => wrong(format!("options '{TOPIC}' and '{TOPIC_PATTERN}' exclude each other")),
        (None, None) => wrong(format!("option '{TOPIC}' is required")),
        (Some(names), None) => {
            let names: Vec<String> = names.split(';').map(|name| name.trim().to_owned()).collect();
            if names.iter().any(String::is_empty) {
                return wrong(format!("option '{TOPIC}': a topic without a name"));
            }
            Ok(Topics::Named(names))
        }
        (None, Some(pattern)) => match Regex::new(&format!("^(?:{pattern})$")) {
            Ok(regex) => Ok(Topics::Matching(regex)),
            Err(e) => wrong(format!("option '{TOPIC_PATTERN}' = '{pattern}': {e}")),
        },
    }
}

fn start(options: &Options) -> Result<Point> {
    Ok(match options.get(STARTUP).unwrap_or("group-offsets") {
        "earliest-offset" => Point::Earliest,
        "latest-offset" => Point::Latest,
        "group-offsets" => Point::Group,
        "timestamp" => Point::Timestamp(timestamp(options, STARTUP_TIMESTAMP)?),
        "specific-offsets" => Point::Offsets(offsets(options, STARTUP_OFFSETS)?),
        other => {
            return wrong(format!(
                "option '{STARTUP}' = '{other}': expected earliest-offset, latest-offset, group-offsets, timestamp or \
                 specific-offsets"
            ));
        }
    })
}

fn end(options: &Options) -> Result<Option<Point>> {
    Ok(Some(match options.get(BOUNDED).unwrap_or("unbounded") {
        "unbounded" => return Ok(None),
        "latest-offset" => Point::Latest,
        "group-offsets" => Point::Group,
        "timestamp" => Point::Timestamp(timestamp(options, BOUNDED_TIMESTAMP)?),
        "specific-offsets" => Point::Offsets(offsets(options, BOUNDED_OFFSETS)?),
        other => {
            return wrong(format!(
                "option '{BOUNDED}' = '{other}': expected unbounded, latest-offset, group-offsets, timestamp or specific-offsets"
            ));
        }
    }))
}

fn timestamp(options: &Options, key: &str) -> Result<i64> {
    match options.integer(key)? {
        Some(millis) => Ok(millis),
        None => wrong(format!("option '{key}' is required")),
    }
}

/// `partition:0,offset:42;partition:1,offset:300`
fn offsets(options: &Options, key: &str) -> Result<BTreeMap<i32, i64>> {
    let text = options.require(key)?;
    let pair = |part: &str| {
        let (partition, offset) = part.trim().split_once(',')?;
        let number = |text: &str, name: &str| {
            text.trim().strip_prefix(name)?.trim().strip_prefix(':').map(str::trim).map(str::to_owned)
        };
        Some((number(partition, "partition")?.parse().ok()?, number(offset, "offset")?.parse().ok()?))
    };
    let pairs = text.trim_end_matches(';').split(';').map(pair).collect::<Option<BTreeMap<i32, i64>>>();
    match pairs {
        Some(pairs) => Ok(pairs),
        None => wrong(format!("option '{key}' = '{text}': expected 'partition:0,offset:42;partition:1,offset:300'")),
    }
}

fn partitioner(options: &Options) -> Result<Partitioner> {
    let name = options.get(PARTITIONER).unwrap_or("default");
    if name == "round-robin" && options.get(KEY_FIELDS).is_some() {
        return wrong(format!(
            "option '{PARTITIONER}' = 'round-robin' is for messages without a key, and there is '{KEY_FIELDS}'"
        ));
    }
    let known =
        [("default", Partitioner::Default), ("fixed", Partitioner::Fixed), ("round-robin", Partitioner::RoundRobin)];
    choice(options, PARTITIONER, &known, Partitioner::Default)
}

fn guarantee(options: &Options) -> Result<Guarantee> {
    match options.get(GUARANTEE).unwrap_or("at-least-once") {
        "none" => Ok(Guarantee::None),
        "at-least-once" => Ok(Guarantee::AtLeastOnce),
        "exactly-once" => match options.get(TRANSACTION_PREFIX) {
            Some(prefix) if !prefix.is_empty() => Ok(Guarantee::ExactlyOnce {
                prefix: prefix.to_owned(),
                max_size: options.memory(TRANSACTION_SIZE)?.unwrap_or(MOST_IN_TRANSACTION),
            }),
            _ => wrong(format!("option '{GUARANTEE}' = 'exactly-once' needs '{TRANSACTION_PREFIX}'")),
        },
        other => wrong(format!("option '{GUARANTEE}' = '{other}': expected none, at-least-once or exactly-once")),
    }
}

fn choice<T: Copy>(options: &Options, key: &str, known: &[(&str, T)], default: T) -> Result<T> {
    let Some(text) = options.get(key) else { return Ok(default) };
    match known.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            wrong(format!("option '{key}' = '{text}': expected one of {names}"))
        }
    }
}

fn wrong<T>(message: String) -> Result<T> {
    Err(Error::Option(message))
}
