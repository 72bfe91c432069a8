//! The web configuration file, in the format of Prometheus's exporter-toolkit
//! (<https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>).

mod file;
mod http;
mod load;
mod sans;
mod tls;

use std::{fmt, path::Path, sync::Arc};

use hyper::header::{HeaderName, HeaderValue};
pub(super) use load::{Loader, Stamp};
use tokio_rustls::rustls::ServerConfig;

use super::{WebError, auth::Users, rate::Bucket};

/// How requests are taken: what a web configuration file says, ready for use. The default is plain HTTP for everybody.
#[derive(Default)]
pub struct WebConfig {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) users: Users,
    pub(super) rate: Option<Bucket>,
}

impl WebConfig {
    /// Whether connections are encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether a user and a password are asked for.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        !self.users.is_empty()
    }
}

/// Keys, certificates, names and hashes are left out.
impl fmt::Debug for WebConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebConfig")
            .field("tls", &self.is_encrypted())
            .field("headers", &self.headers)
            .field("users", &self.users)
            .field("rate", &self.rate)
            .finish()
    }
}

/// Reads a web configuration file, and the files that it names, as the server would.
///
/// # Errors
/// The first thing that keeps it from being used.
pub fn check(path: &Path) -> Result<WebConfig, WebError> {
    Loader::default().load(path)
}
