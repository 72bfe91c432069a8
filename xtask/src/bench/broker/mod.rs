//! `cargo xtask bench broker`: what hooks cost a real broker, in processor time for each GB that it serves.
//!
//! A broker on a processor of its own, and one client that fetches all the time. Windows of a fraction of a second, with nothing
//! attached and with a set-up, alternate within that load, in another order each round; what a set-up adds is its window's
//! difference to those before and after.

mod load;
mod method;
mod result;
mod setup;
mod stand;
mod window;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use setup::Setup;
use stand::{Accounted, Stand};
use window::{Visit, Window};

use super::{
    hooks,
    pin::{self, Pinned},
    save::{self, Keep},
};
use crate::{build, command::install, stats};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each has every set-up whose turn it is at every listener, most of them several times
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: u64,
    /// Megabytes that the topic has
    #[arg(long, default_value_t = 600, value_name = "N", value_parser = clap::value_parser!(u64).range(20..=20_000))]
    megabytes: u64,
    /// Seconds of load at each listener that don't count: the JVM compiles what is used much
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    warm_up: u64,
    /// Only these, without keeping the result: zctrace, bare, serve, empty, bpftrace, strace
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    keep: Keep,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 40, megabytes: 600, warm_up: 60, only: Vec::new(), keep: Keep { no_save: false } }
    }
}

/// The broker's listeners, with how much zctrace may add at most, in percent.
const LISTENERS: [(&str, f64); 2] = [("PLAINTEXT", 1.0), ("SSL", 2.0)];

/// A set-up's turn.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Of [`LISTENERS`].
    listener: usize,
    setup: Setup,
    visit: Visit,
}

/// Everything that was found.
#[derive(Debug, Default)]
struct Found {
    rounds: u64,
    megabytes: u64,
    warm_up: u64,
    samples: Vec<Sample>,
    /// The kernel's account of the programs, in windows of their own.
    accounted: Vec<(usize, Setup, Accounted)>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let setups: Vec<Setup> = Setup::ALL
        .into_iter()
        .filter(|setup| {
            options.only.is_empty() || setup.is_baseline() || options.only.iter().any(|only| only == setup.key())
        })
        .collect();
    ensure!(setups.len() > 2, "--only names none of the set-ups");
    install(&hooks::PACKAGES)?;
    hooks::mount_tracefs()?;
    let built = build::release(&[("zctrace", "zctrace")], &[])?;
    let zctrace = built.get("zctrace").context("zctrace was not built")?;
    let keep = Keep { no_save: options.keep.no_save || !options.only.is_empty() };
    save::finish(&result::record(&measure(options, &setups, zctrace)?), keep, result::draw)
}

/// A few windows with a program that need not be fast: that it all works, not what it costs.
pub(crate) fn smoke(zctrace: &Path) -> anyhow::Result<()> {
    // bpftrace would bring half of a compiler, the empty program a whole one.
    let is_left_out = |setup: &Setup| matches!(setup, Setup::Bpftrace | Setup::Empty);
    let setups = Setup::ALL.into_iter().filter(|setup| !is_left_out(setup)).collect::<Vec<_>>();
    let options = Options { rounds: 1, megabytes: 20, warm_up: 1, ..Options::default() };
    let found = measure(&options, &setups, zctrace)?;
    let record = result::record(&found);
    let dir = tempfile::tempdir()?;
    result::draw(&record, dir.path())?;
    for setup in setups {
        let rows = record.measures.iter().filter(|measure| measure.row == setup.title()).count();
        ensure!(rows >= 2 * LISTENERS.len(), "{} was measured {rows} times", setup.title());
    }
    ensure!(found.accounted.iter().all(|(.., it)| it.programs.iter().any(|ran| ran.runs > 100.0)), "no program ran");
    Ok(())
}

fn measure(options: &Options, setups: &[Setup], zctrace: &Path) -> anyhow::Result<Found> {
    let cpu = pin::last()?;
    // The broker keeps the last processor for itself, where there are two.
    let _here = Pinned::to(0)?;
    let mut stand = Stand::start(zctrace, cpu, options.megabytes, setups.contains(&Setup::Empty))?;
    let mut found =
        Found { rounds: options.rounds, megabytes: options.megabytes, warm_up: options.warm_up, ..Found::default() };
    for (listener, (name, _)) in LISTENERS.iter().enumerate() {
        let until = Instant::now() + Duration::from_secs(options.warm_up);
        while Instant::now() < until {
            let window = |_: &mut _, load: &load::Load| load.window(Duration::from_secs(1));
            let window = Window::of(&stand.under_load(listener, window)?).context("nothing was served")?;
            eprintln!("warming up: {name} {:.4} s for each GB", window.per_gb());
        }
    }
    for round in 0..options.rounds {
        for listener in 0..LISTENERS.len() {
            let samples = stand.under_load(listener, |stand, load| {
                let samples = turns(setups, round).into_iter().map(|setup| {
                    let visit = stand.visit(load, setup)?;
                    Ok(Sample { listener, setup, visit })
                });
                samples.collect::<anyhow::Result<Vec<_>>>()
            })?;
            found.samples.extend(samples);
        }
        eprintln!("round {} of {}: zctrace adds {}", round + 1, options.rounds, result::so_far(&found));
    }
    for listener in 0..LISTENERS.len() {
        for setup in setups.iter().filter(|setup| setup.has_programs()) {
            let accounted = stand.under_load(listener, |stand, load| stand.account(load, *setup))?;
            found.accounted.push((listener, *setup, accounted));
        }
    }
    Ok(found)
}

/// The set-ups of a round, in its order.
fn turns(setups: &[Setup], round: u64) -> Vec<Setup> {
    let all: Vec<Setup> = setups.iter().flat_map(|setup| (0..setup.turns(round)).map(|_| *setup)).collect();
    stats::order(all.len(), round).into_iter().filter_map(|place| all.get(place).copied()).collect()
}
