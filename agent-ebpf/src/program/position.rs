//! Where in its file a call ended.

use agent_ebpf::Syscall;

use super::{
    call::Call,
    globals::offset_in,
    object::used_file_of,
    read::{far, forget},
};

/// It can't be told.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// How to tell it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Where the call began is an argument of it.
    Start = 0,
    /// At an address of the process lies where it ended.
    End,
    /// The file's own position is where it ended.
    OfFile,
    /// It can't be told.
    Unknown,
}

/// What of the arguments of a call with one descriptor tells where it ended: counted in the program itself, since there are so
/// many.
pub(crate) struct Began {
    position: u64,
    at: u64,
}

impl Began {
    /// Nobody asks.
    pub(crate) const UNKNOWN: Self = Self { position: Position::Unknown as u64, at: 0 };

    #[inline(always)]
    pub(crate) fn of(call: &Call, syscall: Syscall, ids: u64) -> Self {
        if call.compat {
            return Self::UNKNOWN;
        }
        let (position, at) = position(call, syscall, true);
        Self { position: forget(position as u64, ids), at: forget(at, ids) }
    }

    /// Where in the file the call ended, which moved so many bytes, or [`UNKNOWN`].
    #[inline(always)]
    pub(crate) fn end(&self, task: *const u8, descriptor: u32, bytes: u64) -> u64 {
        if self.position == Position::Start as u64 {
            self.at + bytes
        } else if self.position == Position::OfFile as u64 {
            position_of(task, descriptor)
        } else {
            UNKNOWN
        }
    }
}

/// The file's own position; it has moved when a call is over.
#[inline(always)]
pub(super) fn position_of(task: *const u8, descriptor: u32) -> u64 {
    used_file_of(task, descriptor)
        .and_then(|file| far::<u64, _>(file, offset_in!(OrderOffsets, file_pos)))
        .unwrap_or(UNKNOWN)
}

/// What tells where the call began in the file at its first or its second end.
#[inline(always)]
pub(super) fn position(call: &Call, syscall: Syscall, is_source: bool) -> (Position, u64) {
    let pointer = match syscall {
        Syscall::Pread64 | Syscall::Pwrite64 | Syscall::Preadv | Syscall::Pwritev => {
            return (Position::Start, call.argument(3));
        }
        // -1: the file's own position.
        Syscall::Preadv2 | Syscall::Pwritev2 if call.argument(3) != u64::MAX => {
            return (Position::Start, call.argument(3));
        }
        Syscall::Sendfile => call.argument(2),
        Syscall::Splice | Syscall::CopyFileRange => call.argument(if is_source { 1 } else { 3 }),
        _ => 0,
    };
    if pointer != 0 { (Position::End, pointer) } else { (Position::OfFile, 0) }
}
