//! From one look at a process's threads to the next.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use super::{Cpu, Time, readers::Readers, stat};

/// Threads that are looked at, at most: the first ones that `/proc` lists. The time of the others is the process's, not a
/// port's.
const MOST_THREADS: usize = 8192;

/// Sends of a thread by port since it is watched.
type Sends = BTreeMap<u32, u64>;

/// Why there is no processor time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The threads of the process can't be listed.
    #[error("the threads of process {0} can't be looked at: processor time by listener is not known")]
    Unreadable(u32),
    /// The agent runs in a PID namespace of its own.
    #[error(
        "zctrace sees other thread ids than the kernel, so processor time by listener is not known: run it in the host's PID \
         namespace (--pid=host)"
    )]
    Namespace,
}

#[derive(Clone, Debug, Default)]
struct Thread {
    time: Time,
    sends: Sends,
    /// Number of the look at which it was there.
    look: u64,
}

/// The processor time of one process, added up from look to look.
#[derive(Clone, Debug)]
pub struct Account {
    dir: PathBuf,
    threads: HashMap<u32, Thread>,
    process: Time,
    look: u64,
    /// At the first look there were more threads than are looked at: one that appears later may be an old one.
    cut: bool,
    /// Threads that read remote segments, where they are looked for.
    readers: Option<Readers>,
    cpu: Cpu,
}

impl Account {
    /// Takes a first look at a process: what it used until now does not count.
    ///
    /// # Errors
    /// [`Problem::Unreadable`].
    pub fn begin(proc: &Path, pid: u32) -> Result<Self, Problem> {
        let dir = proc.join(pid.to_string());
        let tids = threads(&dir).ok_or(Problem::Unreadable(pid))?;
        let process = stat::read(&dir.join("stat")).ok_or(Problem::Unreadable(pid))?;
        let cut = tids.len() >= MOST_THREADS;
        let mut account =
            Self { dir, threads: HashMap::new(), process, look: 0, cut, readers: None, cpu: Cpu::default() };
        for tid in tids {
            if let Some(time) = account.time(tid) {
                account.threads.insert(tid, Thread { time, ..Thread::default() });
            }
        }
        Ok(account)
    }

    /// From now on looks for threads that read remote segments, too.
    pub(super) fn with_remote_readers(self) -> Self {
        let tids = threads(&self.dir).unwrap_or_default();
        Self { readers: Some(Readers::begin(&self.dir, &tids)), ..self }
    }

    fn time(&self, tid: u32) -> Option<Time> {
        stat::read(&self.dir.join("task").join(tid.to_string()).join("stat"))
    }

    /// Looks again. `sends` tells how often each of the threads that it is asked for sent through which port; only those
    /// that did are looked at. A process that has ended keeps what was seen last.
    ///
    /// # Errors
    /// Those of `sends`.
    pub fn look<E>(&mut self, sends: impl FnOnce(&[u32]) -> Result<BTreeMap<u32, Sends>, E>) -> Result<(), E> {
        let Some(tids) = threads(&self.dir) else { return Ok(()) };
        self.look += 1;
        for (tid, sends) in sends(&tids)? {
            if let Some(time) = self.time(tid) {
                self.add(tid, time, sends);
            }
        }
        if let Some(readers) = &mut self.readers {
            self.cpu.remote_readers += readers.look(&self.dir, &tids);
        }
        let look = self.look;
        // Those that never sent keep what they had used at the first look, should they begin to.
        self.threads.retain(|_, thread| thread.look == look || thread.sends.is_empty());
        if let Some(now) = stat::read(&self.dir.join("stat")) {
            self.cpu.process += now.since(self.process);
            self.process = now;
        }
        self.count_threads();
        Ok(())
    }

    /// What a thread used since the last look goes to the ports that it sent through since then; where it sent nothing, to
    /// those that it ever sent through: it waits on them.
    fn add(&mut self, tid: u32, now: Time, sends: Sends) {
        let look = self.look;
        let before = match self.threads.get(&tid) {
            Some(before) => before.clone(),
            // One that is new has used nothing before.
            None if !self.cut => Thread::default(),
            None => Thread { time: now, ..Thread::default() },
        };
        let lately: Sends = sends
            .iter()
            .map(|(port, calls)| (*port, calls.saturating_sub(before.sends.get(port).copied().unwrap_or(0))))
            .filter(|(_, calls)| *calls > 0)
            .collect();
        let weights = if lately.is_empty() { &sends } else { &lately };
        let used = now.since(before.time);
        for (port, share) in split(used, weights) {
            self.cpu.ports.entry(port).or_default().time += share;
        }
        self.threads.insert(tid, Thread { time: now, sends, look });
    }

    fn count_threads(&mut self) {
        for port in self.cpu.ports.values_mut() {
            (port.threads, port.shared) = (0, 0);
        }
        for thread in self.threads.values() {
            for port in thread.sends.keys() {
                let port = self.cpu.ports.entry(*port).or_default();
                port.threads += 1;
                port.shared += u64::from(thread.sends.len() > 1);
            }
        }
    }

    /// What was used since the first look.
    #[must_use]
    pub const fn cpu(&self) -> &Cpu {
        &self.cpu
    }
}

/// Thread ids of a process, the first [`MOST_THREADS`].
fn threads(dir: &Path) -> Option<Vec<u32>> {
    let entries = std::fs::read_dir(dir.join("task")).ok()?;
    let tids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let tids: Vec<u32> = tids.take(MOST_THREADS).collect();
    // A process has at least one: a list without any is not its.
    (!tids.is_empty()).then_some(tids)
}

/// `time` in proportion to the weights. Nothing is lost: what rounding leaves over is the heaviest one's.
fn split(time: Time, weights: &Sends) -> Vec<(u32, Time)> {
    let sum: u128 = weights.values().map(|weight| u128::from(*weight)).sum();
    let Some((heaviest, _)) = weights.iter().max_by_key(|(_, weight)| **weight).filter(|_| sum > 0) else {
        return Vec::new();
    };
    let part = |ticks: u64, weight: u64| u64::try_from(u128::from(ticks) * u128::from(weight) / sum).unwrap_or(ticks);
    let mut shares: Vec<(u32, Time)> = weights
        .iter()
        .map(|(port, weight)| (*port, Time { user: part(time.user, *weight), kernel: part(time.kernel, *weight) }))
        .collect();
    let mut given = Time::default();
    shares.iter().for_each(|(_, share)| given += *share);
    if let Some((_, share)) = shares.iter_mut().find(|(port, _)| port == heaviest) {
        *share += time.since(given);
    }
    shares
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{convert::Infallible, fs};

    use super::*;

    fn time(user: u64, kernel: u64) -> Time {
        Time { user, kernel }
    }

    #[test]
    fn nothing_is_lost_when_time_is_split() {
        let shares = split(time(10, 7), &Sends::from([(1, 1), (2, 2)]));
        assert_eq!(shares, [(1, time(3, 2)), (2, time(7, 5))]);
        assert_eq!(split(time(10, 7), &Sends::new()), []);
        assert_eq!(split(time(10, 7), &Sends::from([(1, 0)])), []);
    }

    struct Proc(tempfile::TempDir);

    impl Proc {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn set(&self, tid: Option<u32>, user: u64, kernel: u64) {
            let dir = self.0.path().join("7");
            let dir = tid.map_or_else(|| dir.clone(), |tid| dir.join("task").join(tid.to_string()));
            fs::create_dir_all(&dir).unwrap();
            let stat = format!("7 (java) S 1 7 7 0 -1 0 0 0 0 0 {user} {kernel} 0 0 20 0 1 0 5 0 0");
            fs::write(dir.join("stat"), stat).unwrap();
        }
    }

    fn look(account: &mut Account, sends: &[(u32, &[(u32, u64)])]) {
        let sends = sends.iter().map(|(tid, sends)| (*tid, sends.iter().copied().collect())).collect();
        account.look(|_| Ok::<_, Infallible>(sends)).unwrap();
    }

    #[test]
    fn a_threads_time_is_its_ports() {
        let proc = Proc::new();
        proc.set(None, 100, 100);
        proc.set(Some(1), 50, 50);
        let mut account = Account::begin(proc.0.path(), 7).unwrap();
        // It serves one port, and used time before; another thread is new and serves two; a third one serves none.
        proc.set(None, 200, 150);
        proc.set(Some(1), 60, 70);
        proc.set(Some(2), 30, 9);
        proc.set(Some(3), 11, 11);
        look(&mut account, &[(1, &[(9092, 5)]), (2, &[(9092, 1), (9093, 2)])]);
        let port = |account: &Account, port| account.cpu().ports[&port];
        assert_eq!(port(&account, 9092).time, time(10 + 10, 20 + 3));
        assert_eq!(port(&account, 9093).time, time(20, 6));
        assert_eq!((port(&account, 9092).threads, port(&account, 9092).shared), (2, 1));
        assert_eq!(account.cpu().process, time(100, 50));
        // Since then the second one sent through one port only; the first one waited.
        proc.set(Some(1), 61, 70);
        proc.set(Some(2), 40, 9);
        look(&mut account, &[(1, &[(9092, 5)]), (2, &[(9092, 1), (9093, 8)])]);
        assert_eq!(port(&account, 9092).time, time(21, 23));
        assert_eq!(port(&account, 9093).time, time(30, 6));
    }

    #[test]
    fn a_process_that_ends_keeps_what_was_seen() {
        let proc = Proc::new();
        proc.set(None, 1, 1);
        proc.set(Some(1), 1, 1);
        let mut account = Account::begin(proc.0.path(), 7).unwrap();
        proc.set(None, 5, 5);
        proc.set(Some(1), 4, 4);
        look(&mut account, &[(1, &[(9092, 5)])]);
        let seen = account.cpu().clone();
        fs::remove_dir_all(proc.0.path().join("7")).unwrap();
        look(&mut account, &[(1, &[(9092, 9)])]);
        assert_eq!(*account.cpu(), seen);
        assert_eq!(Account::begin(proc.0.path(), 7).err(), Some(Problem::Unreadable(7)));
        // What lists no thread at all is as good as closed.
        proc.set(None, 5, 5);
        fs::create_dir_all(proc.0.path().join("7/task")).unwrap();
        assert_eq!(Account::begin(proc.0.path(), 7).err(), Some(Problem::Unreadable(7)));
    }
}
