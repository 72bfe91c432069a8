//! Files, sockets and pipes that know what they are.

use std::{
    ffi::CString,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::MetadataExt,
            net::{UnixDatagram, UnixStream},
        },
    },
    path::Path,
};

use agent_ebpf::Endpoint;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{ExerciseError, KnownPort};
use crate::residency::pages::resident_bytes;

/// An open descriptor and what it is.
pub(super) struct Object {
    fd: OwnedFd,
    pub(super) side: Side,
}

/// What a descriptor, or memory, is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) kind: Endpoint,
    pub(super) port: KnownPort,
    /// Of a file: name, directory, inode number.
    pub(super) file: Option<(String, String, u64)>,
}

impl Side {
    pub(super) const MEMORY: Self = Self::new(Endpoint::Memory);

    pub(super) const fn new(kind: Endpoint) -> Self {
        Self { kind, port: KnownPort::None, file: None }
    }

    pub(super) const fn socket(port: KnownPort) -> Self {
        Self { kind: Endpoint::Socket, port, file: None }
    }
}

impl Object {
    pub(super) fn new(fd: impl IntoRawFd, side: Side) -> Self {
        // SAFETY: the descriptor was owned by what was given.
        Self { fd: unsafe { OwnedFd::from_raw_fd(fd.into_raw_fd()) }, side }
    }

    pub(super) fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// The same open file under another number, not below `lowest`.
    pub(super) fn duplicate(&self, lowest: i32) -> Result<Self, ExerciseError> {
        // SAFETY: a new descriptor, which nobody owns yet.
        let fd = unsafe { libc::fcntl(self.raw(), libc::F_DUPFD_CLOEXEC, lowest) };
        if fd < 0 {
            return Err(ExerciseError::last("duplicate a descriptor"));
        }
        // SAFETY: see above.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, side: self.side.clone() })
    }

    /// Puts this object's open file under the number of `other`.
    pub(super) fn take_place_of(&self, mut other: Self) -> Result<Self, ExerciseError> {
        // SAFETY: `other` is open and owned; it now means another file.
        if unsafe { libc::dup2(self.raw(), other.raw()) } < 0 {
            return Err(ExerciseError::last("replace a descriptor"));
        }
        other.side = self.side.clone();
        Ok(other)
    }

    /// Writes a file out and drops its pages from memory, and no others.
    pub(super) fn drop_from_cache(&self) -> Result<(), ExerciseError> {
        let file = std::fs::File::from(self.fd.try_clone().map_err(ExerciseError::call("duplicate a descriptor"))?);
        drop_from_cache(&file).map_err(ExerciseError::call("drop a file from the page cache"))
    }

    pub(super) fn set_nonblocking(&self) -> Result<(), ExerciseError> {
        // SAFETY: flags of an open descriptor.
        let set = unsafe { libc::fcntl(self.raw(), libc::F_SETFL, libc::O_NONBLOCK | libc::O_RDWR) };
        if set < 0 { Err(ExerciseError::last("make a socket non-blocking")) } else { Ok(()) }
    }

    pub(super) fn set_option(&self, option: i32, value: i32) -> Result<(), ExerciseError> {
        let length = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(4);
        // SAFETY: the value outlives the call.
        let set = unsafe { libc::setsockopt(self.raw(), libc::SOL_SOCKET, option, (&raw const value).cast(), length) };
        if set < 0 { Err(ExerciseError::last("set an option of a socket")) } else { Ok(()) }
    }
}

/// Writes a file out and drops its pages from memory, and no others.
///
/// # Errors
/// What the kernel said, or that some of them stay, as in a file system that is in memory itself.
pub fn drop_from_cache(file: &std::fs::File) -> io::Result<()> {
    // A page stays for a while that the file system's journal still holds, or a busy processor in a list of its own.
    const TRIES: u32 = 2000;
    let mut rest = 0;
    for number in 0..TRIES {
        if number % 100 == 10 {
            let_packets_go();
        }
        file.sync_all()?;
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
        rest = resident_bytes(file, file.metadata()?.len())?;
        if rest == 0 {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(io::Error::other(format!("{rest} bytes of its pages stay in memory")))
}

/// Has each processor take a packet. Packets whose data were pages of a file, and that were read on another processor, stay in a
/// list of the one that made them until it has to do with the network again, and the pages with them
/// (`skb_attempt_defer_free`, net/core/skbuff.c). No counted call does it: a connection that is refused.
fn let_packets_go() {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)) {
        let mut one = CpuSet::new();
        one.set(cpu);
        if sched_setaffinity(None, &one).is_ok() {
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, 1));
        }
    }
    let _ = sched_setaffinity(None, &allowed);
}

/// A file with `size` bytes in it, opened for reading and writing.
pub(super) fn file(dir: &Path, name: &str, size: usize) -> Result<Object, ExerciseError> {
    let path = dir.join(name);
    let fill = ExerciseError::call("make a file");
    std::fs::write(&path, vec![b'z'; size]).map_err(fill)?;
    open(&path, libc::O_RDWR)
}

/// Opens a file without a counted call.
pub(super) fn open(path: &Path, flags: i32) -> Result<Object, ExerciseError> {
    let name = |path: Option<&std::ffi::OsStr>| path.unwrap_or_default().to_string_lossy().into_owned();
    let text = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| ExerciseError::Impossible("a path has a zero in it".to_owned()))?;
    // SAFETY: the path is a string that ends in zero.
    let fd = unsafe { libc::open(text.as_ptr(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(ExerciseError::last("open a file"));
    }
    // SAFETY: a new descriptor.
    let fd = unsafe { std::fs::File::from_raw_fd(fd) };
    let metadata = fd.metadata().map_err(ExerciseError::call("look at a file"))?;
    let side = if metadata.is_file() {
        let directory = name(path.parent().and_then(Path::file_name));
        Side { file: Some((name(path.file_name()), directory, metadata.ino())), ..Side::new(Endpoint::File) }
    } else {
        Side::new(Endpoint::Other)
    };
    Ok(Object::new(fd, side))
}

pub(super) fn pipe() -> Result<(Object, Object), ExerciseError> {
    let (read, write) = io::pipe().map_err(ExerciseError::call("make a pipe"))?;
    Ok((
        Object::new(OwnedFd::from(read), Side::new(Endpoint::Pipe)),
        Object::new(OwnedFd::from(write), Side::new(Endpoint::Pipe)),
    ))
}

pub(super) fn unix_pair() -> Result<(Object, Object), ExerciseError> {
    let (a, b) = UnixStream::pair().map_err(ExerciseError::call("make a Unix socket"))?;
    Ok((Object::new(a, Side::new(Endpoint::Unix)), Object::new(b, Side::new(Endpoint::Unix))))
}

pub(super) fn unix_datagrams() -> Result<(Object, Object), ExerciseError> {
    let (a, b) = UnixDatagram::pair().map_err(ExerciseError::call("make a Unix socket"))?;
    Ok((Object::new(a, Side::new(Endpoint::Unix)), Object::new(b, Side::new(Endpoint::Unix))))
}

/// A listener on a free loopback port.
pub(super) fn listener(ipv6: bool) -> Result<TcpListener, ExerciseError> {
    let address: SocketAddr = if ipv6 { (Ipv6Addr::LOCALHOST, 0).into() } else { (Ipv4Addr::LOCALHOST, 0).into() };
    TcpListener::bind(address).map_err(ExerciseError::call("listen"))
}

/// A connection to `listener`: the accepted end, and the one that was opened.
pub(super) fn connection(listener: &TcpListener) -> Result<(Object, Object), ExerciseError> {
    let address = listener.local_addr().map_err(ExerciseError::call("ask for a port"))?;
    let opened = TcpStream::connect(address).map_err(ExerciseError::call("connect"))?;
    let (accepted, _) = listener.accept().map_err(ExerciseError::call("accept"))?;
    let port = KnownPort::Listener(address.port());
    Ok((Object::new(accepted, Side::socket(port)), Object::new(opened, Side::socket(KnownPort::Outbound))))
}

/// Two UDP sockets that are connected to each other.
pub(super) fn udp_pair() -> Result<(Object, Object), ExerciseError> {
    let pair = || -> io::Result<_> {
        let (a, b) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        a.connect(b.local_addr()?)?;
        b.connect(a.local_addr()?)?;
        Ok((a, b))
    };
    let (a, b) = pair().map_err(ExerciseError::call("make a UDP socket"))?;
    let side = Side::socket(KnownPort::Datagram);
    Ok((Object::new(a, side.clone()), Object::new(b, side)))
}

pub(super) fn eventfd() -> Result<Object, ExerciseError> {
    // SAFETY: a new descriptor.
    let fd = unsafe { libc::eventfd(0, 0) };
    if fd < 0 {
        return Err(ExerciseError::last("make an eventfd"));
    }
    // SAFETY: a new descriptor, which nobody owns yet.
    Ok(Object::new(unsafe { OwnedFd::from_raw_fd(fd) }, Side::new(Endpoint::Other)))
}
