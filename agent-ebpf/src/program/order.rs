//! Where in its file a call began, beside where the last one ended.

use agent_ebpf::{
    FilePath, Follows, NO_END, PORT_NONE, READ_AGAIN, READER_ENDS, READER_WAYS, Reader, Syscall,
    reader::{CONNECTION, WRITER},
    reader_key, reader_set, tally_index,
};
use aya_ebpf::{macros::map, maps::Array};

use super::{
    account::{NOWHERE, add_tally},
    call::Call,
    globals::{constant, has},
    maps::FILE_COUNTS,
    object::file_of,
    read::{far, forget, user},
    short,
    task::current_task,
    transfer::Places,
};

#[map]
pub(crate) static READERS: Array<[Reader; READER_WAYS]> = Array::with_max_entries(1, 0);

/// The offset of this name.
macro_rules! at {
    ($member:ident) => {
        constant!(OrderOffsets, $member) as usize
    };
}
pub(super) use at;

/// Where a call began can't be told.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// How to tell where in the file a call began.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// It is told: an argument of the call.
    Start = 0,
    /// At an address of the process lies where it ended.
    End,
    /// The file's own position is where it ended.
    OfFile,
    /// It can't be told.
    Unknown,
}

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

/// The same for a call with one descriptor, counted in the program itself, since there are so many.
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

    /// How the call follows the one before of this reader or writer.
    #[inline(always)]
    pub(crate) fn follows(&self, task: *const u8, descriptor: u32, key: u64, bytes: u64, path: FilePath) -> Follows {
        let end = if self.position == Position::Start as u64 {
            self.at + bytes
        } else if self.position == Position::OfFile as u64 {
            position_of(task, descriptor)
        } else {
            UNKNOWN
        };
        follows(key, end, bytes, !matches!(path, FilePath::Written), 0)
    }
}

/// The file's own position; it has moved when a call is over.
#[inline(always)]
fn position_of(task: *const u8, descriptor: u32) -> u64 {
    file_of(task, descriptor).and_then(|file| far::<u64>(file, at!(file_pos))).unwrap_or(UNKNOWN)
}

/// What tells where the call began in the file at its first or its second end.
#[inline(always)]
fn position(call: &Call, syscall: Syscall, is_source: bool) -> (Position, u64) {
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
        // Not yet: see `follows`.
        guess = if is_read { read_end(descriptor) } else { UNKNOWN };
    } else if position == Position::OfFile as u64 {
        end = position_of(current_task(), descriptor);
    }
    let reader = if !is_read {
        WRITER
    } else if port != PORT_NONE {
        CONNECTION | other
    } else {
        (which >> 32) as u32
    };
    let end = forget(end, which);
    let (end, guess) = if guess == 0 { (end, 0) } else { (place, forget(guess, which)) };
    let follows = follows(reader_key(which as u32, reader), end, bytes, is_read, guess);
    let path = if is_read { FilePath::ZeroCopyRead } else { FilePath::Written };
    if let Some(counts) = FILE_COUNTS.get_ptr_mut(which as u32) {
        add_tally(counts, tally_index(path, follows), 1, bytes);
    }
    if bytes < asked && port != PORT_NONE {
        let end = if guess == 0 { Some(end) } else { user::<u64>(place) };
        return short::reason(current_task(), descriptor, other, bytes, end) as u64;
    }
    SENT_ALL
}

/// Where a read of this open file ended last, if that is known; otherwise [`UNKNOWN`]. It need not be this call that did.
#[inline(always)]
fn read_end(descriptor: u32) -> u64 {
    let offset = at!(file_read_end);
    if offset == 0 || !has!(casts) {
        return UNKNOWN;
    }
    match file_of(current_task(), descriptor).and_then(|file| far::<u64>(file, offset)) {
        Some(0) | None => UNKNOWN,
        Some(end) => end,
    }
}

/// How a call that moved `bytes` follows the one before. In the same function, since old kernels give all that call each other 512
/// bytes of stack.
///
/// `place` is where it ended; or, if `guess` is not 0, the address of the process at which that lies. A look there costs more than all
/// of the rest: it is not taken where the file's last read ended just where this reader's next one should, as `guess` says.
#[inline(always)]
fn follows(key: u64, place: u64, bytes: u64, is_read: bool, guess: u64) -> Follows {
    let Some(set) = READERS.get_ptr_mut(reader_set(key)) else { return Follows::Unknown };
    let set = set.cast::<Reader>();
    let known = find(set, key);
    let end = if guess == 0 {
        place
    } else {
        // SAFETY: a field of a map's value, an entry that only this reader writes to.
        let expected = known.map_or(0, |known| unsafe { *(&raw const (*known).ends).cast::<u64>() } + bytes);
        // No call ends at 0, and what is not known nowhere.
        if guess == expected { guess } else { user::<u64>(place).unwrap_or(UNKNOWN) }
    };
    let end = forget(end, key);
    if end < bytes || end >= UNKNOWN / 2 {
        return Follows::Unknown;
    }
    let start = end - bytes;
    let Some(known) = known else {
        // SAFETY: the value of a map has room for two. Whose place another CPU's reader takes at the same time begins anew, too.
        unsafe {
            *set.add(1) = *set;
            *set = Reader { key, ends: [end, NO_END, NO_END, NO_END] };
        }
        // At the beginning of a file nothing comes before.
        return if start == 0 { Follows::Sequential } else { Follows::Unknown };
    };
    // SAFETY: as above.
    let ends = unsafe { (&raw mut (*known).ends).cast::<u64>() };
    let again = if is_read { READ_AGAIN } else { 0 };
    let goes_on = |known: u64| start <= known && known - start <= again && known != NO_END;
    // SAFETY: see above.
    let mut is_sequential = goes_on(unsafe { *ends });
    if !is_sequential {
        // A thread may go on from where an earlier one of its calls ended: that place comes first then. Where none is, the one that
        // was not used for the longest time goes.
        let is_connection = key >> 32 & CONNECTION as u64 != 0;
        let mut found = READER_ENDS;
        let mut i = 1;
        while i < READER_ENDS && !is_connection {
            // SAFETY: the index is below their number, here and below; checked ones would make a panic, which no program may.
            if found == READER_ENDS && goes_on(unsafe { *ends.add(i) }) {
                found = i;
            }
            i += 1;
        }
        let mut i = READER_ENDS - 1;
        while i > 0 {
            if i <= found {
                // SAFETY: see above.
                unsafe { *ends.add(i) = *ends.add(i - 1) };
            }
            i -= 1;
        }
        is_sequential = found < READER_ENDS;
    }
    // SAFETY: see above.
    unsafe { *ends = end };
    if is_sequential { Follows::Sequential } else { Follows::Random }
}

/// The reader with this key, if it is one of the set.
#[inline(always)]
fn find(set: *mut Reader, key: u64) -> Option<*mut Reader> {
    // SAFETY: the value of a map has room for two.
    unsafe {
        if (*set).key == key {
            return Some(set);
        }
        let second = set.add(1);
        if (*second).key == key { Some(second) } else { None }
    }
}
