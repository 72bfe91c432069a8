//! Whether a task belongs to a process that is watched.

use agent_ebpf::{TARGET_BUCKETS, TARGET_PROBES, Target};

use super::{globals::offset, maps::TARGETS, read::near};

/// The target with this thread-group id. A reference, since the parts of a value that is none are registers that nobody has
/// written to, which the compiler may copy and the verifier may not see.
#[inline(always)]
pub(crate) fn target(tgid: u32) -> Option<&'static Target> {
    let mut probe = 0;
    while probe < TARGET_PROBES {
        let bucket = TARGETS.get_ptr((tgid + probe) % TARGET_BUCKETS)?;
        // SAFETY: a map's value, which lives as long as the program; the agent writes a bucket's other fields before its `tgid`.
        let (bucket, found) = unsafe { (&*bucket, core::ptr::read_volatile(&raw const (*bucket).tgid)) };
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
    let start = near::<*const u8>(task, offset!(task_group_leader))
        .and_then(|leader| near::<u64>(leader, offset!(task_start_boottime)));
    start == Some(target.start_boottime)
}
