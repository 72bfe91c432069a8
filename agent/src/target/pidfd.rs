//! The end of a process, told by the kernel.

use std::os::fd::OwnedFd;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::io::unix::AsyncFd;

use super::TargetError;

/// A handle on a process (not on a number): readable when it has ended (`pidfd_open(2)`, Linux 5.3).
pub struct Pidfd {
    fd: AsyncFd<OwnedFd>,
}

impl Pidfd {
    /// Opens it; in a tokio runtime.
    ///
    /// # Errors
    /// [`TargetError::NoProcess`] if it has ended, [`TargetError::NoPidfd`] if the kernel is too old.
    pub fn open(pid: u32) -> Result<Self, TargetError> {
        let no_pidfd = |reason: String| TargetError::NoPidfd { pid, reason };
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(TargetError::NoProcess(pid))?;
        let fd = pidfd_open(raw, PidfdFlags::NONBLOCK).or_else(|error| match error {
            // Before Linux 5.10 there are no flags.
            Errno::INVAL => pidfd_open(raw, PidfdFlags::empty()),
            other => Err(other),
        });
        let fd = fd.map_err(|error| match error {
            Errno::SRCH => TargetError::NoProcess(pid),
            other => no_pidfd(other.to_string()),
        })?;
        // SAFETY: an `OwnedFd` is the same descriptor all its life.
        let fd = unsafe { AsyncFd::register(fd) }.map_err(|error| no_pidfd(error.to_string()))?;
        Ok(Self { fd })
    }

    /// Waits for the end of the process.
    pub async fn ended(&self) {
        // An error of the reactor is no end of the process: then only the other ways to stop are left.
        if self.fd.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.get_ref(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}
