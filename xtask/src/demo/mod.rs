//! `cargo xtask demo`: a real broker, real load, and what zctrace says about it.

mod build;
mod builtin;
mod interrupt;
mod kafka;
mod privileges;
mod steps;
mod watch;

use anyhow::{Result, bail};
use testkit::kafka::Kafka;

use self::interrupt::Interrupt;
use self::steps::Steps;

/// What can be said about the demo.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Megabytes in the topic (or file) that is read once through each listener
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=20_000))]
    pub(crate) megabytes: u64,
    /// Leave the broker running after the summary, until Ctrl-C, to try zctrace on it
    #[arg(long)]
    pub(crate) keep: bool,
    /// Use the small built-in server, even where Java and Maven are there
    #[arg(long)]
    pub(crate) builtin: bool,
}

/// Builds zctrace, puts a broker under load, and lets zctrace print its summary of it on standard output. All else is
/// on standard error.
///
/// # Errors
/// A build that fails, missing privileges, a broker or client that fails, a client that did not get every byte, Ctrl-C.
pub(crate) fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let result = show(options, &interrupt);
    // What fails after Ctrl-C fails because of it: the clients got the same signal from the terminal.
    if interrupt.came() {
        bail!("broken off; nothing is left running");
    }
    result
}

fn show(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let steps = Steps::new();
    let missing = Kafka::check().err();
    let builtin = options.builtin || missing.is_some();
    let programs = build::release(&steps, builtin)?;
    privileges::check(&programs.zctrace)?;
    interrupt.check()?;
    if let Some(missing) = missing {
        steps.say(&format!("{missing}"));
        steps.say("So a small built-in server takes the broker's place.");
    }
    if builtin {
        builtin::show(options, &steps, interrupt, &programs)?;
    } else {
        kafka::show(options, &steps, interrupt, &programs)?;
    }
    Ok(())
}

/// Decimal megabytes, as zctrace shows them.
fn in_megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn megabytes_have_one_decimal() {
        assert_eq!(super::in_megabytes(402_287_210), "402.2 MB");
        assert_eq!(super::in_megabytes(99_999), "0.0 MB");
    }
}
