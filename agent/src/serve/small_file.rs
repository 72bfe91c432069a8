//! Files that are small if they are what they should be: configurations, certificates and keys.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

const MAX_BYTES: u64 = 1 << 20;

/// Reads a regular file of at most 1 MiB.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}
