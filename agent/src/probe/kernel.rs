//! What the running kernel allows: facts for the decision on a leg, and for the program itself.

use std::{fs, path::Path};

use agent_ebpf::{
    Features,
    features::{KFUNC_CAST, KFUNC_PREEMPT_DISABLE},
};

use super::{Layout, Leg};

/// Where the kernel lists its tracepoints, in the order in which to look.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// What the decision needs to know of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    /// Its BTF describes the raw tracepoint (`btf_trace_sys_exit`).
    pub raw_sys_exit: bool,
    /// Its BTF has the helper for saved registers (`bpf_task_pt_regs`, Linux 5.15).
    pub task_pt_regs: bool,
    /// tracefs is mounted and has `events/syscalls`.
    pub syscall_tracepoints: bool,
    /// Its BTF describes the functions that are its system calls (`__x64_sys_read`).
    pub syscall_functions: bool,
    /// BPF trampolines can be put at its functions' ends (`bpf_trampoline_link_prog`, Linux 5.5).
    pub trampolines: bool,
    /// It can hook the returns of many functions by one link (`register_fprobe_ips`, Linux 5.18 with `CONFIG_FPROBE`).
    pub kprobe_multi: bool,
    /// It says that it is locked down.
    pub lockdown: bool,
    /// Whether a thread can be preempted inside the kernel.
    pub preemption: Preemption,
    /// Its version's first two numbers.
    pub version: (u32, u32),
}

/// Whether a thread can be preempted inside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// `preempt=none` or `voluntary`, or a kernel built so.
    Never,
    /// `preempt=full` or `lazy`, or a real-time kernel.
    Possible,
    /// Nothing says so.
    Unknown,
}

impl KernelFacts {
    /// A kernel that allows everything.
    #[cfg(test)]
    pub(super) const ALL: Self = Self {
        raw_sys_exit: true,
        task_pt_regs: true,
        syscall_tracepoints: true,
        syscall_functions: true,
        trampolines: true,
        kprobe_multi: true,
        lockdown: false,
        preemption: Preemption::Never,
        version: (6, 18),
    };

    /// A kernel that allows nothing.
    #[cfg(test)]
    pub(super) const NOTHING: Self = Self {
        raw_sys_exit: false,
        task_pt_regs: false,
        syscall_tracepoints: false,
        syscall_functions: false,
        trampolines: false,
        kprobe_multi: false,
        lockdown: true,
        preemption: Preemption::Unknown,
        version: (4, 19),
    };

    /// Of the running kernel, whose types are `layout`.
    pub(super) fn of_this_machine(layout: &Layout) -> Self {
        Self {
            syscall_tracepoints: has_tracepoint("sys_exit_read"),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|modes| is_locked_down(&modes)),
            preemption: preemption(&PreemptionSources::of_this_machine()),
            version: version(&rustix::system::uname().release().to_string_lossy()),
            ..Self::of_types(layout)
        }
    }

    /// Those that its types tell.
    pub(super) fn of_types(layout: &Layout) -> Self {
        Self {
            raw_sys_exit: layout.has_tracepoint("sys_exit"),
            task_pt_regs: layout.has_function("bpf_task_pt_regs"),
            syscall_tracepoints: false,
            syscall_functions: PREFIXES.iter().any(|prefix| layout.has_function(&format!("{prefix}read"))),
            trampolines: layout.has_function("bpf_trampoline_link_prog"),
            kprobe_multi: layout.has_function("register_fprobe_ips"),
            lockdown: false,
            preemption: Preemption::Unknown,
            version: (0, 0),
        }
    }

    /// Whether another thread can run on this CPU while a thread is in the hook of this leg.
    ///
    /// From Linux 6.13 on the tracepoints of system calls may fault, and their programs no longer run with preemption
    /// disabled. The kernel then does not run a program on a CPU on which it is under way (`prog->active`,
    /// kernel/trace/bpf_trace.c and kernel/bpf/trampoline.c): that call is missed, and only counted as such.
    pub(super) fn preemptible(&self, leg: Leg) -> bool {
        let by_leg = match leg {
            Leg::Fexit => true,
            Leg::Raw | Leg::Tracepoint => self.version >= (6, 13),
            // kernel/trace/fgraph.c, `__ftrace_return_to_handler`.
            Leg::KprobeMulti => false,
        };
        self.preemption != Preemption::Never && by_leg
    }
}

/// `uname -r`: `6.12.118+deb13-cloud-amd64`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What the program may do on a kernel with these types, hooked by this leg. `fetch` is not told by types.
pub(super) fn features(layout: &Layout, leg: Leg, facts: &KernelFacts, fetch: bool) -> Features {
    let casts = layout.has_function(KFUNC_CAST.name);
    // The kernel never runs a program on a CPU on which it is under way, nor lets its thread go to another CPU meanwhile. So
    // only `fexit`, which has several programs, must forbid preemption to have a CPU's values for itself.
    let preemptible = leg == Leg::Fexit && facts.preemptible(leg);
    let disable_preemption = preemptible && layout.has_function(KFUNC_PREEMPT_DISABLE.name);
    let exclusive = !preemptible || disable_preemption;
    Features {
        typed_task: u32::from(layout.has_function("bpf_get_current_task_btf")),
        casts: u32::from(casts),
        exclusive: u32::from(exclusive),
        run_queue: u32::from(casts && exclusive && layout.run_queue().is_ok()),
        fetch: u32::from(fetch),
        disable_preemption: u32::from(disable_preemption),
        return_probe: u32::from(leg == Leg::KprobeMulti),
        page_cache: 0,
        latency: 0,
        clients: 0,
        order: 0,
    }
}

/// What the names of the functions that are system calls begin with: on x86-64, on arm64.
const PREFIXES: [&str; 2] = ["__x64_sys_", "__arm64_sys_"];

/// The kernel's function that is this system call, as `SYSCALL_DEFINE` of the machine's architecture names it.
pub(super) fn syscall_function(name: &str) -> String {
    let [x86, arm64] = PREFIXES;
    format!("{}{name}", if cfg!(target_arch = "aarch64") { arm64 } else { x86 })
}

pub(super) fn has_tracepoint(name: &str) -> bool {
    TRACEFS.iter().any(|root| Path::new(root).join("events/syscalls").join(name).join("id").is_file())
}

/// `none [integrity] confidentiality`: the mode in force is in brackets.
fn is_locked_down(modes: &str) -> bool {
    modes.contains('[') && !modes.contains("[none]")
}

/// Texts that tell how a kernel preempts.
#[derive(Clone, Debug, Default)]
struct PreemptionSources {
    /// `uname -v`.
    version: String,
    /// `/sys/kernel/debug/sched/preempt`: `none (voluntary) full`.
    mode: Option<String>,
    /// `/proc/cmdline`.
    command_line: String,
    /// The kernel's configuration, as far as it can be read.
    config: Option<String>,
}

impl PreemptionSources {
    fn of_this_machine() -> Self {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy().into_owned();
        Self {
            version: uname.version().to_string_lossy().into_owned(),
            mode: fs::read_to_string("/sys/kernel/debug/sched/preempt").ok(),
            command_line: fs::read_to_string("/proc/cmdline").unwrap_or_default(),
            config: fs::read_to_string(format!("/boot/config-{release}")).ok().or_else(own_config),
        }
    }
}

/// `/proc/config.gz`.
fn own_config() -> Option<String> {
    let mut config = String::new();
    let file = fs::File::open("/proc/config.gz").ok()?;
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut config).ok()?;
    Some(config)
}

fn preemption(sources: &PreemptionSources) -> Preemption {
    let of_mode = |mode: &str| match mode {
        "none" | "voluntary" => Preemption::Never,
        _ => Preemption::Possible,
    };
    if !sources.version.contains("PREEMPT") {
        return Preemption::Never;
    }
    if !sources.version.contains("PREEMPT_DYNAMIC") {
        return Preemption::Possible;
    }
    let in_force = sources.mode.as_deref().and_then(|modes| modes.split(['(', ')']).nth(1));
    let asked_for = sources.command_line.split_whitespace().rev().find_map(|word| word.strip_prefix("preempt="));
    if let Some(mode) = in_force.or(asked_for) {
        return of_mode(mode);
    }
    let built = |option: &str| {
        sources.config.as_deref().is_some_and(|config| config.lines().any(|line| line == format!("{option}=y")))
    };
    if built("CONFIG_PREEMPT_NONE") || built("CONFIG_PREEMPT_VOLUNTARY") {
        Preemption::Never
    } else if sources.config.is_some() {
        Preemption::Possible
    } else {
        Preemption::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preemption_is_told_by_whatever_can_be_read() {
        let dynamic = PreemptionSources { version: "#1 SMP PREEMPT_DYNAMIC Debian".to_owned(), ..Default::default() };
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (PreemptionSources { version: "#1 SMP Debian 5.10".to_owned(), ..Default::default() }, Preemption::Never),
            (PreemptionSources { version: "#1 SMP PREEMPT_RT".to_owned(), ..Default::default() }, Preemption::Possible),
            (PreemptionSources { version: "#1 SMP PREEMPT".to_owned(), ..Default::default() }, Preemption::Possible),
            (PreemptionSources { mode: text("none (voluntary) full \n"), ..dynamic.clone() }, Preemption::Never),
            (PreemptionSources { mode: text("none voluntary (full) lazy"), ..dynamic.clone() }, Preemption::Possible),
            (
                PreemptionSources { command_line: "quiet preempt=full x".to_owned(), ..dynamic.clone() },
                Preemption::Possible,
            ),
            (PreemptionSources { command_line: "preempt=none".to_owned(), ..dynamic.clone() }, Preemption::Never),
            (PreemptionSources { config: text("CONFIG_PREEMPT_VOLUNTARY=y\n"), ..dynamic.clone() }, Preemption::Never),
            (PreemptionSources { config: text("CONFIG_PREEMPT_LAZY=y\n"), ..dynamic.clone() }, Preemption::Possible),
            (dynamic, Preemption::Unknown),
        ];
        for (sources, expected) in cases {
            assert_eq!(preemption(&sources), expected, "{sources:?}");
        }
    }

    #[test]
    fn what_can_be_preempted_depends_on_the_leg_and_the_version() {
        use Leg::{Fexit, KprobeMulti, Raw, Tracepoint};
        let of = |preemption, release| KernelFacts { preemption, version: version(release), ..KernelFacts::ALL };
        for (release, preemption, expected) in [
            ("7.3.4+deb13-cloud-amd64", Preemption::Possible, [true, true, true, false]),
            ("6.13", Preemption::Unknown, [true, true, true, false]),
            ("6.18.5-1", Preemption::Never, [false, false, false, false]),
            ("6.12.118+deb13-cloud-amd64", Preemption::Possible, [true, false, false, false]),
            ("5.10.0-46-cloud-amd64", Preemption::Unknown, [true, false, false, false]),
        ] {
            let facts = of(preemption, release);
            assert_eq!(
                [Fexit, Raw, Tracepoint, KprobeMulti].map(|leg| facts.preemptible(leg)),
                expected,
                "{release} {preemption:?}"
            );
        }
        assert_eq!(version("no number"), (0, 0));
    }

    #[test]
    fn lockdown_is_what_is_in_brackets() {
        assert!(is_locked_down("none [integrity] confidentiality\n"));
        assert!(!is_locked_down("[none] integrity confidentiality\n"));
    }
}
