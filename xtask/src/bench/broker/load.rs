//! The load: one client that fetches all the time, with what the broker took for each answer.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use testkit::{kafka::Fetcher, process::processor_time};

/// After an answer, before the broker's clock is read: its threads have gone to sleep by then, and what they took is on it.
const QUIET: Duration = Duration::from_micros(100);
/// Nothing takes so long, not even under strace.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Request {
    /// When the one before it had ended.
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// Bytes of the answer, without those of TLS.
    pub(super) bytes: u64,
    /// Processor time of the broker meanwhile, all its threads.
    pub(super) broker: Duration,
}

/// A client at work, on a thread of its own. It ends when this is dropped.
pub(super) struct Load {
    requests: Option<mpsc::Receiver<Request>>,
    thread: Option<thread::JoinHandle<anyhow::Result<Fetcher>>>,
}

impl Load {
    pub(super) fn start(mut fetcher: Fetcher, broker: u32) -> Self {
        let (send, requests) = mpsc::channel();
        let thread = thread::spawn(move || {
            let clock = || processor_time(broker).context("the broker has ended");
            let (mut from, mut before) = (Instant::now(), clock()?);
            loop {
                let bytes = fetcher.fetch()?;
                thread::sleep(QUIET);
                let (to, after) = (Instant::now(), clock()?);
                let broker = after.saturating_sub(before);
                if send.send(Request { from, to, bytes, broker }).is_err() {
                    return Ok(fetcher);
                }
                (from, before) = (to, after);
            }
        });
        Self { requests: Some(requests), thread: Some(thread) }
    }

    /// The requests that begin and end within some time from now.
    pub(super) fn window(&self, time: Duration) -> anyhow::Result<Vec<Request>> {
        let requests = self.requests.as_ref().context("the load has ended")?;
        // What is older nobody asked for.
        while requests.try_recv().is_ok() {}
        let start = Instant::now();
        let mut all = Vec::new();
        // At least one, however long it takes.
        while start.elapsed() < time || all.is_empty() {
            let request = requests.recv_timeout(PATIENCE).map_err(|_| anyhow!("the client has ended or is stuck"))?;
            if request.from >= start {
                all.push(request);
            }
        }
        Ok(all)
    }

    /// Ends it; gives the client back.
    pub(super) fn stop(mut self) -> anyhow::Result<Fetcher> {
        self.requests = None;
        let thread = self.thread.take().context("the load has ended")?;
        thread.join().map_err(|_| anyhow!("the client's thread broke down"))?
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}
