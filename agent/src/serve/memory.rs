//! The C library's heap, which by itself keeps what was freed for later, and that for each thread; and what happens when
//! memory is short.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};

/// What is larger than this, in bytes, is a mapping of its own: lists of ten thousand partitions, which as they grow leave no
/// holes in the heap then. By itself the C library raises the limit to the largest such piece that was ever freed.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 << 10;

/// One heap for all threads: what a scrape has freed on one is there for the next scrape on another. To be called before
/// threads start.
pub fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: settings without pointers.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Gives what is free back to the system.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a call without arguments that matter; what is in use stays.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back the pages of programs' code and constants that were needed to start: what is still needed is read in again, from
/// memory nearly always.
pub fn give_back_code() {
    let mappings = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for pages in unchanged(&mappings) {
        // SAFETY: pages of a file that nobody writes to, none of which was changed here: the next use of one finds the same.
        unsafe {
            libc::madvise(ptr::without_provenance_mut(pages.start), pages.len(), libc::MADV_DONTNEED);
        }
    }
}

/// The addresses in `/proc/PID/smaps` (proc_pid_smaps(5)) to which a file is mapped to be read or run only, and which hold it
/// as it is. What the loader fills in and then protects is no longer the file's.
fn unchanged(smaps: &str) -> Vec<std::ops::Range<usize>> {
    let (mut unchanged, mut mapping) = (Vec::new(), None);
    for line in smaps.lines() {
        let mut fields = line.split_whitespace();
        match fields.next() {
            Some("Anonymous:") => unchanged.extend(mapping.take().filter(|_| fields.next() == Some("0"))),
            Some(field) if !field.ends_with(':') => mapping = of_file(line),
            _ => {}
        }
    }
    unchanged
}

/// The addresses of a mapping's first line, if it is a file's, to be read or run only.
fn of_file(line: &str) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_fixed = matches!(fields.next()?, "r-xp" | "r--p") && fields.nth(3)?.starts_with('/');
    let address = |text| usize::from_str_radix(text, 16).ok();
    is_fixed.then_some(address(start)?..address(end)?)
}

/// Addresses that are put by for when no more are to be had. They take no memory before they are used.
const RESERVE: usize = 8 << 20;

static PUT_BY: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
static SHORT: AtomicU64 = AtomicU64::new(0);

/// Puts a reserve by, if there is none; whether there is one now.
pub fn put_by() -> bool {
    if !PUT_BY.load(Ordering::Acquire).is_null() {
        return true;
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new addresses, which nobody else knows.
    let reserve = unsafe { libc::mmap(ptr::null_mut(), RESERVE, protection, flags, -1, 0) };
    if reserve == libc::MAP_FAILED {
        return false;
    }
    let before = PUT_BY.swap(reserve, Ordering::AcqRel);
    let_go(before);
    true
}

/// Times that memory was refused to zctrace.
#[must_use]
pub fn shortages() -> u64 {
    SHORT.load(Ordering::Relaxed)
}

/// Memory was refused: whether there was a reserve, which is free now.
pub fn is_short() -> bool {
    SHORT.fetch_add(1, Ordering::Relaxed);
    let_go(PUT_BY.swap(ptr::null_mut(), Ordering::AcqRel))
}

fn let_go(reserve: *mut libc::c_void) -> bool {
    // SAFETY: it was mapped with this length, and whoever took it out of `PUT_BY` is the only one who has it.
    !reserve.is_null() && unsafe { libc::munmap(reserve, RESERVE) } == 0
}

/// The system's allocator. What it refuses is counted, and asked for again once the reserve is free.
#[derive(Debug)]
pub struct Allocator;

impl Allocator {
    fn once_more(once: impl Fn() -> *mut u8) -> *mut u8 {
        let memory = once();
        if memory.is_null() && is_short() { once() } else { memory }
    }
}

// SAFETY: everything is the system's allocator's; a refusal leaves what was there as it was.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        Self::once_more(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        Self::once_more(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; what could not grow is still there.
        Self::once_more(|| unsafe { System.realloc(at, layout, size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_given_back_where_a_file_has_the_same() {
        const SMAPS: &str = "\
55a0c0000000-55a0c0100000 r-xp 00002000 fe:00 1234   /usr/bin/zctrace
Rss:                1024 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55a0c0100000-55a0c0200000 r--p 00102000 fe:00 1234   /usr/bin/zctrace
Anonymous:             0 kB
55a0c0200000-55a0c0300000 r--p 00202000 fe:00 1234   /usr/bin/zctrace: relocated
Anonymous:             4 kB
55a0c0300000-55a0c0400000 rw-p 00302000 fe:00 1234   /usr/bin/zctrace
Anonymous:             0 kB
7ffc1a000000-7ffc1a002000 r-xp 00000000 00:00 0      [vdso]
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0
Anonymous:             0 kB
";
        assert_eq!(unchanged(SMAPS), [0x55a0_c000_0000..0x55a0_c010_0000, 0x55a0_c010_0000..0x55a0_c020_0000]);
        assert!(unchanged("").is_empty());
        // And this goes on.
        give_back_code();
    }

    #[test]
    fn what_is_refused_is_asked_for_again_with_the_reserve_free() {
        let before = shortages();
        assert!(put_by() && put_by());
        // Nobody has so many addresses.
        let layout = Layout::from_size_align(1 << 60, 8);
        // SAFETY: a size that is not 0. Looked at, since the compiler leaves out what nobody looks at.
        let memory = layout.map(|layout| std::hint::black_box(unsafe { Allocator.alloc(layout) }));
        assert!(memory.is_ok_and(|memory| memory.is_null()));
        assert!(!is_short(), "there is no reserve left");
        assert_eq!(shortages(), before + 2);
        assert!(put_by() && is_short());
    }
}
