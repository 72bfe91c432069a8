//! The `zctrace` command: parses and dispatches.

use std::process::ExitCode;

use clap::Parser;
use zctrace::{
    cli::{Cli, Command},
    command,
    error::Error,
    exercise,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("ZCTRACE_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let result = match &cli.command {
        Some(Command::Doctor(options)) => command::doctor::run(options),
        Some(Command::Exercise(options)) => exercise::run(options),
        None => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Other(format!("the runtime could not be started: {error}")))
            .and_then(|runtime| runtime.block_on(command::watch::run(&cli.watch))),
    };
    match result {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("zctrace: {error}");
            error.status().into()
        }
    }
}
