//! Files and directories, read into what was read before: from one scrape to the next ten thousand of them change their
//! counts, but hardly ever their names. What is there already takes no memory again.

use std::{collections::HashSet, sync::Arc};

use agent_ebpf::{
    Directory as DirectoryValue, FileBytes, FileCounts, FileKey, FilePath, FileValue, InodeKey, PORT_NONE,
};
use aya::Ebpf;

use super::{
    ProbeError,
    batch::{for_each, for_each_from},
    places::Places,
    read::{add_moved, text},
};
use crate::{
    kafka::is_segment,
    snapshot::{Directory, File, Sent, SentByPort, Snapshot},
};

/// The directory that a log segment lies in; none of other files.
pub(super) fn log(value: &FileValue) -> Option<InodeKey> {
    is_segment(&text(&value.name)).then_some(value.parent)
}

/// What is kept between two readings beside the snapshots themselves.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Whose counts lie at each place of `FILE_COUNTS`.
    owners: Vec<Owner>,
    /// Of which targets they are, and how many files each has.
    shape: Vec<(u16, usize)>,
    /// Which files there are has changed since their directories were last looked for, or not all of these were found.
    changed: bool,
    /// Directories in which the targets' files lie, in their order: slot of the target, and place in its snapshot.
    wanted: Vec<(InodeKey, u16, u32)>,
    /// Entries of their table, when it was read last.
    directories: u32,
}

impl Known {
    /// Places that files had when they were last read.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.owners.len()).unwrap_or(u32::MAX)
    }

    /// Whose counts lie at a place: index of the target, and of the file in its snapshot.
    pub(super) fn owner(&self, place: u32) -> Option<(usize, usize)> {
        let owner = self.owners.get(place as usize).filter(|owner| owner.target != Owner::NOBODY.target)?;
        Some((owner.target.into(), owner.file as usize))
    }

    /// Directories left their table.
    pub(super) fn forget_directories(&mut self) {
        self.changed = true;
    }
}

/// An entry of the table of files.
#[derive(Clone, Copy, Debug)]
struct Owner {
    key: FileKey,
    /// Index of the target and of the file in its snapshot.
    target: u16,
    file: u32,
}

impl Owner {
    /// Of a place that no file has, or none of a target that is asked for: there are fewer targets than this.
    const NOBODY: Self = Self {
        key: FileKey { inode: InodeKey { inode: 0, device: 0, generation: 0 }, target: 0, port: 0 },
        target: u16::MAX,
        file: 0,
    };
}

/// Reads the files of some targets into their snapshots. Returns the entries of the table.
pub(super) fn files(ebpf: &Ebpf, lives: &mut [(u16, &mut Snapshot)], known: &mut Known) -> Result<u32, ProbeError> {
    // The table itself, with its names, is read where a file came or went, which few scrapes see.
    if known.shape == shape(lives)
        && let (entries, true) = counts(ebpf, lives, &known.owners)?
    {
        return Ok(entries);
    }
    let (mut entries, mut fresh, mut present) = owners(ebpf, lives, &mut known.owners)?;
    if !fresh.is_empty() || present.iter().flatten().any(|present| !present) {
        known.changed = true;
        change(lives, fresh, &present);
        // Places of files have changed. What comes now is left for the next time.
        (entries, fresh, present) = owners(ebpf, lives, &mut known.owners)?;
        drop((fresh, present));
    }
    known.shape = shape(lives);
    counts(ebpf, lives, &known.owners)?;
    Ok(entries)
}

fn shape(lives: &[(u16, &mut Snapshot)]) -> Vec<(u16, usize)> {
    lives.iter().map(|(slot, snapshot)| (*slot, snapshot.files.len())).collect()
}

/// Places behind the known ones that are looked at: more than processors that give a place back at once, since another was faster.
const AHEAD: u32 = 1024;

/// Reads what moved. Returns how many files there are, and whether they are those that were known.
fn counts(ebpf: &Ebpf, lives: &mut [(u16, &mut Snapshot)], owners: &[Owner]) -> Result<(u32, bool), ProbeError> {
    for (_, snapshot) in &mut *lives {
        for file in &mut snapshot.files {
            file.moved = FileBytes::default();
            file.sent.clear();
        }
    }
    let (mut entries, mut is_known) = (0, true);
    // Places are given out one after the other: a file that came has one right behind. How many were given out, not all kernels tell.
    let count = Places::Files.used(ebpf)?.min(u32::try_from(owners.len()).unwrap_or(u32::MAX).saturating_add(AHEAD));
    for_each_from(ebpf, "FILE_COUNTS", 0, count, |index, values: &[FileCounts]| {
        let counts = &values[0];
        let owner = owners.get(index as usize).unwrap_or(&Owner::NOBODY);
        entries += u32::from(counts.key != Owner::NOBODY.key);
        if owner.key != counts.key {
            is_known = false;
            return;
        }
        let snapshot = lives.get_mut(usize::from(owner.target));
        if let Some(file) = snapshot.and_then(|(_, snapshot)| snapshot.files.get_mut(owner.file as usize)) {
            add_entry(file, owner.key.port, counts);
        }
    })?;
    Ok((entries, is_known))
}

/// A file that its snapshot does not have: index of the target, and the entry.
type Fresh = (u16, FileKey, FileValue);
/// Whether each known file of each target is still there.
type Present = Vec<Vec<bool>>;

/// Finds whose counts lie where.
fn owners(
    ebpf: &Ebpf,
    lives: &[(u16, &mut Snapshot)],
    owners: &mut Vec<Owner>,
) -> Result<(u32, Vec<Fresh>, Present), ProbeError> {
    let used = Places::Files.used(ebpf)?;
    owners.clear();
    let mut fresh = Vec::new();
    let mut present: Present = lives.iter().map(|(_, snapshot)| vec![false; snapshot.files.len()]).collect();
    let mut entries = 0;
    for_each(ebpf, "FILES", |key: &FileKey, values: &[FileValue]| {
        entries += 1;
        let place = values[0].index as usize;
        if place >= owners.len() && values[0].index < used {
            owners.resize(place + 1, Owner::NOBODY);
        }
        let Some(owner) = owners.get_mut(place) else { return };
        *owner = Owner { key: *key, ..Owner::NOBODY };
        let target = lives.iter().position(|(slot, _)| u32::from(*slot) == key.target);
        let Some((index, (_, snapshot))) = target.and_then(|index| Some((index, lives.get(index)?))) else { return };
        let target = u16::try_from(index).unwrap_or(u16::MAX);
        let Ok(file) = snapshot.files.binary_search_by_key(&key.inode, |file| file.inode) else {
            fresh.push((target, *key, values[0]));
            return;
        };
        present[index][file] = true;
        (owner.target, owner.file) = (target, u32::try_from(file).unwrap_or(u32::MAX));
    })?;
    Ok((entries, fresh, present))
}

/// Takes in files that came, and lets go those that went.
fn change(lives: &mut [(u16, &mut Snapshot)], mut fresh: Vec<Fresh>, present: &Present) {
    for ((_, snapshot), present) in lives.iter_mut().zip(present) {
        let mut present = present.iter();
        snapshot.files.retain(|_| present.next().copied().unwrap_or(true));
    }
    fresh.sort_unstable_by_key(|(target, key, _)| (*target, key.inode));
    // One for all the ports of a file.
    fresh.dedup_by_key(|(target, key, _)| (*target, key.inode));
    for (index, (_, snapshot)) in lives.iter_mut().enumerate() {
        snapshot.files.reserve_exact(fresh.iter().filter(|(target, ..)| usize::from(*target) == index).count());
    }
    let mut last: Arc<str> = "".into();
    for (target, key, value) in fresh {
        let Some((_, snapshot)) = lives.get_mut(usize::from(target)) else { continue };
        let name = text(&value.name);
        // The first segments of all partitions have one name.
        if *last != *name {
            last = name.into();
        }
        snapshot.files.push(new_file(&key, &value, Arc::clone(&last)));
    }
    for (_, snapshot) in lives {
        snapshot.files.sort_unstable_by_key(|file| file.inode);
    }
}

pub(super) fn new_file(key: &FileKey, value: &FileValue, name: Arc<str>) -> File {
    File { inode: key.inode, moved: FileBytes::default(), directory: value.parent, name, sent: SentByPort::default() }
}

pub(super) fn add_entry(file: &mut File, port: u32, counts: &FileCounts) {
    add_moved(&mut file.moved, counts);
    if port != PORT_NONE {
        let bytes = |path: FilePath| counts.of(path).bytes;
        let sent = Sent {
            zero_copy: bytes(FilePath::ZeroCopyRead),
            carried: bytes(FilePath::Carried),
            copied: bytes(FilePath::SentCopied),
            read_calls: counts.of(FilePath::Carried).calls,
        };
        if sent != Sent::default() {
            file.sent.add(port, sent);
        }
    }
}

/// Reads the names of the directories in which the targets' files lie. Returns the entries of the table.
pub(super) fn directories(
    ebpf: &Ebpf,
    lives: &mut [(u16, &mut Snapshot)],
    known: &mut Known,
) -> Result<u32, ProbeError> {
    // A name stays as it was first seen.
    if !std::mem::take(&mut known.changed) && known.wanted.len() == directories_of(lives) {
        return Ok(known.directories);
    }
    want(lives, &mut known.wanted);
    let wanted = &known.wanted;
    let mut present = vec![false; wanted.len()];
    let mut entries = 0;
    for_each(ebpf, "DIRECTORIES", |inode: &InodeKey, values: &[DirectoryValue]| {
        entries += 1;
        let first = wanted.partition_point(|(wanted, ..)| wanted < inode);
        let mut new_name: Option<Arc<str>> = None;
        for (place, (_, target, directory)) in (first..).zip(&wanted[first..]).take_while(|(_, (of, ..))| of == inode) {
            present[place] = true;
            let life = lives.iter_mut().find(|(slot, _)| slot == target);
            let directory = life.and_then(|(_, snapshot)| snapshot.directories.get_mut(*directory as usize));
            let Some(directory) = directory else { continue };
            let name = text(&values[0].name);
            directory.parent = values[0].parent;
            if *directory.name != *name {
                directory.name = Arc::clone(new_name.get_or_insert_with(|| name.into()));
            }
        }
    })?;
    if present.contains(&false) {
        let lost =
            wanted.iter().zip(present).filter(|(_, present)| !present).map(|((_, target, place), _)| (*target, *place));
        let lost: HashSet<(u16, u32)> = lost.collect();
        for (slot, snapshot) in lives {
            let mut place = 0u32..;
            snapshot.directories.retain(|_| !place.next().is_some_and(|place| lost.contains(&(*slot, place))));
        }
        known.changed = true;
    }
    known.directories = entries;
    Ok(entries)
}

fn directories_of(lives: &[(u16, &mut Snapshot)]) -> usize {
    lives.iter().map(|(_, snapshot)| snapshot.directories.len()).sum()
}

/// Has each snapshot hold the directories in which its files lie, those that it did not have without a name, and lists them.
fn want(lives: &mut [(u16, &mut Snapshot)], wanted: &mut Vec<(InodeKey, u16, u32)>) {
    let nameless: Arc<str> = "".into();
    for (_, snapshot) in &mut *lives {
        let mut used: Vec<InodeKey> = snapshot.files.iter().map(|file| file.directory).collect();
        used.sort_unstable();
        used.dedup();
        let directories = &mut snapshot.directories;
        directories.retain(|directory| used.binary_search(&directory.inode).is_ok());
        let known = directories.len();
        used.retain(|inode| directories[..known].binary_search_by_key(inode, |directory| directory.inode).is_err());
        directories.reserve_exact(used.len());
        let fresh = |inode| Directory { inode, parent: InodeKey::default(), name: Arc::clone(&nameless) };
        directories.extend(used.into_iter().map(fresh));
        directories.sort_unstable_by_key(|directory| directory.inode);
    }
    wanted.clear();
    wanted.reserve_exact(directories_of(lives));
    for (slot, snapshot) in lives {
        wanted.extend((0u32..).zip(&snapshot.directories).map(|(place, directory)| (directory.inode, *slot, place)));
    }
    wanted.sort_unstable();
}
