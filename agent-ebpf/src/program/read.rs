//! Reads of kernel memory.
//!
//! Where the verifier knows the type of a pointer, its members are loaded directly, which costs as much as any load. It
//! knows the type of what came from a typed argument or helper, and of what these point to ([`near`]); on kernels that
//! have [`KFUNC_CAST`](agent_ebpf::features::KFUNC_CAST) it can be told the type of the rest ([`far`]). Otherwise a member
//! is copied by a helper, at about 40 ns each.

use agent_ebpf::features::in_load;
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};

use super::globals::{Offset, has};

/// Loads a member of an object whose type the verifier knows: one instruction, in which the agent writes the offset.
///
/// # Safety
/// `object` must be such a pointer; the verifier rejects the program otherwise. A null or stale one reads as zero.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy, const PLACEHOLDER: u32>(object: *const u8, _: Offset<PLACEHOLDER>) -> T {
    let value: u64;
    macro_rules! load {
        ($bits:literal) => {
            // SAFETY: see above. In assembler also so that the compiler neither widens nor merges the load, which the verifier would
            // find to match no member.
            unsafe {
                core::arch::asm!(
                    concat!("{value} = *(", $bits, " *)({object} + {offset})"),
                    value = lateout(reg) value,
                    object = in(reg) object,
                    offset = const in_load(PLACEHOLDER),
                    options(nostack, readonly),
                );
            }
        };
    }
    match size_of::<T>() {
        2 => load!("u16"),
        4 => load!("u32"),
        _ => load!("u64"),
    }
    const { assert!(matches!(size_of::<T>(), 2 | 4 | 8)) };
    if size_of::<T>() < 8 {
        // SAFETY: the rest of the register is zero. The compiler would otherwise see to it, here and where it is used.
        unsafe { core::hint::assert_unchecked(value >> (size_of::<T>() * 8) == 0) };
    }
    // SAFETY: an integer or a pointer of no more than eight bytes, of which the lower ones come first.
    unsafe { core::mem::transmute_copy(&value) }
}

/// A member of the running task, or of what is reached from it by typed members alone.
#[inline(always)]
pub(crate) fn near<T: Copy, const PLACEHOLDER: u32>(object: *const u8, offset: Offset<PLACEHOLDER>) -> Option<T> {
    if has!(typed_task) {
        // SAFETY: with this feature the task is typed, and so is what its members point to.
        Some(unsafe { load(object, offset) })
    } else {
        probe(object as u64, offset.number())
    }
}

/// A member of an object whose pointer came from [`cast`], or from a member of such an object.
#[inline(always)]
pub(crate) fn far<T: Copy, const PLACEHOLDER: u32>(object: *const u8, offset: Offset<PLACEHOLDER>) -> Option<T> {
    if has!(casts) {
        // SAFETY: with this feature `cast` gives typed pointers.
        Some(unsafe { load(object, offset) })
    } else {
        probe(object as u64, offset.number())
    }
}

/// The same for what lies at an offset that is reckoned.
#[inline(always)]
pub(crate) fn far_at<T: Copy>(object: *const u8, offset: usize) -> Option<T> {
    if has!(casts) {
        // SAFETY: as above; volatile for the reason given at `load`.
        Some(unsafe { core::ptr::read_volatile(object.add(offset).cast::<T>()) })
    } else {
        probe(object as u64, offset)
    }
}

/// Tells the verifier, where it can be told, that at `address` lies an object of this type: its number in the kernel's
/// BTF. The verifier then lets it be read, and reads through a wrong address as zero.
#[inline(always)]
pub(crate) fn cast<const PLACEHOLDER: u32>(address: *const u8, type_id: Offset<PLACEHOLDER>) -> *const u8 {
    if !has!(casts) {
        return address;
    }
    let object: *const u8;
    // SAFETY: a call of `KFUNC_CAST`, which the agent has given its number, by the calling convention of all calls.
    unsafe {
        core::arch::asm!(
            ".byte 0x85, 0x20, 0, 0, 0x01, 0x54, 0x43, 0x5a",
            inlateout("r1") address => _,
            inlateout("r2") type_id.number() => _,
            lateout("r0") object,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nostack),
        );
    }
    object
}

/// Stands where what seldom happens begins: the compiler does not do any of it before it is known that it happens.
#[inline(always)]
pub(crate) fn rare() {
    // SAFETY: no instruction.
    unsafe { core::arch::asm!("", options(nostack)) };
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
