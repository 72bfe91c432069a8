//! Calls that wait until what was written is on disk: only counted where it is asked for.
//!
//! | map | type | index | value | full? |
//! |---|---|---|---|---|
//! | `SYNCS` | array | [`sync_index`] | [`SyncValue`] | cannot |
//! | `SYNC_STARTS` | array | thread id modulo | [`Start`](crate::Start) | a call has no duration |
//!
//! Where it is not asked for they have one entry each, and no program uses them.

// The number cast here counts variants.
#![allow(clippy::cast_possible_truncation)]

use crate::LATENCY_BUCKETS;

/// Such a call.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[allow(missing_docs)] // each is the system call of that name
pub enum SyncCall {
    Fsync = 0,
    Fdatasync,
    SyncFileRange,
    Msync,
}

/// How many [`SyncCall`]s there are.
pub const SYNC_CALLS: u32 = SyncCall::ALL.len() as u32;

impl SyncCall {
    /// Each, in the order of their values.
    pub const ALL: [Self; 4] = [Self::Fsync, Self::Fdatasync, Self::SyncFileRange, Self::Msync];

    /// The kernel's name of the call.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Fdatasync => "fdatasync",
            Self::SyncFileRange => "sync_file_range",
            Self::Msync => "msync",
        }
    }
}

/// Numbers of the calls in the machine's own table, by [`SyncCall`].
pub type SyncNumbers = [u32; SYNC_CALLS as usize];

/// x86-64 (`arch/x86/entry/syscalls/syscall_64.tbl`).
pub const SYNC_X86_64: SyncNumbers = [74, 75, 277, 26];
/// arm64 and its like (`include/uapi/asm-generic/unistd.h`).
pub const SYNC_GENERIC: SyncNumbers = [82, 83, 84, 227];

/// Counts of one call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncValue {
    /// Calls that failed.
    pub errors: u64,
    /// Durations of all, those that failed among them, in nanoseconds.
    pub ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// Calls by duration, see [`latency_bucket`](crate::latency_bucket).
    pub buckets: [u64; LATENCY_BUCKETS],
}

impl SyncValue {
    /// No calls.
    pub const NONE: Self = Self { errors: 0, ns: 0, max_ns: 0, buckets: [0; LATENCY_BUCKETS] };
}

/// Index into `SYNCS`.
#[must_use]
#[inline(always)]
pub const fn sync_index(target: u32, call: SyncCall) -> u32 {
    target * SYNC_CALLS + call as u32
}

#[cfg(feature = "agent")]
mod pod {
    // SAFETY: `repr(C)`, without padding, and every bit pattern is a value.
    unsafe impl aya::Pod for super::SyncValue {}
}
