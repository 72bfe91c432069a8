//! Calls that wait until what was written is on disk: the tracepoints at their beginning and end, attached where that is asked
//! for.

use agent_ebpf::{
    LATENCY_BUCKETS, Start, SyncCall, SyncNumbers, SyncValue, THREADS as THREAD_ENTRIES, latency_bucket, sync_index,
};
use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns},
    macros::map,
    maps::Array,
};
use core::mem::MaybeUninit;

use super::{
    counter::add_shared,
    latency,
    target::{is_same, target},
    task::running_task,
};

#[map]
pub(crate) static SYNCS: Array<SyncValue> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static SYNC_STARTS: Array<Start> = Array::with_max_entries(1, 0);

#[unsafe(no_mangle)]
pub(crate) static SYNC_NUMBERS: MaybeUninit<SyncNumbers> = MaybeUninit::zeroed();

/// Which of the calls has this number, plus one; 0: none.
#[inline(always)]
fn call_of(number: u32) -> u32 {
    let mut call = 0;
    while call < SyncCall::ALL.len() {
        // SAFETY: a static that is initialised, and an index below its length; volatile, since the agent has changed it.
        let known = unsafe { core::ptr::read_volatile(SYNC_NUMBERS.as_ptr().cast::<u32>().add(call)) };
        if known == number {
            return call as u32 + 1;
        }
        call += 1;
    }
    0
}

/// Notes when a call of a target begins.
#[inline(always)]
pub(crate) fn on_enter(number: u32) {
    let ids = bpf_get_current_pid_tgid();
    let Some(target) = target((ids >> 32) as u32) else { return };
    if target.counting == 0 {
        return;
    }
    let tid = ids as u32;
    let Some(start) = SYNC_STARTS.get_ptr_mut(tid % THREAD_ENTRIES) else { return };
    // SAFETY: an entry that only this thread writes to, but for another whose id falls on the same one.
    unsafe { *start = Start { tid, code: call_of(number), ns: bpf_ktime_get_ns() } };
}

/// Counts a call of a target that ends.
#[inline(always)]
pub(crate) fn on_exit(number: u32, result: i64) {
    let ids = bpf_get_current_pid_tgid();
    let Some(target) = target((ids >> 32) as u32) else { return };
    if target.counting == 0 || !is_same(running_task(), target) {
        return;
    }
    let tid = ids as u32;
    let Some(start) = SYNC_STARTS.get_ptr_mut(tid % THREAD_ENTRIES) else { return };
    // SAFETY: see above.
    let start = unsafe { &mut *start };
    let call = call_of(number);
    if call == 0 || start.tid != tid || start.code != call {
        return;
    }
    start.code = 0;
    // SAFETY: the helper takes nothing.
    let ns = unsafe { bpf_ktime_get_ns() } - start.ns;
    let bucket = latency_bucket(ns);
    let Some(value) = SYNCS.get_ptr_mut(sync_index(target.slot as u32, SyncCall::Fsync) + call - 1) else { return };
    if bucket >= LATENCY_BUCKETS {
        return;
    }
    // SAFETY: fields of a map's value; the bucket is below their number.
    unsafe {
        add_shared((&raw mut (*value).buckets).cast::<u64>().add(bucket), 1);
        if result < 0 {
            add_shared(&raw mut (*value).errors, 1);
        }
        latency::took(ns, &raw mut (*value).ns, &raw mut (*value).max_ns);
    }
}
