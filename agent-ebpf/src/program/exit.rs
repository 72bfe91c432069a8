//! What happens at the exit of a system call, on every leg.

use super::{
    account,
    call::Call,
    counter::count,
    globals::has,
    messages,
    object::{Object, is_writable},
    order::Plan,
    position::Began,
    read::forget,
    refused, short,
    target::{is_same, target},
    task::{running, running_task, thread_ids},
    thread::Memory,
    transfer::Moved,
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
    let task = if has!(run_queue) { task } else { running_task() };
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
                on_counted(task, slot, thread_ids(task, tgid), &call, syscall, ret);
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
        if has!(order) {
            short::note_nothing(slot, call, syscall, ret);
        }
        return;
    }
    let class = syscall.class();
    let descriptor = call.descriptor(0);
    let bytes = match syscall {
        Syscall::Sendmmsg | Syscall::Recvmmsg => messages::bytes(slot, call, ret as u64),
        _ => ret as u64,
    };
    // The calls differ in what the verifier knows of them; once that is forgotten they are one, here and below.
    let (code, bytes) = (forget(code as u64, ids) as u8, forget(bytes, ids));
    let moved = Moved { task, target: slot, ids, syscall: code, bytes };
    if matches!(class, Class::InKernel) {
        let plan = if has!(order) { Plan::of(call, syscall, ids) } else { Plan::NONE };
        let (source, sink) = match syscall {
            Syscall::Sendfile => (call.descriptor(1), descriptor),
            Syscall::Tee => (descriptor, call.descriptor(1)),
            _ => (descriptor, call.descriptor(2)), // splice, copy_file_range
        };
        let (source, sink) = (forget(source as u64, ids) as u32, forget(sink as u64, ids) as u32);
        let (source, sink) = (Object::of_end(task, slot, source), Object::of_end(task, slot, sink));
        let places = moved.in_kernel(&source, &sink);
        if has!(order) {
            plan.note(&moved, &source, &sink, &places);
        }
        return;
    }
    let began = if has!(order) { Began::of(call, syscall, ids) } else { Began::UNKNOWN };
    // fs/splice.c, vmsplice: a writable end takes from memory.
    let is_read = matches!(class, Class::Read) || matches!(class, Class::Vmsplice) && !is_writable(task, descriptor);
    if is_read {
        let source = Object::of_used(task, slot, forget(descriptor as u64, ids) as u32);
        moved.into_memory(&source, &began);
        return;
    }
    let memory = sent_from(call, syscall);
    let flags = forget(zerocopy_flag(call, syscall) as u64, ids) as u8;
    let memory = Memory { address: forget(memory.address, ids), is_vector: forget(memory.is_vector as u64, ids) != 0 };
    let sink = Object::of_used(task, slot, forget(descriptor as u64, ids) as u32);
    moved.out_of_memory(&sink, flags, memory, &began);
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
