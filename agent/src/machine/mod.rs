//! What a target runs on, from /proc and /sys under roots that tests can set: the facts that decide how fast the page cache
//! and the disks can be. Nothing here opens a file of the broker's, waits for a disk or the network, or changes anything.
//!
//! | module | facts |
//! |---|---|
//! | `mounts` | the file system of each log directory |
//! | `block` | the block devices below it, down to the disks |

mod block;
mod mounts;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use block::BlockDevice;
use serde::Serialize;

/// What a target runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Its log directories, as the broker names them.
    pub log_dirs: Vec<LogDir>,
}

/// Where a log directory lies. What could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogDir {
    /// Its path, as the broker sees it.
    pub path: String,
    /// Type of its file system: `ext4`, `xfs`, `nfs4`, `overlay`.
    pub file_system: Option<String>,
    /// What is mounted there: a device, `server:/export`.
    pub source: Option<String>,
    /// Options of the mount and of the file system, separated by commas.
    pub mount_options: Option<String>,
    /// Device number of the file system, `major:minor`; major 0 where it is no block device's.
    pub device: Option<String>,
    /// Whether what is read from it comes over the network.
    pub network: Option<bool>,
    /// The devices below, that of the file system first, the disks last.
    pub block: Vec<BlockDevice>,
    /// How btrfs spreads data over its devices: `single`, `raid10`, ...
    pub data_profile: Option<String>,
}

/// A log directory to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path, as the broker sees it.
    pub path: String,
    /// Number of its mount (`mnt_id` in `/proc/PID/fdinfo`), which knows the way through symbolic links.
    pub mount_id: Option<u64>,
}

/// Where the kernel tells of itself.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Normally `/proc`.
    pub proc: PathBuf,
    /// Normally `/sys`.
    pub sys: PathBuf,
}

impl Sources {
    /// Of this machine, its processes under `proc`.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), sys: PathBuf::from("/sys") }
    }
}

/// Looks at what the process `pid` runs on.
#[must_use]
pub fn look(sources: &Sources, pid: u32, places: &[Place]) -> Machine {
    let mounts = mounts::read(&sources.proc, pid);
    Machine { log_dirs: places.iter().map(|place| log_dir(sources, place, &mounts)).collect() }
}

fn log_dir(sources: &Sources, place: &Place, mounts: &[mounts::Mount]) -> LogDir {
    let Some(mount) = mounts::of(place, mounts) else {
        return LogDir { path: place.path.clone(), ..LogDir::default() };
    };
    let (block, data_profile) = block::below(&sources.sys, mount);
    LogDir {
        path: place.path.clone(),
        file_system: Some(mount.file_system.clone()),
        source: Some(mount.source.clone()),
        mount_options: Some(mount.options.clone()),
        device: Some(mount.device.clone()),
        network: Some(mounts::is_network(&mount.file_system)),
        block,
        data_profile,
    }
}
