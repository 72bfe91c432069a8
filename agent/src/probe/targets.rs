//! The table of watched processes that the program searches.

use agent_ebpf::{TARGET_BUCKETS, TARGET_PROBES, TARGET_REMOVED, Target};
use aya::{Ebpf, maps::Array};

use super::{ProbeError, Slot, load};

/// The agent's own copy of what it has put into the table.
pub(super) struct Targets {
    slots: Vec<Option<Watched>>,
}

#[derive(Clone, Copy)]
struct Watched {
    bucket: u32,
    target: Target,
}

impl Targets {
    pub(super) fn new(max_targets: u16) -> Self {
        Self { slots: vec![None; usize::from(max_targets.max(1))] }
    }

    /// Enters a process, not counted yet.
    pub(super) fn insert(&mut self, ebpf: &mut Ebpf, identity: Target) -> Result<Slot, ProbeError> {
        let full = ProbeError::TooManyTargets(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        let Some((slot, free)) = (0..).zip(&mut self.slots).find(|(_, watched)| watched.is_none()) else {
            return Err(full);
        };
        let mut table: Array<_, Target> = load::map_mut(ebpf, "TARGETS")?;
        let what = "enter the process into the table of targets";
        for probe in 0..TARGET_PROBES {
            let bucket = identity.tgid.wrapping_add(probe) % TARGET_BUCKETS;
            let there = table.get(&bucket, 0).map_err(|error| ProbeError::from_bpf(what, &error))?;
            if there.tgid == 0 || there.tgid == TARGET_REMOVED {
                let target = Target { slot, counting: 0, ..identity };
                table.set(bucket, target, 0).map_err(|error| ProbeError::from_bpf(what, &error))?;
                *free = Some(Watched { bucket, target });
                return Ok(Slot(slot));
            }
        }
        Err(full)
    }

    /// Takes a process out of the table. Its slot stays taken until it is [freed](Self::free).
    pub(super) fn remove(&mut self, ebpf: &mut Ebpf, slot: Slot) -> Result<(), ProbeError> {
        let Some(Some(watched)) = self.slots.get(usize::from(slot.0)) else { return Ok(()) };
        let mut table: Array<_, Target> = load::map_mut(ebpf, "TARGETS")?;
        table
            .set(watched.bucket, Target { tgid: TARGET_REMOVED, ..Target::default() }, 0)
            .map_err(|error| ProbeError::from_bpf("change the table of targets", &error))
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
        let mut table: Array<_, Target> = load::map_mut(ebpf, "TARGETS")?;
        table
            .set(watched.bucket, watched.target, 0)
            .map_err(|error| ProbeError::from_bpf("change the table of targets", &error))
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
