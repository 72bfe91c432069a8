//! Reads of kernel memory.
//!
//! Where the verifier knows the type of a pointer (it came from a BTF-typed argument or helper), its members are
//! loaded directly, which costs as much as any load. What lies behind an untyped pointer, such as the elements of the
//! descriptor table, takes a probe read.

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};

/// Loads a member of an object whose type the verifier knows.
///
/// # Safety
/// `object` must be such a pointer; the verifier rejects the program otherwise. A null or stale one reads as zero.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(object: *const u8, offset: usize) -> T {
    // SAFETY: see above; volatile, so that the compiler neither widens nor merges the load, which the verifier would
    // find to match no member.
    unsafe { core::ptr::read_volatile(object.add(offset).cast::<T>()) }
}

/// Reads a value at an address in the kernel; `None` if it can't be read.
#[inline(always)]
pub(crate) fn probe<T>(address: u64, offset: usize) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((address + offset as u64) as *const T) }.ok()
}

/// Reads a value at an address of the running process; `None` if it can't be read.
#[inline(always)]
pub(crate) fn user<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// The same number, of which the verifier no longer knows anything: it would otherwise walk the rest of the program
/// once for each value that it can tell apart. `unknown` is any number that it knows nothing of.
#[inline(always)]
pub(crate) fn forget(number: u64, unknown: u64) -> u64 {
    let mut number = number;
    // SAFETY: arithmetic on registers; what the first line does the second undoes.
    unsafe {
        core::arch::asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) number, in(reg) unknown, options(nomem, nostack));
    }
    number
}
