//! What the process runs on.

use super::{super::Style, bullets, title};
use crate::{
    machine::{BlockDevice, LogDir, Machine},
    report::Report,
};

pub(super) fn section(report: &Report, style: &Style) -> String {
    let Some(machine) = &report.machine else { return String::new() };
    let sentences = sentences(machine);
    if sentences.is_empty() {
        return String::new();
    }
    title("Machine", "", style) + &bullets(sentences.iter().map(String::as_str), style)
}

fn sentences(machine: &Machine) -> Vec<String> {
    machine.log_dirs.iter().map(log_dir).collect()
}

/// `/data: xfs on /dev/md0 (rw,noatime); md0 is a raid10 of 4; sdb turns, scheduler mq-deadline.`
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
