//! Why a process can't be watched, and what to do.

use std::io;

/// Why a process can't be watched.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// There is none.
    #[error(
        "there is no process {0}. `pgrep -f kafka.Kafka` finds a broker; in a container, its PID there differs from the host's"
    )]
    NoProcess(u32),
    /// Part of the kernel.
    #[error(
        "process {pid} ({comm}) is a kernel thread: it makes no system calls. `pgrep -f kafka.Kafka` finds a broker"
    )]
    KernelThread {
        /// Its PID.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// One thread of a process.
    #[error("{tid} is a thread of process {pid}, and zctrace watches all threads of a process: use `--pid {pid}`")]
    Thread {
        /// What was asked for.
        tid: u32,
        /// Its process.
        pid: u32,
    },
    /// This process.
    #[error("that is zctrace itself, which only reads its own maps: give the PID of the process to watch")]
    Zctrace,
    /// Ended, not yet waited for.
    #[error("process {0} has ended already and only waits for its parent to notice (a zombie)")]
    Zombie(u32),
    /// Hidden or closed to this user.
    #[error(
        "process {pid} can't be looked at: {reason}. Looking into another user's process takes the capability \
         CAP_SYS_PTRACE (`zctrace doctor` shows how to grant it); with /proc mounted with hidepid, also its group"
    )]
    NotPermitted {
        /// Its PID.
        pid: u32,
        /// What the kernel said.
        reason: String,
    },
    /// /proc shows other PIDs than the kernel gives this process.
    #[error(
        "/proc here belongs to another PID namespace than zctrace's own, so its PIDs mean other processes. Mount a \
         /proc of this namespace (`mount -t proc proc /proc`), or run zctrace in the namespace that /proc shows \
         (for a container: share the host's, as by --pid=host)"
    )]
    OtherNamespace,
    /// No /proc.
    #[error("/proc can't be read: {0}. Mount it: `mount -t proc proc /proc`")]
    NoProc(String),
    /// The kernel can't tell when a process ends.
    #[error("the kernel can't tell when process {pid} ends: {reason}. zctrace needs pidfd_open (Linux 5.3)")]
    NoPidfd {
        /// Its PID.
        pid: u32,
        /// What the kernel said.
        reason: String,
    },
}

impl TargetError {
    pub(super) fn from_io(pid: u32, error: &io::Error) -> Self {
        // ESRCH: the process ended while it was looked at.
        if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) {
            Self::NoProcess(pid)
        } else {
            Self::NotPermitted { pid, reason: error.to_string() }
        }
    }

    /// Whether a privilege would mend it.
    #[must_use]
    pub const fn is_permission(&self) -> bool {
        matches!(self, Self::NotPermitted { .. })
    }
}
