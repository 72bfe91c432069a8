//! I/O through io_uring, which no counted call shows.

use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::exercise::{
    ExerciseError,
    objects::{Object, file},
    plans::Calls,
};

// include/uapi/linux/io_uring.h
const IORING_OFF_SQES: i64 = 0x1000_0000;
const IORING_OP_WRITE: u8 = 23;
const IORING_ENTER_GETEVENTS: u32 = 1;
const ENTRIES: u32 = 4;
const WRITES: u32 = 5;

/// `struct io_uring_params`, with its two tables of offsets.
#[repr(C)]
#[derive(Default)]
struct Params {
    head: [u32; 10],
    /// head, tail, ring_mask, ring_entries, flags, dropped, array, then what is not used here.
    submission: [u32; 10],
    completion: [u32; 10],
}

/// `struct io_uring_sqe`, as far as it is used here.
#[repr(C)]
struct Entry {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    length: u32,
    rest: [u32; 7],
}

struct Ring {
    fd: OwnedFd,
    params: Params,
    submission: *mut u8,
    entries: *mut Entry,
}

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    let sink = file(dir, "sink", 4096)?;
    Ok(Box::new(move |_| {
        let ring = Ring::new()?;
        (0..WRITES).try_for_each(|_| ring.write(&sink))
    }))
}

impl Ring {
    fn new() -> Result<Self, ExerciseError> {
        let mut params = Params::default();
        // SAFETY: the parameters outlive the call.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut params) };
        let Some(fd) = i32::try_from(fd).ok().filter(|fd| *fd >= 0) else {
            return Err(ExerciseError::Impossible(format!("no io_uring here: {}", std::io::Error::last_os_error())));
        };
        // SAFETY: a new descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let submission = map(&fd, params.submission[6] as usize + 4 * ENTRIES as usize, 0)?;
        let entries = map(&fd, size_of::<Entry>() * ENTRIES as usize, IORING_OFF_SQES)?.cast();
        Ok(Self { fd, params, submission, entries })
    }

    /// Writes a line by io_uring and waits until it is done.
    fn write(&self, sink: &Object) -> Result<(), ExerciseError> {
        const LINE: &[u8] = b"through io_uring";
        let word = |index: usize| {
            // SAFETY: an offset that the kernel gave, within the mapping.
            unsafe { &*self.submission.add(self.params.submission[index] as usize).cast::<AtomicU32>() }
        };
        let (tail, mask, array) = (word(1), word(2).load(Ordering::Relaxed), word(6));
        let position = tail.load(Ordering::Relaxed);
        let index = position & mask;
        // SAFETY: the entry and its place in the array lie within their mappings.
        unsafe {
            self.entries.add(index as usize).write(Entry {
                opcode: IORING_OP_WRITE,
                flags: 0,
                priority: 0,
                fd: sink.raw(),
                offset: 0,
                address: LINE.as_ptr() as u64,
                length: u32::try_from(LINE.len()).unwrap_or(0),
                rest: [0; 7],
            });
            ptr::from_ref(array).add(index as usize).cast_mut().cast::<u32>().write(index);
        }
        tail.store(position.wrapping_add(1), Ordering::Release);
        // SAFETY: submits one entry and waits for it.
        let entered =
            unsafe { libc::syscall(libc::SYS_io_uring_enter, self.fd.as_raw_fd(), 1, 1, IORING_ENTER_GETEVENTS, 0, 0) };
        if entered == 1 { Ok(()) } else { Err(ExerciseError::last("submit to io_uring")) }
    }
}

fn map(fd: &OwnedFd, size: usize, offset: i64) -> Result<*mut u8, ExerciseError> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of the ring, never unmapped: the process ends soon.
    let memory = unsafe { libc::mmap(ptr::null_mut(), size, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset) };
    if memory == libc::MAP_FAILED { Err(ExerciseError::last("map io_uring")) } else { Ok(memory.cast()) }
}
