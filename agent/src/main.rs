//! The `zctrace` command: parses and dispatches.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use zctrace::{
    cli::{Cli, Command, LogFormat},
    command,
    error::Error,
    exercise,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(&cli);
    let result = match &cli.command {
        Some(Command::Doctor(options)) => command::doctor::run(options),
        Some(Command::Exercise(options)) => exercise::run(options),
        Some(Command::Serve(options)) => command::serve::run(options),
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

/// A service says what it does, a one-shot only what is wrong; `ZCTRACE_LOG` goes before both.
fn log(cli: &Cli) {
    let (level, format) = match &cli.command {
        Some(Command::Serve(options)) => ("info", options.log_format),
        _ => ("error", LogFormat::Text),
    };
    let filter = EnvFilter::try_from_env("ZCTRACE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
