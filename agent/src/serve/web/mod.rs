//! The HTTP side of the service: GET and HEAD, plain or by TLS, as the web configuration file says.
//!
//! It knows nothing of what it serves: a [`Site`] makes the answers. No request makes it allocate without bound:
//! - heads are small and bodies are refused ([`Limits::head_bytes`], [`Limits::headers`]);
//! - connections are few; when there are too many, those that have long asked for nothing go, the rest wait in the
//!   kernel's queue ([`Limits::connections`]);
//! - an answer that is being made is shared by all who ask for the same page, few are made and few are kept at the same
//!   time, and a client that does not read its answer loses its connection ([`Limits::bodies`]).
//!
//! hyper is used without a framework above it: one handler needs no router, and hyper's own limits must be set anyway.

mod auth;
mod body;
mod config;
mod connection;
mod error;
mod gzip;
mod limits;
mod patience;
mod rate;
mod registry;
mod reload;
mod render;
mod respond;
mod server;
mod stats;
#[cfg(test)]
mod tests;
mod troubles;

use std::io;

pub use config::{WebConfig, check};
pub use error::WebError;
pub use limits::Limits;
pub use reload::WebHandle;
pub use server::serve;
pub use stats::WebStats;
pub use troubles::Troubles;

/// What goes before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// HTTP status. One that HTTP does not know is sent as 500.
    pub status: u16,
    /// Type of the body.
    pub content_type: &'static str,
}

/// What is served.
pub trait Site: Send + Sync + 'static {
    /// The answer for a path (without its query), `None` where there is nothing. Its body is written to `body`, piece by
    /// piece: where the client takes gzip, only what is compressed is kept in memory, until the last client that asked for
    /// it has read it or was let go.
    ///
    /// It may block: it is called on a thread for blocking work, [`Limits::renders`] times at once at most, and once for
    /// all who ask for the same path meanwhile. A panic is answered with 500.
    fn get(&self, path: &str, body: &mut dyn io::Write) -> Option<Head>;
}
