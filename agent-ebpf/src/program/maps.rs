//! The maps. Sizes here are for one target; the agent sets them for as many as it watches before load.

use agent_ebpf::{
    COUNTERS as COUNTERS_PER_TARGET, Directory, ENDS, FileCounts, FileKey, FileLatency, FileValue, InodeKey,
    LISTENER_WORDS, LatencyValue, PORTS_PER_WORD, RESULTS as RESULTS_PER_CALL, Resolve, STATE_WORDS, Start,
    THREADS as THREAD_ENTRIES, Tally, Thread, TransferKey, TransferValue, syscall::SYSCALLS,
};
use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, ProgramArray, Queue},
};

use super::values::{RECENT_ENTRIES, RecentTransfer, SCRATCHES, Scratch};

/// The values begin with a page, and so with a cache line: that they could be mapped is of no use.
pub(super) const ALIGNED: u32 = BPF_F_MMAPABLE;

#[map]
pub(crate) static LISTENERS: Array<[u8; PORTS_PER_WORD]> = Array::with_max_entries(LISTENER_WORDS, 0);
#[map]
pub(crate) static TRANSFER_KEYS: HashMap<TransferKey, u32> = HashMap::with_max_entries(1024, 0);
#[map]
pub(crate) static TRANSFERS: PerCpuArray<TransferValue> = PerCpuArray::with_max_entries(1024, 0);
#[map]
pub(crate) static FREE_TRANSFERS: Queue<u32> = Queue::with_max_entries(1024, 0);
#[map]
pub(crate) static TRANSFERS_OTHER: PerCpuArray<[Tally; ENDS]> = PerCpuArray::with_max_entries(SYSCALLS as u32, 0);
#[map]
pub(crate) static RESULTS: PerCpuArray<[u64; RESULTS_PER_CALL]> = PerCpuArray::with_max_entries(SYSCALLS as u32, 0);
#[map]
pub(crate) static FILES: HashMap<FileKey, FileValue> = HashMap::with_max_entries(32768, 0);
#[map]
pub(crate) static FILE_COUNTS: Array<FileCounts> = Array::with_max_entries(32768, ALIGNED);
#[map]
pub(crate) static FREE_FILES: Queue<u32> = Queue::with_max_entries(32768, 0);
#[map]
pub(crate) static FILES_OTHER: PerCpuArray<FileCounts> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static DIRECTORIES: HashMap<InodeKey, Directory> = HashMap::with_max_entries(16384, 0);
#[map]
pub(crate) static THREADS: Array<Thread> = Array::with_max_entries(THREAD_ENTRIES, ALIGNED);
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS_PER_TARGET, 0);
#[map]
pub(crate) static RESOLVE: Array<Resolve> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static STATE: Array<u64> = Array::with_max_entries(STATE_WORDS, 0);

/// What this CPU did last: see [`super::recent`].
#[map]
pub(crate) static RECENT_TRANSFERS: PerCpuArray<RecentTransfer> = PerCpuArray::with_max_entries(RECENT_ENTRIES, 0);
/// Durations, where they are asked for: otherwise of one entry each, which is not used.
#[map]
pub(crate) static LATENCIES: Array<LatencyValue> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static FILE_LATENCIES: Array<FileLatency> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static STARTS: Array<Start> = Array::with_max_entries(1, 0);

/// Names too large for the stack (512 bytes) are made here before they are inserted.
#[map]
pub(crate) static SCRATCH: Array<Scratch> = Array::with_max_entries(SCRATCHES, 0);

/// The leg `fexit`: one program for all the functions of one prototype that it hooks.
#[map]
pub(crate) static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// And one for those of another.
#[map]
pub(crate) static OTHER_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(1, 0);
