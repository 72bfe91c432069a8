//! Letting a process go: its entries leave the maps, and its slot is free for another.

use agent_ebpf::{
    COUNTERS, FileBytes, FileKey, FileValue, LISTENER_WORDS, OTHER_PER_TARGET, PORTS_PER_WORD, RESULTS_PER_SYSCALL,
    Tally, TransferKey, TransferValue, syscall::SYSCALLS,
};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};

use super::{ProbeError, batch::for_each, load::map_mut};

fn failed(name: &str, error: &MapError) -> ProbeError {
    ProbeError::from_bpf(format!("clear the map {name}"), error)
}

/// Removes everything that was counted for `slot`. No program may be counting for it any more.
pub(super) fn clear(ebpf: &mut Ebpf, slot: u16) -> Result<(), ProbeError> {
    let target = u32::from(slot);
    clear_transfers(ebpf, slot)?;
    clear_files(ebpf, target)?;
    let results = u32::try_from(SYSCALLS).unwrap_or(0) * RESULTS_PER_SYSCALL;
    zero(ebpf, "TRANSFERS_OTHER", Tally::default(), target * OTHER_PER_TARGET, OTHER_PER_TARGET)?;
    zero(ebpf, "RESULTS", 0u64, target * results, results)?;
    zero(ebpf, "FILES_OTHER", FileBytes::default(), target, 1)?;
    zero(ebpf, "COUNTERS", 0u64, target * COUNTERS, COUNTERS)?;
    let mut listeners: Array<_, [u8; PORTS_PER_WORD]> = map_mut(ebpf, "LISTENERS")?;
    for word in target * LISTENER_WORDS..(target + 1) * LISTENER_WORDS {
        listeners.set(word, [0; PORTS_PER_WORD], 0).map_err(|error| failed("LISTENERS", &error))?;
    }
    Ok(())
}

fn clear_transfers(ebpf: &mut Ebpf, slot: u16) -> Result<(), ProbeError> {
    const NAME: &str = "TRANSFERS";
    let mut keys = Vec::new();
    for_each(ebpf, NAME, |key: &TransferKey, _: &[TransferValue]| {
        if key.target == slot {
            keys.push(*key);
        }
    })?;
    let mut map: PerCpuHashMap<_, TransferKey, TransferValue> = map_mut(ebpf, NAME)?;
    keys.iter().try_for_each(|key| map.remove(key)).map_err(|error| failed(NAME, &error))
}

fn clear_files(ebpf: &mut Ebpf, target: u32) -> Result<(), ProbeError> {
    const NAME: &str = "FILES";
    let mut keys = Vec::new();
    for_each(ebpf, NAME, |key: &FileKey, _: &[FileValue]| {
        if key.target == target {
            keys.push(*key);
        }
    })?;
    let mut map: HashMap<_, FileKey, FileValue> = map_mut(ebpf, NAME)?;
    keys.iter().try_for_each(|key| map.remove(key)).map_err(|error| failed(NAME, &error))
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
    for_each(ebpf, name, |index: &u32, values: &[V]| {
        if (first..first + count).contains(index) && values.iter().any(|value| *value != zero) {
            used.push(*index);
        }
    })?;
    let cpus = nr_cpus().map_err(|(_, error)| ProbeError::from_bpf(format!("clear the map {name}"), &error))?;
    let mut map: PerCpuArray<_, V> = map_mut(ebpf, name)?;
    for index in used {
        let zeros = PerCpuValues::try_from(vec![zero; cpus])
            .map_err(|error| ProbeError::from_bpf(format!("clear the map {name}"), &error))?;
        map.set(index, zeros, 0).map_err(|error| failed(name, &error))?;
    }
    Ok(())
}
