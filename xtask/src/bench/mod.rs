//! `cargo xtask bench`: what zctrace costs, measured beside what it is compared with, and kept in the repository.

mod account;
mod broker;
mod compare;
mod hooks;
mod machine;
mod options;
mod pin;
pub(crate) mod plot;
pub(crate) mod record;
pub(crate) mod save;
mod scale;
mod serve;
mod table;
mod tool;

use anyhow::Context as _;
use clap::Subcommand;

use crate::build;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to measure; without it, everything
    #[command(subcommand)]
    what: Option<Bench>,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What hooks cost a real broker, in processor time for each GB that it serves
    Broker(broker::Options),
    /// Nanoseconds that each hook adds to a call
    Hooks(hooks::Options),
    /// The price of each part of zctrace, and that what is left out costs nothing
    Options(options::Options),
    /// Whether a call's cost stays the same with many targets, partitions, connections and calls
    Scale(scale::Options),
    /// What a scrape, memory, idling and attaching of `zctrace serve` cost
    Serve(serve::Options),
}

/// The benchmarks in short, for the tests: what they need is there and they come to an end; nothing is said of times.
///
/// # Errors
/// What does not work.
pub(crate) fn smoke() -> anyhow::Result<()> {
    let built = build::debug(&[("zctrace", "zctrace"), ("testkit", "bench-worker")])?;
    let path = |name: &str| built.get(name).with_context(|| format!("{name} was not built"));
    broker::smoke(path("zctrace")?)?;
    scale::smoke(path("zctrace")?, path("bench-worker")?)
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.what {
        Some(Bench::Broker(options)) => broker::run(options),
        Some(Bench::Hooks(options)) => hooks::run(options),
        Some(Bench::Options(options)) => options::run(options),
        Some(Bench::Scale(options)) => scale::run(options),
        Some(Bench::Serve(options)) => serve::run(options),
        None => {
            hooks::run(&hooks::Options::default())?;
            options::run(&options::Options::default())?;
            scale::run(&scale::Options::default())?;
            serve::run(&serve::Options::default())?;
            broker::run(&broker::Options::default())
        }
    }
}
