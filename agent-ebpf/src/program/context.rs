//! The context of programs that two legs share.

use super::globals::{has, offset};

/// The call's result: in the record of a tracepoint (`/sys/kernel/tracing/events/syscalls/sys_exit_read/format`) at 16, among
/// the registers of a function that returns where the architecture puts it: `rax` at 80, `x0` at 0. The verifier only lets a
/// context be read at offsets that are constants in the instruction.
#[inline(always)]
pub(crate) fn result(context: *const u8) -> i64 {
    macro_rules! at {
        ($offset:literal) => {{
            let value: i64;
            // SAFETY: the verifier checks the read. In assembler, so that the compiler does not make one load of several, at an
            // offset in a register.
            unsafe {
                core::arch::asm!(
                    concat!("{value} = *(u64 *)({context} + ", $offset, ")"),
                    value = lateout(reg) value, context = in(reg) context, options(nostack, readonly),
                );
            }
            value
        }};
    }
    if !has!(return_probe) {
        at!("16")
    } else if offset!(pt_regs_result).number() == 0 {
        at!("0")
    } else {
        at!("80")
    }
}

/// The number of the call that begins, in the record of a tracepoint at 8; `None`: it is among the saved registers.
#[inline(always)]
pub(crate) fn number(context: *const u8) -> Option<u32> {
    if has!(return_probe) {
        return None;
    }
    let number: u64;
    // SAFETY: the verifier checks the read.
    unsafe {
        core::arch::asm!(
            "{number} = *(u32 *)({context} + 8)",
            number = lateout(reg) number, context = in(reg) context, options(nostack, readonly),
        );
    }
    Some(number as u32)
}
