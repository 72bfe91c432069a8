//! Exactness: known calls of every kind, counted to the byte and to the call, by each leg.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attribution;
#[cfg(target_arch = "x86_64")]
mod compat;
mod durations;
mod harness;
#[path = "../support/mod.rs"]
mod support;

use std::{collections::BTreeMap, path::Path};

use agent_ebpf::{Counter, Endpoint, Syscall};
use harness::{LEGS, assert_exact, exact, storm, watch_with};
use support::{alone, executable};
use zctrace::{
    exercise::{Child, Plan},
    probe::{Capacity, Parts, Probe},
    snapshot::Snapshot,
    target::{kernel_tls_connections, listening_ports},
};

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

/// Where `ZCTRACE_TEST_KERNEL_TLS` is set; elsewhere a kernel that can't do it is no failure.
#[test]
fn what_the_kernel_encrypts_is_zero_copy_all_the_same() {
    if std::env::var_os("ZCTRACE_TEST_KERNEL_TLS").is_none()
        && let Err(reason) = Child::spawn(&executable(), &Plan::KernelTls).map(drop)
    {
        return eprintln!("kernel TLS can't be tested on this kernel: {reason}");
    }
    let child = Child::spawn(&executable(), &Plan::KernelTls).unwrap();
    assert!(kernel_tls_connections(Path::new("/proc"), child.pid()).is_some_and(|connections| connections > 0));
    drop(child);
    for (ledger, snapshot) in exact(Plan::KernelTls, &LEGS) {
        let egress = |syscall, source| {
            let is_it = |known: &&zctrace::exercise::Known| known.syscall == syscall && known.source == source;
            let sent = |known: &zctrace::exercise::Known| known.sink == Endpoint::Socket;
            ledger.transfers.iter().filter(is_it).filter(|known| sent(known)).map(|known| known.bytes).sum::<u64>()
        };
        assert_eq!(egress(Syscall::Sendfile, Endpoint::File), 61_000);
        assert_eq!(egress(Syscall::Write, Endpoint::Memory), 40_000);
        assert!(egress(Syscall::Splice, Endpoint::Pipe) > 0);
        // The records are made behind the call: nothing that the process writes looks like one.
        assert!(snapshot.transfers.iter().all(|transfer| !transfer.id.tls), "{:?}", snapshot.transfers);
    }
}

#[test]
fn millions_of_calls_as_fast_as_they_can_be_made() {
    for (ledger, _) in exact(Plan::Storm(storm()), &LEGS) {
        assert_eq!(ledger.transfers.iter().map(|known| known.calls).sum::<u64>(), storm());
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
        let (ledger, snapshot) = watch_with(Plan::Basic, leg, small, Parts::default());
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
