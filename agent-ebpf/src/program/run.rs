//! How a call follows the one before of the same reader or writer of its file.

use agent_ebpf::{
    FileCounts, Follows, NO_END, READ_AGAIN, READER_ENDS, READER_WAYS, Reader, reader::CONNECTION, reader_key,
    reader_set,
};
use aya_ebpf::{macros::map, maps::Array};

use super::{counter::claim, position::UNKNOWN};

#[map]
pub(crate) static READERS: Array<[Reader; READER_WAYS]> = Array::with_max_entries(1, 0);

/// Of the ends in [`FileCounts`]: none is known. No call that moved something ends here.
const NONE: u64 = 0;

/// Calls of one reader of a file, or of all who write to it.
pub(super) struct Run {
    /// The file's.
    pub(super) place: u32,
    /// What is counted there.
    pub(super) counts: *mut FileCounts,
    /// See [`agent_ebpf::reader`]; `None`: who writes.
    pub(super) reader: Option<u32>,
}

impl Run {
    /// How a call that moved `bytes` up to `end` follows the one before: a [`Follows`].
    #[inline(always)]
    pub(super) fn follows(&self, end: u64, bytes: u64) -> u64 {
        if end < bytes || end >= UNKNOWN / 2 {
            return Follows::Unknown as u64;
        }
        // SAFETY: fields of a map's value, here and below, that only this reader writes to, or who writes to the file.
        let known = unsafe {
            match self.reader {
                None => &raw mut (*self.counts).written_end,
                Some(reader) if self.is_first(reader) => &raw mut (*self.counts).read_end,
                Some(reader) => return follows_elsewhere(reader_key(self.place, reader), NONE, end, bytes),
            }
        };
        // SAFETY: as above.
        let last = unsafe { core::mem::replace(&mut *known, end) };
        let start = end - bytes;
        match self.reader {
            // At the beginning of a file nothing comes before.
            None if start == last => Follows::Sequential as u64,
            Some(_) if goes_on(start, last) => Follows::Sequential as u64,
            _ if last == NONE => Follows::Unknown as u64,
            Some(reader) if reader & CONNECTION == 0 => {
                follows_elsewhere(reader_key(self.place, reader), last, end, bytes)
            }
            _ => Follows::Random as u64,
        }
    }

    /// Where a read of so many bytes ends if it goes on from where the reader's last one did.
    #[inline(always)]
    pub(super) fn expected_end(&self, bytes: u64) -> u64 {
        let Some(reader) = self.reader else { return NONE };
        let last = if self.is_first(reader) {
            // SAFETY: as above.
            unsafe { (*self.counts).read_end }
        } else {
            let key = reader_key(self.place, reader);
            let known = READERS.get_ptr_mut(reader_set(key)).and_then(|set| find(set.cast(), key));
            // SAFETY: a field of a map's value, of which only this reader writes to the entry.
            known.map_or(NONE, |known| unsafe { *(&raw const (*known).ends).cast::<u64>() })
        };
        last + bytes
    }

    /// Whether this is the file's first reader, as which it may be entered here.
    #[inline(always)]
    fn is_first(&self, reader: u32) -> bool {
        // SAFETY: a field of a map's value, a word.
        unsafe {
            let first = &raw mut (*self.counts).first_reader;
            let known = core::ptr::read_volatile(first);
            known == reader || known == 0 && claim(first, reader)
        }
    }
}

/// Whether a read that begins at `start` goes on from where one ended.
#[inline(always)]
fn goes_on(start: u64, ended: u64) -> bool {
    // Behind it by more than there is, if it begins after it.
    ended.wrapping_sub(start) <= READ_AGAIN
}

/// The same for a reader that is not the file's first one, or whose last call ended elsewhere, at `left`: a thread may serve several
/// connections in turn. Returns a [`Follows`]. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn follows_elsewhere(key: u64, left: u64, end: u64, bytes: u64) -> u64 {
    let Some(set) = READERS.get_ptr_mut(reader_set(key)) else { return Follows::Unknown as u64 };
    let set = set.cast::<Reader>();
    let start = end - bytes;
    // What comes first in the entry.
    let newest = if left == NONE { end } else { left };
    let Some(known) = find(set, key) else {
        // SAFETY: the value of a map has room for two. Whose place another CPU's reader takes at the same time begins anew, too.
        unsafe {
            *set.add(1) = *set;
            *set = Reader { key, ends: [newest, NO_END, NO_END, NO_END] };
        }
        return if left != NONE {
            Follows::Random as u64
        } else if start == 0 {
            Follows::Sequential as u64
        } else {
            Follows::Unknown as u64
        };
    };
    // SAFETY: as above.
    let ends = unsafe { (&raw mut (*known).ends).cast::<u64>() };
    let is_connection = key >> 32 & CONNECTION as u64 != 0;
    // As many places as there are here, the one that it left among them where that is not told here.
    let places = if is_connection {
        1
    } else if left == NONE {
        READER_ENDS
    } else {
        READER_ENDS - 1
    };
    // The place that it goes on from leaves; where none is, the one that was not used for the longest time.
    let mut found = READER_ENDS;
    let mut i = 0;
    while i < READER_ENDS {
        // SAFETY: the index is below their number, here and below; checked ones would make a panic, which no program may.
        let ended = unsafe { *ends.add(i) };
        if found == READER_ENDS && i < places && goes_on(start, ended) {
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
    // SAFETY: see above.
    unsafe { *ends = newest };
    if found < READER_ENDS { Follows::Sequential as u64 } else { Follows::Random as u64 }
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
