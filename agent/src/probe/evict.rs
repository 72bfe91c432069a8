//! Making room: entries of files that nobody uses any more leave the kernel's table, and their counts are handed to the
//! agent. A broker rolls segments for as long as it runs; a table that only grows would be full some day.

use std::collections::{BTreeMap, BTreeSet};

use agent_ebpf::{Directory, FileCounts, FileKey, FileValue, InodeKey};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapError},
};

use super::{
    FileCount, Parts, ProbeError, Slot, Taken,
    batch::for_each,
    latency,
    load::map_mut,
    order,
    places::{self, Places},
    read::{add_file, file_counts},
};

const FILES: &str = "FILES";
const FILE_COUNTS: &str = "FILE_COUNTS";
const DIRECTORIES: &str = "DIRECTORIES";

fn failed(name: &str, error: &MapError) -> ProbeError {
    ProbeError::from_bpf(format!("make room in the map {name}"), error)
}

/// Every entry of every target, with what moved so far.
pub(super) fn files(ebpf: &Ebpf) -> Result<Vec<FileCount>, ProbeError> {
    let count = |counts: FileCounts| {
        let slot = Slot(u16::try_from(counts.key.target).ok()?);
        (counts.key != FileKey::default()).then_some(FileCount { slot, counts })
    };
    Ok(file_counts(ebpf)?.into_iter().filter_map(count).collect())
}

/// Takes those entries out of the table to which nothing was added since they were `seen`. What is added while they leave
/// is in what is returned.
pub(super) fn take(ebpf: &mut Ebpf, seen: &[&FileCount], parts: Parts) -> Result<Taken, ProbeError> {
    let mut taken = Vec::new();
    let failure = remove_idle(ebpf, seen, &mut taken).err();
    places::retire(ebpf)?;
    let mut files = BTreeMap::new();
    let mut counts: Array<_, FileCounts> = map_mut(ebpf, FILE_COUNTS)?;
    let mut lasts = Vec::new();
    for (key, value) in &taken {
        let last = counts.get(&value.index, 0).map_err(|error| failed(FILE_COUNTS, &error))?;
        add_file(&mut files, key, value, &last);
        counts.set(value.index, FileCounts::default(), 0).map_err(|error| failed(FILE_COUNTS, &error))?;
        lasts.push((value, last));
    }
    let durations = if parts.latency.is_some() { Some(latency::take(ebpf, &taken)?) } else { None };
    let order = parts.order.then(|| order::taken(lasts.iter().map(|(value, last)| (*value, last))));
    let free: Vec<u32> = taken.iter().map(|(_, value)| value.index).collect();
    Places::Files.give_back(ebpf, &free)?;
    if let Some(error) = failure {
        // What was taken is nowhere else any more: it must be returned.
        tracing::warn!(%error, "not every file that lies still could leave its map");
    }
    Ok(Taken { files: files.into_values().collect(), durations, order })
}

fn remove_idle(ebpf: &mut Ebpf, seen: &[&FileCount], taken: &mut Vec<(FileKey, FileValue)>) -> Result<(), ProbeError> {
    let counts = file_counts(ebpf)?;
    let mut map: HashMap<_, FileKey, FileValue> = map_mut(ebpf, FILES)?;
    for seen in seen {
        let value = match map.get(&seen.counts.key, 0) {
            Ok(value) if counts.get(value.index as usize) == Some(&seen.counts) => value,
            Ok(_) | Err(MapError::KeyNotFound) => continue,
            Err(error) => return Err(failed(FILES, &error)),
        };
        map.remove(&seen.counts.key).map_err(|error| failed(FILES, &error))?;
        taken.push((seen.counts.key, value));
    }
    Ok(())
}

/// Removes directories in which no file of the table lies.
pub(super) fn directories(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let mut used: BTreeSet<InodeKey> = BTreeSet::new();
    for_each(ebpf, FILES, |_: &FileKey, values: &[FileValue]| {
        used.insert(values[0].parent);
    })?;
    let mut unused = Vec::new();
    for_each(ebpf, DIRECTORIES, |inode: &InodeKey, _: &[Directory]| {
        if !used.contains(inode) {
            unused.push(*inode);
        }
    })?;
    let mut map: HashMap<_, InodeKey, Directory> = map_mut(ebpf, DIRECTORIES)?;
    unused.iter().try_for_each(|inode| map.remove(inode)).map_err(|error| failed(DIRECTORIES, &error))
}
