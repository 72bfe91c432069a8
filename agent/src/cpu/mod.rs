//! Processor time of a process by the ports that its threads send through.
//!
//! Which thread serves which port is known from its own calls (`THREADS`, see [`agent_ebpf::Thread`]); what it used, from
//! `/proc/PID/task/TID/stat`. The sum of user and kernel time there is the scheduler's own, exact to a tick of 10 ms; how it is
//! split between the two is sampled by the timer (`cputime_adjust` in `kernel/sched/cputime.c`).

mod account;
mod readers;
mod stat;

pub use account::{Account, Problem};

use std::{collections::BTreeMap, ops::AddAssign, path::Path};

use serde::{Deserialize, Serialize};

/// Takes a first look at a watched process; `is_called` so by the kernel, too: not in a PID namespace of its own. With
/// `remote_storage`, threads that read remote segments are looked for, too.
///
/// # Errors
/// Why there is no processor time: see [`Problem`].
pub fn begin(is_called: bool, proc: &Path, pid: u32, remote_storage: bool) -> Result<Account, Problem> {
    let account = if is_called { Account::begin(proc, pid) } else { Err(Problem::Namespace) }?;
    Ok(if remote_storage { account.with_remote_readers() } else { account })
}

/// Processor time, in ticks of [`TICK_SECONDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// In user space.
    pub user: u64,
    /// In the kernel.
    pub kernel: u64,
}

/// `USER_HZ` is 100 on every architecture that is supported (`include/asm-generic/param.h`).
pub const TICK_SECONDS: f64 = 0.01;

impl Time {
    /// Both.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.user + self.kernel
    }

    /// What was added since. The kernel keeps either from going back (`cputime_adjust`).
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self { user: self.user.saturating_sub(earlier.user), kernel: self.kernel.saturating_sub(earlier.kernel) }
    }
}

impl AddAssign for Time {
    fn add_assign(&mut self, more: Self) {
        self.user += more.user;
        self.kernel += more.kernel;
    }
}

/// What a port's threads used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTime {
    /// Their time; a share of it, where a thread sends through several ports.
    pub time: Time,
    /// How many threads sent through it.
    pub threads: u64,
    /// Those of them that sent through other ports, too.
    pub shared: u64,
}

/// Processor time of a process since it is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// By the contract's port.
    pub ports: BTreeMap<u32, PortTime>,
    /// The whole process, all of its threads.
    pub process: Time,
    /// Nanoseconds that its threads for remote (tiered) segments ran; 0 also where they were not looked for.
    #[serde(default)]
    pub remote_readers: u64,
}

impl Cpu {
    /// What was added since.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |port| earlier.ports.get(port).map_or(Time::default(), |before| before.time);
        let ports =
            self.ports.iter().map(|(port, now)| (*port, PortTime { time: now.time.since(before(port)), ..*now }));
        Self {
            ports: ports.collect(),
            process: self.process.since(earlier.process),
            remote_readers: self.remote_readers.saturating_sub(earlier.remote_readers),
        }
    }

    /// Adds another life of the same target.
    pub fn add(&mut self, other: &Self) {
        for (port, theirs) in &other.ports {
            let ours = self.ports.entry(*port).or_default();
            ours.time += theirs.time;
            ours.threads = ours.threads.max(theirs.threads);
            ours.shared = ours.shared.max(theirs.shared);
        }
        self.process += other.process;
        self.remote_readers += other.remote_readers;
    }
}
