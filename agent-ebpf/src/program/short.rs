//! Calls of `sendfile` that sent less than was asked.

use agent_ebpf::{Endpoint, Short, ShortKey, ShortReason, Syscall, short_index};
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};

use super::{
    call::Call,
    counter::{add_shared, entry},
    globals::offset,
    object::{Object, used_file_of},
    position::{UNKNOWN, at},
    read::{far, forget},
    task::current_task,
};

#[map]
pub(crate) static SHORTS: HashMap<ShortKey, Short> = HashMap::with_max_entries(1, 0);
#[map]
pub(crate) static SHORTS_OTHER: Array<Short> = Array::with_max_entries(1, 0);

// include/uapi/asm-generic/errno-base.h
const EAGAIN: i64 = 11;
// include/uapi/asm-generic/fcntl.h
const O_NONBLOCK: u32 = 0o4000;
/// At least this much, and the call moved all that one may: `MAX_RW_COUNT`, with the largest pages that there are.
const LIMIT: u64 = 0x7fff_0000;

/// Counts a call that moved nothing, if it is a `sendfile` into a socket that has no room, or out of a file that has ended.
#[inline(always)]
pub(crate) fn note_nothing(target: u32, call: &Call, syscall: Syscall, ret: i64) {
    if syscall as u8 == Syscall::Sendfile as u8 && (ret == 0 || ret == -EAGAIN) && call.argument(3) != 0 {
        let reason = if ret == 0 { ShortReason::EndOfFile } else { ShortReason::Again };
        note_unsent(call.argument(0), target as u64, reason as u64, call.argument(3));
    }
}

/// Counts `asked` bytes that did not leave through a descriptor, if it is a socket. A global function: what is
/// rarely done, the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_unsent(descriptor: u64, target: u64, reason: u64, asked: u64) -> u64 {
    let sink = Object::of(current_task(), target as u32, descriptor as u32);
    if sink.kind == Endpoint::Socket as u8 {
        count(target | (sink.port as u64) << 32, reason, asked, 0);
    }
    0
}

/// Counts a call that moved `bytes` out of an open file, up to `end`, into a socket, and was asked for more. `whose` is the target and
/// the port; `descriptors` the file's and the socket's. A global function for the same reason.
#[unsafe(export_name = "note_short")]
#[inline(never)]
pub(super) extern "C" fn note(whose: u64, descriptors: u64, end: u64, asked: u64, bytes: u64) -> u64 {
    let task = current_task();
    let reason = if bytes >= LIMIT {
        ShortReason::Limit
    } else if has_ended(task, descriptors as u32, end) {
        ShortReason::EndOfFile
    } else {
        waits(task, (descriptors >> 32) as u32)
    };
    count(whose, forget(reason as u64, whose), asked, bytes)
}

/// Whether an open file has nothing behind this position.
#[inline(always)]
fn has_ended(task: *const u8, descriptor: u32, end: u64) -> bool {
    let inode = used_file_of(task, descriptor).and_then(|file| far::<*const u8, _>(file, offset!(file_inode)));
    let size = inode.and_then(|inode| far::<u64, _>(inode, at!(inode_size)));
    size.is_some_and(|size| size <= end && end < UNKNOWN / 2)
}

#[inline(always)]
fn waits(task: *const u8, descriptor: u32) -> ShortReason {
    let flags = used_file_of(task, descriptor).and_then(|file| far::<u32, _>(file, at!(file_flags))).unwrap_or(0);
    if flags & O_NONBLOCK != 0 { ShortReason::SendBuffer } else { ShortReason::Interrupted }
}

/// Adds to what is known of calls that sent less than was asked.
#[inline(always)]
fn count(whose: u64, reason: u64, asked: u64, sent: u64) -> u64 {
    let key = ShortKey { target: whose as u16, reason: reason as u16, port: (whose >> 32) as u32 };
    let entry = entry(&SHORTS, &key, Short { calls: 0, asked: 0, sent: 0 });
    let first = short_index(whose as u16 as u32, ShortReason::SendBuffer);
    let Some(entry) = entry.or_else(|| SHORTS_OTHER.get_ptr_mut(first + reason as u32)) else { return 0 };
    // SAFETY: fields of a map's value.
    unsafe {
        add_shared(&raw mut (*entry).calls, 1);
        add_shared(&raw mut (*entry).asked, asked);
        if sent != 0 {
            add_shared(&raw mut (*entry).sent, sent);
        }
    }
    0
}
