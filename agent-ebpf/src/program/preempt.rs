//! A stretch in which no other thread runs on this CPU, for hooks that can be preempted.

use super::globals::has;

// Two functions, not one that is given what to run: the compiler would make a call of that, which costs 20 ns where returns are
// slowed down against speculation.

/// Begins it, where [`disable_preemption`](agent_ebpf::Features::disable_preemption) asks for it.
#[inline(always)]
pub(crate) fn begin() {
    if has!(disable_preemption) {
        // SAFETY: a call of `KFUNC_PREEMPT_DISABLE`, without arguments.
        unsafe {
            core::arch::asm!(
                ".byte 0x85, 0x20, 0, 0, 0x02, 0x54, 0x43, 0x5a",
                lateout("r0") _, lateout("r1") _, lateout("r2") _, lateout("r3") _, lateout("r4") _, lateout("r5") _,
                options(nostack),
            );
        }
    }
}

/// Ends it.
#[inline(always)]
pub(crate) fn end() {
    if has!(disable_preemption) {
        // SAFETY: a call of `KFUNC_PREEMPT_ENABLE`, without arguments.
        unsafe {
            core::arch::asm!(
                ".byte 0x85, 0x20, 0, 0, 0x03, 0x54, 0x43, 0x5a",
                lateout("r0") _, lateout("r1") _, lateout("r2") _, lateout("r3") _, lateout("r4") _, lateout("r5") _,
                options(nostack),
            );
        }
    }
}
