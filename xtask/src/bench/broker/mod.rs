//! `cargo xtask bench broker`: what hooks cost a real broker, in processor time for each GB that it serves.
//!
//! A broker on a processor of its own, one consumer for each listener that reads the same topic again and again from the page
//! cache through the same connections. Readings with nothing attached and with each set-up alternate, in another order each
//! round; what a set-up adds is its difference to the readings without in the same round.

mod reading;
mod result;
mod setup;

use std::path::Path;

use anyhow::{Context as _, ensure};
use reading::{Accounted, Reading, Stand};
use setup::Setup;

use super::{
    hooks,
    pin::{self, Pinned},
    save::{self, Keep},
};
use crate::{build, command::install, stats};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each has readings without anything, and one of each set-up whose turn it is
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: u64,
    /// Megabytes that are read each time
    #[arg(long, default_value_t = 600, value_name = "N", value_parser = clap::value_parser!(u64).range(20..=20_000))]
    megabytes: u64,
    /// Readings of each listener that don't count: the JVM compiles what is used much
    #[arg(long, default_value_t = 25, value_name = "N")]
    warm_up: u64,
    /// Only these, without keeping the result: zctrace, bare, serve, bpftrace, strace
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    keep: Keep,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 50, megabytes: 600, warm_up: 25, only: Vec::new(), keep: Keep { no_save: false } }
    }
}

/// The broker's listeners, with how much zctrace may add at most, in percent.
const LISTENERS: [(&str, f64); 2] = [("PLAINTEXT", 1.0), ("SSL", 2.0)];

/// A reading that counts.
#[derive(Clone, Copy, Debug)]
struct Sample {
    round: u64,
    /// Of [`LISTENERS`].
    listener: usize,
    setup: Setup,
    reading: Reading,
}

/// Everything that was found.
#[derive(Debug, Default)]
struct Found {
    rounds: u64,
    megabytes: u64,
    warm_up: u64,
    samples: Vec<Sample>,
    /// The kernel's account of the programs, in readings of their own.
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
    install(&["bpftrace", "strace", "util-linux"])?;
    hooks::mount_tracefs()?;
    let built = build::release(&[("zctrace", "zctrace")], &[])?;
    let zctrace = built.get("zctrace").context("zctrace was not built")?;
    let keep = Keep { no_save: options.keep.no_save || !options.only.is_empty() };
    save::finish(&result::record(&measure(options, &setups, zctrace)?), keep, result::draw)
}

/// A few readings of a few bytes with a program that need not be fast: that it all works, not what it costs.
pub(crate) fn smoke(zctrace: &Path) -> anyhow::Result<()> {
    // bpftrace would bring half of a compiler.
    let setups = Setup::ALL.into_iter().filter(|setup| *setup != Setup::Bpftrace).collect::<Vec<_>>();
    let options = Options { rounds: 3, megabytes: 20, warm_up: 1, ..Options::default() };
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
    let mut stand = Stand::start(zctrace, cpu, options.megabytes)?;
    // The broker keeps the last processor for itself, where there are two.
    let _here = Pinned::to(0)?;
    let mut found =
        Found { rounds: options.rounds, megabytes: options.megabytes, warm_up: options.warm_up, ..Found::default() };
    for _ in 0..options.warm_up {
        for (listener, (name, _)) in LISTENERS.iter().enumerate() {
            let reading = stand.read(listener, Setup::Nothing)?;
            eprintln!("warming up: {name} {:.4} s for each GB", reading.per_gb());
        }
    }
    for round in 0..options.rounds {
        let turn: Vec<(usize, Setup)> = setups
            .iter()
            .filter(|setup| setup.has_its_turn(round))
            .flat_map(|setup| (0..LISTENERS.len()).map(|listener| (listener, *setup)))
            .collect();
        for place in stats::order(turn.len(), round) {
            let Some((listener, setup)) = turn.get(place).copied() else { continue };
            let reading = stand.read(listener, setup)?;
            found.samples.push(Sample { round, listener, setup, reading });
        }
        eprintln!("round {} of {}: {}", round + 1, options.rounds, told(&found.samples, round));
    }
    for listener in 0..LISTENERS.len() {
        for setup in setups.iter().filter(|setup| setup.has_programs()) {
            found.accounted.push((listener, *setup, stand.account(listener, *setup)?));
        }
    }
    Ok(found)
}

/// A round in a line.
fn told(samples: &[Sample], round: u64) -> String {
    let told = |sample: &Sample| {
        format!("{} {} {:.4}", LISTENERS[sample.listener].0, sample.setup.key(), sample.reading.per_gb())
    };
    samples.iter().filter(|sample| sample.round == round).map(told).collect::<Vec<_>>().join(", ")
}
