//! `cargo xtask bench hooks`: nanoseconds that each hook adds to a call, in interleaved rounds.

mod cells;
mod hook;
mod kernel;
mod programs;
mod result;

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context as _, bail};
pub(super) use cells::CELLS;
use cells::{Times, Workers};
use hook::Tools;
pub(super) use hook::{Hook, Variant};
pub(super) use kernel::Program;
pub(super) use programs::{Link, Programs};

use super::{
    pin::{self, Pinned},
    save::{self, Keep},
};
use crate::{
    build,
    command::{install, quietly},
    stats,
};

/// Debian's packages: what is compared with, and what compiles the programs in C.
pub(super) const PACKAGES: [&str; 6] = ["bpftrace", "clang", "libbpf-dev", "libc6-dev", "strace", "util-linux"];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each attaches and detaches every hook once
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Only these, without keeping the result: empty, bare, bare-hash, bare-untyped, raw, 'raw without order', tracepoint, fexit, bpftrace, bpftrace-pair, strace
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
pub(super) struct Row {
    pub(super) added: Vec<Times>,
    pub(super) programs: Vec<Program>,
    /// Why it can't be measured here.
    pub(super) absent: Option<String>,
}

impl Row {
    pub(super) fn samples(&self, cell: usize) -> Vec<f64> {
        self.added.iter().filter_map(|times| times.get(cell).copied()).collect()
    }
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// By the hooks' keys.
    pub(super) rows: BTreeMap<String, Row>,
    /// The calls themselves, with nothing attached.
    base: Vec<Times>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let hooks: Vec<Hook> = Hook::all(&["raw", "tracepoint", "fexit"])
        .into_iter()
        .filter(|hook| options.only.is_empty() || options.only.contains(&hook.key()))
        .collect();
    if hooks.is_empty() {
        bail!("--only names none of the hooks");
    }
    let found = measure(&hooks, options.rounds)?;
    let keep = Keep { no_save: options.keep.no_save || !options.only.is_empty() };
    save::finish(&result::record(options.rounds, &hooks, &found.rows, &found.base), keep, result::draw)
}

/// Every hook in every round, between calls without.
pub(super) fn measure(hooks: &[Hook], rounds: u64) -> anyhow::Result<Found> {
    install(&PACKAGES)?;
    mount_tracefs()?;
    let built = build::release(&[("zctrace", "zctrace"), ("testkit", "bench-worker")], &[])?;
    let path = |name: &str| built.get(name).cloned().with_context(|| format!("{name} was not built"));
    // This process and the tools that it starts keep away from the processor that is measured on, where there are two.
    let cpu = pin::last()?;
    let _here = Pinned::to(0)?;
    let dir = tempfile::tempdir()?;
    let object = dir.path().join("programs.bpf.o");
    programs::compile(&object)?;
    let (zctrace, worker) = (path("zctrace")?, path("bench-worker")?);
    // New ones for each round: where their code lies, by chance, decides what of the kernel's the processor takes it for, and
    // that costs or saves a call a hundred nanoseconds, with a hook as without.
    let start = |name: &str| -> anyhow::Result<(Workers, Tools)> {
        let workers = Workers::start(&worker, cpu, &dir.path().join(name))?;
        let programs = Programs::load(&object, workers.traced())?;
        let tools = Tools { zctrace: zctrace.clone(), programs, pid: workers.traced(), cpu };
        Ok((workers, tools))
    };
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let (mut workers, mut tools) = start("account")?;
    for hook in hooks {
        let row = rows.entry(hook.key()).or_default();
        match kernel::programs(&mut tools, hook, &mut workers) {
            Ok(programs) => row.programs = programs,
            Err(error) => row.absent = Some(format!("{error:#}")),
        }
    }
    let mut base: Vec<Times> = Vec::new();
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        (workers, tools) = start(&round.to_string())?;
        for index in stats::order(hooks.len(), round) {
            let Some(hook) = hooks.get(index) else { continue };
            let Some(row) = rows.get_mut(&hook.key()).filter(|row| row.absent.is_none()) else { continue };
            let without = workers.measure(false)?;
            let attached = tools.attach(hook)?;
            let with = workers.measure(hook.is_slow())?;
            drop(attached);
            row.added.push(std::array::from_fn(|cell| with[cell] - without[cell]));
            base.push(without);
        }
    }
    eprintln!();
    Ok(Found { rows, base })
}

/// The programs in C for a process, compiled and loaded.
pub(super) fn programs_for(pid: u32) -> anyhow::Result<Programs> {
    let dir = tempfile::tempdir()?;
    let object = dir.path().join("programs.bpf.o");
    programs::compile(&object)?;
    Programs::load(&object, pid)
}

pub(super) fn mount_tracefs() -> anyhow::Result<()> {
    let tracefs = std::path::Path::new("/sys/kernel/tracing");
    if !tracefs.join("events").is_dir() {
        quietly(Command::new("mount").args(["-t", "tracefs", "none"]).arg(tracefs))
            .context("bpftrace needs tracefs")?;
    }
    Ok(())
}
