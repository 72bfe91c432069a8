//! What the agent sets before load: numbers in the instructions themselves, and tables in `.rodata`, which is frozen. And tables
//! that change, in sections of their own, each of which is a map of one value: found without looking it up.

use core::{cell::UnsafeCell, mem::MaybeUninit};

use agent_ebpf::{
    FILE_TRANSFERS as FILE_TRANSFER_ENTRIES, HINTS as HINT_ENTRIES, SyscallTable, TARGET_BUCKETS, Target,
};

/// Call numbers of the machine's own ABI. `MaybeUninit` keeps the compiler from folding the values it sees here, which are not
/// the ones at run time.
#[unsafe(no_mangle)]
pub(crate) static NATIVE_CALLS: MaybeUninit<SyscallTable> = MaybeUninit::zeroed();

/// Call numbers of its 32-bit ABI.
#[unsafe(no_mangle)]
pub(crate) static COMPAT_CALLS: MaybeUninit<SyscallTable> = MaybeUninit::zeroed();

/// From so many nanoseconds on a call is slow.
#[unsafe(no_mangle)]
pub(crate) static SLOW_NS: MaybeUninit<u64> = MaybeUninit::zeroed();

/// A value that others change meanwhile.
#[repr(transparent)]
pub(crate) struct Shared<T>(UnsafeCell<T>);

// SAFETY: whoever uses it has only its address.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Where it lies.
    #[inline(always)]
    pub(crate) const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// The processes that are watched: only the agent writes here.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.targets")]
pub(crate) static TARGETS: Shared<[Target; TARGET_BUCKETS as usize]> = Shared(UnsafeCell::new([NO_TARGET; _]));

const NO_TARGET: Target = Target { tgid: 0, slot: 0, counting: 0, start_boottime: 0 };

/// Grows when keys were removed, so that what was remembered before is void; never 0. Only the agent writes here.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.epoch")]
pub(crate) static EPOCH: Shared<u64> = Shared(UnsafeCell::new(1));

/// Processors whose run queues are known: those with higher numbers ask for their task.
pub(crate) const PROCESSORS: u32 = 1024;

/// Addresses of the processors' run queues (`struct rq`), which never move; 0 until they are known. Not a per-CPU array, where a
/// value is two loads from memory away.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.run_queues")]
pub(crate) static RUN_QUEUES: Shared<[u64; PROCESSORS as usize]> = Shared(UnsafeCell::new([0; _]));

/// Where the counts of a file may be, and the epoch.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.hints")]
pub(crate) static HINTS: Shared<[u64; HINT_ENTRIES as usize]> = Shared(UnsafeCell::new([0; _]));

/// Where is counted what a call of a target moves between a file and memory, and the epoch.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.file_transfers")]
pub(crate) static FILE_TRANSFERS: Shared<[u64; FILE_TRANSFER_ENTRIES as usize]> = Shared(UnsafeCell::new([0; _]));

/// Reads one member of a table here, or of another one that the agent sets before load.
#[inline(always)]
pub(crate) fn read_member<T, M: Copy + 'static>(
    table: &'static MaybeUninit<T>,
    member: impl FnOnce(&'static T) -> &'static M,
) -> M {
    // SAFETY: a static that is initialised; volatile, since the agent has changed it.
    unsafe { core::ptr::read_volatile(member(table.assume_init_ref())) }
}

/// The number that the agent has written into this instruction, in place of the one that stands here.
#[inline(always)]
pub(crate) fn number<const PLACEHOLDER: u32>() -> u64 {
    let number: u64;
    // SAFETY: an instruction that sets a register.
    unsafe { core::arch::asm!("{0} = {1}", out(reg) number, const PLACEHOLDER, options(nomem, nostack)) };
    number
}

/// What stands for a member of a table of [`agent_ebpf::Constants`].
macro_rules! placeholder {
    ($table:ident, $member:ident, $index:literal) => {
        <agent_ebpf::$table as agent_ebpf::Constants>::BASE
            + core::mem::offset_of!(agent_ebpf::$table, $member) as u32
            + $index * 4
    };
    ($table:ident, $member:ident) => {
        $crate::program::globals::placeholder!($table, $member, 0)
    };
}
pub(crate) use placeholder;

/// A number of a table of [`agent_ebpf::Constants`], mostly an offset.
#[derive(Clone, Copy)]
pub(crate) struct Offset<const PLACEHOLDER: u32>;

impl<const PLACEHOLDER: u32> Offset<PLACEHOLDER> {
    /// The number in a register.
    #[inline(always)]
    pub(crate) fn number(self) -> usize {
        number::<PLACEHOLDER>() as usize
    }
}

/// A number of a table, as `offset_in!(Offsets, file_inode)`.
macro_rules! offset_in {
    ($table:ident, $($member:tt)+) => {
        $crate::program::globals::Offset::<{ $crate::program::globals::placeholder!($table, $($member)+) }>
    };
}
pub(crate) use offset_in;

/// The offset of this name, as `offset!(file_inode)`, or `offset!(pt_regs_args, 1)` for the second of several.
macro_rules! offset {
    ($($member:tt)+) => {
        $crate::program::globals::offset_in!(Offsets, $($member)+)
    };
}
pub(crate) use offset;

/// Whether the [feature](agent_ebpf::Features) of this name is set, as `has!(order)`.
macro_rules! has {
    ($feature:ident) => {
        'feature: {
            // SAFETY: two instructions that set a register and go one of two ways.
            unsafe {
                core::arch::asm!(
                    "{number} = {placeholder}",
                    "if {number} == 0 goto {without}",
                    number = out(reg) _,
                    placeholder = const $crate::program::globals::placeholder!(Features, $feature),
                    without = label {
                        // An instruction that nothing else leads to: where it is dead, so is the question.
                        // SAFETY: it sets a register.
                        unsafe { core::arch::asm!("{number} = 0", number = out(reg) _, options(nomem, nostack)) };
                        break 'feature false
                    },
                    options(nomem, nostack),
                );
            }
            true
        }
    };
}
pub(crate) use has;
