//! `cargo xtask bench serve`: what `zctrace serve` costs: a scrape, memory, idling, attaching, and what Prometheus stores.

mod growth;
mod result;
pub(super) mod service;
mod store;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use growth::{Garbage, Scrapes, Size};
use result::{Axis, Found};
use service::Service;

use super::save::{self, Keep};
use crate::{build, command::install};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Scrapes of each size
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    #[command(flatten)]
    keep: Keep,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 20, keep: Keep { no_save: false } }
    }
}

/// What is measured.
struct Programs {
    zctrace: PathBuf,
    /// What looks like a broker.
    broker: PathBuf,
    /// Counts allocations of a scrape.
    scrape_cost: PathBuf,
}

/// The size that the goals are about.
const LARGE: Size = Size { partitions: 10_000, listeners: 4, targets: 1 };
/// An ordinary one: zctrace's default limit of topic-partitions.
const ORDINARY: Size = Size { partitions: 1000, listeners: 4, targets: 1 };
/// Times that it is started to see how long attaching takes.
const STARTS: usize = 7;
/// How long it is left alone, and how often that is measured.
const IDLE: (Duration, usize) = (Duration::from_secs(60), 3);

/// After six looks for processes those that did not become something else meanwhile are looked at now and then only.
const SETTLED: Duration = Duration::from_secs(35);

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    install(&["prometheus"])?;
    let built = build::release(&[("zctrace", "zctrace"), ("testkit", "broker-like")], &[])?;
    let path = |name: &str| built.get(name).cloned().with_context(|| format!("{name} was not built"));
    let programs = Programs {
        zctrace: path("zctrace")?,
        broker: path("broker-like")?,
        scrape_cost: build::example("zctrace", "scrape_cost")?,
    };
    let mut found = Found { rounds: options.rounds, ..Found::default() };
    for axis in Axis::ALL {
        for size in axis.sizes() {
            eprintln!("{axis}: {size:?}");
            let scrapes: Scrapes = growth::scrapes(&programs, size, options.rounds)?;
            let garbage: Option<Garbage> =
                (size.targets == 1).then(|| growth::garbage(&programs, size, options.rounds)).transpose()?;
            found.sizes.push((axis, size, scrapes, garbage));
        }
    }
    eprintln!("attaching, idling");
    for attach in ["auto", "raw"] {
        let dir = tempfile::tempdir()?;
        let _brokers = growth::brokers(&programs, dir.path(), Size { partitions: 1, ..ORDINARY })?;
        let time =
            || Service::start(&programs.zctrace, 1, &["--attach", attach])?.sample("zctrace_attach_duration_seconds");
        let times: Vec<f64> = (0..STARTS).map(|_| time()).collect::<anyhow::Result<_>>()?;
        found.attach.push((attach, times));
    }
    found.idle = idle(&programs)?;
    eprintln!("storing");
    found.stored = Some(store::stored(&programs, ORDINARY)?);
    save::finish(&result::record(&found), options.keep, result::draw)
}

/// Percent of a processor while nobody asks for anything and the target moves nothing.
fn idle(programs: &Programs) -> anyhow::Result<Vec<f64>> {
    let dir = tempfile::tempdir()?;
    let mut brokers = growth::brokers(programs, dir.path(), LARGE)?;
    let service = Service::start(&programs.zctrace, 1, &[])?;
    brokers.iter_mut().try_for_each(testkit::crowd::Broker::round)?;
    service.scrape()?;
    std::thread::sleep(SETTLED);
    (0..IDLE.1).map(|_| Ok(service.processor_time(IDLE.0)? / IDLE.0.as_secs_f64() * 100.0)).collect()
}
