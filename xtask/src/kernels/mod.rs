//! `cargo xtask kernels`: the exactness tests inside real kernels, and a table of what each can do.

mod architecture;
mod debian;
mod fixture;
mod guest;
mod matrix;
mod modules;
mod program;
mod steps;

use std::time::{Duration, Instant};

use anyhow::bail;
pub(crate) use architecture::Architecture;
use debian::{SERIES, Series};
use guest::Outcome;
use steps::{Extent, Result};

use crate::command::install;

/// Longest time that a step may take. Emulation of the other architecture is slow, and so is a busy host.
const PATIENCE: Duration = Duration::from_secs(1500);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these series: 5.10, 6.1, 6.12, newest
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only this architecture
    #[arg(long)]
    arch: Option<Architecture>,
    /// Fewer calls, no bad days; the tables in the repository stay as they are
    #[arg(long)]
    quick: bool,
    /// Only steps whose names begin so, such as `disk,page cache,order`: their results go into those of the last whole run
    #[arg(long, value_delimiter = ',')]
    steps: Vec<String>,
    /// Only write the kernels' types, cut down to those in use, into agent/src/probe/fixtures
    #[arg(long)]
    fixtures: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    for name in &options.only {
        if !SERIES.iter().any(|series| series.name == name) {
            bail!("there is no series `{name}`; there are {}", SERIES.map(|series| series.name).join(", "));
        }
    }
    let chosen: Vec<&Series> = SERIES
        .iter()
        .filter(|series| options.only.is_empty() || options.only.iter().any(|name| series.name == name))
        .collect();
    let extent = if options.quick { Extent::QUICK } else { Extent::WHOLE };
    let mut results = Vec::new();
    for architecture in Architecture::ALL.into_iter().filter(|arch| options.arch.is_none_or(|only| only == *arch)) {
        if options.fixtures {
            write_fixtures(architecture, &chosen)?;
            continue;
        }
        results.extend(boot_all(architecture, &chosen, extent, &options.steps)?);
    }
    if options.fixtures {
        return Ok(());
    }
    println!("\n{}", matrix::table(&results));
    if !options.quick {
        matrix::save(&results, !options.steps.is_empty())?;
    }
    let (passed, failed) = count(&results);
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { std::process::exit(1) }
}

/// The series that `cargo xtask test` boots.
const IN_TESTS: &str = "6.12";

/// Those in which it lets the kernel look at the program, since their verifiers are stricter than newer ones, and tries what the
/// program does in another way there: it has to read the process's memory to tell the order of a `sendfile`.
const LOADED_IN_TESTS: [&str; 2] = ["5.10", "6.1"];

/// What of this `cargo xtask test` does: one kernel, fewer calls, no bad days; and whether older ones take the program. Returns how
/// many tests passed and failed.
pub(crate) fn fast() -> anyhow::Result<(u64, u64)> {
    let series = |names: &[&str]| SERIES.iter().filter(|series| names.contains(&series.name)).collect::<Vec<_>>();
    let results = boot_all(Architecture::Amd64, &series(&[IN_TESTS]), Extent::QUICK, &[])?;
    println!("{}", matrix::table(&results));
    let steps = ["auto", "attach", "disk", "order"].map(str::to_owned);
    let loaded = boot_all(Architecture::Amd64, &series(&LOADED_IN_TESTS), Extent::QUICK, &steps)?;
    let (passed, failed) = count(&results);
    // A leg is taken there, and none refused for the program's sake.
    let takes_it = loaded.iter().filter(|result| result.takes_the_program()).count() as u64;
    Ok((passed + takes_it, failed + LOADED_IN_TESTS.len() as u64 - takes_it))
}

fn count(results: &[Result]) -> (u64, u64) {
    let passed = results.iter().map(|result| u64::from(result.passed())).sum();
    (passed, results.iter().flat_map(Result::failures).map(|_| 1).sum())
}

fn boot_all(
    architecture: Architecture,
    chosen: &[&Series],
    extent: Extent,
    only: &[String],
) -> anyhow::Result<Vec<Result>> {
    install(architecture.packages())?;
    let programs = program::build(architecture)?;
    let mut steps = steps::steps(extent);
    let is_asked_for = |name: &str| only.is_empty() || only.iter().any(|only| name.starts_with(only.as_str()));
    steps.retain(|step| step.name == "release" || is_asked_for(&step.name));
    let mut results = Vec::new();
    for series in chosen {
        let kernel = debian::kernel(series, architecture)?;
        println!("== {} ({})", series.name, architecture.debian());
        let started = Instant::now();
        let outcomes =
            guest::run(&kernel, architecture, Some(&programs), &steps, PATIENCE, |outcome| tell(outcome, started))?;
        let result = Result::new(series.name, architecture.debian(), &outcomes);
        for (name, why) in result.failures() {
            println!("-- {name} failed:\n{why}");
        }
        results.push(result);
    }
    Ok(results)
}

fn write_fixtures(architecture: Architecture, chosen: &[&Series]) -> anyhow::Result<()> {
    install(architecture.packages())?;
    for series in chosen {
        let kernel = debian::kernel(series, architecture)?;
        let outcomes = guest::run(&kernel, architecture, None, &[steps::types()], PATIENCE, |_| {})?;
        let types = outcomes.first().map_or("", |outcome| outcome.output.as_str());
        fixture::write(series.name, architecture, types)?;
    }
    Ok(())
}

fn tell(outcome: &Outcome, started: Instant) {
    let status = match outcome.status {
        0 => "done",
        99 => "not possible",
        5 if outcome.name.starts_with("attach") => "not possible",
        _ => "failed",
    };
    println!("   {:>4} s  {}: {status}", started.elapsed().as_secs(), outcome.name);
    if outcome.status == 5 {
        println!("{}", outcome.output.trim());
    }
}

/// Where a series stands in the tables.
fn order(series: &str) -> usize {
    SERIES.iter().position(|known| known.name == series).unwrap_or(usize::MAX)
}
