//! Pages that come into the page cache: the hook for them, and what it counted.

use std::collections::BTreeSet;

use agent_ebpf::{FILL_WAYS, Fill, FillKey, FillWay, InodeKey, fill_index};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapError},
    programs::BtfTracePoint,
};

use super::{
    Layout, ProbeError,
    batch::{for_each, for_each_from},
    load::{map_mut, program_mut},
    verify::{Hook, Wanted},
};
use crate::snapshot::{FileFill, Fills, Snapshot};

/// The kernel's tracepoint (include/trace/events/filemap.h).
const TRACEPOINT: &str = "mm_filemap_add_to_page_cache";
const PROGRAM: &str = "folio_added";
const FILLS: &str = "FILLS";
const OTHER: &str = "FILLS_OTHER";

/// Why this kernel can't tell what comes into the page cache; `None` if it can.
pub(super) fn obstacle(layout: &Layout) -> Option<String> {
    if !layout.has_tracepoint(TRACEPOINT) {
        return Some(format!("this kernel has no tracepoint {TRACEPOINT}"));
    }
    if !layout.has_function("bpf_task_pt_regs") {
        return Some("it takes Linux 5.15, whose programs can see the call under way".to_owned());
    }
    layout.fill_offsets().err().map(|error| error.to_string())
}

/// The program that is to be loaded before [`attach`].
pub(super) const fn program() -> Wanted {
    Wanted { program: PROGRAM, hook: Hook::BtfTracepoint(TRACEPOINT) }
}

pub(super) fn attach(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let program: &mut BtfTracePoint = program_mut(ebpf, PROGRAM)?;
    program.attach().map_err(|error| ProbeError::from_bpf(format!("attach to {TRACEPOINT}"), &error))?;
    Ok(())
}

/// Reads everything that was counted of some targets into their snapshots, whose memory is used again.
pub(super) fn read(ebpf: &Ebpf, lives: &mut [(u16, &mut Snapshot)]) -> Result<(), ProbeError> {
    for (_, snapshot) in &mut *lives {
        let fills = snapshot.fills.get_or_insert_default();
        fills.files.clear();
        *fills = Fills { files: std::mem::take(&mut fills.files), ..Fills::default() };
    }
    for_each(ebpf, FILLS, |key: &FillKey, values: &[Fill]| {
        let target = lives.iter_mut().find(|(slot, _)| *slot == key.target);
        let fills = target.and_then(|(_, snapshot)| snapshot.fills.as_mut());
        if let Some((fills, fill)) = fills.zip(file_fill(key, values[0])) {
            fills.files.push(fill);
        }
    })?;
    for (slot, snapshot) in lives {
        let Some(fills) = &mut snapshot.fills else { continue };
        fills.files.sort_unstable_by_key(|of| (of.inode, of.way, of.port));
        others(ebpf, *slot, fills)?;
    }
    Ok(())
}

/// What came in of the files of a target.
fn of_files(ebpf: &Ebpf, slot: u16) -> Result<Vec<FileFill>, ProbeError> {
    let mut snapshot = Snapshot::default();
    read(ebpf, &mut [(slot, &mut snapshot)])?;
    Ok(snapshot.fills.unwrap_or_default().files)
}

fn file_fill(key: &FillKey, fill: Fill) -> Option<FileFill> {
    let way = *FillWay::ALL.get(usize::from(key.way))?;
    Some(FileFill { inode: key.inode, way, port: key.port, fill })
}

fn others(ebpf: &Ebpf, slot: u16, fills: &mut Fills) -> Result<(), ProbeError> {
    let first = fill_index(u32::from(slot), FillWay::ZeroCopy);
    for_each_from(ebpf, OTHER, first, FILL_WAYS, |index, values: &[Fill]| {
        let to = match index.checked_sub(first) {
            Some(way) if way == FillWay::Fault as u32 => &mut fills.faults,
            Some(way) if way == FillWay::Other as u32 => &mut fills.others,
            // What found its map full; what was carried was copied, too, and counts once.
            Some(way) if way == FillWay::ZeroCopy as u32 || way == FillWay::Copied as u32 => &mut fills.overflow,
            _ => return,
        };
        to.asked += values[0].asked;
        to.ahead += values[0].ahead;
    })
}

/// Takes what came in of these files out of its map: they leave the table of files.
pub(super) fn take(ebpf: &mut Ebpf, slot: u16, inodes: &BTreeSet<InodeKey>) -> Result<Vec<FileFill>, ProbeError> {
    let taken: Vec<FileFill> = of_files(ebpf, slot)?.into_iter().filter(|of| inodes.contains(&of.inode)).collect();
    remove(ebpf, slot, &taken)?;
    Ok(taken)
}

/// Forgets what was counted for a target that is let go.
pub(super) fn clear(ebpf: &mut Ebpf, slot: u16) -> Result<(), ProbeError> {
    let all = of_files(ebpf, slot)?;
    remove(ebpf, slot, &all)?;
    let mut other: Array<_, Fill> = map_mut(ebpf, OTHER)?;
    let first = fill_index(u32::from(slot), FillWay::ZeroCopy);
    for index in first..first + FILL_WAYS {
        other.set(index, Fill::default(), 0).map_err(|error| failed(OTHER, &error))?;
    }
    Ok(())
}

fn remove(ebpf: &mut Ebpf, slot: u16, fills: &[FileFill]) -> Result<(), ProbeError> {
    let mut map: HashMap<_, FillKey, Fill> = map_mut(ebpf, FILLS)?;
    for of in fills {
        let key = FillKey { inode: of.inode, target: slot, way: of.way as u16, port: of.port };
        match map.remove(&key) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(failed(FILLS, &error)),
        }
    }
    Ok(())
}

fn failed(name: &str, error: &MapError) -> ProbeError {
    ProbeError::from_bpf(format!("change the map {name}"), error)
}
