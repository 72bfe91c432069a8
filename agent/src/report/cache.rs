//! How much of what was read from files was in the page cache, and how much had to be brought in. Pure.
//!
//! The kernel tells of pages that come in, not of pages that were there. What was read and did not come in was there. What the
//! kernel read ahead and nobody has read yet, and the rest of pages of which a part was read, make that too little: it is a
//! lower bound, off by no more than what was read ahead and a page for each call.

use std::collections::BTreeMap;

use agent_ebpf::{FileBytes, FilePath, Fill, FillWay, InodeKey, PORT_NONE};
use serde::Serialize;

use super::{Facts, LocalPort, Report, Topic};
use crate::{
    kafka::is_segment,
    snapshot::{File, FileFill, Fills, Snapshot, fills::plus},
};

/// Bytes read, and how many of them had to be brought into the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CacheUse {
    /// Bytes that were read from files.
    pub read_bytes: u64,
    /// Bytes of pages that came into the page cache meanwhile and lie within what a call asked for.
    pub asked_bytes: u64,
    /// Bytes of other pages that came in with them: what the kernel reads ahead.
    pub read_ahead_bytes: u64,
    /// Share of what was read that was in the cache, at least: what was read and not brought in. `None` where nothing was read.
    pub hit_ratio: Option<f64>,
}

impl CacheUse {
    pub(super) fn new(read: u64, fill: Fill) -> Self {
        let mut of = Self::default();
        of.add(fill);
        of.finish(read);
        of
    }

    /// Adds what came in.
    pub(super) const fn add(&mut self, fill: Fill) {
        self.asked_bytes += fill.asked;
        self.read_ahead_bytes += fill.ahead;
    }

    /// Everything was added, while so much was read.
    #[allow(clippy::cast_precision_loss)] // A ratio.
    pub(super) fn finish(&mut self, read: u64) {
        let cached = read.saturating_sub(self.brought_in());
        self.read_bytes = read;
        self.hit_ratio = (read > 0).then(|| cached as f64 / read as f64);
    }

    /// Bytes of all pages that came in.
    #[must_use]
    pub const fn brought_in(&self) -> u64 {
        self.asked_bytes.saturating_add(self.read_ahead_bytes)
    }
}

/// The page cache as one target used it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PageCache {
    /// Of everything that it read from files.
    #[serde(flatten)]
    pub total: CacheUse,
    /// Of log segments, by the listener whose connections it was read for, most brought in first.
    pub listeners: Vec<ListenerCache>,
    /// Bytes that came in because memory was touched that a file is mapped to (Kafka's indexes).
    pub fault_bytes: u64,
    /// Bytes that came in by other calls, and of what is no regular file.
    pub other_bytes: u64,
    /// Bytes that came in while files were read that are not known by name.
    pub unknown_bytes: u64,
    /// Bytes that the kernel's own account has the process read from disks (`read_bytes` in `/proc/PID/io`); `None` where that
    /// can't be read.
    pub disk_read_bytes: Option<u64>,
}

/// What one listener's connections made the page cache bring in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListenerCache {
    /// A listener's port or what stands for one; `None` for what was read and not sent.
    pub port: Option<LocalPort>,
    /// The listener's name.
    pub name: Option<String>,
    /// What was read of log segments for it.
    #[serde(flatten)]
    pub cache: CacheUse,
}

/// What came in of each file while it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct OfFiles<'a> {
    /// Whether it was counted at all.
    pub(super) counted: bool,
    parts: Vec<&'a Fills>,
}

impl<'a> OfFiles<'a> {
    /// Of some parts together.
    pub(super) fn new(parts: &[&'a Snapshot]) -> Self {
        let parts: Vec<_> = parts.iter().filter_map(|part| part.fills.as_ref()).collect();
        Self { counted: !parts.is_empty(), parts }
    }

    fn all(&self) -> impl Iterator<Item = &'a FileFill> {
        self.parts.iter().flat_map(|part| &part.files)
    }

    /// Of one file: in each part they lie in the order of their files.
    fn of_file(&self, file: InodeKey) -> impl Iterator<Item = &'a FileFill> {
        self.parts.iter().flat_map(move |part| {
            let first = part.files.partition_point(|of| of.inode < file);
            part.files[first..].iter().take_while(move |of| of.inode == file)
        })
    }

    /// What came in while this file was read. What was carried was copied, too: it counts once.
    pub(super) fn of(&self, file: &File) -> Fill {
        sum(self.of_file(file.inode))
    }
}

/// Everything that came in. What was carried was copied, too: it counts once.
fn sum<'a>(fills: impl Iterator<Item = &'a FileFill>) -> Fill {
    fills.filter(|of| of.way != FillWay::Carried).fold(Fill::default(), |sum, of| plus(sum, of.fill))
}

/// `None` where it was not counted. `delta` is the sum of the parts but for their files.
pub(super) fn page_cache(
    parts: &[&Snapshot],
    of_files: &OfFiles<'_>,
    delta: &Snapshot,
    facts: &Facts,
) -> Option<PageCache> {
    let fills = delta.fills.as_ref()?;
    let mut listeners: BTreeMap<u32, (u64, Fill)> = BTreeMap::new();
    let mut read = read_bytes(&delta.files_other);
    let mut segments = Vec::new();
    for file in parts.iter().flat_map(|part| &part.files) {
        read += read_bytes(&file.moved);
        if is_segment(&file.name) {
            sent_by_port(file, &mut listeners);
            if of_files.of_file(file.inode).next().is_some() {
                segments.push(file.inode);
            }
        }
    }
    segments.sort_unstable();
    for of in of_files.all().filter(|of| segments.binary_search(&of.inode).is_ok()) {
        match of.way {
            FillWay::ZeroCopy => add(&mut listeners.entry(of.port).or_default().1, of.fill),
            FillWay::Copied => add(&mut listeners.entry(PORT_NONE).or_default().1, of.fill),
            // What was read into memory and then sent leaves what was only read.
            FillWay::Carried => {
                add(&mut listeners.entry(of.port).or_default().1, of.fill);
                let kept = &mut listeners.entry(PORT_NONE).or_default().1;
                kept.asked = kept.asked.wrapping_sub(of.fill.asked);
                kept.ahead = kept.ahead.wrapping_sub(of.fill.ahead);
            }
            FillWay::Fault | FillWay::Other => {}
        }
    }
    let mut listeners: Vec<_> = listeners
        .into_iter()
        .filter(|(_, (read, fill))| *read > 0 || *fill != Fill::default())
        .map(|(port, (read, fill))| listener(port, CacheUse::new(read, at_least_nothing(fill)), facts))
        .collect();
    listeners.sort_by(|a, b| b.cache.brought_in().cmp(&a.cache.brought_in()).then_with(|| a.port.cmp(&b.port)));
    let all = plus(fills.overflow, sum(of_files.all()));
    let both = |fill: Fill| fill.asked + fill.ahead;
    Some(PageCache {
        total: CacheUse::new(read, all),
        listeners,
        fault_bytes: both(fills.faults),
        other_bytes: both(fills.others),
        unknown_bytes: both(fills.overflow),
        disk_read_bytes: facts.disk_read_bytes,
    })
}

/// What a thread reads before it is watched may be sent while it is: then more was carried than read.
const fn at_least_nothing(fill: Fill) -> Fill {
    const fn positive(number: u64) -> u64 {
        if number > u64::MAX / 2 { 0 } else { number }
    }
    Fill { asked: positive(fill.asked), ahead: positive(fill.ahead) }
}

fn listener(port: u32, cache: CacheUse, facts: &Facts) -> ListenerCache {
    let port = LocalPort::from_code(port);
    let name = port.as_ref().and_then(|port| facts.listener_name(port));
    ListenerCache { port, name, cache }
}

/// Bytes read out of files, whatever the way.
fn read_bytes(moved: &FileBytes) -> u64 {
    moved.bytes[FilePath::ZeroCopyRead as usize] + moved.bytes[FilePath::CopiedRead as usize]
}

/// Shares a file's bytes out among the ports that they left by; what was read into memory and not sent is at [`PORT_NONE`].
fn sent_by_port(file: &File, listeners: &mut BTreeMap<u32, (u64, Fill)>) {
    let mut sent = 0;
    for (port, bytes) in &file.sent {
        listeners.entry(*port).or_default().0 += bytes.zero_copy + bytes.carried;
        sent += bytes.zero_copy + bytes.carried;
    }
    let kept = read_bytes(&file.moved).saturating_sub(sent);
    if kept > 0 {
        listeners.entry(PORT_NONE).or_default().0 += kept;
    }
}

pub(super) fn add(sum: &mut Fill, more: Fill) {
    *sum = plus(*sum, more);
}

impl Report {
    /// Topic-partitions of which something had to be brought in, those of which most had to be first.
    #[must_use]
    pub fn topics_brought_in(&self) -> Vec<(&Topic, &CacheUse)> {
        let cache = |topic: &'_ Topic| topic.cache.is_some_and(|cache| cache.brought_in() > 0);
        let mut topics: Vec<_> = self
            .topics
            .iter()
            .filter(|topic| cache(topic))
            .filter_map(|topic| Some((topic, topic.cache.as_ref()?)))
            .collect();
        topics.sort_by_key(|(_, cache)| std::cmp::Reverse(cache.brought_in()));
        topics
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        report::tests::facts,
        snapshot::{Fills, Sent},
    };

    const SEGMENT: InodeKey = InodeKey { inode: 5, device: 1, generation: 0 };

    fn fill(asked: u64, ahead: u64) -> Fill {
        Fill { asked, ahead }
    }

    /// A segment of which one listener was sent 1000 bytes by zero copy and another 600 after they had been read, and 100 more
    /// were read and kept.
    fn segment() -> Snapshot {
        let sent = |zero_copy, carried| Sent { zero_copy, carried, copied: carried, read_calls: 1 };
        let file = File {
            inode: SEGMENT,
            moved: FileBytes { bytes: [1000, 700, 0], calls: [1, 2, 0] },
            directory: InodeKey::default(),
            name: "00000000000000000000.log".into(),
            sent: [(33901, sent(1000, 0)), (34335, sent(0, 600))].into_iter().collect(),
        };
        let of = |way, port, fill| FileFill { inode: SEGMENT, way, port, fill };
        let fills = Fills {
            files: vec![
                of(FillWay::ZeroCopy, 33901, fill(300, 50)),
                of(FillWay::Copied, PORT_NONE, fill(200, 40)),
                of(FillWay::Carried, 34335, fill(150, 40)),
            ],
            faults: fill(7, 0),
            others: fill(8, 0),
            overflow: fill(9, 1),
        };
        Snapshot { files: vec![file], fills: Some(fills), ..Snapshot::default() }
    }

    #[test]
    fn what_came_in_is_shared_out_by_listener_and_counted_once() {
        let delta = segment();
        let cache = page_cache(&[&delta], &OfFiles::new(&[&delta]), &delta, &facts()).unwrap();
        assert_eq!((cache.total.read_bytes, cache.total.asked_bytes, cache.total.read_ahead_bytes), (1700, 509, 91));
        assert_eq!((cache.fault_bytes, cache.other_bytes, cache.unknown_bytes), (7, 8, 10));
        let told: Vec<_> = cache
            .listeners
            .iter()
            .map(|of| (of.name.as_deref(), of.cache.read_bytes, of.cache.asked_bytes, of.cache.read_ahead_bytes))
            .collect();
        assert_eq!(told, [(Some("PLAINTEXT"), 1000, 300, 50), (Some("SSL"), 600, 150, 40), (None, 100, 50, 0)]);
        assert!((cache.listeners[0].cache.hit_ratio.unwrap() - 0.65).abs() < 1e-9);
        assert_eq!(OfFiles::new(&[&delta]).of(&delta.files[0]), fill(500, 90));
    }

    #[test]
    fn two_lives_are_added_up() {
        let life = segment();
        let sum = life.without_files().plus(&life.without_files());
        let cache = page_cache(&[&life, &life], &OfFiles::new(&[&life, &life]), &sum, &facts()).unwrap();
        assert_eq!((cache.total.read_bytes, cache.total.asked_bytes, cache.fault_bytes), (3400, 1018, 14));
        assert_eq!((cache.listeners[0].cache.read_bytes, cache.listeners[0].cache.asked_bytes), (2000, 600));
    }

    #[test]
    fn a_ratio_is_never_below_nothing_and_absent_where_nothing_was_read() {
        assert_eq!(CacheUse::new(10, fill(4096, 0)).hit_ratio, Some(0.0));
        assert_eq!(CacheUse::new(0, fill(4096, 0)).hit_ratio, None);
        assert_eq!(CacheUse::new(10, fill(0, 0)).hit_ratio, Some(1.0));
        let nothing = Snapshot::default();
        assert_eq!(page_cache(&[&nothing], &OfFiles::new(&[&nothing]), &nothing, &facts()), None);
    }
}
