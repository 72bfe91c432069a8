//! The running task.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_smp_processor_id,
    generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs},
};

use super::{
    globals::{PROCESSORS, RUN_QUEUES, has, offset},
    read::{cast, far, near},
};

/// Thread-group id of the running task, in the initial PID namespace, and the task itself where finding the one finds the
/// other. Null otherwise, not `None`: see [`super::target::target`].
#[inline(always)]
pub(crate) fn running() -> Option<(u32, *const u8)> {
    if has!(run_queue) {
        let task = of_run_queue()?;
        return Some((far::<u32, _>(task, offset!(task_tgid))?, task));
    }
    Some(((bpf_get_current_pid_tgid() >> 32) as u32, core::ptr::null()))
}

/// What the kernel calls the thread: its id in the lower half, its thread group's, `tgid`, in the upper one.
#[inline(always)]
pub(crate) fn thread_ids(task: *const u8, tgid: u32) -> u64 {
    if has!(run_queue) {
        return (tgid as u64) << 32 | far::<u32, _>(task, offset!(task_pid)).unwrap_or(0) as u64;
    }
    bpf_get_current_pid_tgid()
}

/// The running task by the cheapest way.
#[inline(always)]
pub(crate) fn current_task() -> *const u8 {
    if has!(run_queue)
        && let Some(task) = of_run_queue()
    {
        return task;
    }
    running_task()
}

/// `struct task_struct *`, for [`super::read::near`].
#[inline(always)]
pub(crate) fn running_task() -> *const u8 {
    if has!(typed_task) {
        // SAFETY: the helper only returns a pointer.
        let task = unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const();
        // At each step from a pointer that it trusts the verifier looks for a name among all of the kernel's types, which took a
        // fourth of its time; a cast one it does not trust, and lets it be read as well.
        cast(task, offset!(id_task))
    } else {
        // SAFETY: as above.
        unsafe { bpf_get_current_task() as *const u8 }
    }
}

/// `rq->curr` of this CPU, which is the running task whenever it runs (kernel/sched/core.c); a program stays on its CPU. A
/// task's `se.cfs_rq` leads to the run queue that it is on, whatever its scheduling class (`set_task_rq`,
/// kernel/sched/sched.h).
#[inline(always)]
fn of_run_queue() -> Option<*const u8> {
    // The processor's number is read from memory that it has at hand, without a call (`bpf_do_misc_fixups`, since Linux 6.10).
    // SAFETY: the helper only returns a number.
    let processor = unsafe { bpf_get_smp_processor_id() };
    if processor >= PROCESSORS {
        return Some(running_task());
    }
    // SAFETY: the index is below their number; a word that only this CPU writes to.
    let (known, address) = unsafe {
        let known = RUN_QUEUES.get().cast::<u64>().add(processor as usize);
        (known, core::ptr::read_volatile(known))
    };
    if address != 0 {
        return current_of(address);
    }
    let task = running_task();
    let address = far::<u64, _>(near::<*const u8, _>(task, offset!(task_cfs_rq))?, offset!(cfs_rq_rq))?;
    // Believed only once it has been seen to be right.
    if current_of(address)? == task {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(known, address) };
    }
    Some(task)
}

#[inline(always)]
fn current_of(run_queue: u64) -> Option<*const u8> {
    far::<*const u8, _>(cast(run_queue as *const u8, offset!(id_rq)), offset!(rq_curr))
}

/// `struct pt_regs *` that the running task's system call saved. A tracepoint's own context begins with other registers:
/// those of the function that called the program (`perf_fetch_caller_regs`, kernel/trace/trace_syscalls.c).
#[inline(always)]
pub(crate) fn saved_registers() -> *const u8 {
    // SAFETY: both helpers only return pointers into the running task.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as *const u8 }
}
