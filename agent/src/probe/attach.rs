//! From programs to hooks: each leg's own way.

use std::collections::BTreeMap;

use agent_ebpf::Syscall;
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
    kprobe_multi::{KprobeMulti, Moment},
    load::{load_error, map_mut, program_mut},
    verify::{Hook, Wanted},
};

/// The program of the leg `fexit` that does the work.
const FEXIT: &str = "fexit_main";

/// The program of a leg that takes the verifier's time, to be loaded before the leg is attached.
pub(super) fn program(leg: Leg, layout: &Layout) -> Option<Wanted> {
    match leg {
        Leg::Raw => Some(Wanted { program: "raw_sys_exit", hook: Hook::BtfTracepoint("sys_exit") }),
        Leg::Tracepoint => Some(Wanted { program: "tracepoint_sys_exit", hook: Hook::Tracepoint }),
        Leg::Fexit => {
            let first = groups(layout).0.first()?.first()?.clone();
            Some(Wanted { program: FEXIT, hook: Hook::FunctionEnd(first) })
        }
        // Its link loads it.
        Leg::KprobeMulti => None,
    }
}

/// Finds out whether a leg is forbidden before the verifier takes its time for its program: whether a stub can be loaded.
pub(super) fn begin(ebpf: &mut Ebpf, layout: &Layout, btf: &Btf, leg: Leg) -> Result<(), ProbeError> {
    let Some(Wanted { hook: Hook::FunctionEnd(function), .. }) = program(leg, layout) else { return Ok(()) };
    let stub: &mut FExit = program_mut(ebpf, &format!("{FEXIT}_00"))?;
    stub.load(&function, btf).map_err(|error| load_error(FEXIT, &error))?;
    stub.unload().map_err(|error| load_error(FEXIT, &error))
}

/// Attaches the program that [`program`] names, which is loaded; returns what is to be said of it, as the rest of a sentence,
/// and links that are not aya's.
///
/// `object` is what `ebpf` was made of.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    object: &[u8],
    layout: &Layout,
    btf: &Btf,
    leg: Leg,
) -> Result<(String, Vec<KprobeMulti>), ProbeError> {
    let missing = match leg {
        Leg::Raw => raw(ebpf).map(|()| Vec::new()),
        Leg::Tracepoint => tracepoint(ebpf),
        Leg::Fexit => fexit(ebpf, layout, btf),
        Leg::KprobeMulti => {
            let (functions, missing) = functions(layout);
            let link = KprobeMulti::attach(object, ebpf, "tracepoint_sys_exit", &functions, Moment::Return)?;
            return Ok((note(&missing), vec![link]));
        }
    }?;
    Ok((note(&missing), Vec::new()))
}

/// The functions that are the calls to hook, and those of them that this kernel lacks.
fn functions(layout: &Layout) -> (Vec<String>, Vec<String>) {
    calls().map(syscall_function).partition(|function| layout.has_function(function))
}

fn note(missing: &[String]) -> String {
    if missing.is_empty() { String::new() } else { format!("; this kernel has no {}", missing.join(", ")) }
}

fn raw(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let program: &mut BtfTracePoint = program_mut(ebpf, "raw_sys_exit")?;
    program.attach().map_err(|error| ProbeError::from_bpf("attach to sys_exit", &error))?;
    Ok(())
}

/// Returns the tracepoints that this kernel lacks.
fn tracepoint(ebpf: &mut Ebpf) -> Result<Vec<String>, ProbeError> {
    let program: &mut TracePoint = program_mut(ebpf, "tracepoint_sys_exit")?;
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

/// Programs of the leg `fexit`: one that does the work, and stubs that jump there by a map.
struct Family {
    /// The one, after which the stubs are called, too.
    program: &'static str,
    map: &'static str,
    /// How many stubs are in use.
    stubs: usize,
}

impl Family {
    /// Has the stubs jump to the program, which is loaded for a function.
    fn begin(&self, ebpf: &mut Ebpf) -> Result<(), ProbeError> {
        let (name, map) = (self.program, self.map);
        let program: &mut FExit = program_mut(ebpf, name)?;
        let descriptor = program.fd().and_then(|fd| fd.try_clone().map_err(Into::into));
        let descriptor = descriptor.map_err(|error| ProbeError::failed(format!("use the program {name}"), &error))?;
        let mut programs: ProgramArray<_> = map_mut(ebpf, map)?;
        programs.set(0, &descriptor, 0).map_err(|error| ProbeError::from_bpf(format!("use the map {map}"), &error))
    }

    /// Attaches it there: after the stubs, until when it is only jumped to.
    fn attach(&self, ebpf: &mut Ebpf, function: &str) -> Result<(), ProbeError> {
        let program: &mut FExit = program_mut(ebpf, self.program)?;
        program.attach().map(drop).map_err(|error| ProbeError::from_trampoline(function, &error))
    }

    /// Hooks a function by the next stub; `false` if the kernel does not let it jump to the program.
    fn hook(&mut self, ebpf: &mut Ebpf, function: &str, btf: &Btf) -> Result<bool, ProbeError> {
        let stub: &mut FExit = program_mut(ebpf, &format!("{}_{:02}", self.program, self.stubs))?;
        self.stubs += 1;
        match stub.load(function, btf) {
            Err(error) if errno(&error) == Some(libc::EINVAL) => return Ok(false),
            loaded => loaded.map_err(|error| ProbeError::from_trampoline(function, &error))?,
        }
        stub.attach().map_err(|error| ProbeError::from_trampoline(function, &error))?;
        Ok(true)
    }

    /// Hooks functions of one prototype; `false` if the kernel does not let the first of them jump to the program.
    fn hook_all(&mut self, ebpf: &mut Ebpf, functions: &[String], btf: &Btf) -> Result<bool, ProbeError> {
        for (number, function) in functions.iter().enumerate() {
            if !self.hook(ebpf, function, btf)? {
                return if number == 0 { Ok(false) } else { Err(no_jump(function)) };
            }
        }
        Ok(true)
    }
}

/// The functions to hook by their prototypes, and those that this kernel lacks.
fn groups(layout: &Layout) -> (Vec<Vec<String>>, Vec<String>) {
    let (functions, missing) = functions(layout);
    (by_prototype(functions, |function| layout.prototype(function)), missing)
}

/// Returns the functions that this kernel lacks. Should one hook be refused half-way, the others go with the programs.
fn fexit(ebpf: &mut Ebpf, layout: &Layout, btf: &Btf) -> Result<Vec<String>, ProbeError> {
    let (groups, missing) = groups(layout);
    let mut groups = groups.into_iter();
    let group = groups.next().unwrap_or_default();
    let Some((first, alike)) = group.split_first() else { return Err(no_function(&missing)) };
    let mut family = Family { program: FEXIT, map: "PROGRAMS", stubs: 0 };
    let mut other = Some(Family { program: "fexit_other", map: "OTHER_PROGRAMS", stubs: 0 });
    family.begin(ebpf)?;
    if !family.hook_all(ebpf, alike, btf)? {
        return Err(no_jump(first));
    }
    for group in groups {
        // Older kernels let every program jump, and the arguments of some functions have no type there.
        if family.hook_all(ebpf, &group, btf)? {
            continue;
        }
        let Some((first, alike)) = group.split_first() else { continue };
        let mut family = other.take().ok_or_else(|| ProbeError::NoTrampoline {
            function: first.clone(),
            reason: "this kernel has more than two prototypes for its calls".to_owned(),
        })?;
        let program: &mut FExit = program_mut(ebpf, family.program)?;
        program.load(first, btf).map_err(|error| load_error(family.program, &error))?;
        family.begin(ebpf)?;
        if !family.hook_all(ebpf, alike, btf)? {
            return Err(no_jump(first));
        }
        family.attach(ebpf, first)?;
    }
    family.attach(ebpf, first)?;
    Ok(missing)
}

/// What the kernel says of programs for functions of two prototypes, and must not say of those of one.
fn no_jump(function: &str) -> ProbeError {
    let reason = "the kernel does not let its program jump to that of the other calls".to_owned();
    ProbeError::NoTrampoline { function: function.to_owned(), reason }
}

/// Functions by their prototypes, those of the commonest first: newer kernels let a program jump only to that of a function of
/// the same prototype (`__bpf_prog_map_compatible`, kernel/bpf/core.c).
fn by_prototype(functions: Vec<String>, prototype: impl Fn(&str) -> Option<u32>) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<Option<u32>, Vec<String>> = BTreeMap::new();
    for function in functions {
        groups.entry(prototype(&function)).or_default().push(function);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    groups
}

fn no_function(names: &[String]) -> ProbeError {
    names.first().map_or_else(|| missing("fexit"), |name| ProbeError::UnknownLayout { member: name.clone() })
}

/// The kernel's types that programs are loaded for, on any leg and by [`load`](super::load): what it may lack included.
pub(super) fn types() -> impl Iterator<Item = (String, Kind)> {
    let fixed = [
        ("bpf_iter_task", Kind::Func),
        ("btf_trace_sys_exit", Kind::Typedef),
        ("btf_trace_sys_enter", Kind::Typedef),
        ("btf_trace_mm_filemap_add_to_page_cache", Kind::Typedef),
    ];
    let fixed = fixed.into_iter().map(|(name, kind)| (name.to_owned(), kind));
    fixed.chain(calls().map(|call| (syscall_function(call), Kind::Func)))
}

/// The kernel's names of the calls to hook, those that only tell of listeners and io_uring last.
fn calls() -> impl Iterator<Item = &'static str> {
    Syscall::ALL.iter().map(|syscall| kernel_name(*syscall)).chain(["listen", "io_uring_enter"])
}

/// What the kernel calls it.
pub(super) const fn kernel_name(syscall: Syscall) -> &'static str {
    match syscall {
        Syscall::Sendfile => "sendfile64",
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_one_prototype_share_a_program() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let prototype = |name: &str| Some(if name.starts_with("odd") { 7 } else { 9 });
        let groups = by_prototype(names(&["odd_1", "read", "write", "odd_2", "listen"]), prototype);
        assert_eq!(groups, [names(&["read", "write", "listen"]), names(&["odd_1", "odd_2"])]);
        assert!(by_prototype(Vec::new(), prototype).is_empty());
    }

    #[test]
    fn every_call_can_have_a_hook() {
        assert!(calls().count() <= agent_ebpf::features::FEXIT_STUBS + 1);
    }
}
