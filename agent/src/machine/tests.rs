//! Trees of /proc and /sys as machines have them that are not at hand.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::symlink};

use super::*;
use crate::target::CommandLine;

/// A machine made of files.
pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn link(self, path: &str, to: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.0.path().join(to), path).unwrap();
        self
    }

    /// A block device in /sys, with files below its place.
    fn device(self, number: &str, home: &str, files: &[(&str, &str)]) -> Self {
        let home = format!("sys/devices/{home}");
        let tree = self.file(&format!("{home}/dev"), number).link(&format!("sys/dev/block/{number}"), &home);
        files.iter().fold(tree, |tree, (path, text)| tree.file(&format!("{home}/{path}"), text))
    }

    pub(super) fn mounts(self, mounts: &str) -> Self {
        self.file("proc/77/mountinfo", mounts)
    }

    pub(super) fn sources(&self) -> Sources {
        Sources { proc: self.0.path().join("proc"), sys: self.0.path().join("sys") }
    }

    fn look(&self, path: &str) -> LogDir {
        let place = Place { path: path.to_owned(), mount_id: None };
        look(&self.sources(), &Subject { pid: 77, places: vec![place], ..Subject::default() }).log_dirs.remove(0)
    }

    fn machine(&self) -> Machine {
        look(&self.sources(), &Subject { pid: 77, ..Subject::default() })
    }
}

const FLASH: [(&str, &str); 3] =
    [("queue/rotational", "0\n"), ("queue/scheduler", "[none] mq-deadline\n"), ("queue/read_ahead_kb", "128\n")];
const SPINNING: [(&str, &str); 2] = [("queue/rotational", "1\n"), ("queue/scheduler", "none [mq-deadline] kyber\n")];

#[test]
fn raid_arrays_are_told_by_level_members_and_what_they_lack() {
    for (level, missing) in [("raid0", "0"), ("raid1", "1"), ("raid5", "0"), ("raid6", "2"), ("raid10", "0")] {
        let md = [("md/level", level), ("md/raid_disks", "4\n"), ("md/degraded", missing)];
        let tree = Tree::new()
            .mounts("40 21 9:0 / /data rw,noatime - xfs /dev/md0 rw\n")
            .device("9:0", "virtual/block/md0", &md)
            .device("8:16", "pci/block/sdb", &SPINNING)
            .device("8:17", "pci/block/sdb/sdb1", &[("partition", "1\n")])
            .device("8:32", "pci/block/sdc", &SPINNING)
            .link("sys/devices/virtual/block/md0/slaves/sdb1", "sys/devices/pci/block/sdb/sdb1")
            .link("sys/devices/virtual/block/md0/slaves/sdc", "sys/devices/pci/block/sdc");
        let dir = tree.look("/data/kafka");
        assert_eq!((dir.file_system.as_deref(), dir.network), (Some("xfs"), Some(false)));
        let names: Vec<_> = dir.block.iter().map(|block| (block.name.as_str(), block.depth)).collect();
        assert_eq!(names, [("md0", 0), ("sdb1", 1), ("sdb", 2), ("sdc", 1)]);
        assert_eq!(dir.block[0].raid_level.as_deref(), Some(level));
        assert_eq!((dir.block[0].raid_disks, dir.block[0].raid_missing), (Some(4), missing.parse().ok()));
        assert_eq!(dir.block[2].rotational, Some(true));
        assert_eq!(dir.block[2].scheduler.as_deref(), Some("mq-deadline"));
        assert_eq!(dir.block[1].rotational, None);
    }
}

#[test]
fn an_encrypted_logical_volume_is_followed_to_its_disk() {
    let tree = Tree::new()
        .mounts("40 21 253:1 / /data rw - ext4 /dev/mapper/kafka rw\n")
        .device("253:1", "virtual/block/dm-1", &[("dm/name", "kafka\n"), ("dm/uuid", "CRYPT-LUKS2-abc-kafka\n")])
        .device("253:0", "virtual/block/dm-0", &[("dm/name", "vg-logs\n"), ("dm/uuid", "LVM-abc\n")])
        .device("259:0", "pci/block/nvme0n1", &FLASH)
        .link("sys/devices/virtual/block/dm-1/slaves/dm-0", "sys/devices/virtual/block/dm-0")
        .link("sys/devices/virtual/block/dm-0/slaves/nvme0n1", "sys/devices/pci/block/nvme0n1");
    let dir = tree.look("/data");
    let mappers: Vec<_> = dir.block.iter().map(|block| block.mapper.as_deref()).collect();
    assert_eq!(mappers, [Some("CRYPT kafka"), Some("LVM vg-logs"), None]);
    let disk = dir.block.last().unwrap();
    assert_eq!((disk.name.as_str(), disk.rotational, disk.read_ahead_bytes), ("nvme0n1", Some(false), Some(131_072)));
}

#[test]
fn devices_that_name_each_other_end() {
    let tree = Tree::new()
        .mounts("40 21 253:1 / /data rw - ext4 /dev/mapper/a rw\n")
        .device("253:1", "virtual/block/dm-1", &[])
        .device("253:0", "virtual/block/dm-0", &[])
        .link("sys/devices/virtual/block/dm-1/slaves/dm-0", "sys/devices/virtual/block/dm-0")
        .link("sys/devices/virtual/block/dm-0/slaves/dm-1", "sys/devices/virtual/block/dm-1");
    assert_eq!(tree.look("/data").block.len(), 2);
}

#[test]
fn btrfs_tells_its_devices_and_profile_itself() {
    let tree = Tree::new()
        .mounts("40 21 0:44 /@kafka /data rw - btrfs /dev/sdb rw,space_cache=v2,subvol=/@kafka\n")
        .device("8:16", "pci/block/sdb", &SPINNING)
        .device("8:32", "pci/block/sdc", &SPINNING)
        .link("sys/fs/btrfs/0f2a/devices/sdb", "sys/devices/pci/block/sdb")
        .link("sys/fs/btrfs/0f2a/devices/sdc", "sys/devices/pci/block/sdc")
        .file("sys/fs/btrfs/0f2a/allocation/data/raid10/total_bytes", "1\n")
        .file("sys/fs/btrfs/0f2a/allocation/data/flags", "1\n")
        .file("sys/fs/btrfs/features/raid56", "1\n");
    let dir = tree.look("/data");
    assert_eq!(dir.data_profile.as_deref(), Some("raid10"));
    assert_eq!(dir.block.iter().map(|block| block.name.as_str()).collect::<Vec<_>>(), ["sdb", "sdc"]);
}

#[test]
fn a_network_file_system_has_no_disks_and_an_unknown_place_nothing() {
    let tree = Tree::new().mounts("40 21 0:53 / /data rw - nfs4 store:/kafka rw,vers=4.2,hard,addr=10.0.0.9\n");
    let dir = tree.look("/data/kafka");
    assert_eq!((dir.network, dir.source.as_deref()), (Some(true), Some("store:/kafka")));
    assert_eq!(dir.block, []);
    assert_eq!(tree.look("/elsewhere").file_system, None);
    assert_eq!(Tree::new().look("/data"), LogDir { path: "/data".to_owned(), ..LogDir::default() });
}

#[test]
fn this_machine_is_looked_at_without_panic() {
    let places = [Place { path: "/".to_owned(), mount_id: None }, Place { path: "/tmp".to_owned(), mount_id: None }];
    let subject = Subject { pid: std::process::id(), places: places.to_vec(), ..Subject::default() };
    let machine = look(&Sources::new(Path::new("/proc")), &subject);
    assert!(machine.log_dirs[0].file_system.is_some(), "{machine:?}");
    let memory = machine.memory.unwrap();
    assert!(memory.total_bytes > memory.free_bytes && memory.page_cache_bytes > 0, "{memory:?}");
    assert!(machine.own_memory.unwrap().anonymous_bytes > 0);
}

const MEMINFO: &str = "MemTotal:       1000 kB\nMemFree:         100 kB\nBuffers:          20 kB\nCached:          300 kB\n\
    SwapTotal:        50 kB\nSwapFree:         40 kB\nDirty:             7 kB\nWriteback:         3 kB\nAnonPages:       400 kB\n\
    Shmem:            30 kB\nSlab:             60 kB\nKernelStack:       2 kB\nPageTables:        3 kB\nHugetlb:           0 kB\n";

#[test]
fn memory_is_told_by_who_has_it() {
    let tree = Tree::new()
        .file("proc/meminfo", MEMINFO)
        .file("proc/sys/vm/swappiness", "60\n")
        .file("proc/77/status", "Name:\tjava\nVmSwap:\t      8 kB\nRssAnon:\t     90 kB\n");
    let machine = tree.machine();
    let memory = machine.memory.clone().unwrap();
    assert_eq!((memory.page_cache_bytes, memory.shared_bytes), (290 << 10, 30 << 10));
    assert_eq!((memory.dirty_bytes, memory.writeback_bytes, memory.swap_used_bytes), (7 << 10, 3 << 10, 10 << 10));
    assert_eq!((memory.kernel_bytes, memory.swappiness, memory.dirty_ratio), (65 << 10, Some(60), None));
    assert_eq!(machine.own_memory, Some(OwnMemory { anonymous_bytes: 90 << 10, swapped_bytes: 8 << 10 }));
    assert_eq!(machine.cache_room_bytes, Some(390 << 10));
    assert_eq!(machine.memory_limit(), Some(1000 << 10));
    assert_eq!(Tree::new().machine(), Machine::default());
}

const V2_STAT: &str = "anon 4096\nfile 9000\nshmem 1000\nfile_dirty 5\nfile_writeback 6\n";

#[test]
fn the_limit_of_a_group_of_version_2_is_the_least_above_it() {
    let tree = Tree::new()
        .file("proc/meminfo", MEMINFO)
        .file("proc/77/cgroup", "0::/pod/kafka\n")
        .file("sys/fs/cgroup/pod/memory.max", "200000\n")
        .file("sys/fs/cgroup/pod/kafka/memory.max", "max\n")
        .file("sys/fs/cgroup/pod/kafka/memory.high", "300000\n")
        .file("sys/fs/cgroup/pod/kafka/memory.current", "150000\n")
        .file("sys/fs/cgroup/pod/kafka/memory.events", "low 0\nhigh 4\nmax 12\noom 0\n")
        .file("sys/fs/cgroup/pod/kafka/memory.stat", V2_STAT);
    let machine = tree.machine();
    let group = machine.cgroup.clone().unwrap();
    assert_eq!((group.version, group.path.as_str(), group.limit_bytes), (2, "/pod/kafka", Some(200_000)));
    assert_eq!((group.used_bytes, group.page_cache_bytes, group.limit_hits), (Some(150_000), Some(8000), Some(12)));
    // What is not page cache counts against the limit.
    assert_eq!(machine.cache_room_bytes, Some(200_000 - (150_000 - 8000)));
    assert_eq!(machine.memory_limit(), Some(200_000));
}

#[test]
fn groups_of_version_1_and_hybrids_are_read_where_their_memory_is() {
    let no_limit = "9223372036854771712\n";
    let tree = Tree::new()
        .file("proc/meminfo", MEMINFO)
        .file("proc/77/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/x\n")
        .file("sys/fs/cgroup/memory/memory.limit_in_bytes", no_limit)
        .file("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", no_limit)
        .file("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "500000\n")
        .file("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "400000\n")
        .file("sys/fs/cgroup/memory/docker/abc/memory.failcnt", "3\n")
        .file(
            "sys/fs/cgroup/memory/docker/abc/memory.stat",
            "cache 1\ntotal_cache 90000\ntotal_rss 300000\ntotal_shmem 0\n",
        );
    let group = tree.machine().cgroup.unwrap();
    assert_eq!((group.version, group.limit_bytes, group.used_bytes), (1, Some(500_000), Some(400_000)));
    assert_eq!(
        (group.page_cache_bytes, group.anonymous_bytes, group.limit_hits),
        (Some(90_000), Some(300_000), Some(3))
    );
    assert_eq!(group.dirty_bytes, None);
}

#[test]
fn a_group_that_can_not_be_seen_is_none_and_one_without_a_limit_has_none() {
    let outside = Tree::new().file("proc/77/cgroup", "0::/../other\n").file("sys/fs/cgroup/memory.stat", V2_STAT);
    assert_eq!(outside.machine().cgroup, None);
    let root = Tree::new().file("proc/77/cgroup", "0::/\n").file("sys/fs/cgroup/unified/memory.stat", V2_STAT);
    let group = root.machine().cgroup.unwrap();
    assert_eq!((group.limit_bytes, group.used_bytes, group.anonymous_bytes), (None, None, Some(4096)));
}

#[test]
fn the_heap_in_use_is_read_from_the_jvms_own_file() {
    let longs = [("sun.gc.generation.0.space.0.used", 123), ("sun.gc.generation.0.space.0.capacity", 1000)];
    let tree = Tree::new()
        .file("proc/meminfo", MEMINFO)
        .file("proc/77/status", "NSpid:\t77\t9\n")
        .file("root/tmp/hsperfdata_kafka/77", "another's")
        .file("root/tmp/other", "")
        .link("proc/77/root", "root")
        .link("proc/77/cwd", "root");
    let path = tree.0.path().join("root/tmp/hsperfdata_kafka/9");
    fs::write(&path, hsperfdata::tests::file(&longs, &[])).unwrap();
    let line = CommandLine::new(vec!["java".to_owned(), "-Xmx1k".to_owned()]);
    let subject = Subject { pid: 77, heap_flags: Some(HeapFlags::of(&line)), ..Subject::default() };
    let java = look(&tree.sources(), &subject).java.unwrap();
    assert_eq!(
        (java.max_heap_bytes, java.heap_used_bytes, java.heap_committed_bytes),
        (Some(1024), Some(123), Some(1000))
    );
    fs::remove_file(&path).unwrap();
    assert_eq!(look(&tree.sources(), &subject).java.unwrap().heap_used_bytes, None);
}
