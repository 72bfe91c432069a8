//! Pages that come into the page cache while a target's thread runs: of which file, during which call, asked for or read
//! ahead. The kernel reads ahead in the thread that reads, so the call that caused it is the one under way.

use agent_ebpf::{
    Class, Endpoint, Fill, FillKey, FillThread, FillWay, InodeKey, PORT_NONE, Syscall, THREADS as THREAD_ENTRIES,
    fill_index,
};
use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    },
    macros::map,
    maps::{Array, HashMap},
};

use super::{
    call::Call,
    counter::{add_shared, entry},
    globals::{offset, offset_in},
    object::{Object, file_of, inode_key},
    read::{cast, far, load, user},
    target::{is_same, target},
    task::running_task,
};

// include/uapi/linux/stat.h
const S_IFMT: u16 = 0o170_000;
const S_IFREG: u16 = 0o100_000;
/// What an exception leaves in the place of a call's number (`arch/x86/entry/entry_64.S`, `idtentry_body`).
const NO_CALL: u64 = u64::MAX;
/// All bytes from a position on.
const TO_THE_END: u64 = 1 << 62;

#[map]
pub(crate) static FILLS: HashMap<FillKey, Fill> = HashMap::with_max_entries(1, 0);
#[map]
pub(crate) static FILLS_OTHER: Array<Fill> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static FILL_THREADS: Array<FillThread> = Array::with_max_entries(1, 0);

/// The offset of this name.
macro_rules! at {
    ($member:ident) => {
        offset_in!(FillOffsets, $member)
    };
}

/// A stretch of a file, in bytes: of a folio, or what a call asks for.
#[derive(Clone, Copy)]
struct Stretch {
    start: u64,
    end: u64,
}

/// Counts a folio that was just added to the page cache, if a target's thread did it. `folio` is typed to the verifier.
#[inline(always)]
pub(crate) fn on_folio(folio: *const u8) {
    let ids = bpf_get_current_pid_tgid();
    let Some(target) = target((ids >> 32) as u32) else { return };
    let task = running_task();
    if target.counting == 0 || !is_same(task, target) {
        return;
    }
    // SAFETY: both helpers only return pointers into the running task.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as *const u8 };
    let mut call = Call::decode(task, regs);
    call.read_arguments(regs);
    let slot = target.slot as u32;
    let stretch = stretch_of(folio);
    let all = Fill { asked: stretch.end - stretch.start, ahead: 0 };
    let Some(syscall) = Syscall::from_u8(call.code.wrapping_sub(1)) else {
        // SAFETY: the registers are typed to the verifier.
        let number = unsafe { load::<u64, _>(regs, offset!(pt_regs_nr)) };
        let way = if number == NO_CALL { FillWay::Fault } else { FillWay::Other };
        other(slot, way, all);
        return;
    };
    let way = match syscall.class() {
        Class::Read => FillWay::Copied,
        Class::InKernel => FillWay::ZeroCopy,
        // Pages for what is written are made, not brought in.
        Class::Write | Class::Vmsplice => return,
    };
    match inode_of(folio) {
        Some(inode) => {
            // Of an overlay the page is another file's, of the layer below.
            let inode = source_of(task, &call, syscall).unwrap_or(inode);
            let fill = split(stretch, asked(task, &call, syscall));
            let port = if matches!(way, FillWay::ZeroCopy) { port_of(task, slot, &call, syscall) } else { PORT_NONE };
            add(&FillKey { inode, target: target.slot, way: way as u16, port }, way, fill);
            if matches!(way, FillWay::Copied) {
                carry(slot, ids as u32, inode, fill);
            }
        }
        // Directories and the file system's own blocks.
        None => other(slot, FillWay::Other, all),
    }
}

/// The file whose page it is; `None` for what is no regular file.
#[inline(always)]
fn inode_of(folio: *const u8) -> Option<InodeKey> {
    // SAFETY: see `on_folio`.
    let mapping = unsafe { load::<*const u8, _>(folio, at!(folio_mapping)) };
    let mapping = cast(mapping, at!(id_address_space));
    regular(far::<*const u8, _>(mapping, at!(mapping_host))?)
}

/// The file that the call reads.
#[inline(always)]
fn source_of(task: *const u8, call: &Call, syscall: Syscall) -> Option<InodeKey> {
    let descriptor = call.descriptor(if matches!(syscall, Syscall::Sendfile) { 1 } else { 0 });
    regular(far::<*const u8, _>(file_of(task, descriptor)?, offset!(file_inode))?)
}

/// The key of an inode, if it is a regular file's.
#[inline(always)]
fn regular(inode: *const u8) -> Option<InodeKey> {
    if far::<u16, _>(inode, offset!(inode_mode))? & S_IFMT != S_IFREG {
        return None;
    }
    inode_key(inode)
}

/// Where in its file a folio lies.
#[inline(always)]
fn stretch_of(folio: *const u8) -> Stretch {
    // SAFETY: see `on_folio`.
    let index = unsafe { load::<u64, _>(folio, at!(folio_index)) };
    let mut pages = 1;
    if at!(folio_nr_pages).number() != 0 {
        // SAFETY: see `on_folio`.
        let flags = unsafe { load::<u64, _>(folio, at!(folio_flags)) };
        if flags >> at!(head_bit).number() & 1 != 0 {
            // SAFETY: see `on_folio`.
            pages = unsafe { load::<u32, _>(folio, at!(folio_nr_pages)) } as u64;
        }
    }
    let shift = at!(page_shift).number();
    Stretch { start: index << shift, end: (index + pages) << shift }
}

/// What the call asks for; `None` where it can't be told.
#[inline(always)]
fn asked(task: *const u8, call: &Call, syscall: Syscall) -> Option<Stretch> {
    let (start, length) = match syscall {
        // A null pointer: the file's own position.
        Syscall::Sendfile => match call.argument(2) {
            0 => (position(task, call.descriptor(1))?, call.argument(3)),
            pointer => (user::<u64>(pointer)?, call.argument(3)),
        },
        Syscall::Pread64 if !call.compat => (call.argument(3), call.argument(2)),
        Syscall::Read => (position(task, call.descriptor(0))?, call.argument(2)),
        _ => return None,
    };
    if start > TO_THE_END || length > TO_THE_END {
        return None;
    }
    Some(Stretch { start, end: start + length })
}

/// `file.f_pos`: it moves when the call is over.
#[inline(always)]
fn position(task: *const u8, descriptor: u32) -> Option<u64> {
    far::<u64, _>(file_of(task, descriptor)?, at!(file_pos))
}

/// The part of a folio that was asked for, in whole pages, and the rest.
#[inline(always)]
fn split(folio: Stretch, asked: Option<Stretch>) -> Fill {
    let size = folio.end - folio.start;
    let Some(asked) = asked else { return Fill { asked: size, ahead: 0 } };
    let page = 1u64 << at!(page_shift).number();
    let (start, end) = (asked.start & !(page - 1), (asked.end + page - 1) & !(page - 1));
    let (start, end) =
        (if start > folio.start { start } else { folio.start }, if end < folio.end { end } else { folio.end });
    let common = if end > start { end - start } else { 0 };
    Fill { asked: common, ahead: size - common }
}

/// Whose socket the bytes are for.
#[inline(always)]
fn port_of(task: *const u8, slot: u32, call: &Call, syscall: Syscall) -> u32 {
    let sink = match syscall {
        Syscall::Sendfile => call.descriptor(0),
        Syscall::Tee => call.descriptor(1),
        _ => call.descriptor(2),
    };
    let sink = Object::of(task, slot, sink);
    if sink.kind == Endpoint::Socket as u8 { sink.port } else { PORT_NONE }
}

#[inline(always)]
fn add(key: &FillKey, way: FillWay, fill: Fill) {
    match entry(&FILLS, key, Fill { asked: 0, ahead: 0 }) {
        Some(entry) => add_to(entry, fill),
        None => other(key.target as u32, way, fill),
    }
}

#[inline(always)]
fn other(slot: u32, way: FillWay, fill: Fill) {
    if let Some(entry) = FILLS_OTHER.get_ptr_mut(fill_index(slot, way)) {
        add_to(entry, fill);
    }
}

#[inline(always)]
fn add_to(entry: *mut Fill, fill: Fill) {
    // SAFETY: fields of a map's value.
    unsafe {
        if fill.asked != 0 {
            add_shared(&raw mut (*entry).asked, fill.asked);
        }
        if fill.ahead != 0 {
            add_shared(&raw mut (*entry).ahead, fill.ahead);
        }
    }
}

/// Remembers what came in until this thread sends from memory.
#[inline(always)]
fn carry(slot: u32, tid: u32, inode: InodeKey, fill: Fill) {
    let Some(thread) = FILL_THREADS.get_ptr_mut(tid % THREAD_ENTRIES) else { return };
    // SAFETY: an entry that only this thread writes to, but for another whose id falls on the same one.
    let thread = unsafe { &mut *thread };
    let same = thread.tid == tid
        && thread.target == slot
        && thread.inode.inode == inode.inode
        && thread.inode.device == inode.device
        && thread.inode.generation == inode.generation;
    if same {
        thread.fill.asked += fill.asked;
        thread.fill.ahead += fill.ahead;
    } else {
        *thread = FillThread { tid, target: slot, inode, fill };
    }
}

/// This thread now sends from memory what it has read of a file: what came in meanwhile was for this port.
#[inline(always)]
pub(crate) fn sent(slot: u32, tid: u32, inode: &InodeKey, port: u32) {
    let Some(thread) = FILL_THREADS.get_ptr_mut(tid % THREAD_ENTRIES) else { return };
    // SAFETY: see `carry`.
    let thread = unsafe { &mut *thread };
    let fill = thread.fill;
    if thread.tid != tid || thread.target != slot || fill.asked + fill.ahead == 0 {
        return;
    }
    thread.fill = Fill { asked: 0, ahead: 0 };
    if thread.inode.inode == inode.inode && thread.inode.device == inode.device {
        let key = FillKey { inode: *inode, target: slot as u16, way: FillWay::Carried as u16, port };
        add(&key, FillWay::Carried, fill);
    }
}
