//! Calls that wait until what was written is on disk. Pure.

use serde::Serialize;

use super::latency::{Took, took};
use crate::snapshot::SyncCount;

/// How often a broker waits until what was written is on disk, and how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SyncUse {
    /// Kernel name of the call: `fsync`, `fdatasync`, `sync_file_range`, `msync`.
    pub syscall: &'static str,
    /// Calls that failed.
    pub errors: u64,
    /// How long they took, those that failed among them. No call counts as slow.
    #[serde(flatten)]
    pub took: Took,
}

/// Those that took longest in all first.
pub(super) fn syncs(counts: &[SyncCount]) -> Vec<SyncUse> {
    let of = |count: &SyncCount| SyncUse {
        syscall: count.call.name(),
        errors: count.errors,
        took: took(count.ns, count.max_ns, 0, &count.buckets, 1),
    };
    let mut all: Vec<_> = counts.iter().map(of).collect();
    all.sort_by(|a, b| b.took.total_seconds.total_cmp(&a.took.total_seconds));
    all
}

#[cfg(test)]
mod tests {
    use agent_ebpf::{LATENCY_BUCKETS, SyncCall, latency_bucket};

    use super::*;

    #[test]
    fn calls_are_told_with_their_percentiles_and_errors() {
        let count = |call, durations: &[u64]| {
            let mut buckets = vec![0; LATENCY_BUCKETS];
            durations.iter().for_each(|ns| buckets[latency_bucket(*ns)] += 1);
            let max_ns = durations.iter().copied().max().unwrap_or(0);
            SyncCount { call, errors: 1, ns: durations.iter().sum(), max_ns, buckets }
        };
        let told = syncs(&[count(SyncCall::Msync, &[2_000]), count(SyncCall::Fsync, &[3_000_000, 5_000_000])]);
        assert_eq!(
            told.iter().map(|of| (of.syscall, of.errors, of.took.calls)).collect::<Vec<_>>(),
            [("fsync", 1, 2), ("msync", 1, 1)]
        );
        assert_eq!(told[0].took.max_seconds, 0.005);
        assert!(told[0].took.p50_seconds >= 0.003 && told[0].took.p50_seconds <= 0.00375, "{told:?}");
    }
}
