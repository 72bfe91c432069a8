//! Listening, and stopping.

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Limits, Site, WebError, WebHandle, WebStats, auth::Gate, connection, registry::Registry, render::Renderer,
    stats::count,
};

/// While all connections are in use, this often one that asks for nothing is looked for.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(100);

/// How far the server's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Stopping,
    Over,
}

/// What all connections share.
pub(super) struct Server {
    pub(super) config: Arc<WebHandle>,
    pub(super) limits: Limits,
    pub(super) renderer: Arc<Renderer>,
    pub(super) gate: Arc<Gate>,
    registry: Arc<Registry>,
    slots: Arc<Semaphore>,
    stage: watch::Sender<Stage>,
}

impl Server {
    pub(super) fn stats(&self) -> &WebStats {
        self.config.stats()
    }

    /// Returns when connections are to end after what they are doing.
    pub(super) async fn stopping(&self) {
        self.reached(Stage::Stopping).await;
    }

    /// Returns when connections are to end at once.
    pub(super) async fn over(&self) {
        self.reached(Stage::Over).await;
    }

    async fn reached(&self, stage: Stage) {
        // It fails when the sender is gone, which `self` holds.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    async fn room(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return permit;
        }
        count(&self.stats().connections_delayed);
        loop {
            let since = Instant::now().checked_sub(self.limits.spare_after);
            if let Some(permit) = since.and_then(|since| self.registry.make_room(since)) {
                return permit;
            }
            if let Ok(Ok(permit)) = timeout(LOOK_FOR_ROOM, Arc::clone(&self.slots).acquire_owned()).await {
                return permit;
            }
        }
    }
}

/// Serves `site` on all `listeners` until `shutdown` is over; then lets running answers end, within
/// [`Limits::grace`].
///
/// It runs on any tokio runtime; what blocks runs on its threads for blocking work, `limits.renders` + 2 at most.
///
/// # Errors
/// [`WebError::NoListener`]. Once it serves, nothing ends it but `shutdown`.
pub async fn serve(
    listeners: Vec<TcpListener>,
    config: Arc<WebHandle>,
    site: Arc<dyn Site>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WebError> {
    if listeners.is_empty() {
        return Err(WebError::NoListener);
    }
    let gate = Gate::new(limits.passwords).map_err(|_| WebError::NoRandom)?;
    let registry = Arc::new(Registry::default());
    let server = Arc::new(Server {
        config,
        limits,
        renderer: Arc::new(Renderer::new(site, limits, Arc::clone(&registry))),
        gate: Arc::new(gate),
        registry,
        slots: Arc::new(Semaphore::new(limits.connections)),
        stage: watch::channel(Stage::Serving).0,
    });
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(Arc::clone(&server), listener));
    }
    shutdown.await;
    accepting.shutdown().await;
    server.stage.send_replace(Stage::Stopping);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if timeout(limits.grace, server.slots.acquire_many(all)).await.is_err() {
        server.stage.send_replace(Stage::Over);
        // Each only has to notice.
        let _ = timeout(Duration::from_secs(1), server.slots.acquire_many(all)).await;
    }
    Ok(())
}

async fn accept(server: Arc<Server>, listener: TcpListener) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                failing = false;
                admit(&server, stream).await;
            }
            Err(error) => {
                count(&server.stats().accept_errors);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "a connection could not be accepted; this is said once until one is");
                }
                pause_after(&error).await;
            }
        }
    }
}

/// A client that went away while it waited is no reason to wait; descriptors or memory that are short are.
async fn pause_after(error: &io::Error) {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn admit(server: &Arc<Server>, stream: TcpStream) {
    // Others wait in the kernel's queue meanwhile.
    let permit = server.room().await;
    count(&server.stats().connections);
    let entry = server.registry.enter(permit);
    tokio::spawn(connection::serve(Arc::clone(server), stream, entry));
}
