//! The table of watched processes that the program searches.

use agent_ebpf::{TARGET_BUCKETS, TARGET_PROBES, TARGET_REMOVED, TARGETS_SECTION, Target};
use aya::{Ebpf, maps::Array};

use super::{ProbeError, Slot, load};

type Table = [Target; TARGET_BUCKETS as usize];

/// The agent's own copy of what it has put into the table.
pub(super) struct Targets {
    table: Box<Table>,
    slots: Vec<Option<Watched>>,
}

#[derive(Clone, Copy)]
struct Watched {
    bucket: usize,
    target: Target,
}

impl Targets {
    pub(super) fn new(max_targets: u16) -> Self {
        Self {
            table: Box::new([Target::default(); TARGET_BUCKETS as usize]),
            slots: vec![None; usize::from(max_targets.max(1))],
        }
    }

    /// Enters a process, not counted yet.
    pub(super) fn insert(&mut self, ebpf: &mut Ebpf, identity: Target) -> Result<Slot, ProbeError> {
        let full = ProbeError::TooManyTargets(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        let Some((slot, free)) = (0..).zip(&mut self.slots).find(|(_, watched)| watched.is_none()) else {
            return Err(full);
        };
        let buckets = (0..TARGET_PROBES).map(|probe| (identity.tgid.wrapping_add(probe) % TARGET_BUCKETS) as usize);
        let is_free = |bucket: &usize| matches!(self.table[*bucket].tgid, 0 | TARGET_REMOVED);
        let Some(bucket) = buckets.into_iter().find(is_free) else { return Err(full) };
        let target = Target { slot, counting: 0, ..identity };
        *free = Some(Watched { bucket, target });
        self.set(ebpf, bucket, target)?;
        Ok(Slot(slot))
    }

    /// Takes a process out of the table. Its slot stays taken until it is [freed](Self::free).
    pub(super) fn remove(&mut self, ebpf: &mut Ebpf, slot: Slot) -> Result<(), ProbeError> {
        let Some(Some(watched)) = self.slots.get(usize::from(slot.0)) else { return Ok(()) };
        self.set(ebpf, watched.bucket, Target { tgid: TARGET_REMOVED, ..Target::default() })
    }

    /// The thread-group id of a process in the initial PID namespace.
    pub(super) fn tgid(&self, slot: Slot) -> Option<u32> {
        self.slots.get(usize::from(slot.0)).copied().flatten().map(|watched| watched.target.tgid)
    }

    /// Makes a slot ready for another process.
    pub(super) fn free(&mut self, slot: Slot) {
        if let Some(watched) = self.slots.get_mut(usize::from(slot.0)) {
            *watched = None;
        }
    }

    /// Begins or ends counting.
    pub(super) fn set_counting(&mut self, ebpf: &mut Ebpf, slot: Slot, counting: bool) -> Result<(), ProbeError> {
        let Some(Some(watched)) = self.slots.get_mut(usize::from(slot.0)) else { return Ok(()) };
        watched.target.counting = u16::from(counting);
        let (bucket, target) = (watched.bucket, watched.target);
        self.set(ebpf, bucket, target)
    }

    /// Changes a bucket. The table is one value, of which the kernel writes what did not change once more, too.
    fn set(&mut self, ebpf: &mut Ebpf, bucket: usize, target: Target) -> Result<(), ProbeError> {
        self.table[bucket] = target;
        let mut map: Array<_, Table> = load::map_mut(ebpf, TARGETS_SECTION)?;
        let table: &Table = &self.table;
        map.set(0, table, 0).map_err(|error| ProbeError::from_bpf("change the table of targets", &error))
    }
}

/// Waits until every program that was running when this was called has ended. A program runs with preemption disabled,
/// and `membarrier(2)` waits for every such section of the kernel.
pub(super) fn wait_for_running_programs() {
    /// `MEMBARRIER_CMD_GLOBAL`, include/uapi/linux/membarrier.h.
    const GLOBAL: libc::c_long = 1;
    // SAFETY: a call without pointers. Where the kernel lacks it, a call that is just being counted may be missed.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "membarrier");
    }
}
