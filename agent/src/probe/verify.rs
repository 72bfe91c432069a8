//! Programs loaded side by side: what takes time is the kernel's verifier, which runs in the thread that asks for it.

use std::{collections::BTreeMap, io, thread};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FExit, Iter, Program, ProgramError, TracePoint},
};

use super::{ProbeError, error::missing, load::load_error};

/// A program to load.
pub(super) struct Wanted {
    /// Its name.
    pub(super) program: &'static str,
    /// What it is for.
    pub(super) hook: Hook,
}

/// What a program is loaded for.
pub(super) enum Hook {
    /// A BTF-typed raw tracepoint.
    BtfTracepoint(&'static str),
    /// Tracepoints: which ones is said when it is attached.
    Tracepoint,
    /// The end of a function.
    FunctionEnd(String),
    /// An iterator.
    Iterator(&'static str),
}

/// Loads programs, but for those that are loaded already. Returns those that were refused.
pub(super) fn load(ebpf: &mut Ebpf, btf: &Btf, wanted: &[Wanted]) -> BTreeMap<&'static str, ProbeError> {
    let mut programs: BTreeMap<&str, &mut Program> = ebpf.programs_mut().collect();
    let mut work = Vec::new();
    let mut refused = BTreeMap::new();
    for Wanted { program: name, hook } in wanted {
        match programs.remove(name) {
            Some(program) if program.fd().is_ok() => {}
            Some(program) => work.push((*name, hook, program)),
            None => drop(refused.insert(*name, missing(name))),
        }
    }
    // This thread takes one itself.
    let own = work.pop();
    let results: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> = work
            .into_iter()
            .map(|(name, hook, program)| {
                (name, thread::Builder::new().spawn_scoped(scope, move || load_one(program, hook, btf)))
            })
            .collect();
        let own = own.map(|(name, hook, program)| (name, load_one(program, hook, btf)));
        let result = |thread: io::Result<thread::ScopedJoinHandle<'_, _>>| {
            thread.map_err(ProgramError::IOError)?.join().unwrap_or(Err(ProgramError::NotLoaded))
        };
        others.into_iter().map(|(name, thread)| (name, result(thread))).chain(own).collect()
    });
    for (name, result) in results {
        if let Err(error) = result {
            refused.insert(name, load_error(name, &error));
        }
    }
    refused
}

fn load_one(program: &mut Program, hook: &Hook, btf: &Btf) -> Result<(), ProgramError> {
    match hook {
        Hook::BtfTracepoint(name) => <&mut BtfTracePoint>::try_from(program)?.load(name, btf),
        Hook::Tracepoint => <&mut TracePoint>::try_from(program)?.load(),
        Hook::FunctionEnd(name) => <&mut FExit>::try_from(program)?.load(name, btf),
        Hook::Iterator(name) => <&mut Iter>::try_from(program)?.load(name, btf),
    }
}
