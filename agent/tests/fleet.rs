//! A fleet over a real kernel: maps that fill up, processes that come back. The target is this test's own process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::PathBuf, time::Duration};

use support::{alone, assert_nothing_left};
use zctrace::{
    fleet::{Fleet, Limits, View},
    probe::{Capacity, LegChoice, Parts, Probe},
    snapshot::{Durations, LogDurations},
    target::{CommandLine, Process},
};

fn myself() -> Process {
    Process {
        pid: std::process::id(),
        comm: "test".to_owned(),
        command_line: CommandLine::default(),
        command: "test".to_owned(),
        compat: Some(false),
        is_jvm: false,
        jar_main: None,
    }
}

/// The only target, as it stands.
fn look(fleet: &mut Fleet) -> View {
    fleet.read().unwrap();
    fleet.views().next().unwrap().clone()
}

/// Bytes read out of files in a directory of this name.
fn read_from(view: &View, directory: &str) -> u64 {
    let of = |name: Option<&str>| name == Some(directory);
    view.report.files.iter().filter(|file| of(file.directory.as_deref())).map(|file| file.copied_read_bytes).sum()
}

#[test]
fn a_table_that_fills_up_gets_room_and_no_byte_is_lost() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("orders-0");
    fs::create_dir(&log).unwrap();
    let capacity = Capacity { files: 64, directories: 64, ..Capacity::default() };
    let limits = Limits { idle: Duration::ZERO, ..Limits::default() };
    let probe = Probe::attach(LegChoice::Auto, capacity).unwrap();
    let mut fleet = Fleet::new(probe, PathBuf::from("/proc"), limits);
    fleet.admit("test", &myself()).unwrap();
    let mut read = 0;
    // A broker that rolls a segment again and again: many times what the table holds.
    for segment in 0..300u64 {
        let path = log.join(format!("{:020}.log", segment * 1000));
        fs::write(&path, vec![7; 1000 + usize::try_from(segment).unwrap()]).unwrap();
        read += u64::try_from(fs::read(&path).unwrap().len()).unwrap();
        if segment % 5 == 0 {
            fleet.make_room_in_maps(std::time::Instant::now()).unwrap();
        }
        if segment % 50 == 0 {
            assert_eq!(read_from(&look(&mut fleet), "orders-0"), read, "after {segment} segments");
        }
    }
    let view = look(&mut fleet);
    assert_eq!(read_from(&view, "orders-0"), read);
    assert!(fleet.evicted() > 200, "{}", fleet.evicted());
    assert_eq!((view.report.lost.updates, view.report.lost.other_bytes), (0, 0));
    drop(fleet);
    assert_nothing_left();
}

#[test]
fn counters_go_on_when_a_target_comes_back() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("orders-0");
    fs::create_dir(&log).unwrap();
    let path = log.join("00000000000000000000.log");
    fs::write(&path, vec![7; 1234]).unwrap();
    let probe = Probe::attach(LegChoice::Auto, Capacity::default()).unwrap();
    let mut fleet = Fleet::new(probe, PathBuf::from("/proc"), Limits::default());
    for life in 1..=5u64 {
        fleet.admit("test", &myself()).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), 1234);
        let view = look(&mut fleet);
        assert_eq!((view.running, view.processes, read_from(&view, "orders-0")), (true, life, life * 1234));
        fleet.retire("test").unwrap();
        // Not watched: not counted.
        fs::read(&path).unwrap();
        let view = look(&mut fleet);
        assert_eq!((view.running, read_from(&view, "orders-0")), (false, life * 1234));
        assert_eq!(fleet.usage().unwrap()[0].entries, 0);
    }
}

const WITH_DURATIONS: Parts =
    Parts { page_cache: false, latency: Some(Duration::from_secs(1)), clients: None, order: true, syncs: false };

/// Calls with a duration, and calls that moved bytes.
fn timed(view: &View) -> (u64, u64) {
    let latency = view.report.latency.as_ref().unwrap();
    let timed = latency.calls.iter().map(|call| call.took.calls).sum();
    let counted = view.report.transfers.iter().map(|transfer| transfer.calls).sum();
    assert_eq!(latency.unmeasured_calls, counted - timed);
    (timed, counted)
}

#[test]
fn durations_go_on_when_a_target_comes_back() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, vec![7; 1234]).unwrap();
    let probe = Probe::attach_with(LegChoice::Auto, Capacity::default(), WITH_DURATIONS).unwrap();
    let mut fleet = Fleet::new(probe, PathBuf::from("/proc"), Limits::default());
    let mut before = 0;
    for life in 1..=3 {
        fleet.admit("test", &myself()).unwrap();
        for _ in 0..100 {
            fs::read(&path).unwrap();
        }
        fleet.retire("test").unwrap();
        let (timed, counted) = timed(&look(&mut fleet));
        assert!(timed >= before + 100, "life {life}: {timed} after {before}");
        // What was under way when counting began has none.
        assert!(counted - timed <= 2 * life, "life {life}: {timed} of {counted}");
        before = timed;
    }
}

#[test]
fn durations_leave_the_kernel_with_their_files() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("orders-0");
    fs::create_dir(&log).unwrap();
    let inode = fs::metadata(&log).unwrap().ino();
    let mut probe = Probe::attach_with(LegChoice::Auto, Capacity::default(), WITH_DURATIONS).unwrap();
    let slot = probe.watch(std::process::id(), BTreeSet::new).unwrap();
    for segment in 0..5u64 {
        let path = log.join(format!("{segment:020}.log"));
        fs::write(&path, [7; 1000]).unwrap();
        fs::read(&path).unwrap();
    }
    let of_log = |durations: &Durations| {
        let logs = durations.logs.iter().filter(|of| of.log.is_some_and(|log| log.inode == inode));
        logs.map(LogDurations::calls).collect::<Vec<_>>()
    };
    // Out of it and into it.
    assert_eq!(of_log(&probe.snapshot(slot).unwrap().durations.unwrap()), [5, 5]);
    let seen = probe.files().unwrap();
    let taken = probe.take_files(&seen.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(of_log(&taken.durations.unwrap()), [5, 5]);
    assert_eq!(of_log(&probe.snapshot(slot).unwrap().durations.unwrap()), [0u64; 0]);
    probe.release(slot).unwrap();
    drop(probe);
    assert_nothing_left();
}
