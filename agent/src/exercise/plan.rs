//! Which calls to make.

use std::{fmt, path::Path, str::FromStr};

use super::{
    ExerciseError,
    plans::{self, Calls},
};

/// Which calls to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Every call at least once, every pair of endpoints that the kernel allows.
    Basic,
    /// Partial writes, EAGAIN, other errors, ends of files.
    Partial,
    /// Many threads, started in the middle.
    Threads,
    /// Descriptors closed and reused at once, duplicated, high, received from another process.
    Fds,
    /// As many calls as fast as possible: this many in all.
    Storm(u64),
    /// Listeners that open in the middle.
    LateListener,
    /// The 32-bit system-call table.
    Compat,
    /// A socket whose bytes the kernel encrypts.
    KernelTls,
    /// MSG_ZEROCOPY.
    ZeroCopy,
    /// io_uring, which no counted call shows.
    IoUring,
    /// A broker's ways to send, one a listener: by zero copy, as TLS, out of files, refused.
    Flows,
    /// A file that is not in memory.
    Cold,
    /// So many threads that live at the same time.
    Crowd(u64),
    /// Threads that make it hard to tell whose data they send.
    Days,
    /// So many sends that it is settled whether they are TLS.
    Settled,
    /// Calls that take a known time at least: 60 ms.
    Slow,
}

impl Plan {
    pub(super) fn prepare(&self, dir: &Path) -> Result<Calls, ExerciseError> {
        match self {
            Self::Basic => plans::basic::prepare(dir),
            Self::Partial => plans::partial::prepare(dir),
            Self::Threads => plans::threads::prepare(dir),
            Self::Fds => plans::fds::prepare(dir),
            Self::Storm(calls) => plans::storm::prepare(dir, *calls),
            Self::LateListener => plans::listener::prepare(),
            Self::Compat => plans::compat::prepare(dir),
            Self::KernelTls => plans::kernel_tls::prepare(dir),
            Self::ZeroCopy => plans::zerocopy::prepare(),
            Self::IoUring => plans::io_uring::prepare(dir),
            Self::Flows => plans::flows::prepare(dir),
            Self::Cold => plans::cold::prepare(dir),
            Self::Crowd(threads) => plans::crowd::prepare(dir, usize::try_from(*threads).unwrap_or(usize::MAX)),
            Self::Days => plans::days::prepare(dir),
            Self::Settled => plans::settled::prepare(dir),
            Self::Slow => plans::slow::prepare(dir),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic => f.write_str("basic"),
            Self::Partial => f.write_str("partial"),
            Self::Threads => f.write_str("threads"),
            Self::Fds => f.write_str("fds"),
            Self::Storm(calls) => write!(f, "storm={calls}"),
            Self::LateListener => f.write_str("late-listener"),
            Self::Compat => f.write_str("compat"),
            Self::KernelTls => f.write_str("kernel-tls"),
            Self::ZeroCopy => f.write_str("zerocopy"),
            Self::IoUring => f.write_str("io-uring"),
            Self::Flows => f.write_str("flows"),
            Self::Cold => f.write_str("cold"),
            Self::Crowd(threads) => write!(f, "crowd={threads}"),
            Self::Days => f.write_str("days"),
            Self::Settled => f.write_str("settled"),
            Self::Slow => f.write_str("slow"),
        }
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "basic" => Self::Basic,
            "partial" => Self::Partial,
            "threads" => Self::Threads,
            "fds" => Self::Fds,
            "late-listener" => Self::LateListener,
            "compat" => Self::Compat,
            "kernel-tls" => Self::KernelTls,
            "zerocopy" => Self::ZeroCopy,
            "io-uring" => Self::IoUring,
            "flows" => Self::Flows,
            "cold" => Self::Cold,
            "days" => Self::Days,
            "settled" => Self::Settled,
            "slow" => Self::Slow,
            other => match other.split_once('=').map(|(plan, number)| (plan, number.parse())) {
                Some(("storm", Ok(calls))) => Self::Storm(calls),
                Some(("crowd", Ok(threads))) => Self::Crowd(threads),
                _ => return Err(format!("there is no plan `{other}`")),
            },
        })
    }
}
