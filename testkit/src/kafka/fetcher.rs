//! A client that fetches and throws away: one request after the other, exactly when it is told. A consumer decides itself when
//! it asks and for how much, which a measurement of each request cannot have.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

use super::{Broker, KafkaError, ready};

/// A consumer's default of `max.partition.fetch.bytes`.
const OF_PARTITION: i32 = 1 << 20;
/// A consumer's default of `fetch.max.bytes`.
const OF_ANSWER: i32 = 50 << 20;
const FETCH: u16 = 1;
/// The oldest that Kafka 4 takes, and the shortest.
const VERSION: u16 = 4;
const CORRELATION: u32 = 7;
/// An answer's fields before the topic's name: correlation, throttle time, number of topics.
const BEFORE_TOPIC: usize = 12;
/// A record batch's fields up to its `lastOffsetDelta`, inclusive.
const BATCH_HEAD: usize = 27;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection that reads a topic, again and again from its beginning.
pub struct Fetcher {
    stream: Box<dyn Stream>,
    topic: String,
    /// The next offset of each partition.
    next: Vec<i64>,
    answer: Vec<u8>,
    what: String,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("topic", &self.topic).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Connects to a listener, by TLS where it has that.
    ///
    /// # Errors
    /// A listener that is not there, and those of the connection.
    pub fn connect(broker: &Broker, listener: &str, topic: &str, partitions: usize) -> Result<Self, KafkaError> {
        let what = format!("the client that fetches topic {topic} through {listener}");
        let connect = || -> io::Result<Box<dyn Stream>> {
            let stream = ready::connect(broker.port(listener).map_err(io::Error::other)?)?;
            stream.set_nodelay(true)?;
            // A request under a tracer may take long.
            stream.set_read_timeout(None)?;
            match broker.certificate().filter(|_| broker.has_tls(listener)) {
                Some(certificate) => Ok(Box::new(encrypted(stream, &std::fs::read(certificate)?)?)),
                None => Ok(Box::new(stream)),
            }
        };
        let stream = connect().map_err(KafkaError::io(what.clone()))?;
        Ok(Self { stream, topic: topic.to_owned(), next: vec![0; partitions], answer: Vec::new(), what })
    }

    /// Asks for the next MiB of each partition and takes the answer; after the last one it begins again. Tells the answer's
    /// bytes, without those of TLS.
    ///
    /// # Errors
    /// A connection that broke, an answer that is none, an error of the broker.
    pub fn fetch(&mut self) -> Result<u64, KafkaError> {
        self.try_fetch().map_err(KafkaError::io(self.what.clone()))
    }

    fn try_fetch(&mut self) -> io::Result<u64> {
        self.stream.write_all(&request(&self.topic, &self.next))?;
        self.stream.flush()?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let length = u32::from_be_bytes(size) as usize;
        if length > self.answer.len() {
            self.answer.resize(length, 0);
        }
        let answer = self.answer.get_mut(..length).unwrap_or_default();
        self.stream.read_exact(answer)?;
        advance(answer, &mut self.next).ok_or_else(|| io::Error::other("the answer is none to a fetch"))??;
        Ok(u64::from(u32::from_be_bytes(size)) + 4)
    }
}

fn encrypted(stream: TcpStream, pem: &[u8]) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).map_err(io::Error::other)?).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// A Fetch request (org.apache.kafka.common.requests.FetchRequest) of all partitions from these offsets, with its size.
fn request(topic: &str, next: &[i64]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(FETCH.to_be_bytes());
    body.extend(VERSION.to_be_bytes());
    body.extend(CORRELATION.to_be_bytes());
    body.extend((-1_i16).to_be_bytes()); // no client id
    body.extend((-1_i32).to_be_bytes()); // no replica
    body.extend(0_i32.to_be_bytes()); // waits for nothing
    body.extend(0_i32.to_be_bytes()); // and is content with nothing
    body.extend(OF_ANSWER.to_be_bytes());
    body.push(0); // committed or not
    body.extend(1_i32.to_be_bytes()); // topics
    body.extend(u16::try_from(topic.len()).unwrap_or_default().to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(u32::try_from(next.len()).unwrap_or_default().to_be_bytes());
    for (partition, offset) in (0_u32..).zip(next) {
        body.extend(partition.to_be_bytes());
        body.extend(offset.to_be_bytes());
        body.extend(OF_PARTITION.to_be_bytes());
    }
    let mut request = u32::try_from(body.len()).unwrap_or_default().to_be_bytes().to_vec();
    request.extend(body);
    request
}

/// Reads from the bytes what comes next. `None`: they are no answer.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// Sets the offsets to what comes after an answer. `None` where it is no answer.
fn advance(answer: &[u8], next: &mut [i64]) -> Option<io::Result<()>> {
    let mut at = Cursor(answer);
    at.take(BEFORE_TOPIC)?;
    let name = at.i16()?;
    at.take(usize::try_from(name).ok()?)?;
    for _ in 0..at.i32()? {
        let partition = usize::try_from(at.i32()?).ok()?;
        let error = at.i16()?;
        if error != 0 {
            return Some(Err(io::Error::other(format!("the broker says error {error} of partition {partition}"))));
        }
        at.take(16)?; // high watermark and last stable offset
        let aborted = usize::try_from(at.i32()?.max(0)).ok()?;
        at.take(aborted * 16)?;
        let size = usize::try_from(at.i32()?.max(0)).ok()?;
        // Nothing more: from the beginning.
        *next.get_mut(partition)? = after(at.take(size)?).unwrap_or(0);
    }
    Some(Ok(()))
}

/// The offset after the last whole batch.
fn after(mut batches: &[u8]) -> Option<i64> {
    let mut next = None;
    while batches.len() >= BATCH_HEAD {
        let mut head = Cursor(batches);
        let (base, length) = (head.i64()?, usize::try_from(head.i32()?).ok()?);
        head.take(11)?; // leader epoch, magic, checksum, attributes
        let last = head.i32()?;
        let Some(rest) = batches.get(length + 12..) else { break };
        next = Some(base + i64::from(last) + 1);
        batches = rest;
    }
    next
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn batch(base: i64, records: i32) -> Vec<u8> {
        let mut batch = base.to_be_bytes().to_vec();
        batch.extend(60_i32.to_be_bytes());
        batch.extend([0; 11]);
        batch.extend((records - 1).to_be_bytes());
        batch.resize(72, 0);
        batch
    }

    fn answer(error: i16, records: &[u8]) -> Vec<u8> {
        let mut answer = vec![0; BEFORE_TOPIC];
        answer.extend(b"\0\x01t\0\0\0\x01\0\0\0\x01");
        answer.extend(error.to_be_bytes());
        answer.extend([0; 16]);
        answer.extend((-1_i32).to_be_bytes());
        answer.extend(u32::try_from(records.len()).unwrap().to_be_bytes());
        answer.extend(records);
        answer
    }

    #[test]
    fn it_goes_on_after_the_last_whole_batch_and_from_the_beginning_after_the_last_one() {
        let mut next = [5, 6];
        let mut records = [batch(6, 4), batch(10, 5)].concat();
        records.extend(&batch(15, 9)[..40]);
        advance(&answer(0, &records), &mut next).unwrap().unwrap();
        assert_eq!(next, [5, 15]);
        advance(&answer(0, &[]), &mut next).unwrap().unwrap();
        assert_eq!(next, [5, 0]);
    }

    #[test]
    fn an_error_and_half_an_answer_are_told() {
        assert!(advance(&answer(3, &[]), &mut [0, 0]).unwrap().is_err());
        assert!(advance(&answer(0, &batch(0, 1))[..40], &mut [0, 0]).is_none());
        assert!(advance(&answer(0, &[]), &mut [0]).is_none(), "a partition that was not asked for");
    }

    #[test]
    fn a_request_says_its_size() {
        let request = request("orders", &[1, 2]);
        assert_eq!(request[..4], u32::try_from(request.len() - 4).unwrap().to_be_bytes());
    }
}
