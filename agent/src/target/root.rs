//! Files as a process sees them: from its root and its current directory, which a container makes different from
//! ours. A link in there must lead where it leads for the process, never to a file of this machine's.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// No configuration is larger; what is, is not read.
const MOST: u64 = 4 << 20;

/// The root of a process.
pub(crate) struct Root {
    root: OwnedFd,
    /// Its current directory, as a path from its root.
    cwd: String,
}

impl Root {
    /// Opens the root of a process.
    pub(crate) fn of(proc: &Path, pid: u32) -> io::Result<Self> {
        let dir = proc.join(pid.to_string());
        let root =
            rustix::fs::open(dir.join("root"), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // For a process in a container the kernel shows the link relative to our root, if it shows it at all.
        let seen = std::fs::read_link(dir.join("root"))?;
        let cwd = std::fs::read_link(dir.join("cwd"))?;
        let cwd = cwd.strip_prefix(&seen).unwrap_or(&cwd);
        Ok(Self { root, cwd: format!("/{}", cwd.to_string_lossy().trim_start_matches('/')) })
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.cwd.trim_end_matches('/')) }
    }

    fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = self.absolute(path);
        // Linux 5.6; every kernel that zctrace runs on has it.
        Ok(openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)?)
    }

    /// Opens a regular file.
    pub(crate) fn file(&self, path: &str) -> io::Result<File> {
        // A FIFO would block the opening.
        let file = File::from(self.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        Ok(file)
    }

    /// Reads a small regular file.
    pub(crate) fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.file(path)?;
        if file.metadata()?.len() > MOST {
            return Err(io::Error::other("it is not a file of a sensible size"));
        }
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Inode number of a file or directory.
    pub(crate) fn inode(&self, path: &str) -> io::Result<u64> {
        let fd = self.open(path, OFlags::PATH)?;
        Ok(rustix::fs::fstat(&fd)?.st_ino)
    }

    /// Number of the mount that a file or directory lies in, as `/proc/PID/mountinfo` has it.
    pub(crate) fn mount_id(&self, path: &str) -> io::Result<u64> {
        let fd = self.open(path, OFlags::PATH)?;
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        id.ok_or_else(|| io::Error::other("the kernel does not tell its mount"))
    }

    /// Opens a directory.
    pub(crate) fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Names in a directory.
    pub(crate) fn names(&self, path: &str) -> io::Result<Vec<String>> {
        self.first_names(path, usize::MAX)
    }

    /// The same, of a directory that may hold any number of them: the first `most`.
    pub(crate) fn first_names(&self, path: &str, most: usize) -> io::Result<Vec<String>> {
        let fd = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let entries = rustix::fs::Dir::read_from(&fd)?;
        let entries = entries.take(most).filter_map(Result::ok);
        Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }
}
