//! zctrace beside the load: attached before the first byte, asked for its summary after the last.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testkit::process::{Guarded, Signal};

/// Begins the line that zctrace writes to standard error when it counts.
const ATTACHED: &str = "Watching ";
/// zctrace attaches in well under a second.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);
/// The summary comes at once.
const SUMMARY_LIMIT: Duration = Duration::from_secs(30);
/// It ends by itself after this time, should nobody ask it.
const LONGEST: &str = "900s";

/// A running zctrace whose standard output is ours.
#[derive(Debug)]
pub(super) struct Watch {
    process: Guarded,
    messages: JoinHandle<Vec<String>>,
}

impl Watch {
    /// Starts zctrace on a process and waits until it counts.
    pub(super) fn start(zctrace: &Path, pid: u32) -> Result<Self> {
        let mut command = Command::new(zctrace);
        command.args(["--pid", &pid.to_string(), "--duration", LONGEST]);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = Guarded::spawn(command).with_context(|| format!("cannot start {}", zctrace.display()))?;
        let stderr = process.child().stderr.take().context("zctrace has no standard error")?;
        let (attached, ready) = mpsc::channel();
        let messages = std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.starts_with(ATTACHED) {
                    // Nobody waits any more after the first.
                    let _ = attached.send(());
                }
                lines.push(line);
            }
            lines
        });
        let watch = Self { process, messages };
        watch.wait_until_attached(&ready)
    }

    fn wait_until_attached(mut self, ready: &Receiver<()>) -> Result<Self> {
        if ready.recv_timeout(ATTACH_LIMIT).is_ok() {
            return Ok(self);
        }
        // The hard way: a summary of nothing would only confuse.
        let ended = self.process.wait_for(Duration::ZERO).context("cannot wait for zctrace")?;
        let status = ended.map_or_else(|| self.process.kill(), Ok).context("cannot stop zctrace")?;
        bail!("zctrace did not attach ({status}):\n{}", self.said());
    }

    /// Asks for the summary, which zctrace writes to our standard output, and waits for its end.
    pub(super) fn finish(mut self) -> Result<()> {
        self.process.signal(Signal::INT).context("cannot send zctrace a signal")?;
        match self.process.wait_for(SUMMARY_LIMIT).context("cannot wait for zctrace")? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("zctrace failed ({status}):\n{}", self.said()),
            None => bail!("zctrace did not end within {} s of Ctrl-C", SUMMARY_LIMIT.as_secs()),
        }
    }

    /// What it wrote to standard error, once it has ended.
    fn said(self) -> String {
        self.messages.join().unwrap_or_default().join("\n")
    }
}
