//! The maps. Sizes here are for one target; the agent sets them for as many as it watches before load.

use agent_ebpf::{
    COUNTERS as COUNTERS_PER_TARGET, Directory, FileBytes, FileKey, FileValue, InodeKey, LISTENER_WORDS,
    OTHER_PER_TARGET, PORTS_PER_WORD, RESULTS_PER_SYSCALL, Resolve, TARGET_BUCKETS, THREADS as THREAD_ENTRIES, Tally,
    Target, Thread, TransferKey, TransferValue, syscall::SYSCALLS,
};
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap},
};

#[map]
pub(crate) static TARGETS: Array<Target> = Array::with_max_entries(TARGET_BUCKETS, 0);
#[map]
pub(crate) static LISTENERS: Array<[u8; PORTS_PER_WORD]> = Array::with_max_entries(LISTENER_WORDS, 0);
#[map]
pub(crate) static TRANSFERS: PerCpuHashMap<TransferKey, TransferValue> = PerCpuHashMap::with_max_entries(1024, 0);
#[map]
pub(crate) static TRANSFERS_OTHER: PerCpuArray<Tally> = PerCpuArray::with_max_entries(OTHER_PER_TARGET, 0);
#[map]
pub(crate) static RESULTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(SYSCALLS as u32 * RESULTS_PER_SYSCALL, 0);
#[map]
pub(crate) static FILES: HashMap<FileKey, FileValue> = HashMap::with_max_entries(32768, 0);
#[map]
pub(crate) static FILES_OTHER: PerCpuArray<FileBytes> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static DIRECTORIES: HashMap<InodeKey, Directory> = HashMap::with_max_entries(16384, 0);
#[map]
pub(crate) static THREADS: Array<Thread> = Array::with_max_entries(THREAD_ENTRIES, 0);
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS_PER_TARGET, 0);
#[map]
pub(crate) static RESOLVE: Array<Resolve> = Array::with_max_entries(1, 0);

/// Values too large for the stack (512 bytes) are made here before they are inserted.
#[map]
pub(crate) static NEW_TRANSFER: PerCpuArray<TransferValue> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static NEW_FILE: PerCpuArray<FileValue> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static NEW_DIRECTORY: PerCpuArray<Directory> = PerCpuArray::with_max_entries(1, 0);
