//! In what order files are read and written, and `sendfile` calls that sent less than was asked: only counted where it is
//! asked for.
//!
//! | map | type | index or key | value | full? |
//! |---|---|---|---|---|
//! | `READERS` | array | [`reader_set`] | [`Reader`]s: all but the first of a file | what came first leaves, and begins anew |
//! | `SHORTS` | array | index into `TRANSFERS` | [`Shorts`] | `SHORTS_OTHER` |
//! | `SHORTS_OTHER` | array | [`short_index`] | [`Short`] | cannot |
//!
//! How a call follows the one before is a part of where it is counted: see [`tally_index`](crate::tally_index). Without
//! [`Features::order`](crate::Features::order) they have one entry each, and nothing uses them.

// The number cast here counts variants.
#![allow(clippy::cast_possible_truncation)]

use crate::Tally;

/// In which direction a file's bytes go.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Out of the file.
    Read = 0,
    /// Into the file.
    Written,
}

/// How a call follows the one before in its file.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// It began where an earlier one of the same reader or writer had ended.
    Sequential = 0,
    /// It began elsewhere.
    Random,
    /// Nothing before it is known, or where it began is not, or nobody asks.
    Unknown,
}

/// How many there are.
pub const FOLLOWS: usize = Follows::ALL.len();

impl Follows {
    /// Each, in the order of their values.
    pub const ALL: [Self; 3] = [Self::Sequential, Self::Random, Self::Unknown];
}

/// How calls follow each other. What is in neither of the two is [`Follows::Unknown`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize))]
pub struct Runs {
    /// [`Follows::Sequential`]: calls and their bytes.
    pub sequential: Tally,
    /// [`Follows::Random`].
    pub random: Tally,
}

/// How many places a reader's calls may go on from, where the reader is a thread: it may serve several connections in turn.
pub const READER_ENDS: usize = 4;
/// A read may begin so many bytes before the end of the last one and still go on from there: a fetch of so many bytes ends
/// within a batch of messages, which is fetched again, whole. Kafka's default for the largest batch is 1 MiB.
pub const READ_AGAIN: u64 = 1 << 20;
/// [`Reader::ends`]: none.
pub const NO_END: u64 = u64::MAX;

/// Where a reader's last calls on a file ended, the last one first. Of the first reader of a file, and of who writes to it, the last
/// one is told beside its counts, in [`FileCounts`](crate::FileCounts): here are those before it, once it went on from elsewhere.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Its [`reader_key`]; 0: nobody's.
    pub key: u64,
    /// Positions in the file, or [`NO_END`].
    pub ends: [u64; READER_ENDS],
}

/// Who reads: the upper half of a [`reader_key`]. All who write to a file are one.
pub mod reader {
    /// The descriptor of a connection is a reader: with this bit, it is no thread.
    pub const CONNECTION: u32 = 1 << 31;
}

/// The place of a file in `FILE_COUNTS`, and who reads it: never 0.
#[must_use]
#[inline(always)]
pub const fn reader_key(place: u32, reader: u32) -> u64 {
    place as u64 | (reader as u64) << 32
}

/// Readers that share a value of `READERS`.
pub const READER_WAYS: usize = 2;
/// Values of `READERS`: for ten thousand partitions that several read at once.
pub const READER_SETS: u32 = 32768;

/// Index into `READERS`, for a [`reader_key`].
#[must_use]
#[inline(always)]
pub const fn reader_set(key: u64) -> u32 {
    // As in `hint`.
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49) as u32
}

/// Why a `sendfile` call into a socket sent less than was asked.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ShortReason {
    /// The socket does not wait, and its send buffer took a part.
    SendBuffer = 0,
    /// The same, and it took nothing: `EAGAIN`.
    Again,
    /// The file ended.
    EndOfFile,
    /// No call moves more: `MAX_RW_COUNT`, 2 GiB less a page (include/linux/fs.h).
    Limit,
    /// A socket that waits: a signal, a time limit, an error of the connection.
    Interrupted,
}

/// How many [`ShortReason`]s there are.
pub const SHORT_REASONS: u32 = ShortReason::ALL.len() as u32;

impl ShortReason {
    /// Each, in the order of their values.
    pub const ALL: [Self; 5] = [Self::SendBuffer, Self::Again, Self::EndOfFile, Self::Limit, Self::Interrupted];

    /// The word used in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendBuffer => "send_buffer",
            Self::Again => "again",
            Self::EndOfFile => "end_of_file",
            Self::Limit => "limit",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Calls that sent less than was asked.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize))]
pub struct Short {
    /// Calls.
    pub calls: u64,
    /// Bytes that were asked for.
    pub asked: u64,
    /// Bytes that were sent.
    pub sent: u64,
}

impl Short {
    /// Takes in others.
    pub const fn add(&mut self, others: &Self) {
        self.calls += others.calls;
        self.asked += others.asked;
        self.sent += others.sent;
    }
}

/// Those of one kind of transfer, which a [`TransferKey`](crate::TransferKey) tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shorts {
    /// By [`ShortReason`].
    pub by_reason: [Short; ShortReason::ALL.len()],
    /// Zero: two cache lines, of which the commonest reason touches the first.
    pub unused: u64,
}

/// Index into `SHORTS_OTHER`.
#[must_use]
#[inline(always)]
pub const fn short_index(target: u32, reason: ShortReason) -> u32 {
    target * SHORT_REASONS + reason as u32
}

/// Where the running kernel keeps what tells a call's place in its file: set by the agent before load, as
/// [`Offsets`](crate::Offsets).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // `structure_member`, as the kernel's headers spell them
pub struct OrderOffsets {
    pub file_pos: u32,
    pub file_flags: u32,
    pub inode_size: u32,
    /// `f_ra.prev_pos` of `struct file`; 0 where it is not known.
    pub file_read_end: u32,
}

#[cfg(feature = "agent")]
mod pod {
    // SAFETY: all of these are `repr(C)`, without padding that could hold anything, and every bit pattern is a value.
    unsafe impl aya::Pod for super::Shorts {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Short {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::OrderOffsets {}
}

const _: () = assert!(size_of::<Shorts>() == 2 * 64);
const _: () = assert!(READER_SETS == 1 << (64 - 49));
