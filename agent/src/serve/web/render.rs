//! Answers: made once for all who ask for the same page, few at a time, few in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::body::Bytes;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

use super::{
    Head, Limits, Site,
    body::kept,
    gzip::{Body, Spare},
    registry::Registry,
};

/// What became of a request for a page.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Here it is.
    Page(Page),
    /// There is no such page.
    Nothing,
    /// Too much is going on.
    Busy,
    /// It took too long.
    Late,
    /// It failed.
    Failed,
}

/// A page, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) gzip: bool,
    pub(super) body: Bytes,
}

type Key = (String, bool);

/// Makes answers.
pub(super) struct Renderer {
    site: Arc<dyn Site>,
    limits: Limits,
    registry: Arc<Registry>,
    renders: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    running: Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>,
    spare: Arc<Spare>,
}

/// Who has read nothing for this long has no claim on memory that others wait for.
const STALLED: Duration = Duration::from_secs(1);

impl Renderer {
    pub(super) fn new(site: Arc<dyn Site>, limits: Limits, registry: Arc<Registry>) -> Self {
        Self {
            site,
            limits,
            registry,
            renders: Arc::new(Semaphore::new(limits.renders)),
            bodies: Arc::new(Semaphore::new(limits.bodies)),
            running: Mutex::default(),
            spare: Arc::default(),
        }
    }

    /// The page, from an answer that is being made where there is one.
    pub(super) async fn page(self: &Arc<Self>, path: &str, gzip: bool) -> Outcome {
        let mut outcome = self.join((path.to_owned(), gzip));
        let arrived = timeout(self.limits.render_time, outcome.wait_for(Option::is_some)).await;
        match arrived {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Outcome::Failed),
            // Whoever made it is gone without a word: it panicked, and the log says so.
            Ok(Err(_)) => Outcome::Failed,
            Err(_) => Outcome::Late,
        }
    }

    fn join(self: &Arc<Self>, key: Key) -> watch::Receiver<Option<Outcome>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = running.get(&key) {
            return outcome.clone();
        }
        let (sender, outcome) = watch::channel(None);
        running.insert(key.clone(), outcome.clone());
        // A task of its own: it goes on when the one who asked first goes away.
        let renderer = Arc::clone(self);
        tokio::spawn(async move {
            let _running = Running { renderer: Arc::clone(&renderer), key: key.clone() };
            let outcome = renderer.make(key).await;
            sender.send_replace(Some(outcome));
        });
        outcome
    }

    async fn make(self: &Arc<Self>, (path, gzip): Key) -> Outcome {
        let patience = self.limits.queue_time;
        if self.bodies.available_permits() == 0 {
            let before = |time| Instant::now().checked_sub(time);
            let cut = self.registry.cut_slow(before(STALLED), before(self.limits.stall_time));
            tracing::debug!(cut, "all answers that may be in memory are; clients that do not read were let go");
        }
        let Ok(Ok(body)) = timeout(patience, Arc::clone(&self.bodies).acquire_owned()).await else {
            return Outcome::Busy;
        };
        let Ok(Ok(render)) = timeout(patience, Arc::clone(&self.renders).acquire_owned()).await else {
            return Outcome::Busy;
        };
        let (site, spare, small) = (Arc::clone(&self.site), Arc::clone(&self.spare), self.limits.small);
        let made = tokio::task::spawn_blocking(move || {
            // Held until the work is really over, also when nobody waits for it any more.
            let _render = render;
            let mut text = Body::new(gzip, &spare);
            let Some(Head { status, content_type }) = site.get(&path, &mut text) else { return Outcome::Nothing };
            let (bytes, gzip) = match text.finish() {
                Ok(finished) => finished,
                Err(error) => {
                    tracing::error!(%error, path, "a page could not be compressed");
                    return Outcome::Failed;
                }
            };
            let permit = (bytes.len() > small).then_some(body);
            Outcome::Page(Page { status, content_type, gzip, body: kept(bytes, permit) })
        });
        made.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a page could not be made");
            Outcome::Failed
        })
    }
}

/// An answer that is being made: others may join until this is dropped.
struct Running {
    renderer: Arc<Renderer>,
    key: Key,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.renderer.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
