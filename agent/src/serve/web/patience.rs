//! A connection's stream, plain or TLS, that tells the [`Peer`] when bytes come and when the client does not read.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::registry::Peer;

/// A stream to a client.
pub(super) enum Transport {
    /// Without encryption.
    Plain(TcpStream),
    /// With it.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A [`Transport`] that is watched.
pub(super) struct Watched {
    pub(super) transport: Transport,
    pub(super) peer: Arc<Peer>,
    /// Whether bytes between requests begin a head. Not so on HTTP/2, where they may be about the connection itself.
    pub(super) heads: bool,
}

impl Watched {
    fn written<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.peer.stalled(result.is_pending());
        result
    }
}

macro_rules! transport {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.transport {
            Transport::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Transport::Tls($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = transport!(self, stream => stream.poll_read(cx, buf));
        if self.heads && buf.filled().len() > before {
            self.peer.bytes_came();
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = transport!(self, stream => stream.poll_write(cx, buf));
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = transport!(self, stream => stream.poll_write_vectored(cx, bufs));
        self.written(result)
    }

    /// Always: without it hyper would copy each answer into a buffer of its own.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = transport!(self, stream => stream.poll_flush(cx));
        self.written(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = transport!(self, stream => stream.poll_shutdown(cx));
        self.written(result)
    }
}
