//! One system call at its exit: which call it was, and its arguments.

use agent_ebpf::syscall::{CONTROL_SOCKETCALL, NOT_COUNTED, SOCKETCALL};

use super::{
    globals::{COMPAT_CALLS, NATIVE_CALLS, offset},
    read::{load, near, user},
};

/// x32 marks its call numbers with this bit (`arch/x86/include/uapi/asm/unistd.h`, `__X32_SYSCALL_BIT`).
const X32_BIT: u32 = 0x4000_0000;
/// Bits of the numbers themselves, of which there are about 550.
const X32_NUMBERS: u32 = 0x3ff;

/// A call at its exit.
pub(crate) struct Call {
    /// Through the 32-bit table.
    pub(crate) compat: bool,
    /// Through the x32 table.
    pub(crate) x32: bool,
    /// What it is: see [`agent_ebpf::SyscallTable`].
    pub(crate) code: u8,
    arguments: [u64; 4],
}

impl Call {
    /// Decodes the call that `task` is leaving, but for its arguments.
    #[inline(always)]
    pub(crate) fn decode(task: *const u8, regs: *const u8) -> Self {
        // `orig_ax` has eight bytes, of which the kernel too looks at the lower four; arm64's `syscallno` has four.
        // SAFETY: the registers are typed to the verifier.
        let nr = unsafe { load::<u32, _>(regs, offset!(pt_regs_nr)) };
        let status = near::<u32, _>(task, offset!(task_compat_status)).unwrap_or(0);
        let compat = status & offset!(task_compat_bit).number() as u32 != 0;
        let mut call = Self { compat, x32: false, code: NOT_COUNTED, arguments: [0; 4] };
        if nr < 512 {
            let table = if compat { COMPAT_CALLS.as_ptr() } else { NATIVE_CALLS.as_ptr() };
            // SAFETY: the index is below the table's length; volatile, since the agent has changed it.
            call.code = unsafe { core::ptr::read_volatile(table.cast::<u8>().add(nr as usize & 511)) };
        } else {
            // `rt_sigreturn` leaves -1 here: the registers are those of the interrupted code by now.
            call.x32 = !compat && nr & !X32_NUMBERS == X32_BIT;
        }
        call
    }

    /// Reads the arguments: those of a call that is of interest. i386 `socketcall` only now shows which call it is.
    #[inline(always)]
    pub(crate) fn read_arguments(&mut self, regs: *const u8) {
        // SAFETY: `regs` is typed to the verifier.
        macro_rules! native {
            ($($offset:tt)+) => { unsafe { load::<u64, _>(regs, offset!($($offset)+)) } };
        }
        if !self.compat {
            self.arguments = [
                native!(pt_regs_args, 0),
                native!(pt_regs_args, 1),
                native!(pt_regs_args, 2),
                native!(pt_regs_args, 3),
            ];
            return;
        }
        self.arguments = [
            native!(pt_regs_compat_args, 0) & 0xffff_ffff,
            native!(pt_regs_compat_args, 1) & 0xffff_ffff,
            native!(pt_regs_compat_args, 2) & 0xffff_ffff,
            native!(pt_regs_compat_args, 3) & 0xffff_ffff,
        ];
        if self.code == CONTROL_SOCKETCALL {
            self.decode_socketcall();
        }
    }

    #[inline(always)]
    fn decode_socketcall(&mut self) {
        let which = self.argument(0) as usize & 31;
        if let Some(words) = user::<[u32; 4]>(self.argument(1)) {
            // SAFETY: the index is below the table's length.
            self.code = unsafe { core::ptr::read_volatile(SOCKETCALL.as_ptr().add(which)) };
            self.arguments = words.map(u64::from);
        } else {
            self.code = NOT_COUNTED;
        }
    }

    /// The argument with this index, from 0.
    #[inline(always)]
    pub(crate) fn argument(&self, index: usize) -> u64 {
        self.arguments[index]
    }

    /// The argument with this index as a descriptor.
    #[inline(always)]
    pub(crate) fn descriptor(&self, index: usize) -> u32 {
        self.argument(index) as u32
    }
}
