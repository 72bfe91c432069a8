//! `cargo xtask bench`: what zctrace costs, measured beside what it is compared with, and kept in the repository.

mod compare;
mod hooks;
mod machine;
pub(crate) mod plot;
pub(crate) mod record;
pub(crate) mod save;
mod serve;
mod table;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to measure; without it, everything
    #[command(subcommand)]
    what: Option<Bench>,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Nanoseconds that each hook adds to a call
    Hooks(hooks::Options),
    /// What a scrape, memory, idling and attaching of `zctrace serve` cost
    Serve(serve::Options),
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.what {
        Some(Bench::Hooks(options)) => hooks::run(options),
        Some(Bench::Serve(options)) => serve::run(options),
        None => {
            hooks::run(&hooks::Options::default())?;
            serve::run(&serve::Options::default())
        }
    }
}
