//! The mounts that a process sees (`/proc/PID/mountinfo`, Documentation/filesystems/proc.rst, 3.5).

use std::{fs, path::Path};

use super::Place;

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) id: u64,
    /// `major:minor`.
    pub(super) device: String,
    pub(super) point: String,
    pub(super) file_system: String,
    pub(super) source: String,
    /// Of the mount, then of the file system.
    pub(super) options: String,
}

/// File systems whose bytes come over the network, as `mountinfo` names them.
const NETWORK: [&str; 16] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "lustre",
    "glusterfs",
    "afs",
    "9p",
    "beegfs",
    "gpfs",
    "wekafs",
    "pvfs2",
    "ncpfs",
    "coda",
];
/// The same through FUSE: `fuse.glusterfs`, `fuse.s3fs`.
const NETWORK_FUSE: [&str; 8] = ["glusterfs", "sshfs", "s3fs", "ceph", "juicefs", "gcsfuse", "goofys", "mount-s3"];

pub(super) fn is_network(file_system: &str) -> bool {
    match file_system.strip_prefix("fuse.") {
        Some(kind) => NETWORK_FUSE.contains(&kind),
        None => NETWORK.contains(&file_system),
    }
}

/// All mounts of a process; none where they can't be read.
pub(super) fn read(proc: &Path, pid: u32) -> Vec<Mount> {
    // Names may be any bytes: what is no UTF-8 is replaced, and then names no log directory.
    let text = fs::read(proc.join(pid.to_string()).join("mountinfo")).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(parse).collect()
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn parse(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ');
    let (id, device) = (mount.next()?.parse().ok()?, mount.nth(1)?);
    let (point, options) = (mount.nth(1)?, mount.next()?);
    let mut file_system = file_system.split(' ');
    let (kind, source) = (file_system.next()?, file_system.next()?);
    let mut all: Vec<&str> = options.split(',').collect();
    // Said of both: `rw`, for one.
    let others = file_system.next().unwrap_or_default().split(',');
    let others: Vec<&str> = others.filter(|option| !option.is_empty() && !all.contains(option)).collect();
    all.extend(others);
    Some(Mount {
        id,
        device: device.to_owned(),
        point: unescape(point),
        file_system: kind.to_owned(),
        source: unescape(source),
        options: without_secrets(&all),
    })
}

/// Network file systems may be mounted with credentials among their options.
fn without_secrets(options: &[&str]) -> String {
    let shown = options.iter().filter(|option| {
        let key = option.split('=').next().unwrap_or_default().to_ascii_lowercase();
        !["pass", "secret", "user", "cred", "token", "key"].iter().any(|word| key.contains(word))
    });
    shown.copied().collect::<Vec<_>>().join(",")
}

/// `\040` stands for a space, and so on (`mangle_path`).
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let number =
            digits.map(|digits| digits.iter().fold(0u32, |number, digit| number * 8 + u32::from(digit - b'0')));
        match number.and_then(|number| u8::try_from(number).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The mount that a directory lies in: by its number, otherwise the one mounted last among the longest above its path.
pub(super) fn of<'a>(place: &Place, mounts: &'a [Mount]) -> Option<&'a Mount> {
    let by_id = place.mount_id.and_then(|id| mounts.iter().find(|mount| mount.id == id));
    let is_above = |mount: &&Mount| {
        let rest = place.path.strip_prefix(mount.point.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    by_id.or_else(|| mounts.iter().filter(is_above).max_by_key(|mount| mount.point.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(path: &str, mount_id: Option<u64>) -> Place {
        Place { path: path.to_owned(), mount_id }
    }

    #[test]
    fn a_directory_lies_in_the_longest_mount_above_it_or_in_the_one_with_its_number() {
        let text = "21 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro\n\
                    40 21 9:0 / /data rw,noatime - xfs /dev/md0 rw,attr2\n\
                    41 21 0:50 / /data\\040two rw - nfs4 store:/x rw,vers=4.2,password=hunter2\n\
                    42 40 253:1 / /data rw - ext4 /dev/mapper/v rw\nnonsense\n1 2 - x\n";
        let mounts: Vec<Mount> = text.lines().filter_map(parse).collect();
        assert_eq!(mounts.len(), 4);
        let id = |path, number| of(&place(path, number), &mounts).map(|mount| mount.id);
        assert_eq!(id("/var/lib", None), Some(21));
        // Mounted over the other.
        assert_eq!(id("/data/kafka", None), Some(42));
        assert_eq!(id("/database", None), Some(21));
        assert_eq!(id("/data two", None), Some(41));
        assert_eq!(id("/data/kafka", Some(40)), Some(40));
        assert_eq!(id("/data/kafka", Some(999)), Some(42));
        assert_eq!(mounts[1].options, "rw,noatime,attr2");
        assert_eq!(mounts[2].options, "rw,vers=4.2");
    }

    #[test]
    fn network_file_systems_are_known_by_name() {
        for (name, is) in [("nfs4", true), ("cifs", true), ("fuse.sshfs", true), ("fuse.ntfs", false), ("ext4", false)]
        {
            assert_eq!(is_network(name), is, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "[ -~]{0,120}", path in "/[a-z/]{0,20}") {
            let mounts: Vec<Mount> = parse(&line).into_iter().collect();
            let _ = of(&place(&path, None), &mounts);
            let _ = unescape(&line);
        }
    }
}
