//! A process that makes system calls by order and says how long they took, for the benchmarks. It is the program
//! `bench-worker` of this package, so that what is timed is a release build, and a process of its own: the one that is
//! traced, or another one beside it.

mod calls;
mod client;

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use calls::Calls;
pub use client::Worker;

/// Where a worker runs and what it has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The processor that it runs on.
    pub cpu: usize,
    /// Files that it reads in turn: `bench-0/0.log` and so on, as a broker's segments are called.
    pub files: usize,
    /// TCP connections on 127.0.0.1 that it accepted on one port of its own, and sends on in turn.
    pub connections: usize,
    /// Where the files are made.
    pub dir: PathBuf,
}

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `pread64` of [`BYTES`] of a file in the page cache.
    Read,
    /// `getppid`: as good as nothing, and nothing that is counted.
    Other,
    /// `write` of [`BYTES`] to a TCP socket.
    Write,
    /// `sendfile` of [`PAGE`] bytes from a file to a TCP socket.
    Sendfile,
}

/// Bytes of a read and of a write: so few that the call costs more than the copy.
pub const BYTES: usize = 512;
/// Bytes of a sendfile.
pub const PAGE: usize = 4096;

/// What a worker is told to do: so many batches of so many calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The kind of call.
    pub call: Call,
    /// How many in a batch; the clock is read before and after.
    pub calls: u32,
    /// How many batches.
    pub batches: u32,
    /// What is read before and after.
    pub clock: Clock,
    /// Calls a second, made in bursts a thousand times a second, with sleep between them, of which none is in the measured
    /// time; `None`: one after the other.
    pub rate: Option<u32>,
}

/// A clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The processor's time of the thread that makes the calls (`CLOCK_THREAD_CPUTIME_ID`): who else runs on the
    /// processor is not in it.
    Thread,
    /// The time that passes, for what makes the caller sleep.
    Wall,
}

impl Place {
    /// As the program's arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let numbers = [self.cpu, self.files, self.connections].map(|number| number.to_string());
        numbers.into_iter().chain([self.dir.display().to_string()]).collect()
    }

    /// From the program's arguments.
    ///
    /// # Errors
    /// What should have been there.
    pub fn parse(arguments: &[String]) -> io::Result<Self> {
        let usage = || io::Error::other("usage: bench-worker CPU FILES CONNECTIONS DIRECTORY");
        let [cpu, files, connections, dir] = arguments else { return Err(usage()) };
        let number = |text: &String| text.parse().map_err(|_| usage());
        Ok(Self { cpu: number(cpu)?, files: number(files)?, connections: number(connections)?, dir: dir.into() })
    }
}

/// Obeys orders (lines of JSON, [`Order`]) until there are no more; answers each with a line of JSON: the nanoseconds
/// a call of each batch. The first line says that it is ready.
///
/// # Errors
/// Those of its files and sockets, and of an order that can't be read.
pub fn serve(place: &Place, orders: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(place.cpu);
    sched_setaffinity(None, &cpus)?;
    let mut calls = Calls::prepare(place)?;
    writeln!(answers, "ready")?;
    answers.flush()?;
    for order in orders.lines() {
        let order: &Order = &serde_json::from_str(&order?)?;
        // A batch that is thrown away: caches and branch predictors learn what comes.
        calls.batch(order)?;
        let times: Vec<f64> = (0..order.batches).map(|_| calls.batch(order)).collect::<io::Result<_>>()?;
        writeln!(answers, "{}", serde_json::to_string(&times)?)?;
        answers.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn arguments_come_back() {
        let place = Place { cpu: 1, files: 20, connections: 3, dir: "/tmp/a b".into() };
        assert_eq!(Place::parse(&place.arguments()).unwrap(), place);
        assert!(Place::parse(&["1".to_owned()]).is_err());
    }

    #[test]
    fn calls_at_a_rate_take_their_time_which_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { cpu: 0, files: 1, connections: 0, dir: dir.path().to_owned() };
        let order = Order { call: Call::Read, calls: 200, batches: 1, clock: Clock::Wall, rate: Some(2000) };
        let mut answers = Vec::new();
        let started = std::time::Instant::now();
        serve(&place, serde_json::to_string(&order).unwrap().as_bytes(), &mut answers).unwrap();
        // Two batches of 200 calls, of which the first is thrown away.
        assert!(started.elapsed().as_millis() >= 180, "{:?}", started.elapsed());
        let answers = String::from_utf8(answers).unwrap();
        let times: Vec<f64> = serde_json::from_str(answers.lines().nth(1).unwrap()).unwrap();
        assert!(times.len() == 1 && times[0] > 0.0, "{times:?}");
    }

    #[test]
    fn every_kind_of_call_is_made_as_often_as_ordered() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { cpu: 0, files: 3, connections: 2, dir: dir.path().to_owned() };
        let orders: String = [Call::Read, Call::Other, Call::Write, Call::Sendfile]
            .map(|call| {
                serde_json::to_string(&Order { call, calls: 500, batches: 4, clock: Clock::Thread, rate: None })
                    .unwrap()
                    + "\n"
            })
            .concat();
        let mut answers = Vec::new();
        serve(&place, orders.as_bytes(), &mut answers).unwrap();
        let answers = String::from_utf8(answers).unwrap();
        let (ready, times) = answers.split_once('\n').unwrap();
        assert_eq!(ready, "ready");
        let times: Vec<Vec<f64>> = times.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(times.iter().map(Vec::len).collect::<Vec<_>>(), [4; 4]);
        assert!(times.iter().flatten().all(|nanoseconds| *nanoseconds > 0.0));
    }
}
