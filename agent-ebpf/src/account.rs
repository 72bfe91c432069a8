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
//! | `FILES` | hash | [`FileKey`] | [`FileValue`]: its name, and its index into `FILE_COUNTS` | `FILES_OTHER` |
//! | `FILE_COUNTS` | array | that index | [`FileCounts`] | goes with the keys |
//! | `.bss.hints` | one value | [`hint`] | indices into `FILE_COUNTS`, each with the epoch | another's is replaced |
//! | `FILES_OTHER` | per-CPU array | target | [`FileCounts`] | cannot |
//! | `DIRECTORIES` | hash | [`InodeKey`] | [`Directory`] | files stay unnamed, counted |
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
//! Keys and counts lie apart, so that the program can remember where the counts of a key are (the hints, and each CPU's
//! `RECENT_TRANSFERS`) and add to them without a second look into a hash table.

// Every number cast here counts variants or ports: far below 2^32, and the kernel side has no `try_into` to spare.
#![allow(clippy::cast_possible_truncation)]

use crate::{
    order::{Direction, FOLLOWS, Follows, Runs},
    syscall::{SYSCALLS, Syscall},
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

/// An inode, told apart from one that gets its number later.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize))]
pub struct InodeKey {
    /// `inode.i_ino`.
    pub inode: u64,
    /// `super_block.s_dev`, in the kernel's own encoding: 12 bits major, 20 bits minor.
    pub device: u32,
    /// `inode.i_generation`.
    pub generation: u32,
}

/// What file traffic is told apart by.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// The file.
    pub inode: InodeKey,
    /// Slot of the target.
    pub target: u32,
    /// [`PORT_NONE`] for what moved between the file and anything but an inet socket, memory among it; otherwise the
    /// port of [`TransferKey::port`], for what left through such a socket.
    pub port: u32,
}

/// In which way a file's bytes moved: see [`tally_index`]. The first [`MOVING_PATHS`] move the file's own bytes.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilePath {
    /// Out of the file inside the kernel: `sendfile`, `splice`, `copy_file_range`.
    ZeroCopyRead = 0,
    /// Out of the file into user memory.
    CopiedRead,
    /// Into the file, by whatever call.
    Written,
    /// What a thread had read out of the file into memory when it next sent from memory through this port, and the calls
    /// that read it. They are [`FilePath::CopiedRead`] bytes too, of the entry without a port.
    Carried,
    /// What the thread then sent through this port: bytes of a socket, not of the file. With TLS they are more.
    SentCopied,
}

/// How many [`FilePath`]s move bytes out of a file or into it: the first ones.
pub const MOVING_PATHS: usize = 3;
/// Tallies of one [`FileKey`].
pub const TALLIES: usize = MOVING_PATHS * FOLLOWS + 2;

/// Index into [`FileCounts::tallies`]. How a call follows the one before is only told of those that move a file's own bytes.
#[must_use]
#[inline(always)]
pub const fn tally_index(path: FilePath, follows: Follows) -> usize {
    let path = path as usize;
    if path < MOVING_PATHS { path * FOLLOWS + follows as usize } else { MOVING_PATHS * (FOLLOWS - 1) + path }
}

/// Counts of one [`FileKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Whose counts these are: a CPU that believes so by [`hint`] looks here. Zero where they are nobody's.
    pub key: FileKey,
    /// By [`tally_index`]: a call is in one of them. Calls and bytes lie side by side, so that both are in one cache line.
    pub tallies: [Tally; TALLIES],
}

impl FileCounts {
    /// What moved in one way, however its calls followed each other.
    #[must_use]
    pub fn of(&self, path: FilePath) -> Tally {
        let follows: &[Follows] = if (path as usize) < MOVING_PATHS { &Follows::ALL } else { &[Follows::Unknown] };
        self.sum(&[path], follows)
    }

    /// How the calls of one direction followed each other.
    #[must_use]
    pub fn runs(&self, direction: Direction) -> Runs {
        let paths: &[FilePath] = match direction {
            Direction::Read => &[FilePath::ZeroCopyRead, FilePath::CopiedRead],
            Direction::Written => &[FilePath::Written],
        };
        Runs { sequential: self.sum(paths, &[Follows::Sequential]), random: self.sum(paths, &[Follows::Random]) }
    }

    fn sum(&self, paths: &[FilePath], follows: &[Follows]) -> Tally {
        let mut sum = Tally::default();
        for path in paths {
            for follows in follows {
                let tally = self.tallies[tally_index(*path, *follows)];
                sum.calls += tally.calls;
                sum.bytes += tally.bytes;
            }
        }
        sum
    }
}

/// How many hints there are: as many as `zctrace serve` takes files, and twice those of the one-shot, so that few share one.
pub const HINTS: u32 = 65536;

/// Index into the hints, for a file whose key is `inode` and those two words.
#[must_use]
#[inline(always)]
pub const fn hint(inode: u64, rest: u64, word: u64) -> u32 {
    // Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4): what follows each other lies apart.
    let mixed = (inode ^ rest << 20 ^ word >> 32 << 40 ^ word << 52).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as u32
}

/// Bytes of a file by the first three [`FilePath`]s, and the calls that moved them: through all ports together.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize))]
pub struct FileBytes {
    /// Bytes, indexed by [`FilePath`].
    pub bytes: [u64; 3],
    /// Calls, indexed by [`FilePath`].
    pub calls: [u64; 3],
}

/// Longest file name kept, in bytes, its end marked by a zero. Kafka's are at most 20 digits and two suffixes.
pub const FILE_NAME: usize = 64;
/// Longest directory name kept, in bytes, its end marked by a zero: `NAME_MAX` and the zero.
pub const DIRECTORY_NAME: usize = 256;

/// Name of one [`FileKey`], and where its counts are.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileValue {
    /// Index into `FILE_COUNTS`.
    pub index: u32,
    /// Zero.
    pub padding: u32,
    /// The directory it was opened in.
    pub parent: InodeKey,
    /// Its name when it was first seen, cut to fit.
    pub name: [u8; FILE_NAME],
}

/// Name of a directory when it was first seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The directory it lies in.
    pub parent: InodeKey,
    /// Its own name.
    pub name: [u8; DIRECTORY_NAME],
}

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
/// The map of the epoch, a word.
pub const EPOCH_SECTION: &str = ".data.epoch";
/// Words of `STATE`.
pub const STATE_WORDS: u32 = 2;

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
    unsafe impl aya::Pod for super::InodeKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FileKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FileCounts {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FileValue {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Directory {}
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
const _: () = assert!(size_of::<FileKey>() == 24);
const _: () = assert!(HINTS == 1 << 16);
const _: () = assert!(Syscall::ALL.len() < 0x3f);

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [FilePath; 5] =
        [FilePath::ZeroCopyRead, FilePath::CopiedRead, FilePath::Written, FilePath::Carried, FilePath::SentCopied];

    /// Ways to move bytes, each with how a call may follow the one before.
    fn kinds() -> impl Iterator<Item = (FilePath, Follows)> {
        let told =
            |path: FilePath| if (path as usize) < MOVING_PATHS { &Follows::ALL[..] } else { &[Follows::Unknown] };
        PATHS.into_iter().flat_map(move |path| told(path).iter().map(move |follows| (path, *follows)))
    }

    #[test]
    fn every_kind_of_call_has_a_tally_of_its_own_and_no_tally_is_left_over() {
        let mut uses = [0; TALLIES];
        kinds().for_each(|(path, follows)| uses[tally_index(path, follows)] += 1);
        assert_eq!(uses, [1; TALLIES]);
    }

    #[test]
    fn a_call_counts_once_by_its_path_and_once_by_how_it_follows() {
        let mut counts = FileCounts::default();
        for (power, (path, follows)) in kinds().enumerate() {
            counts.tallies[tally_index(path, follows)] = Tally { calls: 1 << power, bytes: 10 << power };
        }
        let calls: u64 = PATHS.into_iter().map(|path| counts.of(path).calls).sum();
        assert_eq!(calls, (1 << TALLIES) - 1);
        assert_eq!(counts.of(FilePath::CopiedRead), Tally { calls: 0b111_000, bytes: 10 * 0b111_000 });
        assert_eq!(counts.of(FilePath::SentCopied).calls, 1 << (TALLIES - 1));
        let (read, written) = (counts.runs(Direction::Read), counts.runs(Direction::Written));
        assert_eq!(read.sequential, Tally { calls: 0b010_010, bytes: 10 * 0b010_010 });
        assert_eq!(read.random.calls, 0b100_100);
        assert_eq!((written.sequential.calls, written.random.calls), (1 << 7, 1 << 8));
    }
}
