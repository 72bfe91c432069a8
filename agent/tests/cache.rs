//! What comes into the page cache, beside the kernel's own account, on file systems of several kinds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
};

use agent_ebpf::{Fill, FillWay};
use support::{
    alone, assert_nothing_left, executable, legs, need,
    volume::{Volume, while_the_cache_lasts},
};
use zctrace::{
    exercise::{Child, KnownPort, Ledger, Plan},
    facts::disk_read_bytes,
    probe::{Capacity, LegChoice, Parts, Probe},
    snapshot::{Fills, Snapshot},
    target::listening_ports,
};

const PROC: &str = "/proc";
/// Size of the file that the plan `cold` reads.
const COLD_BYTES: u64 = 8 << 20;
const COUNTED: Parts = Parts { page_cache: true, latency: None, clients: None, order: false, syncs: false };

struct Watched {
    ledger: Ledger,
    snapshot: Snapshot,
    /// By the kernel's own account, while it was watched.
    disk_reads: u64,
    missing: Vec<String>,
}

fn watch(plan: Plan, dir: &Path, capacity: Capacity, parts: Parts) -> Watched {
    watch_by(LegChoice::Auto, plan, dir, capacity, parts)
}

fn watch_by(leg: LegChoice, plan: Plan, dir: &Path, capacity: Capacity, parts: Parts) -> Watched {
    let mut child = Child::spawn_in(&executable(), &plan, dir).unwrap_or_else(|error| panic!("{plan}: {error}"));
    let pid = child.pid();
    let mut probe = Probe::attach_with(leg, capacity, parts).unwrap_or_else(|error| panic!("{error}"));
    let slot = probe.watch(pid, || listening_ports(Path::new(PROC), pid).unwrap()).unwrap();
    let before = disk_read_bytes(Path::new(PROC), pid).unwrap();
    child.go();
    let ledger = child.wait_done().unwrap_or_else(|error| panic!("{plan}: {error}"));
    let disk_reads = disk_read_bytes(Path::new(PROC), pid).unwrap() - before;
    probe.stop(slot).unwrap();
    Watched { ledger, snapshot: probe.snapshot(slot).unwrap(), disk_reads, missing: probe.missing() }
}

/// What came in, by way and port.
fn by_way(snapshot: &Snapshot) -> BTreeMap<(FillWay, u32), u64> {
    let fills = snapshot.fills.as_ref().expect("it was counted");
    let mut sums = BTreeMap::new();
    for of in &fills.files {
        *sums.entry((of.way, of.port)).or_default() += of.fill.asked + of.fill.ahead;
    }
    sums
}

fn listener(ledger: &Ledger) -> u32 {
    let ports = ledger.transfers.iter().map(|known| known.port);
    ports.filter(|port| matches!(port, KnownPort::Listener(_))).map(KnownPort::code).next().unwrap()
}

#[test]
fn what_is_read_from_disk_is_told_by_way_and_listener_on_every_file_system() {
    let _alone = alone();
    while_the_cache_lasts(|| {
        for kind in ["ext4", "xfs", "btrfs"] {
            need(&format!("mkfs.{kind}"));
            let volume = Volume::new(kind, 512);
            let watched = watch(Plan::Cold, &volume.path(), Capacity::default(), COUNTED);
            assert_eq!(watched.missing, Vec::<String>::new());
            let port = listener(&watched.ledger);
            let none = agent_ebpf::PORT_NONE;
            // Once by zero copy and once by copying; what was read again in between came from memory.
            let expected = [
                ((FillWay::ZeroCopy, port), COLD_BYTES),
                ((FillWay::Copied, none), COLD_BYTES),
                ((FillWay::Carried, port), COLD_BYTES),
            ];
            assert_eq!(by_way(&watched.snapshot), expected.into(), "{kind}: {:?}", watched.snapshot.fills);
            // The account has the file system's own blocks, too, and nothing that was in memory.
            let read = watched.disk_reads;
            assert!((2 * COLD_BYTES..2 * COLD_BYTES + (1 << 20)).contains(&read), "{kind}: {read}");
            let fills = watched.snapshot.fills.as_ref().unwrap();
            assert_eq!(fills.overflow, Fill::default());
            assert!(fills.files.iter().all(|of| of.fill.asked > 0 || of.fill.ahead > 0), "{fills:?}");
            let name = |inode| watched.snapshot.files.iter().find(|file| file.inode == inode).map(|file| &*file.name);
            assert!(fills.files.iter().all(|of| name(of.inode) == Some("00000000000000000000.log")), "{kind}");
        }
    });
}

/// Why this kernel can't tell what comes into the page cache, if it is too old (docs/page-cache.md).
fn too_old() -> Option<&'static str> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (version < (5, 15)).then_some("it takes Linux 5.15, whose programs can see the call under way")
}

/// Not captured: whoever runs the tests must know it.
fn note(what: &str) {
    std::io::stderr().write_all(format!("\n{what}\n").as_bytes()).unwrap();
}

/// In the folder that `ZCTRACE_TEST_DISK` names, where no file system can be made: in the kernels that `cargo xtask kernels`
/// boots.
#[test]
fn a_cold_file_is_brought_in_to_the_byte_by_every_leg() {
    let _alone = alone();
    let given = std::env::var_os("ZCTRACE_TEST_DISK").map(PathBuf::from);
    let own = if given.is_some() { None } else { Some(Volume::new("ext4", 64)) };
    let dir = given.or_else(|| own.as_ref().map(Volume::path)).unwrap();
    let legs = legs();
    assert!(!legs.is_empty());
    for leg in legs {
        let watched = watch_by(leg, Plan::Cold, &dir, Capacity::default(), COUNTED);
        if let Some(why) = too_old() {
            let sentence =
                format!("What comes into the page cache is not counted, so cache hits are not known: {why}.");
            assert_eq!((watched.missing, watched.snapshot.fills), (vec![sentence], None));
            note(&format!("not possible: {why}"));
            continue;
        }
        assert_eq!(watched.missing, Vec::<String>::new());
        let port = listener(&watched.ledger);
        let expected = BTreeMap::from([
            ((FillWay::ZeroCopy, port), COLD_BYTES),
            ((FillWay::Copied, agent_ebpf::PORT_NONE), COLD_BYTES),
            ((FillWay::Carried, port), COLD_BYTES),
        ]);
        let read = watched.disk_reads;
        assert!((2 * COLD_BYTES..2 * COLD_BYTES + (1 << 20)).contains(&read), "{leg:?}: {read}");
        let counted = by_way(&watched.snapshot);
        match watched.snapshot.missed_calls {
            0 => assert_eq!(counted, expected, "{leg:?}: {:?}", watched.snapshot.fills),
            missed => {
                assert!(counted.values().sum::<u64>() <= expected.values().sum(), "{leg:?}: {counted:?}");
                note(&format!("cold by {leg:?}: this kernel misses calls: {missed} it says"));
            }
        }
    }
}

#[test]
fn an_overlay_and_a_raid_10_are_told_as_any_disk() {
    let _alone = alone();
    let below = Volume::new("ext4", 512);
    std::fs::create_dir(below.path().join("lower")).unwrap();
    for volume in [below.overlay(), Volume::raid10(256)] {
        let watched = watch(Plan::Cold, &volume.path(), Capacity::default(), COUNTED);
        let (kind, port) = (volume.name(), listener(&watched.ledger));
        let expected = [
            ((FillWay::ZeroCopy, port), COLD_BYTES),
            ((FillWay::Copied, agent_ebpf::PORT_NONE), COLD_BYTES),
            ((FillWay::Carried, port), COLD_BYTES),
        ];
        assert_eq!(by_way(&watched.snapshot), expected.into(), "{kind}: {:?}", watched.snapshot.fills);
        // By the file that the process has open, whatever lies below it.
        let fills = watched.snapshot.fills.as_ref().unwrap();
        let name = |inode| watched.snapshot.files.iter().find(|file| file.inode == inode).map(|file| &*file.name);
        assert!(fills.files.iter().all(|of| name(of.inode) == Some("00000000000000000000.log")), "{kind}");
    }
}

#[test]
fn a_raid_10_of_loop_devices_is_known_as_one() {
    use zctrace::machine::{Place, Sources, Subject, log_dirs};
    let _alone = alone();
    let volume = Volume::raid10(256);
    let child = support::busy();
    let place = Place { path: volume.path().display().to_string(), mount_id: None };
    let subject = Subject { pid: child.pid(), places: vec![place], ..Subject::default() };
    let dir = log_dirs(&Sources::new(Path::new(PROC)), &subject).remove(0);
    assert_eq!((dir.file_system.as_deref(), dir.data_profile.as_deref()), (Some("btrfs"), Some("raid10")), "{dir:?}");
    let loops = dir.block.iter().filter(|device| device.backing_file.is_some()).count();
    assert_eq!((loops, dir.network), (4, Some(false)), "{dir:?}");
}

/// Hard links to one empty file, so that a million names take little room.
#[test]
fn a_million_segments_are_looked_through_in_many_short_steps() {
    const SEGMENTS: u64 = 1_000_000;
    const PARTITIONS: u64 = 1000;
    let _alone = alone();
    let volume = Volume::in_memory();
    let segment = volume.path().join("segment");
    std::fs::write(&segment, vec![7; 4096]).unwrap();
    for partition in 0..PARTITIONS {
        let dir = volume.path().join(format!("orders-{partition}"));
        std::fs::create_dir(&dir).unwrap();
        for number in 0..SEGMENTS / PARTITIONS {
            std::fs::hard_link(&segment, dir.join(format!("{number:020}.log"))).unwrap();
        }
    }
    let child = support::busy();
    let path = volume.path().display().to_string();
    let dirs = [zctrace::machine::LogDir { path, ..Default::default() }];
    let mut scanner = zctrace::residency::Scanner::new(Path::new(PROC), child.pid(), &dirs).unwrap();
    let mut steps = 0;
    let found = loop {
        steps += 1;
        if let Some(found) = scanner.step(std::time::Duration::from_millis(20)) {
            break found;
        }
    };
    let total = found.total();
    assert_eq!((found.partitions.len(), total.segments, found.unreadable), (1000, SEGMENTS, 0));
    assert_eq!(total.bytes(), (SEGMENTS * 4096, SEGMENTS * 4096));
    // No step may be the whole: a hundred names, then it looks at the clock.
    assert!(steps > 10, "{steps}");
}

#[test]
fn what_is_in_memory_brings_nothing_in() {
    let _alone = alone();
    let volume = Volume::new("ext4", 64);
    let watched = watch(Plan::Basic, &volume.path(), Capacity::default(), COUNTED);
    assert_eq!(by_way(&watched.snapshot), BTreeMap::new());
    // On a machine that is short of memory the program's own code may have to come in again, by faults.
    let Fills { faults, others, .. } = watched.snapshot.fills.unwrap();
    let beside = faults.asked + faults.ahead + others.asked + others.ahead;
    assert!(watched.disk_reads <= beside, "{} {beside}", watched.disk_reads);
}

#[test]
fn what_is_left_out_is_not_counted_and_not_loaded() {
    let _alone = alone();
    let volume = Volume::new("ext4", 64);
    let loaded = || {
        let names = aya::programs::loaded_programs().filter_map(Result::ok);
        names.filter(|program| program.name_as_str() == Some("folio_added")).count()
    };
    let probe = Probe::attach_with(LegChoice::Auto, Capacity::default(), COUNTED).unwrap();
    assert_eq!(loaded(), 1);
    drop(probe);
    assert_nothing_left();
    let probe = Probe::attach(LegChoice::Auto, Capacity::default()).unwrap();
    assert_eq!(loaded(), 0);
    drop(probe);
    let watched = watch(Plan::Cold, &volume.path(), Capacity::default(), Parts::default());
    assert_eq!(watched.snapshot.fills, None);
}

#[test]
fn a_slot_that_is_used_again_begins_at_nothing() {
    let _alone = alone();
    let volume = Volume::new("ext4", 64);
    let mut child = Child::spawn_in(&executable(), &Plan::Cold, &volume.path()).unwrap();
    let mut probe = Probe::attach_with(LegChoice::Auto, Capacity::default(), COUNTED).unwrap();
    let slot = probe.watch(child.pid(), Default::default).unwrap();
    child.go();
    child.wait_done().unwrap();
    probe.stop(slot).unwrap();
    assert!(!by_way(&probe.snapshot(slot).unwrap()).is_empty());
    probe.release(slot).unwrap();
    let again = Child::spawn_in(&executable(), &Plan::Basic, &volume.path()).unwrap();
    let slot = probe.watch(again.pid(), Default::default).unwrap();
    assert_eq!(probe.snapshot(slot).unwrap().fills, Some(Default::default()));
}

/// What util-linux's fincore says: bytes in memory.
fn fincore(path: &Path) -> u64 {
    let output = std::process::Command::new("fincore").args(["-b", "-n", "-o", "RES"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn residency_is_what_fincore_says_on_every_file_system() {
    use std::os::unix::fs::FileExt;
    let _alone = alone();
    need("fincore");
    let below = Volume::new("ext4", 512);
    std::fs::create_dir(below.path().join("lower")).unwrap();
    for volume in ["ext4", "xfs", "btrfs"].map(|kind| Volume::new(kind, 512)).into_iter().chain([below.overlay()]) {
        let kind = volume.name();
        let partition = volume.path().join("orders-0");
        std::fs::create_dir(&partition).unwrap();
        let segments: Vec<_> = [0, 5000].map(|offset| partition.join(format!("{offset:020}.log"))).into();
        for path in &segments {
            std::fs::write(path, vec![3; 4 << 20]).unwrap();
            zctrace::exercise::drop_from_cache(&std::fs::File::open(path).unwrap()).unwrap();
        }
        let child = support::busy();
        let path = volume.path().display().to_string();
        let dirs = [zctrace::machine::LogDir { path, ..Default::default() }];
        let look = || {
            let scanner = zctrace::residency::Scanner::new(Path::new(PROC), child.pid(), &dirs).unwrap();
            scanner.finish(std::time::Duration::from_secs(60)).partitions.remove(0)
        };
        assert_eq!((look().bytes(), look().segments), ((8 << 20, 0), 2), "{kind}: looking brings nothing in");
        std::fs::File::open(&segments[0]).unwrap().read_exact_at(&mut vec![0; 1 << 20], 1 << 20).unwrap();
        let found = look();
        assert_eq!((found.older_resident_bytes, found.active_resident_bytes), (fincore(&segments[0]), 0), "{kind}");
        assert!(found.older_resident_bytes >= 1 << 20, "{kind}");
        std::fs::read(&segments[1]).unwrap();
        assert_eq!(look().active_resident_bytes, 4 << 20, "{kind}");
    }
}
