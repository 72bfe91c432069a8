//! The kernel side as the agent sees it: load, attach, watch a process, read the maps. The only place that knows of
//! maps; everything after it works on [`Snapshot`]s.

mod attach;
mod batch;
mod btf;
mod clients;
mod constants;
mod cut_down;
mod error;
mod evict;
mod files;
mod fills;
#[cfg(test)]
mod fixtures;
mod instructions;
mod kernel;
mod kfunc;
mod kprobe_multi;
mod latency;
mod layout;
mod leg;
mod load;
mod mapped;
mod misses;
mod order;
mod places;
mod read;
mod release;
mod resolve;
mod sync;
mod targets;
mod threads;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use agent_ebpf::{FileCounts, PORTS_PER_WORD};
use aya::{Ebpf, maps::Array};
pub use error::ProbeError;
pub use kernel::{KernelFacts, Preemption};
pub use layout::{Layout, VMLINUX};
pub use leg::{Candidate, Leg, LegChoice, candidates};

use crate::snapshot::{Durations, File, Fills, Order, Snapshot};

/// Hooks in the kernel. They are links that live as long as this value: whatever ends the process detaches them.
pub struct Probe {
    ebpf: Ebpf,
    /// Hooks of the leg `kprobe-multi`, which are not aya's.
    links: Vec<kprobe_multi::KprobeMulti>,
    leg: Leg,
    reason: String,
    attached_in: Duration,
    targets: targets::Targets,
    capacity: Capacity,
    /// What is kept from one [`Probe::read`] to the next.
    known: files::Known,
    parts: Parts,
    missing: Missing,
}

/// Why parts that were asked for are not counted: `None` of those that are, or were not to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Missing {
    page_cache: Option<String>,
    clients: Option<String>,
    latency: Option<String>,
    order: Option<String>,
    syncs: Option<String>,
}

/// What is counted beside the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Pages that come into the page cache.
    pub page_cache: bool,
    /// How long calls take, and from which time on one is slow: hooks their entry.
    pub latency: Option<Duration>,
    /// Traffic by remote address: of so many for each target, counted by listener.
    pub clients: Option<u32>,
    /// In what order files are read and written, and what `sendfile` does not send.
    pub order: bool,
    /// Calls that wait until what was written is on disk: hooks their beginning and their end.
    pub syncs: bool,
}

/// What was counted of files that left the kernel's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What moved.
    pub files: Vec<File>,
    /// How long the calls took; `None` where that is not measured.
    pub durations: Option<Durations>,
    /// In what order; `None` where that is not counted.
    pub order: Option<Order>,
}

/// Counts of a file and a port at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCount {
    /// Whose file.
    pub slot: Slot,
    counts: FileCounts,
}

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its name, in small letters.
    pub map: &'static str,
    /// Entries in it.
    pub entries: u32,
    /// The most that it takes.
    pub capacity: u32,
}

/// How much can be told apart. What exceeds it is still counted, as `(other)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Processes watched at the same time. Unlike the others, one more is refused.
    pub targets: u16,
    /// Kinds of transfer (call, endpoints, listener) of all processes.
    pub transfers: u32,
    /// Files of all processes.
    pub files: u32,
    /// Directories that the files are in.
    pub directories: u32,
}

impl Default for Capacity {
    /// One process with a few dozen listeners and some ten thousand segments: 28 MB of the kernel's memory on two
    /// processors by its own account (`memlock` in `/proc/PID/fdinfo`), with all that is counted by default; 0.3 MB for each one more.
    fn default() -> Self {
        Self { targets: 1, transfers: 1024, files: 32_768, directories: 16_384 }
    }
}

/// Where the counts of one watched process lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u16);

impl Probe {
    /// Loads the program, with maps of `capacity`, and attaches it by the best leg that `choice` and the
    /// kernel allow. Nothing is counted yet.
    ///
    /// # Errors
    /// What is missing and how to mend it: see [`ProbeError`].
    pub fn attach(choice: LegChoice, capacity: Capacity) -> Result<Self, ProbeError> {
        Self::attach_with(choice, capacity, Parts::default())
    }

    /// The same, with what else is to be counted. A part that this kernel does not allow is left out: see
    /// [`Self::missing`].
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn attach_with(choice: LegChoice, capacity: Capacity, parts: Parts) -> Result<Self, ProbeError> {
        let started = Instant::now();
        let load::Attached { ebpf, links, leg, reason, parts, missing } = load::attach(choice, capacity, parts)?;
        let attached_in = started.elapsed();
        tracing::debug!(%leg, reason, ?parts, "attached");
        Ok(Self {
            ebpf,
            links,
            leg,
            reason,
            attached_in,
            targets: targets::Targets::new(capacity.targets),
            capacity,
            known: files::Known::default(),
            parts,
            missing,
        })
    }

    /// What was asked for and is not counted, and why: a sentence each.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let Missing { page_cache, latency, clients, order, syncs } = &self.missing;
        let sentences = [
            ("What comes into the page cache is not counted, so cache hits are not known", page_cache),
            ("How long calls take is not measured", latency),
            ("Clients are not told apart", clients),
            ("In what order files are read and written is not told", order),
            ("Calls that wait for the disk are not counted", syncs),
        ];
        sentences.into_iter().filter_map(|(what, why)| Some(format!("{what}: {}.", why.as_ref()?))).collect()
    }

    /// From which duration on a call is slow; `None` where durations are not measured.
    #[must_use]
    pub const fn slow(&self) -> Option<Duration> {
        self.parts.latency
    }

    /// How many clients are told apart; `None` where they are not.
    #[must_use]
    pub const fn clients(&self) -> Option<u32> {
        self.parts.clients
    }

    /// The leg in use.
    #[must_use]
    pub const fn leg(&self) -> Leg {
        self.leg
    }

    /// Why this leg.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How long it took to load the program and attach it.
    #[must_use]
    pub const fn attached_in(&self) -> Duration {
        self.attached_in
    }

    /// Begins to count the calls of the process that is called `pid` in this process's PID namespace. `listening`
    /// tells the ports that are listened on already; those opened from now on are noticed by the program itself, also
    /// while `listening` looks.
    ///
    /// # Errors
    /// [`ProbeError::TargetGone`] if there is no such process, [`ProbeError::TooManyTargets`], or what the kernel said.
    pub fn watch(&mut self, pid: u32, listening: impl FnOnce() -> BTreeSet<u16>) -> Result<Slot, ProbeError> {
        let identity = resolve::resolve(&mut self.ebpf, pid)?;
        let slot = self.targets.insert(&mut self.ebpf, identity)?;
        for port in listening() {
            self.note_listener(slot, port)?;
        }
        self.targets.set_counting(&mut self.ebpf, slot, true)?;
        Ok(slot)
    }

    /// Stops counting, so that what is read from now on stays as it is.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn stop(&mut self, slot: Slot) -> Result<(), ProbeError> {
        self.targets.set_counting(&mut self.ebpf, slot, false)?;
        targets::wait_for_running_programs();
        Ok(())
    }

    /// Lets a process go and forgets what was counted for it: take its last [`Self::snapshot`] before.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn release(&mut self, slot: Slot) -> Result<(), ProbeError> {
        self.targets.remove(&mut self.ebpf, slot)?;
        release::clear(&mut self.ebpf, slot.0, self.parts)?;
        if self.parts.syncs {
            sync::clear(&mut self.ebpf, slot.0)?;
        }
        if self.parts.clients.is_some() {
            clients::clear(&mut self.ebpf, slot.0)?;
        }
        if self.parts.page_cache {
            fills::clear(&mut self.ebpf, slot.0)?;
        }
        self.targets.free(slot);
        Ok(())
    }

    /// Every entry of the table of files, of every target, with what moved so far.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn files(&self) -> Result<Vec<FileCount>, ProbeError> {
        evict::files(&self.ebpf)
    }

    /// Takes those entries out of the kernel's table to which nothing was added since they were `seen`: their counts are
    /// the caller's now, how long the calls took that moved their bytes, and in what order these were read and written.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn take_files(&mut self, seen: &[&FileCount]) -> Result<Taken, ProbeError> {
        evict::take(&mut self.ebpf, seen, self.parts)
    }

    /// Takes what came into the page cache of files that left the table: it is the caller's now.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn take_fills(&mut self, slot: Slot, files: &[File]) -> Result<Option<Fills>, ProbeError> {
        if !self.parts.page_cache {
            return Ok(None);
        }
        let inodes = files.iter().map(|file| file.inode).collect();
        Ok(Some(Fills { files: fills::take(&mut self.ebpf, slot.0, &inodes)?, ..Fills::default() }))
    }

    /// Forgets the names of directories in which no file of the table lies.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn forget_directories(&mut self) -> Result<(), ProbeError> {
        self.known.forget_directories();
        evict::directories(&mut self.ebpf)
    }

    /// How full the maps are that can fill.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn usage(&self) -> Result<Vec<Usage>, ProbeError> {
        read::usage(&self.ebpf, self.capacity)
    }

    fn note_listener(&mut self, slot: Slot, port: u16) -> Result<(), ProbeError> {
        let index = agent_ebpf::listener_index(u32::from(slot.0), port);
        let mut listeners: Array<_, [u8; PORTS_PER_WORD]> = load::map_mut(&mut self.ebpf, "LISTENERS")?;
        let what = "note a listener";
        let mut ports = listeners.get(&index, 0).map_err(|error| ProbeError::from_bpf(what, &error))?;
        ports[usize::from(port) % PORTS_PER_WORD] = 1;
        listeners.set(index, ports, 0).map_err(|error| ProbeError::from_bpf(what, &error))
    }

    /// Everything counted for a process so far.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn snapshot(&self, slot: Slot) -> Result<Snapshot, ProbeError> {
        let mut snapshot = Snapshot::default();
        read::snapshots(
            &self.ebpf,
            &mut [(slot.0, &mut snapshot)],
            &mut files::Known::default(),
            self.capacity,
            self.parts,
            self.missed_calls()?,
        )?;
        Ok(snapshot)
    }

    /// Everything counted for some processes so far, and how full the maps are. Each map is read once for all of them. Each
    /// snapshot must be of the same process that it was read of before, if it was: its memory is used again.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn read(&mut self, lives: &mut [(Slot, &mut Snapshot)]) -> Result<Vec<Usage>, ProbeError> {
        let mut lives: Vec<(u16, &mut Snapshot)> = lives.iter_mut().map(|(slot, life)| (slot.0, &mut **life)).collect();
        let missed = self.missed_calls()?;
        read::snapshots(&self.ebpf, &mut lives, &mut self.known, self.capacity, self.parts, missed)
    }

    fn missed_calls(&self) -> Result<u64, ProbeError> {
        misses::missed_calls(&self.ebpf, &self.links)
    }

    /// Only the transfers: what a progress line or a window's sample needs, cheaper than [`Self::snapshot`].
    ///
    /// # Errors
    /// What the kernel said.
    pub fn transfers(&self, slot: Slot) -> Result<Snapshot, ProbeError> {
        Ok(self.transfers_of(&[slot])?.pop().unwrap_or_default())
    }

    /// The same for some processes, in their order.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn transfers_of(&self, slots: &[Slot]) -> Result<Vec<Snapshot>, ProbeError> {
        let numbers: Vec<u16> = slots.iter().map(|slot| slot.0).collect();
        let (transfers, _) = read::transfers(&self.ebpf, &numbers)?;
        let with_other = |(slot, kinds): (u16, read::Kinds)| {
            let other = read::other(&self.ebpf, slot)?;
            Ok(Snapshot { transfers: kinds.transfers, refused: kinds.refused, other, ..Snapshot::default() })
        };
        numbers.into_iter().zip(transfers).map(with_other).collect()
    }

    /// How often each of these threads of a process sent from memory, by port; those that never did are left out. Thread ids are
    /// the kernel's: see [`Self::is_called`].
    ///
    /// # Errors
    /// What the kernel said.
    pub fn sends(&self, slot: Slot, tids: &[u32]) -> Result<BTreeMap<u32, BTreeMap<u32, u64>>, ProbeError> {
        threads::sends(&self.ebpf, slot.0, tids)
    }

    /// Whether the agent calls a process as the kernel does: not in a PID namespace of its own.
    #[must_use]
    pub fn is_called(&self, slot: Slot, pid: u32) -> bool {
        self.targets.tgid(slot) == Some(pid)
    }

    /// The ports known as listeners' by now, those that the target opened while it was watched included.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn listeners(&self, slot: Slot) -> Result<BTreeSet<u16>, ProbeError> {
        read::listeners(&self.ebpf, slot.0)
    }
}
