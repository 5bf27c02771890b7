//! `properties.*`: what Flink hands to Kafka's Java client, in the words of librdkafka.

use rdkafka::ClientConfig;
use regex::Regex;

use super::options::{PROPERTIES, Settings};
use crate::connector::Options;
use crate::{Error, Result};

/// Properties of the Java client that librdkafka has under another name.
const RENAMED: &[(&str, &str)] = &[
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("max.request.size", "message.max.bytes"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("request.timeout.ms", "socket.timeout.ms"),
    ("client.id.prefix", "client.id"),
    ("ssl.truststore.certificates", "ssl.ca.pem"),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ("ssl.keystore.key", "ssl.key.pem"),
];

/// Properties of the Java client that tune what is not there, or is our own matter: nothing is lost without them.
const WITHOUT_EFFECT: &[&str] = &[
    "max.poll.records",
    "max.block.ms",
    "default.api.timeout.ms",
    "metadata.max.idle.ms",
    "exclude.internal.topics",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.sample.window.ms",
    "metrics.recording.level",
    "auto.include.jmx.reporter",
    "register.consumer.metrics",
    // Read by `Settings` and by the source.
    "partition.discovery.interval.ms",
    COMMIT_ON_CHECKPOINT,
    AUTO_OFFSET_RESET,
];

/// Properties that cannot be taken, and why.
const REFUSED: &[(&str, &str)] = &[
    ("key.deserializer", "'key.format' says how keys are read"),
    ("value.deserializer", "'format' says how messages are read"),
    ("key.serializer", "'key.format' says how keys are written"),
    ("value.serializer", "'format' says how messages are written"),
    ("partitioner.class", "'sink.partitioner' says which partition a message goes to"),
    ("partitioner", "'sink.partitioner' says which partition a message goes to"),
    ("transactional.id", "'sink.transactional-id-prefix' names the transactions"),
    ("interceptor.classes", "there is no Java here to run them"),
    ("group.protocol", "partitions are assigned by the source itself, not by the group"),
    (
        "ssl.truststore.location",
        "a Java key store cannot be read; give 'properties.ssl.ca.location', a file of certificates (PEM)",
    ),
    (
        "ssl.truststore.password",
        "a Java key store cannot be read; give 'properties.ssl.ca.location', a file of certificates (PEM)",
    ),
    (
        "ssl.truststore.type",
        "a Java key store cannot be read; give 'properties.ssl.ca.location', a file of certificates (PEM)",
    ),
    ("ssl.keystore.type", "key stores are PKCS#12"),
    ("sasl.login.callback.handler.class", "there is no Java here to run it"),
    ("sasl.client.callback.handler.class", "there is no Java here to run it"),
];

const AUTO_COMMIT: &str = "enable.auto.commit";
const AUTO_OFFSET_RESET: &str = "auto.offset.reset";
const COMMIT_ON_CHECKPOINT: &str = "commit.offsets.on.checkpoint";
/// The group that a source without one reads as; it commits nothing.
const NO_GROUP: &str = "millstream";

/// What a source does where the group has committed nothing, or what was to be read is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    Earliest,
    Latest,
    Fail,
}

impl Settings {
    /// The configuration of a consumer.
    ///
    /// # Errors
    /// For a property that cannot be taken.
    pub fn consumer(&self) -> Result<ClientConfig> {
        let mut config = base(&self.properties)?;
        if self.group().is_none() {
            config.set("group.id", NO_GROUP);
        }
        let reset = match self.reset()? {
            Reset::Earliest => "earliest",
            Reset::Latest => "latest",
            Reset::Fail => "error",
        };
        config.set(AUTO_OFFSET_RESET, reset);
        for (key, value) in [
            (AUTO_COMMIT, "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
        ] {
            config.set(key, value);
        }
        checked(config)
    }

    /// The configuration of a producer.
    ///
    /// # Errors
    /// As [`Settings::consumer`].
    pub fn producer(&self) -> Result<ClientConfig> {
        let mut config = base(&self.properties)?;
        if self.properties.get("enable.idempotence").is_none() && self.properties.get("acks").is_none() {
            // As the Java client has it: what it sends again comes once and in order.
            config.set("enable.idempotence", "true");
        }
        // The partition of a key is the one that Java's clients, and so Flink, send it to.
        config.set("partitioner", "murmur2_random");
        if self.transactions().is_some() && self.properties.get("transaction.timeout.ms").is_none() {
            // The most that a broker allows by default; it must cover the time between two checkpoints.
            config.set("transaction.timeout.ms", "900000");
        }
        for key in ["group.id", AUTO_COMMIT, AUTO_OFFSET_RESET] {
            config.remove(key);
        }
        checked(config)
    }

    /// The consumer group that the table names.
    pub fn group(&self) -> Option<&str> {
        self.properties.get("group.id")
    }

    /// Whether the group is told of what checkpoints cover.
    pub fn commits(&self) -> bool {
        self.group().is_some() && !matches!(self.properties.boolean(COMMIT_ON_CHECKPOINT), Ok(Some(false)))
    }

    /// What to do without a committed offset.
    ///
    /// # Errors
    /// For a word that is none.
    pub fn reset(&self) -> Result<Reset> {
        match self.properties.get(AUTO_OFFSET_RESET).unwrap_or("none") {
            "earliest" | "smallest" | "beginning" => Ok(Reset::Earliest),
            "latest" | "largest" | "end" => Ok(Reset::Latest),
            "none" | "error" => Ok(Reset::Fail),
            other => Err(refused(AUTO_OFFSET_RESET, &format!("'{other}' is none of earliest, latest and none"))),
        }
    }
}

/// What both kinds of clients are given.
fn base(properties: &Options) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    for (key, value) in properties.iter() {
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
            return Err(refused(key, reason));
        }
        match key {
            AUTO_COMMIT if value.eq_ignore_ascii_case("true") => {
                return Err(refused(key, "offsets are committed when a checkpoint is durable, and not in between"));
            }
            AUTO_COMMIT => {}
            _ if WITHOUT_EFFECT.contains(&key) => {}
            "buffer.memory" => {
                let bytes = properties.integer(key)?.unwrap_or_default();
                config.set("queue.buffering.max.kbytes", (bytes / 1024).max(1).to_string());
            }
            "sasl.jaas.config" => {
                let (user, password) = login(value)
                    .ok_or_else(|| refused(key, "expected a login module with username=\"…\" and password=\"…\""))?;
                config.set("sasl.username", user).set("sasl.password", password);
            }
            _ => {
                let name = RENAMED.iter().find(|(java, _)| *java == key).map_or(key, |(_, name)| *name);
                config.set(name, value);
            }
        }
    }
    Ok(config)
}

/// User and password of what the Java client calls a JAAS configuration.
fn login(text: &str) -> Option<(String, String)> {
    let value = |name: &str| {
        let pattern = Regex::new(&format!(r#"\b{name}\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))"#)).ok()?;
        let found = pattern.captures(text)?;
        (1..=3).find_map(|group| found.get(group)).map(|found| found.as_str().to_owned())
    };
    Some((value("username")?, value("password")?))
}

/// A configuration that librdkafka takes.
fn checked(config: ClientConfig) -> Result<ClientConfig> {
    use rdkafka::error::KafkaError;
    match config.create_native_config() {
        Ok(_) => Ok(config),
        Err(KafkaError::ClientConfig(_, reason, key, _)) => Err(refused(&key, &reason)),
        Err(e) => Err(Error::Option(format!("the options '{PROPERTIES}*': {e}"))),
    }
}

fn refused(key: &str, reason: &str) -> Error {
    Error::Option(format!("option '{PROPERTIES}{key}': {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_logins_are_read() {
        let text = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"a b\" password='p\"';";
        assert_eq!(login(text), Some(("a b".into(), "p\"".into())));
        assert_eq!(login("x required username=u password=p;"), Some(("u".into(), "p".into())));
        assert_eq!(login("x required username=u;"), None);
    }

    #[test]
    fn properties_are_translated_or_refused_with_the_reason() {
        let read = |key: &str, value: &str| {
            let mut options = Options::default();
            options.set(key, value);
            base(&options).and_then(checked)
        };
        assert_eq!(read("fetch.max.wait.ms", "7").unwrap().get("fetch.wait.max.ms"), Some("7"));
        assert_eq!(read("buffer.memory", "33554432").unwrap().get("queue.buffering.max.kbytes"), Some("32768"));
        assert_eq!(read("linger.ms", "3").unwrap().get("linger.ms"), Some("3"));
        assert_eq!(read("max.poll.records", "3").unwrap().get("max.poll.records"), None);
        for (key, value, reason) in [
            ("value.deserializer", "x", "'format' says"),
            ("no.such.thing", "1", "No such configuration property"),
            ("enable.auto.commit", "true", "checkpoint"),
            ("fetch.min.bytes", "many", "fetch.min.bytes"),
        ] {
            let error = read(key, value).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(key), "{error}");
        }
    }
}
