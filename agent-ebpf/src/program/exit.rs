//! What happens at the exit of a system call, on every leg.

use agent_ebpf::{
    Class, Counter, Syscall, TARGET_BUCKETS, TARGET_PROBES, Target,
    syscall::{CONTROL_IO_URING_ENTER, CONTROL_LISTEN, NOT_COUNTED},
};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task_btf};

use super::{
    account::{self, count},
    call::Call,
    globals::offset,
    maps::{SCRATCH, TARGETS},
    object::Object,
    read::{load, user},
};

// include/linux/socket.h
const MSG_ZEROCOPY: u64 = 0x400_0000;
/// `UIO_MAXIOV`: `sendmmsg` and `recvmmsg` handle no more messages in a call (`net/socket.c`).
const MAX_MESSAGES: u64 = 1024;

/// Counts the call that is returning `ret`, if a target made it. Most calls of a host end at the first `return`.
#[inline(always)]
pub(crate) fn on_exit(ret: i64, regs: impl FnOnce() -> *const u8) {
    let ids = bpf_get_current_pid_tgid();
    let Some(target) = target((ids >> 32) as u32) else { return };
    let slot = target.slot as u32;
    // SAFETY: the helper returns the running task.
    let task = unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const();
    let call = Call::decode(task, regs());
    if call.x32 {
        count(slot, Counter::X32, 1);
        return;
    }
    if call.code == NOT_COUNTED || !is_same(task, &target) {
        return;
    }
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
                on_counted(task, slot, ids as u32, &call, syscall, ret);
            }
        }
    }
}

/// The target with this thread-group id.
#[inline(always)]
fn target(tgid: u32) -> Option<Target> {
    let mut probe = 0;
    while probe < TARGET_PROBES {
        let bucket = TARGETS.get_ptr((tgid + probe) % TARGET_BUCKETS)?;
        // SAFETY: a map's value; the agent writes a bucket's other fields before its `tgid`.
        let bucket = unsafe { core::ptr::read_volatile(bucket) };
        if bucket.tgid == tgid {
            return Some(bucket);
        }
        if bucket.tgid == 0 {
            return None;
        }
        probe += 1;
    }
    None
}

/// Whether the running task belongs to the process that was meant, not to a later one with its PID.
#[inline(always)]
fn is_same(task: *const u8, target: &Target) -> bool {
    // SAFETY: typed pointers.
    let start = unsafe {
        let leader = load::<*const u8>(task, offset!(task_group_leader));
        load::<u64>(leader, offset!(task_start_boottime))
    };
    start == target.start_boottime
}

#[inline(always)]
fn on_counted(task: *const u8, slot: u32, tid: u32, call: &Call, syscall: Syscall, ret: i64) {
    let code = syscall as u8;
    if ret <= 0 {
        account::result(slot, code, ret.unsigned_abs() as u32);
        return;
    }
    let mut flags = 0;
    let (source, sink) = match syscall.class() {
        Class::Read => (Object::of(task, slot, call.descriptor(0)), Object::MEMORY),
        Class::Write => {
            flags = zerocopy_flag(call, syscall);
            (Object::MEMORY, Object::of(task, slot, call.descriptor(0)))
        }
        Class::Vmsplice => {
            let pipe = Object::of(task, slot, call.descriptor(0));
            // fs/splice.c, vmsplice: a writable end takes from memory.
            if pipe.is_writable() { (Object::MEMORY, pipe) } else { (pipe, Object::MEMORY) }
        }
        Class::InKernel => {
            let (from, to) = match syscall {
                Syscall::Sendfile => (1, 0),
                Syscall::Tee => (0, 1),
                _ => (0, 2), // splice, copy_file_range
            };
            (Object::of(task, slot, call.descriptor(from)), Object::of(task, slot, call.descriptor(to)))
        }
    };
    let bytes = match syscall {
        Syscall::Sendmmsg | Syscall::Recvmmsg => message_bytes(slot, call, ret as u64),
        _ => ret as u64,
    };
    account::moved(slot, tid, code, flags, &source, &sink, bytes);
}

#[inline(always)]
fn zerocopy_flag(call: &Call, syscall: Syscall) -> u8 {
    let flags = match syscall {
        Syscall::Sendto | Syscall::Sendmmsg => call.argument(3),
        Syscall::Sendmsg => call.argument(2),
        _ => return 0,
    };
    if flags & MSG_ZEROCOPY != 0 { agent_ebpf::FLAG_MSG_ZEROCOPY } else { 0 }
}

/// `sendmmsg` and `recvmmsg` return messages; the bytes of each are in its `msg_len`, which the kernel has just
/// written.
#[inline(always)]
fn message_bytes(target: u32, call: &Call, messages: u64) -> u64 {
    // struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; }, padded to pointers (include/linux/socket.h).
    let (size, length) = if call.compat { (32, 28) } else { (64, 56) };
    let vector = call.argument(1);
    let mut bytes = 0;
    let mut message = 0;
    while message < MAX_MESSAGES {
        if message >= messages {
            break;
        }
        let Some(length) = user::<u32>(vector + message * size + length) else {
            count(target, Counter::LengthUnknown, 1);
            break;
        };
        bytes += length as u64;
        message += 1;
    }
    forget_range(bytes)
}

/// The same number, of which the verifier no longer knows the range. It would otherwise walk the rest of the program
/// once for each of the loop's ends, and give up.
#[inline(always)]
fn forget_range(number: u64) -> u64 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's own scratch value.
    unsafe {
        core::ptr::write_volatile(scratch, number);
        core::ptr::read_volatile(scratch)
    }
}
