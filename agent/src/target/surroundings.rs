//! Where a process runs: its container, its pod, its Java. From /proc, without running anything.

use std::{fs, path::Path};

use super::Root;

/// Where a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Id of its container.
    pub container: Option<String>,
    /// UID of its Kubernetes pod.
    pub pod: Option<String>,
    /// `JAVA_VERSION` of its Java.
    pub java_version: Option<String>,
}

/// Digits of a container's id, in hexadecimal.
const CONTAINER_ID: usize = 64;
/// Digits of a UUID, and what separates them.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// Looks at a process; what can't be seen is `None`.
#[must_use]
pub fn surroundings(proc: &Path, pid: u32) -> Surroundings {
    let dir = proc.join(pid.to_string());
    let cgroups = fs::read_to_string(dir.join("cgroup")).unwrap_or_default();
    Surroundings { container: container(&cgroups), pod: pod(&cgroups), java_version: java_version(proc, pid) }
}

/// The id of the innermost container in `/proc/PID/cgroup`: the last part of its path that holds 64 hexadecimal digits, as
/// Docker (`docker-ID.scope`, `/docker/ID`), containerd (`cri-containerd-ID.scope`), CRI-O (`crio-ID.scope`) and Podman
/// (`libpod-ID.scope`) write it.
fn container(cgroups: &str) -> Option<String> {
    paths(cgroups).flat_map(|path| path.rsplit('/')).find_map(|part| {
        // An id ends where its digits end; CRI-O's monitor runs beside the container, not in it.
        let digits = |text: &&str| text.len() == CONTAINER_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if part.starts_with("crio-conmon-") {
            return None;
        }
        part.split(['-', '.', ':']).find(digits).map(str::to_ascii_lowercase)
    })
}

/// The pod's UID, after `pod` in a part of the path; systemd's slices write `_` for `-`.
fn pod(cgroups: &str) -> Option<String> {
    paths(cgroups).flat_map(|path| path.split(['/', ':'])).find_map(|part| {
        let (_, after) = part.trim_end_matches(".slice").rsplit_once("pod")?;
        let uid = after.replace('_', "-").to_ascii_lowercase();
        // Pods that the kubelet itself starts have a hash for a UID.
        let is_hash = uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_uuid(&uid) || is_hash).then_some(uid)
    })
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    parts.len() == UUID.len()
        && parts
            .iter()
            .zip(UUID)
            .all(|(part, length)| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// `0::/path`, or `4:memory:/path` of each hierarchy before cgroup v2.
fn paths(cgroups: &str) -> impl Iterator<Item = &str> {
    cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2))
}

/// `JAVA_VERSION="17.0.12"` in the file `release` of the Java whose `bin/java` runs.
pub(crate) fn java_version(proc: &Path, pid: u32) -> Option<String> {
    let executable = fs::read_link(proc.join(pid.to_string()).join("exe")).ok()?;
    let home = executable.parent()?.parent()?;
    let release = Root::of(proc, pid).ok()?.read(home.join("release").to_str()?).ok()?;
    let release = String::from_utf8_lossy(&release);
    let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?.trim_matches('"');
    let is_version = !version.is_empty() && version.len() < 64 && version.chars().all(|c| c.is_ascii_graphic());
    is_version.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3601745b3bd54d9780436faa5f0e4f7243e3cd22ac3f0a3a6f5bc0b9dd6a4d0e";
    const POD: &str = "0f2a5f5e-6d1b-4c8e-9a53-5b3f3c2d1e0f";

    #[test]
    fn containers_and_pods_of_every_runtime() {
        let slice = POD.replace('-', "_");
        let cases = [
            (format!("0::/system.slice/docker-{ID}.scope\n"), true, false),
            (format!("12:cpu:/docker/{ID}\n11:memory:/docker/{ID}\n"), true, false),
            (format!("0::/machine.slice/libpod-{ID}.scope/container\n"), true, false),
            (format!("4:memory:/kubepods/burstable/pod{POD}/{ID}\n"), true, true),
            (format!("4:memory:/kubepods/pod{POD}/{ID}\n"), true, true),
            (
                format!(
                    "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice/cri-containerd-{ID}.scope\n"
                ),
                true,
                true,
            ),
            (format!("0::/kubepods.slice/kubepods-pod{slice}.slice/crio-{ID}.scope\n"), true, true),
            (
                format!("0::/system.slice/containerd.service/kubepods-pod{slice}.slice:cri-containerd:{ID}\n"),
                true,
                true,
            ),
            (format!("0::/kubepods.slice/kubepods-pod{slice}.slice/crio-conmon-{ID}.scope\n"), false, true),
            ("0::/system.slice/kafka.service\n".to_owned(), false, false),
            ("0::/user.slice/podman-wrong.slice\n".to_owned(), false, false),
            (String::new(), false, false),
        ];
        for (cgroups, in_container, in_pod) in cases {
            assert_eq!(container(&cgroups).as_deref(), in_container.then_some(ID), "{cgroups}");
            assert_eq!(pod(&cgroups).as_deref(), in_pod.then_some(POD), "{cgroups}");
        }
    }

    #[test]
    fn the_version_of_java_is_read_from_its_home_in_the_process_root() {
        let dir = tempfile::tempdir().unwrap();
        let process = dir.path().join("77");
        let tree = dir.path().join("tree");
        let home = tree.join("usr/lib/jvm/java-17");
        fs::create_dir_all(&home).unwrap();
        fs::create_dir(&process).unwrap();
        symlink(&tree, process.join("root")).unwrap();
        symlink("/usr/lib/jvm/java-17/bin/java", process.join("exe")).unwrap();
        symlink("/", process.join("cwd")).unwrap();
        assert_eq!(surroundings(dir.path(), 77), Surroundings::default());
        fs::write(home.join("release"), "IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.12\"\n").unwrap();
        assert_eq!(surroundings(dir.path(), 77).java_version.as_deref(), Some("17.0.12"));
        fs::write(home.join("release"), "JAVA_VERSION=\"17\u{1b}[31m\"\n").unwrap();
        assert_eq!(surroundings(dir.path(), 77).java_version, None);
    }

    proptest! {
        #[test]
        fn whatever_a_cgroup_file_holds_is_no_panic(cgroups in ".{0,200}") {
            if let Some(id) = container(&cgroups) {
                prop_assert_eq!(id.len(), CONTAINER_ID);
            }
            if let Some(uid) = pod(&cgroups) {
                prop_assert!(is_uuid(&uid) || uid.len() == 32);
            }
        }
    }
}
