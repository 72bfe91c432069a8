//! How long calls take: only counted where it is asked for.

// Numbers cast here are of buckets: far below 2^32, and the kernel side has no `try_into` to spare.
#![allow(clippy::cast_possible_truncation)]

/// Smallest power of two of nanoseconds that is told apart: what is shorter is in the first bucket.
pub const LATENCY_FIRST: u32 = 10;
/// Buckets in each power of two: the first of them begins at it, the others a quarter of it further each.
pub const LATENCY_PARTS: u32 = 4;
/// Buckets of a histogram of durations: from 2^10 ns (1 µs) to 2^38 ns (275 s); the last one also takes everything longer.
pub const LATENCY_BUCKETS: usize = 112;

/// `floor(log2(number))` of a number that has at most so many bits, a power of two; 0 of 0.
#[must_use]
#[inline(always)]
pub const fn log2(number: u64, bits: u32) -> u32 {
    // A search by halves: the instruction set of the kernel has no count of leading zeros.
    let mut rest = number;
    let mut exponent = 0;
    let mut step = bits / 2;
    while step > 0 {
        if rest >> step != 0 {
            rest >>= step;
            exponent += step;
        }
        step /= 2;
    }
    exponent
}

/// The bucket of a duration.
#[must_use]
#[inline(always)]
pub const fn latency_bucket(ns: u64) -> usize {
    let exponent = log2(ns, u64::BITS);
    if exponent < LATENCY_FIRST {
        return 0;
    }
    let part = (ns >> (exponent - 2)) as usize & (LATENCY_PARTS as usize - 1);
    let bucket = ((exponent - LATENCY_FIRST) * LATENCY_PARTS) as usize + part;
    if bucket < LATENCY_BUCKETS { bucket } else { LATENCY_BUCKETS - 1 }
}

/// The shortest duration in a bucket, in nanoseconds.
#[must_use]
pub const fn latency_least(bucket: usize) -> u64 {
    if bucket == 0 {
        return 0;
    }
    let exponent = LATENCY_FIRST + bucket as u32 / LATENCY_PARTS;
    (1 << exponent) + ((bucket as u64 % LATENCY_PARTS as u64) << (exponent - 2))
}

/// Durations of the calls of one kind of transfer: the index is that of `TRANSFERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyValue {
    /// Their sum, in nanoseconds.
    pub ns: u64,
    /// The longest, in nanoseconds. Of two calls that end at the same moment it may be the shorter: the buckets are exact.
    pub max_ns: u64,
    /// Those that took at least as long as the agent calls slow.
    pub slow: u64,
    /// Calls by duration, see [`latency_bucket`].
    pub buckets: [u64; LATENCY_BUCKETS],
}

impl LatencyValue {
    /// No calls.
    pub const NONE: Self = Self { ns: 0, max_ns: 0, slow: 0, buckets: [0; LATENCY_BUCKETS] };
}

/// So many buckets of [`LatencyValue`] are one of a file's: there are many files.
pub const FILE_LATENCY_MERGED: usize = 2;
/// Buckets of a file's histogram: two in each power of two.
pub const FILE_LATENCY_BUCKETS: usize = LATENCY_BUCKETS / FILE_LATENCY_MERGED;

/// In which direction a call moved a file's bytes: index into [`FileLatency`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum FileWay {
    /// Out of the file: into memory, or inside the kernel through a port.
    Out = 0,
    /// From memory: into the file; or, through a port, what the thread had read out of it.
    FromMemory,
}

impl FileWay {
    /// Each way, in the order of their values.
    pub const ALL: [Self; 2] = [Self::Out, Self::FromMemory];
}

/// Durations of the calls of one way.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayLatency {
    /// Their sum, in nanoseconds.
    pub ns: u64,
    /// The longest: as [`LatencyValue::max_ns`].
    pub max_ns: u64,
    /// Those that were slow.
    pub slow: u64,
    /// Calls by duration.
    pub buckets: [u32; FILE_LATENCY_BUCKETS],
}

/// Durations of the calls that moved one file's bytes, by [`FileWay`]: the index is that of `FILE_COUNTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLatency {
    /// By way.
    pub ways: [WayLatency; FileWay::ALL.len()],
}

impl FileLatency {
    /// No calls.
    pub const NONE: Self = Self {
        ways: [WayLatency { ns: 0, max_ns: 0, slow: 0, buckets: [0; FILE_LATENCY_BUCKETS] }; FileWay::ALL.len()],
    };
}

/// When a thread's call began. Threads share a table by `tid % THREADS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Kernel thread id.
    pub tid: u32,
    /// The call's code, see [`crate::SyscallTable`]; 0: none under way.
    pub code: u32,
    /// `bpf_ktime_get_ns`.
    pub ns: u64,
}
