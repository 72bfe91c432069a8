//! Calls that wait until what was written is on disk: their hooks, and what was counted of them.

use agent_ebpf::{SYNC_CALLS, SYNC_GENERIC, SYNC_X86_64, SyncCall, SyncNumbers, SyncValue, sync_index};
use aya::{Ebpf, maps::Array, programs::TracePoint};

use super::{
    ProbeError,
    batch::for_each_from,
    kernel::has_tracepoint,
    load::{load_error, map_mut, program_mut},
};
use crate::snapshot::SyncCount;

const SYNCS: &str = "SYNCS";

/// Numbers of the calls on this machine; a number that no call has where they are not known.
pub(super) fn numbers() -> SyncNumbers {
    match std::env::consts::ARCH {
        "x86_64" => SYNC_X86_64,
        "aarch64" => SYNC_GENERIC,
        _ => [u32::MAX; SYNC_CALLS as usize],
    }
}

/// Hooks the end of the calls and then their beginning: what is under way has no duration. A kernel may lack one of them.
pub(super) fn attach(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    if !has_tracepoint("sys_enter_fsync") {
        return Err(ProbeError::NoTracefs);
    }
    for (program, at) in [("sync_exit", "sys_exit"), ("sync_enter", "sys_enter")] {
        let tracepoint: &mut TracePoint = program_mut(ebpf, program)?;
        tracepoint.load().map_err(|error| load_error(program, &error))?;
        let names = SyncCall::ALL.iter().map(|call| format!("{at}_{}", call.name()));
        for name in names.filter(|name| has_tracepoint(name)) {
            tracepoint
                .attach("syscalls", &name)
                .map_err(|error| ProbeError::from_bpf(format!("attach to syscalls:{name}"), &error))?;
        }
    }
    Ok(())
}

/// What some targets waited for, in their order: calls that were made.
pub(super) fn read(ebpf: &Ebpf, slots: &[u16]) -> Result<Vec<Vec<SyncCount>>, ProbeError> {
    let of_slot = |slot: &u16| {
        let first = sync_index(u32::from(*slot), SyncCall::Fsync);
        let mut counts = Vec::new();
        for_each_from(ebpf, SYNCS, first, SYNC_CALLS, |index, values: &[SyncValue]| {
            let call = index.checked_sub(first).and_then(|call| SyncCall::ALL.get(call as usize));
            if let Some(call) = call.filter(|_| values[0].buckets.iter().any(|calls| *calls > 0)) {
                let SyncValue { errors, ns, max_ns, buckets } = values[0];
                counts.push(SyncCount { call: *call, errors, ns, max_ns, buckets: buckets.to_vec() });
            }
        })?;
        Ok(counts)
    };
    slots.iter().map(of_slot).collect()
}

/// Forgets what was counted of a target that is let go.
pub(super) fn clear(ebpf: &mut Ebpf, slot: u16) -> Result<(), ProbeError> {
    let mut map: Array<_, SyncValue> = map_mut(ebpf, SYNCS)?;
    SyncCall::ALL
        .iter()
        .try_for_each(|call| map.set(sync_index(u32::from(slot), *call), SyncValue::NONE, 0))
        .map_err(|error| ProbeError::from_bpf(format!("clear the map {SYNCS}"), &error))
}
