//! Calls through another table than the machine's own.

use agent_ebpf::Counter;
use zctrace::{exercise::Plan, probe::LegChoice};

use crate::{
    harness::{LEGS, exact, watch},
    support::alone,
};

#[test]
fn the_32_bit_table() {
    let (whole, native): (Vec<_>, Vec<_>) = LEGS.iter().partition(|leg| **leg == LegChoice::Raw);
    for (_, snapshot) in exact(Plan::Compat, &whole) {
        assert!(snapshot.counter(Counter::Compat) > 10);
    }
    // The kernel's system-call tracepoints leave 32-bit calls out (ARCH_TRACE_IGNORE_COMPAT_SYSCALLS), and other functions
    // than those that `fexit` and `kprobe-multi` hook answer them: these legs see none of them, and take none for another call.
    let _alone = alone();
    for leg in native {
        let (_, snapshot) = watch(Plan::Compat, leg);
        assert_eq!((snapshot.transfers, snapshot.results), (vec![], vec![]), "{leg:?}");
    }
}
