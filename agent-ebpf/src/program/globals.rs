//! What the agent sets before load. In `.rodata`, which is frozen, so the verifier sees constants.

use core::mem::MaybeUninit;

use agent_ebpf::{Features, Offsets, SyscallTable};

/// `MaybeUninit` keeps the compiler from folding the values it sees here, which are not the ones at run time.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: MaybeUninit<Offsets> = MaybeUninit::zeroed();

/// What this kernel and leg allow.
#[unsafe(no_mangle)]
pub(crate) static FEATURES: MaybeUninit<Features> = MaybeUninit::zeroed();

/// Call numbers of the machine's own ABI.
#[unsafe(no_mangle)]
pub(crate) static NATIVE_CALLS: MaybeUninit<SyscallTable> = MaybeUninit::zeroed();

/// Call numbers of its 32-bit ABI.
#[unsafe(no_mangle)]
pub(crate) static COMPAT_CALLS: MaybeUninit<SyscallTable> = MaybeUninit::zeroed();

/// From so many nanoseconds on a call is slow.
#[unsafe(no_mangle)]
pub(crate) static SLOW_NS: MaybeUninit<u64> = MaybeUninit::zeroed();

/// Reads one member of a table here, or of another one that the agent sets before load.
#[inline(always)]
pub(crate) fn read_member<T, M: Copy + 'static>(
    table: &'static MaybeUninit<T>,
    member: impl FnOnce(&'static T) -> &'static M,
) -> M {
    // SAFETY: a static that is initialised; volatile, since the agent has changed it.
    unsafe { core::ptr::read_volatile(member(table.assume_init_ref())) }
}

/// The offset of this name, as `offset!(file_inode)`.
macro_rules! offset {
    ($($member:tt)+) => {
        $crate::program::globals::read_member(&$crate::program::globals::OFFSETS, |offsets| &offsets.$($member)+) as usize
    };
}
pub(crate) use offset;

/// Whether a member of [`FEATURES`] is set.
#[inline(always)]
pub(crate) fn has(feature: impl FnOnce(&'static Features) -> &'static u32) -> bool {
    read_member(&FEATURES, feature) != 0
}
