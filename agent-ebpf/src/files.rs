//! What is counted of files, and what they are called: see the table of maps in [`account`](crate::account).

// The number cast here counts targets, or is cut on purpose.
#![allow(clippy::cast_possible_truncation)]

use crate::{
    account::Tally,
    order::{Direction, FOLLOWS, Follows, Runs},
};

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
    /// [`PORT_NONE`](crate::PORT_NONE) for what moved between the file and anything but an inet socket, memory among it; otherwise the
    /// port of [`TransferKey::port`](crate::TransferKey::port), for what left through such a socket.
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
/// How many [`FilePath`]s there are.
pub const FILE_PATHS: usize = MOVING_PATHS + 2;
/// Tallies of one [`FileKey`], two of which nothing uses.
pub const TALLIES: usize = FILE_PATHS * FOLLOWS - 2;

/// Index into [`FileCounts::tallies`]. How a call follows the one before is only told of those that move a file's own bytes; the
/// others are with those that go on. What a call adds to lies in the first cache line, or, but for what is rare, in the second.
#[must_use]
#[inline(always)]
pub const fn tally_index(path: FilePath, follows: Follows) -> usize {
    let place = match path {
        FilePath::CopiedRead => 0,
        FilePath::ZeroCopyRead => 1,
        path => path as usize,
    };
    if (path as usize) < MOVING_PATHS { follows as usize * FILE_PATHS + place } else { place }
}

/// Counts of one [`FileKey`]: four cache lines. Of those, a read, a write or a `sendfile` that goes on from where the one before
/// ended touches the first alone, or the first two.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Whose counts these are: a CPU that believes so by [`hint`] looks here. Zero where they are nobody's.
    pub key: FileKey,
    /// Where the last call that wrote ended; 0: none is known.
    pub written_end: u64,
    /// Where the last call of the first reader ended. Of the others, see [`Reader`](crate::Reader).
    pub read_end: u64,
    /// The first reader, see [`reader`](crate::reader); 0: none yet.
    pub first_reader: u32,
    /// Zero.
    pub padding: u32,
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

/// Index into the hints, for what moves between the file that is open as `descriptor` and this port. The hints of files that were
/// opened one after the other lie side by side: those of a broker's thousands of segments in few cache lines. And it is known
/// before anything is of the file.
#[must_use]
#[inline(always)]
pub const fn hint(descriptor: u32, target: u32, port: u32) -> u32 {
    // Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4): what the ports have lies apart.
    let whose = (port ^ target << 20).wrapping_mul(0x9e37_79b9) >> 16;
    descriptor.wrapping_add(whose) & (HINTS - 1)
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

#[cfg(feature = "agent")]
mod pod {
    // SAFETY: all of these are `repr(C)`, without padding that could hold anything, and every bit pattern is a value.
    unsafe impl aya::Pod for super::InodeKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FileKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FileCounts {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FileValue {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Directory {}
}

const _: () = assert!(size_of::<FileKey>() == 24);
const _: () = assert!(size_of::<FileCounts>() == 4 * 64);
const _: () = assert!(HINTS == 1 << 16);

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
    fn every_kind_of_call_has_a_tally_of_its_own() {
        let mut uses = [0; TALLIES];
        kinds().for_each(|(path, follows)| uses[tally_index(path, follows)] += 1);
        assert!(uses.iter().all(|uses| *uses <= 1), "{uses:?}");
        assert_eq!(uses.iter().filter(|uses| **uses == 0).count(), 2, "what nothing uses");
    }

    #[test]
    fn calls_that_go_on_touch_the_first_two_cache_lines() {
        let line = |path| {
            let tallies = core::mem::offset_of!(FileCounts, tallies);
            (tallies + tally_index(path, Follows::Sequential) * size_of::<Tally>()) / 64
        };
        assert_eq!(PATHS.map(line), [1, 0, 1, 1, 1]);
    }

    #[test]
    fn hints_of_files_opened_one_after_the_other_lie_side_by_side_and_apart_for_each_port() {
        let of = |port| (0..4096).map(move |descriptor| hint(descriptor, 0, port));
        assert!(of(9092).zip(of(9092).skip(1)).all(|(one, next)| one < HINTS && next == (one + 1) % HINTS));
        for (one, other) in [(9092, 9093), (9092, crate::PORT_NONE), (9093, crate::PORT_NONE)] {
            assert!(of(one).all(|one| of(other).all(|other| one != other)));
        }
        assert_ne!(hint(7, 0, 9092), hint(7, 1, 9092));
    }

    #[test]
    fn a_call_counts_once_by_its_path_and_once_by_how_it_follows() {
        let mut counts = FileCounts::default();
        for (power, (path, follows)) in kinds().enumerate() {
            counts.tallies[tally_index(path, follows)] = Tally { calls: 1 << power, bytes: 10 << power };
        }
        let calls: u64 = PATHS.into_iter().map(|path| counts.of(path).calls).sum();
        assert_eq!(calls, (1 << 11) - 1);
        assert_eq!(counts.of(FilePath::CopiedRead), Tally { calls: 0b111_000, bytes: 10 * 0b111_000 });
        assert_eq!(counts.of(FilePath::SentCopied).calls, 1 << 10);
        let (read, written) = (counts.runs(Direction::Read), counts.runs(Direction::Written));
        assert_eq!(read.sequential, Tally { calls: 0b001_001, bytes: 10 * 0b001_001 });
        assert_eq!(read.random.calls, 0b010_010);
        assert_eq!((written.sequential.calls, written.random.calls), (1 << 6, 1 << 7));
    }
}
