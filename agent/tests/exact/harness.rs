//! Known calls made and counted, and the comparison of both.

use std::{collections::BTreeMap, io::Write as _, path::Path, sync::LazyLock};

use agent_ebpf::{Endpoint, InodeKey, Syscall};
use zctrace::{
    exercise::{Child, Ledger, Plan},
    probe::{Capacity, Leg, LegChoice, Parts, Probe},
    snapshot::Snapshot,
    target::listening_ports,
};

use super::support::{alone, executable, named_legs};

/// The legs to test: those that `ZCTRACE_TEST_LEGS` names (`raw,fexit`), or `raw`, `tracepoint` and, where the kernel can be
/// hooked so, `fexit` and `kprobe-multi`.
pub(crate) static LEGS: LazyLock<Vec<LegChoice>> = LazyLock::new(|| {
    if let Some(legs) = named_legs() {
        return legs;
    }
    let mut legs = vec![LegChoice::Raw, LegChoice::Tracepoint];
    for leg in [Leg::Fexit, Leg::KprobeMulti] {
        match Probe::attach(leg.choice(), Capacity::default()) {
            Ok(_) => legs.push(leg.choice()),
            Err(refusal) => eprintln!("the leg {leg} can't be tested on this kernel: {refusal}"),
        }
    }
    legs
});

/// How many calls are made as fast as they can be: `ZCTRACE_TEST_STORM`, where a machine is emulated.
pub(crate) fn storm() -> u64 {
    std::env::var("ZCTRACE_TEST_STORM").map_or(4_000_000, |calls| calls.parse().unwrap())
}

/// Watches a process that makes the calls of `plan`: what it says it did, and what was counted.
pub(crate) fn watch(plan: Plan, leg: LegChoice) -> (Ledger, Snapshot) {
    watch_with(plan, leg, Capacity::default(), Parts::default())
}

/// The same with tables of this capacity, and with what else is to be counted: all of it.
pub(crate) fn watch_with(plan: Plan, leg: LegChoice, capacity: Capacity, parts: Parts) -> (Ledger, Snapshot) {
    let mut child = Child::spawn(&executable(), &plan).unwrap_or_else(|error| panic!("{plan}: {error}"));
    let mut probe = Probe::attach_with(leg, capacity, parts).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(probe.missing(), [""; 0], "{leg:?}");
    let slot = probe.watch(child.pid(), || listening_ports(Path::new("/proc"), child.pid()).unwrap()).unwrap();
    child.go();
    let ledger = child.wait_done().unwrap_or_else(|error| panic!("{plan}: {error}"));
    probe.stop(slot).unwrap();
    let snapshot = probe.snapshot(slot).unwrap();
    (ledger, snapshot)
}

pub(crate) type Transfers = BTreeMap<(Syscall, Endpoint, Endpoint, u32, bool), (u64, u64, u64, [u64; 32])>;

pub(crate) fn known_transfers(ledger: &Ledger) -> Transfers {
    let entry = |known: &zctrace::exercise::Known| {
        let key = (known.syscall, known.source, known.sink, known.port.code(), known.msg_zerocopy);
        (key, (known.calls, known.bytes, known.carried, known.sizes))
    };
    ledger.transfers.iter().map(entry).collect()
}

pub(crate) fn counted_transfers(snapshot: &Snapshot) -> Transfers {
    let entry = |counted: &zctrace::snapshot::Transfer| {
        let id = counted.id;
        let key = (id.syscall, id.source, id.sink, id.port, id.msg_zerocopy);
        (key, (counted.calls(), counted.bytes, counted.carried_file_bytes, counted.sizes))
    };
    // Those of files and those with TLS are told apart beyond what a process writes down.
    let mut transfers = Transfers::new();
    for (key, (calls, bytes, carried, sizes)) in snapshot.transfers.iter().map(entry) {
        let sum = transfers.entry(key).or_insert((0, 0, 0, [0; 32]));
        *sum = (sum.0 + calls, sum.1 + bytes, sum.2 + carried, std::array::from_fn(|i| sum.3[i] + sizes[i]));
    }
    transfers
}

/// Fails unless everything is equal: transfers, errors, empty calls, files. On a kernel that misses calls and says how many:
/// unless so many are missing at most, and nothing is counted that was not done.
pub(crate) fn assert_exact(plan: Plan, leg: LegChoice, ledger: &Ledger, snapshot: &Snapshot) {
    let context = format!("{plan} by {leg:?}");
    if snapshot.missed_calls > 0 {
        return assert_accounted(&context, ledger, snapshot);
    }
    let (known, counted) = (known_transfers(ledger), counted_transfers(snapshot));
    for (key, value) in &known {
        assert_eq!(counted.get(key), Some(value), "{context}: {key:?}");
    }
    for key in counted.keys() {
        assert!(known.contains_key(key), "{context}: counted, but not done: {key:?} {:?}", counted[key]);
    }
    let mut results: BTreeMap<(Syscall, u32), u64> =
        ledger.errors.iter().map(|(syscall, errno, calls)| ((*syscall, *errno), *calls)).collect();
    results.extend(ledger.empty.iter().map(|(syscall, calls)| ((*syscall, 0), *calls)));
    let counted: BTreeMap<_, _> = snapshot.results.iter().map(|r| ((r.syscall, r.result), r.calls)).collect();
    assert_eq!(counted, results, "{context}: calls that moved nothing");
    assert_files(&context, ledger, snapshot);
}

/// Calls and bytes of each system call, whatever their ends: a missed `listen` turns a listener's port into an outbound one.
fn assert_accounted(context: &str, ledger: &Ledger, snapshot: &Snapshot) {
    let by_call = |transfers: Transfers| {
        let mut sums: BTreeMap<Syscall, (u64, u64)> = BTreeMap::new();
        for ((syscall, ..), (calls, bytes, ..)) in transfers {
            let sum = sums.entry(syscall).or_default();
            *sum = (sum.0 + calls, sum.1 + bytes);
        }
        sums
    };
    let (known, counted) = (by_call(known_transfers(ledger)), by_call(counted_transfers(snapshot)));
    let mut missing = 0;
    for (syscall, (calls, bytes)) in &known {
        let seen = counted.get(syscall).copied().unwrap_or_default();
        assert!(seen.0 <= *calls && seen.1 <= *bytes, "{context}: {syscall:?} {seen:?} of {calls}, {bytes}");
        missing += calls - seen.0;
    }
    assert!(counted.keys().all(|syscall| known.contains_key(syscall)), "{context}: {counted:?}");
    let missed = snapshot.missed_calls;
    assert!(missing <= missed, "{context}: {missing} calls are missing, but the kernel says that it missed {missed}");
    // Not captured: whoever runs the tests must know that they were not exact.
    let note = format!("{context}: this kernel misses calls: {missing} are missing, {missed} it says\n");
    std::io::stderr().write_all(note.as_bytes()).unwrap();
}

fn assert_files(context: &str, ledger: &Ledger, snapshot: &Snapshot) {
    let directories: BTreeMap<InodeKey, &str> =
        snapshot.directories.iter().map(|directory| (directory.inode, &*directory.name)).collect();
    let counted: BTreeMap<u64, _> = snapshot
        .files
        .iter()
        .map(|file| {
            let directory = directories.get(&file.directory).copied().unwrap_or_default();
            (file.inode.inode, (&*file.name, directory, file.moved.bytes))
        })
        .collect();
    let known: BTreeMap<u64, _> =
        ledger.files.iter().map(|file| (file.inode, (&*file.name, file.directory.as_str(), file.bytes))).collect();
    assert_eq!(counted, known, "{context}: files");
}

pub(crate) fn exact(plan: Plan, legs: &[LegChoice]) -> Vec<(Ledger, Snapshot)> {
    let _alone = alone();
    legs.iter()
        .map(|leg| {
            let (ledger, snapshot) = watch(plan, *leg);
            assert_exact(plan, *leg, &ledger, &snapshot);
            (ledger, snapshot)
        })
        .collect()
}

/// The same, without those of which the kernel missed calls, and said so: what a missed call was, nobody knows.
pub(crate) fn exact_and_whole(plan: Plan, legs: &[LegChoice]) -> impl Iterator<Item = (Ledger, Snapshot)> {
    exact(plan, legs).into_iter().filter(|(_, snapshot)| snapshot.missed_calls == 0)
}
