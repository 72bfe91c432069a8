//! Whether a broker's threads for remote (tiered) segments work: they are told by their name, and looked for only where the
//! broker is set up with remote storage.

use std::{collections::HashMap, fs, path::Path};

use super::{TICK_SECONDS, stat};

/// Their names begin so: `remote-log-reader` in `RemoteLogManager` since Kafka 3.6, of which the kernel keeps 15 characters.
const NAME: &str = "remote-log-read";
/// Nanoseconds of a tick.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a constant: 10,000,000
const TICK: u64 = (TICK_SECONDS * 1e9) as u64;

/// The readers of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers {
    /// Threads whose name is known; of readers, how long they had run when last looked at.
    threads: HashMap<u32, Option<u64>>,
}

impl Readers {
    /// What they ran until now does not count.
    pub(super) fn begin(dir: &Path, tids: &[u32]) -> Self {
        let mut readers = Self::default();
        readers.look(dir, tids);
        readers
    }

    /// Nanoseconds that they ran since the last look.
    pub(super) fn look(&mut self, dir: &Path, tids: &[u32]) -> u64 {
        // A thread of a JVM has the process's name until it gives itself its own.
        let unnamed = name(dir).unwrap_or_default();
        let mut threads = HashMap::with_capacity(tids.len());
        let mut ran = 0;
        for tid in tids {
            let thread = || dir.join("task").join(tid.to_string());
            let before = match self.threads.get(tid) {
                Some(known) => *known,
                None => match name(&thread()) {
                    Some(name) if name.starts_with(NAME) => Some(0),
                    Some(name) if name != unnamed => None,
                    _ => continue,
                },
            };
            let now = before.map(|before| (before, running(&thread()).unwrap_or(before)));
            ran += now.map_or(0, |(before, now)| now.saturating_sub(before));
            threads.insert(*tid, now.map(|(_, now)| now));
        }
        self.threads = threads;
        ran
    }
}

/// Name of a thread, or of a process: of its first thread.
fn name(dir: &Path) -> Option<String> {
    Some(fs::read_to_string(dir.join("comm")).ok()?.trim_end().to_owned())
}

/// How long a thread has run, in nanoseconds: the first number of `schedstat` (`proc_pid_schedstat` in `fs/proc/base.c`), which
/// not every kernel has, otherwise its ticks.
fn running(dir: &Path) -> Option<u64> {
    let schedstat = fs::read_to_string(dir.join("schedstat")).ok();
    let nanoseconds = schedstat.and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanoseconds.or_else(|| Some(stat::read(&dir.join("stat"))?.total().saturating_mul(TICK)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Proc(tempfile::TempDir);

    impl Proc {
        fn set(&self, tid: u32, file: &str, text: &str) {
            let dir = self.0.path().join("task").join(tid.to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(file), text).unwrap();
        }
    }

    #[test]
    fn only_readers_count_and_only_from_the_first_look_on() {
        let proc = Proc(tempfile::tempdir().unwrap());
        fs::write(proc.0.path().join("comm"), "java\n").unwrap();
        for (tid, name) in [(1, "java\n"), (2, "remote-log-read\n"), (3, "data-plane-kafk\n")] {
            proc.set(tid, "comm", name);
            proc.set(tid, "schedstat", "5000 1 1\n");
        }
        let mut readers = Readers::begin(proc.0.path(), &[1, 2, 3]);
        assert_eq!(readers.look(proc.0.path(), &[1, 2, 3]), 0);
        // One goes on, one is new, one gives itself its name late.
        proc.set(2, "schedstat", "5600 1 1\n");
        proc.set(3, "schedstat", "9000 1 1\n");
        proc.set(4, "comm", "remote-log-read\n");
        proc.set(4, "schedstat", "30 1 1\n");
        proc.set(1, "comm", "remote-log-read\n");
        assert_eq!(readers.look(proc.0.path(), &[1, 2, 3, 4]), 600 + 30 + 5000);
        // One ends, of one only ticks are known.
        fs::remove_file(proc.0.path().join("task/4/schedstat")).unwrap();
        proc.set(4, "stat", "4 (remote-log-read) S 1 4 4 0 -1 0 0 0 0 0 3 1 0 0 20 0 1 0 5 0 0");
        assert_eq!(readers.look(proc.0.path(), &[1, 3, 4]), 40_000_000 - 30);
        assert_eq!(readers.look(proc.0.path(), &[]), 0);
    }
}
