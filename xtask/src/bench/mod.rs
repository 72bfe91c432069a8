//! `cargo xtask bench`: what zctrace costs, measured beside what it is compared with, and kept in the repository.

mod compare;
mod hooks;
mod machine;
mod plot;
mod record;
mod save;
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
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.what {
        Some(Bench::Hooks(options)) => hooks::run(options),
        None => hooks::run(&hooks::Options::default()),
    }
}
