//! Where the counts of a key are: remembered, otherwise looked up in the hash table, or given a place. Of transfers each CPU
//! remembers what it did last; of files all CPUs together remember as many as there are.
//!
//! A remembered place can't be wrong: it is found by the whole key, and the agent, before it gives a place to another key,
//! makes everything void that was remembered ([`EPOCH`]) and waits for programs that still run.

use agent_ebpf::{FileCounts, FileKey, InodeKey, STATE_NEXT_FILE, STATE_NEXT_TRANSFER, TransferKey, hint};
use aya_ebpf::{bindings::BPF_NOEXIST, maps::Queue};

use super::{
    counter::take_next,
    globals::{EPOCH, FILE_TRANSFERS, HINTS, has},
    maps::{FILE_COUNTS, FILES, FREE_FILES, FREE_TRANSFERS, RECENT_TRANSFERS, STATE, TRANSFER_KEYS, TRANSFERS},
    naming,
    object::NO_DESCRIPTOR,
    values::{RECENT_ENTRIES, RecentTransfer},
};

#[inline(always)]
fn epoch() -> u64 {
    // SAFETY: a word; volatile, since the agent changes it.
    unsafe { core::ptr::read_volatile(EPOCH.get()) }
}

/// A [`TransferKey`] in two words.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(super) word: u64,
    pub(super) port: u32,
}

impl Kind {
    #[inline(always)]
    pub(crate) fn of(key: &TransferKey) -> Self {
        let word = key.target as u64
            | (key.syscall as u64) << 16
            | (key.source as u64) << 24
            | (key.sink as u64) << 32
            | (key.flags as u64) << 40;
        Self { word, port: key.port }
    }

    /// Of the two words of one.
    #[inline(always)]
    pub(super) fn key(word: u64, port: u64) -> TransferKey {
        TransferKey {
            target: word as u16,
            syscall: (word >> 16) as u8,
            source: (word >> 24) as u8,
            sink: (word >> 32) as u8,
            flags: (word >> 40) as u8,
            padding: 0,
            port: port as u32,
        }
    }
}

/// Where the counts of this kind of transfer are; `None` if there is no place for it.
#[inline(always)]
pub(crate) fn transfer_index(kind: Kind) -> Option<u32> {
    let (word, port) = (kind.word, kind.port);
    // The call, both ends, and the flags.
    let slot = port ^ (word >> 13) as u32 ^ (word >> 18) as u32 ^ (word >> 32) as u32 ^ (word >> 39) as u32;
    let mut remember = None;
    if has!(exclusive) {
        let epoch = epoch();
        let recent = RECENT_TRANSFERS.get_ptr_mut(slot % RECENT_ENTRIES)?;
        // SAFETY: this CPU's own value.
        let recent = unsafe { &mut *recent };
        if recent.key == word && recent.port == port && recent.epoch == epoch {
            return Some(recent.index);
        }
        remember = Some((recent, epoch));
    }
    let index = place(find_transfer(word, port as u64))?;
    if let Some((recent, epoch)) = remember {
        *recent = RecentTransfer { key: word, port, index, epoch };
    }
    Some(index)
}

/// The same for what moves between a file and memory: of a call there is but one such kind.
#[inline(always)]
pub(crate) fn file_transfer_index(kind: Kind) -> Option<u32> {
    let epoch = epoch() << 32;
    // SAFETY: the index is below their number; a word that several CPUs store in one go, here and below.
    let (remembered, seen) = unsafe {
        let index = agent_ebpf::file_transfer_index(kind.word as u16 as u32, (kind.word >> 16) as u8);
        let remembered = FILE_TRANSFERS.get().cast::<u64>().add(index as usize);
        (remembered, core::ptr::read_volatile(remembered))
    };
    if seen & EPOCH_PART == epoch {
        return Some(seen as u32);
    }
    let index = transfer_index(kind)?;
    // SAFETY: see above.
    unsafe { core::ptr::write_volatile(remembered, epoch | index as u64) };
    Some(index)
}

/// [`find_transfer`] and [`find_file`]: there is none.
const NO_PLACE: u64 = u64::MAX;

#[inline(always)]
fn place(found: u64) -> Option<u32> {
    if found == NO_PLACE { None } else { Some(found as u32) }
}

/// The place of a kind of transfer in the table, or one that is made for it. A global function: what is rarely done, the verifier
/// looks at once, not for every way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_transfer(word: u64, port: u64) -> u64 {
    let key = Kind::key(word, port);
    // SAFETY: a value that is never written to again.
    if let Some(index) = unsafe { TRANSFER_KEYS.get(key) } {
        return *index as u64;
    }
    let Some(index) = new_index(&FREE_TRANSFERS, STATE_NEXT_TRANSFER) else { return NO_PLACE };
    if TRANSFERS.get_ptr(index).is_none() {
        return NO_PLACE;
    }
    if TRANSFER_KEYS.insert(key, index, BPF_NOEXIST as u64).is_ok() {
        return index as u64;
    }
    // Another CPU was faster, or the table is full.
    let _ = FREE_TRANSFERS.push(index, 0);
    // SAFETY: a value that is never written to again.
    unsafe { TRANSFER_KEYS.get(key) }.map_or(NO_PLACE, |index| *index as u64)
}

/// How a file is known to the thread that asks where its counts are.
#[derive(Clone, Copy)]
pub(crate) enum Known {
    /// It is open as this descriptor, which leads to its name.
    Open(u32),
    /// It was, when it was read: an entry of the same file tells its name.
    WasOpen(u32),
}

/// Where the counts of this file are, as an index and as a pointer; `None` if there is no place for it.
#[inline(always)]
pub(crate) fn file_place(key: &FileKey, known: Known, tid: u32) -> Option<(u32, *mut FileCounts)> {
    let (hinted, descriptor) = match known {
        Known::Open(descriptor) => (descriptor, descriptor),
        Known::WasOpen(descriptor) => (descriptor, NO_DESCRIPTOR),
    };
    let epoch = epoch() << 32;
    // SAFETY: the index is below their number; a word that several CPUs store in one go, here and below.
    let (remembered, seen) = unsafe {
        let remembered = HINTS.get().cast::<u64>().add(hint(hinted, key.target, key.port) as usize);
        (remembered, core::ptr::read_volatile(remembered))
    };
    if seen & EPOCH_PART == epoch
        && let Some(counts) = FILE_COUNTS.get_ptr_mut(seen as u32)
        && is_of(counts, key)
    {
        return Some((seen as u32, counts));
    }
    let rest = key.inode.device as u64 | (key.inode.generation as u64) << 32;
    let word = key.target as u64 | (key.port as u64) << 32;
    let index = place(find_file(key.inode.inode, rest, word, descriptor as u64, tid as u64))?;
    let counts = FILE_COUNTS.get_ptr_mut(index)?;
    // SAFETY: see above.
    unsafe { core::ptr::write_volatile(remembered, epoch | index as u64) };
    Some((index, counts))
}

/// The part of an entry of `HINTS` and `FILE_TRANSFERS` that is its epoch; the rest is an index.
const EPOCH_PART: u64 = 0xffff_ffff << 32;

/// Whether these are the counts of this file. While another CPU notes whose they are, a part of its key and zeroes may be seen
/// here, which are nobody's: no inode, no device and no port is 0.
#[inline(always)]
fn is_of(counts: *const FileCounts, key: &FileKey) -> bool {
    // SAFETY: a field of a map's value, word by word.
    let (of, key) = unsafe { ((&raw const (*counts).key).cast::<u64>(), (&raw const *key).cast::<u64>()) };
    // SAFETY: a key has three words.
    unsafe { *of == *key && *of.add(1) == *key.add(1) && *of.add(2) == *key.add(2) }
}

/// The place of a file in the table, or one that is made for it; its key in three words. A global function for the same reason.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_file(inode: u64, rest: u64, word: u64, descriptor: u64, tid: u64) -> u64 {
    let inode = InodeKey { inode, device: rest as u32, generation: (rest >> 32) as u32 };
    let key = FileKey { inode, target: word as u32, port: (word >> 32) as u32 };
    // SAFETY: a value that is never written to again.
    if let Some(value) = unsafe { FILES.get(key) } {
        return value.index as u64;
    }
    let Some(index) = new_index(&FREE_FILES, STATE_NEXT_FILE) else { return NO_PLACE };
    let Some(counts) = FILE_COUNTS.get_ptr_mut(index) else { return NO_PLACE };
    // SAFETY: a field of a map's value, of which nobody knows yet.
    unsafe { (*counts).key = key };
    if naming::insert_file(&key, descriptor as u32, tid as u32, index) {
        return index as u64;
    }
    // SAFETY: as above.
    unsafe { (*counts).key = FileKey { inode: InodeKey { inode: 0, device: 0, generation: 0 }, target: 0, port: 0 } };
    let _ = FREE_FILES.push(index, 0);
    // SAFETY: a value that is never written to again.
    unsafe { FILES.get(key) }.map_or(NO_PLACE, |value| value.index as u64)
}

/// A place that no key has: one given back, or the next that was never used, which may be behind the end.
#[inline(always)]
fn new_index(free: &Queue<u32>, next: u32) -> Option<u32> {
    if let Ok(Some(index)) = free.pop() {
        return Some(index);
    }
    if !has!(fetch) {
        return None;
    }
    let index = take_next(STATE.get_ptr_mut(next)?);
    if index < u32::MAX as u64 { Some(index as u32) } else { None }
}
