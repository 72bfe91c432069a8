//! Calls that wait until what was written is on disk.

use agent_ebpf::SyncCall;
use serde::{Deserialize, Serialize};

/// How often one of them was made, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncCount {
    /// Which.
    pub call: SyncCall,
    /// Calls that failed.
    pub errors: u64,
    /// All durations together, in nanoseconds.
    pub ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// Calls by duration: see [`agent_ebpf::latency_bucket`].
    pub buckets: Vec<u64>,
}

impl SyncCount {
    fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// What was counted since `earlier`. The longest is that of the whole time.
pub(super) fn since(now: &[SyncCount], earlier: &[SyncCount]) -> Vec<SyncCount> {
    let mut since = now.to_vec();
    for count in &mut since {
        if let Some(before) = earlier.iter().find(|before| before.call == count.call) {
            count.errors = count.errors.saturating_sub(before.errors);
            count.ns = count.ns.saturating_sub(before.ns);
            count.buckets.iter_mut().zip(&before.buckets).for_each(|(calls, before)| *calls -= (*before).min(*calls));
        }
    }
    since.retain(|count| count.calls() > 0);
    since
}

/// Both together.
pub(super) fn plus(ours: &[SyncCount], theirs: &[SyncCount]) -> Vec<SyncCount> {
    let mut sum = ours.to_vec();
    for more in theirs {
        match sum.iter_mut().find(|count| count.call == more.call) {
            Some(count) => {
                count.errors += more.errors;
                count.ns += more.ns;
                count.max_ns = count.max_ns.max(more.max_ns);
                count.buckets.iter_mut().zip(&more.buckets).for_each(|(calls, more)| *calls += more);
            }
            None => sum.push(more.clone()),
        }
    }
    sum.sort_by_key(|count| count.call);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(call: SyncCall, ns: u64, calls: u64) -> SyncCount {
        SyncCount { call, errors: calls, ns, max_ns: ns, buckets: vec![0, calls] }
    }

    #[test]
    fn two_lives_are_added_up_and_taken_apart() {
        let one = [count(SyncCall::Fsync, 100, 2)];
        let two = [count(SyncCall::Fsync, 50, 1), count(SyncCall::Msync, 7, 3)];
        let both = plus(&one, &two);
        assert_eq!(both, [SyncCount { max_ns: 100, ..count(SyncCall::Fsync, 150, 3) }, count(SyncCall::Msync, 7, 3)]);
        assert_eq!(since(&both, &two), [SyncCount { max_ns: 100, ..count(SyncCall::Fsync, 100, 2) }]);
        assert_eq!(since(&both, &both), []);
    }
}
