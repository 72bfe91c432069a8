//! From a descriptor to what it is: the endpoint's kind, a socket's local port, a file's identity.

use agent_ebpf::{Endpoint, InodeKey, PORT_DATAGRAM, PORT_NONE, PORT_OUTBOUND, PORTS_PER_WORD, listener_index};

use super::{
    globals::{has, offset, offset_in},
    maps::LISTENERS,
    read::{cast, far, far_at, forget, near, probe, rare},
};

// include/uapi/linux/stat.h
const S_IFMT: u16 = 0o170_000;
const S_IFIFO: u16 = 0o010_000;
const S_IFREG: u16 = 0o100_000;
const S_IFSOCK: u16 = 0o140_000;
/// Mode of the inodes of eventfd, timerfd, inotify and the like (fs/libfs.c, `alloc_anon_inode`). A JVM wakes its selectors
/// through an eventfd, thousands of times a minute.
const ANONYMOUS: u16 = 0o600;
// include/linux/socket.h
const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
// include/linux/net.h
const SOCK_STREAM: u16 = 1;
const SOCK_SEQPACKET: u16 = 5;
// include/linux/fs.h
const FMODE_WRITE: u32 = 2;

/// [`Object::descriptor`] of what has none.
pub(crate) const NO_DESCRIPTOR: u32 = u32::MAX;

/// An open file of the running process.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    /// Its kind, an [`Endpoint`]; [`Endpoint::Other`] too where it could not be read.
    pub(crate) kind: u8,
    /// See [`agent_ebpf::TransferKey::port`].
    pub(crate) port: u32,
    /// The descriptor it was found by, [`NO_DESCRIPTOR`] for none: what is rarely needed is looked up again by it. A pointer
    /// kept here would make the verifier tell apart what is the same.
    pub(crate) descriptor: u32,
    /// For [`Endpoint::File`].
    pub(crate) inode: InodeKey,
    /// The descriptor was closed before the call returned, or the kernel's memory could not be read.
    pub(crate) unknown: bool,
    /// Of an [end](Object::of_end): the size of a [`Endpoint::File`], `f_flags` of what is none; 0 otherwise.
    pub(crate) extent: u64,
    /// Of an end: where the file's last read ended, 0 where that is not known. It need not be this call that did.
    pub(crate) read_end: u64,
}

impl Object {
    const UNKNOWN: Self = Self {
        kind: Endpoint::Other as u8,
        port: PORT_NONE,
        descriptor: NO_DESCRIPTOR,
        inode: InodeKey { inode: 0, device: 0, generation: 0 },
        unknown: true,
        extent: 0,
        read_end: 0,
    };

    /// What `descriptor` of `task`, that of a call which has moved something, is now.
    #[inline(always)]
    pub(crate) fn of_used(task: *const u8, target: u32, descriptor: u32) -> Self {
        Self::behind::<false>(used_file_of(task, descriptor), target, descriptor)
    }

    /// The same for one of the two ends of a call inside the kernel, with what tells its order and why it moved less than was
    /// asked, where that is counted.
    #[inline(always)]
    pub(crate) fn of_end(task: *const u8, target: u32, descriptor: u32) -> Self {
        Self::behind::<true>(used_file_of(task, descriptor), target, descriptor)
    }

    /// What any `descriptor` of `task` is now.
    #[inline(always)]
    pub(crate) fn of(task: *const u8, target: u32, descriptor: u32) -> Self {
        Self::behind::<false>(file_of(task, descriptor), target, descriptor)
    }

    #[inline(always)]
    fn behind<const IS_END: bool>(file: Option<*const u8>, target: u32, descriptor: u32) -> Self {
        let mut object = Self::UNKNOWN;
        object.descriptor = descriptor;
        if file.and_then(|file| object.identify::<IS_END>(file, target)).is_none() {
            rare();
            object = Self::UNKNOWN;
        }
        if IS_END && has!(order) {
            object.extent = forget(object.extent, descriptor as u64);
            object.read_end = forget(object.read_end, descriptor as u64);
        }
        // What follows is the same for all kinds.
        object.kind = forget(object.kind as u64, descriptor as u64) as u8;
        object.port = forget(object.port as u64, descriptor as u64) as u32;
        object.unknown = forget(object.unknown as u64, descriptor as u64) != 0;
        object
    }

    #[inline(always)]
    fn identify<const IS_END: bool>(&mut self, file: *const u8, target: u32) -> Option<()> {
        let inode = far::<*const u8, _>(file, offset!(file_inode))?;
        let mode = far::<u16, _>(inode, offset!(inode_mode))?;
        let is_end = IS_END && has!(order);
        if is_end && mode & S_IFMT != S_IFREG {
            self.extent = far::<u32, _>(file, offset_in!(OrderOffsets, file_flags))? as u64;
        }
        match mode & S_IFMT {
            S_IFREG => {
                self.inode = inode_key(inode)?;
                self.kind = Endpoint::File as u8;
                if is_end {
                    self.extent = far::<u64, _>(inode, offset_in!(OrderOffsets, inode_size))?;
                    self.read_end = read_end(file).unwrap_or(0);
                }
            }
            S_IFSOCK => self.identify_socket(file, target)?,
            S_IFIFO => self.kind = Endpoint::Pipe as u8,
            // No other inode is without a kind: the descriptor's memory is another's by now.
            0 if mode != ANONYMOUS => return None,
            _ => self.kind = Endpoint::Other as u8,
        }
        self.unknown = false;
        Some(())
    }

    #[inline(always)]
    fn identify_socket(&mut self, file: *const u8, target: u32) -> Option<()> {
        let (socket, sock) = socket_of(file)?;
        match far::<u16, _>(sock, offset!(sock_family))? {
            AF_INET | AF_INET6 => {
                let kind = far::<u16, _>(socket, offset!(socket_type))?;
                let port = local_port(sock)?;
                self.kind = Endpoint::Socket as u8;
                self.port = if kind != SOCK_STREAM && kind != SOCK_SEQPACKET {
                    PORT_DATAGRAM
                } else if is_listener(target, port) {
                    port as u32
                } else {
                    PORT_OUTBOUND
                };
            }
            AF_UNIX => self.kind = Endpoint::Unix as u8,
            _ => self.kind = Endpoint::Other as u8,
        }
        Some(())
    }

    /// Remembers the local port of a socket that has just begun to listen.
    #[inline(always)]
    pub(crate) fn remember_listener(task: *const u8, target: u32, descriptor: u32) -> Option<()> {
        let file = file_of(task, descriptor)?;
        let inode = far::<*const u8, _>(file, offset!(file_inode))?;
        if far::<u16, _>(inode, offset!(inode_mode))? & S_IFMT != S_IFSOCK {
            return None;
        }
        let (_, sock) = socket_of(file)?;
        let family = far::<u16, _>(sock, offset!(sock_family))?;
        if family == AF_INET || family == AF_INET6 {
            let port = local_port(sock)?;
            let word = LISTENERS.get_ptr_mut(listener_index(target, port))?;
            // SAFETY: the index is below the length of the value; a byte is stored in one go.
            unsafe { *word.cast::<u8>().add(port as usize % PORTS_PER_WORD) = 1 };
        }
        Some(())
    }
}

/// Whether a descriptor is open for writing, which tells the two ends of a pipe apart.
#[inline(always)]
pub(crate) fn is_writable(task: *const u8, descriptor: u32) -> bool {
    file_of(task, descriptor).and_then(|file| far::<u32, _>(file, offset!(file_mode))).unwrap_or(0) & FMODE_WRITE != 0
}

/// `struct socket *` and `struct sock *` of a socket's file.
#[inline(always)]
pub(crate) fn socket_of(file: *const u8) -> Option<(*const u8, *const u8)> {
    // `void *private_data`: only the kind of file says what it points to.
    let socket = cast(far::<*const u8, _>(file, offset!(file_private_data))?, offset!(id_socket));
    Some((socket, far::<*const u8, _>(socket, offset!(socket_sk))?))
}

/// Local port of a `struct sock`. A connection that its peer has reset gives its port back (`__inet_put_port` zeroes
/// `inet_num`), also in the middle of the call that is counted here; its `inet_sport`, in network order, stays.
#[inline(always)]
fn local_port(sock: *const u8) -> Option<u16> {
    let port = far::<u16, _>(sock, offset!(sock_num))?;
    if port != 0 {
        return Some(port);
    }
    Some(u16::from_be(far::<u16, _>(cast(sock, offset!(id_inet_sock)), offset!(inet_sock_sport))?))
}

#[inline(always)]
fn is_listener(target: u32, port: u16) -> bool {
    match LISTENERS.get_ptr(listener_index(target, port)) {
        // SAFETY: the index is below the length of the value.
        Some(word) => unsafe { *word.cast::<u8>().add(port as usize % PORTS_PER_WORD) != 0 },
        None => false,
    }
}

/// Where a read of an open file ended last, if that is known.
#[inline(always)]
fn read_end(file: *const u8) -> Option<u64> {
    let offset = offset_in!(OrderOffsets, file_read_end);
    if offset.number() == 0 || !has!(casts) { None } else { far::<u64, _>(file, offset) }
}

/// The identity of an inode, from [`cast`] or a member of what came from it.
#[inline(always)]
pub(crate) fn inode_key(inode: *const u8) -> Option<InodeKey> {
    let super_block = far::<*const u8, _>(inode, offset!(inode_sb))?;
    Some(InodeKey {
        inode: far::<u64, _>(inode, offset!(inode_ino))?,
        device: far::<u32, _>(super_block, offset!(super_block_dev))?,
        generation: far::<u32, _>(inode, offset!(inode_generation))?,
    })
}

/// `struct file *` in the descriptor table, as `fs/file.c` looks it up.
#[inline(always)]
pub(crate) fn file_of(task: *const u8, descriptor: u32) -> Option<*const u8> {
    let fdt = table_of(task)?;
    if descriptor < near::<u32, _>(fdt, offset!(fdtable_max_fds))? { file_in(fdt, descriptor) } else { None }
}

/// The same for the descriptor of a call that has done something: it was in the table, and none ever shrinks.
#[inline(always)]
pub(crate) fn used_file_of(task: *const u8, descriptor: u32) -> Option<*const u8> {
    file_in(table_of(task)?, descriptor)
}

// Whatever is read through a null pointer is null: only the last one need be looked at.
#[inline(always)]
fn table_of(task: *const u8) -> Option<*const u8> {
    near::<*const u8, _>(near::<*const u8, _>(task, offset!(task_files))?, offset!(files_fdt))
}

#[inline(always)]
fn file_in(fdt: *const u8, descriptor: u32) -> Option<*const u8> {
    let element = near::<u64, _>(fdt, offset!(fdtable_fd))? + descriptor as u64 * 8;
    let file = if has!(casts) {
        // `struct file **fd` is a number to the verifier. Any structure that begins with a pointer reads an element.
        let element = cast(element as *const u8, offset!(id_list_head));
        cast(far_at::<*const u8>(element, 0)?, offset!(id_file))
    } else {
        probe::<u64>(element, 0)? as *const u8
    };
    if file.is_null() { None } else { Some(file) }
}
