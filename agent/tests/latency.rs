//! Durations beside strace's (`strace -T`), of the same calls at the same time: the kernel's hooks are between strace's stops, so a
//! call never takes longer for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::{PATIENCE, Running, alone, executable, need};
use zctrace::{
    exercise::{Child, Plan},
    probe::{Capacity, LegChoice, Parts, Probe},
    target::listening_ports,
};

/// Calls, and all their durations together in seconds, by name.
type Durations = BTreeMap<String, (u64, f64)>;

/// strace prints microseconds.
const ROUNDING: f64 = 1e-6;

fn strace(pid: u32, log: &Path) -> Running {
    let child = Command::new("strace")
        .args(["-f", "-q", "-T", "-s", "0", "-e", "trace=sendfile,read", "-e", "signal=none", "-o"])
        .arg(log)
        .args(["-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("TracerPid:\t0\n") {
        assert!(started.elapsed() < PATIENCE, "strace does not attach");
        std::thread::sleep(Duration::from_millis(20));
    }
    Running(child)
}

/// Of calls that moved bytes: `12 read(5, ""..., 8) = 8 <0.060123>`, `12 <... read resumed>""..., 8) = 8 <0.060123>`.
fn straced(log: &str) -> Durations {
    let mut sums = Durations::new();
    for line in log.lines() {
        let Some((call, result)) = line.rsplit_once(" = ") else { continue };
        let Some((bytes, seconds)) = result.split_once(" <") else { continue };
        if !bytes.parse::<u64>().is_ok_and(|bytes| bytes > 0) {
            continue;
        }
        let call = call.split_once(' ').unwrap().1.trim_start();
        let name = call.strip_prefix("<... ").unwrap_or(call).split(['(', ' ']).next().unwrap();
        let sum = sums.entry(name.to_owned()).or_default();
        *sum = (sum.0 + 1, sum.1 + seconds.trim_end_matches('>').parse::<f64>().unwrap());
    }
    sums
}

#[test]
fn calls_take_no_longer_than_strace_says_and_no_less_than_they_must() {
    let _alone = alone();
    need("strace");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("strace.log");
    let mut child = Child::spawn(&executable(), &Plan::Slow).unwrap();
    let mut strace = strace(child.pid(), &log);
    let parts = Parts { latency: Some(Duration::from_millis(10)), ..Parts::default() };
    let mut probe = Probe::attach_with(LegChoice::Raw, Capacity::default(), parts).unwrap();
    let slot = probe.watch(child.pid(), || listening_ports(Path::new("/proc"), child.pid()).unwrap()).unwrap();
    child.go();
    child.wait_done().unwrap();
    probe.stop(slot).unwrap();
    let durations = probe.snapshot(slot).unwrap().durations.unwrap();
    strace.signal(libc::SIGTERM);
    strace.end();
    let theirs = straced(&fs::read_to_string(&log).unwrap());
    let mut ours = Durations::new();
    for kind in &durations.calls {
        let sum = ours.entry(kind.id.syscall.name().to_owned()).or_default();
        *sum = (sum.0 + kind.calls(), sum.1 + Duration::from_nanos(kind.ns).as_secs_f64());
    }
    eprintln!("ours {ours:?}, strace's {theirs:?}");
    for name in ["sendfile", "read"] {
        let ((calls, seconds), (their_calls, their_seconds)) = (ours[name], theirs[name]);
        assert_eq!(calls, their_calls, "{name}");
        // Their peer makes each of the two wait for 60 ms.
        assert!(seconds >= 0.05 && seconds <= their_seconds + ROUNDING * calls as f64, "{name}: {ours:?} {theirs:?}");
    }
}
