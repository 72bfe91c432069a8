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
    /// What `file` was open as: a [`hint`](crate::hint) is found by it.
    pub descriptor: u32,
    /// Zero.
    pub padding: u32,
    /// The first ports that it sent through from memory, see [`crate::TransferKey::port`]; 0: none yet.
    pub ports: [u32; THREAD_PORTS],
    /// Calls that sent through each of them, and at last through any other port.
    pub sends: [u64; THREAD_PORTS + 1],
    /// What those through each of them began with.
    pub looks: [Looks; THREAD_PORTS],
    /// Zero: an entry is two cache lines, of which a read touches the first.
    pub unused: [u64; 3],
}

/// What a thread's sends through one port began with: whether each of them need be looked at for the header of a TLS record,
/// which is a read of the process's memory and so the dearest part of a send's account.
///
/// A port of a broker is TLS's or it is not. Once [`SETTLED`](Looks::SETTLED) looks have shown which, only each
/// [`EVERY`](Looks::EVERY)th send is looked at, and the others are taken for the same, until a look shows something else: then
/// the next ones are looked at, too. Sends that go on with a record which an earlier one left cut short begin with no header:
/// it takes a header in each few of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Looks so far, up to [`SETTLED`](Looks::SETTLED).
    pub looks: u16,
    /// [`HEADER`](Looks::HEADER) more for a look that showed a header, [`NONE`](Looks::NONE) less for one that did not, from 0 to
    /// [`MOST`](Looks::MOST).
    pub score: u16,
}

impl Looks {
    /// So many looks settle it.
    pub const SETTLED: u16 = 64;
    /// Of sends through a settled port, one in so many is looked at. A power of two.
    pub const EVERY: u64 = 16;
    /// What a header adds to the score.
    pub const HEADER: u16 = 8;
    /// What a look that shows none takes from it.
    pub const NONE: u16 = 4;
    /// What it takes to be taken for TLS without a look.
    pub const MOST: u16 = 128;

    /// What the thread's `send`th send through the port is taken for; `None`: it must be looked at.
    #[must_use]
    #[inline(always)]
    pub const fn known(&self, send: u64) -> Option<bool> {
        if self.looks < Self::SETTLED || send.is_multiple_of(Self::EVERY) {
            None
        } else if self.score == 0 {
            Some(false)
        } else if self.score == Self::MOST {
            Some(true)
        } else {
            None
        }
    }

    /// With one more look, at a send that began with a header, or did not.
    #[must_use]
    #[inline(always)]
    pub const fn and(&self, is_header: bool) -> Self {
        let looks = if self.looks < Self::SETTLED { self.looks + 1 } else { self.looks };
        let score = if !is_header {
            self.score.saturating_sub(Self::NONE)
        } else if self.score > Self::MOST - Self::HEADER {
            Self::MOST
        } else {
            self.score + Self::HEADER
        };
        Self { looks, score }
    }
}

/// Entries of the thread table.
pub const THREADS: u32 = 16384;

const _: () = assert!(size_of::<Thread>() == 2 * 64);
const _: () = assert!(core::mem::offset_of!(Thread, ports) == 64);

#[cfg(test)]
mod tests {
    use core::iter;

    use super::*;

    /// After looks at sends of which each tells whether it began with a header.
    fn after(sends: impl Iterator<Item = bool>) -> Looks {
        sends.fold(Looks::default(), |looks, is_header| looks.and(is_header))
    }

    #[test]
    fn a_port_is_settled_by_many_looks_that_agree() {
        let none = || iter::repeat_n(false, 64);
        assert_eq!(after(none().take(63)).known(1), None);
        assert_eq!(after(none()).known(1), Some(false));
        assert_eq!(after(none()).known(Looks::EVERY), None, "one of some is looked at");
        let all = || iter::repeat_n(true, 64);
        assert_eq!(after(all()).known(1), Some(true));
        // Each record is sent in two pieces: what comes after a header is known, what comes after a rest is looked at.
        assert_eq!(after((0..65).map(|send| send % 2 == 0)).known(1), Some(true));
        assert_eq!(after((0..64).map(|send| send % 2 == 0)).known(1), None);
        // Headers now and then: neither.
        assert_eq!(after((0..65).map(|send| send % 8 == 0)).known(1), None);
        assert_eq!(after(none().chain([true])).known(1), None);
        assert_eq!(after(all().chain([false])).known(1), None);
        // What was plain becomes TLS, and the other way.
        assert_eq!(after(none().chain(all())).known(1), Some(true));
        assert_eq!(after(all().chain(none()).chain(none())).known(1), Some(false));
    }
}
