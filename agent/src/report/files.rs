//! File traffic: which files are a topic's log, and the sums by topic-partition.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use agent_ebpf::{FileBytes, FilePath, Fill, InodeKey};

use super::{
    CacheUse, Facts, FileTraffic, LocalPort, LogUse, OTHER, Topic,
    cache::{self, OfFiles},
    order::{self, OfLogs},
};
use crate::{
    kafka::{TopicPartition, is_segment},
    snapshot::{Directory, File, Sent, Snapshot},
};

/// What is remembered from one Report of a target to the next: which directory is which topic-partition. A broker has
/// thousands of them, whose names hardly ever change; only counts are made anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    rules: Rules,
    directories: HashMap<InodeKey, Known>,
    /// Partitions, in their order, of each topic, with their index into `sums`.
    topics: HashMap<Arc<str>, Vec<(u32, u32)>>,
    sums: Vec<Sum>,
    /// What left through sockets, by the contract's port and by topic; none: of files that are no topic's log.
    sent: HashMap<(u32, Option<Arc<str>>), Sent>,
    /// Bytes that were read of files that are no topic's log, by threads that did not send them.
    unsent: u64,
    /// Number of the Report that is made.
    round: u32,
}

/// Whose data left through a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A topic's log.
    Topic(Arc<str>),
    /// Files that are no topic's log.
    Files,
}

/// By port, and by whose data they were.
pub(super) type SentByPort = BTreeMap<LocalPort, BTreeMap<Origin, Sent>>;

/// A directory.
#[derive(Clone, Debug)]
struct Known {
    name: Arc<str>,
    /// Whether it lies in one of the broker's log directories.
    is_log: bool,
    /// Index into `sums`, of a topic-partition's.
    sum: Option<u32>,
    /// When it was last there.
    round: u32,
}

/// Bytes of a topic-partition.
#[derive(Clone, Debug)]
struct Sum {
    topic: Arc<str>,
    partition: u32,
    moved: FileBytes,
    /// What came into the page cache while it was read.
    fill: Fill,
    /// In what order it was read and written.
    order: order::Sum,
    /// Whether any file of it is there.
    used: bool,
}

/// What tells a log directory: it is recognised by its inode; where that could not be read, the names decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    is_kafka: bool,
    by_name: bool,
    inodes: BTreeSet<u64>,
}

impl Rules {
    fn is_of(&self, facts: &Facts) -> bool {
        (self.is_kafka, self.by_name, &self.inodes) == Self::parts(facts)
    }

    fn of(facts: &Facts) -> Self {
        let (is_kafka, by_name, inodes) = Self::parts(facts);
        Self { is_kafka, by_name, inodes: inodes.clone() }
    }

    fn parts(facts: &Facts) -> (bool, bool, &BTreeSet<u64>) {
        let dirs = facts.target.kafka.as_ref().map(|kafka| kafka.log_dirs.len());
        let by_name = dirs.is_some_and(|dirs| dirs == 0 || facts.log_dir_inodes.len() < dirs);
        (dirs.is_some(), by_name, &facts.log_dir_inodes)
    }

    fn is_log(&self, directory: &Directory) -> bool {
        self.is_kafka && (self.by_name || self.inodes.contains(&directory.parent.inode))
    }
}

/// So much more than what is in use may be remembered, twice and this many.
const SPARE: usize = 64;

impl Tally {
    /// Log segments by topic-partition into `topics`, whose memory is used again; every other file on its own is
    /// returned. `parts` together are what moved.
    pub(super) fn files(
        &mut self,
        parts: &[&Snapshot],
        facts: &Facts,
        fills: &OfFiles,
        logs: &OfLogs<'_>,
        topics: &mut Vec<Topic>,
    ) -> Vec<FileTraffic> {
        if !self.rules.is_of(facts) {
            *self = Self { rules: Rules::of(facts), ..Self::default() };
        }
        self.round = self.round.wrapping_add(1);
        for sum in &mut self.sums {
            (sum.moved, sum.fill, sum.used) = (FileBytes::default(), Fill::default(), false);
            sum.order = order::Sum::default();
        }
        let mut present = 0;
        for directory in parts.iter().flat_map(|part| &part.directories) {
            present += usize::from(self.note(directory));
        }
        self.sent.values_mut().for_each(|sent| *sent = Sent::default());
        self.unsent = 0;
        let mut files = Vec::new();
        for file in parts.iter().flat_map(|part| &part.files) {
            self.add(file, fills.of(file), &mut files);
        }
        for (directory, order) in logs.all() {
            let sum = self.directories.get(directory).filter(|directory| directory.round == self.round);
            if let Some(sum) = sum.and_then(|known| self.sums.get_mut(known.sum? as usize)) {
                sum.order += &order;
            }
        }
        files.extend(overflow(parts));
        files.sort_by_key(|f| std::cmp::Reverse(f.zero_copy_read_bytes + f.copied_read_bytes + f.written_bytes));
        // What has grown, by halves, keeps no more than it takes.
        if self.sums.len() < self.sums.capacity() / 5 * 4 {
            self.sums.shrink_to_fit();
        }
        topics.clear();
        topics.reserve_exact(self.sums.len());
        topics.extend(self.sums.iter().filter(|sum| sum.used).map(|sum| sum.topic(fills.counted, logs.counted)));
        topics.sort_unstable_by(|a, b| {
            let bytes = |t: &Topic| t.zero_copy_read_bytes + t.copied_read_bytes + t.written_bytes;
            bytes(b).cmp(&bytes(a)).then_with(|| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)))
        });
        if self.directories.len() > 2 * present + SPARE || self.sums.len() > 2 * topics.len() + SPARE {
            *self = Self { rules: std::mem::take(&mut self.rules), ..Self::default() };
        }
        files
    }

    /// What of the files of the last round left through sockets.
    pub(super) fn sent(&self) -> SentByPort {
        let mut ports = SentByPort::new();
        for ((port, topic), sent) in self.sent.iter().filter(|(_, sent)| **sent != Sent::default()) {
            if let Some(port) = LocalPort::from_code(*port) {
                let origin = topic.clone().map_or(Origin::Files, Origin::Topic);
                *ports.entry(port).or_default().entry(origin).or_default() += *sent;
            }
        }
        ports
    }

    /// Bytes of files that are no topic's log, read in the last round by threads that did not send them.
    pub(super) const fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Whose log lies in a directory, as of the last round.
    pub(super) fn topic_of(&self, directory: &InodeKey) -> Option<Arc<str>> {
        let sum = self.directories.get(directory)?.sum?;
        self.sums.get(sum as usize).map(|sum| Arc::clone(&sum.topic))
    }

    /// Remembers a directory that is there; whether it is the first one of its number.
    fn note(&mut self, directory: &Directory) -> bool {
        let is_log = self.rules.is_log(directory);
        let round = self.round;
        if let Some(known) = self.directories.get_mut(&directory.inode) {
            if known.round == round {
                return false;
            }
            if known.is_log == is_log && known.name == directory.name {
                known.round = round;
                return true;
            }
        }
        let sum =
            if is_log { TopicPartition::from_directory(&directory.name).map(|topic| self.sum(topic)) } else { None };
        self.directories.insert(directory.inode, Known { name: Arc::clone(&directory.name), is_log, sum, round });
        true
    }

    /// Index of the sum of a topic-partition.
    fn sum(&mut self, topic: TopicPartition) -> u32 {
        let next = u32::try_from(self.sums.len()).unwrap_or(u32::MAX);
        let name = self.topics.get_key_value(topic.topic.as_str()).map(|(name, _)| Arc::clone(name));
        let name = name.unwrap_or_else(|| topic.topic.into());
        let partitions = self.topics.entry(Arc::clone(&name)).or_default();
        match partitions.binary_search_by_key(&topic.partition, |(partition, _)| *partition) {
            Ok(place) => partitions[place].1,
            Err(place) => {
                partitions.insert(place, (topic.partition, next));
                self.sums.push(Sum {
                    topic: name,
                    partition: topic.partition,
                    moved: FileBytes::default(),
                    fill: Fill::default(),
                    order: order::Sum::default(),
                    used: false,
                });
                next
            }
        }
    }

    /// Adds a file to its topic-partition, or to the other files.
    fn add(&mut self, file: &File, fill: Fill, others: &mut Vec<FileTraffic>) {
        let directory = self.directories.get(&file.directory).filter(|directory| directory.round == self.round);
        let sum = directory.and_then(|directory| directory.sum).filter(|_| is_segment(&file.name));
        let topic = sum.and_then(|sum| self.sums.get(sum as usize)).map(|sum| &sum.topic);
        for (port, sent) in file.sent.iter().filter(|_| !is_code(&file.name)) {
            *self.sent.entry((*port, topic.cloned())).or_default() += *sent;
        }
        match sum.and_then(|sum| self.sums.get_mut(sum as usize)) {
            Some(sum) => {
                add(&mut sum.moved, &file.moved);
                cache::add(&mut sum.fill, fill);
                sum.used = true;
            }
            None => {
                if !is_code(&file.name) {
                    let sent: u64 = file.sent.iter().map(|(_, sent)| sent.carried).sum();
                    self.unsent += file.moved.bytes[FilePath::CopiedRead as usize].saturating_sub(sent);
                }
                others.push(traffic(file, directory.map(|directory| &*directory.name)));
            }
        }
    }
}

/// What a JVM loads classes from, on whatever thread first needs one: what that thread then sends is not from there.
fn is_code(name: &str) -> bool {
    [".jar", ".class", ".jmod", ".so"].iter().any(|end| name.ends_with(end)) || name == "modules"
}

impl Sum {
    fn topic(&self, has_cache: bool, has_order: bool) -> Topic {
        let read = self.moved.bytes[FilePath::ZeroCopyRead as usize] + self.moved.bytes[FilePath::CopiedRead as usize];
        Topic {
            order: has_order.then(|| LogUse::new(&self.order, &self.moved)),
            cache: has_cache.then(|| CacheUse::new(read, self.fill)),
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            zero_copy_read_bytes: self.moved.bytes[FilePath::ZeroCopyRead as usize],
            copied_read_bytes: self.moved.bytes[FilePath::CopiedRead as usize],
            written_bytes: self.moved.bytes[FilePath::Written as usize],
        }
    }
}

/// What found the table of files full.
fn overflow(parts: &[&Snapshot]) -> Option<FileTraffic> {
    let mut moved = FileBytes::default();
    parts.iter().for_each(|part| add(&mut moved, &part.files_other));
    let [zero_copy_read_bytes, copied_read_bytes, written_bytes] = moved.bytes;
    moved.calls.iter().any(|calls| *calls > 0).then(|| FileTraffic {
        directory: None,
        name: OTHER.to_owned(),
        device: None,
        inode: None,
        zero_copy_read_bytes,
        copied_read_bytes,
        written_bytes,
    })
}

pub(super) fn add(sum: &mut FileBytes, moved: &FileBytes) {
    for i in 0..sum.bytes.len() {
        sum.bytes[i] += moved.bytes[i];
        sum.calls[i] += moved.calls[i];
    }
}

fn traffic(file: &File, directory: Option<&str>) -> FileTraffic {
    // include/linux/kdev_t.h: 20 bits minor.
    let device = file.inode.device;
    FileTraffic {
        directory: directory.map(str::to_owned),
        name: (*file.name).to_owned(),
        device: Some(format!("{}:{}", device >> 20, device & 0xf_ffff)),
        inode: Some(file.inode.inode),
        zero_copy_read_bytes: file.moved.bytes[FilePath::ZeroCopyRead as usize],
        copied_read_bytes: file.moved.bytes[FilePath::CopiedRead as usize],
        written_bytes: file.moved.bytes[FilePath::Written as usize],
    }
}
