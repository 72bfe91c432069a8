//! The kernel's own account of programs: how often they ran and how long (`BPF_ENABLE_STATS`, Linux 5.8).

use std::os::fd::OwnedFd;

use anyhow::Context as _;
use aya::{
    programs::{ProgramInfo, loaded_programs},
    sys::{Stats, enable_stats},
};

/// What the kernel says of the programs with these ids now.
pub(super) fn programs(ids: &[u32]) -> anyhow::Result<Vec<ProgramInfo>> {
    let all: Vec<ProgramInfo> = loaded_programs().collect::<Result<_, _>>().context("the kernel lists no programs")?;
    Ok(all.into_iter().filter(|info| ids.contains(&info.id())).collect())
}

/// An account over some time. While it runs, the kernel reads its clock twice a run: what is timed meanwhile is slower.
pub(super) struct Account {
    ids: Vec<u32>,
    before: Vec<ProgramInfo>,
    _clock: OwnedFd,
}

/// What a program did meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ran {
    pub(super) name: String,
    pub(super) runs: f64,
    /// Seconds, the kernel's clock readings in them.
    pub(super) seconds: f64,
    /// Instructions that the verifier looked at, over all paths.
    pub(super) verified: Option<u32>,
    /// Bytes of machine code.
    pub(super) code: u32,
}

impl Account {
    pub(super) fn open(ids: Vec<u32>) -> anyhow::Result<Self> {
        let clock = enable_stats(Stats::RunTime).context("the kernel does not measure run times")?;
        Ok(Self { before: programs(&ids)?, ids, _clock: clock })
    }

    /// The programs that ran.
    pub(super) fn close(self) -> anyhow::Result<Vec<Ran>> {
        let after = programs(&self.ids)?;
        let ran = after.iter().filter_map(|after| {
            let before = self.before.iter().find(|before| before.id() == after.id())?;
            let runs = after.run_count().saturating_sub(before.run_count());
            let taken = after.run_time().saturating_sub(before.run_time());
            #[allow(clippy::cast_precision_loss)] // far below 2^53
            (runs > 0).then(|| Ran {
                name: after.name_as_str().unwrap_or("?").to_owned(),
                runs: runs as f64,
                seconds: taken.as_secs_f64(),
                verified: after.verified_instruction_count(),
                code: after.size_jitted(),
            })
        });
        Ok(ran.collect())
    }
}
