//! Bytes of a file that are read where the kernel has them, if it allows that: its own types are several megabytes.

use std::{fs, io, ops::Deref, path::Path};

use memmap2::{Mmap, MmapOptions};

/// The bytes of a file.
pub(super) enum Bytes {
    /// Copied.
    Own(Vec<u8>),
    /// Mapped: `/sys/kernel/btf` allows it from Linux 6.16 on (kernel/bpf/sysfs_btf.c).
    Mapped(Mmap),
}

impl Bytes {
    /// Of a file that is never changed or made shorter.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        if file.metadata()?.len() > 0 {
            // Private, as the kernel wants it.
            // SAFETY: a file that nobody changes, as is asked for above.
            if let Ok(mapped) = unsafe { MmapOptions::new().map_copy_read_only(&file) } {
                return Ok(Self::Mapped(mapped));
            }
        }
        fs::read(path).map(Self::Own)
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
            Self::Mapped(mapped) => mapped,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernel_s_own_types_are_mapped_where_it_allows_that() {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut version = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (version.next().unwrap(), version.next().unwrap());
        match Bytes::of(Path::new(super::super::layout::VMLINUX)) {
            Ok(bytes) => assert_eq!(matches!(bytes, Bytes::Mapped(_)), version >= (6, 16), "{release}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}"),
        }
    }

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
