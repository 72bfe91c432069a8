//! `cargo xtask bench scale`: whether the cost of a call stays the same with many targets, partitions, connections and calls.

mod axis;
mod result;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::Path,
};

use anyhow::{Context as _, ensure};
use axis::{Axis, Point};
use testkit::worker::{Place, Worker};

use super::{
    account::{Account, Ran},
    pin::{self, Pinned},
    save::{self, Keep},
    serve::service::Service,
    tool::{self, Tool},
};
use crate::{build, stats};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each measures every size once
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: u64,
    #[command(flatten)]
    keep: Keep,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 12, keep: Keep { no_save: false } }
    }
}

/// What was measured at a point.
#[derive(Clone, Debug, Default)]
struct Measured {
    /// Nanoseconds a call without, a value a round.
    base: Vec<f64>,
    /// Nanoseconds that are added, a value a round.
    added: Vec<f64>,
    /// Calls a second that were made while zctrace was attached, a value a round, where they are paced.
    rates: Vec<f64>,
    /// The program that ran for each call.
    program: Option<Ran>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let built = build::release(&[("zctrace", "zctrace"), ("testkit", "bench-worker")], &[])?;
    let path = |name: &str| built.get(name).with_context(|| format!("{name} was not built"));
    let points: Vec<Point> = Axis::ALL.into_iter().flat_map(Axis::points).collect();
    let found = measure(&points, options.rounds, path("zctrace")?, path("bench-worker")?)?;
    save::finish(&result::record(options.rounds, &points, &found), options.keep, result::draw)
}

/// The smallest and the largest sizes once, with programs that need not be fast: that it all works, not what it costs.
pub(crate) fn smoke(zctrace: &Path, worker: &Path) -> anyhow::Result<()> {
    let ends = |axis: Axis| {
        let points: Vec<Point> = axis.points().collect();
        points.first().copied().into_iter().chain(points.last().copied())
    };
    let points: Vec<Point> = Axis::ALL.into_iter().flat_map(ends).collect();
    let found = measure(&points, 1, zctrace, worker)?;
    for (point, measured) in points.iter().zip(&found) {
        ensure!(measured.added.len() == 1, "{} was measured {} times", point.row(), measured.added.len());
        ensure!(measured.program.is_some(), "no program ran for {}", point.row());
    }
    let dir = tempfile::tempdir()?;
    result::draw(&result::record(1, &points, &found), dir.path()).map(drop)
}

/// zctrace at a point, until this is dropped.
enum Attached {
    One(Tool),
    Many(Service),
}

/// Those who make calls.
struct Bench<'a> {
    zctrace: &'a Path,
    /// By the number of files and of connections that each has.
    workers: BTreeMap<(usize, usize), Worker>,
    /// Targets beside the one that is measured.
    others: Vec<Worker>,
}

fn measure(points: &[Point], rounds: u64, zctrace: &Path, program: &Path) -> anyhow::Result<Vec<Measured>> {
    let cpu = pin::last()?;
    let _here = Pinned::to(0)?;
    let mut found = vec![Measured::default(); points.len()];
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        // As in `hooks::measure`.
        let dir = tempfile::tempdir()?;
        let mut bench = Bench::start(points, zctrace, &|name, files, connections| {
            let place = Place { cpu, files, connections, dir: dir.path().join(name) };
            Worker::start(program, &place).context("a process to measure could not be started")
        })?;
        for place in stats::order(points.len(), round) {
            if let Some((point, measured)) = points.get(place).zip(found.get_mut(place)) {
                bench.once(*point, measured).with_context(|| point.row())?;
            }
        }
        if round + 1 == rounds {
            for (point, measured) in points.iter().zip(&mut found) {
                measured.program = bench.account(*point).with_context(|| point.row())?;
            }
        }
    }
    eprintln!();
    Ok(found)
}

/// Starts a process that makes calls, of a name, with so many files and connections.
type Start<'a> = &'a dyn Fn(&str, usize, usize) -> anyhow::Result<Worker>;

impl<'a> Bench<'a> {
    fn start(points: &[Point], zctrace: &'a Path, start: Start<'_>) -> anyhow::Result<Self> {
        let mut bench = Self { zctrace, workers: BTreeMap::new(), others: Vec::new() };
        for point in points {
            let (files, connections) = (point.files(), point.connections());
            if let Entry::Vacant(place) = bench.workers.entry((files, connections)) {
                place.insert(start(&format!("{files}-{connections}"), files, connections)?);
            }
            while bench.others.len() + 1 < point.targets() {
                bench.others.push(start(&format!("other-{}", bench.others.len()), 1, 0)?);
            }
        }
        Ok(bench)
    }

    fn worker(&mut self, point: Point) -> anyhow::Result<&mut Worker> {
        self.workers.get_mut(&(point.files(), point.connections())).context("there is no such worker")
    }

    fn attach(&mut self, point: Point) -> anyhow::Result<Attached> {
        let first = self.worker(point)?.pid().to_string();
        if point.targets() == 1 {
            return tool::zctrace(self.zctrace, first.parse()?, &[]).map(Attached::One);
        }
        let mut arguments = vec!["--discover".to_owned(), "none".to_owned()];
        arguments.extend(["--targets.max".to_owned(), point.targets().to_string(), "--pid".to_owned(), first]);
        for other in self.others.iter().take(point.targets() - 1) {
            arguments.extend(["--pid".to_owned(), other.pid().to_string()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Service::start(self.zctrace, point.targets(), &arguments).map(Attached::Many)
    }

    /// Without, and with.
    fn once(&mut self, point: Point, measured: &mut Measured) -> anyhow::Result<()> {
        let without = self.time(point)?.0;
        let attached = self.attach(point)?;
        // What is seen for the first time costs more, once.
        self.worker(point)?.measure(&point.everything())?;
        let (with, rate) = self.time(point)?;
        drop(attached);
        measured.base.push(without);
        measured.added.push(with - without);
        measured.rates.extend(rate);
        Ok(())
    }

    /// Nanoseconds a call, and calls a second where they are paced.
    fn time(&mut self, point: Point) -> anyhow::Result<(f64, Option<f64>)> {
        let order = point.order();
        let started = std::time::Instant::now();
        let times = self.worker(point)?.measure(&order)?;
        // The batch that is thrown away is in the time, too.
        let rate = f64::from(order.calls) * f64::from(order.batches + 1) / started.elapsed().as_secs_f64();
        Ok((stats::undisturbed(&times).context("a worker measured nothing")?, order.rate.map(|_| rate)))
    }

    /// The kernel's account of the program that runs at the calls.
    fn account(&mut self, point: Point) -> anyhow::Result<Option<Ran>> {
        let attached = self.attach(point)?;
        self.worker(point)?.measure(&point.everything())?;
        let account = Account::open(match &attached {
            Attached::One(tool) => tool.programs()?,
            Attached::Many(service) => tool::programs_of(service.pid())?,
        })?;
        let order = point.order();
        self.worker(point)?.measure(&order)?;
        let calls = f64::from(order.calls) * f64::from(order.batches + 1);
        // Others ran for somebody else's calls.
        let mut ran: Vec<Ran> = account.close()?.into_iter().filter(|ran| ran.runs >= calls).collect();
        ensure!(ran.len() <= 1, "several programs run for a call: {ran:?}");
        Ok(ran.pop())
    }
}
