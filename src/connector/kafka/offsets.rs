//! Where partitions are read from, and up to where.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::failed;
use super::options::{Point, Settings, Topics};
use super::properties::Reset;
use crate::connector::SplitPosition;
use crate::{Error, Result};

/// How long a broker has to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
/// How long after a question it is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

/// How far a partition is read: what stands in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The number that the source gave the partition.
    pub number: usize,
    /// The offset of the next message.
    pub next: i64,
    /// Where reading ends, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
}

impl TopicPartition {
    /// The name of the split.
    pub fn split(&self) -> String {
        format!("{}/{}", self.topic, self.partition)
    }

    fn of_split(split: &str) -> Option<Self> {
        let (topic, partition) = split.rsplit_once('/')?;
        Some(Self { topic: topic.to_owned(), partition: partition.parse().ok()? })
    }
}

/// What a checkpoint says of a partition.
///
/// # Errors
/// When it is not this source's.
pub(super) fn restored(position: &SplitPosition) -> Result<(TopicPartition, Place)> {
    let wrong = || Error::Option(format!("'{}' at '{}' is no place in a topic", position.split, position.offset));
    let partition = TopicPartition::of_split(&position.split).ok_or_else(wrong)?;
    let place = serde_json::from_str(&position.offset).map_err(|_| wrong())?;
    Ok((partition, place))
}

/// What a checkpoint is to say of a partition.
///
/// # Errors
/// Never: a place has a form in JSON.
pub(super) fn position(split: &str, place: Place) -> Result<SplitPosition> {
    let offset = serde_json::to_string(&place).map_err(|e| Error::internal(format!("a place as JSON: {e}")))?;
    Ok(SplitPosition { split: split.to_owned(), offset })
}

/// The partitions that there are of the topics of a table, in order.
///
/// # Errors
/// When the broker does not answer, or a topic that was named is not there.
pub(super) fn partitions(consumer: &BaseConsumer, topics: &Topics) -> Result<Vec<TopicPartition>> {
    let mut found = Vec::new();
    let mut add = |topic: &rdkafka::metadata::MetadataTopic| {
        let partition = |p: &rdkafka::metadata::MetadataPartition| TopicPartition {
            topic: topic.name().to_owned(),
            partition: p.id(),
        };
        let before = found.len();
        found.extend(topic.partitions().iter().map(partition));
        found[before..].sort();
    };
    match topics {
        Topics::Named(names) => {
            for name in names {
                let metadata = consumer
                    .fetch_metadata(Some(name.as_str()), ANSWER)
                    .map_err(|e| failed(&format!("topic '{name}'"), &e))?;
                let topic = metadata.topics().iter().find(|t| t.name() == name);
                if let Some(code) = topic.and_then(|t| t.error()) {
                    let code = RDKafkaErrorCode::from(code);
                    return Err(failed(&format!("topic '{name}'"), &KafkaError::MetadataFetch(code)));
                }
                topic.into_iter().for_each(&mut add);
            }
        }
        Topics::Matching(pattern) => {
            let metadata = consumer.fetch_metadata(None, ANSWER).map_err(|e| failed("the list of topics", &e))?;
            let mut topics: Vec<_> = metadata.topics().iter().filter(|t| pattern.is_match(t.name())).collect();
            topics.sort_by_key(|t| t.name().to_owned());
            topics.into_iter().for_each(&mut add);
        }
    }
    Ok(found)
}

/// What to do where a point says nothing of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Else {
    Earliest,
    Latest,
    Fail,
}

/// The offsets of a point in some partitions, in their order.
///
/// # Errors
/// When the broker does not answer, or the group has committed nothing and the options do not say what then.
pub(super) fn resolve(
    consumer: &BaseConsumer,
    settings: &Settings,
    point: &Point,
    is_end: bool,
    of: &[TopicPartition],
) -> Result<Vec<i64>> {
    let bounds = bounds(consumer, of)?;
    let otherwise = match (point, is_end, settings.reset()?) {
        (Point::Offsets(_), ..) => Else::Earliest,
        (_, true, _) => Else::Latest,
        (_, false, Reset::Earliest) => Else::Earliest,
        (_, false, Reset::Latest) => Else::Latest,
        (_, false, Reset::Fail) => Else::Fail,
    };
    let known: BTreeMap<TopicPartition, i64> = match point {
        Point::Earliest => return Ok(bounds.iter().map(|b| b.0).collect()),
        Point::Latest => return Ok(bounds.iter().map(|b| b.1).collect()),
        Point::Group => of_group(consumer, settings, of)?,
        Point::Timestamp(millis) => {
            let later = at_time(consumer, *millis, of)?;
            return Ok(of.iter().zip(bounds).map(|(p, b)| later.get(p).copied().unwrap_or(b.1)).collect());
        }
        Point::Offsets(offsets) => {
            let mut known =
                if settings.group().is_some() { of_group(consumer, settings, of)? } else { BTreeMap::new() };
            known.extend(of.iter().filter_map(|p| Some((p.clone(), *offsets.get(&p.partition)?))));
            known
        }
    };
    let offset = |(partition, (first, last)): (&TopicPartition, (i64, i64))| match (known.get(partition), otherwise) {
        (Some(offset), _) => Ok(*offset),
        (None, Else::Earliest) => Ok(first),
        (None, Else::Latest) => Ok(last),
        (None, Else::Fail) => Err(Error::Option(format!(
            "the consumer group '{}' has committed no offset for partition {} of topic '{}'; set 'scan.startup.mode', or \
             'properties.auto.offset.reset' to earliest or latest",
            settings.group().unwrap_or_default(),
            partition.partition,
            partition.topic
        ))),
    };
    of.iter().zip(bounds).map(offset).collect()
}

/// For each partition the offset of its first message, and that behind its last.
fn bounds(consumer: &BaseConsumer, of: &[TopicPartition]) -> Result<Vec<(i64, i64)>> {
    let bounds = |p: &TopicPartition| {
        consumer.fetch_watermarks(&p.topic, p.partition, ANSWER).map_err(|e| failed(&p.split(), &e))
    };
    of.iter().map(bounds).collect()
}

fn of_group(
    consumer: &BaseConsumer,
    settings: &Settings,
    of: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>> {
    let Some(group) = settings.group() else {
        return Err(Error::Option("offsets of a group need 'properties.group.id'".into()));
    };
    let asked = list(of, |_| Offset::Invalid)?;
    numbers(&committed(consumer, &asked).map_err(|e| failed(&format!("group '{group}'"), &e))?)
}

/// What a consumer's group has committed; asked again while a broker that has just been started does not know yet.
pub(super) fn committed(consumer: &BaseConsumer, of: &TopicPartitionList) -> KafkaResult<TopicPartitionList> {
    use RDKafkaErrorCode as Code;
    const TRIES: usize = 100;
    const NOT_YET: [Code; 5] = [
        Code::NotCoordinator,
        Code::CoordinatorNotAvailable,
        Code::CoordinatorLoadInProgress,
        Code::BrokerTransportFailure,
        Code::UnstableOffsetCommit,
    ];
    for _ in 1..TRIES {
        match consumer.committed_offsets(of.clone(), ANSWER) {
            Err(e) if e.rdkafka_error_code().is_some_and(|code| NOT_YET.contains(&code)) => std::thread::sleep(PAUSE),
            answered => return answered,
        }
    }
    consumer.committed_offsets(of.clone(), ANSWER)
}

fn at_time(consumer: &BaseConsumer, millis: i64, of: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>> {
    let asked = list(of, |_| Offset::Offset(millis))?;
    let answered = consumer.offsets_for_times(asked, ANSWER).map_err(|e| failed("offsets by time", &e))?;
    numbers(&answered)
}

/// Partitions with an offset each.
pub(super) fn list(of: &[TopicPartition], offset: impl Fn(usize) -> Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(of.len());
    for (i, p) in of.iter().enumerate() {
        let added = list.add_partition_offset(&p.topic, p.partition, offset(i));
        added.map_err(|e| failed(&p.split(), &e))?;
    }
    Ok(list)
}

/// The offsets in an answer that are numbers.
fn numbers(list: &TopicPartitionList) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut known = BTreeMap::new();
    for element in list.elements() {
        let partition = TopicPartition { topic: element.topic().to_owned(), partition: element.partition() };
        element.error().map_err(|e| failed(&partition.split(), &e))?;
        if let Offset::Offset(offset) = element.offset() {
            known.insert(partition, offset);
        }
    }
    Ok(known)
}
