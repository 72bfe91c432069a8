//! From the object to programs in the kernel.

use std::{fs, path::Path};

use agent_ebpf::{
    COUNTERS, LISTENER_WORDS, OTHER_PER_TARGET, RESULTS_PER_SYSCALL, Syscall, SyscallTable,
    syscall::{GENERIC, I386, NOT_COUNTED, SYSCALLS, X86_64},
};
use aya::{
    Btf, Ebpf, EbpfLoader, Endianness,
    maps::{Map, MapData, MapError},
    programs::{BtfTracePoint, Iter, ProgramError, TracePoint},
};

use super::{
    Candidate, Capacity, KernelFacts, Layout, Leg, LegChoice, ProbeError, VMLINUX, candidates,
    error::{chain, missing},
};

/// The program, built by `cargo xtask bpf` and committed.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../agent-ebpf/prebuilt/zctrace.bpf.o");

/// Where the kernel lists its tracepoints, in the order in which to look.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// How much of a verifier's log is shown.
const LOG_LINES: usize = 15;

pub(super) fn attach(choice: LegChoice, capacity: Capacity) -> Result<(Ebpf, Leg, String), ProbeError> {
    let bytes =
        fs::read(VMLINUX).map_err(|error| ProbeError::NoBtf { path: VMLINUX.to_owned(), reason: error.to_string() })?;
    let layout = Layout::parse(&bytes)?;
    let btf = Btf::parse(&bytes, Endianness::default())
        .map_err(|error| ProbeError::NoBtf { path: VMLINUX.to_owned(), reason: chain(&error) })?;
    let facts = KernelFacts {
        raw_sys_exit: layout.has("btf_trace_sys_exit"),
        task_pt_regs: layout.has("bpf_task_pt_regs"),
        syscall_tracepoints: has_tracepoint("sys_exit_read"),
    };
    let candidates = candidates(choice, facts).map_err(|reasons| match choice {
        LegChoice::Tracepoint if !facts.syscall_tracepoints => ProbeError::NoTracefs,
        _ => ProbeError::NoLeg(reasons),
    })?;
    let mut refused: Option<ProbeError> = None;
    for candidate in candidates {
        let mut ebpf = load(&layout, &btf, capacity)?;
        load_resolver(&mut ebpf, &btf)?;
        match attach_leg(&mut ebpf, &btf, candidate.leg) {
            Ok(note) => return Ok((ebpf, candidate.leg, reason(&candidate, refused.as_ref(), &note))),
            // What is forbidden to one leg is forbidden to the others.
            Err(error @ (ProbeError::NotPermitted { .. } | ProbeError::NoBpf(_))) => return Err(error),
            Err(error) => refused = Some(refused.unwrap_or(error)),
        }
    }
    Err(refused.unwrap_or_else(|| ProbeError::NoLeg(String::new())))
}

fn reason(candidate: &Candidate, refused: Option<&ProbeError>, note: &str) -> String {
    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
    match refused {
        Some(error) => format!("{}: {}{note}", candidate.reason, first(error.to_string())),
        None => format!("{}{note}", candidate.reason),
    }
}

/// Creates the maps; no program is loaded yet.
fn load(layout: &Layout, btf: &Btf, capacity: Capacity) -> Result<Ebpf, ProbeError> {
    let targets = u32::from(capacity.targets.max(1));
    let offsets = layout.offsets()?;
    let (native, compat) = syscall_tables()?;
    let results = SYSCALLS_U32 * RESULTS_PER_SYSCALL;
    EbpfLoader::new()
        .btf(Some(btf))
        .override_global("OFFSETS", &offsets, true)
        .override_global("NATIVE_CALLS", &native, true)
        .override_global("COMPAT_CALLS", &compat, true)
        .map_max_entries("TRANSFERS", capacity.transfers)
        .map_max_entries("FILES", capacity.files)
        .map_max_entries("DIRECTORIES", capacity.directories)
        .map_max_entries("LISTENERS", targets * LISTENER_WORDS)
        .map_max_entries("TRANSFERS_OTHER", targets * OTHER_PER_TARGET)
        .map_max_entries("RESULTS", targets * results)
        .map_max_entries("FILES_OTHER", targets)
        .map_max_entries("COUNTERS", targets * COUNTERS)
        .load(OBJECT)
        .map_err(|error| ProbeError::from_bpf("create its maps", &error))
}

#[allow(clippy::cast_possible_truncation)] // 21
const SYSCALLS_U32: u32 = SYSCALLS as u32;

/// The machine's own table and that of its 32-bit callers.
fn syscall_tables() -> Result<(SyscallTable, SyscallTable), ProbeError> {
    match std::env::consts::ARCH {
        "x86_64" => Ok((X86_64, I386)),
        // 32-bit arm calls are not decoded: they are counted as such, and the Report says so.
        "aarch64" => Ok((GENERIC, [NOT_COUNTED; 512])),
        other => Err(ProbeError::UnknownArchitecture(other)),
    }
}

/// Makes ready what [`resolve`](super::resolve) asks, while the kernel's types are at hand.
fn load_resolver(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProbeError> {
    let program: &mut Iter = program_mut(ebpf, "resolve_target")?;
    program.load("task", btf).map_err(|error| load_error("resolve_target", &error))
}

/// Loads and attaches; returns what is to be said of it, as the rest of a sentence.
fn attach_leg(ebpf: &mut Ebpf, btf: &Btf, leg: Leg) -> Result<String, ProbeError> {
    match leg {
        Leg::Raw => {
            let program: &mut BtfTracePoint = program_mut(ebpf, "raw_sys_exit")?;
            program.load("sys_exit", btf).map_err(|error| load_error("raw_sys_exit", &error))?;
            program.attach().map_err(|error| ProbeError::from_bpf("attach to sys_exit", &error))?;
            Ok(String::new())
        }
        Leg::Tracepoint => {
            let program: &mut TracePoint = program_mut(ebpf, "tracepoint_sys_exit")?;
            program.load().map_err(|error| load_error("tracepoint_sys_exit", &error))?;
            let mut missing = Vec::new();
            for name in tracepoints() {
                if !has_tracepoint(&name) {
                    missing.push(name);
                    continue;
                }
                program
                    .attach("syscalls", &name)
                    .map_err(|error| ProbeError::from_bpf(format!("attach to syscalls:{name}"), &error))?;
            }
            Ok(if missing.is_empty() { String::new() } else { format!("; this kernel has no {}", missing.join(", ")) })
        }
    }
}

/// Names under `events/syscalls`, those that only tell of listeners and io_uring last.
fn tracepoints() -> Vec<String> {
    Syscall::ALL
        .iter()
        .map(|syscall| match syscall {
            Syscall::Sendfile => "sendfile64",
            other => other.name(),
        })
        .chain(["listen", "io_uring_enter"])
        .map(|name| format!("sys_exit_{name}"))
        .collect()
}

fn has_tracepoint(name: &str) -> bool {
    TRACEFS.iter().any(|root| Path::new(root).join("events/syscalls").join(name).is_dir())
}

pub(super) fn program_mut<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProbeError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error| ProbeError::failed(format!("use the program {name}"), &error))
}

pub(super) fn map_mut<'a, M>(ebpf: &'a mut Ebpf, name: &str) -> Result<M, ProbeError>
where
    M: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    map.try_into().map_err(|error| ProbeError::failed(format!("use the map {name}"), &error))
}

pub(super) fn map<'a, M>(ebpf: &'a Ebpf, name: &str) -> Result<M, ProbeError>
where
    M: TryFrom<&'a Map, Error = MapError>,
{
    let map = ebpf.map(name).ok_or_else(|| missing(name))?;
    map.try_into().map_err(|error| ProbeError::failed(format!("use the map {name}"), &error))
}

/// An error of loading a program, with the end of the verifier's log if it has one.
pub(super) fn load_error(program: &str, error: &ProgramError) -> ProbeError {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        if io_error.raw_os_error() != Some(libc::EPERM) && !log.trim().is_empty() {
            let lines: Vec<_> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            return ProbeError::Rejected { program: program.to_owned(), log: end };
        }
    }
    ProbeError::from_bpf(format!("load the program {program}"), error)
}

/// A map's contents are only ever borrowed.
pub(super) type Borrowed<'a> = &'a MapData;
