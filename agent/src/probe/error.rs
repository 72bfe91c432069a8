//! What can go wrong in the kernel, and what to do about it.

use std::io;

/// Why the kernel could not be hooked or read.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No BTF.
    #[error(
        "the kernel's type information (BTF) could not be read from {path}: {reason}. zctrace finds its way through \
         kernel memory by it: use a kernel built with CONFIG_DEBUG_INFO_BTF=y (every current distribution's is)"
    )]
    NoBtf {
        /// Where it should be.
        path: String,
        /// What happened.
        reason: String,
    },
    /// BTF without something that is needed.
    #[error(
        "this kernel's type information has no `{member}`: zctrace does not know its layout. Please report the kernel's version"
    )]
    UnknownLayout {
        /// `structure.member`.
        member: String,
    },
    /// The architecture.
    #[error("zctrace does not know the system calls of this architecture ({0}); it knows x86_64 and aarch64")]
    UnknownArchitecture(&'static str),
    /// No privilege.
    #[error(
        "the kernel refused to {what} (EPERM). zctrace needs the capabilities CAP_BPF and CAP_PERFMON{missing}. \
         `zctrace doctor` shows what is missing and how to grant it"
    )]
    NotPermitted {
        /// What was tried.
        what: String,
        /// Which are missing, as a clause; empty if none is.
        missing: String,
    },
    /// No bpf system call.
    #[error("this kernel has no bpf system call, or a seccomp filter hides it: {0}. `zctrace doctor` tells more")]
    NoBpf(String),
    /// No tracefs.
    #[error(
        "tracefs is not mounted, which the leg `tracepoint` needs: `mount -t tracefs none /sys/kernel/tracing`, or \
         use `--attach raw`"
    )]
    NoTracefs,
    /// The verifier.
    #[error(
        "the kernel's verifier rejected zctrace's program `{program}` ({reason}). Please report it with the end of its log:\n\
         {log}"
    )]
    Rejected {
        /// Name of the program.
        program: String,
        /// What loading it answered.
        reason: String,
        /// The end of the log.
        log: String,
    },
    /// A function that can't be hooked by a BPF trampoline.
    #[error(
        "the kernel does not let the end of {function} be hooked ({reason}), which the leg `fexit` needs: use `--attach raw`"
    )]
    NoTrampoline {
        /// Its name.
        function: String,
        /// What happened.
        reason: String,
    },
    /// No leg works.
    #[error("no way to hook the kernel works here:\n{0}")]
    NoLeg(String),
    /// The process has gone.
    #[error("there is no process {0} any more: it ended before it could be watched")]
    TargetGone(u32),
    /// Too many.
    #[error("{0} processes are watched already, the most that are possible")]
    TooManyTargets(u32),
    /// Out of memory for maps.
    #[error(
        "the kernel refused memory for {map}: {reason}. On kernels before 5.11 the memory-lock limit counts, on others the \
         control group's: `ulimit -l unlimited`, or LimitMEMLOCK=infinity in a systemd unit"
    )]
    NoMemory {
        /// Name of the map.
        map: String,
        /// What happened.
        reason: String,
    },
    /// Anything else.
    #[error("{what}: {reason}")]
    Failed {
        /// What was tried.
        what: String,
        /// What happened.
        reason: String,
    },
}

impl ProbeError {
    pub(super) fn failed(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed { what: what.into(), reason: chain(error) }
    }

    /// From an error of hooking the end of a function.
    pub(super) fn from_trampoline(function: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let reason = match errno(error) {
            Some(libc::EPERM | libc::EACCES) => return Self::from_bpf(format!("attach to {function}"), error),
            // include/linux/errno.h, ENOTSUPP: arm64 before Linux 6.4 or so has no direct calls in ftrace.
            Some(524) => "this kernel has no such hooks on this architecture".to_owned(),
            _ => chain(error),
        };
        Self::NoTrampoline { function: function.to_owned(), reason }
    }

    /// From an error of the eBPF library, told apart by the errno at its bottom.
    pub(super) fn from_bpf(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let what = what.into();
        match errno(error) {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted { what, missing: missing_capabilities() },
            Some(libc::ENOSYS) => Self::NoBpf(chain(error)),
            Some(libc::ENOMEM | libc::E2BIG) => Self::NoMemory { map: what, reason: chain(error) },
            _ => Self::Failed { what, reason: chain(error) },
        }
    }
}

/// Something that the object should have.
pub(super) fn missing(name: &str) -> ProbeError {
    ProbeError::Failed {
        what: format!("use {name}"),
        reason: "the built-in object does not have it: it is not the one that this agent was built for".to_owned(),
    }
}

/// The sentence of an error and of all its causes.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !sentence.contains(&text) {
            sentence = format!("{sentence}: {text}");
        }
        cause = error.source();
    }
    sentence
}

pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        cause = error.source();
    }
    None
}

fn missing_capabilities() -> String {
    use caps::{CapSet, Capability};
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let missing: Vec<_> = [Capability::CAP_BPF, Capability::CAP_PERFMON]
        .into_iter()
        .filter(|capability| !has(*capability) && !has(Capability::CAP_SYS_ADMIN))
        .map(|capability| capability.to_string())
        .collect();
    if missing.is_empty() {
        ", which it has: a seccomp filter or a security module forbids it".to_owned()
    } else {
        format!("; this process lacks {}", missing.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_trampoline_is_told_apart() {
        let of = |code| ProbeError::from_trampoline("__x64_sys_read", &io::Error::from_raw_os_error(code));
        for (code, word) in [(524, "no such hooks"), (libc::EBUSY, "busy")] {
            let error = of(code).to_string();
            assert!(
                error.contains("__x64_sys_read") && error.contains(word) && error.contains("--attach raw"),
                "{error}"
            );
        }
        assert!(matches!(of(libc::EPERM), ProbeError::NotPermitted { .. }));
    }
}
