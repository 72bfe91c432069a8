//! What the kernel says of programs: the verifier's numbers, and its own account of their run time
//! (`BPF_ENABLE_STATS`). Counts of instructions don't depend on a noisy machine.

use std::fmt;

use anyhow::Context as _;
use aya::{
    programs::ProgramInfo,
    sys::{Stats, enable_stats},
};

use super::{
    cells::{CELLS, Workers},
    hook::{Hook, Tools},
};
use crate::bench::{
    account::programs as infos,
    record::{Record, exactly},
};

/// Calls of each kind while the kernel's clock runs.
const CALLS: u32 = 20_000;

/// A program in the kernel.
pub(in crate::bench) struct Program {
    pub(in crate::bench) name: String,
    /// Instructions that the verifier looked at, over all paths.
    pub(in crate::bench) verified: Option<u32>,
    /// Bytes of machine code.
    pub(in crate::bench) jitted: u32,
    /// Nanoseconds a run by the kernel's clock, whose two readings are in it, for each of [`CELLS`]: `None` where it
    /// did not run.
    pub(in crate::bench) nanoseconds: [Option<f64>; CELLS.len()],
}

impl Program {
    /// Into the table of such accounts, as that of `owner`.
    pub(in crate::bench) fn note(&self, record: &mut Record, owner: &str) {
        const TABLE: &str = "The kernel's own account of the programs";
        let row = format!("{owner}: `{}`", self.name);
        let mut add =
            |column: &str, unit: &str, value| record.measure([TABLE, &row, column], unit, Some(exactly(value)));
        if let Some(verified) = self.verified {
            add("verified instructions", "", f64::from(verified));
        }
        add("machine code", "bytes", f64::from(self.jitted));
        for (cell, time) in CELLS.iter().zip(self.nanoseconds) {
            if let Some(time) = time {
                add(&format!("run for {}", cell.name), "ns", time.round());
            }
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs =
            CELLS.iter().zip(self.nanoseconds).filter_map(|(cell, time)| Some(format!("{} {:.0}", cell.name, time?)));
        write!(
            f,
            "{}: {} instructions verified, {} bytes of code; ns a run: {}",
            self.name,
            self.verified.map_or_else(|| "?".to_owned(), |count| count.to_string()),
            self.jitted,
            runs.collect::<Vec<_>>().join(", ")
        )
    }
}

/// The programs of a hook. Those that did not run for any call are left out: helpers that only run at the start.
pub(in crate::bench) fn programs(
    tools: &mut Tools,
    hook: &Hook,
    workers: &mut Workers,
) -> anyhow::Result<Vec<Program>> {
    let attached = tools.attach(hook)?;
    if hook.is_slow() {
        return Ok(Vec::new());
    }
    let ids = tools.program_ids(&attached)?;
    let mut programs: Vec<Program> = infos(&ids)?.iter().map(describe).collect();
    let _clock = enable_stats(Stats::RunTime).context("the kernel does not measure run times")?;
    for (index, cell) in CELLS.into_iter().enumerate() {
        let before = infos(&ids)?;
        workers.run(cell, CALLS)?;
        for ((program, before), after) in programs.iter_mut().zip(before).zip(infos(&ids)?) {
            let runs = after.run_count().saturating_sub(before.run_count());
            // Fewer are runs for somebody else's calls.
            if runs < u64::from(CALLS) {
                continue;
            }
            let taken = after.run_time().saturating_sub(before.run_time());
            if let Some(time) = program.nanoseconds.get_mut(index) {
                *time = Some(taken.as_secs_f64() * 1e9 / f64::from(u32::try_from(runs).unwrap_or(u32::MAX)));
            }
        }
    }
    programs.retain(|program| program.nanoseconds.iter().any(Option::is_some));
    Ok(programs)
}

fn describe(info: &ProgramInfo) -> Program {
    Program {
        name: info.name_as_str().unwrap_or("?").to_owned(),
        verified: info.verified_instruction_count(),
        jitted: info.size_jitted(),
        nanoseconds: [None; CELLS.len()],
    }
}
