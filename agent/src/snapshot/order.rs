//! In what order files were read and written, and `sendfile` calls that sent less than was asked.

use std::collections::BTreeMap;

use agent_ebpf::{InodeKey, Runs, Short, ShortReason, Tally};
use serde::{Deserialize, Serialize};

/// What was counted of order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// By directory of log segments, each once.
    pub logs: Vec<LogOrder>,
    /// By port and reason, each once.
    pub short: Vec<ShortSends>,
}

/// How the log segments of a directory were read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOrder {
    /// The directory; none: of files that are no log segments, or of a directory that found no room.
    pub log: Option<InodeKey>,
    /// Calls that read them.
    pub read: Runs,
    /// Calls that wrote them.
    pub written: Runs,
}

impl LogOrder {
    /// Adds calls of the same directory.
    pub(crate) fn add(&mut self, more: &Self) {
        add_runs(&mut self.read, &more.read);
        add_runs(&mut self.written, &more.written);
    }
}

/// `sendfile` calls into sockets that sent less than was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortSends {
    /// A listener's port, or one of the contract's `PORT_*` values; any other number: ports that found no room.
    pub port: u32,
    /// Why.
    pub reason: ShortReason,
    /// How many, and how much.
    pub short: Short,
}

/// What differs between adding up and taking apart.
type Combine = fn(u64, u64) -> u64;

fn tally(one: Tally, other: Tally, combine: Combine) -> Tally {
    Tally { calls: combine(one.calls, other.calls), bytes: combine(one.bytes, other.bytes) }
}

fn runs(one: &Runs, other: &Runs, combine: Combine) -> Runs {
    Runs {
        sequential: tally(one.sequential, other.sequential, combine),
        random: tally(one.random, other.random, combine),
    }
}

/// Adds calls to others.
pub(crate) fn add_runs(sum: &mut Runs, more: &Runs) {
    *sum = runs(sum, more, u64::wrapping_add);
}

fn short(one: Short, other: Short, combine: Combine) -> Short {
    Short {
        calls: combine(one.calls, other.calls),
        asked: combine(one.asked, other.asked),
        sent: combine(one.sent, other.sent),
    }
}

impl Order {
    /// What was counted since `earlier`. Places that were taken out meanwhile begin again at nothing.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut since = self.combine(earlier, u64::saturating_sub, false);
        since.logs.retain(|log| log.read != Runs::default() || log.written != Runs::default());
        since.short.retain(|short| short.short.calls > 0);
        since
    }

    /// This and `other` together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        self.combine(other, u64::wrapping_add, true)
    }

    fn combine(&self, other: &Self, combine: Combine, keep: bool) -> Self {
        let mut logs: BTreeMap<_, LogOrder> = self.logs.iter().map(|log| (log.log, *log)).collect();
        for theirs in &other.logs {
            match logs.get_mut(&theirs.log) {
                Some(ours) => {
                    ours.read = runs(&ours.read, &theirs.read, combine);
                    ours.written = runs(&ours.written, &theirs.written, combine);
                }
                None if keep => drop(logs.insert(theirs.log, *theirs)),
                None => {}
            }
        }
        let mut shorts: BTreeMap<_, ShortSends> =
            self.short.iter().map(|short| ((short.port, short.reason), *short)).collect();
        for theirs in &other.short {
            match shorts.get_mut(&(theirs.port, theirs.reason)) {
                Some(ours) => ours.short = short(ours.short, theirs.short, combine),
                None if keep => drop(shorts.insert((theirs.port, theirs.reason), *theirs)),
                None => {}
            }
        }
        Self { logs: logs.into_values().collect(), short: shorts.into_values().collect() }
    }

    /// The same without what is known of directories: a broker has ten thousand of them.
    pub(super) fn without_logs(&self) -> Self {
        Self { logs: Vec::new(), short: self.short.clone() }
    }

    /// The same with those of directories that `keeps` does not as one.
    pub(crate) fn folded(&self, keeps: impl Fn(&InodeKey) -> bool) -> Self {
        let mut logs: BTreeMap<Option<InodeKey>, LogOrder> = BTreeMap::new();
        for log in &self.logs {
            let log = LogOrder { log: log.log.filter(|log| keeps(log)), ..*log };
            logs.entry(log.log).and_modify(|sum| sum.add(&log)).or_insert(log);
        }
        Self { logs: logs.into_values().collect(), short: self.short.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(inode: u64, sequential: u64, random: u64) -> LogOrder {
        let tally = |bytes| Tally { calls: bytes / 10, bytes };
        let read = Runs { sequential: tally(sequential), random: tally(random) };
        LogOrder { log: Some(InodeKey { inode, ..InodeKey::default() }), read, written: Runs::default() }
    }

    fn sends(port: u32, calls: u64) -> ShortSends {
        ShortSends { port, reason: ShortReason::SendBuffer, short: Short { calls, asked: calls * 9, sent: calls * 2 } }
    }

    #[test]
    fn two_lives_are_added_up_and_taken_apart() {
        let one = Order { logs: vec![log(1, 100, 0), log(2, 20, 30)], short: vec![sends(9092, 4)] };
        let two = Order { logs: vec![log(2, 10, 50), log(3, 70, 0)], short: vec![sends(9092, 1), sends(9093, 2)] };
        let both = one.plus(&two);
        assert_eq!(both.logs, [log(1, 100, 0), log(2, 30, 80), log(3, 70, 0)]);
        assert_eq!(both.short, [sends(9092, 5), sends(9093, 2)]);
        assert_eq!((both.since(&one), both.since(&two)), (two, one));
    }

    #[test]
    fn directories_that_find_no_room_are_one() {
        let all = Order { logs: vec![log(1, 10, 0), log(2, 20, 0), log(3, 0, 40)], short: vec![sends(1, 2)] };
        let folded = all.folded(|log| log.inode == 1);
        assert_eq!(folded.logs, [LogOrder { log: None, ..log(0, 20, 40) }, log(1, 10, 0)]);
        assert_eq!(folded.short, all.short);
    }
}
