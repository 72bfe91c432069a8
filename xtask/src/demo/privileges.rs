//! May zctrace do here what it needs? Asked before anything takes long.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// What zctrace needs, by number (include/uapi/linux/capability.h), with what for.
const NEEDED: [(u32, &str, &str); 2] = [
    (39, "CAP_BPF", "to load its program into the kernel"),
    (38, "CAP_PERFMON", "to attach it to system calls and read the kernel's structures"),
];
/// Has both of them in it.
const SYS_ADMIN: u32 = 21;

/// Says which capabilities are missing. A program that carries its own (`setcap`) is left to speak for itself.
pub(super) fn check(zctrace: &Path) -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let effective = effective(&status).context("/proc/self/status has no line CapEff")?;
    let missing = missing(effective);
    if missing.is_empty() || has_file_capabilities(zctrace) {
        return Ok(());
    }
    bail!(
        "zctrace needs privileges that are missing here: {}. Either run the demo as root: \
         sudo -E env \"PATH=$PATH\" cargo xtask demo; or give them to the program and run the demo again: \
         sudo setcap cap_bpf,cap_perfmon=ep {}",
        missing.join("; "),
        zctrace.display()
    );
}

/// The set of effective capabilities in a /proc/PID/status.
fn effective(status: &str) -> Option<u64> {
    u64::from_str_radix(status.lines().find_map(|line| line.strip_prefix("CapEff:"))?.trim(), 16).ok()
}

fn missing(effective: u64) -> Vec<String> {
    let has = |number: u32| effective & (1 << number) != 0;
    NEEDED
        .iter()
        .filter(|(number, ..)| !has(*number) && !has(SYS_ADMIN))
        .map(|(_, name, purpose)| format!("{name} ({purpose})"))
        .collect()
}

fn has_file_capabilities(program: &Path) -> bool {
    let mut value = [0_u8; 64];
    rustix::fs::getxattr(program, "security.capability", &mut value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named_one_by_one() {
        assert_eq!(effective("Name:\tcat\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert!(missing(0x1ff_ffff_ffff).is_empty());
        assert!(missing(1 << SYS_ADMIN).is_empty());
        assert_eq!(missing(0).len(), 2);
        let only_bpf = missing(1 << 39);
        assert_eq!(only_bpf.len(), 1);
        assert!(only_bpf[0].starts_with("CAP_PERFMON (to attach"));
    }
}
