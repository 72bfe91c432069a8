//! How long calls take: the hooks for it, and what they counted.

use std::collections::BTreeMap;

use agent_ebpf::{
    FILE_LATENCY_BUCKETS, FLAG_REFUSED, FileKey, FileLatency, FileValue, FileWay, InodeKey, LatencyValue, Syscall,
    TransferKey, WayLatency,
};
use aya::{
    Btf, Ebpf,
    maps::{Array, MapError},
    programs::{BtfTracePoint, FEntry, TracePoint},
};

use super::{
    Layout, Leg, ProbeError,
    attach::kernel_name,
    batch::{for_each, for_each_from},
    files::log,
    kernel::{has_tracepoint, syscall_function},
    kprobe_multi::{KprobeMulti, Moment},
    load::{load_error, map_mut, program_mut},
    places::Places,
    read::transfer_id,
};
use crate::snapshot::{CallDurations, Durations, LogDurations};

const LATENCIES: &str = "LATENCIES";
const FILE_LATENCIES: &str = "FILE_LATENCIES";

/// Hooks the entry of calls, as the leg hooks their exit: after it, so that a call which is under way has no duration.
///
/// `object` is what `ebpf` was made of. Returns hooks that are not aya's.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    object: &[u8],
    layout: &Layout,
    btf: &Btf,
    leg: Leg,
) -> Result<Option<KprobeMulti>, ProbeError> {
    match leg {
        Leg::Raw => raw(ebpf, btf),
        Leg::Tracepoint => tracepoint(ebpf),
        Leg::Fexit => fentry(ebpf, layout, btf),
        Leg::KprobeMulti => {
            let functions = Syscall::ALL.iter().map(|syscall| syscall_function(kernel_name(*syscall)));
            let functions: Vec<_> = functions.filter(|function| layout.has_function(function)).collect();
            return KprobeMulti::attach(object, ebpf, "tracepoint_sys_enter", &functions, Moment::Entry).map(Some);
        }
    }?;
    Ok(None)
}

fn raw(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProbeError> {
    const PROGRAM: &str = "raw_sys_enter";
    let program: &mut BtfTracePoint = program_mut(ebpf, PROGRAM)?;
    program.load("sys_enter", btf).map_err(|error| load_error(PROGRAM, &error))?;
    program.attach().map_err(|error| ProbeError::from_bpf("attach to sys_enter", &error))?;
    Ok(())
}

fn tracepoint(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    const PROGRAM: &str = "tracepoint_sys_enter";
    let program: &mut TracePoint = program_mut(ebpf, PROGRAM)?;
    program.load().map_err(|error| load_error(PROGRAM, &error))?;
    let names = Syscall::ALL.iter().map(|syscall| format!("sys_enter_{}", kernel_name(*syscall)));
    for name in names.filter(|name| has_tracepoint(name)) {
        program
            .attach("syscalls", &name)
            .map_err(|error| ProbeError::from_bpf(format!("attach to syscalls:{name}"), &error))?;
    }
    Ok(())
}

/// A program for each call: it knows which one it is for.
fn fentry(ebpf: &mut Ebpf, layout: &Layout, btf: &Btf) -> Result<(), ProbeError> {
    for (number, syscall) in Syscall::ALL.iter().enumerate() {
        let function = syscall_function(kernel_name(*syscall));
        if !layout.has_function(&function) {
            continue;
        }
        let name = format!("fentry_{number:02}");
        let program: &mut FEntry = program_mut(ebpf, &name)?;
        program.load(&function, btf).map_err(|error| load_error(&name, &error))?;
        program.attach().map_err(|error| ProbeError::from_trampoline(&function, &error))?;
    }
    Ok(())
}

/// How long the calls of some targets took, in their order.
pub(super) fn read(ebpf: &Ebpf, slots: &[u16]) -> Result<Vec<Durations>, ProbeError> {
    let mut read = vec![Durations::default(); slots.len()];
    let place_of = |target: u32| slots.iter().position(|slot| u32::from(*slot) == target);
    let mut kinds = BTreeMap::new();
    for_each(ebpf, "TRANSFER_KEYS", |key: &TransferKey, index: &[u32]| {
        let id = transfer_id(key).filter(|_| key.flags & FLAG_REFUSED == 0);
        if let Some(found) = place_of(key.target.into()).zip(id) {
            kinds.insert(index[0], found);
        }
    })?;
    let used = Places::Transfers.used(ebpf)?;
    for_each_from(ebpf, LATENCIES, 0, used, |place, values: &[LatencyValue]| {
        if let Some((target, id)) = kinds.get(&place)
            && let Some(durations) = calls(*id, &values[0])
        {
            read[*target].calls.push(durations);
        }
    })?;
    let mut files = BTreeMap::new();
    for_each(ebpf, "FILES", |key: &FileKey, values: &[FileValue]| {
        if let Some(target) = place_of(key.target) {
            files.insert(values[0].index, (target, key.port, log(&values[0])));
        }
    })?;
    let used = Places::Files.used(ebpf)?;
    let mut logs = vec![Logs::default(); slots.len()];
    for_each_from(ebpf, FILE_LATENCIES, 0, used, |place, values: &[FileLatency]| {
        if let Some((target, port, log)) = files.get(&place) {
            logs[*target].add(*log, *port, &values[0]);
        }
    })?;
    for (durations, logs) in read.iter_mut().zip(logs) {
        durations.calls.sort_unstable_by_key(|durations| durations.id);
        durations.logs = logs.into_durations();
    }
    Ok(read)
}

fn calls(id: crate::snapshot::TransferId, value: &LatencyValue) -> Option<CallDurations> {
    let buckets = value.buckets.to_vec();
    let durations = CallDurations { id, ns: value.ns, max_ns: value.max_ns, slow: value.slow, buckets };
    (durations.calls() > 0).then_some(durations)
}

/// Durations of files, added up by directory.
#[derive(Clone, Default)]
pub(super) struct Logs(BTreeMap<(Option<InodeKey>, u32, FileWay), WayLatencySum>);

#[derive(Clone)]
struct WayLatencySum {
    ns: u64,
    max_ns: u64,
    slow: u64,
    buckets: [u64; FILE_LATENCY_BUCKETS],
}

impl Logs {
    fn add(&mut self, log: Option<InodeKey>, port: u32, value: &FileLatency) {
        for (way, value) in FileWay::ALL.into_iter().zip(&value.ways) {
            if value.buckets.iter().all(|calls| *calls == 0) {
                continue;
            }
            let WayLatency { ns, max_ns, slow, buckets } = value;
            let none = WayLatencySum { ns: 0, max_ns: 0, slow: 0, buckets: [0; FILE_LATENCY_BUCKETS] };
            let sum = self.0.entry((log, port, way)).or_insert(none);
            sum.ns += ns;
            sum.max_ns = sum.max_ns.max(*max_ns);
            sum.slow += slow;
            sum.buckets.iter_mut().zip(buckets).for_each(|(sum, calls)| *sum += u64::from(*calls));
        }
    }

    pub(super) fn into_durations(self) -> Vec<LogDurations> {
        let durations = |((log, port, way), sum): ((Option<InodeKey>, u32, FileWay), WayLatencySum)| LogDurations {
            log,
            port,
            way,
            ns: sum.ns,
            max_ns: sum.max_ns,
            slow: sum.slow,
            buckets: sum.buckets.to_vec(),
        };
        self.0.into_iter().map(durations).collect()
    }
}

/// Takes what was counted of files that left their table. No program adds to their places any more.
pub(super) fn take(ebpf: &mut Ebpf, taken: &[(FileKey, FileValue)]) -> Result<Durations, ProbeError> {
    let mut map: Array<_, FileLatency> = map_mut(ebpf, FILE_LATENCIES)?;
    let mut logs = Logs::default();
    for (key, value) in taken {
        let counted = map.get(&value.index, 0).map_err(|error| failed(FILE_LATENCIES, &error))?;
        logs.add(log(value), key.port, &counted);
        map.set(value.index, FileLatency::NONE, 0).map_err(|error| failed(FILE_LATENCIES, &error))?;
    }
    Ok(Durations { calls: Vec::new(), logs: logs.into_durations() })
}

/// Forgets what was counted at places that are given back.
pub(super) fn clear(ebpf: &mut Ebpf, transfers: &[u32], files: &[u32]) -> Result<(), ProbeError> {
    let mut map: Array<_, LatencyValue> = map_mut(ebpf, LATENCIES)?;
    transfers
        .iter()
        .try_for_each(|place| map.set(*place, LatencyValue::NONE, 0))
        .map_err(|error| failed(LATENCIES, &error))?;
    let mut map: Array<_, FileLatency> = map_mut(ebpf, FILE_LATENCIES)?;
    files
        .iter()
        .try_for_each(|place| map.set(*place, FileLatency::NONE, 0))
        .map_err(|error| failed(FILE_LATENCIES, &error))
}

fn failed(name: &str, error: &MapError) -> ProbeError {
    ProbeError::from_bpf(format!("change the map {name}"), error)
}
