//! What happens at the exit of a system call, on every leg.

use super::{
    account,
    call::Call,
    counter::count,
    globals::has,
    messages,
    object::{Object, is_writable},
    order::{self, Plan},
    read::forget,
    refused,
    target::{is_same, target},
    task::{running, running_task, thread_ids},
    thread::Memory,
    transfer::{self, Ends},
};
use agent_ebpf::{
    Class, Counter, FLAG_MSG_ZEROCOPY, Syscall,
    syscall::{CONTROL_IO_URING_ENTER, CONTROL_LISTEN, NOT_COUNTED},
};

// include/linux/socket.h
const MSG_ZEROCOPY: u64 = 0x400_0000;

/// Counts the call that is returning `ret`, if a target made it. Most calls of a host end at the first `return`.
#[inline(always)]
pub(crate) fn on_exit(ret: i64, regs: impl FnOnce() -> *const u8) {
    let Some((tgid, task)) = running() else { return };
    let Some(target) = target(tgid) else { return };
    let slot = target.slot as u32;
    let task = if has(|features| &features.run_queue) { task } else { running_task() };
    let regs = regs();
    let mut call = Call::decode(task, regs);
    if call.x32 {
        count(slot, Counter::X32, 1);
        return;
    }
    if call.code == NOT_COUNTED || !is_same(task, target) {
        return;
    }
    call.read_arguments(regs);
    if call.code == CONTROL_LISTEN {
        if ret == 0 {
            let _ = Object::remember_listener(task, slot, call.descriptor(0));
        }
        return;
    }
    if target.counting == 0 {
        return;
    }
    if call.compat {
        count(slot, Counter::Compat, 1);
    }
    match call.code {
        CONTROL_IO_URING_ENTER => count(slot, Counter::IoUringEnters, 1),
        counted => {
            if let Some(syscall) = Syscall::from_u8(counted.wrapping_sub(1)) {
                on_counted(task, slot, thread_ids(task), &call, syscall, ret);
            }
        }
    }
}

#[inline(always)]
fn on_counted(task: *const u8, slot: u32, ids: u64, call: &Call, syscall: Syscall, ret: i64) {
    let code = syscall as u8;
    if ret <= 0 {
        account::result(slot, code, ret.unsigned_abs() as u32);
        refused::note(task, slot, call, syscall, ret);
        if has(|features| &features.order) {
            order::note_nothing(slot, call, syscall, ret);
        }
        return;
    }
    let plan = if has(|features| &features.order) { Plan::of(call, syscall, ids) } else { Plan::NONE };
    // One descriptor, and user memory at the other end; or two.
    let (first, second) = match syscall {
        Syscall::Sendfile => (call.descriptor(1), call.descriptor(0)),
        Syscall::Tee => (call.descriptor(0), call.descriptor(1)),
        _ => (call.descriptor(0), call.descriptor(2)), // splice, copy_file_range; those with one descriptor
    };
    let memory = sent_from(call, syscall);
    // The calls differ in what the verifier knows of them; from here on they are one.
    let class = forget(syscall.class() as u64, ids);
    let flags = forget(zerocopy_flag(call, syscall) as u64, ids) as u8;
    let is_messages = forget(matches!(syscall, Syscall::Sendmmsg | Syscall::Recvmmsg) as u64, ids);
    let code = forget(code as u64, ids) as u8;
    let (first, second) = (forget(first as u64, ids) as u32, forget(second as u64, ids) as u32);
    let memory = Memory { address: forget(memory.address, ids), is_vector: forget(memory.is_vector as u64, ids) != 0 };
    let mut ends =
        Ends { first: Object::of(task, slot, first), second: Object::MEMORY, to_first: false, flags, memory };
    if class == Class::Write as u64 {
        ends.to_first = true;
    } else if class == Class::Vmsplice as u64 {
        // fs/splice.c, vmsplice: a writable end takes from memory.
        ends.to_first = is_writable(task, first);
    } else if class == Class::InKernel as u64 {
        ends.second = Object::of(task, slot, second);
    }
    let bytes = if is_messages != 0 { messages::bytes(slot, call, ret as u64) } else { ret as u64 };
    let places = transfer::moved(slot, ids, code, &ends, bytes);
    if has(|features| &features.order) {
        plan.note(slot, ids, &places, bytes);
    }
}

#[inline(always)]
fn zerocopy_flag(call: &Call, syscall: Syscall) -> u8 {
    let flags = match syscall {
        Syscall::Sendto | Syscall::Sendmmsg => call.argument(3),
        Syscall::Sendmsg => call.argument(2),
        _ => return 0,
    };
    if flags & MSG_ZEROCOPY != 0 { FLAG_MSG_ZEROCOPY } else { 0 }
}

/// Where what was sent lies in the process's memory, where that is looked at.
#[inline(always)]
fn sent_from(call: &Call, syscall: Syscall) -> Memory {
    match syscall {
        Syscall::Write | Syscall::Sendto => Memory { address: call.argument(1), is_vector: false },
        Syscall::Writev if !call.compat => Memory { address: call.argument(1), is_vector: true },
        _ => Memory::NONE,
    }
}
