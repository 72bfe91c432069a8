//! File systems of the tests' own, on loop devices.

use std::{path::PathBuf, process::Command};

/// A mounted file system, which goes with this value.
pub struct Volume {
    dir: tempfile::TempDir,
    name: &'static str,
}

impl Volume {
    /// Makes one of this kind (`ext4`, `xfs`, `btrfs`) and mounts it.
    pub fn new(name: &'static str, megabytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        run(Command::new(format!("mkfs.{name}")).arg("-q").arg(&image));
        let volume = Self { dir, name };
        std::fs::create_dir(volume.path()).unwrap();
        run(Command::new("mount").args(["-o", "loop", "-t", name]).arg(&image).arg(volume.path()));
        volume
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// Its kind.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            // Something still uses it: it goes when that ends.
            let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
