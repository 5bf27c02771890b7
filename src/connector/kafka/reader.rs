//! The thread that reads topics.
//!
//! Partitions are assigned by hand, each with a queue of its own, and take turns. The queues are bounded by librdkafka, which
//! stops fetching when they are full; and what has been decoded waits in a bounded queue for the driver.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::columns::Layout;
use super::dead_letter::DeadLetters;
use super::failed;
use super::metadata::Incoming;
use super::offsets::{self, ANSWER, Place, TopicPartition};
use super::options::{Point, Settings};
use super::rows::{Outcome, Rows};
use crate::connector::{FromPartition, SourceBatch, SplitPosition};
use crate::{Error, Result};

/// How long the thread sleeps at most when nothing comes; it is woken when something does.
const REST: Duration = Duration::from_millis(100);
/// How many bytes of a partition go into one batch at most, so that partitions take turns.
const MOST_BYTES: u64 = 8 << 20;
/// How much librdkafka fetches ahead at most, all partitions together, where the options do not say.
const FETCHED_AHEAD: usize = 64 << 10;

/// What is to be read.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub table: String,
    pub settings: Arc<Settings>,
    pub layout: Layout,
    pub projection: SchemaRef,
}

/// Rows of one partition, and how far it is read with them.
pub(super) struct Piece {
    pub batch: SourceBatch,
    pub from: FromPartition,
    pub split: Arc<str>,
    pub place: Place,
}

/// What the thread shares with its source.
#[derive(Default)]
pub(super) struct Shared {
    /// Messages that were passed over because they could not be read.
    pub skipped: AtomicU64,
    /// The consumer once it is there, for committing offsets.
    pub consumer: Mutex<Option<Arc<BaseConsumer>>>,
}

/// Wakes the thread when a queue has something.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_one();
    }

    fn wait(&self, timeout: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(rung, timeout, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// A partition that is read.
struct Split {
    of: TopicPartition,
    name: Arc<str>,
    place: Place,
    queue: PartitionQueue<DefaultConsumerContext>,
    /// Whether its last message was read, and what that means for its end has not been asked.
    at_last: bool,
    /// Whether its end is known to be there, with nothing but what is still to be read before it.
    end_is_there: bool,
    ended: bool,
}

struct Reader<'a> {
    plan: &'a Plan,
    consumer: Arc<BaseConsumer>,
    rows: Rows,
    splits: Vec<Split>,
    dead_letters: Option<DeadLetters>,
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    out: mpsc::Sender<Result<Piece>>,
    runtime: Handle,
}

/// Whether there is somebody who takes what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taker {
    There,
    Gone,
}

/// Reads until all partitions have ended, nobody listens any more, or something fails.
pub(super) fn run(
    plan: &Plan,
    restored: Option<&[SplitPosition]>,
    shared: Arc<Shared>,
    out: &mpsc::Sender<Result<Piece>>,
    runtime: Handle,
) {
    let outcome = Reader::open(plan, restored, shared, out.clone(), runtime).and_then(Reader::read);
    if let Err(error) = outcome {
        let _ = out.blocking_send(Err(error));
    }
}

impl<'a> Reader<'a> {
    fn open(
        plan: &'a Plan,
        restored: Option<&[SplitPosition]>,
        shared: Arc<Shared>,
        out: mpsc::Sender<Result<Piece>>,
        runtime: Handle,
    ) -> Result<Self> {
        let settings = &plan.settings;
        let mut config = settings.consumer()?;
        let asking: BaseConsumer = config.create().map_err(|e| failed("a consumer", &e))?;
        let places = places(&asking, settings, restored)?;
        if config.get("queued.max.messages.kbytes").is_none() {
            // Each partition has a queue of its own.
            let each = (FETCHED_AHEAD / places.len().max(1)).max(256);
            config.set("queued.max.messages.kbytes", each.to_string());
        }
        let consumer: Arc<BaseConsumer> = Arc::new(config.create().map_err(|e| failed("a consumer", &e))?);
        *shared.consumer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&consumer));
        let mut reader = Self {
            plan,
            consumer,
            rows: Rows::try_new(settings, &plan.layout, Arc::clone(&plan.projection))?,
            splits: Vec::new(),
            dead_letters: DeadLetters::open(settings)?,
            shared,
            bell: Arc::default(),
            out,
            runtime,
        };
        reader.add(places)?;
        Ok(reader)
    }

    /// Begins to read partitions.
    fn add(&mut self, places: Vec<(TopicPartition, Place)>) -> Result<()> {
        let open = |(_, place): &&(TopicPartition, Place)| place.end.is_none_or(|end| place.next < end);
        let of: Vec<(TopicPartition, Place)> = places.iter().filter(open).cloned().collect();
        let (assigned, next): (Vec<_>, Vec<_>) = of.into_iter().map(|(of, place)| (of, place.next)).unzip();
        let list: TopicPartitionList = offsets::list(&assigned, |i| Offset::Offset(next[i]))?;
        for (of, place) in places {
            let queue = self.consumer.split_partition_queue(&of.topic, of.partition);
            let mut queue = queue.ok_or_else(|| Error::Option(format!("'{}' is no partition", of.split())))?;
            let bell = Arc::clone(&self.bell);
            queue.set_nonempty_callback(move || bell.ring());
            let ended = place.end.is_some_and(|end| place.next >= end);
            self.splits.push(Split {
                name: of.split().into(),
                of,
                place,
                queue,
                at_last: false,
                end_is_there: false,
                ended,
            });
        }
        if list.count() > 0 {
            self.consumer.incremental_assign(&list).map_err(|e| failed("assigning partitions", &e))?;
        }
        Ok(())
    }

    fn read(mut self) -> Result<()> {
        // So that a checkpoint knows of every partition before anything has come from it.
        for split in 0..self.splits.len() {
            if self.tell(split, false)? == Taker::Gone {
                return Ok(());
            }
        }
        for split in 0..self.splits.len() {
            if self.splits[split].ended && self.tell(split, true)? == Taker::Gone {
                return Ok(());
            }
        }
        let mut discovered = Instant::now();
        while self.splits.iter().any(|s| !s.ended) || self.plan.settings.end.is_none() {
            let mut idle = !self.serve()?;
            for split in 0..self.splits.len() {
                match self.turn(split)? {
                    Some(Taker::Gone) => return Ok(()),
                    Some(Taker::There) => idle = false,
                    None => {}
                }
            }
            if self.out.is_closed() {
                return Ok(());
            }
            if let Some(interval) = self.plan.settings.discovery
                && self.plan.settings.end.is_none()
                && discovered.elapsed() >= interval
            {
                self.discover()?;
                discovered = Instant::now();
            }
            if idle {
                self.bell.wait(REST);
            }
        }
        Ok(())
    }

    /// Hears what concerns the consumer as a whole. True when there was something.
    fn serve(&self) -> Result<bool> {
        match self.consumer.poll(Duration::ZERO) {
            None => Ok(false),
            Some(Ok(message)) => {
                let place = place_of(&message);
                Err(Error::internal(format!("a message at {place} came in a queue that is not its partition's")))
            }
            Some(Err(e)) => passes(&e).then_some(true).ok_or_else(|| failed(&self.plan.table, &e)),
        }
    }

    /// Takes what one partition has; `None` when it has nothing.
    fn turn(&mut self, number: usize) -> Result<Option<Taker>> {
        let Self { splits, rows, shared, dead_letters, runtime, consumer, .. } = self;
        let split = &mut splits[number];
        if split.ended {
            return Ok(None);
        }
        let before = split.place.next;
        let (mut bytes, mut letters) = (0, false);
        while !rows.is_full() && bytes < MOST_BYTES {
            let message = match split.queue.poll(Duration::ZERO) {
                None => break,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    split.ended = split.end_is_there;
                    split.at_last = split.place.end.is_some();
                    break;
                }
                Some(Err(e)) if passes(&e) => continue,
                Some(Err(e)) => return Err(failed(&split.name, &e)),
                Some(Ok(message)) => message,
            };
            if split.place.end.is_some_and(|end| message.offset() >= end) {
                split.ended = true;
                break;
            }
            bytes += (message.payload_len() + message.key_len()) as u64;
            let incoming = incoming(&message, rows.needs_headers());
            match read_message(rows, &incoming, runtime)? {
                Outcome::Read | Outcome::Empty => {}
                Outcome::Skipped => {
                    shared.skipped.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Bad(reason) => match dead_letters {
                    Some(dead_letters) => {
                        dead_letters.put(&incoming, &reason)?;
                        letters = true;
                        shared.skipped.fetch_add(1, Ordering::Relaxed);
                    }
                    None => return Err(Error::record(place_of(&message), reason)),
                },
                Outcome::Unprepared => {
                    return Err(Error::record(place_of(&message), "the format cannot learn the message's schema"));
                }
            }
            split.at_last = false;
            split.place.next = message.offset() + 1;
            if split.place.end.is_some_and(|end| split.place.next >= end) {
                split.ended = true;
                break;
            }
        }
        if split.at_last && !split.ended {
            look_for_end(consumer, split);
        }
        if letters && let Some(dead_letters) = dead_letters {
            // They are to be there before a checkpoint passes over them.
            dead_letters.flush()?;
        }
        let (ended, moved) = (split.ended, split.place.next != before);
        if !ended && !moved {
            return Ok(None);
        }
        let changes = self.rows.flush()?;
        let taker = self.give(number, SourceBatch { changes, bytes }, ended);
        if ended && taker == Taker::There {
            self.unassign(number)?;
        }
        Ok(Some(taker))
    }

    /// Tells of a partition without rows.
    fn tell(&mut self, split: usize, ended: bool) -> Result<Taker> {
        let batch = SourceBatch { changes: self.rows.flush()?, bytes: 0 };
        Ok(self.give(split, batch, ended))
    }

    /// What lies behind the end is not to be fetched.
    fn unassign(&self, number: usize) -> Result<()> {
        let list = offsets::list(std::slice::from_ref(&self.splits[number].of), |_| Offset::Invalid)?;
        self.consumer.incremental_unassign(&list).map_err(|e| failed(&self.splits[number].name, &e))
    }

    fn give(&self, number: usize, batch: SourceBatch, ended: bool) -> Taker {
        let split = &self.splits[number];
        let from = FromPartition { partition: split.place.number, ended };
        let piece = Piece { batch, from, split: Arc::clone(&split.name), place: split.place };
        if self.out.blocking_send(Ok(piece)).is_ok() { Taker::There } else { Taker::Gone }
    }

    /// What a broker said of new partitions; one that is away will be asked again.
    fn told<T>(&self, answer: Result<T>) -> Option<T> {
        answer.inspect_err(|e| log::warn!("looking for new partitions of table '{}': {e}", self.plan.table)).ok()
    }

    /// Begins to read partitions that have come since, from their beginning.
    fn discover(&mut self) -> Result<()> {
        let settings = &self.plan.settings;
        let found = offsets::partitions(&self.consumer, &settings.topics);
        let Some(found) = self.told(found) else { return Ok(()) };
        let new = without(found, self.splits.iter().map(|s| &s.of));
        let first = offsets::resolve(&self.consumer, settings, &Point::Earliest, false, &new);
        let Some(first) = self.told(first) else { return Ok(()) };
        if new.is_empty() {
            return Ok(());
        }
        let known = self.splits.len();
        let number = self.splits.iter().map(|s| s.place.number + 1).max().unwrap_or(0);
        let places = new.into_iter().zip(first).enumerate();
        self.add(places.map(|(i, (of, next))| (of, Place { number: number + i, next, end: None })).collect())?;
        for split in known..self.splits.len() {
            if self.tell(split, false)? == Taker::Gone {
                break;
            }
        }
        Ok(())
    }
}

/// Where each partition is to be read from, and up to where.
fn places(
    consumer: &BaseConsumer,
    settings: &Settings,
    restored: Option<&[SplitPosition]>,
) -> Result<Vec<(TopicPartition, Place)>> {
    let mut places = Vec::new();
    for position in restored.unwrap_or_default() {
        places.push(offsets::restored(position)?);
    }
    places.sort_by_key(|(_, place)| place.number);
    if restored.is_some() && settings.end.is_some() {
        // What a bounded run reads was settled when it began.
        return Ok(places);
    }
    let new = without(offsets::partitions(consumer, &settings.topics)?, places.iter().map(|(of, _)| of));
    // Those that were not there when the checkpoint was taken have come since.
    let start = if restored.is_some() { &Point::Earliest } else { &settings.start };
    let next = offsets::resolve(consumer, settings, start, false, &new)?;
    let ends = match &settings.end {
        Some(end) => offsets::resolve(consumer, settings, end, true, &new)?.into_iter().map(Some).collect(),
        None => vec![None; new.len()],
    };
    let number = places.last().map_or(0, |(_, place)| place.number + 1);
    for (i, (of, (next, end))) in new.into_iter().zip(next.into_iter().zip(ends)).enumerate() {
        places.push((of, Place { number: number + i, next, end }));
    }
    Ok(places)
}

fn without<'a>(found: Vec<TopicPartition>, known: impl Iterator<Item = &'a TopicPartition>) -> Vec<TopicPartition> {
    let known: BTreeSet<&TopicPartition> = known.collect();
    found.into_iter().filter(|p| !known.contains(p)).collect()
}

/// Reads a message, asking whom its format must ask.
fn read_message(rows: &mut Rows, message: &Incoming<'_>, runtime: &Handle) -> Result<Outcome> {
    /// Key and value may each have to ask once.
    const QUESTIONS: usize = 3;
    for _ in 0..QUESTIONS {
        match rows.read(message)? {
            Outcome::Unprepared => runtime.block_on(rows.prepare())?,
            outcome => return Ok(outcome),
        }
    }
    Ok(Outcome::Unprepared)
}

/// Looks whether the end of a partition whose last message was read is there: before it there may be marks of transactions
/// that are no messages. What came since then is still to be read, so that the partition ends with the last message that is
/// told of next; so it is to be told of anew.
fn look_for_end(consumer: &BaseConsumer, split: &mut Split) {
    let Some(end) = split.place.end else { return };
    let found = consumer.fetch_watermarks(&split.of.topic, split.of.partition, ANSWER).and_then(|(_, last)| {
        if last >= end {
            consumer.seek(&split.of.topic, split.of.partition, Offset::Offset(split.place.next), ANSWER)?;
            split.end_is_there = true;
        }
        Ok(())
    });
    match found {
        Ok(()) => split.at_last = false,
        // It is asked again: a broker that has just been started knows of no partition at first.
        Err(e) => log::warn!("Kafka: {}: {e}", split.name),
    }
}

fn incoming<'m>(message: &'m BorrowedMessage<'_>, headers: bool) -> Incoming<'m> {
    let headers = message.headers().filter(|_| headers);
    Incoming {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp(),
        key: message.key(),
        value: message.payload(),
        headers: headers.map(|h| h.iter().map(|h| (h.key, h.value)).collect()).unwrap_or_default(),
    }
}

fn place_of(message: &BorrowedMessage<'_>) -> String {
    format!("topic '{}', partition {}, offset {}", message.topic(), message.partition(), message.offset())
}

/// Whether a consumer gets over an error by itself.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let KafkaError::MessageConsumption(code) = error else { return false };
    let passes = matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::NodeUpdate
    );
    if passes {
        log::warn!("Kafka: {error}");
    }
    passes
}
