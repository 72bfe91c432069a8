//! How long calls took.

use std::{collections::BTreeMap, time::Duration};

use agent_ebpf::Endpoint;
use zctrace::{
    exercise::Plan,
    probe::{Capacity, Parts},
    report::{Attach, EndedBy, Facts, Window, build},
    snapshot::LogDurations,
};

use super::{
    harness::{LEGS, assert_exact, watch_with},
    support::alone,
};

const SLOW: Duration = Duration::from_millis(20);

/// Every call that moved bytes has a duration, by every leg; and one that must have taken a time took it.
#[test]
fn how_long_calls_took() {
    let _alone = alone();
    for plan in [Plan::Flows, Plan::Slow] {
        for leg in LEGS.iter() {
            let parts = Parts { latency: Some(SLOW), ..Parts::default() };
            let (ledger, snapshot) = watch_with(plan, *leg, Capacity::default(), parts);
            assert_exact(plan, *leg, &ledger, &snapshot);
            if snapshot.missed_calls > 0 {
                continue;
            }
            let durations = snapshot.durations.clone().unwrap();
            let counted: BTreeMap<_, _> = snapshot.transfers.iter().map(|kind| (kind.id, kind.calls())).collect();
            let timed: BTreeMap<_, _> = durations.calls.iter().map(|kind| (kind.id, kind.calls())).collect();
            assert_eq!(timed, counted, "{plan} by {leg:?}");
            // Those of a file, by the way that its bytes took: out of it, into it, or sent from memory after they were read.
            let of_file = |kind: &&zctrace::snapshot::Transfer| {
                kind.id.of_file || kind.id.source == Endpoint::File || kind.id.sink == Endpoint::File
            };
            let of_files: u64 = snapshot.transfers.iter().filter(of_file).map(zctrace::snapshot::Transfer::calls).sum();
            assert_eq!(durations.logs.iter().map(LogDurations::calls).sum::<u64>(), of_files, "{plan} by {leg:?}");
            assert!(of_files > 0);
            let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::Signal };
            let facts = Facts { slow: SLOW, ..Facts::default() };
            let latency = build(&snapshot, &facts, window, Attach::default()).latency.unwrap();
            assert_eq!(latency.unmeasured_calls, 0, "{plan} by {leg:?}");
            if plan == Plan::Slow {
                // What the peer waited, these two had to wait for.
                for (syscall, source) in [("sendfile", "file"), ("read", "pipe")] {
                    let took =
                        latency.calls.iter().find(|call| (call.syscall, call.source) == (syscall, source)).unwrap();
                    let took = &took.took;
                    assert_eq!((took.calls, took.slow_calls), (1, 1), "{took:?}");
                    assert!(took.max_seconds >= 0.05 && took.max_seconds <= took.total_seconds, "{took:?}");
                }
            }
        }
    }
}
