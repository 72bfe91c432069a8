//! What a target runs on, from /proc and /sys under roots that tests can set: the facts that decide how fast the page cache
//! and the disks can be. Nothing here opens a file of the broker's, waits for a disk or the network, or changes anything.
//!
//! | module | facts |
//! |---|---|
//! | `memory` | who has the host's memory, and how much of it is dirty |
//! | `cgroup` | the limit that the process is under, which its page cache counts against |
//! | `java`, `hsperfdata` | the Java heap |
//! | `mounts` | the file system of each log directory |
//! | `block` | the block devices below it, down to the disks |

mod block;
mod cgroup;
mod hsperfdata;
mod java;
mod memory;
mod mounts;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use block::BlockDevice;
pub use cgroup::Cgroup;
pub use java::{HeapFlags, Java};
pub use memory::{Memory, OwnMemory};
use serde::Serialize;

/// What a target runs on. What could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The host's memory.
    pub memory: Option<Memory>,
    /// The process's own.
    pub own_memory: Option<OwnMemory>,
    /// The control group whose limit it is under.
    pub cgroup: Option<Cgroup>,
    /// Bytes that the page cache has or could take at once without anyone giving up memory: of the host's and, under a limit,
    /// of the control group's, the less.
    pub cache_room_bytes: Option<u64>,
    /// Its JVM, if it is one.
    pub java: Option<Java>,
    /// Its log directories, as the broker names them.
    pub log_dirs: Vec<LogDir>,
}

impl Machine {
    /// The most memory that the process and its page cache can have: the host's, or the control group's limit.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        let host = self.memory.as_ref().map(|memory| memory.total_bytes);
        host.into_iter().chain(self.cgroup.as_ref().and_then(|group| group.limit_bytes)).min()
    }
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

/// Whose machine to look at, and where: what stays the same while the process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The process.
    pub pid: u32,
    /// Its log directories.
    pub places: Vec<Place>,
    /// What its command line says of the heap; `None` for what is no JVM.
    pub heap_flags: Option<HeapFlags>,
    /// The version of its Java.
    pub java_version: Option<String>,
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

/// Looks at what a process runs on.
#[must_use]
pub fn look(sources: &Sources, subject: &Subject) -> Machine {
    let (proc, sys, pid) = (&sources.proc, &sources.sys, subject.pid);
    let mut machine = Machine {
        memory: memory::of_host(proc),
        own_memory: memory::of_process(proc, pid),
        cgroup: cgroup::of(proc, sys, pid),
        log_dirs: log_dirs(sources, subject),
        ..Machine::default()
    };
    machine.cache_room_bytes = cache_room(&machine);
    if let Some(flags) = &subject.heap_flags {
        let version = subject.java_version.clone();
        machine.java = Some(java::look(proc, pid, flags, version, machine.memory_limit()));
    }
    machine
}

fn cache_room(machine: &Machine) -> Option<u64> {
    let host = machine.memory.as_ref().map(|memory| memory.free_bytes + memory.page_cache_bytes)?;
    let of_group = |group: &Cgroup| {
        let others = group.used_bytes?.saturating_sub(group.page_cache_bytes?);
        Some(group.limit_bytes?.saturating_sub(others))
    };
    Some(machine.cgroup.as_ref().and_then(of_group).map_or(host, |room| room.min(host)))
}

/// Where the log directories of a process lie.
#[must_use]
pub fn log_dirs(sources: &Sources, subject: &Subject) -> Vec<LogDir> {
    let mounts = mounts::read(&sources.proc, subject.pid);
    subject.places.iter().map(|place| log_dir(sources, place, &mounts)).collect()
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
