//! Pages that come into the page cache: keys and values of their maps.
//!
//! | map | type | index or key | value | full? |
//! |---|---|---|---|---|
//! | `FILLS` | hash | [`FillKey`] | [`Fill`] | `FILLS_OTHER` |
//! | `FILLS_OTHER` | array | [`fill_index`] | [`Fill`] | cannot |
//! | `FILL_THREADS` | array | thread id modulo | [`FillThread`] | counted without a port |
//!
//! Without [`Features::page_cache`](crate::Features::page_cache) they have one entry each, and no program uses them.

// The number cast here counts variants.
#![allow(clippy::cast_possible_truncation)]

use crate::InodeKey;

/// During what a page came in.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum FillWay {
    /// A call that moves file bytes inside the kernel: `sendfile`, `splice`. With the port of the socket.
    ZeroCopy = 0,
    /// A call that reads file bytes into user memory.
    Copied,
    /// The same bytes again, once the thread has sent them from memory: with the port of the socket.
    Carried,
    /// An access to memory that a file is mapped to.
    Fault,
    /// Anything else: opening, reading ahead on request, a directory.
    Other,
}

/// How many [`FillWay`]s there are.
pub const FILL_WAYS: u32 = 5;

impl FillWay {
    /// Every way, in the order of their values.
    pub const ALL: [Self; FILL_WAYS as usize] = [Self::ZeroCopy, Self::Copied, Self::Carried, Self::Fault, Self::Other];
}

/// What pages that came in are told apart by.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FillKey {
    /// The file.
    pub inode: InodeKey,
    /// Slot of the target.
    pub target: u16,
    /// A [`FillWay`]: one of the first three.
    pub way: u16,
    /// See [`TransferKey::port`](crate::TransferKey::port).
    pub port: u32,
}

/// Bytes of pages that came in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize))]
pub struct Fill {
    /// Of those that lie within what the call asked for.
    pub asked: u64,
    /// Of the others: what the kernel reads ahead.
    pub ahead: u64,
}

/// What came in while a thread read from a file into memory, and it has not yet sent. Threads share a table by
/// `tid % THREADS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FillThread {
    /// Kernel thread id; 0: unused.
    pub tid: u32,
    /// Slot of the target.
    pub target: u32,
    /// The file.
    pub inode: InodeKey,
    /// What came in.
    pub fill: Fill,
}

/// Index into `FILLS_OTHER`.
#[must_use]
#[inline(always)]
pub const fn fill_index(target: u32, way: FillWay) -> u32 {
    target * FILL_WAYS + way as u32
}

/// Where the running kernel keeps what is read of a page: set by the agent before load, as [`Offsets`](crate::Offsets).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // `structure_member`, as the kernel's headers spell them
pub struct FillOffsets {
    pub folio_flags: u32,
    pub folio_mapping: u32,
    pub folio_index: u32,
    /// 0: this kernel does not tell, and pages are counted singly.
    pub folio_nr_pages: u32,
    /// Bit in the flags of a folio of several pages.
    pub head_bit: u32,
    pub mapping_host: u32,
    pub file_pos: u32,
    pub page_shift: u32,
    /// Number of the type in the kernel's BTF.
    pub id_address_space: u32,
}

#[cfg(feature = "agent")]
mod pod {
    // SAFETY: all of these are `repr(C)`, without padding that could hold anything, and every bit pattern is a value.
    unsafe impl aya::Pod for super::FillKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Fill {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FillThread {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FillOffsets {}
}

const _: () = assert!(size_of::<FillKey>() == 24);
