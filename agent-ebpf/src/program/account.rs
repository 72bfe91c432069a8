//! Adding up. Every addition is exact: to values of this CPU, by atomic adds; what finds its map full goes to an array
//! that cannot be.

use agent_ebpf::{
    ClientPath, Counter, ENDS, Endpoint, FLAG_MSG_ZEROCOPY, FileCounts, FileKey, FilePath, PORT_NONE, RESULT_RESTARTED,
    SIZE_BUCKETS, Tally, TransferKey, call_index, ends_index,
};

use super::{
    clients::note_client,
    counter::{add, add_shared, count},
    globals::has,
    latency,
    maps::{FILE_COUNTS, FILES_OTHER, RESULTS, TRANSFERS, TRANSFERS_OTHER},
    object::Object,
    read::forget,
    recent::{file_index, transfer_index},
    thread::{self, Carried},
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

/// Counts a transfer, and returns the place where.
#[inline(always)]
pub(crate) fn transfer(key: &TransferKey, bytes: u64, carried: u64) -> u32 {
    let index = transfer_index(key).unwrap_or(NOWHERE);
    let Some(value) = TRANSFERS.get_ptr_mut(index) else {
        transfer_other(key, bytes);
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

#[inline(always)]
fn transfer_other(key: &TransferKey, bytes: u64) {
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
}

/// `floor(log2(bytes))`, at most the last bucket.
#[inline(always)]
fn size_bucket(bytes: u64) -> usize {
    // A search by halves: the instruction set has no count of leading zeros.
    let mut rest = if bytes > u32::MAX as u64 { u32::MAX } else { bytes as u32 };
    let mut bucket = 0;
    let mut step = 16;
    while step > 0 {
        if rest >> step != 0 {
            rest >>= step;
            bucket += step;
        }
        step /= 2;
    }
    bucket & (SIZE_BUCKETS - 1)
}

/// Counts bytes of a file, which is open as `descriptor`, or known already where that is none, and returns the place where.
#[inline(always)]
pub(crate) fn file(key: &FileKey, descriptor: u32, tid: u32, path: FilePath, calls: u64, bytes: u64) -> u32 {
    let index = file_index(key, descriptor, tid).unwrap_or(NOWHERE);
    if let Some(counts) = FILE_COUNTS.get_ptr_mut(index) {
        let tally = tally_of(counts, path);
        // SAFETY: fields of a map's value.
        unsafe {
            add_shared(&raw mut (*tally).calls, calls);
            add_shared(&raw mut (*tally).bytes, bytes);
        }
        return index;
    }
    count(key.target, Counter::FilesFull, 1);
    if let Some(other) = FILES_OTHER.get_ptr_mut(key.target) {
        let tally = tally_of(other, path);
        // SAFETY: as above.
        unsafe {
            add(&raw mut (*tally).calls, calls);
            add(&raw mut (*tally).bytes, bytes);
        }
    }
    NOWHERE
}

#[inline(always)]
fn tally_of(counts: *mut FileCounts, path: FilePath) -> *mut Tally {
    // SAFETY: the path is below the length.
    unsafe { (&raw mut (*counts).paths).cast::<Tally>().add(path as usize) }
}

/// Both ends of a transfer.
pub(crate) struct Ends {
    /// The source, unless `to_first`.
    pub(crate) first: Object,
    /// The sink, unless `to_first`.
    pub(crate) second: Object,
    /// The bytes went the other way: from `second`, which is user memory, to `first`.
    pub(crate) to_first: bool,
    /// Of [`TransferKey::flags`].
    pub(crate) flags: u8,
}

/// Where the files at both ends of a transfer are counted: [`NOWHERE`] for what is no file.
pub(crate) struct Places {
    /// Of [`Ends::first`].
    pub(crate) first: u32,
    /// Of [`Ends::second`].
    pub(crate) second: u32,
    /// Of [`TransferKey::port`].
    pub(crate) port: u32,
}

/// Counts a transfer: itself, the files at its ends, what the thread carries. `ids` is what the kernel calls the thread.
#[inline(always)]
pub(crate) fn moved(target: u32, ids: u64, syscall: u8, ends: &Ends, bytes: u64) -> Places {
    let tid = ids as u32;
    // The ways that lead here differ in what the verifier knows of them; from here on they are one.
    let (first, second) = (forget(ends.first.kind as u64, ids) as u8, forget(ends.second.kind as u64, ids) as u8);
    let to_first = forget(ends.to_first as u64, ids) != 0;
    if forget((ends.first.unknown | ends.second.unknown) as u64, ids) != 0 {
        count(target, Counter::EndpointUnknown, 1);
        count(target, Counter::EndpointUnknownBytes, bytes);
    }
    let port = if second == Endpoint::Socket as u8 { ends.second.port } else { ends.first.port };
    let mut carried = Carried { bytes: 0, flags: 0, place: NOWHERE };
    let mut place = NOWHERE;
    let mut places = Places { first: NOWHERE, second: NOWHERE, port };
    if to_first && first == Endpoint::Socket as u8 {
        carried = thread::sends(target, tid, port, bytes);
        place = carried.place;
    }
    if first == Endpoint::File as u8 {
        let path = if to_first {
            FilePath::Written
        } else if second == Endpoint::Memory as u8 {
            thread::reads(target, tid, &ends.first.inode, bytes);
            FilePath::CopiedRead
        } else {
            FilePath::ZeroCopyRead
        };
        place = file(&FileKey { inode: ends.first.inode, target, port }, ends.first.descriptor, tid, path, 1, bytes);
        places.first = place;
    }
    if second == Endpoint::File as u8 {
        let key = FileKey { inode: ends.second.inode, target, port: PORT_NONE };
        places.second = file(&key, ends.second.descriptor, tid, FilePath::Written, 1, bytes);
    }
    let key = TransferKey {
        target: target as u16,
        syscall,
        source: if to_first { second } else { first },
        sink: if to_first { first } else { second },
        flags: ends.flags | carried.flags,
        padding: 0,
        port,
    };
    let kind = transfer(&key, bytes, carried.bytes);
    if has(|features| &features.clients) {
        client(&key, ends, second, bytes);
    }
    if has(|features| &features.latency) {
        // What a file's bytes are in memory for, they leave it by the other way.
        latency::note_duration(tid as u64, syscall as u64, kind as u64, place as u64, to_first as u64);
    }
    places
}

/// Counts a transfer for the client at the other end of a listener's connection.
#[inline(always)]
fn client(key: &TransferKey, ends: &Ends, second: u8, bytes: u64) {
    if key.port >= PORT_NONE {
        return;
    }
    let path = if key.sink != Endpoint::Socket as u8 {
        ClientPath::Received
    } else if key.flags & FLAG_MSG_ZEROCOPY != 0 {
        ClientPath::Undetermined
    } else if key.source == Endpoint::Memory as u8 {
        ClientPath::Copied
    } else {
        ClientPath::ZeroCopy
    };
    // As the port was chosen.
    let descriptor = if second == Endpoint::Socket as u8 { ends.second.descriptor } else { ends.first.descriptor };
    note_client(key.target as u64, descriptor as u64, key.port as u64, path as u64, bytes);
}
