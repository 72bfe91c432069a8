//! From programs to hooks: each leg's own way.

use std::collections::BTreeMap;

use agent_ebpf::{
    Syscall,
    features::{FEXIT_ALONE, FEXIT_STUBS},
};
use aya::{
    Btf, Ebpf,
    maps::ProgramArray,
    programs::{BtfTracePoint, FExit, TracePoint},
};

use super::{
    Layout, Leg, ProbeError,
    btf::Kind,
    error::{errno, missing},
    kernel::{has_tracepoint, syscall_function},
    load::{load_error, map_mut, program_mut},
};

/// Loads and attaches; returns what is to be said of it, as the rest of a sentence.
pub(super) fn attach(ebpf: &mut Ebpf, layout: &Layout, btf: &Btf, leg: Leg) -> Result<String, ProbeError> {
    match leg {
        Leg::Raw => raw(ebpf, btf).map(|()| String::new()),
        Leg::Tracepoint => tracepoint(ebpf).map(|missing| note(&missing)),
        Leg::Fexit => fexit(ebpf, layout, btf).map(|missing| note(&missing)),
    }
}

fn note(missing: &[String]) -> String {
    if missing.is_empty() { String::new() } else { format!("; this kernel has no {}", missing.join(", ")) }
}

fn raw(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProbeError> {
    let program: &mut BtfTracePoint = program_mut(ebpf, "raw_sys_exit")?;
    program.load("sys_exit", btf).map_err(|error| load_error("raw_sys_exit", &error))?;
    program.attach().map_err(|error| ProbeError::from_bpf("attach to sys_exit", &error))?;
    Ok(())
}

/// Returns the tracepoints that this kernel lacks.
fn tracepoint(ebpf: &mut Ebpf) -> Result<Vec<String>, ProbeError> {
    let program: &mut TracePoint = program_mut(ebpf, "tracepoint_sys_exit")?;
    program.load().map_err(|error| load_error("tracepoint_sys_exit", &error))?;
    let mut missing = Vec::new();
    for name in calls().map(|call| format!("sys_exit_{call}")) {
        if !has_tracepoint(&name) {
            missing.push(name);
            continue;
        }
        program
            .attach("syscalls", &name)
            .map_err(|error| ProbeError::from_bpf(format!("attach to syscalls:{name}"), &error))?;
    }
    Ok(missing)
}

/// Returns the functions that this kernel lacks. Should one hook be refused half-way, the others go with the programs.
fn fexit(ebpf: &mut Ebpf, layout: &Layout, btf: &Btf) -> Result<Vec<String>, ProbeError> {
    const MAIN: &str = "fexit_main";
    let (functions, missing): (Vec<_>, Vec<_>) =
        calls().map(syscall_function).partition(|function| layout.has_function(function));
    let (alike, alone) = by_prototype(functions, |function| layout.prototype(function));
    let Some((first, others)) = alike.split_first() else { return Err(no_function(&missing)) };
    let main: &mut FExit = program_mut(ebpf, MAIN)?;
    main.load(first, btf).map_err(|error| load_error(MAIN, &error))?;
    let descriptor = main.fd().and_then(|fd| fd.try_clone().map_err(Into::into));
    let descriptor = descriptor.map_err(|error| ProbeError::failed("use the program fexit_main", &error))?;
    let mut programs: ProgramArray<_> = map_mut(ebpf, "PROGRAMS")?;
    programs.set(0, &descriptor, 0).map_err(|error| ProbeError::from_bpf("use the map PROGRAMS", &error))?;
    let stubs = (0..FEXIT_STUBS).map(|stub| format!("fexit_{stub:02}"));
    let mut whole = (0..FEXIT_ALONE).map(|program| format!("fexit_alone_{program}"));
    for (stub, function) in stubs.zip(others.iter().chain(&alone)) {
        match hook(ebpf, &stub, function, btf) {
            Err(Unhooked::Jump(error)) => {
                let program = whole.next().ok_or(error)?;
                hook(ebpf, &program, function, btf)?;
            }
            hooked => hooked?,
        }
    }
    // The first one last: until then its program is only jumped to.
    let main: &mut FExit = program_mut(ebpf, MAIN)?;
    main.attach().map_err(|error| ProbeError::from_trampoline(first, &error))?;
    Ok(missing)
}

/// Why a function is not hooked.
enum Unhooked {
    /// Perhaps since its program may not jump to that of a function of another prototype (`__bpf_prog_map_compatible`,
    /// kernel/bpf/core.c).
    Jump(ProbeError),
    /// Something else.
    Other(ProbeError),
}

impl From<Unhooked> for ProbeError {
    fn from(unhooked: Unhooked) -> Self {
        match unhooked {
            Unhooked::Jump(error) | Unhooked::Other(error) => error,
        }
    }
}

fn hook(ebpf: &mut Ebpf, program: &str, function: &str, btf: &Btf) -> Result<(), Unhooked> {
    let program: &mut FExit = program_mut(ebpf, program).map_err(Unhooked::Other)?;
    program.load(function, btf).map_err(|error| {
        let refused = ProbeError::from_trampoline(function, &error);
        if errno(&error) == Some(libc::EINVAL) { Unhooked::Jump(refused) } else { Unhooked::Other(refused) }
    })?;
    program.attach().map(drop).map_err(|error| Unhooked::Other(ProbeError::from_trampoline(function, &error)))
}

/// Functions in two parts: those of the prototype that most of them have, to which newer kernels let their programs jump,
/// and the rest.
fn by_prototype(functions: Vec<String>, prototype: impl Fn(&str) -> Option<u32>) -> (Vec<String>, Vec<String>) {
    let mut counts = BTreeMap::new();
    for function in &functions {
        *counts.entry(prototype(function)).or_insert(0) += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count).and_then(|(prototype, _)| prototype);
    functions.into_iter().partition(|function| prototype(function) == most)
}

fn no_function(names: &[String]) -> ProbeError {
    names.first().map_or_else(|| missing("fexit"), |name| ProbeError::UnknownLayout { member: name.clone() })
}

/// The kernel's types that programs are loaded for, on any leg and by [`load`](super::load): what it may lack included.
pub(super) fn types() -> impl Iterator<Item = (String, Kind)> {
    let fixed = [
        ("bpf_iter_task", Kind::Func),
        ("btf_trace_sys_exit", Kind::Typedef),
        ("btf_trace_mm_filemap_add_to_page_cache", Kind::Typedef),
    ];
    let fixed = fixed.into_iter().map(|(name, kind)| (name.to_owned(), kind));
    fixed.chain(calls().map(|call| (syscall_function(call), Kind::Func)))
}

/// The kernel's names of the calls to hook, those that only tell of listeners and io_uring last.
fn calls() -> impl Iterator<Item = &'static str> {
    Syscall::ALL
        .iter()
        .map(|syscall| match syscall {
            Syscall::Sendfile => "sendfile64",
            other => other.name(),
        })
        .chain(["listen", "io_uring_enter"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_commonest_prototype_share_a_program() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let prototype = |name: &str| Some(if name.starts_with("odd") { 7 } else { 9 });
        let (alike, alone) = by_prototype(names(&["odd_1", "read", "write", "odd_2", "listen"]), prototype);
        assert_eq!(alike, names(&["read", "write", "listen"]));
        assert_eq!(alone, names(&["odd_1", "odd_2"]));
        assert_eq!(by_prototype(Vec::new(), prototype), (Vec::new(), Vec::new()));
    }

    #[test]
    fn every_call_can_have_a_hook() {
        assert!(calls().count() <= FEXIT_STUBS + 1);
    }
}
