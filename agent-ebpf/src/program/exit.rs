//! What happens at the exit of a system call, on every leg.

use super::{
    account,
    call::Call,
    counter::count,
    globals::has,
    messages,
    object::{Object, is_writable},
    order::{self, Plan},
    read::user,
    refused,
    target::{is_same, target},
    task::{running, running_task, thread_ids},
    thread,
    transfer::{self, Ends},
};
use agent_ebpf::{
    Class, Counter, Endpoint, FLAG_MSG_ZEROCOPY, FLAG_TLS, Syscall,
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
    let class = syscall.class();
    // One descriptor, and user memory at the other end; or two.
    let (first, second) = match syscall {
        Syscall::Sendfile => (call.descriptor(1), call.descriptor(0)),
        Syscall::Tee => (call.descriptor(0), call.descriptor(1)),
        _ => (call.descriptor(0), call.descriptor(2)), // splice, copy_file_range; those with one descriptor
    };
    let mut ends = Ends { first: Object::of(task, slot, first), second: Object::MEMORY, to_first: false, flags: 0 };
    match class {
        Class::Read => {}
        Class::Write => {
            ends.to_first = true;
            ends.flags = zerocopy_flag(call, syscall);
            if ends.first.kind as u8 == Endpoint::Socket as u8 {
                ends.flags |= tls_flag(call, syscall, slot, ids as u32, ends.first.port);
            }
        }
        // fs/splice.c, vmsplice: a writable end takes from memory.
        Class::Vmsplice => ends.to_first = is_writable(task, first),
        Class::InKernel => ends.second = Object::of(task, slot, second),
    }
    let bytes = match syscall {
        Syscall::Sendmmsg | Syscall::Recvmmsg => messages::bytes(slot, call, ret as u64),
        _ => ret as u64,
    };
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

/// Whether what was sent begins with the header of a TLS record (RFC 8446, 5.1): a content type from 20 to 24, the version
/// 3.x. What begins in the middle of a record, after one was cut short, does not. See [`agent_ebpf::Looks`].
#[inline(always)]
fn tls_flag(call: &Call, syscall: Syscall, slot: u32, tid: u32, port: u32) -> u8 {
    let is_vector = match syscall {
        Syscall::Write | Syscall::Sendto => false,
        Syscall::Writev if !call.compat => true,
        _ => return 0,
    };
    let look = || {
        let start = call.argument(1);
        // struct iovec begins with the address.
        let start = if is_vector { user::<u64>(start) } else { Some(start) };
        let header = start.and_then(user::<u32>).unwrap_or(0);
        let (content, major, minor) = (header & 0xff, header >> 8 & 0xff, header >> 16 & 0xff);
        content >= 20 && content <= 24 && major == 3 && minor <= 4
    };
    if thread::sends_header(slot, tid, port, look) { FLAG_TLS } else { 0 }
}
