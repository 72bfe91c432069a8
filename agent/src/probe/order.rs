//! In what order files are read and written, and what `sendfile` did not send: what was counted of it.

use std::collections::BTreeMap;

use agent_ebpf::{
    Direction, FileCounts, FileValue, Runs, SHORT_REASONS, Short, ShortReason, Shorts, TransferKey, short_index,
};
use aya::{
    Ebpf,
    maps::{Array, MapError},
};

use super::{
    ProbeError,
    batch::{for_each, for_each_from},
    files::{Known, log},
    load::map_mut,
    places::Places,
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
    read_short(ebpf, lives)?;
    for (target, (slot, snapshot)) in lives.iter_mut().enumerate() {
        let Some(order) = &mut snapshot.order else { continue };
        take_in(&mut order.logs, fresh.iter().filter(|(of, _)| *of == target).map(|(_, log)| *log));
        let first = short_index(u32::from(*slot), ShortReason::SendBuffer);
        for_each_from(ebpf, SHORTS_OTHER, first, SHORT_REASONS, |index, values: &[Short]| {
            let reason = index.checked_sub(first).and_then(|reason| ShortReason::ALL.get(reason as usize));
            order.short.extend(reason.and_then(|reason| sends(OTHER_PORTS, *reason, values[0])));
        })?;
        order.short.sort_unstable_by_key(|short| (short.port, short.reason));
        order.short.dedup_by(|next, sum| {
            let is_same = (next.port, next.reason) == (sum.port, sum.reason);
            if is_same {
                sum.short.add(&next.short);
            }
            is_same
        });
    }
    Ok(())
}

/// Short calls by kind of transfer: a port may have several kinds, as of files and of pipes.
fn read_short(ebpf: &Ebpf, lives: &mut [(u16, &mut Snapshot)]) -> Result<(), ProbeError> {
    let mut ports = BTreeMap::new();
    for_each(ebpf, "TRANSFER_KEYS", |key: &TransferKey, index: &[u32]| {
        if let Some(target) = lives.iter().position(|(slot, _)| *slot == key.target) {
            ports.insert(index[0], (target, key.port));
        }
    })?;
    for_each_from(ebpf, SHORTS, 0, Places::Transfers.used(ebpf)?, |place, values: &[Shorts]| {
        let Some((target, port)) = ports.get(&place) else { return };
        let order = lives.get_mut(*target).and_then(|(_, snapshot)| snapshot.order.as_mut());
        let Some(order) = order.filter(|_| values[0] != Shorts::default()) else { return };
        let reasons = ShortReason::ALL.into_iter().zip(values[0].by_reason);
        order.short.extend(reasons.filter_map(|(reason, short)| sends(*port, reason, short)));
    })
}

fn sends(port: u32, reason: ShortReason, short: Short) -> Option<ShortSends> {
    (short.calls > 0).then_some(ShortSends { port, reason, short })
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

/// Forgets the short calls of a target that is let go, whose `transfers` are counted at these places.
pub(super) fn clear(ebpf: &mut Ebpf, slot: u16, transfers: &[u32]) -> Result<(), ProbeError> {
    let mut map: Array<_, Shorts> = map_mut(ebpf, SHORTS)?;
    transfers
        .iter()
        .try_for_each(|place| map.set(*place, Shorts::default(), 0))
        .map_err(|error| failed(SHORTS, &error))?;
    let mut map: Array<_, Short> = map_mut(ebpf, SHORTS_OTHER)?;
    let first = short_index(u32::from(slot), ShortReason::SendBuffer);
    (first..first + SHORT_REASONS)
        .try_for_each(|index| map.set(index, Short::default(), 0))
        .map_err(|error| failed(SHORTS_OTHER, &error))
}

fn failed(name: &str, error: &MapError) -> ProbeError {
    ProbeError::from_bpf(format!("change the map {name}"), error)
}
