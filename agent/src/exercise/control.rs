//! Parent and child speak through shared memory, woken by futexes: no counted call is part of the conversation.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::ExerciseError;

/// Room for the ledger, in bytes.
const SIZE: usize = 4 << 20;
/// Where its text begins, behind state, verdict and length.
const TEXT: usize = 64;

/// How far the child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(super) enum State {
    /// The child has prepared everything; fresh shared memory says 0: not yet.
    Ready = 1,
    /// The parent wants the calls made.
    Go,
    /// They are made, and written down.
    Done,
    /// The parent has no more use for the child.
    End,
}

/// The shared memory.
pub(super) struct Control {
    memory: *mut u8,
    /// Only the parent's.
    fd: Option<OwnedFd>,
}

impl Control {
    /// The parent's: makes the memory.
    pub(super) fn create() -> Result<Self, ExerciseError> {
        let fd = memfd_create("zctrace-exercise", MemfdFlags::empty())
            .map_err(|error| ExerciseError::Call { what: "make shared memory", error: error.into() })?;
        ftruncate(&fd, SIZE as u64)
            .map_err(|error| ExerciseError::Call { what: "make shared memory", error: error.into() })?;
        Ok(Self { memory: map(fd.as_fd())?, fd: Some(fd) })
    }

    /// The child's: maps what the parent has made.
    pub(super) fn open(fd: i32) -> Result<Self, ExerciseError> {
        if fd < 0 {
            return Err(ExerciseError::Impossible("it was started by hand, without shared memory".to_owned()));
        }
        // SAFETY: the parent left this descriptor open for us.
        Ok(Self { memory: map(unsafe { BorrowedFd::borrow_raw(fd) })?, fd: None })
    }

    /// What the child is told to open.
    pub(super) fn fd(&self) -> i32 {
        self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    fn word(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the mapping lives as long as `self`; both sides only use these words as atomics.
        unsafe { &*self.memory.cast::<AtomicU32>().add(index) }
    }

    pub(super) fn set(&self, state: State) {
        self.word(0).store(state as u32, Ordering::SeqCst);
        // SAFETY: a wake-up of whoever waits on the word.
        unsafe { libc::syscall(libc::SYS_futex, self.word(0).as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }

    /// Waits until the other side has gone as far as `state`.
    pub(super) fn wait_for(&self, state: State) {
        while !self.wait_a_while(state, Duration::from_secs(1)) {}
    }

    /// The same, but gives up after `patience`.
    pub(super) fn wait_a_while(&self, state: State, patience: Duration) -> bool {
        let now = self.word(0).load(Ordering::SeqCst);
        if now >= state as u32 {
            return true;
        }
        let timeout = libc::timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(1),
            tv_nsec: patience.subsec_nanos().into(),
        };
        // SAFETY: waits on a word of the mapping; the time-out outlives the call.
        unsafe { libc::syscall(libc::SYS_futex, self.word(0).as_ptr(), libc::FUTEX_WAIT, now, &raw const timeout) };
        self.word(0).load(Ordering::SeqCst) >= state as u32
    }

    /// The child's answer: its ledger or why there is none.
    pub(super) fn answer(&self, text: &Result<String, String>) {
        let (verdict, text) = match text {
            Ok(text) => (0, text),
            Err(text) => (1, text),
        };
        let length = text.len().min(SIZE - TEXT);
        // SAFETY: within the mapping; the parent reads it only after `State::Done`.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), self.memory.add(TEXT), length) };
        self.word(1).store(verdict, Ordering::SeqCst);
        self.word(2).store(u32::try_from(length).unwrap_or(0), Ordering::SeqCst);
    }

    /// The parent's look at the answer.
    pub(super) fn read_answer(&self) -> Result<String, String> {
        let length = (self.word(2).load(Ordering::SeqCst) as usize).min(SIZE - TEXT);
        // SAFETY: within the mapping; the child no longer writes to it.
        let text = unsafe { std::slice::from_raw_parts(self.memory.add(TEXT), length) };
        let text = String::from_utf8_lossy(text).into_owned();
        if self.word(1).load(Ordering::SeqCst) == 0 { Ok(text) } else { Err(text) }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing borrows it any more.
        unsafe { libc::munmap(self.memory.cast(), SIZE) };
    }
}

fn map(fd: BorrowedFd<'_>) -> Result<*mut u8, ExerciseError> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, of a descriptor that is open.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    if memory == libc::MAP_FAILED {
        return Err(ExerciseError::Call { what: "map shared memory", error: io::Error::last_os_error() });
    }
    Ok(memory.cast())
}
