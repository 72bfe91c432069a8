//! The `zctrace` command: parses and dispatches.

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;
use zctrace::{
    cli::{Cli, Command},
    command,
    error::Error,
    exercise, log,
    serve::memory::Allocator,
};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = Cli::parse_from(&arguments);
    let result = match &cli.command {
        // It reads its command line again, together with its configuration file.
        Some(Command::Serve(_)) => command::serve::run(arguments),
        Some(Command::Doctor(options)) => logged(|| command::doctor::run(options)),
        Some(Command::Exercise(options)) => logged(|| exercise::run(options)),
        None => logged(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Error::Other(format!("the runtime could not be started: {error}")))
                .and_then(|runtime| runtime.block_on(command::watch::run(&cli.watch)))
        }),
    };
    match result {
        Ok(status) => status.into(),
        Err(error) => {
            log::say(&format!("zctrace: {error}"));
            error.status().into()
        }
    }
}

fn logged<T>(run: impl FnOnce() -> T) -> T {
    log::to_terminal();
    run()
}
