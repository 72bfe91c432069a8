//! Adding up. Every addition is exact: to values of this CPU, by atomic adds; what finds its map full goes to an array
//! that cannot be.

use agent_ebpf::{
    Counter, Endpoint, FileBytes, FileKey, FilePath, SIZE_BUCKETS, THREADS as THREAD_ENTRIES, TransferKey, other_index,
    result_index,
};
use aya_ebpf::bindings::BPF_NOEXIST;

use super::{
    counter::{add, count},
    maps::{FILES, FILES_OTHER, NEW_FILE, NEW_TRANSFER, RESULTS, THREADS, TRANSFERS, TRANSFERS_OTHER},
    naming,
    object::Object,
    read::forget,
};

/// Counts a call that moved nothing: `result` is 0 or an errno.
#[inline(always)]
pub(crate) fn result(target: u32, syscall: u8, result: u32) {
    if let Some(calls) = RESULTS.get_ptr_mut(result_index(target, syscall, result)) {
        add(calls, 1);
    }
}

/// Counts a transfer.
#[inline(always)]
pub(crate) fn transfer(key: &TransferKey, bytes: u64, carried: u64) {
    let mut value = TRANSFERS.get_ptr_mut(key);
    if value.is_none() {
        if let Some(zero) = NEW_TRANSFER.get_ptr(0) {
            // SAFETY: a scratch value that nobody writes to. Losing the race to insert is as good as winning it.
            let _ = TRANSFERS.insert(key, unsafe { &*zero }, BPF_NOEXIST as u64);
        }
        value = TRANSFERS.get_ptr_mut(key);
    }
    let Some(value) = value else {
        transfer_other(key, bytes);
        return;
    };
    // SAFETY: fields of a map's value; the bucket is below the length of the histogram.
    unsafe {
        add(&raw mut (*value).bytes, bytes);
        add((&raw mut (*value).sizes).cast::<u64>().add(size_bucket(bytes)), 1);
        if carried != 0 {
            add(&raw mut (*value).carried_file_bytes, carried);
        }
    }
}

#[inline(always)]
fn transfer_other(key: &TransferKey, bytes: u64) {
    let target = key.target as u32;
    count(target, Counter::TransfersFull, 1);
    if let Some(tally) = TRANSFERS_OTHER.get_ptr_mut(other_index(target, key.syscall, key.source, key.sink)) {
        // SAFETY: fields of a map's value.
        unsafe {
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

/// Counts bytes out of or into a file.
#[inline(always)]
pub(crate) fn file(target: u32, object: &Object, path: FilePath, bytes: u64) {
    let key = FileKey { inode: object.inode, target, padding: 0 };
    let mut value = FILES.get_ptr_mut(key);
    if value.is_none() {
        first_seen(&key, object);
        value = FILES.get_ptr_mut(key);
    }
    if let Some(value) = value {
        // SAFETY: a field of a map's value.
        file_bytes(unsafe { &raw mut (*value).moved }, path, bytes);
    } else {
        count(target, Counter::FilesFull, 1);
        if let Some(other) = FILES_OTHER.get_ptr_mut(target) {
            file_bytes(other, path, bytes);
        }
    }
}

#[inline(always)]
fn first_seen(key: &FileKey, object: &Object) {
    let Some(new) = NEW_FILE.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own scratch value; its counts stay zero, its name is overwritten.
    let new = unsafe { &mut *new };
    // A file without a name is still counted.
    let _ = naming::name(new, object.file, key.target);
    let _ = FILES.insert(key, &*new, BPF_NOEXIST as u64);
}

#[inline(always)]
fn file_bytes(moved: *mut FileBytes, path: FilePath, bytes: u64) {
    // SAFETY: fields of a map's value; the path is below their length.
    unsafe {
        add((&raw mut (*moved).bytes).cast::<u64>().add(path as usize), bytes);
        add((&raw mut (*moved).calls).cast::<u64>().add(path as usize), 1);
    }
}

/// Remembers that this thread has file bytes in its memory.
#[inline(always)]
pub(crate) fn carry(target: u32, tid: u32, bytes: u64) {
    let Some(thread) = THREADS.get_ptr_mut(tid % THREAD_ENTRIES) else { return };
    // SAFETY: an entry that only this thread writes to, but for another whose id falls on the same one.
    let thread = unsafe { &mut *thread };
    if thread.tid == tid && thread.target == target {
        thread.read_bytes += bytes;
        return;
    }
    if thread.read_bytes != 0 {
        count(thread.target, Counter::CarriedDropped, thread.read_bytes);
    }
    thread.tid = tid;
    thread.target = target;
    thread.read_bytes = bytes;
}

/// Takes what this thread has carried since its last egress from memory.
#[inline(always)]
pub(crate) fn carried(target: u32, tid: u32) -> u64 {
    let Some(thread) = THREADS.get_ptr_mut(tid % THREAD_ENTRIES) else { return 0 };
    // SAFETY: see `carry`.
    let thread = unsafe { &mut *thread };
    if thread.tid != tid || thread.target != target {
        return 0;
    }
    let bytes = thread.read_bytes;
    thread.read_bytes = 0;
    bytes
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

/// Counts a transfer: itself, the files at its ends, what the thread carries. `ids` is what the kernel calls the thread.
#[inline(always)]
pub(crate) fn moved(target: u32, ids: u64, syscall: u8, ends: &Ends, bytes: u64) {
    let tid = ids as u32;
    // The ways that lead here differ in what the verifier knows of them; from here on they are one.
    let (first, second) = (forget(ends.first.kind as u64, ids) as u8, forget(ends.second.kind as u64, ids) as u8);
    let to_first = forget(ends.to_first as u64, ids) != 0;
    if forget((ends.first.unknown | ends.second.unknown) as u64, ids) != 0 {
        count(target, Counter::EndpointUnknown, 1);
        count(target, Counter::EndpointUnknownBytes, bytes);
    }
    let mut taken = 0;
    if to_first && first == Endpoint::Socket as u8 {
        taken = carried(target, tid);
    }
    if first == Endpoint::File as u8 {
        let path = if to_first {
            FilePath::Written
        } else if second == Endpoint::Memory as u8 {
            carry(target, tid, bytes);
            FilePath::CopiedRead
        } else {
            FilePath::ZeroCopyRead
        };
        file(target, &ends.first, path, bytes);
    }
    if second == Endpoint::File as u8 {
        file(target, &ends.second, FilePath::Written, bytes);
    }
    let key = TransferKey {
        target: target as u16,
        syscall,
        source: if to_first { second } else { first },
        sink: if to_first { first } else { second },
        flags: ends.flags,
        padding: 0,
        port: if second == Endpoint::Socket as u8 { ends.second.port } else { ends.first.port },
    };
    transfer(&key, bytes, taken);
}
