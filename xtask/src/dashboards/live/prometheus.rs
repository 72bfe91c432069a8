//! A real Prometheus with the shipped scrape job and rules.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use testkit::process::Guarded;

use crate::command::root;

/// Longest time that anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Scrape interval here, in seconds; the shipped one would make everybody wait.
pub(super) const SCRAPE: u64 = 5;

/// An address that nobody listens on now.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?)
}

/// Waits until `ready` gives something.
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = ready() {
            return Ok(value);
        }
        ensure!(started.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A running Prometheus, which ends and leaves nothing when this is dropped.
#[derive(Debug)]
pub(crate) struct Prometheus {
    // Before the folder: the process must be gone when the folder is removed.
    _process: Guarded,
    _folder: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it with the shipped configuration, which scrapes `zctrace` instead of the address in it.
    pub(crate) fn start(zctrace: SocketAddr) -> Result<Self> {
        let shipped = root().join("dashboards/prometheus");
        let config = std::fs::read_to_string(shipped.join("prometheus.yml"))?;
        let every = format!("interval: {SCRAPE}s");
        let config = changed(&config, "interval: 15s", &every)?;
        let config = changed(&config, "localhost:19092", &zctrace.to_string())?;
        let config = changed(&config, "rules/*.yml", &shipped.join("rules/*.yml").display().to_string())?;
        Self::start_with(&config)
    }

    /// Starts it with a configuration.
    pub(crate) fn start_with(config: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config)?;
        let process = Guarded::spawn(command(&file, folder.path(), address))
            .context("prometheus could not be started. On Debian or Ubuntu: apt-get install prometheus")?;
        let prometheus = Self { _process: process, _folder: folder, address };
        wait_for("Prometheus answers", || prometheus.get("/-/ready").ok())?;
        Ok(prometheus)
    }

    fn get(&self, path: &str) -> Result<String> {
        get(&format!("http://{}{path}", self.address))
    }

    /// Asks its API; the answer's `data`.
    pub(super) fn api(&self, path: &str, form: &[(&str, String)]) -> Result<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let form = form.iter().map(|(name, value)| (*name, value.as_str()));
        let answer = agent.post(&url).send_form(form)?.body_mut().read_to_string()?;
        let mut answer: Value = serde_json::from_str(&answer).with_context(|| format!("{url} said {answer}"))?;
        if answer["status"] != "success" {
            bail!("{}", answer["error"].as_str().unwrap_or("no reason given"));
        }
        Ok(answer["data"].take())
    }

    /// Values of a label, of series that match.
    pub(super) fn label_values(&self, series: &str, label: &str) -> Result<Vec<String>> {
        let found = self.api("series", &[("match[]", series.to_owned())])?;
        let values = found.as_array().context("no list of series")?.iter().filter_map(|one| one[label].as_str());
        Ok(values.map(str::to_owned).collect::<std::collections::BTreeSet<_>>().into_iter().collect())
    }

    /// The one number that a query gives now; nothing where it gives none.
    pub(crate) fn number(&self, query: &str) -> Option<f64> {
        let data = self.api("query", &[("query", query.to_owned())]).ok()?;
        data.pointer("/result/0/value/1")?.as_str()?.parse().ok()
    }
}

fn command(config: &Path, folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--log.level=error")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// A text in which something is replaced that must be there.
fn changed(text: &str, from: &str, to: &str) -> Result<String> {
    ensure!(text.contains(from), "dashboards/prometheus/prometheus.yml has no {from:?} any more");
    Ok(text.replace(from, to))
}

/// The body of a page.
pub(super) fn get(url: &str) -> Result<String> {
    Ok(ureq::get(url).call()?.body_mut().read_to_string()?)
}
