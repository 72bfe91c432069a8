//! How long calls took.

use agent_ebpf::{FileWay, InodeKey};
use serde::{Deserialize, Serialize};

use super::TransferId;

/// How long calls took since they are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// By kind of transfer, each once.
    pub calls: Vec<CallDurations>,
    /// By directory of log segments, each once with its port and way.
    pub logs: Vec<LogDurations>,
}

/// Durations of one kind of transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallDurations {
    /// Which.
    pub id: TransferId,
    /// Their sum, in nanoseconds.
    pub ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// Those that were slow.
    pub slow: u64,
    /// Calls by duration: see [`agent_ebpf::latency_bucket`].
    pub buckets: Vec<u64>,
}

/// Durations of the calls that moved bytes of a directory's log segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDurations {
    /// The directory; none: of files that are no log segments, or of a directory that found no room.
    pub log: Option<InodeKey>,
    /// Through which port, or into or from memory: as [`TransferId::port`].
    pub port: u32,
    /// In which direction.
    pub way: FileWay,
    /// Their sum, in nanoseconds.
    pub ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// Those that were slow.
    pub slow: u64,
    /// Calls by duration: see [`agent_ebpf::FILE_LATENCY_MERGED`].
    pub buckets: Vec<u64>,
}

/// What everything with a histogram has in common: words that are added up, and the longest.
pub(super) trait Sums {
    type Id: Ord;
    fn id(&self) -> Self::Id;
    /// The sum of the durations, the longest, a count of some of the calls, and all calls by duration.
    fn words(&mut self) -> (&mut u64, &mut u64, &mut u64, &mut Vec<u64>);

    fn add(&mut self, more: &mut Self) {
        let (ns, max_ns, some, buckets) = self.words();
        let (more_ns, more_max_ns, more_some, more_buckets) = more.words();
        *ns += *more_ns;
        *max_ns = *max_ns.max(more_max_ns);
        *some += *more_some;
        buckets.iter_mut().zip(more_buckets).for_each(|(sum, calls)| *sum += *calls);
    }

    /// The longest stays: when it was is not known. Words are read one after the other while they grow: none is below nothing.
    fn subtract(&mut self, before: &mut Self) {
        let (ns, _, some, buckets) = self.words();
        let (ns_before, _, some_before, buckets_before) = before.words();
        *ns = ns.saturating_sub(*ns_before);
        *some = some.saturating_sub(*some_before);
        buckets.iter_mut().zip(buckets_before).for_each(|(calls, before)| *calls = calls.saturating_sub(*before));
    }

    fn calls(&mut self) -> u64 {
        self.words().3.iter().sum()
    }
}

impl Sums for CallDurations {
    type Id = TransferId;

    fn id(&self) -> TransferId {
        self.id
    }

    fn words(&mut self) -> (&mut u64, &mut u64, &mut u64, &mut Vec<u64>) {
        (&mut self.ns, &mut self.max_ns, &mut self.slow, &mut self.buckets)
    }
}

impl Sums for LogDurations {
    type Id = (Option<InodeKey>, u32, FileWay);

    fn id(&self) -> Self::Id {
        (self.log, self.port, self.way)
    }

    fn words(&mut self) -> (&mut u64, &mut u64, &mut u64, &mut Vec<u64>) {
        (&mut self.ns, &mut self.max_ns, &mut self.slow, &mut self.buckets)
    }
}

impl CallDurations {
    /// Calls whose duration is known.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds those of another kind.
    pub(crate) fn merge(&mut self, more: &Self) {
        self.add(&mut more.clone());
    }
}

impl LogDurations {
    /// Calls whose duration is known.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds those of another directory.
    pub(crate) fn merge(&mut self, more: &Self) {
        self.add(&mut more.clone());
    }
}

/// Each of `theirs` into ours of the same id; `keep`: what we have not is taken over.
fn combine<S: Sums + Clone>(ours: &mut Vec<S>, theirs: &[S], combine: fn(&mut S, &mut S), keep: bool) {
    ours.sort_by_key(Sums::id);
    let mut fresh = Vec::new();
    for their in theirs {
        match ours.binary_search_by_key(&their.id(), Sums::id) {
            Ok(place) => combine(&mut ours[place], &mut their.clone()),
            Err(_) if keep => fresh.push(their.clone()),
            Err(_) => {}
        }
    }
    ours.append(&mut fresh);
    ours.sort_by_key(Sums::id);
}

/// What was counted since `earlier`, where calls were. The longest is that of the whole time.
pub(super) fn since<S: Sums + Clone>(now: &[S], earlier: &[S]) -> Vec<S> {
    let mut since = now.to_vec();
    combine(&mut since, earlier, Sums::subtract, false);
    since.retain_mut(|sums| sums.calls() > 0);
    since
}

/// Both together.
pub(super) fn plus<S: Sums + Clone>(ours: &[S], theirs: &[S]) -> Vec<S> {
    let mut sum = ours.to_vec();
    combine(&mut sum, theirs, Sums::add, true);
    sum
}

impl Durations {
    /// What was counted since `earlier`. The longest is that of the whole time.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self { calls: since(&self.calls, &earlier.calls), logs: since(&self.logs, &earlier.logs) }
    }

    /// This and `other` together.
    pub(super) fn plus(mut self, other: &Self) -> Self {
        combine(&mut self.calls, &other.calls, Sums::add, true);
        combine(&mut self.logs, &other.logs, Sums::add, true);
        self
    }

    /// The same with those of directories that `keeps` does not as one.
    pub(crate) fn folded(&self, keeps: impl Fn(&InodeKey) -> bool) -> Self {
        let (mut kept, gone): (Vec<_>, Vec<_>) =
            self.logs.iter().cloned().partition(|durations| durations.log.as_ref().is_none_or(&keeps));
        for durations in gone {
            combine(&mut kept, &[LogDurations { log: None, ..durations }], Sums::add, true);
        }
        Self { calls: self.calls.clone(), logs: kept }
    }
}

#[cfg(test)]
mod tests {
    use agent_ebpf::{Endpoint, Syscall};

    use super::*;

    fn call(port: u32, ns: u64, max_ns: u64) -> CallDurations {
        let (syscall, source, sink) = (Syscall::Write, Endpoint::Memory, Endpoint::Socket);
        let id = TransferId { syscall, source, sink, port, msg_zerocopy: false, tls: false, of_file: false };
        CallDurations { id, ns, max_ns, slow: 1, buckets: vec![0, 2] }
    }

    fn log(inode: u64, ns: u64) -> LogDurations {
        let log = Some(InodeKey { inode, ..InodeKey::default() });
        LogDurations { log, port: 9092, way: FileWay::Out, ns, max_ns: ns, slow: 1, buckets: vec![3, 0] }
    }

    #[test]
    fn two_lives_are_added_up_and_taken_apart() {
        let one = Durations { calls: vec![call(9093, 7, 5), call(9092, 10, 8)], logs: vec![log(2, 4)] };
        let other = Durations { calls: vec![call(9092, 5, 9)], logs: vec![log(1, 6), log(2, 1)] };
        let both = one.clone().plus(&other);
        let told: Vec<_> = both.calls.iter().map(|c| (c.id.port, c.ns, c.max_ns, c.slow, c.calls())).collect();
        assert_eq!(told, [(9092, 15, 9, 2, 4), (9093, 7, 5, 1, 2)]);
        assert_eq!(both.logs.iter().map(|l| (l.ns, l.calls())).collect::<Vec<_>>(), [(6, 3), (5, 6)]);
        let since = both.since(&one);
        assert_eq!(since.calls.iter().map(|c| (c.id.port, c.ns, c.calls())).collect::<Vec<_>>(), [(9092, 5, 2)]);
        assert_eq!(since.logs.iter().map(|l| (l.ns, l.calls())).collect::<Vec<_>>(), [(6, 3), (1, 3)]);
    }

    #[test]
    fn directories_that_find_no_room_are_one() {
        let all = Durations { calls: Vec::new(), logs: vec![log(1, 6), log(2, 1), log(3, 2)] };
        let folded = all.folded(|log| log.inode == 1);
        let told: Vec<_> = folded.logs.iter().map(|l| (l.log.map(|log| log.inode), l.ns, l.calls())).collect();
        assert_eq!(told, [(None, 3, 6), (Some(1), 6, 3)]);
    }
}
