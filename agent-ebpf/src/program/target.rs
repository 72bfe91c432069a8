//! Whether a task belongs to a process that is watched.

use agent_ebpf::{TARGET_BUCKETS, TARGET_PROBES, Target};

use super::{
    globals::{TARGETS, offset},
    read::near,
};

/// The target with this thread-group id. A reference, since the parts of a value that is none are registers that nobody has
/// written to, which the compiler may copy and the verifier may not see.
#[inline(always)]
pub(crate) fn target(tgid: u32) -> Option<&'static Target> {
    let mut probe = 0;
    while probe < TARGET_PROBES {
        // SAFETY: the index is below their number; the agent writes a bucket in one go, and its `counting` in another.
        let (bucket, found) = unsafe {
            let bucket = TARGETS.get().cast::<Target>().add(((tgid + probe) % TARGET_BUCKETS) as usize);
            (&*bucket, core::ptr::read_volatile(&raw const (*bucket).tgid))
        };
        if found == tgid {
            return Some(bucket);
        }
        if found == 0 {
            return None;
        }
        probe += 1;
    }
    None
}

/// Whether the running task belongs to the process that was meant, not to a later one with its PID.
#[inline(always)]
pub(crate) fn is_same(task: *const u8, target: &Target) -> bool {
    let start = near::<*const u8, _>(task, offset!(task_group_leader))
        .and_then(|leader| near::<u64, _>(leader, offset!(task_start_boottime)));
    start == Some(target.start_boottime)
}
