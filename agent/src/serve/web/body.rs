//! Bodies, and when the last byte of one has left.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::registry::Peer;
use crate::serve::memory;

/// A request that is being answered: it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Request(Arc<Peer>);

impl Request {
    pub(super) fn new(peer: &Arc<Peer>) -> Arc<Self> {
        peer.request_began();
        Arc::new(Self(Arc::clone(peer)))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

/// Bytes in memory with the permit for them.
struct Kept {
    bytes: Vec<u8>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A body of more bytes leaves so much free memory behind that it is worth to give it back to the system.
const LARGE: usize = 1 << 20;

impl Drop for Kept {
    fn drop(&mut self) {
        if self.bytes.len() > LARGE {
            self.bytes = Vec::new();
            memory::give_back();
        }
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes whose permit is given back when the last who shares them is done.
pub(super) fn kept(bytes: Vec<u8>, permit: Option<OwnedSemaphorePermit>) -> Bytes {
    Bytes::from_owner(Kept { bytes, _permit: permit })
}

struct Sent {
    bytes: Bytes,
    _request: Arc<Request>,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of one answer. hyper lets go of the body when it has its bytes, and of the bytes when they have left: the
/// request ends when both are gone.
pub(super) struct Answer {
    bytes: Option<Bytes>,
    _request: Arc<Request>,
}

impl Answer {
    pub(super) fn new(bytes: Bytes, request: &Arc<Request>) -> Self {
        let sent = Sent { bytes, _request: Arc::clone(request) };
        let bytes = (!sent.bytes.is_empty()).then(|| Bytes::from_owner(sent));
        Self { bytes, _request: Arc::clone(request) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}
