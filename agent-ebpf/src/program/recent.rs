//! Where the counts of a key are: remembered by each CPU for what it did last, otherwise looked up in the hash table, or
//! given a place.
//!
//! A remembered place can't be wrong: it is found by the whole key, and the agent, before it gives a place to another key,
//! makes everything void that was remembered ([`STATE_EPOCH`]) and waits for programs that still run.

use agent_ebpf::{FileKey, STATE_EPOCH, STATE_NEXT_FILE, STATE_NEXT_TRANSFER, TransferKey};
use aya_ebpf::{bindings::BPF_NOEXIST, maps::Queue};

use super::{
    counter::take_next,
    globals::has,
    maps::{
        FILE_COUNTS, FILES, FREE_FILES, FREE_TRANSFERS, RECENT_FILES, RECENT_TRANSFERS, STATE, TRANSFER_KEYS, TRANSFERS,
    },
    naming,
};

/// How much each CPU remembers of each kind. A power of two.
pub(crate) const RECENT_ENTRIES: u32 = 256;

/// All zero is none: no epoch is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RecentTransfer {
    key: u64,
    port: u32,
    index: u32,
    epoch: u64,
}

/// All zero is none: no epoch is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RecentFile {
    inode: u64,
    rest: u64,
    key: u64,
    index: u64,
    epoch: u64,
}

#[inline(always)]
fn epoch() -> u64 {
    // SAFETY: a word of a map's value; volatile, since the agent changes it.
    STATE.get_ptr(STATE_EPOCH).map_or(0, |epoch| unsafe { core::ptr::read_volatile(epoch) })
}

/// Where the counts of this kind of transfer are; `None` if there is no place for it.
#[inline(always)]
pub(crate) fn transfer_index(key: &TransferKey) -> Option<u32> {
    let word = key.target as u64
        | (key.syscall as u64) << 16
        | (key.source as u64) << 24
        | (key.sink as u64) << 32
        | (key.flags as u64) << 40;
    let slot = key.port ^ (key.syscall as u32) << 3 ^ (key.source as u32) << 6 ^ key.sink as u32;
    let mut remember = None;
    if has(|features| &features.exclusive) {
        let epoch = epoch();
        let recent = RECENT_TRANSFERS.get_ptr_mut(slot % RECENT_ENTRIES)?;
        // SAFETY: this CPU's own value.
        let recent = unsafe { &mut *recent };
        if recent.key == word && recent.port == key.port && recent.epoch == epoch {
            return Some(recent.index);
        }
        remember = Some((recent, epoch));
    }
    // SAFETY: a value that is never written to again.
    let index = match unsafe { TRANSFER_KEYS.get(key) } {
        Some(index) => *index,
        None => new_transfer(key)?,
    };
    if let Some((recent, epoch)) = remember {
        *recent = RecentTransfer { key: word, port: key.port, index, epoch };
    }
    Some(index)
}

#[inline(always)]
fn new_transfer(key: &TransferKey) -> Option<u32> {
    let index = new_index(&FREE_TRANSFERS, STATE_NEXT_TRANSFER)?;
    TRANSFERS.get_ptr(index)?;
    if TRANSFER_KEYS.insert(key, index, BPF_NOEXIST as u64).is_ok() {
        return Some(index);
    }
    // Another CPU was faster, or the table is full.
    let _ = FREE_TRANSFERS.push(index, 0);
    // SAFETY: as above.
    unsafe { TRANSFER_KEYS.get(key) }.copied()
}

/// Where the counts of this file are; `None` if there is no place for it. `file` is the `struct file *` that tells its
/// name, or null where an entry of the same file tells it.
#[inline(always)]
pub(crate) fn file_index(key: &FileKey, file: *const u8, tid: u32) -> Option<u32> {
    let rest = key.inode.device as u64 | (key.inode.generation as u64) << 32;
    let word = key.target as u64 | (key.port as u64) << 32;
    let mut remember = None;
    if has(|features| &features.exclusive) {
        let epoch = epoch();
        let slot = key.inode.inode as u32 ^ (key.inode.inode >> 8) as u32 ^ key.port;
        let recent = RECENT_FILES.get_ptr_mut(slot % RECENT_ENTRIES)?;
        // SAFETY: this CPU's own value.
        let recent = unsafe { &mut *recent };
        if recent.inode == key.inode.inode && recent.rest == rest && recent.key == word && recent.epoch == epoch {
            return Some(recent.index as u32);
        }
        remember = Some((recent, epoch));
    }
    // SAFETY: a value that is never written to again.
    let index = match unsafe { FILES.get(key) } {
        Some(value) => value.index,
        None => new_file(key, file, tid)?,
    };
    if let Some((recent, epoch)) = remember {
        *recent = RecentFile { inode: key.inode.inode, rest, key: word, index: index as u64, epoch };
    }
    Some(index)
}

#[inline(always)]
fn new_file(key: &FileKey, file: *const u8, tid: u32) -> Option<u32> {
    let index = new_index(&FREE_FILES, STATE_NEXT_FILE)?;
    FILE_COUNTS.get_ptr(index)?;
    if naming::insert_file(key, file, tid, index) {
        return Some(index);
    }
    let _ = FREE_FILES.push(index, 0);
    // SAFETY: as above.
    unsafe { FILES.get(key) }.map(|value| value.index)
}

/// A place that no key has: one given back, or the next that was never used, which may be behind the end.
#[inline(always)]
fn new_index(free: &Queue<u32>, next: u32) -> Option<u32> {
    if let Ok(Some(index)) = free.pop() {
        return Some(index);
    }
    if !has(|features| &features.fetch) {
        return None;
    }
    let index = take_next(STATE.get_ptr_mut(next)?);
    if index < u32::MAX as u64 { Some(index as u32) } else { None }
}
