//! How much of the logs is in memory: looked at a few files at a time, without reading any of them.
//!
//! | module | what it does |
//! |---|---|
//! | [`pages`] | how much of one file is in memory |
//! | [`scanner`] | goes from file to file, so far at a time |

pub mod pages;
pub mod scanner;

use std::sync::Arc;

pub use scanner::Scanner;
use serde::Serialize;

/// How much of a broker's logs is in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Residency {
    /// Whether every log directory was looked through to its end.
    pub complete: bool,
    /// When the look ended, in seconds since 1970.
    pub at_unix_seconds: u64,
    /// Partitions, in the order of their names.
    pub partitions: Vec<Partition>,
    /// Directories and segments that could not be looked at, but for those that vanished meanwhile.
    pub unreadable: u64,
    /// Log directories that were left out: on network file systems, which may keep who asks waiting.
    pub skipped: Vec<String>,
}

/// How much of the log of one partition is in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: u32,
    /// Segments.
    pub segments: u64,
    /// Bytes of the segment that is written to, the one with the highest offset.
    pub active_bytes: u64,
    /// Of these, bytes in memory.
    pub active_resident_bytes: u64,
    /// Bytes of all others.
    pub older_bytes: u64,
    /// Of these, bytes in memory.
    pub older_resident_bytes: u64,
}

impl Partition {
    /// Bytes of its log, and of these in memory.
    #[must_use]
    pub const fn bytes(&self) -> (u64, u64) {
        (self.active_bytes + self.older_bytes, self.active_resident_bytes + self.older_resident_bytes)
    }

    fn add(&mut self, more: &Self) {
        self.segments += more.segments;
        self.active_bytes += more.active_bytes;
        self.active_resident_bytes += more.active_resident_bytes;
        self.older_bytes += more.older_bytes;
        self.older_resident_bytes += more.older_resident_bytes;
    }
}

impl Residency {
    /// All partitions together.
    #[must_use]
    pub fn total(&self) -> Partition {
        self.partitions.iter().fold(Partition::default(), |mut sum, partition| {
            sum.add(partition);
            sum
        })
    }

    /// Partitions of a topic, or one of them.
    pub fn of<'a>(&'a self, topic: &'a str, partition: Option<u32>) -> impl Iterator<Item = &'a Partition> {
        let first = self.partitions.partition_point(|of| *of.topic < *topic);
        let same = self.partitions[first..].iter().take_while(move |of| *of.topic == *topic);
        same.filter(move |of| partition.is_none_or(|partition| of.partition == partition))
    }
}
