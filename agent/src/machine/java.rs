//! The Java heap, from outside: its flags from the command line, what is in use from the counters that the JVM keeps in a
//! file (`hsperfdata`, as `jstat` reads them). Nothing attaches to the JVM.

use std::{fs, path::Path};

use serde::Serialize;

use super::hsperfdata;
use crate::target::{CommandLine, Root};

/// A JVM and its heap. What could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Java {
    /// `JAVA_VERSION` of its home.
    pub version: Option<String>,
    /// The most bytes that the heap may take.
    pub max_heap_bytes: Option<u64>,
    /// Where that is from: a flag, or the default.
    pub max_heap_from: Option<String>,
    /// Bytes of the heap that the JVM has taken from the system.
    pub heap_committed_bytes: Option<u64>,
    /// Bytes of the heap that were in use when the JVM last counted them, at a collection.
    pub heap_used_bytes: Option<u64>,
    /// The collector, as the JVM calls its first one (`G1 young collection pauses`).
    pub collector: Option<String>,
}

/// What the command line says of the heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapFlags {
    /// The flag that decides, and what it says.
    max: Option<(String, Max)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Max {
    Bytes(u64),
    /// Hundredths of a percent of the memory.
    Share(u64),
}

impl Eq for Max {}

impl HeapFlags {
    /// Of a JVM's command line. The last flag wins, and a size wins over a share.
    #[must_use]
    pub fn of(command_line: &CommandLine) -> Self {
        let mut size = None;
        let mut share = None;
        for argument in command_line.arguments().iter().skip(1) {
            // What follows the main class is the program's own: none of its arguments looks like these flags.
            if let Some(bytes) =
                ["-Xmx", "-XX:MaxHeapSize="].iter().find_map(|flag| bytes(argument.strip_prefix(flag)?))
            {
                size = Some((argument.clone(), Max::Bytes(bytes)));
            } else if let Some(hundredths) = argument.strip_prefix("-XX:MaxRAMPercentage=").and_then(hundredths) {
                share = Some((argument.clone(), Max::Share(hundredths)));
            }
        }
        Self { max: size.or(share) }
    }

    /// Bytes, and where they are from. The JVM's default is a quarter of the memory that it may use.
    fn max_heap(&self, memory: Option<u64>) -> (Option<u64>, Option<String>) {
        let share = |hundredths: u64| {
            let bytes = u128::from(memory?) * u128::from(hundredths) / 10_000;
            u64::try_from(bytes).ok()
        };
        match &self.max {
            Some((flag, Max::Bytes(bytes))) => (Some(*bytes), Some(flag.clone())),
            Some((flag, Max::Share(hundredths))) => (share(*hundredths), Some(flag.clone())),
            None => (share(2500), Some("default: a quarter of the memory".to_owned())),
        }
    }
}

/// `6g`, `512M`, `1048576`: the JVM's units are powers of 1024.
fn bytes(size: &str) -> Option<u64> {
    let (digits, shift) = match size.chars().last()?.to_ascii_lowercase() {
        'k' => (&size[..size.len() - 1], 10),
        'm' => (&size[..size.len() - 1], 20),
        'g' => (&size[..size.len() - 1], 30),
        't' => (&size[..size.len() - 1], 40),
        _ => (size, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `70.5` as 7050.
fn hundredths(percent: &str) -> Option<u64> {
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
    let fraction: String = fraction.chars().chain("00".chars()).take(2).collect();
    let value = whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(fraction.parse().ok()?)?;
    (value <= 10_000).then_some(value)
}

/// The heap of a JVM that may use so much memory.
pub(super) fn look(proc: &Path, pid: u32, flags: &HeapFlags, version: Option<String>, memory: Option<u64>) -> Java {
    let (max_heap_bytes, max_heap_from) = flags.max_heap(memory);
    let heap = counters(proc, pid).map(|counters| hsperfdata::heap(&counters)).unwrap_or_default();
    Java {
        version,
        max_heap_bytes,
        max_heap_from,
        heap_committed_bytes: heap.committed,
        heap_used_bytes: heap.used,
        collector: heap.collector,
    }
}

/// Names in `/tmp` that are looked at.
const MOST_NAMES: usize = 100_000;

/// `/tmp/hsperfdata_USER/PID`, both as the JVM sees them.
fn counters(proc: &Path, pid: u32) -> Option<Vec<u8>> {
    let status = fs::read_to_string(proc.join(pid.to_string()).join("status")).ok()?;
    // In nested PID namespaces the innermost number comes last.
    let own = status.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last());
    let own = own.map_or_else(|| pid.to_string(), str::to_owned);
    let root = Root::of(proc, pid).ok()?;
    let mut users: Vec<String> = root.first_names("/tmp", MOST_NAMES).ok()?;
    users.retain(|name| name.starts_with("hsperfdata_"));
    users.iter().find_map(|user| root.read(&format!("/tmp/{user}/{own}")).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn max(arguments: &[&str]) -> (Option<u64>, String) {
        let line = CommandLine::new(["java"].iter().chain(arguments).map(|a| (*a).to_owned()).collect());
        let (bytes, from) = HeapFlags::of(&line).max_heap(Some(8 << 30));
        (bytes, from.unwrap())
    }

    #[test]
    fn the_largest_heap_is_told_by_the_flag_that_decides() {
        assert_eq!(max(&["-Xms1g", "-Xmx1G", "-Xmx6g", "kafka.Kafka"]), (Some(6 << 30), "-Xmx6g".to_owned()));
        assert_eq!(max(&["-XX:MaxHeapSize=512m"]).0, Some(512 << 20));
        assert_eq!(max(&["-Xmx1073741824"]).0, Some(1 << 30));
        assert_eq!(max(&["-XX:MaxRAMPercentage=75.0"]).0, Some(6 << 30));
        assert_eq!(max(&["-XX:MaxRAMPercentage=50", "-Xmx1g"]).0, Some(1 << 30));
        assert_eq!(max(&[]), (Some(2 << 30), "default: a quarter of the memory".to_owned()));
        assert_eq!(max(&["-Xmxlots", "-XX:MaxRAMPercentage=900"]).0, Some(2 << 30));
    }

    proptest! {
        #[test]
        fn no_flag_panics(flag in "-X(mx|X:MaxHeapSize=|X:MaxRAMPercentage=)[0-9a-zA-Zé.]{0,30}") {
            let _ = max(&[&flag]);
        }
    }
}
