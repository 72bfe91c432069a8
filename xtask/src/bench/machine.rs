//! Where and of what a result is.

use std::{fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

use crate::command::{quietly, root};

/// The machine and its kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Model of the processor.
    pub(crate) processor: String,
    /// Its processors.
    pub(crate) processors: usize,
    /// Memory, in MiB.
    pub(crate) memory_mib: u64,
    /// Release of the kernel.
    pub(crate) kernel: String,
    pub(crate) architecture: String,
    /// Whether it is a virtual one: others on the same hardware make noise.
    pub(crate) virtual_machine: bool,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) version: String,
    /// Commit of the checkout, shortened.
    pub(crate) commit: String,
    /// Whether files differed from the commit (results apart).
    pub(crate) modified: bool,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            // Not those that this thread may run on: a measurement keeps to one.
            processors: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory_mib: field(&meminfo, "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .unwrap_or_default()
                / 1024,
            kernel: kernel.trim().to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            virtual_machine: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|it| it == "hypervisor")),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} × {}{}, {} MiB, Linux {} {}",
            self.processors,
            self.processor,
            if self.virtual_machine { " (virtual)" } else { "" },
            self.memory_mib,
            self.kernel,
            self.architecture
        )
    }
}

impl Subject {
    pub(crate) fn here() -> Self {
        let git = |arguments: &[&str]| {
            quietly(Command::new("git").current_dir(root()).args(arguments)).map(|text| text.trim().to_owned())
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|_| "unknown".to_owned()),
            modified: git(&["status", "--porcelain", "--", "agent", "agent-ebpf", "Cargo.lock"])
                .map_or(true, |changes| !changes.is_empty()),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "zctrace {} ({}{})", self.version, self.commit, if self.modified { ", with changes" } else { "" })
    }
}

/// A file of this checkout as it was committed.
pub(crate) fn committed(path: &Path) -> Option<String> {
    let path = path.strip_prefix(root()).unwrap_or(path);
    quietly(Command::new("git").current_dir(root()).arg("show").arg(format!("HEAD:{}", path.display()))).ok()
}

/// A note where the machine had more to do than a benchmark makes, by a line of `/proc/loadavg`: its second number is the mean
/// number of threads that ran or waited for a processor over five minutes.
pub(crate) fn busy(loadavg: &str, processors: usize) -> Option<String> {
    let load: f64 = loadavg.split(' ').nth(1)?.parse().ok()?;
    #[allow(clippy::cast_precision_loss)] // a few hundred
    (load > processors as f64 + 1.0).then(|| {
        format!(
            "The machine was busy with other work: {load} threads wanted its {processors} processors at a time. The times are \
             rough; counts of instructions are not."
        )
    })
}

/// The first line `name : value` of a file of /proc.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_told() {
        assert_eq!(busy("1.10 2.50 0.90 2/300 4711\n", 2), None);
        assert!(busy("1.10 6.20 5.90 2/300 4711\n", 2).is_some_and(|note| note.contains("6.2 threads")));
        assert_eq!(busy("", 2), None);
    }

    #[test]
    fn fields_of_proc_files() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor\nMemTotal:       2048 kB\n";
        assert_eq!(field(text, "model name"), Some("AMD EPYC"));
        assert_eq!(field(text, "MemTotal"), Some("2048 kB"));
        assert_eq!(field(text, "model"), None);
    }
}
