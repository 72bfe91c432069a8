//! What was done, as the process that did it wrote it down.

use agent_ebpf::{Endpoint, PORT_DATAGRAM, PORT_NONE, PORT_OUTBOUND, SIZE_BUCKETS, Syscall};
use serde::{Deserialize, Serialize};

/// Everything that was done, in the terms in which it is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Calls that moved bytes.
    pub transfers: Vec<Known>,
    /// Calls that failed: call, errno, how often.
    pub errors: Vec<(Syscall, u32, u64)>,
    /// Calls that returned 0: call, how often.
    pub empty: Vec<(Syscall, u64)>,
    /// What moved out of and into files.
    pub files: Vec<KnownFile>,
}

/// Calls of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The call.
    pub syscall: Syscall,
    /// Where the bytes came from.
    pub source: Endpoint,
    /// Where they went.
    pub sink: Endpoint,
    /// Whose socket it was.
    pub port: KnownPort,
    /// With MSG_ZEROCOPY.
    pub msg_zerocopy: bool,
    /// Calls.
    pub calls: u64,
    /// Bytes.
    pub bytes: u64,
    /// File bytes that the thread had read since its last send.
    pub carried: u64,
    /// Calls by size, as in [`agent_ebpf::TransferValue`].
    pub sizes: [u64; SIZE_BUCKETS],
}

/// Whose socket it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KnownPort {
    /// No inet socket.
    None,
    /// An accepted connection of the listener on this port.
    Listener(u16),
    /// A connection that the process opened.
    Outbound,
    /// No connection.
    Datagram,
}

impl KnownPort {
    /// The same in the contract's terms.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::None => PORT_NONE,
            Self::Listener(port) => u32::from(port),
            Self::Outbound => PORT_OUTBOUND,
            Self::Datagram => PORT_DATAGRAM,
        }
    }
}

/// What moved out of and into one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFile {
    /// Its name.
    pub name: String,
    /// Name of its directory.
    pub directory: String,
    /// Its inode number.
    pub inode: u64,
    /// Bytes out inside the kernel, out into memory, in: in the order of [`agent_ebpf::FilePath`].
    pub bytes: [u64; 3],
}
