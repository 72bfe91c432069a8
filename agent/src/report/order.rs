//! In what order logs were read and written, and `sendfile` calls that sent less than was asked. Pure.

use std::{collections::BTreeMap, ops::AddAssign};

use agent_ebpf::{Endpoint, FileBytes, FilePath, InodeKey, Runs, Short, Syscall};
use serde::Serialize;

use super::{Facts, LocalPort};
use crate::{
    kafka::is_segment,
    snapshot::{LogOrder, Order as Counted, Snapshot, add_runs},
};

/// In what order bytes were read or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Order {
    /// Bytes of calls that began where an earlier one of the same reader or writer on the file had ended, or at the beginning of
    /// the file as its first one.
    pub sequential_bytes: u64,
    /// Bytes of calls that began elsewhere.
    pub random_bytes: u64,
    /// Bytes of calls before which nothing is known, or whose position is not.
    pub unknown_bytes: u64,
    /// `sequential_bytes` over these and `random_bytes`. `None` where both are 0.
    pub sequential_ratio: Option<f64>,
    /// Calls that began elsewhere.
    pub jumps: u64,
    /// All calls.
    pub calls: u64,
    /// Bytes a call, rounded. `None` where there was none.
    pub mean_call_bytes: Option<u64>,
}

impl Order {
    /// Adds calls that were seen in order.
    const fn add(&mut self, runs: &Runs) {
        self.sequential_bytes = self.sequential_bytes.wrapping_add(runs.sequential.bytes);
        self.random_bytes = self.random_bytes.wrapping_add(runs.random.bytes);
        self.jumps = self.jumps.wrapping_add(runs.random.calls);
    }

    /// Everything was added, of so many bytes in all.
    #[allow(clippy::cast_precision_loss)] // A ratio.
    fn finish(&mut self, bytes: u64) {
        let known = self.sequential_bytes + self.random_bytes;
        // Files are read before their order is: a call between the two is in the order only.
        self.unknown_bytes = bytes.saturating_sub(known);
        self.sequential_ratio = (known > 0).then(|| self.sequential_bytes as f64 / known as f64);
        self.mean_call_bytes = bytes.checked_add(self.calls / 2).and_then(|bytes| bytes.checked_div(self.calls));
    }

    /// Bytes of all calls.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.sequential_bytes + self.random_bytes + self.unknown_bytes
    }
}

/// The order of reads and of appends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LogUse {
    /// What was read.
    pub read: Order,
    /// What was written.
    pub written: Order,
}

impl LogUse {
    /// From the calls that were seen in order, and what moved in all.
    pub(super) fn new(runs: &Sum, moved: &FileBytes) -> Self {
        let mut of = Self::default();
        of.add(runs);
        of.add_calls(moved);
        let bytes = |path: FilePath| moved.bytes[path as usize];
        of.finish(bytes(FilePath::ZeroCopyRead) + bytes(FilePath::CopiedRead), bytes(FilePath::Written));
        of
    }

    /// Adds calls that were seen in order.
    pub(super) const fn add(&mut self, runs: &Sum) {
        self.read.add(&runs.read);
        self.written.add(&runs.written);
    }

    /// Adds the number of all calls.
    pub(super) const fn add_calls(&mut self, moved: &FileBytes) {
        self.read.calls += moved.calls[FilePath::ZeroCopyRead as usize] + moved.calls[FilePath::CopiedRead as usize];
        self.written.calls += moved.calls[FilePath::Written as usize];
    }

    /// Everything was added, of so many bytes in all.
    pub(super) fn finish(&mut self, read: u64, written: u64) {
        self.read.finish(read);
        self.written.finish(written);
    }
}

/// Of all log segments, and what `sendfile` did not send.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sequence {
    /// The order of all log segments' reads and appends.
    #[serde(flatten)]
    pub logs: LogUse,
    /// `sendfile` calls from files into sockets, by listener, those with most short calls first.
    pub sendfile: Vec<SendfileUse>,
}

/// How far `sendfile` calls got through one listener's sockets.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SendfileUse {
    /// A listener's port or what stands for one.
    pub port: Option<LocalPort>,
    /// The listener's name.
    pub name: Option<String>,
    /// Calls that sent something.
    pub calls: u64,
    /// Bytes that they sent.
    pub bytes: u64,
    /// Calls that sent less than was asked, by reason, most first.
    pub short: Vec<ShortCalls>,
}

impl SendfileUse {
    /// Calls that sent something, and less than was asked.
    #[must_use]
    pub fn partial_calls(&self) -> u64 {
        self.short.iter().filter(|short| short.sent_bytes > 0).map(|short| short.calls).sum()
    }
}

/// `sendfile` calls that sent less than was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShortCalls {
    /// Stable word for programs: `send_buffer`, `again`, `end_of_file`, `limit`, `interrupted`.
    pub reason: &'static str,
    /// Calls.
    pub calls: u64,
    /// Bytes that they were asked for.
    pub asked_bytes: u64,
    /// Of these, bytes that they sent.
    pub sent_bytes: u64,
}

/// Runs of reads and of writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    read: Runs,
    written: Runs,
}

impl AddAssign<&Self> for Sum {
    fn add_assign(&mut self, more: &Self) {
        add_runs(&mut self.read, &more.read);
        add_runs(&mut self.written, &more.written);
    }
}

/// Of each directory of log segments.
#[derive(Clone, Debug, Default)]
pub(super) struct OfLogs<'a> {
    /// Whether it was counted at all.
    pub(super) counted: bool,
    parts: Vec<&'a Counted>,
}

impl<'a> OfLogs<'a> {
    /// Of some parts together.
    pub(super) fn new(parts: &[&'a Snapshot]) -> Self {
        let parts: Vec<_> = parts.iter().filter_map(|part| part.order.as_ref()).collect();
        Self { counted: !parts.is_empty(), parts }
    }

    /// Each directory once in each part.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a InodeKey, Sum)> {
        self.parts
            .iter()
            .flat_map(|part| &part.logs)
            .filter_map(|LogOrder { log, read, written }| Some((log.as_ref()?, Sum { read: *read, written: *written })))
    }
}

/// `None` where it was not counted. `delta` is the sum of the parts but for their files.
pub(super) fn sequence(parts: &[&Snapshot], logs: &OfLogs<'_>, delta: &Snapshot, facts: &Facts) -> Option<Sequence> {
    let counted = delta.order.as_ref()?;
    let mut moved = FileBytes::default();
    for file in parts.iter().flat_map(|part| &part.files).filter(|file| is_segment(&file.name)) {
        super::files::add(&mut moved, &file.moved);
    }
    let mut sum = Sum::default();
    logs.all().for_each(|(_, of)| sum += &of);
    Some(Sequence { logs: LogUse::new(&sum, &moved), sendfile: sendfile(counted, delta, facts) })
}

fn sendfile(counted: &Counted, delta: &Snapshot, facts: &Facts) -> Vec<SendfileUse> {
    let mut ports: BTreeMap<Option<LocalPort>, SendfileUse> = BTreeMap::new();
    let into_sockets = |id: &crate::snapshot::TransferId| {
        (id.syscall, id.source, id.sink) == (Syscall::Sendfile, Endpoint::File, Endpoint::Socket)
    };
    for transfer in delta.transfers.iter().filter(|transfer| into_sockets(&transfer.id)) {
        let of = ports.entry(LocalPort::from_code(transfer.id.port)).or_default();
        of.calls += transfer.calls();
        of.bytes += transfer.bytes;
    }
    for short in &counted.short {
        let Short { calls, asked, sent } = short.short;
        let of = ports.entry(LocalPort::from_code(short.port)).or_default();
        let calls = ShortCalls { reason: short.reason.name(), calls, asked_bytes: asked, sent_bytes: sent };
        of.short.push(calls);
    }
    let mut all: Vec<_> = ports
        .into_iter()
        .map(|(port, mut of)| {
            of.short.sort_by_key(|short| std::cmp::Reverse(short.calls));
            of.name = port.as_ref().and_then(|port| facts.listener_name(port));
            SendfileUse { port, ..of }
        })
        .collect();
    all.sort_by_key(|of| std::cmp::Reverse(of.short.iter().map(|short| short.calls).sum::<u64>()));
    all
}

impl Sequence {
    /// Listeners by other ports: those that are the same then are one.
    pub(crate) fn rename(&mut self, port: impl Fn(&LocalPort) -> LocalPort) {
        let mut ports: BTreeMap<Option<LocalPort>, SendfileUse> = BTreeMap::new();
        for mut of in std::mem::take(&mut self.sendfile) {
            let renamed = of.port.as_ref().map(&port);
            if renamed != of.port {
                of.name = renamed.as_ref().and_then(|port| match port {
                    LocalPort::Entry(entry) => Some((*entry).to_owned()),
                    LocalPort::Port(_) => None,
                });
                of.port = renamed;
            }
            match ports.get_mut(&of.port) {
                Some(sum) => sum.merge(of),
                None => drop(ports.insert(of.port.clone(), of)),
            }
        }
        self.sendfile = ports.into_values().collect();
    }
}

impl SendfileUse {
    fn merge(&mut self, more: Self) {
        self.calls += more.calls;
        self.bytes += more.bytes;
        for short in more.short {
            match self.short.iter_mut().find(|ours| ours.reason == short.reason) {
                Some(ours) => {
                    ours.calls += short.calls;
                    ours.asked_bytes += short.asked_bytes;
                    ours.sent_bytes += short.sent_bytes;
                }
                None => self.short.push(short),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use agent_ebpf::{ShortReason, Tally};

    use super::*;
    use crate::{report::tests::facts, snapshot::ShortSends};

    fn runs(sequential: u64, random: u64) -> Runs {
        let tally = |bytes| Tally { calls: bytes / 100, bytes };
        Runs { sequential: tally(sequential), random: tally(random) }
    }

    #[test]
    fn what_has_nothing_before_it_is_in_no_share() {
        let moved = FileBytes { bytes: [3000, 1000, 500], calls: [30, 10, 5] };
        let of = LogUse::new(&Sum { read: runs(2700, 900), written: runs(0, 0) }, &moved);
        assert_eq!((of.read.unknown_bytes, of.read.jumps, of.read.calls, of.read.bytes()), (400, 9, 40, 4000));
        assert_eq!((of.read.sequential_ratio, of.read.mean_call_bytes), (Some(0.75), Some(100)));
        assert_eq!((of.written.sequential_ratio, of.written.unknown_bytes), (None, 500));
        let nothing = LogUse::new(&Sum::default(), &FileBytes::default());
        assert_eq!((nothing.read.mean_call_bytes, nothing.read.sequential_ratio), (None, None));
    }

    fn short(port: u32, reason: ShortReason, calls: u64, sent: u64) -> ShortSends {
        ShortSends { port, reason, short: Short { calls, asked: calls * 1000, sent } }
    }

    #[test]
    fn short_calls_are_told_by_listener_and_reason() {
        let counted = vec![
            short(33901, ShortReason::SendBuffer, 4, 700),
            short(33901, ShortReason::Again, 9, 0),
            short(7, ShortReason::EndOfFile, 1, 10),
            short(u32::MAX, ShortReason::Limit, 2, 5),
        ];
        let delta = Snapshot { order: Some(Counted { logs: Vec::new(), short: counted }), ..Snapshot::default() };
        let mut told = sequence(&[&delta], &OfLogs::new(&[&delta]), &delta, &facts()).unwrap();
        let first = &told.sendfile[0];
        assert_eq!((first.name.as_deref(), first.partial_calls()), (Some("PLAINTEXT"), 4));
        assert_eq!((first.short[0].reason, first.short[0].calls, first.short[0].asked_bytes), ("again", 9, 9000));
        assert!(told.sendfile.iter().any(|of| of.port == Some(LocalPort::Entry(super::super::OTHER))));
        told.rename(|_| LocalPort::Entry("(other)"));
        assert_eq!(told.sendfile.len(), 1);
        let calls: BTreeMap<_, _> = told.sendfile[0].short.iter().map(|short| (short.reason, short.calls)).collect();
        assert_eq!(calls, BTreeMap::from([("again", 9), ("send_buffer", 4), ("end_of_file", 1), ("limit", 2)]));
    }
}
