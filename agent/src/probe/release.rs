//! Letting a process go: its entries leave the maps, and its slot is free for another.

use agent_ebpf::{
    COUNTERS, ENDS, FileCounts, FileKey, FileValue, LISTENER_WORDS, PORTS_PER_WORD, RESULTS, SIZE_BUCKETS, Tally,
    TransferKey, TransferValue, syscall::SYSCALLS,
};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapError, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};

use super::{
    Parts, ProbeError,
    batch::{for_each, for_each_from},
    latency,
    load::map_mut,
    order,
    places::{self, Places},
};

fn failed(name: &str, error: &MapError) -> ProbeError {
    ProbeError::from_bpf(format!("clear the map {name}"), error)
}

/// Removes everything that was counted for `slot`. No program may be counting for it any more.
pub(super) fn clear(ebpf: &mut Ebpf, slot: u16, parts: Parts) -> Result<(), ProbeError> {
    let target = u32::from(slot);
    let (transfers, files) = (remove_transfers(ebpf, slot)?, remove_files(ebpf, target)?);
    places::retire(ebpf)?;
    if parts.latency.is_some() {
        latency::clear(ebpf, &transfers, &files)?;
    }
    if parts.order {
        order::clear(ebpf, slot, &transfers)?;
    }
    clear_transfers(ebpf, &transfers)?;
    clear_files(ebpf, &files)?;
    let calls = u32::try_from(SYSCALLS).unwrap_or(0);
    zero(ebpf, "TRANSFERS_OTHER", [Tally::default(); ENDS], target * calls, calls)?;
    zero(ebpf, "RESULTS", [0u64; RESULTS], target * calls, calls)?;
    zero(ebpf, "FILES_OTHER", FileCounts::default(), target, 1)?;
    zero(ebpf, "COUNTERS", 0u64, target * COUNTERS, COUNTERS)?;
    let mut listeners: Array<_, [u8; PORTS_PER_WORD]> = map_mut(ebpf, "LISTENERS")?;
    for word in target * LISTENER_WORDS..(target + 1) * LISTENER_WORDS {
        listeners.set(word, [0; PORTS_PER_WORD], 0).map_err(|error| failed("LISTENERS", &error))?;
    }
    Ok(())
}

fn remove_transfers(ebpf: &mut Ebpf, slot: u16) -> Result<Vec<u32>, ProbeError> {
    const NAME: &str = "TRANSFER_KEYS";
    let mut keys = Vec::new();
    for_each(ebpf, NAME, |key: &TransferKey, index: &[u32]| {
        if key.target == slot {
            keys.push((*key, index[0]));
        }
    })?;
    let mut map: HashMap<_, TransferKey, u32> = map_mut(ebpf, NAME)?;
    keys.iter().try_for_each(|(key, _)| map.remove(key)).map_err(|error| failed(NAME, &error))?;
    Ok(keys.into_iter().map(|(_, index)| index).collect())
}

fn clear_transfers(ebpf: &mut Ebpf, places: &[u32]) -> Result<(), ProbeError> {
    const NAME: &str = "TRANSFERS";
    let zero = TransferValue { bytes: 0, carried_file_bytes: 0, sizes: [0; SIZE_BUCKETS] };
    let mut map: PerCpuArray<_, TransferValue> = map_mut(ebpf, NAME)?;
    for place in places {
        map.set(*place, on_each_cpu(NAME, zero)?, 0).map_err(|error| failed(NAME, &error))?;
    }
    Places::Transfers.give_back(ebpf, places)
}

fn remove_files(ebpf: &mut Ebpf, target: u32) -> Result<Vec<u32>, ProbeError> {
    const NAME: &str = "FILES";
    let mut keys = Vec::new();
    for_each(ebpf, NAME, |key: &FileKey, values: &[FileValue]| {
        if key.target == target {
            keys.push((*key, values[0].index));
        }
    })?;
    let mut map: HashMap<_, FileKey, FileValue> = map_mut(ebpf, NAME)?;
    keys.iter().try_for_each(|(key, _)| map.remove(key)).map_err(|error| failed(NAME, &error))?;
    Ok(keys.into_iter().map(|(_, index)| index).collect())
}

fn clear_files(ebpf: &mut Ebpf, places: &[u32]) -> Result<(), ProbeError> {
    const NAME: &str = "FILE_COUNTS";
    let mut map: Array<_, FileCounts> = map_mut(ebpf, NAME)?;
    for place in places {
        map.set(*place, FileCounts::default(), 0).map_err(|error| failed(NAME, &error))?;
    }
    Places::Files.give_back(ebpf, places)
}

fn on_each_cpu<V: Pod>(name: &str, value: V) -> Result<PerCpuValues<V>, ProbeError> {
    let failed = |error| ProbeError::from_bpf(format!("clear the map {name}"), &error);
    let cpus = nr_cpus().map_err(|(_, error)| failed(error))?;
    PerCpuValues::try_from(vec![value; cpus]).map_err(failed)
}

/// Sets `count` values from `first` on to `zero`, where they are not.
fn zero<V: Pod + PartialEq>(
    ebpf: &mut Ebpf,
    name: &'static str,
    zero: V,
    first: u32,
    count: u32,
) -> Result<(), ProbeError> {
    let mut used = Vec::new();
    for_each_from(ebpf, name, first, count, |index, values: &[V]| {
        if (first..first + count).contains(&index) && values.iter().any(|value| *value != zero) {
            used.push(index);
        }
    })?;
    let mut map: PerCpuArray<_, V> = map_mut(ebpf, name)?;
    for index in used {
        map.set(index, on_each_cpu(name, zero)?, 0).map_err(|error| failed(name, &error))?;
    }
    Ok(())
}
