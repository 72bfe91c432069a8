//! File traffic: which files are a topic's log, and the sums by topic-partition.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use agent_ebpf::{FileBytes, FilePath, Fill, InodeKey};

use super::{CacheUse, Facts, FileTraffic, Flow, LocalPort, LogUse, OTHER, Topic, cache::OfFiles, order::OfLogs};
use crate::{
    kafka::{TopicPartition, is_segment},
    snapshot::{Directory, File, Sent, Snapshot},
};

/// What is remembered from one Report of a target to the next: which directory is which topic-partition. A broker has
/// thousands of them, whose names hardly ever change; only counts are made anew, where the last Report had them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    rules: Rules,
    directories: Directories,
    names: Names,
    /// Of each of the Report's topics, whether any file of it is there.
    used: Vec<bool>,
    /// Where each of the Report's topics has gone.
    moved: Vec<u32>,
    /// What left through sockets, by the contract's port and by topic; none: of files that are no topic's log.
    sent: HashMap<(u32, Option<Arc<str>>), Sent>,
    /// Bytes that were read of files that are no topic's log, by threads that did not send them.
    unsent: u64,
    /// Memory for flows.
    spare: VecDeque<Vec<Flow>>,
    /// Number of the Report that is made.
    round: u32,
}

/// Partitions, in their order, of each topic, with their places among the Report's topics.
#[derive(Clone, Debug, Default)]
struct Names(HashMap<Arc<str>, Vec<(u32, u32)>>);

impl Names {
    /// Whether these are the topics that it has the places of.
    fn are_of(&self, topics: &[Topic]) -> bool {
        let is_there = |name: &Arc<str>, (partition, place): &(u32, u32)| {
            let topic = topics.get(*place as usize);
            topic.is_some_and(|topic| Arc::ptr_eq(&topic.topic, name) && topic.partition == *partition)
        };
        let count: usize = self.0.values().map(Vec::len).sum();
        count == topics.len() && self.0.iter().all(|(name, all)| all.iter().all(|of| is_there(name, of)))
    }

    /// The place of a topic-partition, which comes to the end if it is new.
    fn place(&mut self, of: TopicPartition, topics: &mut Vec<Topic>) -> u32 {
        let name = self.0.get_key_value(of.topic.as_str()).map(|(name, _)| Arc::clone(name));
        let name = name.unwrap_or_else(|| of.topic.into());
        let partitions = self.0.entry(Arc::clone(&name)).or_default();
        match partitions.binary_search_by_key(&of.partition, |(partition, _)| *partition) {
            Ok(found) => partitions[found].1,
            Err(found) => {
                let place = u32::try_from(topics.len()).unwrap_or(u32::MAX);
                partitions.insert(found, (of.partition, place));
                topics.push(Topic::new(name, of.partition));
                place
            }
        }
    }

    /// Forgets those that are no longer there.
    fn retain(&mut self, is_there: impl Fn(u32) -> bool) {
        self.0.values_mut().for_each(|partitions| partitions.retain(|(_, place)| is_there(*place)));
        self.0.retain(|_, partitions| !partitions.is_empty());
    }

    /// Notes where the topics are now, and by their earlier places where they have gone.
    fn follow(&mut self, topics: &[Topic], gone_to: &mut [u32]) {
        for (place, topic) in (0u32..).zip(topics) {
            let Some(partitions) = self.0.get_mut(&topic.topic) else { continue };
            if let Ok(found) = partitions.binary_search_by_key(&topic.partition, |(partition, _)| *partition) {
                let before = std::mem::replace(&mut partitions[found].1, place);
                if let Some(gone_to) = gone_to.get_mut(before as usize) {
                    *gone_to = place;
                }
            }
        }
    }
}

/// Directories in the order of their inodes.
#[derive(Clone, Debug, Default)]
struct Directories(Vec<Known>);

impl Directories {
    /// Where a directory is. Those that are asked for one after the other often lie so, too: `last` is where the last one was.
    fn find(&self, inode: &InodeKey, last: &mut usize) -> Option<usize> {
        let is_it = |place: &usize| self.0.get(*place).is_some_and(|known| known.inode == *inode);
        let near = [*last + 1, *last].into_iter().find(is_it);
        let found = near.or_else(|| self.0.binary_search_by_key(inode, |known| known.inode).ok())?;
        *last = found;
        Some(found)
    }

    /// Remembers the directories that are there: how many there are. Of those of one number the first counts.
    fn note<'a>(&mut self, present: impl Iterator<Item = &'a Directory>, rules: &Rules, round: u32) -> usize {
        let (mut count, mut last) = (0, 0);
        let mut fresh = Vec::new();
        for directory in present {
            let is_log = rules.is_log(directory);
            let known = |name| Known { inode: directory.inode, name, is_log, place: None, round };
            match self.find(&directory.inode, &mut last).and_then(|place| self.0.get_mut(place)) {
                Some(same) if same.round == round => continue,
                Some(same) if same.is_log == is_log && same.name == directory.name => same.round = round,
                Some(other) => *other = known(Arc::clone(&directory.name)),
                None => {
                    fresh.push(known(Arc::clone(&directory.name)));
                    continue;
                }
            }
            count += 1;
        }
        if !fresh.is_empty() {
            // Stable: the first of one number stays the first.
            fresh.sort_by_key(|known| known.inode);
            fresh.dedup_by_key(|known| known.inode);
            count += fresh.len();
            self.0.reserve_exact(fresh.len());
            self.0.append(&mut fresh);
            self.0.sort_unstable_by_key(|known| known.inode);
        }
        count
    }
}

/// What left through the sockets of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfPort {
    /// By topic and of all other files; no reason is known yet.
    pub(super) flows: Vec<Flow>,
    /// Calls that read what was carried.
    pub(super) read_calls: u64,
}

/// What left through sockets, by port.
pub(super) type SentByPort = BTreeMap<LocalPort, OfPort>;

/// A directory.
#[derive(Clone, Debug)]
struct Known {
    inode: InodeKey,
    name: Arc<str>,
    /// Whether it lies in one of the broker's log directories.
    is_log: bool,
    /// Of a topic-partition of which a segment was seen: its place among the Report's topics.
    place: Option<u32>,
    /// When it was last there.
    round: u32,
}

impl Known {
    /// The topic-partition whose log lies in it.
    fn partition(&self) -> Option<TopicPartition> {
        if self.is_log { TopicPartition::from_directory(&self.name) } else { None }
    }
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
    /// Log segments by topic-partition into `topics`, which are those of the last Report and are counted anew; every other file
    /// on its own is returned. `parts` together are what moved.
    pub(super) fn files(
        &mut self,
        parts: &[&Snapshot],
        facts: &Facts,
        fills: &OfFiles<'_>,
        logs: &OfLogs<'_>,
        topics: &mut Vec<Topic>,
    ) -> Vec<FileTraffic> {
        if !self.rules.is_of(facts) || !self.names.are_of(topics) {
            topics.clear();
            *self = Self { rules: Rules::of(facts), ..Self::default() };
        }
        self.round = self.round.wrapping_add(1);
        topics.iter_mut().for_each(|topic| topic.begin(fills.counted, logs.counted));
        self.used.clear();
        self.used.resize(topics.len(), false);
        let directories = parts.iter().flat_map(|part| &part.directories);
        let present = self.directories.note(directories, &self.rules, self.round);
        self.sent.values_mut().for_each(|sent| *sent = Sent::default());
        self.unsent = 0;
        let (mut files, mut last) = (Vec::new(), 0);
        for file in parts.iter().flat_map(|part| &part.files) {
            let directory = self.directory(&file.directory, &mut last);
            let is_code = is_code(&file.name);
            let place =
                directory.filter(|_| is_segment(&file.name)).and_then(|directory| self.place(directory, topics));
            let topic = place.and_then(|place| topics.get_mut(place));
            for (port, sent) in file.sent.iter().filter(|_| !is_code) {
                let topic = topic.as_ref().map(|topic| Arc::clone(&topic.topic));
                *self.sent.entry((*port, topic)).or_default() += *sent;
            }
            match topic {
                Some(topic) => {
                    if let Some(place) = place.filter(|place| *place >= self.used.len()) {
                        topic.begin(fills.counted, logs.counted);
                        self.used.resize(place + 1, false);
                    }
                    topic.add(&file.moved, fills.of(file));
                    place.and_then(|place| self.used.get_mut(place)).into_iter().for_each(|used| *used = true);
                }
                None => {
                    if !is_code {
                        let sent: u64 = file.sent.iter().map(|(_, sent)| sent.carried).sum();
                        self.unsent += file.moved.bytes[FilePath::CopiedRead as usize].saturating_sub(sent);
                    }
                    let directory = directory.and_then(|place| self.directories.0.get(place));
                    files.push(traffic(file, directory.map(|directory| &*directory.name)));
                }
            }
        }
        let mut last = 0;
        for (directory, order) in logs.all() {
            let directory = self.directory(directory, &mut last).and_then(|place| self.directories.0.get(place));
            if let Some(topic) = directory.and_then(|known| topics.get_mut(known.place? as usize)) {
                topic.order.as_mut().into_iter().for_each(|of| of.add(&order));
            }
        }
        topics.iter_mut().for_each(Topic::finish);
        files.extend(overflow(parts));
        files.sort_by_key(|f| std::cmp::Reverse(f.zero_copy_read_bytes + f.copied_read_bytes + f.written_bytes));
        self.arrange(topics);
        if self.directories.0.len() > 2 * present + SPARE {
            let round = self.round;
            self.directories.0.retain(|known| known.round == round);
            self.directories.0.shrink_to_fit();
        }
        files
    }

    /// The largest come first, those without a file leave.
    fn arrange(&mut self, topics: &mut Vec<Topic>) {
        let before = topics.len();
        if self.used.contains(&false) {
            let mut used = self.used.iter();
            topics.retain(|_| used.next().copied().unwrap_or(false));
            self.names.retain(|place| self.used.get(place as usize).copied().unwrap_or(false));
            self.sent.retain(|_, sent| *sent != Sent::default());
        }
        // What has grown, by halves, keeps no more than it takes.
        if topics.len() < topics.capacity() / 5 * 4 {
            topics.shrink_to_fit();
        }
        let in_order = |a: &Topic, b: &Topic| {
            let bytes = |t: &Topic| t.zero_copy_read_bytes + t.copied_read_bytes + t.written_bytes;
            bytes(b).cmp(&bytes(a)).then_with(|| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)))
        };
        if topics.len() == before && topics.is_sorted_by(|a, b| in_order(a, b).is_le()) {
            return;
        }
        topics.sort_unstable_by(in_order);
        self.moved.clear();
        self.moved.resize(before, u32::MAX);
        self.names.follow(topics, &mut self.moved);
        for known in &mut self.directories.0 {
            let gone_to = known.place.and_then(|place| self.moved.get(place as usize)).copied();
            known.place = gone_to.filter(|place| *place != u32::MAX);
        }
    }

    /// Takes memory that [`Self::sent`] had given out.
    pub(super) fn take_back(&mut self, flows: impl Iterator<Item = Vec<Flow>>) {
        self.spare.extend(flows.filter(|flows| flows.capacity() > 0));
    }

    /// What of the files of the last round left through sockets.
    pub(super) fn sent(&mut self) -> SentByPort {
        let moved = || {
            let moved = self.sent.iter().filter(|(_, sent)| **sent != Sent::default());
            moved.filter_map(|((port, topic), sent)| Some((LocalPort::from_code(*port)?, topic, sent)))
        };
        let mut room: BTreeMap<LocalPort, usize> = BTreeMap::new();
        moved().for_each(|(port, ..)| *room.entry(port).or_default() += 1);
        let spare = &mut self.spare;
        let mut empty = |room: usize| {
            let mut flows = spare.pop_front().unwrap_or_default();
            flows.clear();
            // One more: for what is no file's.
            flows.reserve_exact(room + 1);
            OfPort { flows, read_calls: 0 }
        };
        let mut ports: SentByPort = room.into_iter().map(|(port, room)| (port, empty(room))).collect();
        for (port, topic, sent) in moved() {
            let Some(of) = ports.get_mut(&port) else { continue };
            of.read_calls += sent.read_calls;
            of.flows.push(Flow {
                from: if topic.is_some() { "topic" } else { "files" },
                topic: topic.clone(),
                zero_copy_bytes: sent.zero_copy,
                copied_bytes: sent.copied,
                read_bytes: sent.carried,
                reason: None,
            });
        }
        self.spare.clear();
        // Several of the contract's ports may be one here.
        for of in ports.values_mut() {
            of.flows.sort_unstable_by(|a, b| a.topic.cmp(&b.topic));
            of.flows.dedup_by(|next, sum| {
                let is_same = next.topic == sum.topic;
                if is_same {
                    sum.zero_copy_bytes += next.zero_copy_bytes;
                    sum.copied_bytes += next.copied_bytes;
                    sum.read_bytes += next.read_bytes;
                }
                is_same
            });
        }
        ports
    }

    /// Bytes of files that are no topic's log, read in the last round by threads that did not send them.
    pub(super) const fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Whose log lies in a directory, as of the last round, whose topics these are.
    pub(super) fn topic_of(&self, directory: &InodeKey, topics: &[Topic]) -> Option<Arc<str>> {
        let known = self.directories.0.get(self.directories.find(directory, &mut 0)?)?;
        let topic = known.place.and_then(|place| topics.get(place as usize)).map(|topic| Arc::clone(&topic.topic));
        topic.or_else(|| Some(known.partition()?.topic.into()))
    }

    /// Where a directory is that is there in this round.
    fn directory(&self, inode: &InodeKey, last: &mut usize) -> Option<usize> {
        let place = self.directories.find(inode, last)?;
        self.directories.0.get(place).filter(|known| known.round == self.round).map(|_| place)
    }

    /// The place of the topic-partition whose log lies in a directory.
    fn place(&mut self, directory: usize, topics: &mut Vec<Topic>) -> Option<usize> {
        let known = self.directories.0.get_mut(directory)?;
        if known.place.is_none() {
            known.place = Some(self.names.place(known.partition()?, topics));
        }
        known.place.map(|place| place as usize)
    }
}

/// What a JVM loads classes from, on whatever thread first needs one: what that thread then sends is not from there.
fn is_code(name: &str) -> bool {
    [".jar", ".class", ".jmod", ".so"].iter().any(|end| name.ends_with(end)) || name == "modules"
}

impl Topic {
    const fn new(topic: Arc<str>, partition: u32) -> Self {
        Self {
            topic,
            partition,
            zero_copy_read_bytes: 0,
            copied_read_bytes: 0,
            written_bytes: 0,
            cache: None,
            order: None,
        }
    }

    /// Nothing has moved yet.
    fn begin(&mut self, has_cache: bool, has_order: bool) {
        (self.zero_copy_read_bytes, self.copied_read_bytes, self.written_bytes) = (0, 0, 0);
        self.cache = has_cache.then(CacheUse::default);
        self.order = has_order.then(LogUse::default);
    }

    /// Adds what moved of a file, and what came into the page cache meanwhile.
    fn add(&mut self, moved: &FileBytes, fill: Fill) {
        self.zero_copy_read_bytes += moved.bytes[FilePath::ZeroCopyRead as usize];
        self.copied_read_bytes += moved.bytes[FilePath::CopiedRead as usize];
        self.written_bytes += moved.bytes[FilePath::Written as usize];
        self.cache.as_mut().into_iter().for_each(|cache| cache.add(fill));
        self.order.as_mut().into_iter().for_each(|order| order.add_calls(moved));
    }

    /// Everything was added: what follows from it.
    fn finish(&mut self) {
        let read = self.zero_copy_read_bytes + self.copied_read_bytes;
        self.cache.as_mut().into_iter().for_each(|cache| cache.finish(read));
        self.order.as_mut().into_iter().for_each(|order| order.finish(read, self.written_bytes));
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
