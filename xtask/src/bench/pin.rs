//! Who runs on which processor.

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The last processor: the one that is measured on. Where there are two, everything else keeps away from it.
pub(super) fn last() -> anyhow::Result<usize> {
    let cpus = sched_getaffinity(None).context("the processors can't be told")?;
    (0..CpuSet::MAX_CPU).rev().find(|cpu| cpus.is_set(*cpu)).context("there is no processor")
}

/// This thread, and what it starts meanwhile, keeps to one processor; until this is dropped.
pub(super) struct Pinned(CpuSet);

impl Pinned {
    pub(super) fn to(cpu: usize) -> anyhow::Result<Self> {
        let before = sched_getaffinity(None).context("the processors can't be told")?;
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(None, &cpus).with_context(|| format!("nothing can be bound to processor {cpu}"))?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Where that fails, the rest of this run keeps to one processor.
        let _ = sched_setaffinity(None, &self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_bound_and_let_go() {
        let before = sched_getaffinity(None).unwrap();
        let last = last().unwrap();
        let pinned = Pinned::to(last).unwrap();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        drop(pinned);
        assert_eq!(sched_getaffinity(None).unwrap().count(), before.count());
    }
}
