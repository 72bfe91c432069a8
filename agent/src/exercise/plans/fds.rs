//! Descriptors that change what they mean.

use std::{
    net::TcpListener,
    os::fd::{FromRawFd, OwnedFd},
    path::Path,
};

use agent_ebpf::{
    Endpoint,
    Syscall::{Read, Recvfrom, Recvmsg, Sendto, Write},
};

use crate::exercise::{
    ExerciseError, KnownPort, Recorder,
    objects::{Object, Side, connection, file, listener, open, pipe, unix_pair},
    plans::Calls,
    recorder::moved,
};

const ROUNDS: usize = 200;
/// Above the default soft limit of descriptors.
const HIGH: i32 = 2000;

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    raise_limit()?;
    let source = file(dir, "source", 65_536)?;
    let path = dir.join("source");
    let listener = listener(false)?;
    let (accepted, opened) = connection(&listener)?;
    let stranger = Stranger::start()?;
    Ok(Box::new(move |recorder| {
        let _listener = listener;
        for _ in 0..ROUNDS {
            reuse(recorder, &path)?;
        }
        let duplicate = accepted.duplicate(0)?;
        let high = accepted.duplicate(HIGH)?;
        for object in [&duplicate, &high] {
            moved("write", recorder.copy(Write, object, 777))?;
            recorder.drain(Read, &opened, 777)?;
        }
        // The number of the duplicate now means the file, that of the high one the pipe.
        let replaced = source.take_place_of(duplicate)?;
        moved("read", recorder.copy(Read, &replaced, 555))?;
        let (out, inlet) = pipe()?;
        let replaced = inlet.take_place_of(high)?;
        moved("write", recorder.copy(Write, &replaced, 333))?;
        recorder.drain(Read, &out, 333)?;
        stranger.exercise(recorder)
    }))
}

/// Opens a file, uses it, closes it; the next descriptors get its number.
fn reuse(recorder: &mut Recorder, path: &Path) -> Result<(), ExerciseError> {
    let file = open(path, libc::O_RDONLY)?;
    let number = file.raw();
    moved("read", recorder.copy(Read, &file, 100))?;
    drop(file);
    let (a, b) = unix_pair()?;
    if a.raw() != number {
        return Err(ExerciseError::Impossible("the kernel did not reuse a descriptor".to_owned()));
    }
    moved("write", recorder.copy(Write, &a, 200))?;
    recorder.drain(Read, &b, 200)?;
    drop((a, b));
    let (out, inlet) = pipe()?;
    moved("write", recorder.copy(Write, &inlet, 300))?;
    recorder.drain(Read, &out, 300)
}

fn raise_limit() -> Result<(), ExerciseError> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)
        .map_err(|error| ExerciseError::Call { what: "raise its limit of descriptors", error: error.into() })
}

/// Another process that has accepted a connection, and hands it over.
struct Stranger {
    channel: Object,
    peer: Object,
    port: u16,
}

impl Stranger {
    fn start() -> Result<Self, ExerciseError> {
        let listener: TcpListener = listener(false)?;
        let (accepted, peer) = connection(&listener)?;
        let KnownPort::Listener(port) = accepted.side.port else {
            return Err(ExerciseError::Impossible("a connection has no port".to_owned()));
        };
        let (channel, theirs) = unix_pair()?;
        // SAFETY: this process has one thread; the child makes only system calls.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: only system calls; it ends with its parent, and keeps the listener open until then.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    send_descriptor(theirs.raw(), accepted.raw());
                    loop {
                        libc::pause();
                    }
                }
            }
            -1 => Err(ExerciseError::last("start another process")),
            _ => {
                drop((listener, accepted, theirs));
                Ok(Self { channel, peer, port })
            }
        }
    }

    fn exercise(self, recorder: &mut Recorder) -> Result<(), ExerciseError> {
        let received = receive_descriptor(recorder, &self.channel)?;
        let received = Object::new(received, Side::socket(KnownPort::Listener(self.port)));
        moved("send", recorder.copy(Sendto, &received, 999))?;
        recorder.drain(Recvfrom, &self.peer, 999)
    }
}

/// Room for one descriptor, aligned as the kernel wants it.
#[repr(C, align(8))]
struct ControlData([u8; 24]);

/// # Safety
/// Both descriptors are open.
unsafe fn send_descriptor(channel: i32, descriptor: i32) {
    let mut byte = [b'd'];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = ControlData([0; 24]);
    // SAFETY: the header points to live data of the sizes given; CMSG_* stay within it.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len() as _;
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        (*message).cmsg_level = libc::SOL_SOCKET;
        (*message).cmsg_type = libc::SCM_RIGHTS;
        (*message).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(message).cast::<i32>().write_unaligned(descriptor);
        libc::sendmsg(channel, &raw const header, 0);
    }
}

fn receive_descriptor(recorder: &mut Recorder, channel: &Object) -> Result<OwnedFd, ExerciseError> {
    let mut byte = [0u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = ControlData([0; 24]);
    // SAFETY: an all-zero header, filled in with live data of the sizes given.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: see above.
    let ret = unsafe { libc::recvmsg(channel.raw(), &raw mut header, 0) } as i64;
    let ret = recorder.note(Recvmsg, &Side::new(Endpoint::Unix), &Side::MEMORY, ret, ret.max(0).unsigned_abs());
    moved("recvmsg", ret)?;
    // SAFETY: the kernel has filled in the control data; null if it brought no descriptor.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        if message.is_null() {
            return Err(ExerciseError::Impossible("no descriptor was received".to_owned()));
        }
        Ok(OwnedFd::from_raw_fd(libc::CMSG_DATA(message).cast::<i32>().read_unaligned()))
    }
}
