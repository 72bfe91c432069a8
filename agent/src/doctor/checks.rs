//! What the facts mean for zctrace: pure.

use serde::Serialize;

use super::{BpfCall, Found, Machine};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is as it should be.
    Ok,
    /// zctrace works without it, but does less.
    Limited,
    /// zctrace does not work without it.
    Missing,
    /// It could not be found out, and may matter.
    Unknown,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What zctrace needs it for.
    pub purpose: &'static str,
    /// The command that mends it, if it needs mending.
    pub mend: Option<String>,
    /// Whether it is a privilege of this process rather than something of the kernel.
    pub is_privilege: bool,
}

impl Check {
    fn new(name: &'static str, purpose: &'static str, (state, found): (State, impl Into<String>)) -> Self {
        Self { name, state, found: found.into(), purpose, mend: None, is_privilege: false }
    }

    fn mended_by(mut self, mend: impl Into<String>) -> Self {
        if self.state != State::Ok {
            self.mend = Some(mend.into());
        }
        self
    }

    fn privilege(self) -> Self {
        Self { is_privilege: true, ..self }
    }
}

/// The oldest kernel that `cargo xtask kernels` tests: the legs `raw` and `fexit` count exactly there.
const OLDEST_KERNEL: (u32, u32) = (5, 10);
/// The first kernel with maps that the memory-lock limit does not count.
const UNLIMITED_KERNEL: (u32, u32) = (5, 11);
/// The first kernel with `bpf_task_pt_regs`, which the leg `tracepoint` needs.
const TRACEPOINT_KERNEL: (u32, u32) = (5, 15);
/// `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Judges a machine.
#[must_use]
pub fn checks(machine: &Machine) -> Vec<Check> {
    let mut checks = vec![kernel(machine), architecture(machine), btf(machine), tracefs(machine), lockdown(machine)];
    checks.extend(CAPABILITIES.iter().map(|capability| capability.check(machine)));
    checks.extend([locked_memory(machine), unprivileged(machine), bpf_call(machine), jit(machine)]);
    checks.extend([own_proc(machine), pid_namespace(machine)]);
    checks
}

/// Whether nothing is missing that zctrace can't do without.
pub(super) fn is_able(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.state != State::Missing)
}

/// `6.1.0-28-amd64` is (6, 1).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn is_before(machine: &Machine, kernel: (u32, u32)) -> bool {
    version(&machine.release).is_some_and(|running| running < kernel)
}

fn kernel(machine: &Machine) -> Check {
    let release = &machine.release;
    let verdict = match version(release) {
        None => (State::Unknown, format!("`{release}` tells no version")),
        Some(running) if running < OLDEST_KERNEL => (State::Missing, format!("Linux {release}, older than 5.10")),
        Some(running) if running < TRACEPOINT_KERNEL => {
            (State::Limited, format!("Linux {release}: the leg `raw` or `fexit`; `tracepoint` needs 5.15"))
        }
        Some(_) => (State::Ok, format!("Linux {release}")),
    };
    Check::new("kernel", "Programs in the kernel that know its types: Linux 5.10 or newer", verdict)
        .mended_by("boot a newer kernel of your distribution (RHEL 9, Debian 12, Ubuntu 22.04 and newer have one)")
}

fn architecture(machine: &Machine) -> Check {
    let architecture = machine.architecture.as_str();
    let state = if ["x86_64", "aarch64"].contains(&architecture) { State::Ok } else { State::Missing };
    Check::new("architecture", "The numbers of the system calls, which differ by architecture", (state, architecture))
        .mended_by("none: zctrace knows x86_64 and aarch64")
}

fn btf(machine: &Machine) -> Check {
    let verdict = match machine.btf {
        Found::Readable => (State::Ok, "/sys/kernel/btf/vmlinux"),
        Found::Denied => (State::Missing, "/sys/kernel/btf/vmlinux may not be read"),
        Found::Absent => (State::Missing, "there is no /sys/kernel/btf/vmlinux"),
    };
    Check::new(
        "BTF",
        "The layout of the kernel's structures: which file a descriptor means, which port a socket has",
        verdict,
    )
    .mended_by(
        "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (see: grep BTF /boot/config-$(uname -r)); in a container, \
             let it see the host's /sys",
    )
}

fn tracefs(machine: &Machine) -> Check {
    let verdict = match machine.tracefs {
        Found::Readable => (State::Ok, "mounted, with the system-call events"),
        Found::Denied => (State::Limited, "this user may not look into it: only the leg `raw` works"),
        Found::Absent => (State::Limited, "not mounted: only the leg `raw` works"),
    };
    let mend = if machine.tracefs == Found::Denied {
        "sudo mount -o remount,mode=755 /sys/kernel/tracing"
    } else {
        "sudo mount -t tracefs none /sys/kernel/tracing"
    };
    Check::new("tracefs", "The leg `tracepoint`, which takes over where `raw` is refused", verdict).mended_by(mend)
}

fn lockdown(machine: &Machine) -> Check {
    // `none [integrity] confidentiality`
    let chosen = machine
        .lockdown
        .as_deref()
        .map(|modes| modes.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(mode, _)| mode));
    let verdict = match chosen {
        Some("confidentiality") => {
            (State::Missing, "confidentiality: programs may not read the kernel's memory".to_owned())
        }
        Some(mode) if !mode.is_empty() => (State::Ok, mode.to_owned()),
        // Kernels without lockdown have no such file; those with it show it once securityfs is mounted.
        Some(_) => (State::Unknown, "its file says nothing that is known".to_owned()),
        None => (State::Ok, "not in use here (no /sys/kernel/security/lockdown)".to_owned()),
    };
    Check::new("lockdown", "Reading the kernel's own structures, which the mode `confidentiality` forbids", verdict)
        .mended_by("boot with lockdown=integrity on the kernel's command line, where the host's policy allows it")
}

/// A capability, and what it is for.
struct Capability {
    name: &'static str,
    /// `include/uapi/linux/capability.h`.
    bit: u32,
    purpose: &'static str,
    /// Stands for it as well.
    or: Option<u32>,
    /// What becomes of zctrace without it.
    without: (State, &'static str),
    /// From this kernel on it is for nothing.
    until: Option<(u32, u32)>,
}

const CAP_SYS_ADMIN: u32 = 21;

const CAPABILITIES: [Capability; 5] = [
    Capability {
        name: "CAP_BPF",
        bit: 39,
        purpose: "Loading programs and maps into the kernel",
        or: Some(CAP_SYS_ADMIN),
        without: (State::Missing, "this process does not have it"),
        until: None,
    },
    Capability {
        name: "CAP_PERFMON",
        bit: 38,
        purpose: "Attaching them to system calls and reading the kernel's structures",
        or: Some(CAP_SYS_ADMIN),
        without: (State::Missing, "this process does not have it"),
        until: None,
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        purpose: "Looking into another user's process: its listening sockets, its root directory",
        or: None,
        without: (State::Limited, "this process does not have it: it names listeners of its own user's processes only"),
        until: None,
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        purpose: "Reading a broker's server.properties where its user has closed it to others, for the listeners' names",
        or: Some(1), // CAP_DAC_OVERRIDE
        without: (State::Limited, "this process does not have it: a closed configuration gives ports without names"),
        until: None,
    },
    Capability {
        name: "CAP_SYS_RESOURCE",
        bit: 24,
        purpose: "Raising the memory-lock limit for maps, on kernels before 5.11",
        or: None,
        without: (State::Limited, "this process does not have it: the memory-lock limit below has to suffice"),
        until: Some(UNLIMITED_KERNEL),
    },
];

impl Capability {
    fn check(&self, machine: &Machine) -> Check {
        let has = |bit: u32| machine.capabilities.is_some_and(|bits| bits & (1 << bit) != 0);
        let needed = self.until.is_none_or(|until| is_before(machine, until));
        let verdict = if machine.capabilities.is_none() {
            (State::Unknown, "/proc/self/status can't be read")
        } else if has(self.bit) {
            (State::Ok, "this process has it")
        } else if self.or.is_some_and(has) {
            (State::Ok, "another capability that this process has includes it")
        } else if !needed {
            (State::Ok, "not needed on this kernel")
        } else {
            self.without
        };
        let short = self.name.trim_start_matches("CAP_");
        let mend = format!(
            "sudo setcap {}+ep {} (a container: --cap-add {short}; Kubernetes: securityContext.capabilities.add: \
             [{short}]; a systemd unit: AmbientCapabilities={})",
            self.setcap(machine),
            machine.executable.display(),
            self.name,
        );
        Check::new(self.name, self.purpose, verdict).mended_by(mend).privilege()
    }

    /// `setcap` sets all capabilities of a file at once: those that it should have, not only this one.
    fn setcap(&self, machine: &Machine) -> String {
        let wanted = CAPABILITIES.iter().filter(|capability| {
            capability.bit == self.bit || capability.until.is_none_or(|until| is_before(machine, until))
        });
        wanted.map(|capability| capability.name.to_lowercase()).collect::<Vec<_>>().join(",")
    }
}

fn locked_memory(machine: &Machine) -> Check {
    let counts = is_before(machine, UNLIMITED_KERNEL);
    let verdict = match machine.locked_memory {
        None => (State::Unknown, "/proc/self/limits can't be read".to_owned()),
        Some(None) => (State::Ok, "unlimited".to_owned()),
        Some(Some(bytes)) if !counts => {
            (State::Ok, format!("{} KiB, which maps do not count to since 5.11", bytes / 1024))
        }
        Some(Some(bytes)) => (State::Limited, format!("{} KiB, which maps count to on this kernel", bytes / 1024)),
    };
    Check::new("memory-lock limit", "Maps in the kernel's memory, on kernels before 5.11", verdict)
        .mended_by("ulimit -l unlimited (a systemd unit: LimitMEMLOCK=infinity)")
        .privilege()
}

fn unprivileged(machine: &Machine) -> Check {
    // zctrace has CAP_BPF or can't work: either setting is fine. It explains a refusal, so it is shown.
    let found = match machine.unprivileged_bpf_disabled {
        Some(0) => "allowed to everybody",
        Some(_) => "only with capabilities, as is usual",
        None => "this kernel does not say",
    };
    Check::new(
        "unprivileged bpf",
        "Nothing: zctrace uses capabilities. It tells who else may load programs",
        (State::Ok, found),
    )
}

fn bpf_call(machine: &Machine) -> Check {
    let has_bpf = machine.capabilities.is_some_and(|bits| bits & (1 << 39 | 1 << CAP_SYS_ADMIN) != 0);
    let filtered = machine.seccomp == Some(2);
    let verdict = match machine.bpf_call {
        BpfCall::Works => (State::Ok, "it makes maps".to_owned()),
        BpfCall::Fails(libc::ENOSYS) if !filtered => {
            (State::Missing, "this kernel was built without it (CONFIG_BPF_SYSCALL)".to_owned())
        }
        BpfCall::Fails(libc::EPERM) if !has_bpf => (State::Unknown, "refused for want of CAP_BPF".to_owned()),
        BpfCall::Fails(errno) if filtered => {
            (State::Missing, format!("errno {errno}: this process runs under a seccomp filter, which forbids it"))
        }
        BpfCall::Fails(errno) => {
            (State::Missing, format!("errno {errno}, with CAP_BPF: a security module (SELinux, AppArmor) forbids it"))
        }
    };
    let mend = if filtered {
        "allow it in the filter (a container: --security-opt seccomp=PROFILE with `bpf` and `perf_event_open` allowed)"
    } else if matches!(verdict.0, State::Unknown) {
        "grant CAP_BPF first, as above"
    } else {
        "see: journalctl -k | grep -iE 'avc|apparmor' for the module that refused it"
    };
    Check::new("bpf system call", "Everything", verdict).mended_by(mend).privilege()
}

fn jit(machine: &Machine) -> Check {
    let verdict = match machine.jit {
        Some(0) => (State::Limited, "off: programs are interpreted, which costs the watched process many times more"),
        Some(_) => (State::Ok, "on"),
        None => (State::Ok, "always on, or not said"),
    };
    Check::new("JIT compiler", "A low price for the watched process", verdict)
        .mended_by("sudo sysctl net.core.bpf_jit_enable=1")
}

fn own_proc(machine: &Machine) -> Check {
    let verdict = match machine.proc_self {
        Some(pid) if pid == machine.own_pid => (State::Ok, "/proc shows this process's own namespace".to_owned()),
        Some(pid) => (State::Missing, format!("/proc calls this process {pid}, the kernel {}", machine.own_pid)),
        None => (State::Missing, "/proc/self can't be read".to_owned()),
    };
    Check::new("/proc", "PIDs that mean the same to zctrace and to the kernel", verdict)
        .mended_by("mount -t proc proc /proc, in this namespace (a container that is to see the host's: --pid=host)")
}

fn pid_namespace(machine: &Machine) -> Check {
    let verdict = match machine.pid_namespace {
        Some(INITIAL_PID_NAMESPACE) => (State::Ok, "the host's: every process of the machine can be watched"),
        Some(_) => (State::Limited, "one of its own, as in a container: only processes within it can be watched"),
        None => (State::Unknown, "/proc/self/ns/pid can't be read"),
    };
    Check::new("PID namespace", "Seeing the process that is to be watched", verdict).mended_by(
        "to watch processes outside: run zctrace on the host, or share it (--pid=host; Kubernetes: hostPID: true)",
    )
}
