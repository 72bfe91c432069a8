//! From maps to a [`Snapshot`].

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use agent_ebpf::{
    Counter, Directory as DirectoryValue, ENDS, Endpoint, FLAG_FILE, FLAG_MSG_ZEROCOPY, FLAG_REFUSED, FLAG_TLS,
    FileBytes, FileCounts, FileKey, FilePath, FileValue, InodeKey, LISTENER_WORDS, PORTS_PER_WORD, RESULTS,
    SIZE_BUCKETS, Syscall, Tally, TransferKey, TransferValue, call_index, counter_index, ends_index,
};
use aya::{
    Ebpf, Pod,
    maps::{Array, MapError, PerCpuArray},
};

use super::{
    Capacity, Parts, ProbeError, Usage,
    batch::{for_each, for_each_from},
    clients,
    files::{self, Known},
    fills, latency,
    load::{Borrowed, map},
    order,
    places::Places,
    sync, threads,
};
use crate::snapshot::{CallResult, File, OtherTransfer, Snapshot, Transfer, TransferId};

fn failed(name: &str, error: &MapError) -> ProbeError {
    ProbeError::from_bpf(format!("read the map {name}"), error)
}

/// Everything counted for some targets, into the snapshots of them that were read before, and how full the tables are: each
/// table is walked once for all of them.
pub(super) fn snapshots(
    ebpf: &Ebpf,
    lives: &mut [(u16, &mut Snapshot)],
    known: &mut Known,
    capacity: Capacity,
    parts: Parts,
    missed_calls: u64,
) -> Result<Vec<Usage>, ProbeError> {
    let slots: Vec<u16> = lives.iter().map(|(slot, _)| *slot).collect();
    // Files come first: what left of them since then is more in the transfers, so no part is ever larger than its whole.
    let file_entries = files::files(ebpf, lives, known)?;
    let directory_entries = files::directories(ebpf, lives, known)?;
    let mut unsent = threads::unsent(ebpf, &slots)?.into_iter();
    let mut durations = if parts.latency.is_some() { latency::read(ebpf, &slots)? } else { Vec::new() }.into_iter();
    // Clients come before transfers for the same reason.
    let mut clients = if parts.clients.is_some() { clients::read(ebpf, &slots)? } else { Vec::new() }.into_iter();
    let mut syncs = if parts.syncs { sync::read(ebpf, &slots)? } else { Vec::new() }.into_iter();
    if parts.order {
        order::read(ebpf, lives, known)?;
    }
    let (transfers, transfer_entries) = transfers(ebpf, &slots)?;
    if parts.page_cache {
        fills::read(ebpf, lives)?;
    }
    for ((slot, snapshot), kinds) in lives.iter_mut().zip(transfers) {
        snapshot.transfers = kinds.transfers;
        snapshot.refused = kinds.refused;
        snapshot.other = other(ebpf, *slot)?;
        snapshot.results = results(ebpf, *slot)?;
        snapshot.files_other = files_other(ebpf, *slot)?;
        snapshot.counters = counters(ebpf, *slot)?;
        snapshot.missed_calls = missed_calls;
        snapshot.durations = durations.next();
        snapshot.clients = clients.next();
        snapshot.unsent_read = unsent.next().unwrap_or(0);
        snapshot.syncs = syncs.next();
    }
    Ok(usage_of([transfer_entries, file_entries, directory_entries], capacity))
}

/// What the table of transfers holds of one target.
#[derive(Clone, Default)]
pub(super) struct Kinds {
    pub(super) transfers: Vec<Transfer>,
    /// See [`Snapshot::refused`].
    pub(super) refused: BTreeMap<u32, u64>,
}

/// Transfers of each target, and entries of the table.
pub(super) fn transfers(ebpf: &Ebpf, slots: &[u16]) -> Result<(Vec<Kinds>, u32), ProbeError> {
    let mut keys = Vec::new();
    let mut entries = 0;
    for_each(ebpf, "TRANSFER_KEYS", |key: &TransferKey, index: &[u32]| {
        entries += 1;
        let place = slots.iter().position(|slot| *slot == key.target);
        if let Some((place, id)) = place.zip(transfer_id(key)) {
            keys.push((index[0], place, id, key.flags & FLAG_REFUSED != 0));
        }
    })?;
    keys.sort_unstable_by_key(|(index, ..)| *index);
    let mut read = vec![Kinds::default(); slots.len()];
    let mut keys = keys.into_iter().peekable();
    let used = Places::Transfers.used(ebpf)?;
    for_each_from(ebpf, "TRANSFERS", 0, used, |index, values: &[TransferValue]| {
        if let Some((_, place, id, refused)) = keys.next_if(|(next, ..)| *next == index)
            && let Some(read) = read.get_mut(place)
        {
            let sum = sum(id, values);
            if refused {
                read.refused.insert(id.port, sum.calls());
            } else {
                read.transfers.push(sum);
            }
        }
    })?;
    for read in &mut read {
        read.transfers.retain(|transfer: &Transfer| transfer.bytes > 0);
        read.transfers.sort_unstable_by_key(|transfer| transfer.id);
        read.refused.retain(|_, calls| *calls > 0);
    }
    Ok((read, entries))
}

fn sum(id: TransferId, values: &[TransferValue]) -> Transfer {
    let mut transfer = Transfer { id, bytes: 0, carried_file_bytes: 0, sizes: [0; SIZE_BUCKETS] };
    for value in values {
        transfer.bytes += value.bytes;
        transfer.carried_file_bytes += value.carried_file_bytes;
        for (sum, calls) in transfer.sizes.iter_mut().zip(value.sizes) {
            *sum += calls;
        }
    }
    transfer
}

pub(super) fn transfer_id(key: &TransferKey) -> Option<TransferId> {
    Some(TransferId {
        syscall: Syscall::from_u8(key.syscall)?,
        source: Endpoint::from_u8(key.source)?,
        sink: Endpoint::from_u8(key.sink)?,
        port: key.port,
        msg_zerocopy: key.flags & FLAG_MSG_ZEROCOPY != 0,
        tls: key.flags & FLAG_TLS != 0,
        of_file: key.flags & FLAG_FILE != 0,
    })
}

pub(super) fn other(ebpf: &Ebpf, slot: u16) -> Result<Vec<OtherTransfer>, ProbeError> {
    const NAME: &str = "TRANSFERS_OTHER";
    let full = counters(ebpf, slot)?.contains_key(&Counter::TransfersFull);
    if !full {
        return Ok(Vec::new());
    }
    let mut read = Vec::new();
    for_each_call(ebpf, NAME, slot, |syscall, values: &[[Tally; ENDS]]| {
        for source in Endpoint::ALL {
            for sink in Endpoint::ALL {
                let mut tally = Tally::default();
                for value in values {
                    let value = value[ends_index(source as u8, sink as u8)];
                    tally.calls += value.calls;
                    tally.bytes += value.bytes;
                }
                if tally.calls > 0 {
                    read.push(OtherTransfer { syscall, source, sink, tally });
                }
            }
        }
    })?;
    Ok(read)
}

fn results(ebpf: &Ebpf, slot: u16) -> Result<Vec<CallResult>, ProbeError> {
    let mut read = Vec::new();
    for_each_call(ebpf, "RESULTS", slot, |syscall, values: &[[u64; RESULTS]]| {
        for (index, result) in (0..RESULTS).zip(0u32..) {
            let calls: u64 = values.iter().map(|value| value[index]).sum();
            if calls > 0 {
                read.push(CallResult { syscall, result, calls });
            }
        }
    })?;
    Ok(read)
}

/// Calls `visit` with what an array has for each call of a target, in their order.
fn for_each_call<V: Pod>(
    ebpf: &Ebpf,
    name: &'static str,
    slot: u16,
    mut visit: impl FnMut(Syscall, &[V]),
) -> Result<(), ProbeError> {
    let first = call_index(u32::from(slot), 0);
    let count = u32::try_from(Syscall::ALL.len()).unwrap_or(0);
    for_each_from(ebpf, name, first, count, |index, values: &[V]| {
        let code = index.checked_sub(first).and_then(|code| u8::try_from(code).ok());
        if let Some(syscall) = code.and_then(Syscall::from_u8) {
            visit(syscall, values);
        }
    })
}

/// Entries are counted by reading the keys: the kernel keeps no number of them.
pub(super) fn usage(ebpf: &Ebpf, capacity: Capacity) -> Result<Vec<Usage>, ProbeError> {
    let (mut transfers, mut files, mut directories) = (0, 0, 0);
    for_each(ebpf, "TRANSFER_KEYS", |_: &TransferKey, _: &[u32]| transfers += 1)?;
    for_each(ebpf, "FILES", |_: &FileKey, _: &[FileValue]| files += 1)?;
    for_each(ebpf, "DIRECTORIES", |_: &InodeKey, _: &[DirectoryValue]| directories += 1)?;
    Ok(usage_of([transfers, files, directories], capacity))
}

fn usage_of([transfers, files, directories]: [u32; 3], capacity: Capacity) -> Vec<Usage> {
    vec![
        Usage { map: "transfers", entries: transfers, capacity: capacity.transfers },
        Usage { map: "files", entries: files, capacity: capacity.files },
        Usage { map: "directories", entries: directories, capacity: capacity.directories },
    ]
}

/// The counts at every place that was ever given out.
pub(super) fn file_counts(ebpf: &Ebpf) -> Result<Vec<FileCounts>, ProbeError> {
    let used = Places::Files.used(ebpf)?;
    let mut counts = Vec::new();
    for_each_from(ebpf, "FILE_COUNTS", 0, used, |_, values: &[FileCounts]| counts.push(values[0]))?;
    Ok(counts)
}

/// Adds an entry of the table to those of its file.
pub(super) fn add_file(files: &mut BTreeMap<InodeKey, File>, key: &FileKey, value: &FileValue, counts: &FileCounts) {
    let file = files.entry(key.inode).or_insert_with(|| files::new_file(key, value, text(&value.name).into()));
    files::add_entry(file, key.port, counts);
}

pub(super) fn add_moved(sum: &mut FileBytes, counts: &FileCounts) {
    for path in [FilePath::ZeroCopyRead, FilePath::CopiedRead, FilePath::Written] {
        let moved = counts.of(path);
        sum.bytes[path as usize] += moved.bytes;
        sum.calls[path as usize] += moved.calls;
    }
}

fn files_other(ebpf: &Ebpf, slot: u16) -> Result<FileBytes, ProbeError> {
    let mut sum = FileBytes::default();
    for value in per_cpu::<FileCounts>(ebpf, "FILES_OTHER", u32::from(slot))? {
        add_moved(&mut sum, &value);
    }
    Ok(sum)
}

fn counters(ebpf: &Ebpf, slot: u16) -> Result<BTreeMap<Counter, u64>, ProbeError> {
    let mut read = BTreeMap::new();
    for counter in Counter::ALL {
        let index = counter_index(u32::from(slot), counter);
        let count: u64 = per_cpu::<u64>(ebpf, "COUNTERS", index)?.into_iter().sum();
        if count > 0 {
            read.insert(counter, count);
        }
    }
    Ok(read)
}

pub(super) fn listeners(ebpf: &Ebpf, slot: u16) -> Result<BTreeSet<u16>, ProbeError> {
    const NAME: &str = "LISTENERS";
    let listeners: Array<Borrowed<'_>, [u8; PORTS_PER_WORD]> = map(ebpf, NAME)?;
    let mut ports = BTreeSet::new();
    for word in 0..LISTENER_WORDS {
        let index = u32::from(slot) * LISTENER_WORDS + word;
        let flags = listeners.get(&index, 0).map_err(|error| failed(NAME, &error))?;
        for (port, flag) in (0u32..).zip(flags) {
            let port = word * u32::try_from(PORTS_PER_WORD).unwrap_or(0) + port;
            if let (true, Ok(port)) = (flag != 0, u16::try_from(port)) {
                ports.insert(port);
            }
        }
    }
    Ok(ports)
}

fn per_cpu<V: Pod>(ebpf: &Ebpf, name: &str, index: u32) -> Result<Vec<V>, ProbeError> {
    let array: PerCpuArray<Borrowed<'_>, V> = map(ebpf, name)?;
    let values = array.get(&index, 0).map_err(|error| failed(name, &error))?;
    Ok(values.to_vec())
}

/// Text up to its zero.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end])
}
