//! The configuration in force, and its change.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    WebConfig, WebError, WebStats,
    config::{Loader, Stamp},
    stats::count,
};

/// Files are looked at when a connection or a request comes, but not again within this time. Nobody asks, nothing is
/// looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The web configuration in force. It follows its files: a change counts from the next connection (TLS) or request
/// (everything else) on; a broken change is logged and counted, and what was in force stays.
#[derive(Debug)]
pub struct WebHandle {
    path: Option<PathBuf>,
    stats: Arc<WebStats>,
    current: RwLock<Arc<WebConfig>>,
    files: Mutex<Vec<(PathBuf, Stamp)>>,
    started: Instant,
    /// Milliseconds since `started`.
    look_at: AtomicU64,
}

impl WebHandle {
    /// Reads the file; without one, plain HTTP for everybody.
    ///
    /// # Errors
    /// What keeps the file from being used.
    pub fn new(path: Option<&Path>, stats: Arc<WebStats>) -> Result<Self, WebError> {
        let mut loader = Loader::default();
        let config = path.map_or_else(|| Ok(WebConfig::default()), |path| loader.load(path))?;
        Ok(Self {
            path: path.map(Path::to_owned),
            stats,
            current: RwLock::new(Arc::new(config)),
            files: Mutex::new(loader.files),
            started: Instant::now(),
            look_at: AtomicU64::new(0),
        })
    }

    /// What is in force.
    #[must_use]
    pub fn current(&self) -> Arc<WebConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the server counts.
    #[must_use]
    pub fn stats(&self) -> &Arc<WebStats> {
        &self.stats
    }

    /// Reads the files again, changed or not. It blocks.
    ///
    /// # Errors
    /// What keeps them from being used. What was in force stays.
    pub fn reload(&self) -> Result<(), WebError> {
        self.look(true)
    }

    /// What is in force, after a look at the files if the last one is long ago.
    pub(super) async fn fresh(self: &Arc<Self>) -> Arc<WebConfig> {
        if self.path.is_some() && self.is_time() {
            let handle = Arc::clone(self);
            // The error is logged and counted where it is found.
            let _ = tokio::task::spawn_blocking(move || handle.look(false)).await;
        }
        self.current()
    }

    /// True for one of all who ask within [`LOOK_AGAIN`].
    fn is_time(&self) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, look_at) = (millis(self.started.elapsed()), self.look_at.load(Ordering::Relaxed));
        let next = now.saturating_add(millis(LOOK_AGAIN));
        now >= look_at && self.look_at.compare_exchange(look_at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn look(&self, always: bool) -> Result<(), WebError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if !always && files.iter().all(|(path, stamp)| Stamp::of(path) == *stamp) {
            return Ok(());
        }
        let mut loader = Loader::default();
        let loaded = loader.load(path);
        // Also of a broken configuration: it is not read again until it changes.
        *files = loader.files;
        match loaded {
            Ok(config) => {
                count(&self.stats.reloads);
                tracing::info!(path = %path.display(), "the web configuration was read again");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                Ok(())
            }
            Err(error) => {
                count(&self.stats.reloads_failed);
                tracing::error!(%error, "the changed web configuration can't be used; the one before stays in force");
                Err(error)
            }
        }
    }
}
