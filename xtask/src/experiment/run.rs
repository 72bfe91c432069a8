//! One reading of the topic: what the broker used, and what zctrace says that it was for.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::{
    kafka::{Broker, Clients},
    process::{Guarded, Signal},
};

use super::{Setup, TOPIC};

/// Processor time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Used {
    pub(super) user: f64,
    pub(super) kernel: f64,
}

impl Used {
    pub(super) fn both(self) -> f64 {
        self.user + self.kernel
    }
}

/// One reading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    /// Bytes of the records that were read, in units of 10^9.
    pub(super) gigabytes: f64,
    /// What the whole broker used, by the kernel's account.
    pub(super) broker: Used,
    /// What the threads of the listener used, by zctrace.
    pub(super) zctrace: Used,
    /// How long the client took, in seconds.
    pub(super) seconds: f64,
}

/// The kernel counts in hundredths of a second (`USER_HZ`).
const TICK: f64 = 0.01;
/// How long the watch may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn once(setup: Setup, broker: &Broker, clients: &Clients<'_>, zctrace: &Path, bytes: u64) -> Result<Run> {
    let watch = Watch::start(zctrace, broker.pid())?;
    let before = used(broker.pid())?;
    let moved = clients.consume(TOPIC, setup.listener_name())?;
    let after = used(broker.pid())?;
    let report = watch.finish()?;
    ensure!(moved.bytes == bytes, "a client got {} bytes of {bytes}", moved.bytes);
    let listeners = report["listeners"].as_array().context("zctrace's document has no listeners")?;
    let listener = listeners.iter().find(|listener| listener["name"] == setup.listener_name());
    let listener = listener.with_context(|| format!("zctrace saw no listener {}", setup.listener_name()))?;
    as_meant(setup, listener)?;
    let seconds = |field: &str| listener["cost"][field].as_f64().with_context(|| format!("zctrace tells no {field}"));
    #[allow(clippy::cast_precision_loss)] // bytes of a few gigabytes
    Ok(Run {
        gigabytes: bytes as f64 / 1e9,
        broker: Used { user: after.user - before.user, kernel: after.kernel - before.kernel },
        zctrace: Used { user: seconds("user_seconds")?, kernel: seconds("kernel_seconds")? },
        seconds: moved.seconds,
    })
}

/// A set-up that does not send as it should would answer another question.
fn as_meant(setup: Setup, listener: &Value) -> Result<()> {
    let share = listener["zero_copy_ratio"].as_f64().context("nothing was sent")?;
    let reason = listener["reasons"][0]["code"].as_str().unwrap_or_default();
    let holds = match setup {
        Setup::Plaintext => share > 0.99,
        // It is declared as SSL and writes no TLS: nobody can tell from outside what it does.
        Setup::Copy => share == 0.0 && reason == "unknown",
        Setup::Aes | Setup::Chacha => share == 0.0 && reason == "tls",
    };
    ensure!(holds, "{} sent {share} by zero copy, the rest for the reason `{reason}`", setup.title());
    Ok(())
}

/// What a process has used, all of its threads.
fn used(pid: u32) -> Result<Used> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("{path} can't be read"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |index: usize| -> Result<f64> {
        Ok(fields.get(index).with_context(|| format!("{path} is cut"))?.parse::<f64>()? * TICK)
    };
    Ok(Used { user: ticks(11)?, kernel: ticks(12)? })
}

/// zctrace beside a reading.
struct Watch(Guarded);

impl Watch {
    fn start(zctrace: &Path, pid: u32) -> Result<Self> {
        let mut command = Command::new(zctrace);
        command.args(["--pid", &pid.to_string(), "--output", "json", "--duration", "900s"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Guarded::spawn(command).with_context(|| format!("cannot start {}", zctrace.display()))?;
        let stderr = process.child().stderr.take().context("zctrace has no standard error")?;
        let mut said = String::new();
        let mut lines = BufReader::new(stderr);
        while !said.contains("Watching ") {
            let read = lines.read_line(&mut said).context("cannot read what zctrace says")?;
            ensure!(read > 0, "zctrace did not attach:\n{said}");
        }
        Ok(Self(process))
    }

    fn finish(mut self) -> Result<Value> {
        self.0.signal(Signal::INT).context("cannot send zctrace a signal")?;
        let mut document = String::new();
        let mut stdout = self.0.child().stdout.take().context("zctrace has no standard output")?;
        stdout.read_to_string(&mut document).context("cannot read zctrace's document")?;
        let status = self.0.wait_for(PATIENCE).context("cannot wait for zctrace")?;
        ensure!(status.is_some_and(|status| status.success()), "zctrace failed ({status:?})");
        serde_json::from_str(&document).context("zctrace's document is none")
    }
}
