//! Exactness: known calls of every kind, counted to the byte and to the call, by each leg.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, io::Write as _, path::Path, sync::LazyLock, time::Duration};

use agent_ebpf::{Counter, Endpoint, InodeKey, Syscall};
use support::{alone, executable};
use zctrace::{
    exercise::{Child, KnownPort, Ledger, Plan},
    probe::{Capacity, Leg, LegChoice, Parts, Probe},
    report::{Attach, EndedBy, Facts, KafkaTarget, Report, Target, Window, build},
    snapshot::{LogDurations, Snapshot},
    target::listening_ports,
};

/// The legs to test: those that `ZCTRACE_TEST_LEGS` names (`raw,fexit`), or `raw`, `tracepoint` and, where the kernel can be
/// hooked so, `fexit` and `kprobe-multi`.
static LEGS: LazyLock<Vec<LegChoice>> = LazyLock::new(|| {
    if let Ok(names) = std::env::var("ZCTRACE_TEST_LEGS") {
        let leg =
            |name: &str| Leg::ALL.into_iter().find(|leg| leg.name() == name).unwrap_or_else(|| panic!("no leg {name}"));
        return names.split(',').map(|name| leg(name).choice()).collect();
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
fn storm() -> u64 {
    std::env::var("ZCTRACE_TEST_STORM").map_or(4_000_000, |calls| calls.parse().unwrap())
}

/// Watches a process that makes the calls of `plan`: what it says it did, and what was counted.
fn watch(plan: Plan, leg: LegChoice) -> (Ledger, Snapshot) {
    watch_within(plan, leg, Capacity::default())
}

fn watch_within(plan: Plan, leg: LegChoice, capacity: Capacity) -> (Ledger, Snapshot) {
    let mut child = Child::spawn(&executable(), &plan).unwrap_or_else(|error| panic!("{plan}: {error}"));
    let mut probe = Probe::attach(leg, capacity).unwrap_or_else(|error| panic!("{error}"));
    let slot = probe.watch(child.pid(), || listening_ports(Path::new("/proc"), child.pid()).unwrap()).unwrap();
    child.go();
    let ledger = child.wait_done().unwrap_or_else(|error| panic!("{plan}: {error}"));
    probe.stop(slot).unwrap();
    let snapshot = probe.snapshot(slot).unwrap();
    (ledger, snapshot)
}

type Transfers = BTreeMap<(Syscall, Endpoint, Endpoint, u32, bool), (u64, u64, u64, [u64; 32])>;

fn known_transfers(ledger: &Ledger) -> Transfers {
    let entry = |known: &zctrace::exercise::Known| {
        let key = (known.syscall, known.source, known.sink, known.port.code(), known.msg_zerocopy);
        (key, (known.calls, known.bytes, known.carried, known.sizes))
    };
    ledger.transfers.iter().map(entry).collect()
}

fn counted_transfers(snapshot: &Snapshot) -> Transfers {
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
fn assert_exact(plan: Plan, leg: LegChoice, ledger: &Ledger, snapshot: &Snapshot) {
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

fn exact(plan: Plan, legs: &[LegChoice]) -> Vec<(Ledger, Snapshot)> {
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
fn exact_and_whole(plan: Plan, legs: &[LegChoice]) -> impl Iterator<Item = (Ledger, Snapshot)> {
    exact(plan, legs).into_iter().filter(|(_, snapshot)| snapshot.missed_calls == 0)
}

#[test]
fn every_call_and_every_pair_of_endpoints() {
    for (ledger, snapshot) in exact(Plan::Basic, &LEGS) {
        // No descriptor is closed meanwhile; an eventfd, whose inode has no type, is known all the same.
        assert_eq!(snapshot.counter(Counter::EndpointUnknown), 0);
        for syscall in Syscall::ALL {
            assert!(ledger.transfers.iter().any(|known| known.syscall == syscall), "{syscall:?} was not exercised");
        }
        for kind in Endpoint::ALL {
            assert!(ledger.transfers.iter().any(|known| known.source == kind), "nothing came from {kind:?}");
            assert!(ledger.transfers.iter().any(|known| known.sink == kind), "nothing went to {kind:?}");
        }
    }
}

/// What left through the listener that sends by `syscall`: flows (topic or what stands for one, by zero copy, copied, read
/// before) and reasons.
type Told = (Vec<(String, u64, u64, u64)>, Vec<(&'static str, u64)>);

fn told(report: &Report, ledger: &Ledger, syscall: Syscall) -> Told {
    let port = ledger.transfers.iter().find_map(|known| match known.port {
        KnownPort::Listener(port) if known.syscall == syscall && known.sink == Endpoint::Socket => Some(port),
        _ => None,
    });
    let listener = report.listeners.iter().find(|listener| listener.port == port).unwrap();
    let flows = listener.flows.iter().map(|flow| {
        let whose = flow.topic.as_deref().unwrap_or(flow.from).to_owned();
        (whose, flow.zero_copy_bytes, flow.copied_bytes, flow.read_bytes)
    });
    let reasons = listener.reasons.iter().map(|reason| (reason.code, reason.bytes)).collect();
    let copied: u64 = listener.flows.iter().map(|flow| flow.copied_bytes).sum();
    let zero_copy: u64 = listener.flows.iter().map(|flow| flow.zero_copy_bytes).sum();
    assert_eq!((zero_copy, copied), (listener.egress.zero_copy_bytes, listener.egress.copied_bytes), "margins");
    assert_eq!(listener.reasons.iter().map(|reason| reason.bytes).sum::<u64>(), copied, "margins");
    (flows.collect(), reasons)
}

#[test]
fn whose_data_left_and_why_it_was_copied() {
    for (ledger, snapshot) in exact_and_whole(Plan::Flows, &LEGS) {
        let target = Target { kafka: Some(KafkaTarget::default()), ..Target::default() };
        let facts = Facts { target, ..Facts::default() };
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::Signal };
        let report = build(&snapshot, &facts, window, Attach::default());
        let told = |syscall| told(&report, &ledger, syscall);
        let flow = |whose: &str, zero_copy, copied, read| (whose.to_owned(), zero_copy, copied, read);
        assert_eq!(
            told(Syscall::Writev),
            (vec![flow("orders", 90_000, 0, 0), flow("none", 0, 140, 0)], vec![("headers", 140)])
        );
        assert_eq!(
            told(Syscall::Write),
            (
                vec![flow("orders", 0, 32_826, 32_768), flow("payments", 0, 10_029, 10_000), flow("none", 0, 40, 0)],
                vec![("tls", 42_895)]
            )
        );
        assert_eq!(
            told(Syscall::Sendto),
            (
                vec![flow("payments", 0, 23_000, 20_000), flow("files", 0, 8_000, 8_000), flow("none", 0, 300, 0)],
                vec![("log_read", 23_000), ("file_read", 8_000), ("headers", 300)]
            )
        );
        // Of what was sent in large pieces 32 KiB are sure.
        assert_eq!(
            told(Syscall::Sendmsg),
            (vec![flow("none", 0, 40_050, 0)], vec![("sendfile_refused", 32_768), ("headers", 7_282)])
        );
        assert_eq!(report.unsent_read_bytes, 5_000 + 7_000);
        assert_eq!(snapshot.refused.values().copied().collect::<Vec<_>>(), [1]);
    }
}

/// Threads at the same time: fewer where a machine is emulated.
fn crowd() -> u64 {
    if storm() < 4_000_000 { 500 } else { 5_000 }
}

#[test]
fn thousands_of_network_threads_are_each_known() {
    let legs = &LEGS[..1];
    for (ledger, snapshot) in exact_and_whole(Plan::Crowd(crowd()), legs) {
        let target = Target { kafka: Some(KafkaTarget::default()), ..Target::default() };
        let facts = Facts { target, ..Facts::default() };
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::Signal };
        let report = build(&snapshot, &facts, window, Attach::default());
        let bytes = crowd() / 2 * 100;
        for syscall in [Syscall::Sendto, Syscall::Sendmsg] {
            let flow = ("orders".to_owned(), 0, bytes, bytes);
            assert_eq!(told(&report, &ledger, syscall), (vec![flow], vec![("log_read", bytes)]));
        }
        assert_eq!((report.unsent_read_bytes, snapshot.counter(Counter::CarriedDropped)), (0, 0));
    }
}

#[test]
fn threads_that_make_it_hard_to_tell_whose_data_they_send() {
    for (ledger, snapshot) in exact_and_whole(Plan::Days, &LEGS) {
        let target = Target { kafka: Some(KafkaTarget::default()), ..Target::default() };
        let facts = Facts { target, ..Facts::default() };
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::Signal };
        let report = build(&snapshot, &facts, window, Attach::default());
        let told = |syscall| told(&report, &ledger, syscall);
        let flow = |whose: &str, zero_copy, copied, read| (whose.to_owned(), zero_copy, copied, read);
        // What was read long ago is still the file's; what came in between by zero copy has nothing to do with it.
        assert_eq!(
            told(Syscall::Writev),
            (
                vec![flow("orders", 0, 10_000, 10_000), flow("payments", 3_000, 0, 0), flow("none", 0, 200, 0)],
                vec![("log_read", 10_000), ("headers", 200)]
            )
        );
        // Two listeners of one thread. Of what was sent after two topics were read, all is taken for the second one's.
        assert_eq!(
            told(Syscall::Sendto),
            (vec![flow("orders", 0, 3_000, 3_000), flow("payments", 0, 700, 400)], vec![("log_read", 3_700)])
        );
        assert_eq!(told(Syscall::Sendmsg), (vec![flow("payments", 0, 6_000, 6_000)], vec![("log_read", 6_000)]));
        // Sessions that began before the watch, and in its middle.
        assert_eq!(
            told(Syscall::Write),
            (vec![flow("payments", 0, 8_029, 8_000), flow("none", 0, 11_266, 0)], vec![("tls", 19_295)])
        );
        // A listener and the one that took its place.
        let reopened: BTreeMap<u64, Vec<(&str, u64)>> = report
            .listeners
            .iter()
            .filter(|listener| [40_000, 50].contains(&listener.egress.egress_bytes))
            .map(|listener| {
                let reasons = listener.reasons.iter().map(|reason| (reason.code, reason.bytes)).collect();
                (listener.egress.egress_bytes, reasons)
            })
            .collect();
        assert_eq!(
            reopened,
            BTreeMap::from([(50, vec![("headers", 50)]), (40_000, vec![("unknown", 32_768), ("headers", 7_232)])])
        );
        // The idle thread's, and what another read of the first of two topics.
        assert_eq!(report.unsent_read_bytes, 10_000 + 300);
    }
}

const SLOW: Duration = Duration::from_millis(20);

/// Every call that moved bytes has a duration, by every leg; and one that must have taken a time took it.
#[test]
fn how_long_calls_took() {
    let _alone = alone();
    for plan in [Plan::Flows, Plan::Slow] {
        for leg in LEGS.iter() {
            let mut child = Child::spawn(&executable(), &plan).unwrap();
            let parts = Parts { latency: Some(SLOW), ..Parts::default() };
            let mut probe = Probe::attach_with(*leg, Capacity::default(), parts).unwrap();
            assert_eq!(probe.missing(), [""; 0], "{leg:?}");
            let slot = probe.watch(child.pid(), || listening_ports(Path::new("/proc"), child.pid()).unwrap()).unwrap();
            child.go();
            let ledger = child.wait_done().unwrap();
            probe.stop(slot).unwrap();
            let snapshot = probe.snapshot(slot).unwrap();
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

#[test]
fn partial_writes_and_failures() {
    for (ledger, _) in exact(Plan::Partial, &LEGS) {
        let eagain = libc::EAGAIN.unsigned_abs();
        assert!(ledger.errors.iter().any(|(syscall, errno, _)| (*syscall, *errno) == (Syscall::Sendfile, eagain)));
        assert!(ledger.errors.len() >= 6, "{:?}", ledger.errors);
        assert!(!ledger.empty.is_empty());
    }
}

#[test]
fn threads_that_start_later() {
    exact(Plan::Threads, &LEGS);
}

#[test]
fn descriptors_that_change_what_they_mean() {
    exact(Plan::Fds, &LEGS);
}

#[test]
fn listeners_that_open_later() {
    exact(Plan::LateListener, &LEGS);
}

#[test]
fn msg_zerocopy_is_told_apart() {
    for (ledger, _) in exact(Plan::ZeroCopy, &LEGS) {
        assert!(ledger.transfers.iter().any(|known| known.msg_zerocopy));
    }
}

#[test]
fn millions_of_calls_as_fast_as_they_can_be_made() {
    for (ledger, _) in exact(Plan::Storm(storm()), &LEGS) {
        assert_eq!(ledger.transfers.iter().map(|known| known.calls).sum::<u64>(), storm());
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_32_bit_table() {
    let (whole, native): (Vec<_>, Vec<_>) = LEGS.iter().partition(|leg| **leg == LegChoice::Raw);
    for (_, snapshot) in exact(Plan::Compat, &whole) {
        assert!(snapshot.counter(Counter::Compat) > 10);
    }
    // The kernel's system-call tracepoints leave 32-bit calls out (ARCH_TRACE_IGNORE_COMPAT_SYSCALLS), and other functions
    // than those that `fexit` and `kprobe-multi` hook answer them: these legs see none of them, and take none for another call.
    let _alone = alone();
    for leg in native {
        let (_, snapshot) = watch(Plan::Compat, leg);
        assert_eq!((snapshot.transfers, snapshot.results), (vec![], vec![]), "{leg:?}");
    }
}

#[test]
fn io_uring_is_noticed_and_not_counted() {
    for (ledger, snapshot) in exact(Plan::IoUring, &LEGS) {
        assert_eq!(ledger.transfers, []);
        assert_eq!(snapshot.counter(Counter::IoUringEnters), 5);
    }
}

#[test]
fn what_finds_its_map_full_is_counted_as_other() {
    let _alone = alone();
    for leg in LEGS.iter().copied() {
        let small = Capacity { transfers: 4, files: 1, directories: 1, ..Capacity::default() };
        let (ledger, snapshot) = watch_within(Plan::Basic, leg, small);
        assert!(snapshot.transfers.len() <= 4 && snapshot.files.len() <= 1 && snapshot.directories.len() <= 1);
        assert!(!snapshot.other.is_empty() && snapshot.files_other.bytes.iter().any(|bytes| *bytes > 0));
        // Whose socket it was is lost in `(other)`; call, endpoints, calls and bytes are not.
        let mut known: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for transfer in &ledger.transfers {
            let sum = known.entry((transfer.syscall, transfer.source, transfer.sink)).or_default();
            *sum = (sum.0 + transfer.calls, sum.1 + transfer.bytes);
        }
        let mut counted: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        let told_apart = snapshot.transfers.iter().map(|t| (t.id.syscall, t.id.source, t.id.sink, t.calls(), t.bytes));
        let other = snapshot.other.iter().map(|o| (o.syscall, o.source, o.sink, o.tally.calls, o.tally.bytes));
        for (syscall, source, sink, calls, bytes) in told_apart.chain(other) {
            let sum = counted.entry((syscall, source, sink)).or_default();
            *sum = (sum.0 + calls, sum.1 + bytes);
        }
        assert_eq!(counted, known, "{leg:?}");
        for path in 0..3 {
            let known: u64 = ledger.files.iter().map(|file| file.bytes[path]).sum();
            let told_apart: u64 = snapshot.files.iter().map(|file| file.moved.bytes[path]).sum();
            assert_eq!(told_apart + snapshot.files_other.bytes[path], known, "{leg:?}: files, path {path}");
        }
    }
}

#[test]
fn every_leg_gives_the_same() {
    let counted: Vec<_> = exact(Plan::Basic, &LEGS).into_iter().map(|(_, snapshot)| snapshot).collect();
    // Ports differ from run to run.
    let sums = |snapshot: &Snapshot| {
        let mut sums: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for transfer in &snapshot.transfers {
            let is_listener = transfer.id.port < agent_ebpf::PORT_NONE;
            let sum = sums.entry((transfer.id.syscall, transfer.id.source, transfer.id.sink, is_listener)).or_default();
            sum.0 += transfer.calls();
            sum.1 += transfer.bytes;
        }
        sums
    };
    let mut counted: Vec<_> = counted.iter().map(sums).collect();
    let keys = |sums: &BTreeMap<_, _>| sums.keys().copied().collect::<Vec<_>>();
    assert!(counted.iter().all(|sums| keys(sums) == keys(&counted[0])), "{counted:#?}");
    // How much a call takes from a socket depends on how much has arrived by then; nothing else depends on anything.
    for sums in &mut counted {
        sums.retain(|(_, source, _, _), _| !matches!(source, Endpoint::Socket | Endpoint::Unix));
    }
    assert!(counted.iter().all(|sums| *sums == counted[0]), "{counted:#?}");
}

#[test]
fn targets_are_kept_apart_and_a_slot_is_used_again() {
    let _alone = alone();
    let spawn = |plan| Child::spawn(&executable(), &plan).unwrap();
    let ports = |child: &Child| listening_ports(Path::new("/proc"), child.pid()).unwrap();
    for leg in LEGS.iter().copied() {
        let mut probe = Probe::attach(leg, Capacity { targets: 2, ..Capacity::default() }).unwrap();
        let (mut first, mut second) = (spawn(Plan::Basic), spawn(Plan::Threads));
        let slots = [&first, &second].map(|child| probe.watch(child.pid(), || ports(child)).unwrap());
        let mut third = spawn(Plan::Partial);
        let refused = probe.watch(third.pid(), || ports(&third)).unwrap_err();
        assert!(refused.to_string().contains("2 processes"), "{refused}");
        first.go();
        second.go();
        for (child, slot, plan) in [(&mut first, slots[0], Plan::Basic), (&mut second, slots[1], Plan::Threads)] {
            let ledger = child.wait_done().unwrap();
            let mut snapshot = probe.snapshot(slot).unwrap();
            // Directories are of all targets: those of this one's files.
            let parents: Vec<_> = snapshot.files.iter().map(|file| file.directory).collect();
            snapshot.directories.retain(|directory| parents.contains(&directory.inode));
            assert_exact(plan, leg, &ledger, &snapshot);
        }
        probe.release(slots[0]).unwrap();
        let slot = probe.watch(third.pid(), || ports(&third)).unwrap();
        assert_eq!(slot, slots[0]);
        // What the kernel missed is the host's, and stays.
        let begins = Snapshot { directories: Vec::new(), missed_calls: 0, ..probe.snapshot(slot).unwrap() };
        assert_eq!(begins, Snapshot::default());
        assert!(probe.listeners(slot).unwrap().is_subset(&ports(&third)));
        third.go();
        let ledger = third.wait_done().unwrap();
        probe.stop(slot).unwrap();
        assert_exact(Plan::Partial, leg, &ledger, &probe.snapshot(slot).unwrap());
    }
}
