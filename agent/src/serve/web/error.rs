//! What keeps the server from starting, or from taking a changed configuration.

use std::{io, path::PathBuf};

/// Why a web configuration can't be used, or why nothing can be served. No value of a secret is in here.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A file can't be read.
    #[error("{} can't be read: {source}. It is named by the web configuration: check the path and who may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not YAML.
    #[error("{}{place} is not valid YAML{reason}. Its format is that of Prometheus's exporter-toolkit", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// `:line:column`, or nothing.
        place: String,
        /// More, or nothing.
        reason: String,
    },
    /// The file says something that can't be done.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The web configuration file.
        path: PathBuf,
        /// Where in it, why, and what to do.
        reason: String,
    },
    /// There is nothing to listen on.
    #[error("there is no address to listen on: name one by --web.listen-address")]
    NoListener,
    /// The system gives no random bytes.
    #[error("the system gave no random bytes, which passwords can't be checked without")]
    NoRandom,
}
