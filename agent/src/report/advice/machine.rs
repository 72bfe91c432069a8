//! Rules about what the broker runs on.

use super::Advice;
use crate::{
    machine::{BlockDevice, LogDir, Machine},
    report::Report,
};

/// Everything that the machine gives reason for.
#[must_use]
pub(super) fn advise(report: &Report) -> Vec<Advice> {
    let Some(machine) = &report.machine else { return Vec::new() };
    [
        heap_too_large(machine),
        cgroup_squeezes_cache(machine),
        swapped(machine),
        network_log_dirs(machine),
        log_dirs_of_containers(machine),
        parity_raid(machine, report),
        degraded_raid(machine),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A limit that leaves less than this part for the page cache, in percent, squeezes it.
const LEAST_CACHE_PERCENT: u64 = 25;

fn heap_too_large(machine: &Machine) -> Option<Advice> {
    let java = machine.java.as_ref()?;
    let (heap, memory) = (java.max_heap_bytes?, machine.memory_limit()?);
    if heap <= memory / 2 {
        return None;
    }
    let from = java.max_heap_from.clone().unwrap_or_default();
    let mut evidence = vec![format!(
        "The heap may take {} ({from}) of {}, the most memory that the broker and its page cache can have.",
        bytes(heap),
        bytes(memory)
    )];
    evidence
        .extend(java.heap_used_bytes.map(|used| format!("{} of it were in use at the last collection.", bytes(used))));
    evidence.extend(machine.cache_room_bytes.map(|room| format!("{} are there for the page cache now.", bytes(room))));
    Some(Advice {
        id: "heap_too_large",
        text:
            "The Java heap may take more than half of the memory. Kafka serves what was written lately from the page \
               cache, which has only what the heap leaves: with less of it, consumers that lag a little read from disk."
                .to_owned(),
        evidence,
        remedy:
            "Give the heap what the broker uses at its busiest and a margin (Kafka's own advice is about 6 GiB), and \
                 leave the rest to the page cache."
                .to_owned(),
    })
}

fn cgroup_squeezes_cache(machine: &Machine) -> Option<Advice> {
    let group = machine.cgroup.as_ref()?;
    let (limit, used, cache) = (group.limit_bytes?, group.used_bytes?, group.page_cache_bytes?);
    // A limit that the host can't reach anyway is none.
    if machine.memory.as_ref().is_some_and(|memory| limit >= memory.total_bytes) {
        return None;
    }
    let room = limit.saturating_sub(used.saturating_sub(cache));
    if room >= limit / 100 * LEAST_CACHE_PERCENT {
        return None;
    }
    let mut evidence = vec![format!(
        "The control group {} may have {}; {} of that is not page cache, which leaves {}.",
        group.path,
        bytes(limit),
        bytes(used.saturating_sub(cache)),
        bytes(room)
    )];
    evidence.extend(group.limit_hits.filter(|hits| *hits > 0).map(|hits| format!("It hit its limit {hits} times.")));
    Some(Advice {
        id: "cgroup_squeezes_cache",
        text:
            "In a container the page cache counts against the memory limit, and little of it is left for that: what is \
               written is soon dropped and has to be read from disk again, however much memory the host has free."
                .to_owned(),
        evidence,
        remedy: "Raise the container's memory limit, or make the heap smaller.".to_owned(),
    })
}

fn swapped(machine: &Machine) -> Option<Advice> {
    let swapped = machine.own_memory.as_ref()?.swapped_bytes;
    if swapped == 0 {
        return None;
    }
    let mut evidence = vec![format!("{} of the broker's own memory are in swap.", bytes(swapped))];
    let swappiness = machine.memory.as_ref().and_then(|memory| memory.swappiness);
    evidence.extend(swappiness.map(|value| format!("vm.swappiness is {value}.")));
    Some(Advice {
        id: "swapped_out",
        text:
            "A part of the broker lies in swap. A collection of garbage reads all of it back, and every thread waits."
                .to_owned(),
        evidence,
        remedy: "Set vm.swappiness to 1, or leave the broker more memory.".to_owned(),
    })
}

fn network_log_dirs(machine: &Machine) -> Option<Advice> {
    let evidence: Vec<String> = machine.log_dirs.iter().filter(|dir| dir.network == Some(true)).map(place).collect();
    (!evidence.is_empty()).then(|| Advice {
        id: "log_dir_on_network",
        text:
            "Logs lie on a network file system. Each read that the page cache does not answer, and each flush, waits \
               for the network and another machine, and Kafka's files were not made for its rules of renaming and \
               deleting open files."
                .to_owned(),
        evidence,
        remedy: "Put log.dirs on local disks: replication between brokers is what keeps the data safe.".to_owned(),
    })
}

/// File systems of a container's own layer, and of memory.
const PASSING: [&str; 4] = ["overlay", "aufs", "tmpfs", "ramfs"];

fn log_dirs_of_containers(machine: &Machine) -> Option<Advice> {
    let passing = |dir: &&LogDir| dir.file_system.as_deref().is_some_and(|name| PASSING.contains(&name));
    let evidence: Vec<String> = machine.log_dirs.iter().filter(passing).map(place).collect();
    (!evidence.is_empty()).then(|| Advice {
        id: "log_dir_not_kept",
        text: "Logs lie in a container's own layer or in memory: they go when it goes, and the broker then fetches all of \
               them from the others."
            .to_owned(),
        evidence,
        remedy: "Mount a volume of a disk for log.dirs.".to_owned(),
    })
}

/// Of what is read from and written to logs, at least this part must be written for it to matter, in percent.
const WRITE_HEAVY_PERCENT: u128 = 20;

fn parity_raid(machine: &Machine, report: &Report) -> Option<Advice> {
    let is_parity = |level: &str| ["raid4", "raid5", "raid6"].iter().any(|parity| level.contains(parity));
    let mut evidence = Vec::new();
    for dir in &machine.log_dirs {
        let arrays = dir.block.iter().filter_map(|device| Some((device, device.raid_level.as_deref()?)));
        let arrays = arrays.filter(|(_, level)| is_parity(level));
        evidence.extend(arrays.map(|(device, level)| format!("{} lies on {}, {level}.", dir.path, device.name)));
        let profile = dir.data_profile.as_deref().filter(|profile| is_parity(profile));
        evidence.extend(profile.map(|profile| format!("{} is btrfs with the data profile {profile}.", dir.path)));
    }
    let (mut read, mut written) = (0u128, 0u128);
    for topic in &report.topics {
        read += u128::from(topic.zero_copy_read_bytes) + u128::from(topic.copied_read_bytes);
        written += u128::from(topic.written_bytes);
    }
    if evidence.is_empty() || written == 0 || written * 100 < (read + written) * WRITE_HEAVY_PERCENT {
        return None;
    }
    let amount = |bytes: u128| self::bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
    evidence.push(format!(
        "In {:.0} s {} were written to logs and {} were read from them.",
        report.window.seconds,
        amount(written),
        amount(read)
    ));
    Some(Advice {
        id: "parity_raid",
        text:
            "Logs lie on an array with parity, and much is written to them. Such an array reads before it writes what \
               is less than a stripe, so writing costs it several times what it costs RAID 10."
                .to_owned(),
        evidence,
        remedy: "Use RAID 10, or one log directory a disk and Kafka's own replication.".to_owned(),
    })
}

fn degraded_raid(machine: &Machine) -> Option<Advice> {
    let arrays = machine.log_dirs.iter().flat_map(|dir| &dir.block);
    let mut evidence: Vec<String> = arrays.filter_map(missing).collect();
    evidence.sort_unstable();
    evidence.dedup();
    (!evidence.is_empty()).then(|| Advice {
        id: "raid_degraded",
        text: "An array below the logs lacks members: it is slower, and the next disk that fails may take the data with it."
            .to_owned(),
        evidence,
        remedy: "Replace the disk (`cat /proc/mdstat` shows which).".to_owned(),
    })
}

fn missing(device: &BlockDevice) -> Option<String> {
    let missing = device.raid_missing.filter(|missing| *missing > 0)?;
    let disks = device.raid_disks.map(|disks| format!(" of {disks}")).unwrap_or_default();
    Some(format!("{} ({}) lacks {missing}{disks}.", device.name, device.raid_level.as_deref().unwrap_or("array")))
}

/// `/data is on nfs4, server:/export`.
fn place(dir: &LogDir) -> String {
    let known = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("{} is on {}, {}.", dir.path, known(&dir.file_system), known(&dir.source))
}

/// `6.0 GiB`.
fn bytes(bytes: u64) -> String {
    crate::units::human_bytes(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        machine::{Cgroup, Java, Memory, OwnMemory},
        report::{self, Attach, EndedBy, Window},
        snapshot::Snapshot,
    };

    const GIB: u64 = 1 << 30;

    /// A broker that wrote and read, as it was recorded, on this machine.
    fn report_on(machine: Machine) -> Report {
        let recorded: Snapshot = serde_json::from_str(include_str!("../recorded/broker.json")).unwrap();
        let facts = report::Facts { machine: Some(machine), ..report::tests::facts() };
        let window = Window { start: String::new(), seconds: 10.0, ended_by: EndedBy::Signal };
        report::build(&recorded, &facts, window, Attach::default())
    }

    fn advice_on(machine: Machine) -> Vec<&'static str> {
        report_on(machine).advice.iter().map(|advice| advice.id).collect()
    }

    fn memory(total: u64) -> Option<Memory> {
        Some(Memory { total_bytes: total, free_bytes: total / 2, ..Memory::default() })
    }

    fn heap(bytes: u64) -> Option<Java> {
        Some(Java { max_heap_bytes: Some(bytes), max_heap_from: Some("-Xmx".to_owned()), ..Java::default() })
    }

    fn dir(file_system: &str, network: bool) -> LogDir {
        LogDir {
            path: "/data".to_owned(),
            file_system: Some(file_system.to_owned()),
            source: Some("store:/kafka".to_owned()),
            network: Some(network),
            ..LogDir::default()
        }
    }

    fn on_array(level: &str, missing: u64) -> Machine {
        let array = BlockDevice {
            name: "md0".to_owned(),
            raid_level: Some(level.to_owned()),
            raid_disks: Some(4),
            raid_missing: Some(missing),
            ..BlockDevice::default()
        };
        Machine { log_dirs: vec![LogDir { block: vec![array], ..dir("xfs", false) }], ..Machine::default() }
    }

    #[test]
    fn where_nothing_is_wrong_nothing_is_said() {
        let good = Machine {
            memory: memory(64 * GIB),
            own_memory: Some(OwnMemory { anonymous_bytes: 7 * GIB, swapped_bytes: 0 }),
            java: heap(6 * GIB),
            ..on_array("raid10", 0)
        };
        assert_eq!(advice_on(good), [""; 0]);
        assert_eq!(advice_on(Machine::default()), [""; 0]);
    }

    #[test]
    fn a_heap_is_measured_against_the_host_or_the_limit() {
        let machine = Machine { memory: memory(64 * GIB), java: heap(40 * GIB), ..Machine::default() };
        assert_eq!(advice_on(machine.clone()), ["heap_too_large"]);
        let small = Machine { java: heap(6 * GIB), ..machine };
        assert_eq!(advice_on(small.clone()), [""; 0]);
        let group = Cgroup { limit_bytes: Some(8 * GIB), ..Cgroup::default() };
        let limited = Machine { cgroup: Some(group), ..small };
        let report = report_on(limited);
        assert_eq!(report.advice[0].id, "heap_too_large");
        assert!(report.advice[0].evidence[0].contains("6.00 GiB (-Xmx) of 8.00 GiB"), "{:?}", report.advice);
    }

    #[test]
    fn a_limit_squeezes_the_cache_where_little_is_left_under_it() {
        let group = |used, cache| Cgroup {
            version: 2,
            path: "/k".to_owned(),
            limit_bytes: Some(8 * GIB),
            used_bytes: Some(used),
            page_cache_bytes: Some(cache),
            limit_hits: Some(3),
            ..Cgroup::default()
        };
        let machine = |group| Machine { memory: memory(64 * GIB), cgroup: Some(group), ..Machine::default() };
        assert_eq!(advice_on(machine(group(8 * GIB, GIB))), ["cgroup_squeezes_cache"]);
        assert_eq!(advice_on(machine(group(8 * GIB, 4 * GIB))), [""; 0]);
        // A limit above what the host has.
        let small_host = Machine { memory: memory(4 * GIB), ..machine(group(8 * GIB, GIB)) };
        assert_eq!(advice_on(small_host), [""; 0]);
    }

    #[test]
    fn swap_networks_layers_and_arrays_are_called_out() {
        let own = OwnMemory { anonymous_bytes: 1, swapped_bytes: 4096 };
        assert_eq!(advice_on(Machine { own_memory: Some(own), ..Machine::default() }), ["swapped_out"]);
        let on = |dirs| Machine { log_dirs: dirs, ..Machine::default() };
        let report = report_on(on(vec![dir("ext4", false), dir("nfs4", true)]));
        assert_eq!(report.advice[0].evidence, ["/data is on nfs4, store:/kafka."]);
        assert_eq!(advice_on(on(vec![dir("overlay", false)])), ["log_dir_not_kept"]);
        for (level, missing, expected) in [
            ("raid5", 0, &["parity_raid"][..]),
            ("raid6", 1, &["parity_raid", "raid_degraded"]),
            ("raid10", 1, &["raid_degraded"]),
            ("raid0", 0, &[]),
            ("raid1", 0, &[]),
        ] {
            assert_eq!(advice_on(on_array(level, missing)), expected, "{level}");
        }
        let btrfs = LogDir { data_profile: Some("raid6".to_owned()), ..dir("btrfs", false) };
        assert_eq!(advice_on(on(vec![btrfs])), ["parity_raid"]);
    }

    #[test]
    fn parity_does_not_matter_where_little_is_written() {
        let mut report = report_on(on_array("raid5", 0));
        for topic in &mut report.topics {
            (topic.zero_copy_read_bytes, topic.written_bytes) = (1 << 30, 1 << 20);
        }
        let machine = report.machine.clone().unwrap();
        assert_eq!(parity_raid(&machine, &report), None);
    }
}
