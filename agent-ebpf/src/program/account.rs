//! Adding up. Every addition is exact: to values of this CPU, by atomic adds; what finds its map full goes to an array
//! that cannot be.

use agent_ebpf::{
    Counter, ENDS, FILE_PATHS, FileCounts, FileKey, FilePath, Follows, RESULT_RESTARTED, SIZE_BUCKETS, TALLIES, Tally,
    call_index, ends_index, tally_index,
};

use super::{
    counter::{add, add_shared, count},
    maps::{FILES_OTHER, RESULTS, TRANSFERS, TRANSFERS_OTHER},
    read::forget,
    recent::{Kind, Known, file_place, file_transfer_index, transfer_index},
};

/// Counts a call that moved nothing: `result` is 0 or an errno.
#[inline(always)]
pub(crate) fn result(target: u32, syscall: u8, result: u32) {
    let result = if result < RESULT_RESTARTED { result } else { RESULT_RESTARTED };
    if let Some(results) = RESULTS.get_ptr_mut(call_index(target, syscall)) {
        // SAFETY: the result is below the length of the value.
        add(unsafe { results.cast::<u64>().add(result as usize) }, 1);
    }
}

/// A place that no array has.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Counts a transfer, and returns the place where. `is_of_file`: between a file and memory.
#[inline(always)]
pub(crate) fn transfer(kind: Kind, is_of_file: bool, bytes: u64, carried: u64) -> u32 {
    let index = if is_of_file { file_transfer_index(kind) } else { transfer_index(kind) };
    let index = forget(index.unwrap_or(NOWHERE) as u64, bytes) as u32;
    let Some(value) = TRANSFERS.get_ptr_mut(index) else {
        transfer_other(kind.word, bytes);
        return NOWHERE;
    };
    // SAFETY: fields of a map's value; the bucket is below the length of the histogram.
    unsafe {
        add(&raw mut (*value).bytes, bytes);
        add((&raw mut (*value).sizes).cast::<u64>().add(size_bucket(bytes)), 1);
        if carried != 0 {
            add(&raw mut (*value).carried_file_bytes, carried);
        }
    }
    index
}

/// Counts a transfer that found no place, by the first word of its kind. A global function: what is rarely done, the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn transfer_other(word: u64, bytes: u64) -> u64 {
    let key = Kind::key(word, 0);
    let target = key.target as u32;
    count(target, Counter::TransfersFull, 1);
    let ends = ends_index(key.source, key.sink);
    if let Some(tallies) = TRANSFERS_OTHER.get_ptr_mut(call_index(target, key.syscall))
        && ends < ENDS
    {
        // SAFETY: the index is below the length of the value; fields of a map's value.
        unsafe {
            let tally = tallies.cast::<Tally>().add(ends);
            add(&raw mut (*tally).calls, 1);
            add(&raw mut (*tally).bytes, bytes);
        }
    }
    0
}

/// `floor(log2(bytes))`, at most the last bucket: found by five comparisons.
#[inline(always)]
fn size_bucket(bytes: u64) -> usize {
    /// Of `$count` buckets from `$first` on.
    macro_rules! among {
        (1, $first:expr) => { $first };
        (2, $first:expr) => { among!(=1, $first, 1) };
        (4, $first:expr) => { among!(=2, $first, 2) };
        (8, $first:expr) => { among!(=4, $first, 4) };
        (16, $first:expr) => { among!(=8, $first, 8) };
        (32, $first:expr) => { among!(=16, $first, 16) };
        (=$half:tt, $first:expr, $step:literal) => {
            if bytes < 1 << ($first + $step) { among!($half, $first) } else { among!($half, $first + $step) }
        };
    }
    const { assert!(SIZE_BUCKETS == 32) };
    // To the verifier all of them are one.
    forget(among!(32, 0), bytes) as usize & (SIZE_BUCKETS - 1)
}

/// Counts bytes of a file, and returns the place where.
#[inline(always)]
pub(crate) fn file(key: &FileKey, known: Known, tid: u32, path: FilePath, calls: u64, bytes: u64) -> u32 {
    let Some((place, counts)) = place_of_file(key, known, tid, path, calls, bytes) else { return NOWHERE };
    add_tally(counts, tally_index(path, Follows::Unknown), calls, bytes);
    place
}

/// Where the counts of a file are, for whoever adds to them; `None` if there is no place for it, and it is counted here.
#[inline(always)]
pub(crate) fn place_of_file(
    key: &FileKey,
    known: Known,
    tid: u32,
    path: FilePath,
    calls: u64,
    bytes: u64,
) -> Option<(u32, *mut FileCounts)> {
    let found = file_place(key, known, tid);
    if found.is_none() {
        file_other(key.target, path, calls, bytes);
    }
    found
}

/// [`tally_index`] of a [`Follows`] which is a number; `unknown` as in [`forget`].
#[inline(always)]
pub(crate) fn tally_of(path: FilePath, follows: u64, unknown: u64) -> usize {
    // What follows is the same for all of them.
    tally_index(path, Follows::Sequential) + forget(follows, unknown) as usize * FILE_PATHS
}

/// Adds to one of the tallies of a file, by [`tally_index`].
#[inline(always)]
pub(crate) fn add_tally(counts: *mut FileCounts, index: usize, calls: u64, bytes: u64) {
    if index < TALLIES {
        // SAFETY: the index is below the length; fields of a map's value.
        unsafe {
            let tally = (&raw mut (*counts).tallies).cast::<Tally>().add(index);
            add_shared(&raw mut (*tally).calls, calls);
            add_shared(&raw mut (*tally).bytes, bytes);
        }
    }
}

/// Counts bytes of a file that found no place.
#[inline(always)]
fn file_other(target: u32, path: FilePath, calls: u64, bytes: u64) {
    count(target, Counter::FilesFull, 1);
    if let Some(other) = FILES_OTHER.get_ptr_mut(target) {
        // SAFETY: as above.
        unsafe {
            let tally = (&raw mut (*other).tallies).cast::<Tally>().add(tally_index(path, Follows::Unknown));
            add(&raw mut (*tally).calls, calls);
            add(&raw mut (*tally).bytes, bytes);
        }
    }
}
