//! Bytes of a file that are read where the kernel has them, if it allows that: its own types are several megabytes.

use std::{fs, io, ops::Deref, os::fd::AsRawFd, path::Path, ptr};

/// The bytes of a file.
pub(super) enum Bytes {
    /// Copied.
    Own(Vec<u8>),
    /// Mapped: `/sys/kernel/btf` allows it from Linux 6.16 on (kernel/bpf/sysfs_btf.c).
    Mapped(Mapped),
}

impl Bytes {
    /// Of a file that is never changed or made shorter.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Mapped::of(path).map_or_else(|_| fs::read(path).map(Self::Own), |mapped| Ok(Self::Mapped(mapped)))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Own(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self::Own(bytes.to_vec())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Mapped(mapped) => mapped.bytes(),
        }
    }
}

/// A file mapped to be read.
pub(super) struct Mapped {
    at: *const u8,
    length: usize,
}

// SAFETY: memory that nobody writes to, and that is there until this is dropped.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: new addresses, which nobody else knows. A length of 0 is refused.
        let at =
            unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { at: at.cast(), length }) }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped there, of a file that is as long and stays so.
        unsafe { std::slice::from_raw_parts(self.at, self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody has its bytes any more.
        unsafe { libc::munmap(self.at.cast_mut().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn mapped_or_not_the_bytes_are_the_file_s() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, [7; 5000]).unwrap();
        let bytes = Bytes::of(&path).unwrap();
        assert!(matches!(bytes, Bytes::Mapped(_)) && *bytes == [7; 5000]);
        // What has no length is not mapped.
        fs::write(&path, "").unwrap();
        let bytes = Bytes::of(&path).unwrap();
        assert!(matches!(bytes, Bytes::Own(_)) && bytes.is_empty());
        assert!(Bytes::of(&dir.path().join("none")).is_err());
    }
}
