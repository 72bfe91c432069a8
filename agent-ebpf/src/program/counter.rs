//! The exact addition, and the target's counters.

use agent_ebpf::{Counter, counter_index};

use super::maps::COUNTERS;

/// Adds to a word of a map's value, also where on some kernels a program can be preempted by another thread's.
#[inline(always)]
pub(crate) fn add(to: *mut u64, amount: u64) {
    // The target has no atomics in Rust's library; the instruction is the kernel's BPF_ATOMIC | BPF_ADD.
    // SAFETY: `to` is an aligned word of a map's value, which only atomic adds write to.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) to, in(reg) amount, options(nostack)) };
}

/// Adds to one of the target's counters.
#[inline(always)]
pub(crate) fn count(target: u32, counter: Counter, amount: u64) {
    if let Some(counter) = COUNTERS.get_ptr_mut(counter_index(target, counter)) {
        add(counter, amount);
    }
}
