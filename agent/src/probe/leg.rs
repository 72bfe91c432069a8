//! Which way to hook the kernel: a pure decision from facts.

use std::fmt;

use super::kernel::{KernelFacts, Preemption};

/// A way to hook the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The end of each counted call's own function (`__x64_sys_read`): calls that are not counted pay nothing.
    Fexit,
    /// The BTF-typed raw tracepoint `sys_exit`: one program, sees every system call of the host at its exit.
    Raw,
    /// The return of each counted call's own function, by one link (`BPF_TRACE_KPROBE_MULTI`): preemption is disabled there.
    KprobeMulti,
    /// A program on each `syscalls:sys_exit_<name>`: needs tracefs, doesn't see 32-bit calls.
    Tracepoint,
}

impl Leg {
    /// Every leg.
    pub const ALL: [Self; 4] = [Self::Fexit, Self::Raw, Self::KprobeMulti, Self::Tracepoint];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Raw => "raw",
            Self::KprobeMulti => "kprobe-multi",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// What `--attach` takes for this leg and no other.
    #[must_use]
    pub const fn choice(self) -> LegChoice {
        match self {
            Self::Fexit => LegChoice::Fexit,
            Self::Raw => LegChoice::Raw,
            Self::KprobeMulti => LegChoice::KprobeMulti,
            Self::Tracepoint => LegChoice::Tracepoint,
        }
    }

    /// Whether it hooks the kernel's functions, not its tracepoints.
    pub(crate) const fn hooks_functions(self) -> bool {
        matches!(self, Self::Fexit | Self::KprobeMulti)
    }

    /// Why the leg can't be had on such a kernel, if so.
    fn obstacle(self, facts: &KernelFacts) -> Option<&'static str> {
        match self {
            Self::Fexit if !facts.trampolines => Some(
                "this kernel cannot hook its functions with BPF (no CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS on this \
                 architecture, or Linux before 5.5)",
            ),
            Self::Fexit | Self::KprobeMulti if !facts.syscall_functions => {
                Some("this kernel's type information does not describe the functions of its system calls")
            }
            Self::KprobeMulti if !facts.kprobe_multi => Some("this kernel has no such links (CONFIG_FPROBE)"),
            Self::KprobeMulti if facts.version < RETURNS_BY_GRAPH => Some(
                "before Linux 6.14 calls that wait, in their functions, use up the places that returns are noted in, and others \
                 are missed",
            ),
            Self::Fexit | Self::KprobeMulti if facts.lockdown => Some("this kernel is locked down, which forbids it"),
            Self::Raw if !facts.raw_sys_exit => {
                Some("this kernel's type information does not describe the tracepoint sys_exit")
            }
            Self::Tracepoint if !facts.syscall_tracepoints => {
                Some("tracefs is not mounted or has no system-call events: `mount -t tracefs none /sys/kernel/tracing`")
            }
            Self::Tracepoint | Self::KprobeMulti if !facts.task_pt_regs => {
                Some("this kernel lacks the helper bpf_task_pt_regs (Linux 5.15)")
            }
            _ => None,
        }
    }
}

/// From here on returns are hooked through the function graph, which has a stack for each thread (kernel/trace/fprobe.c).
const RETURNS_BY_GRAPH: (u32, u32) = (6, 14);

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
    /// The end of each counted call's own function, or nothing.
    Fexit,
    /// The raw tracepoint at the exit of every system call, or nothing.
    Raw,
    /// The return of each counted call's own function, with preemption disabled, or nothing.
    KprobeMulti,
    /// A tracepoint at the exit of each counted call, or nothing.
    Tracepoint,
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
/// `fexit` costs the host least, but where a thread can be preempted in the middle of the hook, the kernel does not run it
/// for another thread that comes to the same hook on the same CPU meanwhile (`prog->active`, kernel/bpf/trampoline.c): its
/// call would be lost, and only the loss be counted. So `auto` takes it only where that cannot be: exactness goes first.
///
/// # Errors
/// A sentence for each leg that was asked for and can't be had.
pub fn candidates(choice: LegChoice, facts: &KernelFacts) -> Result<Vec<Candidate>, String> {
    if let Some(leg) = Leg::ALL.into_iter().find(|leg| leg.choice() == choice) {
        return match leg.obstacle(facts) {
            Some(obstacle) => Err(format!("{leg}: {obstacle}")),
            None => Ok(vec![Candidate { leg, reason: format!("asked for by --attach {leg}") }]),
        };
    }
    let mut candidates = Vec::new();
    let mut passed_over = Vec::new();
    // The order of `Leg::ALL`, but that none comes before one that is exact where it is not.
    let mut legs = Leg::ALL;
    legs.sort_by_key(|leg| facts.preemptible(*leg));
    for leg in legs {
        match auto_obstacle(leg, facts) {
            Some(obstacle) => passed_over.push(format!("{leg}: {obstacle}")),
            None => candidates.push(Candidate { leg, reason: merit(leg, &passed_over) }),
        }
    }
    if candidates.is_empty() { Err(passed_over.join("\n")) } else { Ok(candidates) }
}

fn auto_obstacle(leg: Leg, facts: &KernelFacts) -> Option<&'static str> {
    leg.obstacle(facts).or(match (leg, facts.preemption) {
        (Leg::Fexit, Preemption::Possible) => {
            Some("this kernel can preempt a thread in the middle of the hook, which may lose a call")
        }
        (Leg::Fexit, Preemption::Unknown) => Some(
            "whether this kernel can preempt a thread in the middle of the hook, which may lose a call, can't be seen",
        ),
        _ => None,
    })
}

/// What makes the leg inexact on such a kernel, as the rest of a sentence; empty where nothing does.
///
/// Measured in Linux 7.3 with four threads that did nothing but call on two processors: 12 to 23 % of the calls were missed.
/// Forbidding preemption in the program does not help: what was held up happens at the end of the program, in it.
pub(super) fn warning(leg: Leg, facts: &KernelFacts) -> &'static str {
    match facts.preemption {
        _ if !facts.preemptible(leg) => "",
        Preemption::Unknown => {
            "; if this kernel can preempt a thread in the hook, which can't be seen here, it may miss calls: they would be \
             counted under \"Lost\""
        }
        _ => {
            "; this kernel can preempt a thread in the hook, and then misses other threads' calls: they are counted under \
             \"Lost\" (preempt=none or preempt=voluntary on its command line prevents that, where it offers them)"
        }
    }
}

fn merit(leg: Leg, passed_over: &[String]) -> String {
    let merit = match leg {
        Leg::Fexit => "calls that are not counted pay nothing",
        Leg::Raw => "typed raw tracepoint, no tracefs needed",
        Leg::KprobeMulti => "no thread is preempted in the hook",
        Leg::Tracepoint => "a tracepoint for each counted call",
    };
    match passed_over.last() {
        None => merit.to_owned(),
        Some(last) => format!("{merit}; not {last}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A kernel that allows everything.
    const ALL: KernelFacts = KernelFacts::ALL;

    fn legs(choice: LegChoice, facts: KernelFacts) -> Vec<Leg> {
        candidates(choice, &facts).unwrap().into_iter().map(|candidate| candidate.leg).collect()
    }

    #[test]
    fn auto_takes_the_cheapest_exact_leg_and_falls_back() {
        use Leg::{Fexit, KprobeMulti, Raw, Tracepoint};
        assert_eq!(legs(LegChoice::Auto, ALL), [Fexit, Raw, KprobeMulti, Tracepoint]);
        let (possible, unknown) = (Preemption::Possible, Preemption::Unknown);
        let without: [(KernelFacts, &[Leg]); 12] = [
            (KernelFacts { trampolines: false, ..ALL }, &[Raw, KprobeMulti, Tracepoint]),
            (KernelFacts { lockdown: true, ..ALL }, &[Raw, Tracepoint]),
            (KernelFacts { syscall_functions: false, ..ALL }, &[Raw, Tracepoint]),
            (KernelFacts { preemption: possible, version: (6, 12), ..ALL }, &[Raw, Tracepoint]),
            (KernelFacts { preemption: unknown, version: (6, 12), ..ALL }, &[Raw, Tracepoint]),
            (KernelFacts { preemption: possible, ..ALL }, &[KprobeMulti, Raw, Tracepoint]),
            (KernelFacts { preemption: unknown, ..ALL }, &[KprobeMulti, Raw, Tracepoint]),
            (KernelFacts { kprobe_multi: false, preemption: possible, ..ALL }, &[Raw, Tracepoint]),
            (KernelFacts { version: (6, 13), ..ALL }, &[Fexit, Raw, Tracepoint]),
            (KernelFacts { raw_sys_exit: false, ..ALL }, &[Fexit, KprobeMulti, Tracepoint]),
            (KernelFacts { syscall_tracepoints: false, ..ALL }, &[Fexit, Raw, KprobeMulti]),
            (KernelFacts { task_pt_regs: false, ..ALL }, &[Fexit, Raw]),
        ];
        for (facts, expected) in without {
            assert_eq!(legs(LegChoice::Auto, facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_kernel_that_may_lose_calls_is_warned_of() {
        use Preemption::{Never, Possible, Unknown};
        for (leg, preemption, version, warns) in [
            (Leg::Raw, Possible, (7, 3), true),
            (Leg::Tracepoint, Unknown, (6, 18), true),
            (Leg::Raw, Never, (6, 18), false),
            (Leg::Tracepoint, Possible, (6, 12), false),
            (Leg::Fexit, Possible, (6, 12), true),
            (Leg::KprobeMulti, Possible, (7, 3), false),
        ] {
            let warning = warning(leg, &KernelFacts { preemption, version, ..ALL });
            assert_eq!(warning.contains("Lost"), warns, "{leg} {preemption:?} {version:?}: {warning}");
        }
    }

    #[test]
    fn the_reason_says_what_was_passed_over() {
        let facts = KernelFacts { lockdown: true, ..ALL };
        let first = &candidates(LegChoice::Auto, &facts).unwrap()[0];
        assert!(first.reason.contains("not fexit: this kernel is locked down"), "{}", first.reason);
    }

    #[test]
    fn what_was_asked_for_is_not_replaced() {
        for leg in Leg::ALL {
            assert_eq!(legs(leg.choice(), ALL), [leg]);
        }
        // Whoever asks for it gets it: lost calls are counted.
        assert_eq!(legs(LegChoice::Fexit, KernelFacts { preemption: Preemption::Possible, ..ALL }), [Leg::Fexit]);
        let refused = candidates(LegChoice::Raw, &KernelFacts { raw_sys_exit: false, ..ALL }).unwrap_err();
        assert!(refused.starts_with("raw: "), "{refused}");
        let refused =
            candidates(LegChoice::Tracepoint, &KernelFacts { syscall_tracepoints: false, ..ALL }).unwrap_err();
        assert!(refused.contains("mount -t tracefs"), "{refused}");
    }

    #[test]
    fn nothing_possible_gives_every_reason() {
        let refused = candidates(LegChoice::Auto, &KernelFacts::NOTHING).unwrap_err();
        for leg in Leg::ALL {
            assert!(refused.contains(&format!("{leg}: ")), "{refused}");
        }
    }
}
