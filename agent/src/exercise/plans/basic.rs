//! Every call, and every pair of endpoints that the kernel allows.

use std::path::Path;

use agent_ebpf::Syscall::{
    CopyFileRange, Pread64, Preadv, Preadv2, Pwrite64, Pwritev, Pwritev2, Read, Readv, Recvfrom, Recvmmsg, Recvmsg,
    Sendfile, Sendmmsg, Sendmsg, Sendto, Splice, Tee, Vmsplice, Write, Writev,
};

use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, connection, eventfd, file, listener, open, pipe, udp_pair, unix_datagrams, unix_pair},
    plans::Calls,
    recorder::moved,
};

/// From one byte over odd sizes to more than a pipe or a small socket buffer holds.
const SIZES: [usize; 5] = [1, 100, 4096, 40_000, 65_536];

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    let (source, sink) = (file(dir, "source", 1 << 20)?, file(dir, "sink", 1 << 20)?);
    let (null, zero, counter) =
        (open(Path::new("/dev/null"), libc::O_RDWR)?, open(Path::new("/dev/zero"), libc::O_RDWR)?, eventfd()?);
    let listeners = [listener(false)?, listener(true)?];
    let connections = [connection(&listeners[0])?, connection(&listeners[1])?];
    let unix = unix_pair()?;
    let datagrams = [udp_pair()?, unix_datagrams()?];
    let (pipe_a, pipe_b) = (pipe()?, pipe()?);
    Ok(Box::new(move |recorder| {
        let _listeners = listeners;
        for size in SIZES {
            for (accepted, opened) in &connections {
                streams(recorder, accepted, opened, size)?;
                streams(recorder, opened, accepted, size)?;
                into_socket(recorder, &source, accepted, opened, size)?;
                through_pipe(recorder, &pipe_a, &source, accepted, opened, size)?;
            }
            streams(recorder, &unix.0, &unix.1, size)?;
            into_socket(recorder, &source, &unix.0, &unix.1, size)?;
            through_pipe(recorder, &pipe_a, &source, &unix.0, &unix.1, size)?;
            files(recorder, &source, &sink, &null, size)?;
            pipes(recorder, &pipe_a, &pipe_b, &sink, size)?;
            devices(recorder, &null, &zero, &counter, size)?;
        }
        for (a, b) in &datagrams {
            for size in [1, 100, 9000] {
                messages(recorder, a, b, size)?;
            }
        }
        Ok(())
    }))
}

/// Each way to send, each way to receive.
fn streams(recorder: &mut Recorder, from: &Object, to: &Object, size: usize) -> Result<(), ExerciseError> {
    let ways = [
        (Write, Read),
        (Writev, Readv),
        (Sendto, Recvfrom),
        (Sendmsg, Recvmsg),
        (Sendmmsg, Recvfrom),
        (Write, Recvmmsg),
    ];
    for (send, receive) in ways {
        let sent = recorder.copy(send, from, size);
        moved(send.name(), sent)?;
        let sent = if send == Sendmmsg { size * 3 } else { size };
        if receive == Recvmmsg {
            // On a stream it takes what is there; the rest comes by another call.
            moved("recvmmsg", recorder.messages(Recvmmsg, to, size, 1))?;
            continue;
        }
        recorder.drain(receive, to, sent)?;
    }
    Ok(())
}

fn into_socket(
    recorder: &mut Recorder,
    source: &Object,
    socket: &Object,
    peer: &Object,
    size: usize,
) -> Result<(), ExerciseError> {
    let sent = moved("sendfile", recorder.between(Sendfile, source, socket, size))?;
    recorder.drain(Read, peer, sent)?;
    // The copied way: read from a file, then write.
    for read in [Pread64, Preadv] {
        moved("pread64", recorder.copy(read, source, size))?;
    }
    let sent = moved("write", recorder.copy(Write, socket, size))?;
    recorder.drain(Recvfrom, peer, sent)
}

fn through_pipe(
    recorder: &mut Recorder,
    (out, inlet): &(Object, Object),
    source: &Object,
    socket: &Object,
    peer: &Object,
    size: usize,
) -> Result<(), ExerciseError> {
    let held = moved("splice", recorder.between(Splice, source, inlet, size))?;
    let sent = moved("splice", recorder.between(Splice, out, socket, held))?;
    if sent < held {
        recorder.drain(Read, out, held - sent)?;
    }
    let received = moved("splice", recorder.between(Splice, peer, inlet, sent))?;
    recorder.drain(Readv, out, received)?;
    if received < sent { recorder.drain(Readv, peer, sent - received) } else { Ok(()) }
}

fn files(
    recorder: &mut Recorder,
    source: &Object,
    sink: &Object,
    null: &Object,
    size: usize,
) -> Result<(), ExerciseError> {
    for read in [Read, Pread64, Readv, Preadv, Preadv2] {
        moved(read.name(), recorder.copy(read, source, size))?;
    }
    for write in [Write, Pwrite64, Writev, Pwritev, Pwritev2] {
        moved(write.name(), recorder.copy(write, sink, size))?;
    }
    moved("copy_file_range", recorder.between(CopyFileRange, source, sink, size))?;
    moved("sendfile", recorder.between(Sendfile, source, sink, size))?;
    moved("sendfile", recorder.between(Sendfile, source, null, size))?;
    Ok(())
}

fn pipes(
    recorder: &mut Recorder,
    (out, inlet): &(Object, Object),
    (other_out, other_inlet): &(Object, Object),
    sink: &Object,
    size: usize,
) -> Result<(), ExerciseError> {
    let held = moved("vmsplice", recorder.copy(Vmsplice, inlet, size))?;
    let doubled = moved("tee", recorder.between(Tee, out, other_inlet, held))?;
    moved("vmsplice", recorder.vmsplice_out(out, held))?;
    let spliced = moved("splice", recorder.between(Splice, other_out, sink, doubled))?;
    if spliced < doubled {
        recorder.drain(Read, other_out, doubled - spliced)?;
    }
    let held = moved("write", recorder.copy(Writev, inlet, size))?;
    recorder.drain(Readv, out, held)
}

fn devices(
    recorder: &mut Recorder,
    null: &Object,
    zero: &Object,
    counter: &Object,
    size: usize,
) -> Result<(), ExerciseError> {
    moved("read", recorder.copy(Read, zero, size))?;
    moved("write", recorder.copy(Write, null, size))?;
    moved("write", recorder.copy(Write, counter, 8))?;
    moved("read", recorder.copy(Read, counter, 8))?;
    Ok(())
}

fn messages(recorder: &mut Recorder, from: &Object, to: &Object, size: usize) -> Result<(), ExerciseError> {
    moved("sendmmsg", recorder.messages(Sendmmsg, from, size, 3))?;
    moved("recvmmsg", recorder.messages(Recvmmsg, to, size, 8))?;
    for (send, receive) in [(Sendto, Recvfrom), (Sendmsg, Recvmsg), (Write, Read)] {
        moved(send.name(), recorder.copy(send, from, size))?;
        moved(receive.name(), recorder.copy(receive, to, size))?;
    }
    Ok(())
}
