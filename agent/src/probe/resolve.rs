//! From a PID in this process's namespace to the identity that the program compares.

use std::io::Read;

use agent_ebpf::{Resolve, Target};
use aya::{Ebpf, maps::Array, programs::Iter};

use super::{ProbeError, load};

/// Asks the kernel, by an iterator over the tasks of this PID namespace.
pub(super) fn resolve(ebpf: &mut Ebpf, pid: u32) -> Result<Target, ProbeError> {
    let ask = |what: &str, error: &(dyn std::error::Error + 'static)| ProbeError::from_bpf(what, error);
    {
        let mut question: Array<_, Resolve> = load::map_mut(ebpf, "RESOLVE")?;
        question
            .set(0, Resolve { pid, ..Resolve::default() }, 0)
            .map_err(|error| ask("ask for the process's identity", &error))?;
    }
    let iterator: &mut Iter = load::program_mut(ebpf, "resolve_target")?;
    let link = iterator.attach().map_err(|error| ask("iterate over tasks", &error))?;
    let link = iterator.take_link(link).map_err(|error| ask("iterate over tasks", &error))?;
    let mut tasks = link.into_file().map_err(|error| ask("iterate over tasks", &error))?;
    tasks
        .read_to_end(&mut Vec::new())
        .map_err(|error| ProbeError::failed("iterate over the kernel's tasks", &error))?;
    let answer: Array<_, Resolve> = load::map(ebpf, "RESOLVE")?;
    let answer = answer.get(&0, 0).map_err(|error| ask("read the process's identity", &error))?;
    if answer.tgid == 0 {
        return Err(ProbeError::TargetGone(pid));
    }
    Ok(Target { tgid: answer.tgid, slot: 0, counting: 0, start_boottime: answer.start_boottime })
}
