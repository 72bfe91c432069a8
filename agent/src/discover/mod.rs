//! Which processes of a host are to be watched. /proc is listed at each scan, but looked into only for processes that
//! are new, that are young (a start script becomes a JVM by `execve`, with the same PID), and for a part of the others,
//! so that a PID that was given to another process is noticed after some scans.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

use crate::{
    kafka,
    target::{self, Process},
};

/// What makes a process one to watch.
#[derive(Clone, Debug)]
pub enum Rule {
    /// It is a Kafka broker or controller.
    Kafka,
    /// It has this PID.
    Pid(u32),
    /// Its command line, arguments joined by spaces, matches.
    Match(Regex),
}

/// A process that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The process.
    pub process: Process,
    /// What tells it from a later process with its PID: field 22 of `/proc/PID/stat`, in clock ticks since boot.
    pub start_ticks: u64,
    /// Its name as a target.
    pub name: String,
}

/// Scans in which a process counts as young.
const YOUNG: u32 = 6;
/// A process that is not young is looked at again after so many scans.
const ROUND: u32 = 12;
/// Processes found in one scan, at most: the next scan goes on.
const MOST_FOUND: usize = 64;
/// Names that are remembered, at most; beyond, only those of targets that run.
const MOST_NAMES: usize = 4096;
/// Names are cut to this length, in characters.
const LONGEST_NAME: usize = 64;

/// What is remembered of a process that was looked at.
#[derive(Clone, Copy, Debug)]
struct Judged {
    start_ticks: u64,
    scans: u32,
    found: bool,
}

/// Looks for processes.
#[derive(Debug)]
pub struct Discovery {
    proc: PathBuf,
    rules: Vec<Rule>,
    judged: BTreeMap<u32, Judged>,
    /// Who has a name: what it stands for.
    names: BTreeMap<String, String>,
    /// Where the next scan begins, so that those who come first can't keep the others from their turn.
    next: u32,
}

impl Discovery {
    /// Looks below `proc`, normally `/proc`.
    #[must_use]
    pub const fn new(proc: PathBuf, rules: Vec<Rule>) -> Self {
        Self { proc, rules, judged: BTreeMap::new(), names: BTreeMap::new(), next: 0 }
    }

    /// Processes that are to be watched and were not found before. `running` names the targets of which a process runs:
    /// their names are taken.
    pub fn scan(&mut self, running: &BTreeSet<String>) -> Vec<Found> {
        let mut taken = running.clone();
        let pids = pids(&self.proc);
        self.judged.retain(|pid, _| pids.contains(pid));
        if self.names.len() > MOST_NAMES {
            self.names.retain(|name, _| running.contains(name));
        }
        let mut found = Vec::new();
        let in_turn = pids.range(self.next..).chain(pids.range(..self.next));
        self.next = 0;
        for pid in in_turn.copied() {
            if found.len() == MOST_FOUND {
                self.next = pid;
                break;
            }
            if let Some(process) = self.look_at(pid) {
                let name = self.name(&process.0, &taken);
                taken.insert(name.clone());
                found.push(Found { process: process.0, start_ticks: process.1, name });
            }
        }
        found
    }

    /// Other rules from now on: the next scan looks at every process again, but for those that were found and still are
    /// wanted.
    pub fn look_for(&mut self, rules: Vec<Rule>) {
        self.rules = rules;
        let mut judged = std::mem::take(&mut self.judged);
        judged.retain(|pid, judged| judged.found && self.wants(*pid));
        self.judged = judged;
    }

    /// Whether a process is one to watch. One that has ended is not.
    #[must_use]
    pub fn wants(&self, pid: u32) -> bool {
        target::inspect(&self.proc, pid).is_ok_and(|process| self.is_wanted(&process))
    }

    /// Forgets that a process was found, so that the next scan finds it again: it could not be watched this time.
    pub fn forget(&mut self, pid: u32) {
        self.judged.remove(&pid);
    }

    fn look_at(&mut self, pid: u32) -> Option<(Process, u64)> {
        let before = self.judged.get_mut(&pid).map(|judged| {
            judged.scans = judged.scans.saturating_add(1);
            *judged
        });
        let is_due = before.is_none_or(|judged| {
            (judged.scans < YOUNG && !judged.found) || (judged.scans.wrapping_add(pid)).is_multiple_of(ROUND)
        });
        if !is_due {
            return None;
        }
        // It may end at any step: then it is no one to watch.
        let start_ticks = start_ticks(&self.proc, pid)?;
        let is_known = before.filter(|judged| judged.start_ticks == start_ticks);
        if is_known.is_some_and(|judged| judged.found) {
            return None;
        }
        let process = target::inspect(&self.proc, pid).ok().filter(|process| self.is_wanted(process));
        let scans = is_known.map_or(0, |judged| judged.scans);
        self.judged.insert(pid, Judged { start_ticks, scans, found: process.is_some() });
        Some((process?, start_ticks))
    }

    fn is_wanted(&self, process: &Process) -> bool {
        self.rules.iter().any(|rule| match rule {
            Rule::Kafka => kafka::detect(process),
            Rule::Pid(pid) => process.pid == *pid,
            Rule::Match(regex) => regex.is_match(&process.command_line.arguments().join(" ")),
        })
    }

    /// A name that is the same when the process restarts: made from what it is, with a number behind it where another
    /// one that runs has it.
    fn name(&mut self, process: &Process, taken: &BTreeSet<String>) -> String {
        let (base, identity) = describe(&self.proc, process);
        let candidates = (1u32..).map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") });
        for name in candidates {
            let is_free = !taken.contains(&name);
            let is_ours = self.names.get(&name).is_none_or(|owner| *owner == identity);
            if is_free && is_ours {
                self.names.insert(name.clone(), identity);
                return name;
            }
        }
        base
    }
}

/// What a target is called, and what tells it from another that would be called the same.
fn describe(proc: &Path, process: &Process) -> (String, String) {
    if !kafka::detect(process) {
        return (label(&process.command), process.command.clone());
    }
    let broker = kafka::broker(proc, process);
    let role = if broker.roles == ["controller"] { "kafka-controller" } else { "kafka" };
    let base = broker.node_id.map_or_else(|| role.to_owned(), |id| format!("{role}-{id}"));
    let log_dirs: Vec<_> = broker.log_dirs.iter().map(|dir| dir.path.as_str()).collect();
    // Two clusters on a host may both have a node 1.
    let identity = format!("{:?} {:?} {log_dirs:?}", broker.cluster_id, broker.config);
    (label(&base), identity)
}

/// Characters that no query has to escape.
fn label(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().take(LONGEST_NAME).map(safe).collect();
    if name.is_empty() { "process".to_owned() } else { name }
}

fn pids(proc: &Path) -> BTreeSet<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether the PID still means the process that was found.
#[must_use]
pub fn is_same(proc: &Path, found: &Found) -> bool {
    start_ticks(proc, found.process.pid) == Some(found.start_ticks)
}

/// Field 22 of `/proc/PID/stat`; the name in parentheses before it may hold anything.
fn start_ticks(proc: &Path, pid: u32) -> Option<u64> {
    let stat = fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, fields) = stat.rsplit_once(')')?;
    // The first of these is field 3.
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests;
