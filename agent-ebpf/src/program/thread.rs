//! What a thread reads from files, tied to what it next sends; and through which ports it sends.

use agent_ebpf::{
    Counter, FLAG_FILE, FLAG_TLS, FileKey, FilePath, InodeKey, Looks, THREAD_PORTS, THREADS as THREAD_ENTRIES, Thread,
};

use super::{
    account::{NOWHERE, file},
    counter::count,
    fills,
    globals::has,
    maps::THREADS,
    object::{NO_DESCRIPTOR, Object},
    read::user,
    recent::Known,
};

/// What a thread had read when it sent.
pub(crate) struct Carried {
    /// File bytes read since its last send.
    pub(crate) bytes: u64,
    /// [`FLAG_FILE`], where what it sends is a file's, and [`FLAG_TLS`], where it begins with the header of a record.
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
    thread.descriptor = NO_DESCRIPTOR;
    thread.file = InodeKey { inode: 0, device: 0, generation: 0 };
    thread.ports = [0; THREAD_PORTS];
    thread.sends = [0; THREAD_PORTS + 1];
    thread.looks = [Looks { looks: 0, score: 0 }; THREAD_PORTS];
    0
}

/// Remembers that this thread has bytes of a file in its memory.
#[inline(always)]
pub(crate) fn reads(target: u32, tid: u32, file: &Object, bytes: u64) {
    let Some(thread) = entry(target, tid) else { return };
    thread.descriptor = file.descriptor;
    thread.read_bytes += bytes;
    thread.read_calls += 1;
    if is_same(&thread.file, &file.inode) {
        thread.file_bytes += bytes;
        thread.unsent += bytes;
        return;
    }
    if thread.file_bytes != 0 {
        count(target, Counter::CarriedUnattributed, thread.file_bytes);
    }
    thread.file = file.inode;
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
pub(crate) fn sends(target: u32, tid: u32, port: u32, sent: u64, memory: Memory) -> Carried {
    let mut none = Carried { bytes: 0, flags: 0, place: NOWHERE };
    let Some(thread) = entry(target, tid) else { return none };
    let tls = if serves(thread, port, memory) { FLAG_TLS } else { 0 };
    none.flags = tls;
    if thread.unsent == 0 {
        return none;
    }
    let (bytes, calls, of_file) = (thread.read_bytes, thread.read_calls, thread.file_bytes);
    thread.unsent = if thread.unsent > sent { thread.unsent - sent } else { 0 };
    thread.read_bytes = 0;
    thread.read_calls = 0;
    thread.file_bytes = 0;
    let key = FileKey { inode: thread.file, target, port };
    let known = Known::WasOpen(thread.descriptor);
    if of_file != 0 {
        file(&key, known, tid, FilePath::Carried, calls, of_file);
        if has!(page_cache) {
            fills::sent(target, tid, &key.inode, port);
        }
    }
    let place = file(&key, known, tid, FilePath::SentCopied, 1, sent);
    Carried { bytes, flags: FLAG_FILE | tls, place }
}

/// Notes a send through `port`; whether what is sent begins with the header of a TLS record: by a look at it, or known from
/// earlier ones.
#[inline(always)]
fn serves(thread: &mut Thread, port: u32, memory: Memory) -> bool {
    let which = if thread.ports[0] == port || thread.ports[0] == 0 {
        thread.ports[0] = port;
        0
    } else if thread.ports[1] == port || thread.ports[1] == 0 {
        thread.ports[1] = port;
        1
    } else {
        thread.sends[2] += 1;
        return memory.address != 0 && memory.is_header();
    };
    thread.sends[which] += 1;
    if memory.address == 0 {
        return false;
    }
    if let Some(known) = thread.looks[which].known(thread.sends[which]) {
        return known;
    }
    let is_header = memory.is_header();
    thread.looks[which] = thread.looks[which].and(is_header);
    is_header
}

/// Where bytes lie in the memory of the running process.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// 0: it is not looked at.
    pub(crate) address: u64,
    /// There lies a `struct iovec`, which begins with the address.
    pub(crate) is_vector: bool,
}

impl Memory {
    /// Memory that is not looked at.
    pub(crate) const NONE: Self = Self { address: 0, is_vector: false };

    /// Whether the header of a TLS record lies there (RFC 8446, 5.1): a content type from 20 to 24, the version 3.x. What begins in
    /// the middle of a record, after one was cut short, has none.
    #[inline(always)]
    fn is_header(self) -> bool {
        let start = if self.is_vector { user::<u64>(self.address) } else { Some(self.address) };
        let header = start.and_then(user::<u32>).unwrap_or(0);
        let (content, major, minor) = (header & 0xff, header >> 8 & 0xff, header >> 16 & 0xff);
        content >= 20 && content <= 24 && major == 3 && minor <= 4
    }
}
