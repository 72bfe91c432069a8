//! Which threads of a process send through which ports.

use std::collections::BTreeMap;

use agent_ebpf::{THREADS, Thread};
use aya::{Ebpf, maps::Array};

use super::{
    ProbeError,
    batch::for_each_from,
    load::{Borrowed, map},
};

/// Sends from memory by port, of those among `tids` (as the kernel calls them) that sent. A thread's sends are kept apart for
/// its first two ports; what it sent through others has no port and is left out.
pub(super) fn sends(ebpf: &Ebpf, slot: u16, tids: &[u32]) -> Result<BTreeMap<u32, BTreeMap<u32, u64>>, ProbeError> {
    let threads: Array<Borrowed<'_>, Thread> = map(ebpf, "THREADS")?;
    let mut all = BTreeMap::new();
    for tid in tids {
        let thread = threads
            .get(&(tid % THREADS), 0)
            .map_err(|error| ProbeError::from_bpf("read the table of threads", &error))?;
        if thread.tid != *tid || thread.target != u32::from(slot) {
            continue;
        }
        let sends: BTreeMap<u32, u64> =
            thread.ports.into_iter().zip(thread.sends).filter(|(port, calls)| *port != 0 && *calls > 0).collect();
        if !sends.is_empty() {
            all.insert(*tid, sends);
        }
    }
    Ok(all)
}

/// File bytes that threads of some targets have read and sent nothing after, in the targets' order: of those that ended, too.
pub(super) fn unsent(ebpf: &Ebpf, slots: &[u16]) -> Result<Vec<u64>, ProbeError> {
    let mut unsent = vec![0; slots.len()];
    for_each_from(ebpf, "THREADS", 0, THREADS, |_, values: &[Thread]| {
        let thread = &values[0];
        if thread.tid != 0
            && let Some(place) = slots.iter().position(|slot| u32::from(*slot) == thread.target)
            && let Some(unsent) = unsent.get_mut(place)
        {
            *unsent += thread.file_bytes;
        }
    })?;
    Ok(unsent)
}
