//! Calls of `sendfile` that sent less than was asked.

use agent_ebpf::{Endpoint, SHORT_REASONS, Short, ShortReason, Shorts, Syscall, TransferKey, short_index};
use aya_ebpf::{macros::map, maps::Array};

use super::{
    account::NOWHERE,
    call::Call,
    counter::add_shared,
    maps::ALIGNED,
    object::Object,
    position::UNKNOWN,
    read::forget,
    recent::{Kind, transfer_index},
    task::current_task,
};

#[map]
pub(crate) static SHORTS: Array<Shorts> = Array::with_max_entries(1, ALIGNED);
#[map]
pub(crate) static SHORTS_OTHER: Array<Short> = Array::with_max_entries(1, 0);

// include/uapi/asm-generic/errno-base.h
const EAGAIN: i64 = 11;
// include/uapi/asm-generic/fcntl.h
const O_NONBLOCK: u64 = 0o4000;
/// At least this much, and the call moved all that one may: `MAX_RW_COUNT`, with the largest pages that there are.
const LIMIT: u64 = 0x7fff_0000;

/// Counts a call that moved nothing, if it is a `sendfile` into a socket that has no room, or out of a file that has ended.
#[inline(always)]
pub(crate) fn note_nothing(target: u32, call: &Call, syscall: Syscall, ret: i64) {
    if syscall as u8 == Syscall::Sendfile as u8 && (ret == 0 || ret == -EAGAIN) && call.argument(3) != 0 {
        let reason = if ret == 0 { ShortReason::EndOfFile } else { ShortReason::Again };
        let descriptors = call.descriptor(0) as u64 | call.argument(1) << 32;
        note_unsent(descriptors, target as u64, reason as u64, call.argument(3));
    }
}

/// Counts `asked` bytes that did not leave through a descriptor, in the lower half, if it is a socket; the file's is in the upper one.
/// A global function: what is rarely done, the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_unsent(descriptors: u64, target: u64, reason: u64, asked: u64) -> u64 {
    let (task, slot) = (current_task(), target as u32);
    let sink = Object::of(task, slot, descriptors as u32);
    if sink.kind != Endpoint::Socket as u8 {
        return 0;
    }
    let source = Object::of(task, slot, (descriptors >> 32) as u32);
    let kind = TransferKey {
        target: target as u16,
        syscall: Syscall::Sendfile as u8,
        source: source.kind,
        sink: sink.kind,
        flags: 0,
        padding: 0,
        port: sink.port,
    };
    count(slot, transfer_index(Kind::of(&kind)).unwrap_or(NOWHERE), reason, asked, 0);
    0
}

/// Why a call into a socket sent less than was asked, which sent `bytes` up to `end` of a file of this `size`.
#[inline(always)]
pub(super) fn reason(size: u64, socket_flags: u64, end: u64, bytes: u64) -> ShortReason {
    if bytes >= LIMIT {
        ShortReason::Limit
    } else if size <= end && end < UNKNOWN / 2 {
        ShortReason::EndOfFile
    } else if socket_flags & O_NONBLOCK != 0 {
        ShortReason::SendBuffer
    } else {
        ShortReason::Interrupted
    }
}

/// Adds to what is known of calls that sent less than was asked: with their kind of transfer, which is counted at `kind`.
#[inline(always)]
pub(super) fn count(target: u32, kind: u32, reason: u64, asked: u64, sent: u64) {
    let entry = match SHORTS.get_ptr_mut(kind) {
        Some(kind) => {
            // Looked at just here: what old verifiers know of a number is lost where it is put by.
            let reason = forget(reason, asked);
            if reason >= SHORT_REASONS as u64 {
                return;
            }
            // SAFETY: the index is below the length of the value.
            unsafe { (&raw mut (*kind).by_reason).cast::<Short>().add(reason as usize) }
        }
        None => match SHORTS_OTHER.get_ptr_mut(short_index(target, ShortReason::SendBuffer) + reason as u32) {
            Some(entry) => entry,
            None => return,
        },
    };
    // SAFETY: fields of a map's value.
    unsafe {
        add_shared(&raw mut (*entry).calls, 1);
        add_shared(&raw mut (*entry).asked, asked);
        if sent != 0 {
            add_shared(&raw mut (*entry).sent, sent);
        }
    }
}
