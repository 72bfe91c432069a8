//! What a thread reads from files, tied to what it next sends; and through which ports it sends.

use agent_ebpf::{
    Counter, FLAG_FILE, FileKey, FilePath, InodeKey, Looks, THREAD_PORTS, THREADS as THREAD_ENTRIES, Thread,
};

use super::{
    account::{NOWHERE, file},
    counter::count,
    fills,
    globals::has,
    maps::THREADS,
    object::NO_DESCRIPTOR,
};

/// What a thread had read when it sent.
pub(crate) struct Carried {
    /// File bytes read since its last send.
    pub(crate) bytes: u64,
    /// [`FLAG_FILE`], where what it sends is a file's.
    pub(crate) flags: u8,
    /// Where that file's counts are.
    pub(crate) place: u32,
}

/// The entry of this thread. Another's, whose id falls on the same one, is dropped, which is counted.
#[inline(always)]
fn entry(target: u32, tid: u32) -> Option<&'static mut Thread> {
    let thread = THREADS.get_ptr_mut(tid % THREAD_ENTRIES)?;
    // SAFETY: an entry that only this thread writes to, but for another whose id falls on the same one.
    let thread = unsafe { &mut *thread };
    if thread.tid != tid || thread.target != target {
        take_entry(target as u64, tid as u64);
    }
    Some(thread)
}

/// Makes an entry this thread's. A global function: what is rarely done, the verifier looks at once, not for every way that leads
/// here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn take_entry(target: u64, tid: u64) -> u64 {
    let Some(thread) = THREADS.get_ptr_mut(tid as u32 % THREAD_ENTRIES) else { return 0 };
    // SAFETY: as above.
    let thread = unsafe { &mut *thread };
    if thread.read_bytes != 0 {
        count(thread.target, Counter::CarriedDropped, thread.read_bytes);
    }
    thread.tid = tid as u32;
    thread.target = target as u32;
    thread.read_bytes = 0;
    thread.read_calls = 0;
    thread.file_bytes = 0;
    thread.unsent = 0;
    thread.file = InodeKey { inode: 0, device: 0, generation: 0 };
    thread.ports = [0; THREAD_PORTS];
    thread.sends = [0; THREAD_PORTS + 1];
    thread.looks = [Looks { looks: 0, score: 0 }; THREAD_PORTS];
    0
}

/// Remembers that this thread has bytes of a file in its memory.
#[inline(always)]
pub(crate) fn reads(target: u32, tid: u32, inode: &InodeKey, bytes: u64) {
    let Some(thread) = entry(target, tid) else { return };
    thread.read_bytes += bytes;
    thread.read_calls += 1;
    if is_same(&thread.file, inode) {
        thread.file_bytes += bytes;
        thread.unsent += bytes;
        return;
    }
    if thread.file_bytes != 0 {
        count(target, Counter::CarriedUnattributed, thread.file_bytes);
    }
    thread.file = *inode;
    thread.file_bytes = bytes;
    thread.unsent = bytes;
}

#[inline(always)]
fn is_same(one: &InodeKey, other: &InodeKey) -> bool {
    one.inode == other.inode && one.device == other.device && one.generation == other.generation
}

/// Takes what this thread has read since its last send from memory, and counts it and the `sent` bytes for the file and the
/// port.
#[inline(always)]
pub(crate) fn sends(target: u32, tid: u32, port: u32, sent: u64) -> Carried {
    let none = Carried { bytes: 0, flags: 0, place: NOWHERE };
    let Some(thread) = entry(target, tid) else { return none };
    serves(thread, port);
    if thread.unsent == 0 {
        return none;
    }
    let (bytes, calls, of_file) = (thread.read_bytes, thread.read_calls, thread.file_bytes);
    thread.unsent = if thread.unsent > sent { thread.unsent - sent } else { 0 };
    thread.read_bytes = 0;
    thread.read_calls = 0;
    thread.file_bytes = 0;
    let key = FileKey { inode: thread.file, target, port };
    if of_file != 0 {
        file(&key, NO_DESCRIPTOR, tid, FilePath::Carried, calls, of_file);
        if has(|features| &features.page_cache) {
            fills::sent(target, tid, &key.inode, port);
        }
    }
    let place = file(&key, NO_DESCRIPTOR, tid, FilePath::SentCopied, 1, sent);
    Carried { bytes, flags: FLAG_FILE, place }
}

/// Whether what this thread now sends through `port` begins with the header of a TLS record: by a look at it, or known from
/// earlier ones.
#[inline(always)]
pub(crate) fn sends_header(target: u32, tid: u32, port: u32, look: impl FnOnce() -> bool) -> bool {
    let Some(thread) = entry(target, tid) else { return look() };
    let which = if thread.ports[0] == port {
        0
    } else if thread.ports[1] == port {
        1
    } else {
        return look();
    };
    if let Some(known) = thread.looks[which].known(thread.sends[which]) {
        return known;
    }
    let is_header = look();
    thread.looks[which] = thread.looks[which].and(is_header);
    is_header
}

/// Notes a send through `port`.
#[inline(always)]
fn serves(thread: &mut Thread, port: u32) {
    if thread.ports[0] == port {
        thread.sends[0] += 1;
    } else if thread.ports[0] == 0 {
        thread.ports[0] = port;
        thread.sends[0] = 1;
    } else if thread.ports[1] == port {
        thread.sends[1] += 1;
    } else if thread.ports[1] == 0 {
        thread.ports[1] = port;
        thread.sends[1] = 1;
    } else {
        thread.sends[2] += 1;
    }
}
