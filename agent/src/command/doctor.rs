//! `zctrace doctor`.

use crate::{
    cli,
    doctor::diagnose,
    error::{Error, Status},
    output::{self, Style},
};

/// Looks at this machine and prints what it found.
///
/// # Errors
/// Only if the diagnosis could not be printed: what is wrong with the machine is in the diagnosis.
pub fn run(options: &cli::Doctor) -> Result<Status, Error> {
    let with_self_test = !options.no_self_test;
    if with_self_test {
        eprintln!("Making known system calls of every kind and counting them, by each leg ...");
    }
    let diagnosis = diagnose(with_self_test);
    let text = match options.output {
        cli::Output::Json => serde_json::to_string_pretty(&diagnosis)? + "\n",
        cli::Output::Table => output::doctor::render(&diagnosis, &Style::detect()),
    };
    output::print(&text)?;
    Ok(diagnosis.status())
}
