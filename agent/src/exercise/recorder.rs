//! Makes calls and writes each down by what it returned. Every call goes through the C library's thin wrapper of it, or past the
//! library, where not every library has a wrapper or some make other calls of it (musl's `sendmmsg` is a loop).

use std::{collections::BTreeMap, io, ptr};

use agent_ebpf::{Class, Endpoint, FilePath, SIZE_BUCKETS, Syscall};

use super::{
    ExerciseError, Known, KnownFile, KnownPort, Ledger,
    objects::{Object, Side},
};

type Key = (Syscall, Endpoint, Endpoint, KnownPort, bool);

/// One thread's account.
#[derive(Default)]
pub(super) struct Recorder {
    transfers: BTreeMap<Key, Known>,
    errors: BTreeMap<(Syscall, u32), u64>,
    empty: BTreeMap<Syscall, u64>,
    files: BTreeMap<u64, KnownFile>,
    /// File bytes read into memory since the last send through an inet socket.
    carried: u64,
}

impl Recorder {
    /// Writes down a call that returned `ret`; `bytes` differs from it for calls that return messages.
    pub(super) fn note(&mut self, syscall: Syscall, source: &Side, sink: &Side, ret: i64, bytes: u64) -> i64 {
        self.note_flagged(syscall, source, sink, ret, bytes, false)
    }

    pub(super) fn note_flagged(
        &mut self,
        syscall: Syscall,
        source: &Side,
        sink: &Side,
        ret: i64,
        bytes: u64,
        msg_zerocopy: bool,
    ) -> i64 {
        if ret < 0 {
            let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
            *self.errors.entry((syscall, errno.unsigned_abs())).or_default() += 1;
            return -i64::from(errno);
        }
        if ret == 0 {
            *self.empty.entry(syscall).or_default() += 1;
            return 0;
        }
        let port = if sink.kind == Endpoint::Socket { sink.port } else { source.port };
        let key = (syscall, source.kind, sink.kind, port, msg_zerocopy);
        let known = self.transfers.entry(key).or_insert_with(|| Known {
            syscall,
            source: source.kind,
            sink: sink.kind,
            port,
            msg_zerocopy,
            calls: 0,
            bytes: 0,
            carried: 0,
            sizes: [0; SIZE_BUCKETS],
        });
        known.calls += 1;
        known.bytes += bytes;
        known.sizes[(bytes.max(1).ilog2() as usize).min(SIZE_BUCKETS - 1)] += 1;
        if source.kind == Endpoint::Memory && sink.kind == Endpoint::Socket {
            known.carried += std::mem::take(&mut self.carried);
        }
        if source.kind == Endpoint::File && sink.kind == Endpoint::Memory {
            self.carried += bytes;
        }
        let out = if sink.kind == Endpoint::Memory { FilePath::CopiedRead } else { FilePath::ZeroCopyRead };
        self.note_file(source, out, bytes);
        self.note_file(sink, FilePath::Written, bytes);
        ret
    }

    fn note_file(&mut self, side: &Side, path: FilePath, bytes: u64) {
        if let Some((name, directory, inode)) = &side.file {
            let file = self.files.entry(*inode).or_insert_with(|| KnownFile {
                name: name.clone(),
                directory: directory.clone(),
                inode: *inode,
                bytes: [0; 3],
            });
            file.bytes[path as usize] += bytes;
        }
    }

    /// Takes over another thread's account.
    pub(super) fn merge(&mut self, other: Self) {
        for (key, theirs) in other.transfers {
            match self.transfers.get_mut(&key) {
                Some(ours) => {
                    ours.calls += theirs.calls;
                    ours.bytes += theirs.bytes;
                    ours.carried += theirs.carried;
                    for (ours, theirs) in ours.sizes.iter_mut().zip(theirs.sizes) {
                        *ours += theirs;
                    }
                }
                None => drop(self.transfers.insert(key, theirs)),
            }
        }
        for (key, calls) in other.errors {
            *self.errors.entry(key).or_default() += calls;
        }
        for (key, calls) in other.empty {
            *self.empty.entry(key).or_default() += calls;
        }
        for (inode, theirs) in other.files {
            match self.files.get_mut(&inode) {
                Some(ours) => ours.bytes.iter_mut().zip(theirs.bytes).for_each(|(ours, theirs)| *ours += theirs),
                None => drop(self.files.insert(inode, theirs)),
            }
        }
    }

    pub(super) fn into_ledger(self) -> Ledger {
        Ledger {
            transfers: self.transfers.into_values().collect(),
            errors: self.errors.into_iter().map(|((syscall, errno), calls)| (syscall, errno, calls)).collect(),
            empty: self.empty.into_iter().collect(),
            files: self.files.into_values().collect(),
        }
    }

    /// Moves `size` bytes out of or into `object` by a call that takes one buffer or several.
    pub(super) fn copy(&mut self, syscall: Syscall, object: &Object, size: usize) -> i64 {
        let mut buffer = vec![b'm'; size.max(8)];
        let (start, fd) = (buffer.as_mut_ptr(), object.raw());
        // An eventfd takes a number that must not be near its end.
        buffer[..8].copy_from_slice(&1u64.to_ne_bytes());
        let half = size / 2;
        // SAFETY: both halves lie in the buffer, which outlives every call.
        let parts = unsafe {
            [
                libc::iovec { iov_base: start.cast(), iov_len: half },
                libc::iovec { iov_base: start.add(half).cast(), iov_len: size - half },
            ]
        };
        // SAFETY: an all-zero header is a header without name and control data.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = parts.as_ptr().cast_mut();
        header.msg_iovlen = 2;
        let data = start.cast::<libc::c_void>();
        // SAFETY: the kernel reads or writes within the buffer only; the vectors and the header outlive the call.
        let ret = unsafe {
            match syscall {
                Syscall::Read => libc::read(fd, data, size),
                Syscall::Pread64 => libc::pread64(fd, data, size, 0),
                Syscall::Readv => libc::readv(fd, parts.as_ptr(), 2),
                Syscall::Preadv => libc::preadv64(fd, parts.as_ptr(), 2, 0),
                Syscall::Preadv2 => bare(libc::syscall(libc::SYS_preadv2, fd, parts.as_ptr(), 2, 0, 0, 0)),
                Syscall::Recvfrom => libc::recv(fd, data, size, 0),
                Syscall::Recvmsg => libc::recvmsg(fd, &raw mut header, 0),
                Syscall::Write => libc::write(fd, data, size),
                Syscall::Pwrite64 => libc::pwrite64(fd, data, size, 0),
                Syscall::Writev => libc::writev(fd, parts.as_ptr(), 2),
                Syscall::Pwritev => libc::pwritev64(fd, parts.as_ptr(), 2, 0),
                Syscall::Pwritev2 => bare(libc::syscall(libc::SYS_pwritev2, fd, parts.as_ptr(), 2, 0, 0, 0)),
                Syscall::Sendto => libc::send(fd, data, size, libc::MSG_NOSIGNAL),
                Syscall::Sendmsg => libc::sendmsg(fd, &raw const header, libc::MSG_NOSIGNAL),
                Syscall::Recvmmsg | Syscall::Sendmmsg => return self.messages(syscall, object, size, 3),
                Syscall::Vmsplice => libc::vmsplice(fd, parts.as_ptr(), 2, 0),
                Syscall::Sendfile | Syscall::Splice | Syscall::Tee | Syscall::CopyFileRange => return 0,
            }
        } as i64;
        let bytes = ret.max(0).unsigned_abs();
        if syscall.class() == Class::Read {
            self.note(syscall, &object.side, &Side::MEMORY, ret, bytes)
        } else {
            self.note(syscall, &Side::MEMORY, &object.side, ret, bytes)
        }
    }

    /// `write` of these bytes.
    pub(super) fn write(&mut self, object: &Object, bytes: &[u8]) -> i64 {
        // SAFETY: the kernel reads within the bytes.
        let ret = unsafe { libc::write(object.raw(), bytes.as_ptr().cast(), bytes.len()) } as i64;
        self.note(Syscall::Write, &Side::MEMORY, &object.side, ret, ret.max(0).unsigned_abs())
    }

    /// `vmsplice` from the reading end of a pipe into memory.
    pub(super) fn vmsplice_out(&mut self, pipe: &Object, size: usize) -> i64 {
        let mut buffer = vec![0u8; size];
        let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: size };
        // SAFETY: the kernel writes into the buffer, which outlives the call.
        let ret = unsafe { libc::vmsplice(pipe.raw(), &raw const part, 1, 0) } as i64;
        self.note(Syscall::Vmsplice, &pipe.side, &Side::MEMORY, ret, ret.max(0).unsigned_abs())
    }

    /// `sendmmsg` or `recvmmsg` of up to `count` messages of `size` bytes.
    pub(super) fn messages(&mut self, syscall: Syscall, object: &Object, size: usize, count: usize) -> i64 {
        let mut buffer = vec![b'm'; size * count];
        let mut parts: Vec<_> = buffer
            .chunks_mut(size.max(1))
            .map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: an all-zero header is a header without name and control data.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = part;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        let length = u32::try_from(headers.len()).unwrap_or(0);
        // SAFETY: headers, parts and buffer outlive the call.
        let ret = unsafe {
            if syscall == Syscall::Sendmmsg {
                libc::syscall(libc::SYS_sendmmsg, object.raw(), headers.as_mut_ptr(), length, libc::MSG_NOSIGNAL)
            } else {
                let forever = ptr::null_mut::<libc::timespec>();
                // Waits for one message, takes the others that are there.
                let flags = libc::MSG_WAITFORONE;
                libc::syscall(libc::SYS_recvmmsg, object.raw(), headers.as_mut_ptr(), length, flags, forever)
            }
        };
        let moved = usize::try_from(ret).unwrap_or(0);
        let bytes = headers.iter().take(moved).map(|header| u64::from(header.msg_len)).sum();
        if syscall == Syscall::Sendmmsg {
            self.note(syscall, &Side::MEMORY, &object.side, ret, bytes)
        } else {
            self.note(syscall, &object.side, &Side::MEMORY, ret, bytes)
        }
    }

    /// A call between two descriptors. Files are read and written from their start.
    pub(super) fn between(&mut self, syscall: Syscall, from: &Object, to: &Object, size: usize) -> i64 {
        let mut offset: libc::off64_t = 0;
        let mut to_offset: libc::off64_t = 0;
        let of_file = |object: &Object, offset: *mut libc::off64_t| {
            if object.side.kind == Endpoint::File { offset } else { ptr::null_mut() }
        };
        let (source, sink) = (of_file(from, &raw mut offset), of_file(to, &raw mut to_offset));
        // SAFETY: the offsets outlive the call; the rest are open descriptors.
        let ret = unsafe {
            match syscall {
                Syscall::Sendfile => libc::sendfile64(to.raw(), from.raw(), source, size),
                Syscall::Splice => libc::splice(from.raw(), source, to.raw(), sink, size, 0),
                Syscall::Tee => libc::tee(from.raw(), to.raw(), size, 0),
                Syscall::CopyFileRange => libc::copy_file_range(from.raw(), source, to.raw(), sink, size, 0),
                _ => 0,
            }
        } as i64;
        self.note(syscall, &from.side, &to.side, ret, ret.max(0).unsigned_abs())
    }

    /// Reads until `size` bytes have come.
    pub(super) fn drain(&mut self, syscall: Syscall, object: &Object, size: usize) -> Result<(), ExerciseError> {
        let mut rest = size as i64;
        while rest > 0 {
            let read = self.copy(syscall, object, usize::try_from(rest).unwrap_or(0));
            if read <= 0 {
                return Err(ExerciseError::Impossible(format!("{} returned {read}", syscall.name())));
            }
            rest -= read;
        }
        Ok(())
    }
}

/// What `syscall(2)` returned, as the wrappers return it.
fn bare(ret: libc::c_long) -> isize {
    isize::try_from(ret).unwrap_or(-1)
}

/// Fails unless a call moved something: an exercise that does nothing proves nothing.
pub(super) fn moved(what: &'static str, ret: i64) -> Result<usize, ExerciseError> {
    match usize::try_from(ret) {
        Ok(moved) if moved > 0 => Ok(moved),
        _ => Err(ExerciseError::Impossible(format!("{what} returned {ret}"))),
    }
}
