//! What is counted: keys and values of the maps.
//!
//! | map | type | index or key | value | full? |
//! |---|---|---|---|---|
//! | [`TARGETS_SECTION`](crate::TARGETS_SECTION) | one value | bucket | [`Target`](crate::Target)s | the agent refuses a 65th |
//! | `LISTENERS` | array | [`listener_index`] | a byte a port: 1 for a listener's | cannot |
//! | `TRANSFER_KEYS` | hash | [`TransferKey`] | index into `TRANSFERS` | `TRANSFERS_OTHER` |
//! | `TRANSFERS` | per-CPU array | that index | [`TransferValue`] | goes with the keys |
//! | `TRANSFERS_OTHER` | per-CPU array | [`call_index`] | [`Tally`] by [`ends_index`] | cannot |
//! | `RESULTS` | per-CPU array | [`call_index`] | calls by result | cannot |
//! | `FILES` | hash | [`FileKey`](crate::FileKey) | [`FileValue`](crate::FileValue): its name, and its index into `FILE_COUNTS` | `FILES_OTHER` |
//! | `FILE_COUNTS` | array | that index | [`FileCounts`](crate::FileCounts) | goes with the keys |
//! | `.bss.hints` | one value | [`hint`](crate::hint) | indices into `FILE_COUNTS`, each with the epoch | another's is replaced |
//! | `.bss.file_transfers` | one value | [`file_transfer_index`] | indices into `TRANSFERS`, each with the epoch | cannot |
//! | `FILES_OTHER` | per-CPU array | target | [`FileCounts`](crate::FileCounts) | cannot |
//! | `DIRECTORIES` | hash | [`InodeKey`](crate::InodeKey) | [`Directory`](crate::Directory) | files stay unnamed, counted |
//! | `THREADS` | array | thread id modulo | [`Thread`](crate::Thread) | counted as not attributed |
//! | `LATENCIES` | array | index into `TRANSFERS` | [`LatencyValue`](crate::LatencyValue) | goes with the keys |
//! | `FILE_LATENCIES` | array | index into `FILE_COUNTS` | [`FileLatency`](crate::FileLatency) | goes with the keys |
//! | `STARTS` | array | thread id modulo | [`Start`](crate::Start) | a call without a duration |
//! | `CLIENTS` | hash | [`ClientKey`](crate::ClientKey) | [`ClientBytes`](crate::ClientBytes) | `CLIENTS_OTHER` |
//! | `CLIENTS_OTHER` | hash | the same without an address | the same | after [`CLIENT_LISTENERS`](crate::CLIENT_LISTENERS): in the listener's sums alone |
//! | `COUNTERS` | per-CPU array | [`counter_index`] | one [`Counter`] | cannot |
//! | `FREE_TRANSFERS`, `FREE_FILES` | queue | | indices that were given back | holds them all |
//! | `STATE` | array | [`STATE_NEXT_FILE`] and its like | a word | cannot |
//! | [`EPOCH_SECTION`] | one value | | grows when keys were removed: what is remembered from before is void | cannot |
//!
//! Keys and counts lie apart, so that the program can remember where the counts of a key are (the hints, the transfers of files,
//! and each CPU's `RECENT_TRANSFERS`) and add to them without a second look into a hash table.

// Every number cast here counts variants or ports: far below 2^32, and the kernel side has no `try_into` to spare.
#![allow(clippy::cast_possible_truncation)]

use crate::{
    syscall::{SYSCALLS, Syscall},
    target::MAX_TARGETS,
};

/// Where bytes come from or go to.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Endpoint {
    /// A regular file.
    File = 0,
    /// An inet or inet6 socket.
    Socket,
    /// A Unix-domain socket.
    Unix,
    /// A pipe or FIFO.
    Pipe,
    /// User memory.
    Memory,
    /// Anything else: devices, other socket families, eventfd, ...
    Other,
}

/// How many kinds of endpoint there are.
pub const ENDPOINTS: usize = Endpoint::ALL.len();

impl Endpoint {
    /// Every kind, in the order of their values.
    pub const ALL: [Self; 6] = [Self::File, Self::Socket, Self::Unix, Self::Pipe, Self::Memory, Self::Other];

    /// The kind with this value, if there is one.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        if (value as usize) < ENDPOINTS { Some(Self::ALL[value as usize]) } else { None }
    }

    /// The word used in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Socket => "socket",
            Self::Unix => "unix",
            Self::Pipe => "pipe",
            Self::Memory => "memory",
            Self::Other => "other",
        }
    }
}

/// [`TransferKey::port`]: neither endpoint is a [`Endpoint::Socket`].
pub const PORT_NONE: u32 = 0x1_0000;
/// [`TransferKey::port`]: a connection whose local port is no listener's, so the target opened it itself.
pub const PORT_OUTBOUND: u32 = 0x1_0001;
/// [`TransferKey::port`]: a socket that is not connection-oriented (UDP, raw).
pub const PORT_DATAGRAM: u32 = 0x1_0002;

/// [`TransferKey::flags`]: a send with `MSG_ZEROCOPY`; whether the kernel copied cannot be seen at its exit.
pub const FLAG_MSG_ZEROCOPY: u8 = 1;

/// [`TransferKey::flags`]: what was sent begins with the header of a TLS record, or is taken for such (see
/// [`Looks`](crate::Looks)): encrypted in user space.
pub const FLAG_TLS: u8 = 2;

/// [`TransferKey::flags`]: what was sent is taken for what the thread had read out of a file.
pub const FLAG_FILE: u8 = 4;

/// [`TransferKey::flags`]: not a transfer at all, but calls that the kernel refused: [`TransferValue::sizes`] counts them in
/// its first bucket.
pub const FLAG_REFUSED: u8 = 8;

/// What transfers are told apart by.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferKey {
    /// Slot of the target.
    pub target: u16,
    /// A [`Syscall`].
    pub syscall: u8,
    /// An [`Endpoint`].
    pub source: u8,
    /// An [`Endpoint`].
    pub sink: u8,
    /// `FLAG_*` bits.
    pub flags: u8,
    /// Zero: keys are compared bytewise.
    pub padding: u16,
    /// A listener's port, or one of the `PORT_*` values.
    pub port: u32,
}

/// Buckets of a size histogram: bucket `i` counts transfers of `2^i ..= 2^(i+1) - 1` bytes; the last one also takes
/// everything larger.
pub const SIZE_BUCKETS: usize = 32;

/// Counts of one [`TransferKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferValue {
    /// Sum of what its calls returned (for `sendmmsg` and `recvmmsg`: of each `msg_len`).
    pub bytes: u64,
    /// For egress from memory: bytes that the same thread had read from files since its last such egress. They are the
    /// other half of read + write, from which copy amplification is measured.
    pub carried_file_bytes: u64,
    /// Transfers by size, see [`SIZE_BUCKETS`]. Their sum is the number of calls.
    pub sizes: [u64; SIZE_BUCKETS],
}

/// Calls and bytes, where nothing more could be kept.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize))]
pub struct Tally {
    /// Calls that returned more than 0.
    pub calls: u64,
    /// Sum of what they returned.
    pub bytes: u64,
}

/// Index into `TRANSFERS_OTHER` and `RESULTS`: an entry for each call of each target. Few large entries, since the kernel asks
/// its allocator once for each entry of a per-CPU array.
#[must_use]
#[inline(always)]
pub const fn call_index(target: u32, syscall: u8) -> u32 {
    target * SYSCALLS as u32 + syscall as u32
}

/// Pairs of endpoints: tallies in an entry of `TRANSFERS_OTHER`.
pub const ENDS: usize = ENDPOINTS * ENDPOINTS;

/// Which of these tallies.
#[must_use]
#[inline(always)]
pub const fn ends_index(source: u8, sink: u8) -> usize {
    source as usize * ENDPOINTS + sink as usize
}

/// Results kept apart for each call: 0 (returned nothing, as at the end of a file), every errno, and one for the rest.
pub const RESULTS: usize = 136;
/// The result that stands for what has no errno of its own: calls that a signal interrupted and that the kernel
/// restarts (`ERESTARTSYS` and its kin, 512 and up, never seen by the program).
pub const RESULT_RESTARTED: u32 = RESULTS as u32 - 1;

/// Counters of one target.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Counter {
    /// Transfers that found `TRANSFERS` full: their bytes are in `TRANSFERS_OTHER`.
    TransfersFull = 0,
    /// Transfers that found `FILES` full: their bytes are in `FILES_OTHER`.
    FilesFull,
    /// Files whose directory found `DIRECTORIES` full.
    DirectoriesFull,
    /// Calls whose descriptor was gone or could not be read at their exit: their endpoint is `other`.
    EndpointUnknown,
    /// Bytes of those calls.
    EndpointUnknownBytes,
    /// `sendmmsg` and `recvmmsg` calls of whose messages some length could not be read: bytes are missing.
    LengthUnknown,
    /// File bytes read by a thread whose entry in `THREADS` another thread took: they count for no egress.
    CarriedDropped,
    /// `io_uring_enter` calls: I/O that no counted call shows.
    IoUringEnters,
    /// Calls made through the 32-bit table.
    Compat,
    /// Calls made through the x32 table, which is not decoded.
    X32,
    /// File bytes that a thread had read when it went on to another file before it sent anything: they count for no
    /// listener.
    CarriedUnattributed,
}

/// How many [`Counter`]s there are.
pub const COUNTERS: u32 = Counter::ALL.len() as u32;

impl Counter {
    /// Every counter, in the order of their values.
    pub const ALL: [Self; 11] = [
        Self::TransfersFull,
        Self::FilesFull,
        Self::DirectoriesFull,
        Self::EndpointUnknown,
        Self::EndpointUnknownBytes,
        Self::LengthUnknown,
        Self::CarriedDropped,
        Self::IoUringEnters,
        Self::Compat,
        Self::X32,
        Self::CarriedUnattributed,
    ];
}

/// What calls move between files and memory, by target and call: in one way each.
pub const FILE_TRANSFERS: u32 = MAX_TARGETS << CALL_BITS;
const CALL_BITS: u32 = 5;

/// Index into those.
#[must_use]
#[inline(always)]
pub const fn file_transfer_index(target: u32, syscall: u8) -> u32 {
    // An addition, since old verifiers know no bounds of what is put together by bits.
    (target << CALL_BITS).wrapping_add(syscall as u32) & (FILE_TRANSFERS - 1)
}

/// Index into `COUNTERS`.
#[must_use]
#[inline(always)]
pub const fn counter_index(target: u32, counter: Counter) -> u32 {
    target * COUNTERS + counter as u32
}

/// Word of `STATE`: the next index into `TRANSFERS` that was never used.
pub const STATE_NEXT_TRANSFER: u32 = 0;
/// Word of `STATE`: the next index into `FILE_COUNTS` that was never used.
pub const STATE_NEXT_FILE: u32 = 1;
/// Words of `STATE`.
pub const STATE_WORDS: u32 = 2;
/// The map of the epoch, a word.
pub const EPOCH_SECTION: &str = ".data.epoch";

/// Ports in one value of `LISTENERS`, a byte each: 1 for a listener's. Bytes, not bits, since a byte is stored in one go.
pub const PORTS_PER_WORD: usize = 64;
/// Values for each target in `LISTENERS`.
pub const LISTENER_WORDS: u32 = 65536 / PORTS_PER_WORD as u32;

/// Index into `LISTENERS` of the value that holds `port`.
#[must_use]
#[inline(always)]
pub const fn listener_index(target: u32, port: u16) -> u32 {
    target * LISTENER_WORDS + port as u32 / PORTS_PER_WORD as u32
}

#[cfg(feature = "agent")]
mod pod {
    //! What the agent may read from a map as it lies there.
    // SAFETY: all of these are `repr(C)` or a plain word, without padding that could hold anything, and every bit
    // pattern of theirs is a value.
    unsafe impl aya::Pod for super::TransferKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::TransferValue {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Tally {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::Thread {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::LatencyValue {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::FileLatency {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::ClientKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::ClientBytes {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::ClientOffsets {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::Target {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::Resolve {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::Offsets {}
    // SAFETY: as above.
    unsafe impl aya::Pod for crate::Features {}
}

const _: () = assert!(size_of::<TransferKey>() == 12);
const _: () = assert!(Syscall::ALL.len() < 0x3f);
const _: () = assert!(SYSCALLS <= 1 << CALL_BITS && FILE_TRANSFERS.is_power_of_two());
