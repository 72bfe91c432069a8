//! Judged machines: a good one, and one for each thing that can be missing.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::symlink, path::Path};

use agent_ebpf::{Endpoint, PORT_NONE, SIZE_BUCKETS, Syscall};

use super::*;
use crate::{
    exercise::{Known, KnownPort, Ledger},
    output::{Style, doctor::render},
    snapshot::{CallResult, Snapshot, Transfer, TransferId},
};

fn good() -> Machine {
    Machine {
        architecture: "x86_64".to_owned(),
        release: "6.1.0-28-amd64".to_owned(),
        btf: Found::Readable,
        tracefs: Found::Readable,
        lockdown: Some("none [integrity] confidentiality\n".to_owned()),
        capabilities: Some(0x1ff_ffff_ffff),
        seccomp: Some(0),
        locked_memory: Some(Some(8 << 20)),
        unprivileged_bpf_disabled: Some(2),
        jit: Some(1),
        pid_namespace: Some(4_026_531_836),
        proc_self: Some(77),
        own_pid: 77,
        bpf_call: BpfCall::Works,
        executable: "/usr/bin/zctrace".into(),
    }
}

fn check(machine: &Machine, name: &str) -> Check {
    checks(machine).into_iter().find(|check| check.name == name).unwrap()
}

fn diagnosis(machine: &Machine) -> Diagnosis {
    let checks = checks(machine);
    Diagnosis { schema_version: 1, able: checks::is_able(&checks), checks, self_tests: Vec::new() }
}

#[test]
fn a_good_machine_has_nothing_to_mend() {
    let diagnosis = diagnosis(&good());
    for check in &diagnosis.checks {
        assert_eq!((check.state, &check.mend), (State::Ok, &None), "{}", check.name);
    }
    assert_eq!(diagnosis.status(), Status::Done);
}

/// Each thing alone: how it stands, a word of what mends it, and the exit status.
#[test]
fn each_thing_that_can_be_missing_is_named_with_what_mends_it() {
    type Breaks = fn(&mut Machine);
    let cases: [(Breaks, &str, State, &str, Status); 16] = [
        (|m| m.release = "4.18.0-513.el8".into(), "kernel", State::Missing, "newer kernel", Status::Kernel),
        (|m| m.release = "5.14.0-570.el9".into(), "kernel", State::Limited, "newer kernel", Status::Done),
        (|m| m.architecture = "riscv64".into(), "architecture", State::Missing, "x86_64", Status::Kernel),
        (|m| m.btf = Found::Absent, "BTF", State::Missing, "CONFIG_DEBUG_INFO_BTF", Status::Kernel),
        (|m| m.tracefs = Found::Absent, "tracefs", State::Limited, "mount -t tracefs none", Status::Done),
        (|m| m.tracefs = Found::Denied, "tracefs", State::Limited, "remount", Status::Done),
        (
            |m| m.lockdown = Some("none integrity [confidentiality]".into()),
            "lockdown",
            State::Missing,
            "lockdown=integrity",
            Status::Kernel,
        ),
        (
            |m| m.capabilities = Some(1 << 38),
            "CAP_BPF",
            State::Missing,
            "setcap cap_bpf,cap_perfmon",
            Status::Privilege,
        ),
        (|m| m.capabilities = Some(1 << 39), "CAP_PERFMON", State::Missing, "--cap-add PERFMON", Status::Privilege),
        (
            |m| m.capabilities = Some(1 << 39 | 1 << 38),
            "CAP_SYS_PTRACE",
            State::Limited,
            "AmbientCapabilities=CAP_SYS_PTRACE",
            Status::Done,
        ),
        (
            |m| m.capabilities = Some(1 << 39 | 1 << 38),
            "CAP_DAC_READ_SEARCH",
            State::Limited,
            "cap_dac_read_search",
            Status::Done,
        ),
        (|m| m.jit = Some(0), "JIT compiler", State::Limited, "bpf_jit_enable=1", Status::Done),
        (
            |m| {
                m.seccomp = Some(2);
                m.bpf_call = BpfCall::Fails(libc::EPERM);
            },
            "bpf system call",
            State::Missing,
            "seccomp",
            Status::Privilege,
        ),
        (|m| m.bpf_call = BpfCall::Fails(libc::EACCES), "bpf system call", State::Missing, "avc", Status::Privilege),
        (|m| m.proc_self = Some(4242), "/proc", State::Missing, "mount -t proc", Status::Kernel),
        (|m| m.pid_namespace = Some(4_026_532_000), "PID namespace", State::Limited, "hostPID", Status::Done),
    ];
    for (breaks, name, state, mend, status) in cases {
        let mut machine = good();
        breaks(&mut machine);
        let found = check(&machine, name);
        assert_eq!(found.state, state, "{found:?}");
        assert!(found.mend.as_ref().unwrap().contains(mend), "{found:?}");
        assert!(!found.mend.as_ref().unwrap().contains("root"), "capabilities one by one: {found:?}");
        assert_eq!(diagnosis(&machine).status(), status, "{name}");
    }
}

#[test]
fn cap_sys_admin_stands_for_bpf_and_perfmon() {
    let machine = Machine { capabilities: Some(1 << 21 | 1 << 19 | 1 << 2), ..good() };
    assert_eq!(check(&machine, "CAP_BPF").state, State::Ok);
    assert_eq!(check(&machine, "CAP_PERFMON").state, State::Ok);
}

#[test]
fn the_memory_lock_limit_counts_on_old_kernels_only() {
    let old = Machine { release: "5.10.0-32-amd64".to_owned(), capabilities: Some(0x3f_feff_ffff), ..good() };
    assert_eq!(check(&old, "memory-lock limit").state, State::Limited);
    assert!(check(&old, "CAP_SYS_RESOURCE").mend.unwrap().contains("cap_sys_resource"));
    let new = Machine { capabilities: Some(0x1ff_feff_ffff), ..good() };
    assert_eq!(check(&new, "memory-lock limit").state, State::Ok);
    assert_eq!(check(&new, "CAP_SYS_RESOURCE").state, State::Ok);
    assert!(!check(&Machine { capabilities: Some(0), ..good() }, "CAP_BPF").mend.unwrap().contains("cap_sys_resource"));
}

#[test]
fn a_refusal_for_want_of_a_capability_is_told_once() {
    let machine = Machine { capabilities: Some(0), bpf_call: BpfCall::Fails(libc::EPERM), ..good() };
    assert_eq!(check(&machine, "bpf system call").state, State::Unknown);
    assert_eq!(check(&machine, "CAP_BPF").state, State::Missing);
    assert_eq!(diagnosis(&machine).status(), Status::Privilege);
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn facts_are_read_from_the_files_that_hold_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root, "proc/sys/kernel/osrelease", "5.14.0-570.el9.x86_64\n");
    write(root, "proc/sys/kernel/unprivileged_bpf_disabled", "2\n");
    write(root, "proc/sys/net/core/bpf_jit_enable", "1\n");
    write(root, "proc/4711/status", "Name:\tzctrace\nCapEff:\t000000c000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n");
    write(
        root,
        "proc/4711/limits",
        "Limit      Soft Limit  Hard Limit  Units\nMax locked memory         65536     65536    bytes\n",
    );
    fs::create_dir_all(root.join("proc/4711/ns")).unwrap();
    symlink("pid:[4026532001]", root.join("proc/4711/ns/pid")).unwrap();
    symlink("4711", root.join("proc/self")).unwrap();
    write(root, "sys/kernel/debug/tracing/events/syscalls/enable", "0");
    let machine = Machine::gather(root);
    assert_eq!(machine.release, "5.14.0-570.el9.x86_64");
    assert_eq!(machine.capabilities, Some(1 << 38 | 1 << 39));
    assert_eq!(machine.seccomp, Some(2));
    assert_eq!(machine.locked_memory, Some(Some(65536)));
    assert_eq!((machine.unprivileged_bpf_disabled, machine.jit), (Some(2), Some(1)));
    assert_eq!((machine.pid_namespace, machine.proc_self), (Some(4_026_532_001), Some(4711)));
    assert_eq!((machine.btf, machine.tracefs), (Found::Absent, Found::Readable));
    assert_eq!(machine.lockdown, None);
}

#[test]
fn an_empty_machine_is_judged_without_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let checks = checks(&Machine::gather(dir.path()));
    assert!(checks.iter().any(|check| check.name == "kernel" && check.state == State::Unknown));
    assert!(checks.iter().any(|check| check.name == "CAP_BPF" && check.state == State::Unknown));
    assert!(checks.iter().any(|check| check.name == "/proc" && check.state == State::Missing));
}

fn known(calls: u64, bytes: u64) -> Ledger {
    let (source, sink) = (Endpoint::File, Endpoint::Socket);
    let (port, sizes) = (KnownPort::Listener(9092), [0; SIZE_BUCKETS]);
    let syscall = Syscall::Sendfile;
    let known = Known { syscall, source, sink, port, msg_zerocopy: false, calls, bytes, carried: 0, sizes };
    Ledger { transfers: vec![known], errors: vec![(syscall, 11, 2)], ..Ledger::default() }
}

fn counted(calls: u64, bytes: u64, port: u32) -> Snapshot {
    let id = TransferId {
        syscall: Syscall::Sendfile,
        source: Endpoint::File,
        sink: Endpoint::Socket,
        port,
        msg_zerocopy: false,
        tls: false,
        of_file: false,
    };
    let mut sizes = [0; SIZE_BUCKETS];
    sizes[10] = calls;
    Snapshot {
        transfers: vec![Transfer { id, bytes, carried_file_bytes: 0, sizes }],
        results: vec![CallResult { syscall: Syscall::Sendfile, result: 11, calls: 2 }],
        ..Snapshot::default()
    }
}

#[test]
fn equal_counts_are_exact_and_one_byte_off_is_not() {
    let (lines, differences) = compare(&known(3, 4096), &counted(3, 4096, 9092));
    assert_eq!(differences, []);
    assert_eq!((lines[0].calls, lines[0].bytes, lines[0].without_bytes, lines[0].exact), (3, 4096, 2, true));
    let (lines, differences) = compare(&known(3, 4096), &counted(3, 4095, 9092));
    assert!(!lines[0].exact);
    assert_eq!((differences[0].made, differences[0].counted), ((3, 4096), (3, 4095)));
    // The right sum under the wrong name is wrong twice.
    let (_, differences) = compare(&known(3, 4096), &counted(3, 4096, PORT_NONE));
    assert_eq!(differences.len(), 2);
    let (_, differences) = compare(&known(3, 4096), &Snapshot { results: Vec::new(), ..counted(3, 4096, 9092) });
    assert_eq!(differences[0].what, "errno 11");
}

#[test]
fn what_differs_only_in_a_flag_that_nobody_knows_is_added_up() {
    let mut snapshot = counted(1, 1000, 9092);
    let mut other = counted(2, 3096, 9092).transfers.remove(0);
    other.id.of_file = true;
    snapshot.transfers.push(other);
    assert_eq!(compare(&known(3, 4096), &snapshot).1, []);
}

#[test]
fn a_miscount_is_shown_and_ends_with_a_status_of_its_own() {
    let (calls, differences) = compare(&known(3, 4096), &counted(3, 4095, 9092));
    let mut diagnosis = diagnosis(&good());
    diagnosis.self_tests.push(SelfTest { leg: "raw", failure: None, calls, differences, missed_calls: 0 });
    assert_eq!(diagnosis.status(), Status::Failed);
    let text = render(&diagnosis, &Style { width: 100, color: false, unicode: true, ..Style::default() });
    assert!(text.contains("3 calls and 4,096 bytes were made, 3 and 4,095 counted"), "{text}");
    assert!(text.contains("miscounts by leg raw"), "{text}");
    if let Some(test) = diagnosis.self_tests.first_mut() {
        test.missed_calls = 1;
    }
    let text = render(&diagnosis, &Style { width: 400, color: false, unicode: true, ..Style::default() });
    assert!(text.contains("this kernel misses calls by leg raw"), "{text}");
    assert_eq!(diagnosis.status(), Status::Failed);
    let (calls, differences) = compare(&known(3, 4096), &counted(3, 4096, 9092));
    diagnosis.self_tests.push(SelfTest { leg: "kprobe-multi", failure: None, calls, differences, missed_calls: 0 });
    assert_eq!(diagnosis.status(), Status::Done, "`auto` takes the exact one");
    let text = render(&diagnosis, &Style { width: 400, color: false, unicode: true, ..Style::default() });
    assert!(
        text.contains("counts every byte by the leg that it takes by itself. By leg raw this kernel misses"),
        "{text}"
    );
}

#[test]
fn the_text_fits_any_width_and_says_what_mends() {
    let mut machine = good();
    machine.capabilities = Some(0);
    machine.tracefs = Found::Absent;
    for width in [40, 80, 160] {
        let style = Style { width, color: false, unicode: true, ..Style::default() };
        let text = render(&diagnosis(&machine), &style);
        assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        assert!(text.contains("✗ CAP_BPF: "), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
