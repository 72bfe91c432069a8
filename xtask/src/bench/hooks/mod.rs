//! `cargo xtask bench hooks`: nanoseconds that each hook adds to a call, in interleaved rounds.

mod cells;
mod hook;
mod kernel;
mod programs;
mod result;

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context as _, bail};
use cells::{Times, Workers};
use hook::{Hook, Tools};
use kernel::Program;

use super::save::{self, Keep};
use crate::{
    build,
    command::{install, quietly},
    stats,
};

/// Debian's packages: what is compared with, and what compiles the programs in C.
const PACKAGES: [&str; 6] = ["bpftrace", "clang", "libbpf-dev", "libc6-dev", "strace", "util-linux"];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each attaches and detaches every hook once
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Only these, without keeping the result: empty, bare, bare-untyped, raw, tracepoint, fexit, bpftrace, bpftrace-pair, strace
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    keep: Keep,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 20, only: Vec::new(), keep: Keep { no_save: false } }
    }
}

/// One hook's added nanoseconds, a value a round.
#[derive(Default)]
struct Row {
    added: Vec<Times>,
    programs: Vec<Program>,
    /// Why it can't be measured here.
    absent: Option<String>,
}

impl Row {
    fn samples(&self, cell: usize) -> Vec<f64> {
        self.added.iter().filter_map(|times| times.get(cell).copied()).collect()
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    install(&PACKAGES)?;
    mount_tracefs()?;
    let built = build::release(&[("zctrace", "zctrace"), ("testkit", "bench-worker")], &[])?;
    let path = |name: &str| built.get(name).cloned().with_context(|| format!("{name} was not built"));
    let dir = tempfile::tempdir()?;
    let cpus = std::thread::available_parallelism()?.get();
    // This process and the tools that it starts keep away from the processor that is measured on, where there are two.
    let cpu = cpus - 1;
    pin(0)?;
    let mut workers = Workers::start(&path("bench-worker")?, cpu, dir.path())?;
    let programs = programs::Programs::load(dir.path(), workers.traced())?;
    let mut tools = Tools { zctrace: path("zctrace")?, programs, pid: workers.traced(), cpu };

    let legs = ["raw", "tracepoint", "fexit"].map(str::to_owned);
    let hooks: Vec<Hook> = Hook::all(&legs)
        .into_iter()
        .filter(|hook| options.only.is_empty() || options.only.contains(&hook.key()))
        .collect();
    if hooks.is_empty() {
        bail!("--only names none of the hooks");
    }
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for hook in &hooks {
        let row = rows.entry(hook.key()).or_default();
        match kernel::programs(&mut tools, hook, &mut workers) {
            Ok(programs) => row.programs = programs,
            Err(error) => row.absent = Some(format!("{error:#}")),
        }
    }
    let mut base: Vec<Times> = Vec::new();
    for round in 0..options.rounds {
        eprint!("\rround {} of {}", round + 1, options.rounds);
        let mut before = workers.measure(false)?;
        for index in stats::order(hooks.len(), round) {
            let Some(hook) = hooks.get(index) else { continue };
            let Some(row) = rows.get_mut(&hook.key()).filter(|row| row.absent.is_none()) else { continue };
            let attached = tools.attach(hook)?;
            let with = workers.measure(hook.is_slow())?;
            drop(attached);
            let after = workers.measure(false)?;
            row.added.push(std::array::from_fn(|cell| with[cell] - f64::midpoint(before[cell], after[cell])));
            base.push(before);
            before = after;
        }
    }
    eprintln!();
    let keep = Keep { no_save: options.keep.no_save || !options.only.is_empty() };
    save::finish(&result::record(options.rounds, &hooks, &rows, &base), keep, result::draw)
}

/// Keeps this thread, and what it starts, on one processor.
fn pin(cpu: usize) -> anyhow::Result<()> {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(cpu);
    rustix::thread::sched_setaffinity(None, &cpus).context("the benchmark can't be bound to a processor")
}

fn mount_tracefs() -> anyhow::Result<()> {
    let tracefs = std::path::Path::new("/sys/kernel/tracing");
    if !tracefs.join("events").is_dir() {
        quietly(Command::new("mount").args(["-t", "tracefs", "none"]).arg(tracefs))
            .context("bpftrace needs tracefs")?;
    }
    Ok(())
}
