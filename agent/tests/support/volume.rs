//! File systems of the tests' own, on loop devices.

use std::{path::PathBuf, process::Command};

/// A mounted file system, which goes with this value.
pub struct Volume {
    dir: tempfile::TempDir,
    name: &'static str,
    /// Loop devices that do not go with the mount.
    loops: Vec<String>,
}

impl Volume {
    /// Makes one of this kind (`ext4`, `xfs`, `btrfs`) and mounts it.
    pub fn new(name: &'static str, megabytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        run(Command::new(format!("mkfs.{name}")).arg("-q").arg(&image));
        let volume = Self { dir, name, loops: Vec::new() };
        std::fs::create_dir(volume.path()).unwrap();
        run(Command::new("mount").args(["-o", "loop", "-t", name]).arg(&image).arg(volume.path()));
        volume
    }

    /// A btrfs whose data lie on four loop devices as RAID 10.
    pub fn raid10(megabytes: u64) -> Self {
        let mut volume = Self { dir: tempfile::tempdir().unwrap(), name: "btrfs", loops: Vec::new() };
        for disk in 0..4 {
            let image = volume.dir.path().join(format!("image-{disk}"));
            std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
            let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&image));
            volume.loops.push(device.trim().to_owned());
        }
        run(Command::new("mkfs.btrfs").args(["-q", "-d", "raid10", "-m", "raid1"]).args(&volume.loops));
        std::fs::create_dir(volume.path()).unwrap();
        let devices: Vec<_> = volume.loops.iter().map(|device| format!("device={device}")).collect();
        let options = devices.join(",");
        run(Command::new("mount").args(["-t", "btrfs", "-o", &options]).arg(&volume.loops[0]).arg(volume.path()));
        volume
    }

    /// A file system in memory, with room for as many names as one likes.
    pub fn in_memory() -> Self {
        let volume = Self { dir: tempfile::tempdir().unwrap(), name: "tmpfs", loops: Vec::new() };
        std::fs::create_dir(volume.path()).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m,nr_inodes=0", "none"]).arg(volume.path()));
        volume
    }

    /// An overlay: what is in the folder `lower` of this volume, with a layer of its own in this volume on top.
    pub fn overlay(&self) -> Self {
        let volume = Self { dir: tempfile::tempdir().unwrap(), name: "overlay", loops: Vec::new() };
        let at = |name: &str| self.path().join(name);
        for name in ["upper", "work"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::create_dir(volume.path()).unwrap();
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| at(name).display().to_string());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        run(Command::new("mount").args(["-t", "overlay", "-o", &options, "none"]).arg(volume.path()));
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
        if !self.loops.is_empty() {
            let _ = Command::new("losetup").arg("--detach").args(&self.loops).status();
        }
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a test of what lies in the page cache; again, at most twice, where it fails and the kernel took pages from the cache meanwhile,
/// since memory was short somewhere: then there was not what the test had put there.
pub fn while_the_cache_lasts(test: impl Fn()) {
    for attempt in 1.. {
        let before = reclaimed();
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(&test)) {
            Ok(()) => return,
            Err(_) if attempt < 3 && reclaimed() > before => {
                eprintln!("the kernel took pages from its cache: the same once more");
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Pages that the kernel has taken back since it was started: `pgsteal_kswapd` and its like in `/proc/vmstat`.
fn reclaimed() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap();
    let taken = counters.lines().filter_map(|line| line.strip_prefix("pgsteal_")?.split_once(' '));
    taken.filter(|(who, _)| !matches!(*who, "anon" | "file")).map(|(_, pages)| pages.parse::<u64>().unwrap()).sum()
}
