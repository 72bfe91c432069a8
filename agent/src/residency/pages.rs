//! How much of one file is in the page cache: asked of the kernel, which touches no page for the answer.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt as _},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

/// `struct cachestat_range` (include/uapi/linux/mman.h). A length of 0: to the end.
#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

/// `struct cachestat` (include/uapi/linux/mman.h), in pages.
#[repr(C)]
#[derive(Default)]
struct Counts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// One number on all architectures (include/uapi/asm-generic/unistd.h). Linux 6.5.
const SYS_CACHESTAT: libc::c_long = 451;
/// Bytes of a file that `mincore` is asked for at a time: a quarter of a million pages.
const AT_A_TIME: u64 = 1 << 30;

/// Whether the kernel has `cachestat`, as far as is known.
static HAS_CACHESTAT: AtomicBool = AtomicBool::new(true);

/// Bytes of a file of this size that are in memory, in whole pages but for what lies behind its end.
///
/// # Errors
/// What the kernel said.
pub fn resident_bytes(file: &File, size: u64) -> io::Result<u64> {
    if HAS_CACHESTAT.load(Ordering::Relaxed) {
        match by_cachestat(file) {
            // A seccomp filter of before 2023 answers for a call that it does not know.
            Err(error) if [Some(libc::ENOSYS), Some(libc::EPERM)].contains(&error.raw_os_error()) => {
                HAS_CACHESTAT.store(false, Ordering::Relaxed);
            }
            // The pages of a file on an overlay are those of a file below it, which `cachestat` does not look at.
            Ok(0) if size > 0 && is_on_overlay(file)? => {}
            pages => return Ok(bytes(pages?, size)),
        }
    }
    if !is_told_the_truth(file)? {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(bytes(by_mincore(file, size)?, size))
}

/// `OVERLAYFS_SUPER_MAGIC` (include/uapi/linux/magic.h).
fn is_on_overlay(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(file)?.f_type == 0x794c_7630)
}

/// Whether `mincore` tells this process what is so of a file, and not that all of it is in memory: what `can_do_mincore`
/// (mm/mincore.c) asks for.
fn is_told_the_truth(file: &File) -> io::Result<bool> {
    let is_owner = file.metadata()?.uid() == rustix::process::geteuid().as_raw();
    let is_master = || caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_FOWNER).unwrap_or(false);
    let may_write = || {
        let (path, flags) = (format!("/proc/self/fd/{}", file.as_raw_fd()), rustix::fs::AtFlags::EACCESS);
        rustix::fs::accessat(rustix::fs::CWD, path, rustix::fs::Access::WRITE_OK, flags).is_ok()
    };
    Ok(is_owner || is_master() || may_write())
}

fn page_size() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// What lies behind the end of a file is no byte of it.
fn bytes(pages: u64, size: u64) -> u64 {
    pages.saturating_mul(page_size()).min(size)
}

fn by_cachestat(file: &File) -> io::Result<u64> {
    let (range, mut counts) = (Range { offset: 0, length: 0 }, Counts::default());
    // SAFETY: both structures outlive the call.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut counts, 0 as libc::c_uint) };
    if result == 0 { Ok(counts.cached) } else { Err(io::Error::last_os_error()) }
}

/// By a mapping that nobody may touch.
fn by_mincore(file: &File, size: u64) -> io::Result<u64> {
    let mut pages = 0;
    let mut start = 0;
    while start < size {
        let length = AT_A_TIME.min(size - start);
        pages += mincore(file, start, length)?;
        start += length;
    }
    Ok(pages)
}

fn mincore(file: &File, start: u64, length: u64) -> io::Result<u64> {
    let too_large = || io::Error::from_raw_os_error(libc::EOVERFLOW);
    let (bytes, offset) =
        (usize::try_from(length).map_err(|_| too_large())?, i64::try_from(start).map_err(|_| too_large())?);
    // SAFETY: a new mapping, of which no byte is ever accessed.
    let mapping =
        unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, libc::MAP_SHARED, file.as_raw_fd(), offset) };
    if mapping == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let mut present = vec![0u8; usize::try_from(length.div_ceil(page_size())).unwrap_or(0)];
    // SAFETY: the vector has a byte for each page of the mapping.
    let result = unsafe { libc::mincore(mapping, bytes, present.as_mut_ptr()) };
    let error = io::Error::last_os_error();
    // SAFETY: the mapping that was made above.
    unsafe { libc::munmap(mapping, bytes) };
    if result != 0 {
        return Err(error);
    }
    Ok(present.iter().map(|page| u64::from(page & 1)).sum())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{io::Write, os::unix::fs::FileExt};

    use super::*;

    /// In the folder of the build, which is on a disk: what is in tmpfs is always in memory.
    fn cold_file(bytes: usize) -> File {
        let mut file = tempfile::tempfile_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
        file.write_all(&vec![7; bytes]).unwrap();
        file
    }

    #[test]
    fn both_ways_agree_and_bring_nothing_in() {
        let file = cold_file((1 << 20) + 100);
        let size = (1 << 20) + 100;
        assert_eq!(bytes(by_mincore(&file, size).unwrap(), size), size);
        if let Ok(pages) = by_cachestat(&file) {
            assert_eq!(bytes(pages, size), size);
        }
        let dropped = crate::exercise::drop_from_cache(&file).is_ok();
        for _ in 0..2 {
            let resident = bytes(by_mincore(&file, size).unwrap(), size);
            assert!(!dropped || resident == 0, "{resident}");
            if let Ok(pages) = by_cachestat(&file) {
                assert_eq!(bytes(pages, size), resident);
            }
        }
        file.read_exact_at(&mut [0], 4096).unwrap();
        assert!(resident_bytes(&file, size).unwrap() >= 4096);
    }

    #[test]
    fn an_empty_file_has_nothing_in_memory() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(resident_bytes(&file, 0).unwrap(), 0);
        assert_eq!(by_mincore(&file, 0).unwrap(), 0);
    }
}
