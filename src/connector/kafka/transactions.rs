//! Exactly once: transactions that are committed with checkpoints.
//!
//! What is written goes into an open transaction. [`Sink::prepare`] makes it durable, with a *marker* that says which checkpoint it
//! is of: an offset of a consumer group named after the sink, which Kafka commits with the transaction or not at all.
//! [`Sink::commit`] commits both. Meanwhile the next rows go into a transaction of another producer; the two take turns.
//!
//! Nobody but the process that began a transaction can commit it. So the rows of a prepared one stand in the checkpoint, and when
//! the process is gone, [`Sink::recover`] of the next
//!
//! 1. takes over the transactional ids, which aborts what was open, waits for what was being committed, and fences off
//!    whoever still uses them;
//! 2. reads the marker, which now stands still;
//! 3. writes again, with its marker, what was prepared for a checkpoint behind the marker.
//!
//! A crash at any point of this leaves the marker at the last checkpoint whose rows can be seen.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::producer::Producer as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::failed;
use super::offsets::committed;
use super::options::Settings;
use super::producer::{Producer, joined};
use super::records::Records;
use super::sink::partitions_of;
use crate::change::ChangeBatch;
use crate::connector::{Prepared, Sink, SinkRecovery};
use crate::{Error, Result};

/// How many producers take turns.
const PRODUCERS: usize = 2;
/// How many there are at most: one more for each checkpoint that fails while the job goes on.
const MOST_PRODUCERS: usize = 6;
/// How long Kafka has to end a transaction.
const END: std::time::Duration = std::time::Duration::from_secs(120);

/// What stands in a checkpoint of a prepared transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    transactional_id: String,
    checkpoint: u64,
}

/// Writes in transactions.
pub(super) struct Transactions {
    records: Records,
    config: ClientConfig,
    /// What reads the marker.
    reading: ClientConfig,
    prefix: String,
    topic: String,
    /// How many bytes of messages a transaction may hold.
    max_size: u64,
    /// There since [`Sink::recover`].
    running: Option<Running>,
}

/// A sink whose job takes checkpoints.
struct Running {
    /// Names the consumer group of the marker.
    id: String,
    /// The topic in whose first partition the group keeps the marker.
    topic: String,
    group: Arc<BaseConsumer>,
    /// The producers without a transaction.
    free: VecDeque<Turn>,
    /// How many producers there are.
    producers: usize,
    open: Option<Open>,
    /// Those whose transaction is to be committed, by the order of the checkpoints.
    prepared: VecDeque<(Turn, u64)>,
}

/// A producer and its transactional id.
#[derive(Clone)]
struct Turn {
    id: String,
    producer: Producer,
}

/// The transaction that rows go into.
struct Open {
    turn: Turn,
    rows: Vec<ChangeBatch>,
    size: u64,
}

impl Transactions {
    /// Begins nothing yet.
    ///
    /// # Errors
    /// When the options are wrong.
    pub fn new(
        records: Records,
        settings: &Settings,
        config: ClientConfig,
        prefix: &str,
        max_size: u64,
    ) -> Result<Self> {
        let mut reading = settings.consumer()?;
        reading.set("isolation.level", "read_committed");
        let topic = records.topic().map(str::to_owned).ok_or_else(|| {
            Error::Option("'sink.delivery-guarantee' = 'exactly-once' is for tables of one topic".into())
        })?;
        Ok(Self { records, config, reading, prefix: prefix.to_owned(), topic, max_size, running: None })
    }

    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| {
            Error::Option(
                "'sink.delivery-guarantee' = 'exactly-once' needs checkpoints, with which transactions are committed: SET \
                 'execution.checkpointing.interval' and 'execution.checkpointing.dir'"
                    .into(),
            )
        })
    }

    /// The transaction that is open, or a new one.
    async fn open(&mut self) -> Result<Open> {
        if let Some(open) = self.running()?.open.take() {
            return Ok(open);
        }
        let config = self.config.clone();
        let running = self.running()?;
        let turn = match running.free.pop_front() {
            Some(turn) => turn,
            None if running.producers < MOST_PRODUCERS => {
                running.producers += 1;
                let (id, number) = (running.id.clone(), running.producers - 1);
                Turn::take_over(&config, &id, number).await?
            }
            None => return Err(Error::Execution("Kafka: too many checkpoints have failed in a row".into())),
        };
        turn.producer.blocking(|p| p.begin_transaction()).await?;
        Ok(Open { turn, rows: Vec::new(), size: 0 })
    }

    /// Writes what an earlier run prepared and did not commit.
    async fn write_again(&mut self, rows: Vec<ChangeBatch>, checkpoint: u64) -> Result<()> {
        let open = self.open().await?;
        let (turn, producer) = (open.turn.clone(), open.turn.producer.clone());
        self.running()?.open = Some(open);
        for changes in &rows {
            self.records.send(changes, &producer).await?;
            producer.serve()?;
        }
        let running = self.running()?;
        running.mark(&producer, checkpoint).await?;
        running.open = None;
        running.commit(turn).await
    }
}

impl Turn {
    /// A producer that takes over a transactional id.
    async fn take_over(config: &ClientConfig, id: &str, number: usize) -> Result<Self> {
        let id = format!("{id}-{number}");
        let mut config = config.clone();
        config.set("transactional.id", &id);
        let producer = Producer::create(&config)?;
        producer.blocking(|p| p.init_transactions(END)).await?;
        Ok(Self { id, producer })
    }
}

impl Running {
    /// Takes over the transactional ids.
    async fn take_over(config: &ClientConfig, reading: &ClientConfig, id: String, topic: &str) -> Result<Self> {
        // Also those that a run has which never came to need them: the last one may have.
        let all = (0..MOST_PRODUCERS).map(|number| Turn::take_over(config, &id, number));
        let mut free = VecDeque::from(futures::future::try_join_all(all).await?);
        let unneeded = free.split_off(PRODUCERS);
        // Taking leave of a broker takes time.
        drop(tokio::task::spawn_blocking(move || drop(unneeded)));
        if let Some(turn) = free.front() {
            partitions_of(&turn.producer, topic).await?;
        }
        let mut reading = reading.clone();
        reading.set("group.id", &id);
        let group: BaseConsumer = reading.create().map_err(|e| failed("a consumer", &e))?;
        let group = Arc::new(group);
        Ok(Self {
            id,
            topic: topic.to_owned(),
            group,
            free,
            producers: PRODUCERS,
            open: None,
            prepared: VecDeque::new(),
        })
    }

    /// The marker as a list of one partition.
    fn place(&self, offset: Offset) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, 0, offset).map_err(|e| failed(&self.topic, &e))?;
        Ok(list)
    }

    /// Up to which checkpoint all can be seen; `None` where no run has said.
    async fn committed(&self) -> Result<Option<u64>> {
        let about = |e| failed(&format!("group '{}'", self.id), &e);
        let (group, place) = (Arc::clone(&self.group), self.place(Offset::Invalid)?);
        let asked = tokio::task::spawn_blocking(move || committed(&group, &place));
        let answered = joined(asked.await)?.map_err(about)?;
        let element = answered.elements();
        let Some(element) = element.first() else { return Ok(None) };
        element.error().map_err(about)?;
        match element.offset() {
            Offset::Offset(checkpoint) => Ok(u64::try_from(checkpoint).ok()),
            _ => Ok(None),
        }
    }

    /// Puts the marker into the transaction that is open.
    async fn mark(&self, producer: &Producer, checkpoint: u64) -> Result<()> {
        let checkpoint =
            i64::try_from(checkpoint).map_err(|_| Error::internal("a checkpoint's number is too large"))?;
        let group: ConsumerGroupMetadata =
            self.group.group_metadata().ok_or_else(|| Error::internal("a consumer without a group"))?;
        let place = self.place(Offset::Offset(checkpoint))?;
        producer.flush().await?;
        producer.blocking(move |p| p.send_offsets_to_transaction(&place, &group, END)).await
    }

    /// Commits a producer's transaction, which has its turn again.
    async fn commit(&mut self, turn: Turn) -> Result<()> {
        turn.producer.blocking(|p| p.commit_transaction(END)).await?;
        self.free.push_back(turn);
        Ok(())
    }
}

#[async_trait]
impl Sink for Transactions {
    async fn write(&mut self, changes: ChangeBatch) -> Result<()> {
        let mut open = self.open().await?;
        let sent = self.records.send(&changes, &open.turn.producer).await;
        let served = open.turn.producer.serve();
        open.rows.push(changes);
        open.size += *sent.as_ref().unwrap_or(&0);
        let (size, most) = (open.size, self.max_size);
        // Also after a failure: it is aborted when the sink is dropped.
        self.running()?.open = Some(open);
        served.and(sent)?;
        if size > most {
            return Err(Error::Execution(format!(
                "Kafka: the messages since the last checkpoint have {size} bytes, which is more than \
                 'millstream.transaction.max-size' allows one transaction ({most}); take checkpoints more often \
                 ('execution.checkpointing.interval')"
            )));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        let producers = running.open.iter().map(|o| &o.turn).chain(running.prepared.iter().map(|p| &p.0));
        producers.chain(&running.free).try_for_each(|turn| turn.producer.serve())
    }

    async fn recover(&mut self, recovery: SinkRecovery) -> Result<()> {
        let id = format!("{}-{}", self.prefix, recovery.id);
        let running = Running::take_over(&self.config, &self.reading, id, &self.topic).await?;
        let running = self.running.insert(running);
        let committed = running.committed().await?;
        let mut newest = 0;
        for prepared in recovery.prepared {
            let Note { checkpoint, .. } = note(&prepared)?;
            newest = newest.max(checkpoint);
            let Some(committed) = committed else { return Err(forgotten(&self.running()?.id)) };
            if checkpoint < committed {
                log::warn!(
                    "Kafka: checkpoint {committed} was committed, and the job goes on from {checkpoint}: what was written in between \
                     comes again"
                );
            }
            if checkpoint > committed {
                self.write_again(prepared.rows, checkpoint).await?;
            }
        }
        // From here on the marker speaks of this run's checkpoints, which an earlier run may have counted further.
        self.write_again(Vec::new(), newest).await
    }

    async fn prepare(&mut self, checkpoint: u64) -> Result<Option<Prepared>> {
        let Some(open) = self.running()?.open.take() else { return Ok(None) };
        let running = self.running()?;
        running.mark(&open.turn.producer, checkpoint).await?;
        let note = Note { transactional_id: open.turn.id.clone(), checkpoint };
        let note = serde_json::to_string(&note).map_err(|e| Error::internal(format!("a note as JSON: {e}")))?;
        running.prepared.push_back((open.turn, checkpoint));
        Ok(Some(Prepared { note, rows: open.rows }))
    }

    async fn commit(&mut self, prepared: Prepared) -> Result<()> {
        let note = note(&prepared)?;
        let running = self.running()?;
        match running.prepared.pop_front() {
            Some((turn, checkpoint)) if checkpoint == note.checkpoint && turn.id == note.transactional_id => {
                running.commit(turn).await
            }
            _ => Err(Error::internal(format!("checkpoint {} is committed out of its order", note.checkpoint))),
        }
    }

    async fn close(&mut self) -> Result<()> {
        match self.running()?.open {
            Some(_) => Err(Error::internal("a Kafka sink was closed before its last rows were committed")),
            None => Ok(()),
        }
    }
}

impl Drop for Transactions {
    /// What is not committed is dropped at once, so that readers need not wait until it times out.
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        let prepared = running.prepared.into_iter().map(|(turn, _)| turn);
        let left: Vec<Turn> = running.open.into_iter().map(|open| open.turn).chain(prepared).collect();
        if left.is_empty() {
            return;
        }
        let abort = move || {
            for turn in left {
                // It has failed already, and whoever goes on aborts it as well.
                let _ = turn.producer.client().abort_transaction(END);
            }
        };
        let _ = std::thread::Builder::new().name("millstream-kafka".into()).spawn(abort);
    }
}

fn note(prepared: &Prepared) -> Result<Note> {
    serde_json::from_str(&prepared.note)
        .map_err(|e| Error::Option(format!("'{}' is no note of a Kafka transaction: {e}", prepared.note)))
}

fn forgotten(group: &str) -> Error {
    Error::Option(format!(
        "Kafka does not know (any more) which checkpoint the consumer group '{group}' has committed, so that it cannot be told \
         whether the rows of the last one can be seen already; see 'offsets.retention.minutes' of the broker"
    ))
}
