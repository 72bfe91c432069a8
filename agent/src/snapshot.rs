//! What the maps held at one moment, and the difference of two moments. Pure: reading is `probe`'s, meaning is
//! `report`'s. Serialisable, so that a recorded one can be tested without a kernel.

mod clients;
mod durations;
pub(crate) mod fills;
mod order;
mod sent;
mod sync;

use std::{collections::BTreeMap, sync::Arc};

use agent_ebpf::{Counter, Endpoint, FileBytes, InodeKey, SIZE_BUCKETS, Syscall, Tally};
pub use clients::{Client, Clients};
pub use durations::{CallDurations, Durations, LogDurations};
pub use fills::{FileFill, Fills};
pub(crate) use order::add_runs;
pub use order::{LogOrder, Order, ShortSends};
pub use sent::{Sent, SentByPort};
use serde::{Deserialize, Serialize};
pub use sync::SyncCount;

use crate::cpu::Cpu;

/// Everything counted for one target since it is watched, or, as a difference, in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Transfers, each key once.
    pub transfers: Vec<Transfer>,
    /// Transfers that found their map full: sums only.
    pub other: Vec<OtherTransfer>,
    /// Calls that returned 0 or failed.
    pub results: Vec<CallResult>,
    /// File traffic, each file once.
    pub files: Vec<File>,
    /// File traffic that found its map full.
    pub files_other: FileBytes,
    /// Names of the directories that files are in.
    pub directories: Vec<Directory>,
    /// The program's counters; those that are zero are left out.
    pub counters: BTreeMap<Counter, u64>,
    /// `sendfile` calls into sockets that the kernel refused, by port: a listener's, or one of the contract's `PORT_*` values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<u32, u64>,
    /// How long calls took; `None` where that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durations: Option<Durations>,
    /// File bytes that threads have read and sent nothing after yet, at this moment; of processes that ended: at their end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unsent_read: u64,
    /// Traffic by remote address; `None` where that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
    /// Calls that wait until what was written is on disk; `None` where they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syncs: Option<Vec<SyncCount>>,
    /// In what order files were read and written; `None` where that was not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Processor time; `None` where it was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// System calls of the whole host for which the kernel did not run the program, since it is loaded: at most so many of
    /// the target's are missing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed_calls: u64,
    /// What came into the page cache; `None` where that was not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fills: Option<Fills>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's way
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What transfers are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransferId {
    /// The call.
    pub syscall: Syscall,
    /// Where the bytes came from.
    pub source: Endpoint,
    /// Where they went.
    pub sink: Endpoint,
    /// A listener's port, or one of the contract's `PORT_*` values.
    pub port: u32,
    /// Asked for MSG_ZEROCOPY.
    pub msg_zerocopy: bool,
    /// What was sent began with the header of a TLS record.
    #[serde(default)]
    pub tls: bool,
    /// What was sent is taken for what the thread had read out of a file.
    #[serde(default)]
    pub of_file: bool,
}

/// Counts of one kind of transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Which.
    #[serde(flatten)]
    pub id: TransferId,
    /// Bytes.
    pub bytes: u64,
    /// File bytes that the thread had read since its last egress from memory.
    pub carried_file_bytes: u64,
    /// Calls by size: see [`SIZE_BUCKETS`].
    pub sizes: [u64; SIZE_BUCKETS],
}

impl Transfer {
    /// Calls, as the sum of the histogram.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// Adds the counts of another.
    pub(crate) fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.carried_file_bytes += other.carried_file_bytes;
        self.sizes.iter_mut().zip(other.sizes).for_each(|(sum, calls)| *sum += calls);
    }
}

/// Sums of transfers that found their map full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherTransfer {
    /// The call.
    pub syscall: Syscall,
    /// Where the bytes came from.
    pub source: Endpoint,
    /// Where they went.
    pub sink: Endpoint,
    /// Calls and bytes.
    pub tally: Tally,
}

/// Calls that moved nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallResult {
    /// The call.
    pub syscall: Syscall,
    /// 0 or an errno, [`agent_ebpf::RESULT_RESTARTED`] for one that was interrupted and restarts.
    pub result: u32,
    /// Calls.
    pub calls: u64,
}

/// Traffic of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Which.
    pub inode: InodeKey,
    /// What moved.
    pub moved: FileBytes,
    /// The directory it was opened in.
    pub directory: InodeKey,
    /// Its name when first seen; empty where it could not be read. Bytes that are not UTF-8 are replaced.
    pub name: Arc<str>,
    /// What left through sockets, by port: a listener's, or one of the contract's `PORT_*` values.
    #[serde(default, skip_serializing_if = "SentByPort::is_empty")]
    pub sent: SentByPort,
}

impl File {
    fn since(&self, earlier: Option<&Self>) -> Self {
        let Some(earlier) = earlier else { return self.clone() };
        let before = |port| earlier.sent.get(port).unwrap_or_default();
        let sent = self.sent.iter().map(|(port, now)| (*port, now.minus(before(*port))));
        Self {
            moved: subtract_file_bytes(&self.moved, &earlier.moved),
            sent: sent.filter(|(_, sent)| *sent != Sent::default()).collect(),
            ..self.clone()
        }
    }

    /// Adds what moved in another, or in the same at another time.
    pub(crate) fn add(&mut self, other: &Self) {
        add_file_bytes(&mut self.moved, &other.moved);
        for (port, sent) in &other.sent {
            self.sent.add(*port, *sent);
        }
    }
}

/// A directory that files are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Which.
    pub inode: InodeKey,
    /// The directory it lies in.
    pub parent: InodeKey,
    /// Its name when first seen.
    pub name: Arc<str>,
}

impl Snapshot {
    /// What was counted since `earlier`, a snapshot of the same target. Kinds that did not move are left out.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let transfers_before: BTreeMap<_, _> = earlier.transfers.iter().map(|t| (t.id, t)).collect();
        let other_before: BTreeMap<_, _> =
            earlier.other.iter().map(|t| ((t.syscall, t.source, t.sink), t.tally)).collect();
        let results_before: BTreeMap<_, _> = earlier.results.iter().map(|r| ((r.syscall, r.result), r.calls)).collect();
        let files_before: BTreeMap<_, _> = earlier.files.iter().map(|f| (f.inode, f)).collect();
        Self {
            transfers: self
                .transfers
                .iter()
                .map(|now| transfers_before.get(&now.id).map_or_else(|| now.clone(), |before| subtract(now, before)))
                .filter(|transfer| transfer.calls() > 0)
                .collect(),
            other: self
                .other
                .iter()
                .map(|now| {
                    let before = other_before.get(&(now.syscall, now.source, now.sink)).copied().unwrap_or_default();
                    let tally = Tally { calls: now.tally.calls - before.calls, bytes: now.tally.bytes - before.bytes };
                    OtherTransfer { tally, ..*now }
                })
                .filter(|other| other.tally.calls > 0)
                .collect(),
            results: self
                .results
                .iter()
                .map(|now| {
                    let before = results_before.get(&(now.syscall, now.result)).copied().unwrap_or(0);
                    CallResult { calls: now.calls - before, ..*now }
                })
                .filter(|result| result.calls > 0)
                .collect(),
            files: self
                .files
                .iter()
                .map(|now| now.since(files_before.get(&now.inode).copied()))
                .filter(|file| file.moved.calls.iter().any(|calls| *calls > 0) || !file.sent.is_empty())
                .collect(),
            files_other: subtract_file_bytes(&self.files_other, &earlier.files_other),
            directories: self.directories.clone(),
            counters: self
                .counters
                .iter()
                .map(|(counter, now)| (*counter, now - earlier.counters.get(counter).copied().unwrap_or(0)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            missed_calls: self.missed_calls.saturating_sub(earlier.missed_calls),
            refused: self
                .refused
                .iter()
                .map(|(port, now)| (*port, now - earlier.refused.get(port).copied().unwrap_or(0)))
                .filter(|(_, calls)| *calls > 0)
                .collect(),
            durations: self.durations.as_ref().map(|now| match &earlier.durations {
                Some(before) => now.since(before),
                None => now.clone(),
            }),
            unsent_read: self.unsent_read,
            clients: self.clients.as_ref().map(|now| match &earlier.clients {
                Some(before) => now.since(before),
                None => now.clone(),
            }),
            syncs: self.syncs.as_ref().map(|now| durations::since(now, earlier.syncs.as_deref().unwrap_or_default())),
            order: self.order.as_ref().map(|now| match &earlier.order {
                Some(before) => now.since(before),
                None => now.clone(),
            }),
            cpu: self.cpu.as_ref().map(|now| earlier.cpu.as_ref().map_or_else(|| now.clone(), |cpu| now.since(cpu))),
            fills: self.fills.as_ref().map(|now| match &earlier.fills {
                Some(before) => now.since(before),
                None => now.clone(),
            }),
        }
    }

    /// This and `other` together: what two lives of one target did.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for theirs in &other.transfers {
            match self.transfers.iter_mut().find(|ours| ours.id == theirs.id) {
                Some(ours) => ours.add(theirs),
                None => self.transfers.push(theirs.clone()),
            }
        }
        for theirs in &other.other {
            let same = |ours: &&mut OtherTransfer| {
                (ours.syscall, ours.source, ours.sink) == (theirs.syscall, theirs.source, theirs.sink)
            };
            match self.other.iter_mut().find(same) {
                Some(ours) => {
                    ours.tally.calls += theirs.tally.calls;
                    ours.tally.bytes += theirs.tally.bytes;
                }
                None => self.other.push(*theirs),
            }
        }
        for theirs in &other.results {
            match self.results.iter_mut().find(|ours| (ours.syscall, ours.result) == (theirs.syscall, theirs.result)) {
                Some(ours) => ours.calls += theirs.calls,
                None => self.results.push(*theirs),
            }
        }
        // A first life has nothing before it, and ten thousand files would be sorted for it at each scrape.
        if !other.files.is_empty() {
            let mut files: BTreeMap<InodeKey, File> = self.files.into_iter().map(|file| (file.inode, file)).collect();
            for theirs in &other.files {
                files.entry(theirs.inode).and_modify(|ours| ours.add(theirs)).or_insert_with(|| theirs.clone());
            }
            self.files = files.into_values().collect();
        }
        add_file_bytes(&mut self.files_other, &other.files_other);
        if !other.directories.is_empty() {
            let mut directories: BTreeMap<InodeKey, Directory> =
                self.directories.into_iter().map(|directory| (directory.inode, directory)).collect();
            for theirs in &other.directories {
                directories.entry(theirs.inode).or_insert_with(|| theirs.clone());
            }
            self.directories = directories.into_values().collect();
        }
        for (counter, count) in &other.counters {
            *self.counters.entry(*counter).or_default() += count;
        }
        // Both are the host's.
        self.missed_calls = self.missed_calls.max(other.missed_calls);
        for (port, calls) in &other.refused {
            *self.refused.entry(*port).or_default() += calls;
        }
        if let Some(theirs) = &other.cpu {
            self.cpu.get_or_insert_default().add(theirs);
        }
        self.durations = match (self.durations.take(), &other.durations) {
            (Some(ours), Some(theirs)) => Some(ours.plus(theirs)),
            (ours, theirs) => ours.or_else(|| theirs.clone()),
        };
        self.unsent_read += other.unsent_read;
        self.clients = match (self.clients.take(), &other.clients) {
            (Some(ours), Some(theirs)) => Some(ours.plus(theirs)),
            (ours, theirs) => ours.or_else(|| theirs.clone()),
        };
        self.syncs = match (self.syncs.take(), &other.syncs) {
            (Some(ours), Some(theirs)) => Some(durations::plus(&ours, theirs)),
            (ours, theirs) => ours.or_else(|| theirs.clone()),
        };
        self.order = match (self.order.take(), &other.order) {
            (Some(ours), Some(theirs)) => Some(ours.plus(theirs)),
            (ours, theirs) => ours.or_else(|| theirs.clone()),
        };
        self.fills = match (self.fills.take(), &other.fills) {
            (Some(ours), Some(theirs)) => Some(ours.plus(theirs)),
            (ours, theirs) => ours.or_else(|| theirs.clone()),
        };
        self
    }

    /// The same without what is known of files.
    #[must_use]
    pub(crate) fn without_files(&self) -> Self {
        Self {
            transfers: self.transfers.clone(),
            other: self.other.clone(),
            results: self.results.clone(),
            files_other: self.files_other,
            counters: self.counters.clone(),
            refused: self.refused.clone(),
            cpu: self.cpu.clone(),
            fills: self.fills.as_ref().map(Fills::without_files),
            durations: self.durations.clone(),
            clients: self.clients.clone(),
            unsent_read: self.unsent_read,
            order: self.order.as_ref().map(Order::without_logs),
            syncs: self.syncs.clone(),
            ..Self::default()
        }
    }

    /// One of the program's counters.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }
}

fn subtract(now: &Transfer, before: &Transfer) -> Transfer {
    Transfer {
        id: now.id,
        bytes: now.bytes - before.bytes,
        carried_file_bytes: now.carried_file_bytes - before.carried_file_bytes,
        sizes: std::array::from_fn(|i| now.sizes[i] - before.sizes[i]),
    }
}

fn subtract_file_bytes(now: &FileBytes, before: &FileBytes) -> FileBytes {
    FileBytes {
        bytes: std::array::from_fn(|i| now.bytes[i] - before.bytes[i]),
        calls: std::array::from_fn(|i| now.calls[i] - before.calls[i]),
    }
}

fn add_file_bytes(sum: &mut FileBytes, more: &FileBytes) {
    for path in 0..sum.bytes.len() {
        sum.bytes[path] += more.bytes[path];
        sum.calls[path] += more.calls[path];
    }
}

#[cfg(test)]
mod tests;
