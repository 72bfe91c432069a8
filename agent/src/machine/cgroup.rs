//! The control group that bounds the process's memory, page cache included (Documentation/admin-guide/cgroup-v2.rst and
//! cgroup-v1/memory.rst).

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use serde::Serialize;

/// A memory control group and those above it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cgroup {
    /// 1 or 2.
    pub version: u8,
    /// Its path in the hierarchy, as zctrace sees it.
    pub path: String,
    /// The least of the limits that it and those above it set, in bytes; `None` where there is none.
    pub limit_bytes: Option<u64>,
    /// Bytes that count against the limit, page cache included.
    pub used_bytes: Option<u64>,
    /// Of these, bytes of files in memory: what the group's processes were first to bring in.
    pub page_cache_bytes: Option<u64>,
    /// Of these, bytes of its processes' own.
    pub anonymous_bytes: Option<u64>,
    /// Of its page cache, bytes not yet on their way to a disk.
    pub dirty_bytes: Option<u64>,
    /// Of its page cache, bytes on their way to a disk.
    pub writeback_bytes: Option<u64>,
    /// Times that it hit its limit and had to give something up (`max` in `memory.events`, `memory.failcnt`).
    pub limit_hits: Option<u64>,
}

/// What version 1 shows where there is no limit: the largest multiple of a page.
const NO_LIMIT: u64 = 1 << 62;

/// `None` where the process is in no memory group, or in one that can't be seen from here.
pub(super) fn of(proc: &Path, sys: &Path, pid: u32) -> Option<Cgroup> {
    let text = fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).ok()?;
    let groups: Vec<_> = text.lines().filter_map(parse).collect();
    let v1 = groups.iter().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
    let mount = sys.join("fs/cgroup");
    if let Some((_, path)) = v1 {
        return read_v1(&mount.join("memory"), path);
    }
    let (_, path) = groups.iter().find(|(controllers, _)| controllers.is_empty())?;
    read_v2(&mount, path).or_else(|| read_v2(&mount.join("unified"), path))
}

/// `0::/path` of version 2, `4:memory:/path` of version 1.
fn parse(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

/// The directory of a group; `None` for one outside of what this process may see (`/../other`).
fn home(mount: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path.trim_start_matches('/'));
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    let home = mount.join(relative);
    // In a container with a namespace of its own the group of its own processes is mounted as the root.
    (inside && home.is_dir()).then_some(home)
}

/// The group's directory and those above it, up to the mount.
fn lineage<'a>(home: &'a Path, mount: &'a Path) -> impl Iterator<Item = &'a Path> {
    home.ancestors().take_while(move |above| above.starts_with(mount))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `name 123` a line.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn read_v2(mount: &Path, path: &str) -> Option<Cgroup> {
    let home = home(mount, path)?;
    let stat = home.join("memory.stat");
    // The root has statistics, but neither a limit nor a use; without the controller there is nothing.
    field(&stat, "file")?;
    let limits = lineage(&home, mount).flat_map(|group| {
        ["memory.max", "memory.high"].into_iter().filter_map(move |limit| number(&group.join(limit)))
    });
    let shared = field(&stat, "shmem").unwrap_or(0);
    Some(Cgroup {
        version: 2,
        path: path.to_owned(),
        limit_bytes: limits.min(),
        used_bytes: number(&home.join("memory.current")),
        page_cache_bytes: field(&stat, "file").map(|file| file.saturating_sub(shared)),
        anonymous_bytes: field(&stat, "anon"),
        dirty_bytes: field(&stat, "file_dirty"),
        writeback_bytes: field(&stat, "file_writeback"),
        limit_hits: field(&home.join("memory.events"), "max"),
    })
}

fn read_v1(mount: &Path, path: &str) -> Option<Cgroup> {
    let home = home(mount, path)?;
    let stat = home.join("memory.stat");
    let limits = lineage(&home, mount).filter_map(|group| number(&group.join("memory.limit_in_bytes")));
    let shared = field(&stat, "total_shmem").unwrap_or(0);
    Some(Cgroup {
        version: 1,
        path: path.to_owned(),
        limit_bytes: limits.filter(|limit| *limit < NO_LIMIT).min(),
        used_bytes: Some(number(&home.join("memory.usage_in_bytes"))?),
        page_cache_bytes: field(&stat, "total_cache").map(|file| file.saturating_sub(shared)),
        anonymous_bytes: field(&stat, "total_rss"),
        dirty_bytes: field(&stat, "total_dirty"),
        writeback_bytes: field(&stat, "total_writeback"),
        limit_hits: number(&home.join("memory.failcnt")),
    })
}
