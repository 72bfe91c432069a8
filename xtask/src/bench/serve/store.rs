//! What a real Prometheus stores of it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use testkit::{crowd::Broker, process::Guarded};

use super::{
    Programs,
    growth::{self, Size},
    service::{Service, free_address, get, request, wait_for},
};

/// How often it scrapes here, so that there is enough to look at soon.
const EVERY: Duration = Duration::from_millis(250);
/// How long.
const TIME: Duration = Duration::from_secs(60);

/// What lies in a block of the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) series: f64,
    pub(super) samples: f64,
    /// Bytes of the samples' chunks, and of the index with everything else.
    pub(super) chunks: f64,
    pub(super) index: f64,
}

/// Scrapes a broker under load for a while, has the store written to a block, and looks at it.
pub(super) fn stored(programs: &Programs, size: Size) -> anyhow::Result<Stored> {
    let dir = tempfile::tempdir()?;
    let mut brokers = growth::brokers(programs, dir.path(), size)?;
    let service = Service::start(&programs.zctrace, size.targets, &[])?;
    let (config, data) = (dir.path().join("prometheus.yml"), dir.path().join("data"));
    let job = format!(
        "global: {{scrape_interval: {}ms}}\nscrape_configs:\n- job_name: zctrace\n  static_configs:\n  - targets: ['{}']\n",
        EVERY.as_millis(),
        service.address
    );
    fs::write(&config, job)?;
    let address = free_address()?;
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--web.enable-admin-api", "--log.level=error"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let _prometheus = Guarded::spawn(command)?;
    wait_for("Prometheus is ready", || get(address, "/-/ready").ok())?;
    let started = Instant::now();
    while started.elapsed() < TIME {
        brokers.iter_mut().try_for_each(Broker::round)?;
        std::thread::sleep(EVERY);
    }
    let answer = request(address, "POST", "/api/v1/admin/tsdb/snapshot")?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let name = answer.pointer("/data/name").and_then(serde_json::Value::as_str).context("no snapshot")?;
    let mut sum = Stored { series: 0.0, samples: 0.0, chunks: 0.0, index: 0.0 };
    for block in fs::read_dir(data.join("snapshots").join(name))? {
        let block = block?.path();
        let meta: serde_json::Value = serde_json::from_str(&fs::read_to_string(block.join("meta.json"))?)?;
        let of = |name: &str| meta.pointer(&format!("/stats/{name}")).and_then(serde_json::Value::as_f64);
        sum.series += of("numSeries").unwrap_or(0.0);
        sum.samples += of("numSamples").unwrap_or(0.0);
        sum.chunks += size_of(&block.join("chunks"))?;
        sum.index += size_of(&block.join("index"))?;
    }
    Ok(sum)
}

/// Bytes of a file, or of the files in a folder.
fn size_of(path: &Path) -> anyhow::Result<f64> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len() as f64);
    }
    fs::read_dir(path)?.map(|entry| size_of(&entry?.path())).sum()
}
