//! Which way to hook the kernel: a pure decision from facts.

use std::fmt;

/// A way to hook the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The BTF-typed raw tracepoint `sys_exit`: one program, sees every system call of the host at its exit.
    Raw,
    /// A program on each `syscalls:sys_exit_<name>`: needs tracefs, doesn't see 32-bit calls.
    Tracepoint,
}

impl Leg {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Tracepoint => "tracepoint",
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LegChoice {
    /// The best one that the running kernel allows.
    #[default]
    Auto,
    /// The raw tracepoint at the exit of every system call, or nothing.
    Raw,
    /// A tracepoint at the exit of each counted call, or nothing.
    Tracepoint,
}

/// What the decision needs to know of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    /// Its BTF describes the raw tracepoint (`btf_trace_sys_exit`).
    pub raw_sys_exit: bool,
    /// Its BTF has the helper for saved registers (`bpf_task_pt_regs`, Linux 5.15).
    pub task_pt_regs: bool,
    /// tracefs is mounted and has `events/syscalls`.
    pub syscall_tracepoints: bool,
}

/// A leg to try, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub leg: Leg,
    /// Why this one, in a clause.
    pub reason: String,
}

/// The legs to try, best first. `Err` says why there is none.
///
/// # Errors
/// A sentence for each leg that was asked for and can't be had.
pub fn candidates(choice: LegChoice, facts: KernelFacts) -> Result<Vec<Candidate>, String> {
    let raw = if facts.raw_sys_exit {
        Ok(())
    } else {
        Err("raw: this kernel's type information does not describe the tracepoint sys_exit".to_owned())
    };
    let tracepoint = if !facts.syscall_tracepoints {
        Err("tracepoint: tracefs is not mounted or has no system-call events: \
             `mount -t tracefs none /sys/kernel/tracing`"
            .to_owned())
    } else if !facts.task_pt_regs {
        Err("tracepoint: this kernel lacks the helper bpf_task_pt_regs (Linux 5.15)".to_owned())
    } else {
        Ok(())
    };
    let candidate = |leg, reason: &str| Candidate { leg, reason: reason.to_owned() };
    match choice {
        LegChoice::Raw => raw.map(|()| vec![candidate(Leg::Raw, "asked for by --attach raw")]),
        LegChoice::Tracepoint => {
            tracepoint.map(|()| vec![candidate(Leg::Tracepoint, "asked for by --attach tracepoint")])
        }
        LegChoice::Auto => match (raw, tracepoint) {
            (Err(raw), Err(tracepoint)) => Err(format!("{raw}\n{tracepoint}")),
            (Err(raw), Ok(())) => Ok(vec![candidate(Leg::Tracepoint, &raw)]),
            (Ok(()), tracepoint) => {
                let mut candidates = vec![candidate(
                    Leg::Raw,
                    "the kernel has BTF: typed raw tracepoint, lowest price for the target, no tracefs needed",
                )];
                if tracepoint.is_ok() {
                    candidates.push(candidate(Leg::Tracepoint, "the leg raw was refused"));
                }
                Ok(candidates)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALL: KernelFacts = KernelFacts { raw_sys_exit: true, task_pt_regs: true, syscall_tracepoints: true };

    fn legs(choice: LegChoice, facts: KernelFacts) -> Vec<Leg> {
        candidates(choice, facts).unwrap().into_iter().map(|candidate| candidate.leg).collect()
    }

    #[test]
    fn auto_prefers_raw_and_falls_back() {
        assert_eq!(legs(LegChoice::Auto, ALL), [Leg::Raw, Leg::Tracepoint]);
        assert_eq!(legs(LegChoice::Auto, KernelFacts { raw_sys_exit: false, ..ALL }), [Leg::Tracepoint]);
        assert_eq!(legs(LegChoice::Auto, KernelFacts { syscall_tracepoints: false, ..ALL }), [Leg::Raw]);
        assert_eq!(legs(LegChoice::Auto, KernelFacts { task_pt_regs: false, ..ALL }), [Leg::Raw]);
    }

    #[test]
    fn what_was_asked_for_is_not_replaced() {
        assert_eq!(legs(LegChoice::Tracepoint, ALL), [Leg::Tracepoint]);
        assert_eq!(legs(LegChoice::Raw, ALL), [Leg::Raw]);
        let refused = candidates(LegChoice::Raw, KernelFacts { raw_sys_exit: false, ..ALL }).unwrap_err();
        assert!(refused.starts_with("raw: "), "{refused}");
        let refused = candidates(LegChoice::Tracepoint, KernelFacts { syscall_tracepoints: false, ..ALL }).unwrap_err();
        assert!(refused.contains("mount -t tracefs"), "{refused}");
    }

    #[test]
    fn nothing_possible_gives_every_reason() {
        let nothing = KernelFacts { raw_sys_exit: false, task_pt_regs: false, syscall_tracepoints: false };
        let refused = candidates(LegChoice::Auto, nothing).unwrap_err();
        assert!(refused.contains("raw: ") && refused.contains("tracepoint: "), "{refused}");
    }
}
