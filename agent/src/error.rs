//! What ends zctrace, and with which status.

use std::process::ExitCode;

use crate::{
    probe::ProbeError,
    serve::{config::ConfigError, web::WebError},
    target::TargetError,
};

/// Why zctrace could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// About the process.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// About the kernel.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// About the web configuration.
    #[error(transparent)]
    Web(#[from] WebError),
    /// About the configuration file of the service.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The summary could not be written.
    #[error("the summary could not be written: {0}")]
    Output(#[from] std::io::Error),
    /// The summary could not be made.
    #[error("the JSON document could not be made: {0}")]
    Json(#[from] serde_json::Error),
    /// Wrong usage that the parser cannot see.
    #[error("{0}")]
    Usage(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Exit statuses, as documented in the README and in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// The process can't be watched.
    Target = 3,
    /// A privilege is missing.
    Privilege = 4,
    /// The kernel lacks something.
    Kernel = 5,
    /// The process ended before the time was over.
    TargetEnded = 6,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

impl Error {
    /// The status that zctrace ends with.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Target(error) if error.is_permission() => Status::Privilege,
            Self::Target(_) | Self::Probe(ProbeError::TargetGone(_)) => Status::Target,
            Self::Probe(ProbeError::NotPermitted { .. }) => Status::Privilege,
            Self::Probe(
                ProbeError::NoBtf { .. }
                | ProbeError::UnknownLayout { .. }
                | ProbeError::UnknownArchitecture(_)
                | ProbeError::NoBpf(_)
                | ProbeError::NoTracefs
                | ProbeError::Rejected { .. }
                | ProbeError::NoTrampoline { .. }
                | ProbeError::NoLeg(_)
                | ProbeError::NoMemory { .. },
            ) => Status::Kernel,
            Self::Usage(_) | Self::Web(_) | Self::Config(_) => Status::Usage,
            Self::Probe(_) | Self::Output(_) | Self::Json(_) | Self::Other(_) => Status::Failed,
        }
    }
}
