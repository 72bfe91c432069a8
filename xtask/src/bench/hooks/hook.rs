//! What can be attached.

use std::{fmt, path::PathBuf};

use super::programs::{Link, Programs};
use crate::bench::tool::{self, Tool};

/// Something that looks at system calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Hook {
    /// The empty program.
    Empty,
    /// The barest counter.
    Bare,
    /// The same with a hash map.
    BareHash,
    /// The same with a helper's read.
    BareUntyped,
    /// `zctrace --pid`.
    Zctrace(Variant),
    /// bpftrace: exit, filter by PID, count and sum.
    Bpftrace,
    /// bpftrace: enter and exit, by file descriptor.
    BpftracePair,
    /// `strace -c -f`.
    Strace,
}

/// A way to start zctrace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Variant {
    /// What it is called in tables and by `--only`.
    pub(in crate::bench) name: String,
    /// What comes after `--pid`.
    pub(in crate::bench) arguments: Vec<String>,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty program"),
            Self::Bare => f.write_str("bare counter in C"),
            Self::BareHash => f.write_str("bare counter in C, hash map"),
            Self::BareUntyped => f.write_str("bare counter in C, untyped"),
            Self::Zctrace(variant) => write!(f, "zctrace, {}", variant.name),
            Self::Bpftrace => f.write_str("bpftrace, exit"),
            Self::BpftracePair => f.write_str("bpftrace, enter and exit"),
            Self::Strace => f.write_str("strace -c -f"),
        }
    }
}

impl Hook {
    /// zctrace by one of its legs.
    pub(in crate::bench) fn leg(name: &str) -> Self {
        let arguments = ["--attach", name].map(str::to_owned).to_vec();
        Self::Zctrace(Variant { name: name.to_owned(), arguments })
    }

    /// The same without the order of reads and writes: what it then tells of a call is whose it is, and how large.
    fn leg_without_order(name: &str) -> Self {
        let arguments = ["--attach", name, "--without", "order"].map(str::to_owned).to_vec();
        Self::Zctrace(Variant { name: format!("{name} without order"), arguments })
    }

    /// Those of a whole run, for the legs that zctrace knows.
    pub(in crate::bench) fn all(legs: &[&str]) -> Vec<Self> {
        [Self::Empty, Self::Bare, Self::BareHash, Self::BareUntyped]
            .into_iter()
            .chain(legs.iter().flat_map(|leg| [Self::leg(leg), Self::leg_without_order(leg)]))
            .chain([Self::Bpftrace, Self::BpftracePair, Self::Strace])
            .collect()
    }

    /// What `--only` calls it.
    pub(in crate::bench) fn key(&self) -> String {
        match self {
            Self::Empty => "empty".to_owned(),
            Self::Bare => "bare".to_owned(),
            Self::BareHash => "bare-hash".to_owned(),
            Self::BareUntyped => "bare-untyped".to_owned(),
            Self::Zctrace(variant) => variant.name.clone(),
            Self::Bpftrace => "bpftrace".to_owned(),
            Self::BpftracePair => "bpftrace-pair".to_owned(),
            Self::Strace => "strace".to_owned(),
        }
    }

    /// Whether a call takes tens of microseconds.
    pub(in crate::bench) const fn is_slow(&self) -> bool {
        matches!(self, Self::Strace)
    }
}

/// What hooks are made of.
pub(in crate::bench) struct Tools {
    pub(in crate::bench) zctrace: PathBuf,
    pub(in crate::bench) programs: Programs,
    /// The traced process.
    pub(in crate::bench) pid: u32,
    /// The processor that it runs on.
    pub(in crate::bench) cpu: usize,
}

/// A hook at work, until this is dropped.
pub(in crate::bench) enum Attached {
    Link { name: &'static str, _link: Link },
    Process(Tool),
}

impl Tools {
    pub(in crate::bench) fn attach(&mut self, hook: &Hook) -> anyhow::Result<Attached> {
        let pid = self.pid;
        let tool = match hook {
            Hook::Empty => return self.link("empty"),
            Hook::Bare => return self.link("bare"),
            Hook::BareHash => return self.link("bare_hash"),
            Hook::BareUntyped => return self.link("bare_untyped"),
            Hook::Zctrace(Variant { arguments, .. }) => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                tool::zctrace(&self.zctrace, pid, &arguments)
            }
            Hook::Bpftrace => tool::bpftrace(&tool::count_and_sum(pid, &["pread64", "write", "sendfile64"])),
            Hook::BpftracePair => tool::bpftrace(&by_descriptor(pid)),
            Hook::Strace => tool::strace(pid, self.cpu, &["-c"]),
        };
        tool.map(Attached::Process)
    }

    fn link(&mut self, name: &'static str) -> anyhow::Result<Attached> {
        Ok(Attached::Link { name, _link: self.programs.attach(name)? })
    }

    /// Ids of the programs in the kernel that are at work.
    pub(in crate::bench) fn program_ids(&self, attached: &Attached) -> anyhow::Result<Vec<u32>> {
        match attached {
            Attached::Link { name, .. } => Ok(vec![self.programs.info(name)?.id()]),
            Attached::Process(tool) => tool.programs(),
        }
    }
}

/// What it takes to tell descriptors apart.
fn by_descriptor(pid: u32) -> String {
    [("pread64", "fd"), ("write", "fd"), ("sendfile64", "out_fd")]
        .map(|(call, fd)| {
            format!(
                "tracepoint:syscalls:sys_enter_{call} /pid == {pid}/ {{ @fd[tid] = args->{fd} + 1; }} \
                 tracepoint:syscalls:sys_exit_{call} /pid == {pid} && @fd[tid]/ {{ @calls[pid, @fd[tid]] = count(); \
                 @bytes[pid, @fd[tid]] = sum(args->ret); delete(@fd[tid]); }}"
            )
        })
        .join(" ")
}
