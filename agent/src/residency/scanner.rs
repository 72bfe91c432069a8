//! Goes through log directories a few names at a time: a broker with a hundred thousand segments is not looked through in one
//! breath.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{Dir, DirEntry, Mode, OFlags, openat},
    time::{ClockId, clock_gettime},
};

use super::{Partition, Residency, pages::resident_bytes};
use crate::{
    kafka::{TopicPartition, is_segment},
    machine::LogDir,
    target::Root,
};

/// A directory whose names are being read.
struct Reading(Dir);

impl Reading {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Dir::new(fd)?))
    }

    /// The next name; `None` at the end, also where the rest can't be read.
    fn next(&mut self) -> Option<DirEntry> {
        self.0.read()?.ok()
    }

    /// Opens what is called so in it. A link leads nowhere, and a FIFO keeps nobody waiting.
    fn open(&self, name: &DirEntry, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(openat(self.0.fd()?, name.file_name(), flags, Mode::empty())?)
    }
}

/// The partition that is being looked at.
struct Current {
    directory: Reading,
    sum: Partition,
    /// Name, size and bytes in memory of the segment with the highest offset so far: names have equal lengths.
    active: Option<(Vec<u8>, u64, u64)>,
}

/// Where a look through a broker's logs has come to.
pub struct Scanner {
    root: Root,
    log_dirs: Vec<String>,
    skipped: Vec<String>,
    next_dir: usize,
    log_dir: Option<Reading>,
    current: Option<Current>,
    found: Vec<Partition>,
    /// Partitions found the last time.
    expected: usize,
    /// Topics, each name once.
    topics: BTreeSet<Arc<str>>,
    unreadable: u64,
    spent: Duration,
}

/// Partitions that are kept apart, at most.
const MOST_PARTITIONS: usize = 200_000;
/// Names at a time between two looks at the clock.
const NAMES: usize = 100;

impl Scanner {
    /// Begins with these log directories of a process.
    ///
    /// # Errors
    /// Where the process's files can't be seen.
    pub fn new(proc: &Path, pid: u32, log_dirs: &[LogDir]) -> io::Result<Self> {
        let (skipped, looked_at): (Vec<_>, Vec<_>) = log_dirs.iter().partition(|dir| dir.network == Some(true));
        let paths = |dirs: Vec<&LogDir>| dirs.into_iter().map(|dir| dir.path.clone()).collect();
        Ok(Self {
            root: Root::of(proc, pid)?,
            log_dirs: paths(looked_at),
            skipped: paths(skipped),
            next_dir: 0,
            log_dir: None,
            current: None,
            found: Vec::new(),
            expected: 0,
            topics: BTreeSet::new(),
            unreadable: 0,
            spent: Duration::ZERO,
        })
    }

    /// Goes on for so long, and for a hundred names at least; what was found, once everything was looked at. Then it begins
    /// again.
    pub fn step(&mut self, time: Duration) -> Option<Residency> {
        let (started, before) = (Instant::now(), processor_time());
        let at_end = loop {
            if (0..NAMES).any(|_| !self.advance()) {
                break true;
            }
            if started.elapsed() >= time {
                break false;
            }
        };
        self.spent += processor_time().saturating_sub(before);
        at_end.then(|| self.take(true))
    }

    /// Processor time that the looks have taken so far, until all that there was had been looked at for the last time.
    /// Counts anew from then on.
    pub fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    /// Goes on until everything was looked at, for so long at most: what was found until then.
    #[must_use]
    pub fn finish(mut self, time: Duration) -> Residency {
        self.step(time).unwrap_or_else(|| self.take(false))
    }

    fn take(&mut self, complete: bool) -> Residency {
        self.end_partition();
        (self.next_dir, self.log_dir) = (0, None);
        let mut partitions = std::mem::take(&mut self.found);
        partitions.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        // One that lies in several log directories, as while it is moved.
        partitions.dedup_by(|next, sum| {
            let is_same = (&next.topic, next.partition) == (&sum.topic, sum.partition);
            if is_same {
                sum.add(next);
            }
            is_same
        });
        partitions.shrink_to_fit();
        self.expected = partitions.len();
        self.topics.retain(|topic| Arc::strong_count(topic) > 1);
        Residency {
            complete,
            at_unix_seconds: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
            partitions,
            unreadable: std::mem::take(&mut self.unreadable),
            skipped: self.skipped.clone(),
        }
    }

    /// Looks at one name; false when there is none left.
    fn advance(&mut self) -> bool {
        if let Some(current) = &mut self.current {
            match current.directory.next() {
                Some(name) => {
                    let looked = look_at_segment(current, &name);
                    self.note(looked);
                }
                None => self.end_partition(),
            }
        } else if let Some(log_dir) = &mut self.log_dir {
            match log_dir.next() {
                Some(name) => {
                    let began = begin_partition(log_dir, &name, &mut self.topics);
                    if let Some(current) = self.note(began) {
                        self.current = current;
                    }
                }
                None => self.log_dir = None,
            }
        } else {
            let Some(path) = self.log_dirs.get(self.next_dir) else { return false };
            self.next_dir += 1;
            let opened = self.root.directory(path).and_then(Reading::new);
            self.log_dir = self.note(opened);
        }
        true
    }

    /// What vanished between its name and its opening was deleted; everything else should have been readable.
    fn note<T>(&mut self, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.unreadable += u64::from(error.kind() != io::ErrorKind::NotFound);
                None
            }
        }
    }

    fn end_partition(&mut self) {
        let Some(Current { mut sum, active, .. }) = self.current.take() else { return };
        if let Some((_, bytes, resident)) = active {
            (sum.active_bytes, sum.active_resident_bytes) = (bytes, resident);
        }
        if self.found.len() < MOST_PARTITIONS {
            if self.found.is_empty() {
                self.found.reserve_exact(self.expected);
            }
            self.found.push(sum);
        } else {
            self.unreadable += 1;
        }
    }
}

/// `None` for what is no partition's directory, or one that is being deleted or moved.
fn begin_partition(log_dir: &Reading, name: &DirEntry, topics: &mut BTreeSet<Arc<str>>) -> io::Result<Option<Current>> {
    let text = name.file_name().to_str().unwrap_or_default();
    let Some(key) =
        TopicPartition::from_directory(text).filter(|key| format!("{}-{}", key.topic, key.partition) == text)
    else {
        return Ok(None);
    };
    let directory = Reading::new(log_dir.open(name, OFlags::DIRECTORY)?)?;
    let topic = topics.get(key.topic.as_str()).cloned().unwrap_or_else(|| {
        let topic: Arc<str> = key.topic.into();
        topics.insert(Arc::clone(&topic));
        topic
    });
    let sum = Partition { topic, partition: key.partition, ..Partition::default() };
    Ok(Some(Current { directory, sum, active: None }))
}

/// Of this thread, since it began.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

fn look_at_segment(current: &mut Current, name: &DirEntry) -> io::Result<()> {
    let text = name.file_name().to_str().unwrap_or_default();
    if !is_segment(text) || !text.ends_with(".log") {
        return Ok(());
    }
    let file = File::from(current.directory.open(name, OFlags::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("a segment is no file"));
    }
    let (bytes, resident) = (metadata.len(), resident_bytes(&file, metadata.len())?);
    current.sum.segments += 1;
    let this = (text.as_bytes().to_vec(), bytes, resident);
    let older = match &mut current.active {
        Some(active) if active.0 < this.0 => std::mem::replace(active, this),
        Some(_) => this,
        None => {
            current.active = Some(this);
            return Ok(());
        }
    };
    current.sum.older_bytes += older.1;
    current.sum.older_resident_bytes += older.2;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::symlink, path::PathBuf};

    use super::*;

    /// A /proc with a process 77, whose root has log directories.
    struct Logs(tempfile::TempDir);

    impl Logs {
        fn new() -> Self {
            // In the folder of the build, which is on a disk.
            let dir = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
            fs::create_dir_all(dir.path().join("77")).unwrap();
            fs::create_dir(dir.path().join("root")).unwrap();
            symlink(dir.path().join("root"), dir.path().join("77/root")).unwrap();
            symlink(dir.path().join("root"), dir.path().join("77/cwd")).unwrap();
            Self(dir)
        }

        fn segment(&self, directory: &str, offset: u64, bytes: usize) -> PathBuf {
            let dir = self.0.path().join("root").join(directory);
            fs::create_dir_all(&dir).unwrap();
            let path = dir.join(format!("{offset:020}.log"));
            fs::write(&path, vec![1; bytes]).unwrap();
            path
        }

        fn scanner(&self, dirs: &[(&str, bool)]) -> Scanner {
            let dir = |(path, network): &(&str, bool)| LogDir {
                path: (*path).to_owned(),
                network: Some(*network),
                ..LogDir::default()
            };
            Scanner::new(self.0.path(), 77, &dirs.iter().map(dir).collect::<Vec<_>>()).unwrap()
        }

        fn look(&self) -> Residency {
            self.scanner(&[("/a", false), ("/b", false)]).finish(Duration::from_secs(60))
        }
    }

    #[test]
    fn active_and_older_segments_of_each_partition_are_told() {
        let logs = Logs::new();
        logs.segment("a/orders-0", 0, 10_000);
        logs.segment("a/orders-0", 900, 20_000);
        logs.segment("a/orders-0", 1000, 5000);
        logs.segment("b/orders-1", 0, 4096);
        let found = logs.look();
        assert!(found.complete && found.unreadable == 0, "{found:?}");
        let told: Vec<_> =
            found.partitions.iter().map(|p| (p.partition, p.segments, p.active_bytes, p.older_bytes)).collect();
        assert_eq!(told, [(0, 3, 5000, 30_000), (1, 1, 4096, 0)]);
        // Written just now.
        let total = found.total();
        assert_eq!(total.bytes(), (39_096, 39_096));
        assert_eq!(found.of("orders", Some(1)).map(|p| p.active_bytes).collect::<Vec<_>>(), [4096]);
        assert_eq!(found.of("orders", None).count(), 2);
        assert_eq!(found.of("order", None).count(), 0);
    }

    #[test]
    fn what_is_no_partition_or_segment_is_passed_over_and_what_can_not_be_read_is_told() {
        use std::os::unix::ffi::OsStrExt;
        let logs = Logs::new();
        logs.segment("a/orders-0", 0, 100);
        logs.segment("a/orders-0.0123456789abcdef0123456789abcdef-delete", 0, 100);
        logs.segment("a/no partition", 0, 100);
        let root = logs.0.path().join("root");
        fs::write(root.join("a/orders-0/00000000000000000000.index"), "x").unwrap();
        fs::write(root.join("a/orders-0/00000000000000000007.log.deleted"), "x").unwrap();
        fs::create_dir(root.join("a").join(std::ffi::OsStr::from_bytes(b"\xff\xfe-0"))).unwrap();
        fs::write(root.join("a/plain-1"), "a file").unwrap();
        symlink("/etc", root.join("a/link-2")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("a/orders-0/00000000000000000009.log"),
            rustix::fs::FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        let found = logs.look();
        assert_eq!(found.partitions.len(), 1);
        assert_eq!(found.partitions[0].segments, 1);
        // A file, a link and a FIFO where none should be; the directory b is missing, as one that vanished is.
        assert_eq!(found.unreadable, 3);
    }

    #[test]
    fn a_partition_that_vanishes_in_the_middle_does_no_harm() {
        let logs = Logs::new();
        for partition in 0..20 {
            logs.segment(&format!("a/orders-{partition}"), 0, 100);
        }
        let mut scanner = logs.scanner(&[("/a", false)]);
        // The directory is open, one partition is begun.
        while scanner.current.is_none() {
            assert!(scanner.advance());
        }
        fs::remove_dir_all(logs.0.path().join("root/a")).unwrap();
        let found = scanner.finish(Duration::from_secs(60));
        assert!(found.complete && found.unreadable == 0 && found.partitions.len() <= 20, "{found:?}");
    }

    #[test]
    fn network_file_systems_are_left_out_and_a_scan_goes_on_where_it_stopped() {
        let logs = Logs::new();
        for partition in 0..50 {
            logs.segment(&format!("a/orders-{partition}"), 0, 100);
        }
        let mut scanner = logs.scanner(&[("/a", false), ("/b", true)]);
        let mut steps = 0;
        let found = loop {
            steps += 1;
            if let Some(found) = scanner.step(Duration::ZERO) {
                break found;
            }
        };
        assert_eq!((found.partitions.len(), found.skipped.as_slice()), (50, &["/b".to_owned()][..]));
        assert!(steps > 1, "{steps}");
        assert!(scanner.take_spent() > Duration::ZERO);
        // The next round finds the same.
        assert_eq!(scanner.step(Duration::from_secs(60)).unwrap().partitions, found.partitions);
        // In no time not all is found, and that is said.
        let some = logs.scanner(&[("/a", false)]).finish(Duration::ZERO);
        assert!(!some.complete && some.partitions.len() < 50, "{some:?}");
    }
}
