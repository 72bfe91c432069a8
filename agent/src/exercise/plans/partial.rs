//! Calls that move less than asked, nothing, or fail.

use std::path::Path;

use agent_ebpf::Syscall::{Pread64, Pwrite64, Read, Recvfrom, Recvmmsg, Sendfile, Sendto, Splice, Write, Writev};

use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, Side, connection, file, listener, pipe},
    plans::Calls,
    recorder::moved,
};

const MUCH: usize = 8 << 20;

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    let (much, empty) = (file(dir, "much", MUCH)?, file(dir, "empty", 0)?);
    let listener = listener(false)?;
    let (accepted, opened) = connection(&listener)?;
    accepted.set_option(libc::SO_SNDBUF, 16_384)?;
    accepted.set_nonblocking()?;
    opened.set_nonblocking()?;
    let (out, inlet) = pipe()?;
    let (closed, closing) = connection(&listener)?;
    Ok(Box::new(move |recorder| {
        let _listener = listener;
        until_full(recorder, Sendfile, &much, &accepted, &opened)?;
        until_full(recorder, Write, &much, &accepted, &opened)?;
        until_full(recorder, Writev, &much, &accepted, &opened)?;
        // Nothing there: EAGAIN. No data: the end of a file.
        recorder.copy(Read, &opened, 100);
        recorder.copy(Recvfrom, &opened, 100);
        recorder.messages(Recvmmsg, &opened, 100, 2);
        recorder.copy(Read, &empty, 100);
        recorder.copy(Pread64, &empty, 100);
        recorder.between(Sendfile, &empty, &accepted, 100);
        // A pipe whose writer has gone, a connection whose peer has.
        drop(inlet);
        recorder.copy(Read, &out, 100);
        drop(closing);
        recorder.copy(Read, &closed, 100);
        recorder.copy(Sendto, &closed, 100);
        recorder.copy(Sendto, &closed, 100);
        errors(recorder, &accepted, &much);
        Ok(())
    }))
}

/// Sends until the socket takes no more, then empties it.
fn until_full(
    recorder: &mut Recorder,
    syscall: agent_ebpf::Syscall,
    source: &Object,
    socket: &Object,
    peer: &Object,
) -> Result<(), ExerciseError> {
    let mut sent = 0;
    loop {
        let ret = match syscall {
            Sendfile => recorder.between(Sendfile, source, socket, MUCH),
            copied => recorder.copy(copied, socket, MUCH),
        };
        if ret == -i64::from(libc::EAGAIN) {
            break;
        }
        sent += moved(syscall.name(), ret)?;
    }
    while sent > 0 {
        let ret = recorder.copy(Read, peer, MUCH);
        if ret != -i64::from(libc::EAGAIN) {
            sent -= moved("read", ret)?;
        }
    }
    Ok(())
}

/// EBADF, EINVAL, EFAULT, ESPIPE.
fn errors(recorder: &mut Recorder, socket: &Object, file: &Object) {
    let nothing = Side::new(agent_ebpf::Endpoint::Other);
    // SAFETY: the kernel refuses each of these before it touches memory.
    unsafe {
        let byte = [0u8; 1];
        let ret = libc::read(-1, byte.as_ptr().cast_mut().cast(), 1) as i64;
        recorder.note(Read, &nothing, &Side::MEMORY, ret, 0);
        let ret = libc::write(1_000_000, byte.as_ptr().cast(), 1) as i64;
        recorder.note(Write, &Side::MEMORY, &nothing, ret, 0);
        let ret = libc::pwrite64(file.raw(), byte.as_ptr().cast(), 1, -1) as i64;
        recorder.note(Pwrite64, &Side::MEMORY, &file.side, ret, 0);
        let ret = libc::send(socket.raw(), std::ptr::without_provenance(8), 100, 0) as i64;
        recorder.note(Sendto, &Side::MEMORY, &socket.side, ret, 0);
    }
    recorder.copy(Pread64, socket, 10);
    recorder.between(Splice, file, socket, 10);
}
