//! The connections: what each is doing since when, so that the right ones are let go.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};

use super::Limits;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A head is to come: the handshake, the first request, or one whose first bytes are here.
    Head,
    /// Between requests.
    Idle,
    /// A request is being answered.
    Busy,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    requests: usize,
    /// Since when the client has read nothing of what lies ready.
    stalled: Option<Instant>,
    cut: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Peer {
    state: Mutex<State>,
    cut: Notify,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        let state = State { phase: Phase::Head, since: Instant::now(), requests: 0, stalled: None, cut: false };
        Self { state: Mutex::new(state), cut: Notify::new(), permit: Mutex::new(Some(permit)) }
    }

    /// A request's head has come.
    pub(super) fn request_began(&self) {
        let mut state = lock(&self.state);
        state.requests += 1;
        if state.phase != Phase::Busy {
            (state.phase, state.since) = (Phase::Busy, Instant::now());
        }
    }

    /// An answer has left, or was given up.
    pub(super) fn request_ended(&self) {
        let mut state = lock(&self.state);
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            (state.phase, state.since) = (Phase::Idle, Instant::now());
        }
    }

    /// Bytes came: between requests, they begin the next head.
    pub(super) fn bytes_came(&self) {
        let mut state = lock(&self.state);
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Head, Instant::now());
        }
    }

    /// Whether the client takes what is written.
    pub(super) fn stalled(&self, stalled: bool) {
        let mut state = lock(&self.state);
        state.stalled = stalled.then(|| state.stalled.unwrap_or_else(Instant::now));
    }

    /// When patience with this connection ends, unless it goes on.
    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        let state = lock(&self.state);
        let time = match state.phase {
            Phase::Head => limits.head_time,
            Phase::Idle => limits.idle_time,
            Phase::Busy => limits.request_time,
        };
        let stalled = state.stalled.map(|since| since + limits.stall_time);
        stalled.unwrap_or(state.since + time).min(state.since + time)
    }

    /// Returns when the connection is to be cut for the sake of others.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

/// All connections of a server.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next: AtomicU64,
    peers: Mutex<HashMap<u64, Arc<Peer>>>,
}

/// A connection's place in the registry, given up when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    registry: Arc<Registry>,
    id: u64,
    /// The connection.
    pub(super) peer: Arc<Peer>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.registry.peers).remove(&self.id);
        // Others may still hold the peer for an answer that lies in a buffer.
        lock(&self.peer.permit).take();
    }
}

impl Registry {
    /// Takes a connection in.
    pub(super) fn enter(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Entry {
        let (id, peer) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::new(Peer::new(permit)));
        lock(&self.peers).insert(id, Arc::clone(&peer));
        Entry { registry: Arc::clone(self), id, peer }
    }

    /// Cuts the connection that has gone longest without a request, if that is before `since`: its permit.
    pub(super) fn make_room(&self, since: Instant) -> Option<OwnedSemaphorePermit> {
        let peers = lock(&self.peers);
        let waiting = peers.values().filter_map(|peer| {
            let state = lock(&peer.state);
            (state.phase != Phase::Busy && !state.cut && state.since <= since).then_some((state.since, peer))
        });
        let (_, peer) = waiting.min_by_key(|(since, _)| *since)?;
        lock(&peer.state).cut = true;
        peer.cut.notify_one();
        lock(&peer.permit).take()
    }

    /// Cuts the connections whose clients have read nothing since `stalled`, or whose answer has not left since `busy`
    /// (on HTTP/2 a client stops an answer without stopping the connection): how many.
    pub(super) fn cut_slow(&self, stalled: Option<Instant>, busy: Option<Instant>) -> usize {
        let peers = lock(&self.peers);
        let slow = peers.values().filter(|peer| {
            let mut state = lock(&peer.state);
            let before = |since: Instant, limit: Option<Instant>| limit.is_some_and(|limit| since <= limit);
            let slow = state.stalled.is_some_and(|since| before(since, stalled));
            let cut = !state.cut && (slow || state.phase == Phase::Busy && before(state.since, busy));
            state.cut |= cut;
            cut
        });
        slow.inspect(|peer| peer.cut.notify_one()).count()
    }
}
