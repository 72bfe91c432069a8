//! Values of maps that only the program knows of.

use agent_ebpf::{Directory, FileValue};

/// How much each CPU remembers of each kind. A power of two.
pub(crate) const RECENT_ENTRIES: u32 = 256;

/// All zero is none: no epoch is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RecentTransfer {
    pub(super) key: u64,
    pub(super) port: u32,
    pub(super) index: u32,
    pub(super) epoch: u64,
}

/// How many threads can take a name at once: they share by thread id. A hook can be preempted on some kernels, so
/// a value for each CPU would not do.
pub(crate) const SCRATCHES: u32 = 256;

/// What one thread makes before it is inserted.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Scratch {
    pub(super) owner: u64,
    pub(super) file: FileValue,
    pub(super) directory: Directory,
}
