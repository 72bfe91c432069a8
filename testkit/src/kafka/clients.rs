//! Clients of a broker: each job is one small JVM that says exactly what it moved.

use std::process::Command;

use serde::Deserialize;

use super::{Broker, Kafka, KafkaError, run};

/// What to produce.
#[derive(Clone, Debug)]
pub struct Produce<'a> {
    /// The topic, which must exist.
    pub topic: &'a str,
    /// Name of the listener to connect to.
    pub listener: &'a str,
    /// Bytes of all values together, exactly. There are no keys.
    pub bytes: u64,
    /// Bytes of a value; the last one may be shorter.
    pub record_bytes: u32,
    /// `batch.size`: a batch is sent when it has so many bytes,
    pub batch_bytes: u32,
    /// or when it has waited so long (`linger.ms`).
    pub linger_ms: u32,
}

impl<'a> Produce<'a> {
    /// So many bytes in values of 10,000 and batches of 64 KiB, without compression, with acks=all.
    #[must_use]
    pub fn new(topic: &'a str, listener: &'a str, bytes: u64) -> Self {
        Self { topic, listener, bytes, record_bytes: 10_000, batch_bytes: 65_536, linger_ms: 20 }
    }
}

/// What a client moved, by its own count.
///
/// The metrics count the bytes of Kafka's protocol: requests and answers of every kind, sizes included, from the first
/// request to the last answer when the client closes (org.apache.kafka.common.network.Selector). Seen with strace on
/// Kafka 4.1.2 and OpenJDK 17:
/// * On PLAINTEXT they are the bytes on the socket, exactly: what the broker sends on the listener's port to this
///   client (sendfile and writev) is `incoming_bytes`, what it reads there is `outgoing_bytes`.
/// * On SSL they are the bytes *inside* TLS. On the socket come 38 bytes for each TLS record (header 5, tag 16, type 1,
///   Java's padding 16), three records for each 32 KiB read from a segment, so 0.348 %, and 1 to 2 KB of handshake for
///   each of a client's two or three connections.
///
/// A consumer gets more than the segments hold: an answer may end in a part of a batch, which is fetched again. That is
/// at most one batch for each 8 MiB of a partition (`max.partition.fetch.bytes` of our consumer), 0.8 % with batches of
/// 64 KiB; seen: 0.2 to 0.4 %.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Moved {
    /// Records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Kafka's metric `incoming-byte-total` of the client.
    pub incoming_bytes: u64,
    /// Kafka's metric `outgoing-byte-total` of the client.
    pub outgoing_bytes: u64,
    /// From before the first connection to the last byte, in seconds; the start of the JVM is not in it.
    pub seconds: f64,
}

/// Clients of one broker. Jobs may run at the same time, each from a thread of its own.
#[derive(Clone, Copy, Debug)]
pub struct Clients<'a> {
    kafka: &'a Kafka,
    broker: &'a Broker,
}

impl<'a> Clients<'a> {
    /// Clients of this broker.
    #[must_use]
    pub fn new(kafka: &'a Kafka, broker: &'a Broker) -> Self {
        Self { kafka, broker }
    }

    /// Makes a topic, through the broker's first listener.
    ///
    /// # Errors
    /// What the client said, such as a topic that exists already.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<(), KafkaError> {
        self.create_topic_with(topic, partitions, &[])
    }

    /// The same with settings of the topic.
    ///
    /// # Errors
    /// What the client said.
    pub fn create_topic_with(&self, topic: &str, partitions: u32, settings: &[(&str, &str)]) -> Result<(), KafkaError> {
        let partitions = [("partitions".to_owned(), partitions.to_string())];
        let settings = settings.iter().map(|(key, value)| (format!("set.{key}"), (*value).to_owned()));
        self.job("create", topic, self.broker.first_listener(), partitions.into_iter().chain(settings)).map(drop)
    }

    /// Sends exactly the bytes asked for, to the partitions in turn.
    ///
    /// # Errors
    /// What the client said.
    pub fn produce(&self, what: &Produce<'_>) -> Result<Moved, KafkaError> {
        let numbers = [
            ("bytes", what.bytes),
            ("record", what.record_bytes.into()),
            ("batch", what.batch_bytes.into()),
            ("linger", what.linger_ms.into()),
        ];
        let numbers = numbers.map(|(name, value): (&str, u64)| (name.to_owned(), value.to_string()));
        self.job("produce", what.topic, what.listener, numbers)
    }

    /// Reads every partition from its beginning to the end that it has when this starts.
    ///
    /// # Errors
    /// What the client said.
    pub fn consume(&self, topic: &str, listener: &str) -> Result<Moved, KafkaError> {
        self.job("consume", topic, listener, [])
    }

    /// Reads one record after the other of a topic's first partition, each far from the one before: a twentieth of it at
    /// least, back and forth. One batch comes for each.
    ///
    /// # Errors
    /// What the client said.
    pub fn jump(&self, topic: &str, listener: &str, jumps: u32) -> Result<Moved, KafkaError> {
        self.job("jump", topic, listener, [("jumps".to_owned(), jumps.to_string())])
    }

    fn job(
        &self,
        job: &str,
        topic: &str,
        listener: &str,
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Moved, KafkaError> {
        let what = format!("the client that does `{job}` on topic {topic} through {listener}");
        let mut command = self.command(job, topic, listener)?;
        command.args(settings.into_iter().map(|(name, value)| format!("{name}={value}")));
        let answer = run::run(&what, command, &|_| ())?;
        let last = answer.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|_| KafkaError::Answer { what, answer: answer.clone() })
    }

    fn command(&self, job: &str, topic: &str, listener: &str) -> Result<Command, KafkaError> {
        let config = self.broker.client_config(listener)?;
        let log4j2 = self.broker.dir().join("log4j2-client.properties");
        let mut command = Command::new(&self.kafka.java);
        command.args(["-Xmx256m", "-XX:+UseSerialGC"]);
        command.arg(format!("-Dlog4j2.configurationFile={}", log4j2.display()));
        command.arg("-cp").arg(format!("{}:{}", self.kafka.load_classes.display(), self.kafka.class_path));
        command.args(["Load", job]).arg(format!("config={}", config.display())).arg(format!("topic={topic}"));
        Ok(command)
    }
}
