//! Topics as a sink.

use std::time::Duration;

use async_trait::async_trait;
use rdkafka::producer::Producer as _;

use super::columns::Layout;
use super::offsets::ANSWER;
use super::options::{Guarantee, Settings};
use super::producer::Producer;
use super::records::Records;
use super::transactions::Transactions;
use crate::change::ChangeBatch;
use crate::connector::{Prepared, Sink, TableDescriptor};
use crate::{Error, Result};

/// How often a topic that is being made is looked for.
const TRIES: u32 = 100;
/// How long after one look the next follows.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes messages that are to be read at once: all that a checkpoint covers have arrived before it, but what is written again
/// after a failure comes twice.
struct AtOnce {
    records: Records,
    producer: Producer,
    guarantee: Guarantee,
}

/// A sink, as the options say what they promise.
///
/// # Errors
/// When the table cannot be written.
pub(super) fn open(table: &TableDescriptor, settings: &Settings) -> Result<Box<dyn Sink>> {
    let layout = Layout::of(table, settings)?;
    let records = Records::try_new(settings, &layout)?;
    let config = settings.producer()?;
    match settings.transactions() {
        Some((prefix, max_size)) => Ok(Box::new(Transactions::new(records, settings, config, prefix, max_size)?)),
        None => {
            let producer = Producer::create(&config)?;
            Ok(Box::new(AtOnce { records, producer, guarantee: settings.guarantee.clone() }))
        }
    }
}

#[async_trait]
impl Sink for AtOnce {
    async fn write(&mut self, changes: ChangeBatch) -> Result<()> {
        self.records.send(&changes, &self.producer).await?;
        self.producer.serve()
    }

    async fn flush(&mut self) -> Result<()> {
        self.producer.serve()
    }

    async fn prepare(&mut self, _checkpoint: u64) -> Result<Option<Prepared>> {
        match self.guarantee {
            Guarantee::None => self.producer.serve()?,
            Guarantee::AtLeastOnce | Guarantee::ExactlyOnce { .. } => self.producer.flush().await?,
        }
        Ok(None)
    }

    async fn close(&mut self) -> Result<()> {
        self.producer.flush().await
    }
}

/// How many partitions a topic has, which a broker may make when it is asked.
///
/// # Errors
/// When there is no such topic.
pub(super) async fn partitions_of(producer: &Producer, topic: &str) -> Result<i32> {
    for _ in 0..TRIES {
        let asked = topic.to_owned();
        let metadata = producer.blocking(move |p| p.client().fetch_metadata(Some(asked.as_str()), ANSWER)).await?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let partitions = found.filter(|t| t.error().is_none()).map_or(0, |t| t.partitions().len());
        if partitions > 0 {
            return Ok(i32::try_from(partitions).unwrap_or(i32::MAX));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::Option(format!("there is no topic '{topic}', and the broker does not make one")))
}
