//! What is wrong with a configuration file.

use std::{fmt, io, path::PathBuf};

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{} can't be read: {source}. It is named by --config.file: check the path and who may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not YAML.
    #[error("{}{place} is not valid YAML: {reason}. Its keys are the names of flags: `zctrace serve --help`", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// `:line:column`, or nothing.
        place: String,
        /// More.
        reason: String,
    },
    /// The file says what can't be.
    #[error("{}", lines(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong in it.
        problems: Vec<Problem>,
    },
    /// The command line is wrong.
    #[error("{0}")]
    Usage(clap::Error),
    /// The command line is that of another command.
    #[error("only `zctrace serve` has a configuration file")]
    NoService,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: u64,
    /// The key.
    pub key: String,
    /// What, and what to do.
    pub reason: String,
}

fn lines(path: &std::path::Path, problems: &[Problem]) -> impl fmt::Display {
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| format!("{}:{}: `{}`: {}", path.display(), problem.line, problem.key, problem.reason))
        .collect();
    lines.join("\n")
}
