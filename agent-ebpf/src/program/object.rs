//! From a descriptor to what it is: the endpoint's kind, a socket's local port, a file's identity.

use agent_ebpf::{Endpoint, InodeKey, PORT_DATAGRAM, PORT_NONE, PORT_OUTBOUND, PORTS_PER_WORD, listener_index};

use super::{
    globals::offset,
    maps::LISTENERS,
    read::{load, probe},
};

// include/uapi/linux/stat.h
const S_IFMT: u16 = 0o170_000;
const S_IFIFO: u16 = 0o010_000;
const S_IFREG: u16 = 0o100_000;
const S_IFSOCK: u16 = 0o140_000;
// include/linux/socket.h
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
// include/linux/net.h
const SOCK_STREAM: u16 = 1;
const SOCK_SEQPACKET: u16 = 5;
// include/linux/fs.h
const FMODE_WRITE: u32 = 2;

/// An open file of the running process.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    /// Its kind; [`Endpoint::Other`] too where it could not be read.
    pub(crate) kind: Endpoint,
    /// See [`agent_ebpf::TransferKey::port`].
    pub(crate) port: u32,
    /// `struct file *`.
    pub(crate) file: u64,
    /// For [`Endpoint::File`].
    pub(crate) inode: InodeKey,
    /// The descriptor was closed before the call returned, or the kernel's memory could not be read.
    pub(crate) unknown: bool,
}

impl Object {
    const UNKNOWN: Self = Self {
        kind: Endpoint::Other,
        port: PORT_NONE,
        file: 0,
        inode: InodeKey { inode: 0, device: 0, generation: 0 },
        unknown: true,
    };

    /// User memory.
    pub(crate) const MEMORY: Self = Self { kind: Endpoint::Memory, unknown: false, ..Self::UNKNOWN };

    /// What `descriptor` of `task` is now.
    #[inline(always)]
    pub(crate) fn of(task: *const u8, target: u32, descriptor: u32) -> Self {
        let mut object = Self::UNKNOWN;
        if let Some(file) = file_of(task, descriptor) {
            object.file = file;
            if object.identify(target).is_none() {
                object = Self::UNKNOWN;
            }
        }
        object
    }

    #[inline(always)]
    fn identify(&mut self, target: u32) -> Option<()> {
        let inode = probe::<u64>(self.file, offset!(file_inode))?;
        match probe::<u16>(inode, offset!(inode_mode))? & S_IFMT {
            S_IFREG => {
                self.inode = inode_key(inode)?;
                self.kind = Endpoint::File;
            }
            S_IFSOCK => self.identify_socket(target)?,
            S_IFIFO => self.kind = Endpoint::Pipe,
            _ => self.kind = Endpoint::Other,
        }
        self.unknown = false;
        Some(())
    }

    #[inline(always)]
    fn identify_socket(&mut self, target: u32) -> Option<()> {
        let socket = probe::<u64>(self.file, offset!(file_private_data))?;
        let sock = probe::<u64>(socket, offset!(socket_sk))?;
        match probe::<u16>(sock, offset!(sock_family))? {
            AF_INET | AF_INET6 => {
                let kind = probe::<u16>(socket, offset!(socket_type))?;
                let port = local_port(sock)?;
                self.kind = Endpoint::Socket;
                self.port = if kind != SOCK_STREAM && kind != SOCK_SEQPACKET {
                    PORT_DATAGRAM
                } else if is_listener(target, port) {
                    port as u32
                } else {
                    PORT_OUTBOUND
                };
            }
            AF_UNIX => self.kind = Endpoint::Unix,
            _ => self.kind = Endpoint::Other,
        }
        Some(())
    }

    /// Whether it is open for writing, which tells the two ends of a pipe apart.
    #[inline(always)]
    pub(crate) fn is_writable(&self) -> bool {
        probe::<u32>(self.file, offset!(file_mode)).unwrap_or(0) & FMODE_WRITE != 0
    }

    /// Remembers the local port of a socket that has just begun to listen.
    #[inline(always)]
    pub(crate) fn remember_listener(task: *const u8, target: u32, descriptor: u32) -> Option<()> {
        let file = file_of(task, descriptor)?;
        let inode = probe::<u64>(file, offset!(file_inode))?;
        if probe::<u16>(inode, offset!(inode_mode))? & S_IFMT != S_IFSOCK {
            return None;
        }
        let socket = probe::<u64>(file, offset!(file_private_data))?;
        let sock = probe::<u64>(socket, offset!(socket_sk))?;
        let family = probe::<u16>(sock, offset!(sock_family))?;
        if family == AF_INET || family == AF_INET6 {
            let port = local_port(sock)?;
            let word = LISTENERS.get_ptr_mut(listener_index(target, port))?;
            // SAFETY: the index is below the length of the value; a byte is stored in one go.
            unsafe { *word.cast::<u8>().add(port as usize % PORTS_PER_WORD) = 1 };
        }
        Some(())
    }
}

/// Local port of a `struct sock`. A connection that its peer has reset gives its port back (`__inet_put_port` zeroes
/// `inet_num`), also in the middle of the call that is counted here; its `inet_sport`, in network order, stays.
#[inline(always)]
fn local_port(sock: u64) -> Option<u16> {
    let port = probe::<u16>(sock, offset!(sock_num))?;
    if port != 0 { Some(port) } else { Some(u16::from_be(probe::<u16>(sock, offset!(inet_sock_sport))?)) }
}

#[inline(always)]
fn is_listener(target: u32, port: u16) -> bool {
    match LISTENERS.get_ptr(listener_index(target, port)) {
        // SAFETY: the index is below the length of the value.
        Some(word) => unsafe { *word.cast::<u8>().add(port as usize % PORTS_PER_WORD) != 0 },
        None => false,
    }
}

/// The identity of an inode.
#[inline(always)]
pub(crate) fn inode_key(inode: u64) -> Option<InodeKey> {
    let super_block = probe::<u64>(inode, offset!(inode_sb))?;
    Some(InodeKey {
        inode: probe::<u64>(inode, offset!(inode_ino))?,
        device: probe::<u32>(super_block, offset!(super_block_dev))?,
        generation: probe::<u32>(inode, offset!(inode_generation))?,
    })
}

/// `struct file *` in the descriptor table, as `fs/file.c` looks it up.
#[inline(always)]
fn file_of(task: *const u8, descriptor: u32) -> Option<u64> {
    // SAFETY: each pointer is a typed member of the one before.
    let (max_fds, table) = unsafe {
        let files = load::<*const u8>(task, offset!(task_files));
        let fdt = load::<*const u8>(files, offset!(files_fdt));
        (load::<u32>(fdt, offset!(fdtable_max_fds)), load::<u64>(fdt, offset!(fdtable_fd)))
    };
    if descriptor >= max_fds {
        return None;
    }
    let file = probe::<u64>(table + descriptor as u64 * 8, 0)?;
    if file == 0 { None } else { Some(file) }
}
