//! Trees of /proc and /sys as machines have them that are not at hand.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::symlink};

use super::*;

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
        look(&self.sources(), 77, &[place]).log_dirs.remove(0)
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
    let machine = look(&Sources::new(Path::new("/proc")), std::process::id(), &places);
    assert!(machine.log_dirs[0].file_system.is_some(), "{machine:?}");
}
