//! The system calls that are counted, and the tables that turn a call number into one of them.
//!
//! Numbers differ by architecture and by ABI, so none of them is known to the program in the kernel: the agent builds
//! a table for each ABI of the machine it runs on and sets it before load.

/// A counted system call, by its kernel name.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "agent", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[allow(missing_docs)] // the names are the documentation: each is the system call of that name
pub enum Syscall {
    Sendfile = 0,
    Splice,
    Tee,
    Vmsplice,
    CopyFileRange,
    Read,
    Pread64,
    Readv,
    Preadv,
    Preadv2,
    Recvfrom,
    Recvmsg,
    Recvmmsg,
    Write,
    Pwrite64,
    Writev,
    Pwritev,
    Pwritev2,
    Sendto,
    Sendmsg,
    Sendmmsg,
}

/// How a call moves bytes, which decides what its two endpoints are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// From one descriptor to another inside the kernel: `sendfile`, `splice`, `tee`, `copy_file_range`.
    InKernel,
    /// From a descriptor into user memory.
    Read,
    /// From user memory into a descriptor.
    Write,
    /// `vmsplice`: the direction follows from which end of the pipe the descriptor is.
    Vmsplice,
}

/// How many system calls are counted.
pub const SYSCALLS: usize = Syscall::ALL.len();

impl Syscall {
    /// Every counted call, in the order of their values.
    pub const ALL: [Self; 21] = [
        Self::Sendfile,
        Self::Splice,
        Self::Tee,
        Self::Vmsplice,
        Self::CopyFileRange,
        Self::Read,
        Self::Pread64,
        Self::Readv,
        Self::Preadv,
        Self::Preadv2,
        Self::Recvfrom,
        Self::Recvmsg,
        Self::Recvmmsg,
        Self::Write,
        Self::Pwrite64,
        Self::Writev,
        Self::Pwritev,
        Self::Pwritev2,
        Self::Sendto,
        Self::Sendmsg,
        Self::Sendmmsg,
    ];

    /// The call with this value, if there is one.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        if (value as usize) < SYSCALLS { Some(Self::ALL[value as usize]) } else { None }
    }

    /// The kernel's name of the call, as `strace` and the `syscalls:sys_exit_*` tracepoints spell it; `sendfile64` is
    /// shown as `sendfile`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sendfile => "sendfile",
            Self::Splice => "splice",
            Self::Tee => "tee",
            Self::Vmsplice => "vmsplice",
            Self::CopyFileRange => "copy_file_range",
            Self::Read => "read",
            Self::Pread64 => "pread64",
            Self::Readv => "readv",
            Self::Preadv => "preadv",
            Self::Preadv2 => "preadv2",
            Self::Recvfrom => "recvfrom",
            Self::Recvmsg => "recvmsg",
            Self::Recvmmsg => "recvmmsg",
            Self::Write => "write",
            Self::Pwrite64 => "pwrite64",
            Self::Writev => "writev",
            Self::Pwritev => "pwritev",
            Self::Pwritev2 => "pwritev2",
            Self::Sendto => "sendto",
            Self::Sendmsg => "sendmsg",
            Self::Sendmmsg => "sendmmsg",
        }
    }

    /// How the call moves bytes.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Sendfile | Self::Splice | Self::Tee | Self::CopyFileRange => Class::InKernel,
            Self::Vmsplice => Class::Vmsplice,
            Self::Read
            | Self::Pread64
            | Self::Readv
            | Self::Preadv
            | Self::Preadv2
            | Self::Recvfrom
            | Self::Recvmsg
            | Self::Recvmmsg => Class::Read,
            Self::Write
            | Self::Pwrite64
            | Self::Writev
            | Self::Pwritev
            | Self::Pwritev2
            | Self::Sendto
            | Self::Sendmsg
            | Self::Sendmmsg => Class::Write,
        }
    }
}

/// Entry of a [`SyscallTable`]: not counted.
pub const NOT_COUNTED: u8 = 0;
/// Entry of a [`SyscallTable`] for `listen`: no bytes, but from then on a local port is a listener's.
pub const CONTROL_LISTEN: u8 = 0x40;
/// Entry of a [`SyscallTable`] for `io_uring_enter`: I/O that no counted call shows.
pub const CONTROL_IO_URING_ENTER: u8 = 0x41;
/// Entry of a [`SyscallTable`] for i386's `socketcall`, which hides the real call in its first argument.
pub const CONTROL_SOCKETCALL: u8 = 0x42;

/// Call number to what it is: [`NOT_COUNTED`], a [`Syscall`] plus one, or one of the `CONTROL_*` values.
///
/// 512 entries cover every number in use: the highest is io_uring_enter, 426. x32, an ABI almost no kernel enables,
/// has numbers above them and is reported as not counted.
pub type SyscallTable = [u8; 512];

const fn table(entries: &[(usize, u8)]) -> SyscallTable {
    let mut table = [NOT_COUNTED; 512];
    let mut i = 0;
    while i < entries.len() {
        table[entries[i].0] = entries[i].1;
        i += 1;
    }
    table
}

const fn counted(syscall: Syscall) -> u8 {
    syscall as u8 + 1
}

/// x86-64 (`arch/x86/entry/syscalls/syscall_64.tbl`).
pub const X86_64: SyscallTable = table(&[
    (0, counted(Syscall::Read)),
    (1, counted(Syscall::Write)),
    (17, counted(Syscall::Pread64)),
    (18, counted(Syscall::Pwrite64)),
    (19, counted(Syscall::Readv)),
    (20, counted(Syscall::Writev)),
    (40, counted(Syscall::Sendfile)),
    (44, counted(Syscall::Sendto)),
    (45, counted(Syscall::Recvfrom)),
    (46, counted(Syscall::Sendmsg)),
    (47, counted(Syscall::Recvmsg)),
    (50, CONTROL_LISTEN),
    (275, counted(Syscall::Splice)),
    (276, counted(Syscall::Tee)),
    (278, counted(Syscall::Vmsplice)),
    (295, counted(Syscall::Preadv)),
    (296, counted(Syscall::Pwritev)),
    (299, counted(Syscall::Recvmmsg)),
    (307, counted(Syscall::Sendmmsg)),
    (326, counted(Syscall::CopyFileRange)),
    (327, counted(Syscall::Preadv2)),
    (328, counted(Syscall::Pwritev2)),
    (426, CONTROL_IO_URING_ENTER),
]);

/// i386, as called by 32-bit programs on x86-64 and by `int 0x80` (`arch/x86/entry/syscalls/syscall_32.tbl`).
pub const I386: SyscallTable = table(&[
    (3, counted(Syscall::Read)),
    (4, counted(Syscall::Write)),
    (102, CONTROL_SOCKETCALL),
    (145, counted(Syscall::Readv)),
    (146, counted(Syscall::Writev)),
    (180, counted(Syscall::Pread64)),
    (181, counted(Syscall::Pwrite64)),
    (187, counted(Syscall::Sendfile)),
    (239, counted(Syscall::Sendfile)),
    (313, counted(Syscall::Splice)),
    (315, counted(Syscall::Tee)),
    (316, counted(Syscall::Vmsplice)),
    (333, counted(Syscall::Preadv)),
    (334, counted(Syscall::Pwritev)),
    (337, counted(Syscall::Recvmmsg)),
    (345, counted(Syscall::Sendmmsg)),
    (363, CONTROL_LISTEN),
    (369, counted(Syscall::Sendto)),
    (370, counted(Syscall::Sendmsg)),
    (371, counted(Syscall::Recvfrom)),
    (372, counted(Syscall::Recvmsg)),
    (377, counted(Syscall::CopyFileRange)),
    (378, counted(Syscall::Preadv2)),
    (379, counted(Syscall::Pwritev2)),
    (417, counted(Syscall::Recvmmsg)),
    (426, CONTROL_IO_URING_ENTER),
]);

/// arm64 and every other architecture with the generic table (`include/uapi/asm-generic/unistd.h`).
pub const GENERIC: SyscallTable = table(&[
    (63, counted(Syscall::Read)),
    (64, counted(Syscall::Write)),
    (65, counted(Syscall::Readv)),
    (66, counted(Syscall::Writev)),
    (67, counted(Syscall::Pread64)),
    (68, counted(Syscall::Pwrite64)),
    (69, counted(Syscall::Preadv)),
    (70, counted(Syscall::Pwritev)),
    (71, counted(Syscall::Sendfile)),
    (75, counted(Syscall::Vmsplice)),
    (76, counted(Syscall::Splice)),
    (77, counted(Syscall::Tee)),
    (201, CONTROL_LISTEN),
    (206, counted(Syscall::Sendto)),
    (207, counted(Syscall::Recvfrom)),
    (211, counted(Syscall::Sendmsg)),
    (212, counted(Syscall::Recvmsg)),
    (243, counted(Syscall::Recvmmsg)),
    (269, counted(Syscall::Sendmmsg)),
    (285, counted(Syscall::CopyFileRange)),
    (286, counted(Syscall::Preadv2)),
    (287, counted(Syscall::Pwritev2)),
    (426, CONTROL_IO_URING_ENTER),
]);

/// i386 `socketcall`'s first argument to what it is (`include/uapi/linux/net.h`, `SYS_*`).
pub const SOCKETCALL: [u8; 32] = {
    let mut table = [NOT_COUNTED; 32];
    table[4] = CONTROL_LISTEN;
    table[9] = counted(Syscall::Sendto); // send
    table[10] = counted(Syscall::Recvfrom); // recv
    table[11] = counted(Syscall::Sendto);
    table[12] = counted(Syscall::Recvfrom);
    table[16] = counted(Syscall::Sendmsg);
    table[17] = counted(Syscall::Recvmsg);
    table[19] = counted(Syscall::Recvmmsg);
    table[20] = counted(Syscall::Sendmmsg);
    table
};
