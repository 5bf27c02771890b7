//! A producer that tells of messages that did not arrive.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use super::failed;
use crate::{Error, Result};

/// How long messages may take to arrive when they are waited for; Kafka's own limit for a message is shorter.
const FLUSH: Duration = Duration::from_secs(600);
/// How long a full queue is served at a time.
const SERVE: Duration = Duration::from_millis(50);

/// A message to be sent.
pub(super) type Record<'a> = BaseRecord<'a, [u8], [u8]>;

/// Hears what became of messages.
#[derive(Debug, Default, Clone)]
pub(super) struct Deliveries {
    /// Why the first that did not arrive did not.
    failed: Arc<OnceLock<String>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        use RDKafkaErrorCode::{PurgeInflight, PurgeQueue};
        let Err((error, message)) = result else { return };
        // What a transaction that ends without commit takes back.
        if !matches!(error.rdkafka_error_code(), Some(PurgeInflight | PurgeQueue)) {
            let _ = self.failed.set(format!("a message to topic '{}' did not arrive: {error}", message.topic()));
        }
    }
}

/// A producer; clones are the same one.
#[derive(Clone)]
pub(super) struct Producer {
    client: Arc<BaseProducer<Deliveries>>,
    deliveries: Deliveries,
}

impl Producer {
    /// Connects in the background.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub fn create(config: &ClientConfig) -> Result<Self> {
        let deliveries = Deliveries::default();
        let client = config.create_with_context(deliveries.clone()).map_err(|e| failed("a producer", &e))?;
        Ok(Self { client: Arc::new(client), deliveries })
    }

    /// Queues a message; waits, in the background, while the queue is full.
    ///
    /// # Errors
    /// When the message cannot be sent at all, or an earlier one did not arrive.
    pub async fn send(&self, mut record: Record<'_>) -> Result<()> {
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
                Err((error, back)) => return Err(self.refused(back.topic, &error)),
            }
            self.blocking(|producer| {
                producer.poll(SERVE);
                Ok(())
            })
            .await?;
            self.check()?;
        }
    }

    /// As [`Producer::send`], on a thread that may wait.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn send_blocking(&self, mut record: Record<'_>) -> Result<()> {
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
                Err((error, back)) => return Err(self.refused(back.topic, &error)),
            }
            self.client.poll(SERVE);
            self.check()?;
        }
    }

    fn refused(&self, topic: &str, error: &KafkaError) -> Error {
        match self.check() {
            Err(earlier) => earlier,
            Ok(()) => failed(&format!("topic '{topic}'"), error),
        }
    }

    /// Hears what became of messages so far.
    ///
    /// # Errors
    /// When one did not arrive, or the producer has failed for good, as one that was fenced off.
    pub fn serve(&self) -> Result<()> {
        self.client.poll(Duration::ZERO);
        self.check()
    }

    fn check(&self) -> Result<()> {
        if let Some((code, reason)) = self.client.client().fatal_error() {
            return Err(match is_fenced(code) {
                true => fenced(),
                false => failed("a producer", &format!("{code}: {reason}")),
            });
        }
        match self.deliveries.failed.get() {
            Some(reason) => Err(failed("a producer", reason)),
            None => Ok(()),
        }
    }

    /// Waits until all messages have arrived.
    ///
    /// # Errors
    /// When one does not.
    pub fn flush_blocking(&self) -> Result<()> {
        let flushed = self.client.flush(FLUSH);
        self.check()?;
        flushed.map_err(|e| failed("a producer", &e))
    }

    /// As [`Producer::flush_blocking`], in the background.
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&self) -> Result<()> {
        let this = self.clone();
        joined(tokio::task::spawn_blocking(move || this.flush_blocking()).await)?
    }

    /// Does what blocks, in the background.
    ///
    /// # Errors
    /// Its own.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl Fn(&BaseProducer<Deliveries>) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T> {
        let client = Arc::clone(&self.client);
        let done = joined(tokio::task::spawn_blocking(move || until_done(|| work(&client))).await)?;
        done.map_err(|error| match self.check() {
            Err(e) => e,
            Ok(()) => match error.rdkafka_error_code().is_some_and(is_fenced) {
                true => fenced(),
                false => failed("a producer", &error),
            },
        })
    }

    /// The client itself.
    pub fn client(&self) -> &Arc<BaseProducer<Deliveries>> {
        &self.client
    }
}

/// Does it again as long as Kafka says that this may help.
fn until_done<T>(work: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        match work() {
            Err(KafkaError::Transaction(e)) if e.is_retriable() => std::thread::sleep(SERVE),
            done => return done,
        }
    }
    work()
}

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
    matches!(code, Fenced | ProducerFenced | InvalidProducerEpoch)
}

fn fenced() -> Error {
    Error::Execution(
        "Kafka: another run of the job writes with the same transactional id, and has fenced this one off".into(),
    )
}

/// What blocking work gave, or its panic as an error.
pub(super) fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T> {
    result.map_err(|e| Error::Panic { place: "connector 'kafka'".into(), message: e.to_string() })
}
