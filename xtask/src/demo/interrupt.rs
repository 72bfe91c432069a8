//! Ctrl-C: the demo cleans up behind itself first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Remembers SIGINT and SIGTERM. The second one ends the program at once; the kernel then ends its children.
#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(super) fn install() -> Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: what is set by the first signal arms the second.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&came))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&came)))
                .context("cannot listen for Ctrl-C")?;
        }
        Ok(Self(came))
    }

    /// A signal came.
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ends the demo between two steps.
    pub(super) fn check(&self) -> Result<()> {
        if self.came() {
            bail!("broken off");
        }
        Ok(())
    }

    /// Waits for a signal, which then counts as answered.
    pub(super) fn wait(&self) {
        while !self.0.swap(false, Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
