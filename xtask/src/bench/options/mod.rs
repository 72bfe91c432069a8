//! `cargo xtask bench options`: the price of each thing that zctrace can do or leave out, and that what is left out costs nothing.

mod part;
mod result;

use part::PARTS;

use super::{
    hooks::{self, Hook},
    save::{self, Keep},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each attaches and detaches zctrace once with each part
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: u64,
    #[command(flatten)]
    keep: Keep,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 20, keep: Keep { no_save: false } }
    }
}

/// How to start zctrace without any part.
pub(super) fn without_parts() -> Vec<String> {
    part::variants(&PARTS).into_iter().next().map(|variant| variant.arguments).unwrap_or_default()
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let hooks: Vec<Hook> = part::variants(&PARTS).into_iter().map(Hook::Zctrace).collect();
    let found = hooks::measure(&hooks, options.rounds)?;
    save::finish(&result::record(options.rounds, &found), options.keep, result::draw)
}
