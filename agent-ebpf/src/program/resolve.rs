//! From the PID that the agent sees to the identity that the hooks compare.

use aya_ebpf::helpers::bpf_get_current_task;

use super::{globals::offset, maps::RESOLVE, read::probe};

/// Looks at one task of the iterator. The iterator shows the tasks of the reader's PID namespace and those below it.
#[inline(always)]
pub(crate) fn on_task(ctx: *mut core::ffi::c_void) {
    // struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }, the second null at the end.
    // SAFETY: the verifier checks the read of the context.
    let task = unsafe { *ctx.cast::<u64>().add(1) };
    if task == 0 {
        return;
    }
    let Some(resolve) = RESOLVE.get_ptr_mut(0) else { return };
    // SAFETY: a pointer to a map's value; only the one reader of the iterator runs this.
    let resolve = unsafe { &mut *resolve };
    if find(task, resolve.pid) {
        resolve.tgid = probe::<u32>(task, offset!(task_tgid).number()).unwrap_or(0);
        resolve.start_boottime = probe::<u64>(task, offset!(task_start_boottime).number()).unwrap_or(0);
    }
}

/// Whether `task` leads the thread group that is called `pid` in the namespace of the task that runs this.
#[inline(always)]
fn find(task: u64, pid: u32) -> bool {
    let is_leader = probe::<u32>(task, offset!(task_pid).number()) == probe::<u32>(task, offset!(task_tgid).number());
    is_leader && number(task) == Some(pid)
}

#[inline(always)]
fn number(task: u64) -> Option<u32> {
    // SAFETY: the helper returns the running task.
    let reader = unsafe { bpf_get_current_task() };
    let reader_pid = probe::<u64>(reader, offset!(task_thread_pid).number())?;
    let level = probe::<u32>(reader_pid, offset!(pid_level).number())?;
    let pid = probe::<u64>(task, offset!(task_thread_pid).number())?;
    // struct pid ends in struct upid numbers[], one for each namespace from the initial one down.
    probe::<u32>(
        pid + level as u64 * offset!(upid_size).number() as u64,
        offset!(pid_numbers).number() + offset!(upid_nr).number(),
    )
}
