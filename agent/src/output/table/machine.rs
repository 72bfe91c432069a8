//! What the process runs on.

use super::{super::Style, bullets, title};
use crate::{
    machine::{BlockDevice, Cgroup, Java, LogDir, Memory},
    report::{Report, Setting},
};

pub(super) fn section(report: &Report, style: &Style) -> String {
    let Some(machine) = &report.machine else { return String::new() };
    let mut sentences = Vec::new();
    sentences.extend(machine.memory.as_ref().map(|memory| host(memory, style)));
    sentences.extend(machine.cgroup.as_ref().and_then(|group| cgroup(group, style)));
    sentences.extend(
        machine
            .cache_room_bytes
            .map(|room| format!("The page cache has, or could take at once, {} at most.", style.bytes(room))),
    );
    sentences.extend(machine.java.as_ref().map(|java| self::java(java, style)));
    if let Some(swapped) = machine.own_memory.as_ref().map(|own| own.swapped_bytes).filter(|swapped| *swapped > 0) {
        sentences.push(format!("{} of the process are in swap.", style.bytes(swapped)));
    }
    sentences.extend(machine.log_dirs.iter().map(log_dir));
    let settings = report.target.kafka.as_ref().map(|kafka| kafka.settings.as_slice()).unwrap_or_default();
    if !settings.is_empty() {
        sentences.push(format!("Settings: {}.", settings.iter().map(setting).collect::<Vec<_>>().join(", ")));
    }
    if sentences.is_empty() {
        return String::new();
    }
    title("Machine", "at the end of the window", style) + &bullets(sentences.iter().map(String::as_str), style)
}

fn setting(setting: &Setting) -> String {
    format!("{}={}", setting.key, setting.value)
}

fn host(memory: &Memory, style: &Style) -> String {
    let part = |bytes: u64, what: &str| (bytes > 0).then(|| format!("{} {what}", style.bytes(bytes)));
    let parts = [
        part(memory.page_cache_bytes, "page cache"),
        part(memory.free_bytes, "free"),
        part(memory.anonymous_bytes, "of processes"),
        part(memory.shared_bytes, "shared"),
        part(memory.kernel_bytes, "of the kernel"),
        part(memory.huge_pages_bytes, "of huge pages"),
        part(memory.swap_used_bytes, "in swap"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!(
        "Memory: {}, of which {}. Not yet on disk: {} dirty, {} on their way.",
        style.bytes(memory.total_bytes),
        parts.join(", "),
        style.bytes(memory.dirty_bytes),
        style.bytes(memory.writeback_bytes)
    )
}

/// Only where it sets a limit: the group of a host's ordinary service tells nothing more.
fn cgroup(group: &Cgroup, style: &Style) -> Option<String> {
    let limit = group.limit_bytes?;
    let known = |bytes: Option<u64>| bytes.map_or_else(super::absent, |bytes| style.bytes(bytes));
    let hits = group.limit_hits.filter(|hits| *hits > 0).map(|hits| format!(", hit {hits} times")).unwrap_or_default();
    Some(format!(
        "Control group {}: limit {}{hits}, {} in use, {} of that page cache, which counts against the limit.",
        group.path,
        style.bytes(limit),
        known(group.used_bytes),
        known(group.page_cache_bytes)
    ))
}

fn java(java: &Java, style: &Style) -> String {
    let mut text = "Java".to_owned();
    if let Some(version) = &java.version {
        text += &format!(" {version}");
    }
    if let (Some(bytes), Some(from)) = (java.max_heap_bytes, &java.max_heap_from) {
        text += &format!(": heap of {} at most ({from})", style.bytes(bytes));
    }
    if let (Some(used), Some(committed)) = (java.heap_used_bytes, java.heap_committed_bytes) {
        text += &format!(", {} taken, {} in use at the last collection", style.bytes(committed), style.bytes(used));
    }
    text + "."
}

/// `/data: xfs on /dev/md0 (rw,noatime); md0: raid10 of 4; sdb: rotational, scheduler mq-deadline.`
fn log_dir(dir: &LogDir) -> String {
    let Some(file_system) = &dir.file_system else {
        return format!("{}: its file system could not be found out.", dir.path);
    };
    let source = dir.source.as_deref().unwrap_or("?");
    let options = dir.mount_options.as_deref().unwrap_or_default();
    let mut text = format!("{}: {file_system} on {source} ({options})", dir.path);
    if dir.network == Some(true) {
        text += ", over the network";
    }
    if let Some(profile) = &dir.data_profile {
        text += &format!(", data profile {profile}");
    }
    for device in &dir.block {
        let about = about(device);
        if !about.is_empty() {
            text += &format!("; {}: {}", device.name, about.join(", "));
        }
    }
    text + "."
}

fn about(device: &BlockDevice) -> Vec<String> {
    let array = device.raid_level.as_ref().map(|level| match (device.raid_disks, device.raid_missing) {
        (Some(disks), Some(missing)) if missing > 0 => format!("{level} of {disks}, {missing} missing"),
        (Some(disks), _) => format!("{level} of {disks}"),
        (None, _) => level.clone(),
    });
    let file = device.backing_file.as_ref().map(|file| format!("a loop over {file}"));
    let turns = device.rotational.map(|turns| if turns { "rotational" } else { "not rotational" }.to_owned());
    let scheduler = device.scheduler.as_ref().map(|scheduler| format!("scheduler {scheduler}"));
    [array, device.mapper.clone(), file, turns, scheduler].into_iter().flatten().collect()
}
