//! Who has the memory (`/proc/meminfo`, `/proc/PID/status`: Documentation/filesystems/proc.rst).

use std::{fs, path::Path};

use serde::Serialize;

/// The host's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Bytes there are (`MemTotal`).
    pub total_bytes: u64,
    /// Bytes that nobody uses (`MemFree`).
    pub free_bytes: u64,
    /// Bytes of files in memory (`Cached` and `Buffers` without `Shmem`).
    pub page_cache_bytes: u64,
    /// Bytes of processes' own, heaps among them (`AnonPages`).
    pub anonymous_bytes: u64,
    /// Bytes of tmpfs and of what processes share (`Shmem`).
    pub shared_bytes: u64,
    /// Bytes of the kernel's own (`Slab`, `KernelStack`, `PageTables`), part of which it gives back when asked.
    pub kernel_bytes: u64,
    /// Bytes set apart for huge pages (`Hugetlb`).
    pub huge_pages_bytes: u64,
    /// Bytes changed in memory and not yet on their way to a disk (`Dirty`).
    pub dirty_bytes: u64,
    /// Bytes on their way to a disk (`Writeback`).
    pub writeback_bytes: u64,
    /// Bytes of swap.
    pub swap_total_bytes: u64,
    /// Bytes in swap.
    pub swap_used_bytes: u64,
    /// `vm.swappiness`; `None` where it can't be read, as the two below.
    pub swappiness: Option<u64>,
    /// `vm.dirty_background_ratio`, in percent: from there on the kernel writes back; 0 where bytes are set instead.
    pub dirty_background_ratio: Option<u64>,
    /// `vm.dirty_ratio`, in percent: from there on who writes has to wait; 0 where bytes are set instead.
    pub dirty_ratio: Option<u64>,
}

/// The memory of the process itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OwnMemory {
    /// Bytes of its own that are in memory, the heap among them (`RssAnon`).
    pub anonymous_bytes: u64,
    /// Bytes of its own that are in swap (`VmSwap`).
    pub swapped_bytes: u64,
}

/// `None` where `/proc/meminfo` can't be read.
pub(super) fn of_host(proc: &Path) -> Option<Memory> {
    let text = fs::read_to_string(proc.join("meminfo")).ok()?;
    let field = |name: &str| bytes(&text, name);
    let setting = |name: &str| fs::read_to_string(proc.join("sys/vm").join(name)).ok()?.trim().parse().ok();
    let shared_bytes = field("Shmem").unwrap_or(0);
    let cached = field("Cached").unwrap_or(0) + field("Buffers").unwrap_or(0);
    let swap_total_bytes = field("SwapTotal").unwrap_or(0);
    Some(Memory {
        total_bytes: field("MemTotal")?,
        free_bytes: field("MemFree")?,
        page_cache_bytes: cached.saturating_sub(shared_bytes),
        anonymous_bytes: field("AnonPages").unwrap_or(0),
        shared_bytes,
        kernel_bytes: ["Slab", "KernelStack", "PageTables"].into_iter().filter_map(field).sum(),
        huge_pages_bytes: field("Hugetlb").unwrap_or(0),
        dirty_bytes: field("Dirty").unwrap_or(0),
        writeback_bytes: field("Writeback").unwrap_or(0),
        swap_total_bytes,
        swap_used_bytes: swap_total_bytes.saturating_sub(field("SwapFree").unwrap_or(0)),
        swappiness: setting("swappiness"),
        dirty_background_ratio: setting("dirty_background_ratio"),
        dirty_ratio: setting("dirty_ratio"),
    })
}

/// `None` where its status can't be read or, before Linux 4.5, does not tell.
pub(super) fn of_process(proc: &Path, pid: u32) -> Option<OwnMemory> {
    let text = fs::read_to_string(proc.join(pid.to_string()).join("status")).ok()?;
    Some(OwnMemory { anonymous_bytes: bytes(&text, "RssAnon")?, swapped_bytes: bytes(&text, "VmSwap").unwrap_or(0) })
}

/// `Name:   123 kB`, which are KiB.
fn bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
