//! A file that is not in memory, read in every way: what the page cache has to bring in is known.

use std::path::Path;

use agent_ebpf::Syscall::{Pread64, Read, Sendfile, Write};

use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, Side, connection, file, listener},
    plans::Calls,
    recorder::moved,
};

/// Bytes of the file: whole pages, so that what comes in is what is read.
pub(in crate::exercise) const COLD_BYTES: usize = 8 << 20;
const AT_A_TIME: usize = 32 << 10;

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    let cold = file(dir, "00000000000000000000.log", COLD_BYTES)?;
    let listener = listener(false)?;
    let (accepted, opened) = connection(&listener)?;
    cold.drop_from_cache()?;
    Ok(Box::new(move |recorder| {
        let _listener = listener;
        // From disk by zero copy; again, from memory; from disk into memory and out.
        send(recorder, &cold, &accepted, &opened)?;
        send(recorder, &cold, &accepted, &opened)?;
        cold.drop_from_cache()?;
        copy(recorder, &cold, &accepted, &opened)
    }))
}

fn send(recorder: &mut Recorder, from: &Object, to: &Object, peer: &Object) -> Result<(), ExerciseError> {
    // SAFETY: an open descriptor.
    if unsafe { libc::lseek(from.raw(), 0, libc::SEEK_SET) } != 0 {
        return Err(ExerciseError::last("go to the beginning of a file"));
    }
    let mut sent = 0;
    while sent < COLD_BYTES {
        // From the file's own position.
        // SAFETY: open descriptors; no offset.
        let ret = unsafe { libc::sendfile(to.raw(), from.raw(), std::ptr::null_mut(), AT_A_TIME) } as i64;
        let bytes = moved("sendfile", recorder.note(Sendfile, &from.side, &to.side, ret, ret.unsigned_abs()))?;
        sent += bytes;
        empty(recorder, peer, bytes)?;
    }
    Ok(())
}

fn copy(recorder: &mut Recorder, from: &Object, to: &Object, peer: &Object) -> Result<(), ExerciseError> {
    let mut buffer = vec![0u8; AT_A_TIME];
    for start in (0..COLD_BYTES).step_by(AT_A_TIME) {
        let offset = i64::try_from(start).unwrap_or(0);
        // SAFETY: the buffer is as long as is said.
        let ret = unsafe { libc::pread64(from.raw(), buffer.as_mut_ptr().cast(), AT_A_TIME, offset) } as i64;
        let read = moved("pread64", recorder.note(Pread64, &from.side, &Side::MEMORY, ret, ret.unsigned_abs()))?;
        let written = moved("write", recorder.copy(Write, to, read))?;
        empty(recorder, peer, written)?;
    }
    Ok(())
}

/// Takes so many bytes out of a socket.
fn empty(recorder: &mut Recorder, peer: &Object, mut bytes: usize) -> Result<(), ExerciseError> {
    while bytes > 0 {
        bytes -= moved("read", recorder.copy(Read, peer, bytes))?;
    }
    Ok(())
}
