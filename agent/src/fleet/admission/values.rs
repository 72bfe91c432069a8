//! What has a series of its own, with its counts.

use std::sync::Arc;

use agent_ebpf::CLIENT_PATHS;

use super::super::window::Key;
use crate::report::{Report, Topic};

/// Bytes of a topic-partition, of a topic, or of everything that has no series of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicBytes {
    /// Topic, or [`OTHER`](crate::report::OTHER).
    pub topic: Arc<str>,
    /// Partition; `None` for a whole topic and for [`OTHER`](crate::report::OTHER).
    pub partition: Option<u32>,
    /// Bytes out of its log inside the kernel.
    pub zero_copy_read_bytes: u64,
    /// Bytes out of its log into user memory.
    pub copied_read_bytes: u64,
    /// Bytes into its log.
    pub written_bytes: u64,
    /// Bytes that came into the page cache while it was read: asked for.
    pub asked_bytes: u64,
    /// The same: read ahead.
    pub read_ahead_bytes: u64,
    /// Bytes read in sequence.
    pub read_sequential_bytes: u64,
    /// Bytes read elsewhere than where the last call of the reader had ended.
    pub read_random_bytes: u64,
    /// Bytes appended in sequence.
    pub written_sequential_bytes: u64,
    /// Bytes written elsewhere.
    pub written_random_bytes: u64,
}

/// Counts of [`TopicBytes`].
pub(super) const COUNTS: usize = 9;

impl TopicBytes {
    pub(crate) const fn named(topic: Arc<str>, partition: Option<u32>) -> Self {
        Self {
            topic,
            partition,
            zero_copy_read_bytes: 0,
            copied_read_bytes: 0,
            written_bytes: 0,
            asked_bytes: 0,
            read_ahead_bytes: 0,
            read_sequential_bytes: 0,
            read_random_bytes: 0,
            written_sequential_bytes: 0,
            written_random_bytes: 0,
        }
    }

    /// As a counter that wraps, from which [`Series::change`] makes one that does not.
    pub(super) fn offset(&mut self, offset: [u64; COUNTS]) {
        self.counts().into_iter().zip(offset).for_each(|(count, offset)| *count = count.wrapping_add(offset));
    }

    const fn counts(&mut self) -> [&mut u64; COUNTS] {
        [
            &mut self.zero_copy_read_bytes,
            &mut self.copied_read_bytes,
            &mut self.written_bytes,
            &mut self.asked_bytes,
            &mut self.read_ahead_bytes,
            &mut self.read_sequential_bytes,
            &mut self.read_random_bytes,
            &mut self.written_sequential_bytes,
            &mut self.written_random_bytes,
        ]
    }

    pub(super) const fn bytes(&self) -> [u64; COUNTS] {
        [
            self.zero_copy_read_bytes,
            self.copied_read_bytes,
            self.written_bytes,
            self.asked_bytes,
            self.read_ahead_bytes,
            self.read_sequential_bytes,
            self.read_random_bytes,
            self.written_sequential_bytes,
            self.written_random_bytes,
        ]
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.counts().into_iter().zip(other.bytes()).for_each(|(count, more)| *count += more);
    }

    pub(crate) fn add(&mut self, topic: &Topic) {
        self.zero_copy_read_bytes += topic.zero_copy_read_bytes;
        self.copied_read_bytes += topic.copied_read_bytes;
        self.written_bytes += topic.written_bytes;
        if let Some(cache) = &topic.cache {
            self.asked_bytes += cache.asked_bytes;
            self.read_ahead_bytes += cache.read_ahead_bytes;
        }
        if let Some(order) = &topic.order {
            self.read_sequential_bytes += order.read.sequential_bytes;
            self.read_random_bytes += order.read.random_bytes;
            self.written_sequential_bytes += order.written.sequential_bytes;
            self.written_random_bytes += order.written.random_bytes;
        }
    }
}

/// Which of a Report's topics have series: a broker's ten thousand topic-partitions are in memory once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicSeries {
    /// Places of those topic-partitions in the Report that have series of their own, in the order of their names.
    pub(super) own: Vec<u32>,
    /// Topics with all their partitions, and [`OTHER`](crate::report::OTHER).
    pub(super) sums: Vec<TopicBytes>,
}

impl TopicSeries {
    /// Every topic-partition of a Report, in its order.
    #[cfg(test)]
    pub(crate) fn of_all(report: &Report) -> Self {
        Self { own: (0u32..).zip(&report.topics).map(|(place, _)| place).collect(), sums: Vec::new() }
    }

    /// Of the Report that they are of, each with its counts.
    pub(crate) fn of<'a>(&'a self, report: &'a Report) -> impl Iterator<Item = TopicBytes> + 'a {
        let own = self.own.iter().filter_map(|place| report.topics.get(*place as usize)).map(|topic| {
            let mut bytes = TopicBytes::named(Arc::clone(&topic.topic), Some(topic.partition));
            bytes.add(topic);
            bytes
        });
        own.chain(self.sums.iter().cloned())
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.own.len() + self.sums.len()
    }
}

/// What left through a listener of a topic, or of what stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowBytes {
    /// The listener.
    pub listener: Arc<Key>,
    /// Topic, `(files)`, `(none)`, or [`OTHER`](crate::report::OTHER).
    pub topic: Arc<str>,
    /// Bytes that left inside the kernel.
    pub zero_copy: u64,
    /// Bytes that left from memory.
    pub copied: u64,
    /// Bytes that had been read for it.
    pub read: u64,
}

/// How long calls took that moved bytes of a topic's log, of all its partitions and through all listeners.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicTook {
    /// Topic, or [`OTHER`](crate::report::OTHER).
    pub topic: Arc<str>,
    /// As [`crate::report::TopicLatency::path`].
    pub path: &'static str,
    /// Calls.
    pub calls: u64,
    /// All durations together, in seconds.
    pub seconds: f64,
    /// Calls that were slow.
    pub slow: u64,
}

/// What one client of a listener sent and was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSeries {
    /// The listener.
    pub listener: Key,
    /// Its address, or [`OTHER`](crate::report::OTHER).
    pub address: String,
    /// Bytes by [`agent_ebpf::ClientPath`].
    pub bytes: [u64; CLIENT_PATHS],
}
