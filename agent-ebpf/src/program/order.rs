//! In what order calls inside the kernel read and write their files.

use agent_ebpf::{FilePath, PORT_NONE, Syscall, reader::CONNECTION};

use super::{
    account::{NOWHERE, add_tally, tally_of},
    call::Call,
    maps::FILE_COUNTS,
    position::{Position, UNKNOWN, position, position_of, read_end},
    read::{forget, user},
    run::Run,
    short,
    task::current_task,
    transfer::Places,
};

/// What of the arguments of a call inside the kernel tells its order. Made before what the call moved is counted: what is found
/// out of a call here, the verifier need not tell apart there.
pub(crate) struct Plan {
    /// Of the first end: its descriptor and [`Position`], and what goes with that.
    first: (u64, u64),
    /// The same of the second one.
    second: (u64, u64),
    /// What a `sendfile` was asked for; 0: another call.
    asked: u64,
}

// Where the parts of `how` lie, an argument of `note_call`: bits.
const DESCRIPTOR: u64 = 0x7fff_ffff;
const HOW_POSITION: u64 = 32;
const HOW_WRITTEN: u64 = 1 << 34;
const WHOSE_PORT: u64 = 35;
/// What [`note_call`] returns where no [`ShortReason`] is to be counted.
const SENT_ALL: u64 = u64::MAX;

impl Plan {
    /// Nothing is to be counted.
    pub(crate) const NONE: Self = Self { first: (0, 0), second: (0, 0), asked: 0 };

    #[inline(always)]
    pub(crate) fn of(call: &Call, syscall: Syscall, ids: u64) -> Self {
        let is_sendfile = syscall as u8 == Syscall::Sendfile as u8;
        let (first, second) = (call.argument(is_sendfile as usize), call.argument(if is_sendfile { 0 } else { 2 }));
        let end = |descriptor: u64, is_source: bool| {
            // The 32-bit calls have other arguments.
            let (position, at) = if call.compat { (Position::Unknown, 0) } else { position(call, syscall, is_source) };
            let how = descriptor & DESCRIPTOR | (position as u64) << HOW_POSITION;
            (forget(how, ids), forget(at, ids))
        };
        let asked = if is_sendfile { call.argument(3) } else { 0 };
        Self { first: end(first, true), second: end(second, false), asked: forget(asked, ids) }
    }

    /// Counts the call, which moved bytes of files whose counts lie at `places`, by how it follows the one before.
    #[inline(always)]
    pub(crate) fn note(&self, target: u32, ids: u64, places: &Places, bytes: u64) {
        let whose = (places.port as u64) << WHOSE_PORT;
        // No call moves more than 31 bits of bytes.
        let bytes = bytes & DESCRIPTOR | (self.second.0 & DESCRIPTOR) << 32;
        if places.source != NOWHERE {
            let how = whose | self.first.0;
            let reason = note_call(places.source as u64 | ids << 32, how, self.first.1, bytes, self.asked);
            if reason != SENT_ALL {
                short::count(target as u64 | (places.port as u64) << 32, reason, self.asked, bytes & DESCRIPTOR);
            }
        }
        if places.sink != NOWHERE {
            let how = whose | self.second.0 | HOW_WRITTEN;
            note_call(places.sink as u64 | ids << 32, how, self.second.1, bytes, 0);
        }
    }
}

/// Counts a call by where it began, and returns why it sent less than was asked. A global function: the verifier looks at it once.
///
/// `which` is the place of its file and the thread; `how` the port, whether the file is written, how to tell where it began, and
/// the file's descriptor; `moved` the bytes and the other descriptor; `asked` what a `sendfile` was asked for.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_call(which: u64, how: u64, place: u64, moved: u64, asked: u64) -> u64 {
    let (descriptor, other) = ((how & DESCRIPTOR) as u32, (moved >> 32) as u32);
    let (port, bytes) = ((how >> WHOSE_PORT) as u32, moved & DESCRIPTOR);
    let position = how >> HOW_POSITION & 3;
    let is_read = how & HOW_WRITTEN == 0;
    let (mut end, mut guess) = (UNKNOWN, 0);
    // No call inside the kernel has its start among its arguments.
    if position == Position::End as u64 {
        // Not yet: see below.
        guess = if is_read { read_end(descriptor) } else { UNKNOWN };
    } else if position == Position::OfFile as u64 {
        end = position_of(current_task(), descriptor);
    }
    let reader = if !is_read {
        None
    } else if port != PORT_NONE {
        Some(CONNECTION | other)
    } else {
        Some((which >> 32) as u32)
    };
    let Some(counts) = FILE_COUNTS.get_ptr_mut(which as u32) else { return SENT_ALL };
    let run = Run { place: which as u32, counts, reader };
    if guess != 0 {
        // A look at the process's memory costs more than all of the rest: it is not taken where the file's last read ended just where
        // this reader's next one should.
        end = if run.expected_end(bytes) == guess { guess } else { user::<u64>(place).unwrap_or(UNKNOWN) };
    }
    let end = forget(end, which);
    let path = if is_read { FilePath::ZeroCopyRead } else { FilePath::Written };
    add_tally(counts, tally_of(path, run.follows(end, bytes), which), 1, bytes);
    if bytes < asked && port != PORT_NONE {
        let end = if guess == 0 { Some(end) } else { user::<u64>(place) };
        return short::reason(current_task(), descriptor, other, bytes, end) as u64;
    }
    SENT_ALL
}
