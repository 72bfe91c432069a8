//! Block devices below a file system, down to the disks (`/sys/dev/block`, Documentation/ABI/testing/sysfs-block and
//! Documentation/admin-guide/md.rst).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::mounts::Mount;

/// A block device. What could not be read, or does not apply, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlockDevice {
    /// Its name in the kernel: `sda1`, `md0`, `dm-2`, `nvme0n1`.
    pub name: String,
    /// `major:minor`.
    pub device: String,
    /// How deep it lies below the file system: 0 for the file system's own.
    pub depth: u32,
    /// Level of an md array: `raid0`, `raid1`, `raid5`, `raid6`, `raid10`, `linear`.
    pub raid_level: Option<String>,
    /// Members that an md array should have.
    pub raid_disks: Option<u64>,
    /// Members that it lacks.
    pub raid_missing: Option<u64>,
    /// What a device-mapper device is: its kind (`LVM`, `CRYPT`, `mpath`) and name.
    pub mapper: Option<String>,
    /// File behind a loop device.
    pub backing_file: Option<String>,
    /// Whether it says that it rotates: false for flash. Virtual machines' disks may say either.
    pub rotational: Option<bool>,
    /// I/O scheduler in use: `none`, `mq-deadline`, `bfq`, `kyber`.
    pub scheduler: Option<String>,
    /// How far the kernel reads ahead at most, in bytes.
    pub read_ahead_bytes: Option<u64>,
}

/// Devices are not followed deeper.
const DEEPEST: u32 = 8;
/// Nor more of them than this.
const MOST: usize = 256;

/// The devices below a mount, and how btrfs spreads data over them.
pub(super) fn below(sys: &Path, mount: &Mount) -> (Vec<BlockDevice>, Option<String>) {
    let mut found = Vec::new();
    if mount.file_system == "btrfs" {
        // Its device numbers are of no block device.
        let Some(home) = btrfs(sys, &mount.source) else { return (found, None) };
        for name in names(&home.join("devices")) {
            walk(&home.join("devices").join(name), 0, &mut found);
        }
        return (found, profile(&home.join("allocation/data")));
    }
    if !mount.device.starts_with("0:") {
        walk(&sys.join("dev/block").join(&mount.device), 0, &mut found);
    }
    (found, None)
}

fn walk(device: &Path, depth: u32, found: &mut Vec<BlockDevice>) {
    // What /sys shows are links to the places of the devices themselves.
    let Ok(home) = fs::canonicalize(device) else { return };
    let Some(number) = text(&home.join("dev")) else { return };
    if found.len() >= MOST || found.iter().any(|seen| seen.device == number) {
        return;
    }
    found.push(read(&home, number, depth));
    if depth >= DEEPEST {
        return;
    }
    for name in names(&home.join("slaves")) {
        walk(&home.join("slaves").join(name), depth + 1, found);
    }
    // A partition lies in its disk.
    if let (true, Some(disk)) = (home.join("partition").exists(), home.parent()) {
        walk(disk, depth + 1, found);
    }
}

fn read(home: &Path, device: String, depth: u32) -> BlockDevice {
    let number = |path: &str| text(&home.join(path)).and_then(|text| text.parse::<u64>().ok());
    let missing = number("md/degraded");
    let queue = |path: &str| text(&home.join("queue").join(path));
    BlockDevice {
        name: home.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        device,
        depth,
        raid_level: text(&home.join("md/level")),
        raid_disks: number("md/raid_disks"),
        raid_missing: missing,
        mapper: mapper(home),
        backing_file: text(&home.join("loop/backing_file")),
        rotational: queue("rotational").map(|text| text == "1"),
        scheduler: queue("scheduler").map(|text| in_use(&text)),
        read_ahead_bytes: queue("read_ahead_kb").and_then(|text| text.parse::<u64>().ok()).map(|kib| kib << 10),
    }
}

/// `none [mq-deadline] kyber`, or one word.
fn in_use(schedulers: &str) -> String {
    schedulers.split(['[', ']']).nth(1).unwrap_or(schedulers).to_owned()
}

/// The kind is what stands first in the UUID: `LVM-...`, `CRYPT-LUKS2-...`, `mpath-...`.
fn mapper(home: &Path) -> Option<String> {
    let name = text(&home.join("dm/name"))?;
    let uuid = text(&home.join("dm/uuid")).unwrap_or_default();
    let kind = uuid.split('-').next().filter(|kind| !kind.is_empty());
    Some(kind.map_or_else(|| name.clone(), |kind| format!("{kind} {name}")))
}

/// `/sys/fs/btrfs/UUID` of the file system on this device.
fn btrfs(sys: &Path, source: &str) -> Option<PathBuf> {
    let device = source.rsplit('/').next()?;
    let root = sys.join("fs/btrfs");
    let of = |home: &PathBuf| {
        let devices = home.join("devices");
        // /dev/mapper/NAME is dm-N here.
        devices.join(device).exists()
            || names(&devices).iter().any(|name| text(&devices.join(name).join("dm/name")).as_deref() == Some(device))
    };
    names(&root).iter().map(|name| root.join(name)).find(of)
}

/// Directories of profiles stand for those that are in use; while it converts there are two.
fn profile(allocation: &Path) -> Option<String> {
    let profiles: Vec<String> = names(allocation).into_iter().filter(|name| allocation.join(name).is_dir()).collect();
    (!profiles.is_empty()).then(|| profiles.join(","))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// A file's one line; `None` where it is empty or can't be read.
fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
