//! Every watched target of a host, over all its processes. A target is what keeps its name when its process restarts;
//! its counters are those of the processes that ended, and what the maps hold of the one that runs.

mod admission;
#[cfg(test)]
mod large_tests;
mod member;
mod past;
mod reasons;
mod window;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

#[cfg(test)]
pub(crate) use admission::TopicSeries;
pub use admission::{ClientSeries, FlowBytes, TopicBytes, TopicPolicy, TopicTook};
pub use member::{Life, View};
pub use window::Key;
pub(crate) use window::key;

use crate::{
    cpu, facts,
    machine::{Machine, Subject},
    probe::{FileCount, Probe, ProbeError, Slot, Taken, Usage},
    report::{self, Attach, Facts},
    residency::Residency,
    snapshot::Snapshot,
    target::{Process, Surroundings, inspect, listening_ports, surroundings},
};
use admission::Series;
use member::{DiskReads, Member};
use reasons::Reasons;
use window::Lately;

/// What a fleet is bounded by.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Topics with series of their own.
    pub topics: TopicPolicy,
    /// Listeners of a target with series of their own.
    pub listeners: usize,
    /// Over which time ratios are.
    pub window: Duration,
    /// How long a file has to lie still before it leaves the kernel's table, where that fills up.
    pub idle: Duration,
    /// Whether to look at what the targets run on.
    pub machine: bool,
    /// Whether to look how much of their logs is in memory.
    pub residency: bool,
    /// Targets that are known by name, the ended ones included. The one that ended first is forgotten first.
    pub targets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            topics: TopicPolicy::default(),
            listeners: 64,
            window: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            machine: true,
            residency: true,
            targets: 256,
        }
    }
}

/// All targets, and the hooks that count for them.
pub struct Fleet {
    probe: Probe,
    proc: PathBuf,
    limits: Limits,
    members: BTreeMap<String, Member>,
    forgotten: u64,
    evicted: u64,
    lives: u64,
    /// How full the maps were at the last [`Self::read`].
    usage: Vec<Usage>,
    /// Files as they stood when the table was found to fill up: those that still stand so later are idle.
    seen: Option<(Instant, Vec<FileCount>)>,
}

/// A map that is this full, in percent, gets room.
const FULL_PERCENT: u64 = 75;

impl Fleet {
    /// An empty fleet.
    #[must_use]
    pub const fn new(probe: Probe, proc: PathBuf, limits: Limits) -> Self {
        Self {
            probe,
            proc,
            limits,
            members: BTreeMap::new(),
            forgotten: 0,
            evicted: 0,
            lives: 0,
            usage: Vec::new(),
            seen: None,
        }
    }

    /// Begins to count for a process of the target that is called `name`.
    ///
    /// # Errors
    /// What the kernel said; the target keeps what it had. A target whose process still runs is not changed.
    pub fn admit(&mut self, name: &str, process: &Process) -> Result<Life, ProbeError> {
        if let Some(member) = self.members.get(name).filter(|member| member.life.is_some()) {
            return Ok(Life(member.number));
        }
        let mut facts = facts::gather(&self.proc, process);
        let pid = process.pid;
        let mut problem = None;
        let slot = self.probe.watch(pid, || {
            listening_ports(&self.proc, pid).unwrap_or_else(|error| {
                problem = Some(format!("{error} Connections of listeners opened before are shown as outbound."));
                Default::default()
            })
        })?;
        facts.problems.extend(problem);
        let account = cpu::begin(self.probe.is_called(slot, pid), &self.proc, pid, facts.has_remote_storage());
        let account = account.map_err(|problem| facts.problems.push(problem.to_string())).ok();
        facts.problems.extend(self.probe.missing());
        facts.slow = self.probe.slow().unwrap_or_default();
        let disk_reads_before = facts::disk_read_bytes(&self.proc, pid);
        if self.limits.machine {
            facts::look_at_machine(&self.proc, &mut facts);
        }
        for problem in &facts.problems {
            tracing::warn!(target_name = name, pid, problem, "something of the target could not be found out");
        }
        tracing::info!(target_name = name, pid, "watching");
        self.make_room(name);
        let limits = &self.limits;
        let clients = self.probe.clients().map_or(0, |clients| clients as usize);
        let member = self.members.entry(name.to_owned()).or_insert_with(|| Member {
            past: Snapshot::default(),
            life: None,
            present: Snapshot::default(),
            builder: report::Builder::default(),
            view: None,
            number: 0,
            processes: 0,
            facts: facts.clone(),
            surroundings: Surroundings::default(),
            series: Series::new(limits.topics.clone(), limits.listeners, clients),
            reasons: Reasons::default(),
            account: None,
            lately: Lately::new(limits.window),
            disk_reads: DiskReads::default(),
            since: SystemTime::now(),
            started: Instant::now(),
            ended: None,
        });
        (member.facts, member.life, member.account) = (facts, Some((slot, pid)), account);
        member.disk_reads.begin(disk_reads_before);
        member.surroundings = surroundings(&self.proc, pid);
        member.processes += 1;
        member.ended = None;
        self.lives += 1;
        member.number = self.lives;
        Ok(Life(member.number))
    }

    /// Like [`Self::retire`], if it is still this process that is watched for the target.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn end(&mut self, name: &str, life: Life) -> Result<(), ProbeError> {
        let is_it = self.members.get(name).is_some_and(|member| member.number == life.0);
        if is_it { self.retire(name) } else { Ok(()) }
    }

    /// Other limits from now on. What has series and still may goes on; what `(other)` holds goes on from where it stands,
    /// whatever comes to it or leaves it. Listeners that have series keep them.
    ///
    /// # Errors
    /// What the kernel said: then `(other)` may step once.
    pub fn change(&mut self, limits: Limits) -> Result<(), ProbeError> {
        // What is left out stays so until the service starts again.
        self.limits = Limits { machine: self.limits.machine, residency: self.limits.residency, ..limits };
        let mut result = Ok(());
        let now = Instant::now();
        for member in self.members.values_mut() {
            let counts = match member.life.map(|(slot, _)| self.probe.snapshot(slot)) {
                Some(Ok(life)) => life.plus(&member.past),
                Some(Err(error)) => {
                    result = Err(error);
                    continue;
                }
                None => member.past.clone(),
            };
            let attach = Attach::default();
            let report = report::build(&counts, &member.facts, member.window(now), attach);
            member.series.change(self.limits.topics.clone(), self.limits.listeners, &report);
            member.lately.set_span(self.limits.window);
        }
        result
    }

    /// Over which time ratios are.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.limits.window
    }

    /// Keeps the last counts of a target whose process has ended, and makes its place in the maps free.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn retire(&mut self, name: &str) -> Result<(), ProbeError> {
        let Some(member) = self.members.get_mut(name) else { return Ok(()) };
        let Some((slot, pid)) = member.life else { return Ok(()) };
        self.probe.stop(slot)?;
        let mut last = self.probe.snapshot(slot)?;
        last.cpu = member.account.take().map(|account| account.cpu().clone());
        if let (Some(last), Some(known)) = (&mut last.clients, &member.past.clients) {
            *last = last.bounded(known, past::MOST_CLIENTS);
        }
        member.past = past::fold(&std::mem::take(&mut member.past).plus(&last));
        (member.life, member.present) = (None, Snapshot::default());
        member.ended = Some(Instant::now());
        tracing::info!(target_name = name, pid, "ended; its counts are kept");
        self.probe.release(slot)
    }

    /// Reads the configuration of every running target again: listeners may have been added or renamed. What can't be read
    /// now keeps what was read before.
    pub fn refresh(&mut self) {
        for (name, member) in &mut self.members {
            let Some((_, pid)) = member.life else { continue };
            match inspect(&self.proc, pid) {
                Ok(process) => {
                    let Facts { machine, disk_read_bytes, residency, slow, .. } = member.facts.clone();
                    let known = facts::gather(&self.proc, &process);
                    member.facts = Facts { machine, disk_read_bytes, residency, slow, ..known };
                }
                Err(error) => tracing::warn!(target_name = name, pid, %error, "its configuration was not read again"),
            }
        }
    }

    /// Forgets the target that ended first, where there are too many.
    fn make_room(&mut self, name: &str) {
        if self.members.contains_key(name) || self.members.len() < self.limits.targets {
            return;
        }
        let ended = self.members.iter().filter_map(|(name, member)| Some((member.ended?, name.clone())));
        if let Some((_, oldest)) = ended.min() {
            tracing::warn!(target_name = oldest, "forgotten: too many targets have ended");
            self.members.remove(&oldest);
            self.forgotten += 1;
        }
    }

    /// Targets forgotten because there were too many.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Files that left the kernel's table because it filled up; their counts are kept.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Makes room in the kernel's tables where they fill up: to be called now and then.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn make_room_in_maps(&mut self, now: Instant) -> Result<(), ProbeError> {
        let is_full = |usage: &Usage| u64::from(usage.entries) * 100 >= u64::from(usage.capacity) * FULL_PERCENT;
        let usage = self.probe.usage()?;
        let full = |map: &str| usage.iter().any(|usage| usage.map == map && is_full(usage));
        if full("files") {
            self.evict_files(now)?;
        } else {
            self.seen = None;
        }
        if full("directories") {
            self.probe.forget_directories()?;
        }
        Ok(())
    }

    fn evict_files(&mut self, now: Instant) -> Result<(), ProbeError> {
        match self.seen.take() {
            None => self.seen = Some((now, self.probe.files()?)),
            Some((at, seen)) if now.duration_since(at) < self.limits.idle => self.seen = Some((at, seen)),
            Some((_, seen)) => {
                for member in self.members.values_mut() {
                    let Some((slot, _)) = member.life else { continue };
                    // The names of directories, before they go.
                    let directories = self.probe.snapshot(slot)?.directories;
                    let of_member: Vec<_> = seen.iter().filter(|file| file.slot == slot).collect();
                    let Taken { files, durations, order } = self.probe.take_files(&of_member)?;
                    self.evicted += u64::try_from(files.len()).unwrap_or(0);
                    let fills = self.probe.take_fills(slot, &files)?;
                    let idle = Snapshot { files, directories, fills, durations, order, ..Snapshot::default() };
                    member.past = past::fold(&std::mem::take(&mut member.past).plus(&idle));
                }
                tracing::info!(evicted = self.evicted, "files that lie still left the kernel's table, which fills up");
            }
        }
        Ok(())
    }

    /// Names of the targets that run, with their PIDs.
    pub fn running(&self) -> impl Iterator<Item = (&str, u32)> {
        self.members.iter().filter_map(|(name, member)| Some((name.as_str(), member.life?.1)))
    }

    /// Whether to look at what the targets run on, and how much of their logs is in memory.
    #[must_use]
    pub const fn looks(&self) -> (bool, bool) {
        (self.limits.machine, self.limits.residency)
    }

    /// How much of a target's logs was found to be in memory.
    pub fn note_residency(&mut self, name: &str, life: Life, residency: Residency) {
        if let Some(member) = self.members.get_mut(name).filter(|member| member.number == life.0) {
            member.facts.residency = Some(Arc::new(residency));
        }
    }

    /// The running targets, and what to look at.
    #[must_use]
    pub fn subjects(&self) -> Vec<(String, Life, Subject)> {
        let running = self.members.iter().filter(|(_, member)| member.life.is_some());
        running.map(|(name, member)| (name.clone(), Life(member.number), member.facts.subject.clone())).collect()
    }

    /// What such a target was found to run on.
    pub fn note_machine(&mut self, name: &str, life: Life, machine: Machine) {
        if let Some(member) = self.members.get_mut(name).filter(|member| member.number == life.0) {
            member.facts.machine = Some(machine);
        }
    }

    /// Reads the maps: [`Self::views`] are of this moment from then on. Memory of the last time is used again.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn read(&mut self) -> Result<(), ProbeError> {
        let now = Instant::now();
        let lives = self.members.values_mut().filter_map(|member| Some((member.life?.0, &mut member.present)));
        self.usage = self.probe.read(&mut lives.collect::<Vec<_>>())?;
        self.look_at_threads()?;
        let attach = facts::attach(&self.probe);
        for (name, member) in &mut self.members {
            if let Some((_, pid)) = member.life {
                member.facts.disk_read_bytes = member.disk_reads.so_far(facts::disk_read_bytes(&self.proc, pid));
            }
            member.look(name, attach.clone(), now);
        }
        Ok(())
    }

    /// Adds up the processor time that the targets' threads used since the last time.
    fn look_at_threads(&mut self) -> Result<(), ProbeError> {
        for member in self.members.values_mut() {
            if let (Some((slot, _)), Some(account)) = (member.life, &mut member.account) {
                account.look(|tids| self.probe.sends(slot, tids))?;
                member.present.cpu = Some(account.cpu().clone());
            }
        }
        Ok(())
    }

    /// Every target as it stood when the maps were last read.
    pub fn views(&self) -> impl Iterator<Item = &View> {
        self.members.values().filter_map(|member| member.view.as_ref())
    }

    /// Takes the samples that the windows need, also where nobody asks for [`Self::read`]: only transfers are read.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn sample(&mut self) -> Result<(), ProbeError> {
        let now = Instant::now();
        self.look_at_threads()?;
        let slots: Vec<Slot> = self.members.values().filter_map(|member| Some(member.life?.0)).collect();
        let mut lives = self.probe.transfers_of(&slots)?.into_iter();
        for member in self.members.values_mut() {
            let earlier = Snapshot {
                transfers: member.past.transfers.clone(),
                other: member.past.other.clone(),
                refused: member.past.refused.clone(),
                ..Snapshot::default()
            };
            let life = member.life.and_then(|_| lives.next());
            let counts = life.map_or_else(|| earlier.clone(), |life| life.plus(&earlier));
            let attach = Attach::default();
            let mut report = report::build(&counts, &member.facts, member.window(now), attach);
            member.series.fold_listeners(&mut report);
            member.lately.sample(now, &report);
        }
        Ok(())
    }

    /// How full the maps are.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn usage(&self) -> Result<Vec<Usage>, ProbeError> {
        self.probe.usage()
    }

    /// How full the maps were at the last [`Self::read`]: to look again would be to read them again.
    #[must_use]
    pub fn last_usage(&self) -> &[Usage] {
        &self.usage
    }

    /// The leg in use and why.
    #[must_use]
    pub fn attach(&self) -> (&'static str, &str) {
        (self.probe.leg().name(), self.probe.reason())
    }
}
