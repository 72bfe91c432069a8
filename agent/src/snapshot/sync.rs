//! Calls that wait until what was written is on disk.

use agent_ebpf::SyncCall;
use serde::{Deserialize, Serialize};

use super::durations::Sums;

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

impl Sums for SyncCount {
    type Id = SyncCall;

    fn id(&self) -> SyncCall {
        self.call
    }

    fn words(&mut self) -> (&mut u64, &mut u64, &mut u64, &mut Vec<u64>) {
        (&mut self.ns, &mut self.max_ns, &mut self.errors, &mut self.buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::durations::{plus, since},
        *,
    };

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
