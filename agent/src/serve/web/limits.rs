//! How much one server takes.

use std::time::Duration;

/// What a server takes at most. The defaults suit a host that a few Prometheus servers and people look at.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time. When they are all in use, those that have asked for nothing for
    /// [`Limits::spare_after`] are closed to make room; others wait in the kernel's queue.
    pub connections: usize,
    /// How long a connection may be without a request before it is closed for others that wait.
    pub spare_after: Duration,
    /// Bytes of a request's head (HTTP/1) or of its header list (HTTP/2). At least 8 KiB: hyper takes no less.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams: u32,
    /// Time for the TLS handshake and the first head, and for each later head from its first byte on.
    pub head_time: Duration,
    /// Time between an answer and the next request.
    pub idle_time: Duration,
    /// Time for making an answer. After it the client is told to come again.
    pub render_time: Duration,
    /// Time from the end of a request's head to the last byte of its answer. After it the connection is cut.
    pub request_time: Duration,
    /// Time for a client that does not read to read on. After it the connection is cut.
    pub stall_time: Duration,
    /// Answers that are made at the same time.
    pub renders: usize,
    /// Answers of more than [`Limits::small`] bytes that are in memory at the same time.
    pub bodies: usize,
    /// Bytes of an answer that do not count among [`Limits::bodies`].
    pub small: usize,
    /// Time that a request waits for one of [`Limits::renders`] and [`Limits::bodies`] before it is told to come again.
    pub queue_time: Duration,
    /// Passwords that wait to be checked (one is checked at a time).
    pub passwords: usize,
    /// Time for running answers to end when the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            spare_after: Duration::from_secs(1),
            head_bytes: 16 << 10,
            headers: 64,
            streams: 8,
            head_time: Duration::from_secs(10),
            // Longer than the usual scrape interval, so that Prometheus keeps its connection.
            idle_time: Duration::from_secs(150),
            render_time: Duration::from_secs(20),
            request_time: Duration::from_secs(60),
            stall_time: Duration::from_secs(10),
            renders: 2,
            bodies: 8,
            small: 16 << 10,
            queue_time: Duration::from_secs(2),
            passwords: 16,
            grace: Duration::from_secs(3),
        }
    }
}
