//! Making room: entries of files that nobody uses any more leave the kernel's table, and their counts are handed to the
//! agent. A broker rolls segments for as long as it runs; a table that only grows would be full some day.

use std::collections::BTreeSet;

use agent_ebpf::{Directory, FileBytes, FileKey, FileValue, InodeKey};
use aya::{
    Ebpf,
    maps::{HashMap, MapError},
};

use super::{ProbeError, batch::for_each, load::map_mut, read::text};
use crate::snapshot::File;

const FILES: &str = "FILES";
const DIRECTORIES: &str = "DIRECTORIES";

fn failed(name: &str, error: &MapError) -> ProbeError {
    ProbeError::from_bpf(format!("make room in the map {name}"), error)
}

/// Every file of every target, with what moved so far.
pub(super) fn files(ebpf: &Ebpf) -> Result<Vec<(FileKey, FileBytes)>, ProbeError> {
    let mut files = Vec::new();
    for_each(ebpf, FILES, |key: &FileKey, values: &[FileValue]| files.push((*key, values[0].moved)))?;
    Ok(files)
}

/// Takes a file out of the table, if nothing moved since it was `seen`.
///
/// A call on this very file in the moment between the last look and the removal would be missing from its file (never
/// from its listener). It would have to be the first in a long while, and to come within a microsecond.
pub(super) fn take(ebpf: &mut Ebpf, key: &FileKey, seen: &FileBytes) -> Result<Option<File>, ProbeError> {
    let mut map: HashMap<_, FileKey, FileValue> = map_mut(ebpf, FILES)?;
    let value = match map.get(key, 0) {
        Ok(value) if value.moved == *seen => value,
        Ok(_) | Err(MapError::KeyNotFound) => return Ok(None),
        Err(error) => return Err(failed(FILES, &error)),
    };
    map.remove(key).map_err(|error| failed(FILES, &error))?;
    let (moved, directory, name) = (value.moved, value.parent, text(&value.name));
    Ok(Some(File { inode: key.inode, moved, directory, name }))
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
