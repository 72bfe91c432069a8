//! Which process is watched, and how the program in the kernel recognises it.

/// How many processes can be watched at once.
pub const MAX_TARGETS: u32 = 64;

/// Buckets of the target table. A process is looked up at `tgid & (TARGET_BUCKETS - 1)`, then in the buckets after it,
/// [`TARGET_PROBES`] in all, ending at an empty one. Most processes of a host hit an empty bucket at once.
pub const TARGET_BUCKETS: u32 = 4096;

/// The map of all buckets: one value.
pub const TARGETS_SECTION: &str = ".bss.targets";

/// [`Target::tgid`] of a bucket that was in use: the search goes on behind it. No thread group has this id.
pub const TARGET_REMOVED: u32 = u32::MAX;

/// How many buckets are looked at.
pub const TARGET_PROBES: u32 = 4;

/// One watched process. All zero is an empty bucket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Thread-group id in the initial PID namespace.
    pub tgid: u32,
    /// Where its counts lie in the maps: `0..MAX_TARGETS`.
    pub slot: u16,
    /// 0: only its listeners are noted, while the agent looks up those that it has already; 1: its calls are counted.
    pub counting: u16,
    /// `task_struct.group_leader->start_boottime`, in nanoseconds: with it, another process that gets the same PID is
    /// another process. The leader's start time survives `execve`.
    pub start_boottime: u64,
}

/// What the agent asks the resolver (an iterator over tasks) and what it answers.
///
/// The resolver exists because a PID is a number in a namespace: the agent may run in a container while the kernel
/// compares numbers of the initial namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolve {
    /// Asked: the PID in the agent's own namespace.
    pub pid: u32,
    /// Answered: thread-group id in the initial namespace, 0 if there is no such thread-group leader.
    pub tgid: u32,
    /// Answered: see [`Target::start_boottime`].
    pub start_boottime: u64,
}
