//! `cargo xtask test`: every test, and what they need; ends in a plain count.

mod dashboards;
mod steps;
mod tally;

use std::time::Instant;

use anyhow::bail;
use tally::Tally;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what needs neither privilege nor a broker
    #[arg(long)]
    quick: bool,
    /// Only the steps whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if !options.quick && !rustix::process::geteuid().is_root() {
        bail!(
            "the privileged tests load programs into the kernel: run `cargo xtask test` as root, or only the others by \
             `cargo xtask test --quick`"
        );
    }
    let mut total = Tally::default();
    let mut failed = Vec::new();
    let wanted = |step: &steps::Step| options.only.as_deref().is_none_or(|only| step.name.contains(only));
    for step in steps::steps(options.quick).into_iter().filter(wanted) {
        println!("\n== {}", step.name);
        let started = Instant::now();
        let result = (step.run)();
        let seconds = started.elapsed().as_secs();
        match result {
            Ok(tally) => {
                total += tally;
                println!("== {}: {} passed, {} failed ({seconds} s)", step.name, tally.passed, tally.failed);
                if tally.failed > 0 {
                    failed.push(step.name);
                }
            }
            Err(error) => {
                total.failed += 1;
                failed.push(step.name);
                println!("== {}: failed ({seconds} s): {error:#}", step.name);
            }
        }
    }
    println!();
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    if total == Tally::default() {
        bail!("no step has such a name");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if failed.is_empty() { Ok(()) } else { std::process::exit(1) }
}
