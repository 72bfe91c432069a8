//! How long calls take: the only hooks at the entry of calls, attached where it is asked for.

use agent_ebpf::{
    FILE_LATENCY_BUCKETS, FILE_LATENCY_MERGED, LATENCY_BUCKETS, Start, THREADS as THREAD_ENTRIES, WayLatency,
    latency_bucket,
    syscall::{CONTROL_LISTEN, CONTROL_SOCKETCALL, NOT_COUNTED},
};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use super::{
    counter::{add_shared, add_shared_short},
    globals::{NATIVE_CALLS, SLOW_NS, has, read_member},
    maps::{FILE_LATENCIES, LATENCIES, STARTS},
    target::target,
    task::{running, running_task, thread_ids},
};

/// Notes when a call of a target begins; `code` tells what it is, see [`agent_ebpf::SyscallTable`].
#[inline(always)]
pub(crate) fn on_enter(code: impl FnOnce(*const u8) -> u8) {
    let Some((tgid, task)) = running() else { return };
    let Some(target) = target(tgid) else { return };
    if target.counting == 0 {
        return;
    }
    let task = if has!(run_queue) { task } else { running_task() };
    let code = code(task);
    if code == NOT_COUNTED || code >= CONTROL_LISTEN && code != CONTROL_SOCKETCALL {
        return;
    }
    let tid = thread_ids(task, tgid) as u32;
    let Some(start) = STARTS.get_ptr_mut(tid % THREAD_ENTRIES) else { return };
    // SAFETY: an entry that only this thread writes to, but for another whose id falls on the same one.
    unsafe { *start = Start { tid, code: code as u32, ns: bpf_ktime_get_ns() } };
}

/// The same where it is known: for the many programs of which each is for one call.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn enter(code: u64) -> u64 {
    on_enter(|_| code as u8);
    0
}

/// What a call number of the machine's own ABI stands for.
#[inline(always)]
pub(crate) fn native(number: u32) -> u8 {
    // SAFETY: the index is below the table's length; volatile, since the agent has changed it.
    unsafe { core::ptr::read_volatile(NATIVE_CALLS.as_ptr().cast::<u8>().add(number as usize & 511)) }
}

/// Counts how long the call took that ends now: at the place of its kind of transfer, and at that of the file whose bytes it
/// moved, by [`agent_ebpf::FileWay`]. A place that there is not is behind the end of the array. A global function: the
/// verifier looks at it once, not for every way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn note_duration(tid: u64, syscall: u64, transfer: u64, file: u64, way: u64) -> u64 {
    let Some(start) = STARTS.get_ptr_mut(tid as u32 % THREAD_ENTRIES) else { return 0 };
    // SAFETY: see above.
    let start = unsafe { &mut *start };
    // What began before the hook was attached, or whose entry another thread took, has no duration.
    let is_it = start.code == syscall as u32 + 1 || start.code == CONTROL_SOCKETCALL as u32;
    if start.tid != tid as u32 || !is_it {
        return 0;
    }
    start.code = 0;
    // SAFETY: the helper takes nothing.
    let ns = unsafe { bpf_ktime_get_ns() } - start.ns;
    let bucket = latency_bucket(ns);
    if bucket >= LATENCY_BUCKETS {
        return 0;
    }
    if let Some(value) = LATENCIES.get_ptr_mut(transfer as u32) {
        // SAFETY: fields of a map's value; the bucket is below their number.
        unsafe {
            add_shared((&raw mut (*value).buckets).cast::<u64>().add(bucket), 1);
            sum(ns, &raw mut (*value).ns, &raw mut (*value).max_ns, &raw mut (*value).slow);
        }
    }
    if let Some(value) = FILE_LATENCIES.get_ptr_mut(file as u32) {
        let merged = bucket / FILE_LATENCY_MERGED;
        if merged >= FILE_LATENCY_BUCKETS {
            return 0;
        }
        // SAFETY: as above; there are two ways.
        unsafe {
            let value = (&raw mut (*value).ways).cast::<WayLatency>().add(way as usize & 1);
            add_shared_short((&raw mut (*value).buckets).cast::<u32>().add(merged), 1);
            sum(ns, &raw mut (*value).ns, &raw mut (*value).max_ns, &raw mut (*value).slow);
        }
    }
    0
}

/// Adds a duration to sums in a map's value.
///
/// # Safety
/// They are words of such a value.
#[inline(always)]
unsafe fn sum(ns: u64, all: *mut u64, longest: *mut u64, slow: *mut u64) {
    if ns >= read_member(&SLOW_NS, |slow| slow) {
        add_shared(slow, 1);
    }
    // SAFETY: the caller's.
    unsafe { took(ns, all, longest) };
}

/// The same of any duration, slow or not.
///
/// # Safety
/// As of [`sum`].
#[inline(always)]
pub(crate) unsafe fn took(ns: u64, all: *mut u64, longest: *mut u64) {
    add_shared(all, ns);
    // SAFETY: the caller's.
    unsafe {
        if core::ptr::read_volatile(longest) < ns {
            *longest = ns;
        }
    }
}
