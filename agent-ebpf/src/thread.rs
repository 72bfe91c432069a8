//! What is known of a thread: file bytes that it has in its memory, and through which ports it sends.

use crate::InodeKey;

/// Ports that a thread's sends are kept apart by; what it sends through others is one sum.
pub const THREAD_PORTS: usize = 2;

/// What a thread has read from files and not yet sent, and how often it sent through which port. Threads share a table by
/// `tid % THREADS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Kernel thread id; 0: unused.
    pub tid: u32,
    /// Slot of the target.
    pub target: u32,
    /// File bytes read into memory since the last egress from memory.
    pub read_bytes: u64,
    /// The calls that read them.
    pub read_calls: u64,
    /// The file that it read last.
    pub file: InodeKey,
    /// Of `read_bytes`, those of `file`.
    pub file_bytes: u64,
    /// Bytes of `file` that were read and for which nothing has been sent yet: what is sent from memory before that many
    /// bytes have left is taken for the file's.
    pub unsent: u64,
    /// The first ports that it sent through from memory, see [`crate::TransferKey::port`]; 0: none yet.
    pub ports: [u32; THREAD_PORTS],
    /// Calls that sent through each of them, and at last through any other port.
    pub sends: [u64; THREAD_PORTS + 1],
}

/// Entries of the thread table.
pub const THREADS: u32 = 16384;
