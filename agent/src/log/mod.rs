//! Logs. A one-shot writes to its terminal. A service may have a full disk, a broken pipe or a reader that has stopped
//! behind its stderr: it writes from a thread of its own, what can't be written is lost and counted, and nothing else
//! notices.

mod lossy;

use std::io::{IsTerminal, Write, stderr};

pub use lossy::Lost;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Lines that wait to be written, at most: what comes while there are so many is lost.
const MOST_WAITING: usize = 4096;

/// The environment variable that says how much is logged.
const FILTER: &str = "ZCTRACE_LOG";

/// The log of a service: dropping it writes what still waits, if that can be done soon.
#[derive(Debug)]
pub struct Log {
    /// How many lines were lost.
    pub lost: Lost,
    _writer: WorkerGuard,
}

/// A one-shot says only what is wrong.
pub fn to_terminal() {
    let log = tracing_subscriber::fmt().with_env_filter(filter("error")).with_writer(stderr).log_internal_errors(false);
    log.with_ansi(stderr().is_terminal()).init();
}

/// A service says what it does. Starts a thread, which has the capabilities that this one has now.
#[must_use]
pub fn of_service(format: LogFormat) -> Log {
    let lost = Lost::default();
    let writer = lossy::Writer::new(stderr(), lost.clone(), format);
    let (lines, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MOST_WAITING)
        .thread_name("zctrace-log")
        .finish(writer);
    lost.counts_too(lines.error_counter());
    // Errors of this writer are counted by it; the subscriber would say them on stderr, and panic where it can't.
    let log = tracing_subscriber::fmt().with_env_filter(filter("info")).with_writer(lines).log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Log { lost, _writer: guard }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(level))
}

/// A line for stderr, if it can be written.
pub fn say(line: &str) {
    // There is nobody left to tell.
    let _ = writeln!(stderr(), "{line}");
}
