//! Least privilege: a service keeps the capabilities that it needs, each for a reason, and drops all others for good.

use caps::{CapSet, Capability, CapsHashSet};

/// What a service needs while it runs, and what for.
pub const NEEDED: [(Capability, &str); 4] = [
    (Capability::CAP_BPF, "to read its maps and to look up processes that start later"),
    (Capability::CAP_PERFMON, "to attach to system calls and to iterate over tasks"),
    (Capability::CAP_SYS_PTRACE, "to look into brokers that run as other users"),
    (Capability::CAP_DAC_READ_SEARCH, "to read a broker's server.properties that is closed to others"),
];

/// Drops every capability but those in [`NEEDED`] that this process has, and forbids to get any back by `execve`. To be
/// called while there is one thread: threads that start later inherit what it has. Returns the names of what is kept.
///
/// # Errors
/// What the kernel said.
pub fn drop_all_but_needed() -> Result<Vec<String>, caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let needed: CapsHashSet = NEEDED.iter().map(|(capability, _)| *capability).collect();
    // CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON on systems that know no better.
    let stands_for_both = permitted.contains(&Capability::CAP_SYS_ADMIN)
        && !(permitted.contains(&Capability::CAP_BPF) && permitted.contains(&Capability::CAP_PERFMON));
    let kept: CapsHashSet = permitted
        .into_iter()
        .filter(|capability| {
            needed.contains(capability) || (stands_for_both && *capability == Capability::CAP_SYS_ADMIN)
        })
        .collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    // SAFETY: a setting of this process, without pointers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let mut names: Vec<_> = kept.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_unit_and_the_documentation_grant_what_is_needed_and_no_more() {
        let needed: BTreeSet<String> = NEEDED.iter().map(|(capability, _)| capability.to_string()).collect();
        let unit = include_str!("../../contrib/zctrace.service");
        for setting in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
            let granted = unit.lines().find_map(|line| line.strip_prefix(setting)).unwrap();
            assert_eq!(granted.split(' ').map(str::to_owned).collect::<BTreeSet<_>>(), needed, "{setting}");
        }
        let documented = include_str!("../../docs/serve.md").lines();
        let documented = documented.filter_map(|line| line.strip_prefix("| `CAP_")?.split('`').next());
        assert_eq!(documented.map(|name| format!("CAP_{name}")).collect::<BTreeSet<_>>(), needed);
    }
}
