//! In what order calls inside the kernel read and write their files.

use agent_ebpf::{FilePath, PORT_NONE, Syscall, reader::CONNECTION};

use super::{
    account::{NOWHERE, add_tally, tally_of},
    call::Call,
    maps::FILE_COUNTS,
    object::Object,
    position::{Position, UNKNOWN, position, position_of},
    read::{forget, user},
    run::Run,
    short,
    task::current_task,
    transfer::{Moved, Places},
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

// Where the two parts of `how` lie.
const DESCRIPTOR: u64 = 0x7fff_ffff;
const HOW_POSITION: u64 = 32;

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

    /// Counts the call, whose files' counts lie at `places`, by how it follows the one before; and, where a `sendfile` sent less
    /// than was asked, why.
    #[inline(always)]
    pub(crate) fn note(&self, moved: &Moved, source: &Object, sink: &Object, places: &Places) {
        let (ids, bytes) = (moved.ids, moved.bytes);
        if let Some(counts) = FILE_COUNTS.get_ptr_mut(places.source) {
            let is_sent = places.port != PORT_NONE;
            let connection = (CONNECTION | sink.descriptor) as u64;
            let reader = forget(if is_sent { connection } else { ids as u32 as u64 }, ids) as u32;
            let run = Run { place: places.source, counts, reader: Some(reader) };
            let (how, at) = self.first;
            let end = end_of(moved.task, Some((&run, source.read_end)), how, at, bytes, ids);
            add_tally(counts, tally_of(FilePath::ZeroCopyRead, run.follows(end, bytes), ids), 1, bytes);
            if bytes < self.asked && is_sent {
                let reason = short::reason(source.extent, sink.extent, end, bytes);
                short::count(moved.target, places.kind, forget(reason as u64, ids), self.asked, bytes);
            }
        }
        if places.sink != NOWHERE {
            let (how, at) = self.second;
            note_written(places.sink as u64 | ids << 32, how, at, bytes);
        }
    }
}

/// The same for the second end, which few calls have. A global function: the verifier looks at it once.
///
/// `which` is the place of its file and the thread; `how` how to tell where it began, and the file's descriptor.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note_written(which: u64, how: u64, at: u64, bytes: u64) -> u64 {
    let place = which as u32;
    let Some(counts) = FILE_COUNTS.get_ptr_mut(place) else { return 0 };
    let run = Run { place, counts, reader: None };
    let end = end_of(current_task(), None, how, at, bytes, which);
    add_tally(counts, tally_of(FilePath::Written, run.follows(end, bytes), which), 1, bytes);
    0
}

/// Where in its file a call ended. `how` and `at` are of a [`Plan`]; `read`: who reads, and where the file's last read ended.
#[inline(always)]
fn end_of(task: *const u8, read: Option<(&Run, u64)>, how: u64, at: u64, bytes: u64, unknown: u64) -> u64 {
    let (descriptor, position) = ((how & DESCRIPTOR) as u32, how >> HOW_POSITION & 3);
    let mut end = UNKNOWN;
    // No call inside the kernel has its start among its arguments.
    if position == Position::End as u64 {
        // A look at the process's memory costs more than all of the rest: it is not taken where the file's last read ended just where
        // this reader's next one should.
        end = match read {
            Some((run, guess)) if guess != 0 && run.expected_end(bytes) == guess => guess,
            _ => user::<u64>(at).unwrap_or(UNKNOWN),
        };
    } else if position == Position::OfFile as u64 {
        end = position_of(task, descriptor);
    }
    forget(end, unknown)
}
