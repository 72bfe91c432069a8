//! The exact additions, and the target's counters.

use agent_ebpf::{Counter, counter_index};
use aya_ebpf::{bindings::BPF_NOEXIST, maps::HashMap};

use super::{globals::has, maps::COUNTERS};

/// Adds to a word of a map's value that several CPUs share.
#[inline(always)]
pub(crate) fn add_shared(to: *mut u64, amount: u64) {
    // The target has no atomics in Rust's library; the instruction is the kernel's BPF_ATOMIC | BPF_ADD.
    // SAFETY: `to` is an aligned word of a map's value, which only atomic adds write to.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) to, in(reg) amount, options(nostack)) };
}

/// The same for a word of half the length.
#[inline(always)]
pub(crate) fn add_shared_short(to: *mut u32, amount: u64) {
    // SAFETY: as above.
    unsafe { core::arch::asm!("lock *(u32 *)({0} + 0) += {1}", in(reg) to, in(reg) amount, options(nostack)) };
}

/// The entry of this key, made of `fresh` if there is none; `None` where there is no room for it. By value, since a reference to
/// a constant would lead into `.rodata`, whose places are the agent's tables'.
#[inline(always)]
pub(crate) fn entry<K, V>(map: &HashMap<K, V>, key: &K, fresh: V) -> Option<*mut V> {
    map.get_ptr_mut(key).or_else(|| {
        // Where another CPU is faster, its entry is as good.
        let _ = map.insert(key, fresh, BPF_NOEXIST as u64);
        map.get_ptr_mut(key)
    })
}

/// Adds to a word of this CPU's value.
#[inline(always)]
pub(crate) fn add(to: *mut u64, amount: u64) {
    if has!(exclusive) {
        // SAFETY: an aligned word of a map's value, which nobody else writes to meanwhile.
        unsafe { *to += amount };
    } else {
        add_shared(to, amount);
    }
}

/// Adds 1 to a word that several CPUs share, and returns what it was. Only where the kernel has
/// [`fetch`](agent_ebpf::Features::fetch).
#[inline(always)]
pub(crate) fn take_next(word: *mut u64) -> u64 {
    let mut next = 1;
    // BPF_STX | BPF_ATOMIC | BPF_DW with BPF_ADD | BPF_FETCH: r2 = fetch_add(*r1, r2). As bytes, since the assembler knows it
    // only for processors newer than the one that old kernels' verifiers want.
    // SAFETY: `word` is an aligned word of a map's value, which only such adds write to.
    unsafe {
        core::arch::asm!(
            ".byte 0xdb, 0x21, 0, 0, 0x01, 0, 0, 0",
            in("r1") word,
            inlateout("r2") next,
            options(nostack),
        );
    }
    next
}

/// Makes a word that is 0 this number, if no other CPU is faster; false otherwise. Without
/// [`fetch`](agent_ebpf::Features::fetch), two may both believe that they were.
#[inline(always)]
pub(crate) fn claim(word: *mut u32, number: u32) -> bool {
    if !has!(fetch) {
        // SAFETY: an aligned word of a map's value.
        unsafe { core::ptr::write_volatile(word, number) };
        return true;
    }
    let mut found = 0u64;
    // BPF_STX | BPF_ATOMIC | BPF_W with BPF_CMPXCHG: r0 = cmpxchg(*r1, r0, r2). As bytes, as above.
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            ".byte 0xc3, 0x21, 0, 0, 0xf1, 0, 0, 0",
            inlateout("r0") found,
            in("r1") word,
            in("r2") number as u64,
            options(nostack),
        );
    }
    found as u32 == 0
}

/// Adds to one of the target's counters.
#[inline(always)]
pub(crate) fn count(target: u32, counter: Counter, amount: u64) {
    if let Some(counter) = COUNTERS.get_ptr_mut(counter_index(target, counter)) {
        add(counter, amount);
    }
}
