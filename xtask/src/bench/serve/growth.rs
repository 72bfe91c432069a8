//! How a scrape grows with what is watched.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use serde::Deserialize;
use testkit::{
    crowd::{Broker, Crowd},
    process::Guarded,
};

use super::{Programs, service::Service};

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Partitions of each target.
    pub(super) partitions: usize,
    /// Listeners of each.
    pub(super) listeners: usize,
    pub(super) targets: usize,
}

/// What a scrape of it takes.
pub(super) struct Scrapes {
    /// Milliseconds, of each.
    pub(super) times: Vec<f64>,
    /// Bytes of the answer, and its samples.
    pub(super) body: f64,
    pub(super) samples: f64,
    /// Bytes: zctrace's resident memory, what of it are pages of files, and its maps in the kernel.
    pub(super) resident: f64,
    pub(super) of_files: f64,
    pub(super) maps: f64,
}

/// Targets of this size, with their bytes moved.
pub(super) fn brokers(programs: &Programs, dir: &Path, size: Size) -> anyhow::Result<Vec<Broker>> {
    let start = |node| {
        let dir = dir.join(format!("node-{node}"));
        let crowd = Crowd { dir, node, partitions: size.partitions, listeners: size.listeners };
        Broker::start(&programs.broker, &crowd).context("what looks like a broker did not start")
    };
    (1..=size.targets).map(start).collect()
}

pub(super) fn scrapes(programs: &Programs, size: Size, rounds: u32) -> anyhow::Result<Scrapes> {
    let dir = tempfile::tempdir()?;
    let mut brokers = brokers(programs, dir.path(), size)?;
    let service = Service::start(&programs.zctrace, size.targets, &[])?;
    brokers.iter_mut().try_for_each(Broker::round)?;
    let times = service.times(rounds)?;
    let text = service.scrape()?;
    Ok(Scrapes {
        times,
        body: text.len() as f64,
        samples: text.lines().filter(|line| !line.starts_with('#')).count() as f64,
        resident: service.resident()?,
        of_files: service.resident_of_files()?,
        maps: service.maps()?,
    })
}

/// What scrapes of one kind took.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Costs {
    /// Bytes allocated in each scrape, and the most of them in use at once.
    pub(super) allocated: Vec<f64>,
    pub(super) peak: Vec<f64>,
}

/// What the example program `scrape_cost` says.
#[derive(Debug, Deserialize)]
pub(super) struct Garbage {
    /// As Prometheus asks.
    pub(super) gzip: Costs,
    /// For a client that takes no gzip.
    pub(super) plain: Costs,
    /// The same of the topics alone as the `prometheus` crate has them.
    pub(super) metric_families_allocated: f64,
    pub(super) metric_families_peak: f64,
    /// Seconds a scrape by simulated processors.
    pub(super) processors: Vec<(u32, Vec<f64>)>,
}

pub(super) fn garbage(programs: &Programs, size: Size, rounds: u32) -> anyhow::Result<Garbage> {
    let dir = tempfile::tempdir()?;
    let mut brokers = brokers(programs, dir.path(), size)?;
    let broker = brokers.first_mut().context("no broker")?;
    let mut command = Command::new(&programs.scrape_cost);
    command.args([broker.pid().to_string(), rounds.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Guarded::spawn(command)?;
    let (mut input, output) = (process.child().stdin.take(), process.child().stdout.take());
    let mut output = BufReader::new(output.context("no output")?);
    output.read_line(&mut String::new())?;
    broker.round()?;
    writeln!(input.as_mut().context("no input")?)?;
    let mut line = String::new();
    output.read_line(&mut line)?;
    serde_json::from_str(&line).context("scrape_cost ended early: it says why above")
}
