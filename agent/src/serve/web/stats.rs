//! What a server has seen.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a server has seen since it started. Each only grows.
#[derive(Debug, Default)]
pub struct WebStats {
    /// Requests answered, by the first digit of the status: `[0]` is 1xx, `[4]` is 5xx.
    pub responses: [AtomicU64; 5],
    /// Requests answered with 503: too many at the same time, or an answer that took too long.
    pub turned_away: AtomicU64,
    /// Requests refused for want of a right user and password.
    pub denied: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections that had to wait because all were in use.
    pub connections_delayed: AtomicU64,
    /// Connections without a request that were closed for others.
    pub connections_evicted: AtomicU64,
    /// Connections that could not be accepted (descriptors are short).
    pub accept_errors: AtomicU64,
    /// Connections cut because the client was too slow to ask or to read.
    pub timeouts: AtomicU64,
    /// Connections that spoke no HTTP, or heads beyond the limits.
    pub malformed: AtomicU64,
    /// TLS handshakes that failed.
    pub tls_failures: AtomicU64,
    /// Changed configurations taken.
    pub reloads: AtomicU64,
    /// Changed configurations that were broken, so that the one before was kept.
    pub reloads_failed: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl WebStats {
    pub(super) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, self.responses.len());
        if let Some(counter) = self.responses.get(class - 1) {
            count(counter);
        }
    }
}
