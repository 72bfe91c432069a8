//! Places for counts: indices into the arrays that hold them. The program gives them out; the agent takes them back from
//! keys that it removed.
//!
//! The program remembers where the places of a key are. Before a place is given back, everything that is remembered is made
//! void and programs that still run are waited for: only then is it sure that nobody adds to it any more.

use agent_ebpf::{EPOCH_SECTION, STATE_NEXT_FILE, STATE_NEXT_TRANSFER};
use aya::{
    Ebpf,
    maps::{Array, Queue},
};

use super::{ProbeError, load, targets};

const STATE: &str = "STATE";

/// Which array.
#[derive(Clone, Copy)]
pub(super) enum Places {
    Transfers,
    Files,
}

impl Places {
    const fn queue(self) -> &'static str {
        match self {
            Self::Transfers => "FREE_TRANSFERS",
            Self::Files => "FREE_FILES",
        }
    }

    const fn next(self) -> u32 {
        match self {
            Self::Transfers => STATE_NEXT_TRANSFER,
            Self::Files => STATE_NEXT_FILE,
        }
    }

    /// How many places were ever asked for: what lies behind was never touched. More than there are, where some were refused.
    pub(super) fn used(self, ebpf: &Ebpf) -> Result<u32, ProbeError> {
        let state: Array<load::Borrowed<'_>, u64> = load::map(ebpf, STATE)?;
        let used = state.get(&self.next(), 0).map_err(|error| ProbeError::from_bpf("read the map STATE", &error))?;
        Ok(u32::try_from(used).unwrap_or(u32::MAX))
    }

    /// Gives places back. They must be all zero, and [`retire`] must have been called since their keys were removed.
    pub(super) fn give_back(self, ebpf: &mut Ebpf, places: &[u32]) -> Result<(), ProbeError> {
        let mut queue: Queue<_, u32> = load::map_mut(ebpf, self.queue())?;
        places
            .iter()
            .try_for_each(|place| queue.push(*place, 0))
            .map_err(|error| ProbeError::from_bpf(format!("use the map {}", self.queue()), &error))
    }

    /// For a kernel without `BPF_FETCH`: every place is given out by the queue.
    pub(super) fn give_all(self, ebpf: &mut Ebpf, capacity: u32) -> Result<(), ProbeError> {
        let all: Vec<u32> = (0..capacity).collect();
        self.give_back(ebpf, &all)?;
        set(ebpf, self.next(), u64::from(capacity))
    }
}

/// Returns when nobody adds any more to the places of keys that were removed before.
pub(super) fn retire(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let mut epoch: Array<_, u64> = load::map_mut(ebpf, EPOCH_SECTION)?;
    let failed = |error| ProbeError::from_bpf(format!("change the map {EPOCH_SECTION}"), &error);
    let next = epoch.get(&0, 0).map_err(failed)? + 1;
    epoch.set(0, next, 0).map_err(failed)?;
    targets::wait_for_running_programs();
    Ok(())
}

fn set(ebpf: &mut Ebpf, word: u32, value: u64) -> Result<(), ProbeError> {
    let mut state: Array<_, u64> = load::map_mut(ebpf, STATE)?;
    state.set(word, value, 0).map_err(|error| ProbeError::from_bpf("change the map STATE", &error))
}
