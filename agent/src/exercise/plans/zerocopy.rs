//! Sends with MSG_ZEROCOPY, whose path cannot be seen when they return.

use agent_ebpf::Syscall::{Read, Sendmsg, Sendto};

use crate::exercise::{
    ExerciseError,
    objects::{Side, connection, listener},
    plans::Calls,
    recorder::moved,
};

const SIZE: usize = 30_000;

pub(in crate::exercise) fn prepare() -> Result<Calls, ExerciseError> {
    let listener = listener(false)?;
    let (accepted, opened) = connection(&listener)?;
    accepted.set_option(libc::SO_ZEROCOPY, 1)?;
    Ok(Box::new(move |recorder| {
        let _listener = listener;
        let mut buffer = vec![b'z'; SIZE];
        let data = buffer.as_mut_ptr().cast::<libc::c_void>();
        for _ in 0..3 {
            // SAFETY: the buffer lives, unchanged, until the end of the process's calls.
            let sent = unsafe { libc::send(accepted.raw(), data, SIZE, libc::MSG_ZEROCOPY) } as i64;
            let bytes = sent.max(0).unsigned_abs();
            let sent = recorder.note_flagged(Sendto, &Side::MEMORY, &accepted.side, sent, bytes, true);
            recorder.drain(Read, &opened, moved("send", sent)?)?;
            let part = libc::iovec { iov_base: data, iov_len: SIZE };
            // SAFETY: an all-zero header, filled in with live data.
            let sent = unsafe {
                let mut header: libc::msghdr = std::mem::zeroed();
                header.msg_iov = (&raw const part).cast_mut();
                header.msg_iovlen = 1;
                libc::sendmsg(accepted.raw(), &raw const header, libc::MSG_ZEROCOPY)
            } as i64;
            let bytes = sent.max(0).unsigned_abs();
            let sent = recorder.note_flagged(Sendmsg, &Side::MEMORY, &accepted.side, sent, bytes, true);
            recorder.drain(Read, &opened, moved("sendmsg", sent)?)?;
        }
        // And one without it, which is told apart.
        let sent = moved("send", recorder.copy(Sendto, &accepted, SIZE))?;
        recorder.drain(Read, &opened, sent)
    }))
}
