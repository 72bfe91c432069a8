//! In what order files are read and written, and what `sendfile` did not send: what was counted of it.

use std::collections::BTreeMap;

use agent_ebpf::{Direction, FileCounts, FileValue, Runs, SHORT_REASONS, Short, ShortKey, ShortReason, short_index};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapError},
};

use super::{
    ProbeError,
    batch::{for_each, for_each_from},
    files::{Known, log},
    load::map_mut,
};
use crate::{
    kafka::is_segment,
    snapshot::{LogOrder, Order, ShortSends, Snapshot},
};

const SHORTS: &str = "SHORTS";
const SHORTS_OTHER: &str = "SHORTS_OTHER";
/// Stands for the ports of what found its map full: no port's number.
const OTHER_PORTS: u32 = u32::MAX;

/// Reads what was counted of some targets into their snapshots, whose files were read just now and whose memory is used again.
pub(super) fn read(ebpf: &Ebpf, lives: &mut [(u16, &mut Snapshot)], known: &Known) -> Result<(), ProbeError> {
    for (_, snapshot) in &mut *lives {
        let order = snapshot.order.get_or_insert_default();
        order.logs.iter_mut().for_each(|log| (log.read, log.written) = Default::default());
        order.short.clear();
    }
    let mut fresh = Vec::new();
    for_each_from(ebpf, "FILE_COUNTS", 0, known.places(), |place, values: &[FileCounts]| {
        let [read, written] = directions(&values[0]);
        let is_counted = read != Runs::default() || written != Runs::default();
        let Some((target, file)) = known.owner(place).filter(|_| is_counted) else { return };
        let Some((_, snapshot)) = lives.get_mut(target) else { return };
        let (Some(file), Some(order)) = (snapshot.files.get(file), &mut snapshot.order) else { return };
        let log = is_segment(&file.name).then_some(file.directory);
        match order.logs.binary_search_by_key(&log, |order| order.log) {
            Ok(place) => order.logs[place].add(&LogOrder { log, read, written }),
            Err(_) => fresh.push((target, LogOrder { log, read, written })),
        }
    })?;
    for_each(ebpf, SHORTS, |key: &ShortKey, values: &[Short]| {
        let target = lives.iter_mut().find(|(slot, _)| *slot == key.target);
        let reason = ShortReason::ALL.get(usize::from(key.reason)).copied();
        if let Some((order, reason)) = target.and_then(|(_, snapshot)| snapshot.order.as_mut()).zip(reason) {
            order.short.push(ShortSends { port: key.port, reason, short: values[0] });
        }
    })?;
    for (target, (slot, snapshot)) in lives.iter_mut().enumerate() {
        let Some(order) = &mut snapshot.order else { continue };
        take_in(&mut order.logs, fresh.iter().filter(|(of, _)| *of == target).map(|(_, log)| *log));
        let first = short_index(u32::from(*slot), ShortReason::SendBuffer);
        for_each_from(ebpf, SHORTS_OTHER, first, SHORT_REASONS, |index, values: &[Short]| {
            let reason = index.checked_sub(first).and_then(|reason| ShortReason::ALL.get(reason as usize));
            if let Some(reason) = reason.filter(|_| values[0].calls > 0) {
                order.short.push(ShortSends { port: OTHER_PORTS, reason: *reason, short: values[0] });
            }
        })?;
        order.short.sort_unstable_by_key(|short| (short.port, short.reason));
    }
    Ok(())
}

/// Takes in directories that came, and lets go those without counts.
fn take_in(logs: &mut Vec<LogOrder>, fresh: impl Iterator<Item = LogOrder> + Clone) {
    logs.retain(|log| log.read != Runs::default() || log.written != Runs::default());
    let count = fresh.clone().count();
    if count > 0 {
        logs.reserve_exact(count);
        logs.extend(fresh);
        logs.sort_unstable_by_key(|log| log.log);
        logs.dedup_by(|next, sum| {
            let is_same = next.log == sum.log;
            if is_same {
                sum.add(next);
            }
            is_same
        });
        // One directory may have many files.
        logs.shrink_to_fit();
    }
}

fn directions(counts: &FileCounts) -> [Runs; 2] {
    [Direction::Read, Direction::Written].map(|direction| counts.runs(direction))
}

/// What was counted of files that left their table.
pub(super) fn taken<'a>(taken: impl Iterator<Item = (&'a FileValue, &'a FileCounts)>) -> Order {
    let mut logs: BTreeMap<_, LogOrder> = BTreeMap::new();
    for (value, counts) in taken {
        let [read, written] = directions(counts);
        if read != Runs::default() || written != Runs::default() {
            let more = LogOrder { log: log(value), read, written };
            logs.entry(more.log).and_modify(|sum| sum.add(&more)).or_insert(more);
        }
    }
    Order { logs: logs.into_values().collect(), short: Vec::new() }
}

/// Forgets the short calls of a target that is let go.
pub(super) fn clear(ebpf: &mut Ebpf, slot: u16) -> Result<(), ProbeError> {
    let mut keys = Vec::new();
    for_each(ebpf, SHORTS, |key: &ShortKey, _: &[Short]| keys.extend((key.target == slot).then_some(*key)))?;
    let mut map: HashMap<_, ShortKey, Short> = map_mut(ebpf, SHORTS)?;
    keys.iter().try_for_each(|key| map.remove(key)).map_err(|error| failed(SHORTS, &error))?;
    let mut map: Array<_, Short> = map_mut(ebpf, SHORTS_OTHER)?;
    let first = short_index(u32::from(slot), ShortReason::SendBuffer);
    (first..first + SHORT_REASONS)
        .try_for_each(|index| map.set(index, Short::default(), 0))
        .map_err(|error| failed(SHORTS_OTHER, &error))
}

fn failed(name: &str, error: &MapError) -> ProbeError {
    ProbeError::from_bpf(format!("change the map {name}"), error)
}
