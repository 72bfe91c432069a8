//! What people and programs read: one renderer a file, each a pure function of the [`Report`](crate::report::Report).
//!
//! | module | output |
//! |---|---|
//! | [`table`] | sentences and tables for people |
//! | [`doctor`] | what `zctrace doctor` found |
//! | [`json`] | one document for programs, described by `docs/report.schema.json` |
//! | [`prometheus`] | the exposition that Prometheus scrapes |
//! | [`progress`] | the line that shows that something happens while watching |
//!
//! No name of a process, file or topic reaches a terminal with control characters in it: see `text`.

pub mod doctor;
mod format;
mod grid;
pub mod json;
pub mod progress;
pub mod prometheus;
#[cfg(test)]
mod sample;
mod style;
pub mod table;
mod text;

use std::io::{ErrorKind, Write};

pub use progress::Progress;
pub use style::{Bytes, Style, Surroundings};

/// Writes an output to stdout, at once and whole.
///
/// # Errors
/// When stdout takes no more (a full disk). A reader that went away (`zctrace ... | head`) is no error: it has seen what it
/// wanted.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
