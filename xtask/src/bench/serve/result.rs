//! The result: tables, goals, pictures.

use std::{fmt, path::Path};

use super::{Garbage, LARGE, ORDINARY, Scrapes, Size, store::Stored};
use crate::{
    bench::{
        plot::{self, Lines},
        record::{Record, exactly},
    },
    stats::{Estimate, median_of},
};

/// What is made larger while the rest stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Partitions,
    Listeners,
    Targets,
}

impl Axis {
    pub(super) const ALL: [Self; 3] = [Self::Partitions, Self::Listeners, Self::Targets];

    pub(super) fn sizes(self) -> Vec<Size> {
        match self {
            Self::Partitions => {
                [100, 1000, 3000, LARGE.partitions].map(|partitions| Size { partitions, ..LARGE }).into()
            }
            Self::Listeners => [1, 8, 64].map(|listeners| Size { listeners, ..ORDINARY }).into(),
            Self::Targets => [1, 4, 16].map(|targets| Size { partitions: 100, listeners: 4, targets }).into(),
        }
    }

    const fn of(self, size: Size) -> usize {
        match self {
            Self::Partitions => size.partitions,
            Self::Listeners => size.listeners,
            Self::Targets => size.targets,
        }
    }

    /// The table's title: what stays is in it.
    const fn table(self) -> &'static str {
        match self {
            Self::Partitions => "By partitions (1 target, 4 listeners)",
            Self::Listeners => "By listeners (1 target, 1,000 partitions)",
            Self::Targets => "By targets (each 100 partitions and 4 listeners)",
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partitions => "partitions",
            Self::Listeners => "listeners",
            Self::Targets => "targets",
        })
    }
}

/// Everything that was measured.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rounds: u32,
    pub(super) sizes: Vec<(Axis, Size, Scrapes, Option<Garbage>)>,
    /// Seconds, by what `--attach` was.
    pub(super) attach: Vec<(&'static str, Vec<f64>)>,
    /// Percent of a processor.
    pub(super) idle: Vec<f64>,
    pub(super) stored: Option<Stored>,
}

const PROCESSORS: &str = "By processors (10,000 partitions; simulated)";
const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;
/// Brokers of a fleet, seconds between scrapes, seconds of a day.
const FLEET: f64 = 1000.0;
const EVERY: f64 = 15.0;
const DAY: f64 = 86_400.0;

pub(super) fn record(found: &Found) -> Record {
    let mut record = Record::new("serve", "What zctrace serve costs");
    record.method = method(found.rounds);
    for (axis, size, scrapes, garbage) in &found.sizes {
        let row = format!("zctrace, {} {axis}", axis.of(*size));
        let mut add = |column: &str, unit: &str, value| record.measure([axis.table(), &row, column], unit, value);
        add("scrape", "ms", median_of(&scrapes.times));
        add("samples", "", Some(exactly(scrapes.samples)));
        add("answer", "KiB", Some(exactly((scrapes.body / KIB).round())));
        if let Some(garbage) = garbage {
            let kib = |values: &[f64]| median_of(values).map(|it| scaled(it, KIB));
            add("allocated a scrape", "KiB", kib(&garbage.gzip.allocated));
            add("most at once", "KiB", kib(&garbage.gzip.peak));
            add("allocated without gzip", "KiB", kib(&garbage.plain.allocated));
        }
        add("resident", "MiB", Some(exactly(scrapes.resident / MIB)));
        add("of it, pages of files", "MiB", Some(exactly(scrapes.of_files / MIB)));
        add("maps in the kernel", "MiB", Some(exactly(scrapes.maps / MIB)));
    }
    let large = found.sizes.iter().find(|(axis, size, ..)| *axis == Axis::Partitions && *size == LARGE);
    if let Some((_, _, scrapes, Some(garbage))) = large {
        for (processors, seconds) in &garbage.processors {
            let row = format!("zctrace, {processors} processors");
            record.measure([PROCESSORS, &row, "scrape"], "ms", median_of(seconds).map(|it| scaled(it, 1e-3)));
        }
        let goal = |what: &str| format!("{what}, 10,000 partitions");
        record.goal(goal("a scrape"), "ms", median_of(&scrapes.times), 50.0);
        let kib = |values: &[f64]| median_of(values).map(|it| scaled(it, KIB));
        record.goal(goal("allocated in a scrape"), "KiB", kib(&garbage.gzip.allocated), 1024.0);
        record.goal(goal("resident memory without maps"), "MiB", Some(exactly(scrapes.resident / MIB)), 20.0);
        record.notes.push(format!(
            "The topics of 10,000 partitions as the `prometheus` crate's `MetricFamily` and its text encoder have them take \
             {:.1} MiB of allocations, {:.1} MiB of them at once, for each scrape: that is why the exposition is written \
             straight from the Report (`agent/src/output/prometheus`), and the crate is used for the metrics of the process \
             alone.",
            garbage.metric_families_allocated / MIB,
            garbage.metric_families_peak / MIB
        ));
    }
    for (attach, seconds) in &found.attach {
        let milliseconds = median_of(seconds).map(|it| scaled(it, 1e-3));
        record.measure(["Attaching and idling", "zctrace", &format!("--attach {attach}")], "ms", milliseconds);
        record.goal(format!("attaching, --attach {attach}"), "ms", milliseconds, 100.0);
    }
    record.measure(["Attaching and idling", "zctrace", "idle"], "% of a processor", median_of(&found.idle));
    record.goal("idle, 10,000 partitions".to_owned(), "% of a processor", median_of(&found.idle), 0.1);
    if let Some(stored) = &found.stored {
        storage(&mut record, stored);
    }
    record
}

fn storage(record: &mut Record, stored: &Stored) {
    const TABLE: &str = "What Prometheus stores of a broker with 1,000 partitions and 4 listeners";
    let bytes = stored.chunks / stored.samples.max(1.0);
    let a_day = stored.series * DAY / EVERY * bytes;
    let mut add =
        |column: &str, unit: &str, value| record.measure([TABLE, "zctrace", column], unit, Some(exactly(value)));
    add("series", "", stored.series);
    add("bytes a sample", "", bytes);
    add("index, once a block, a series", "bytes", stored.index / stored.series.max(1.0));
    add("a broker's samples a day, every 15 s", "MB", a_day / 1e6);
    add("1,000 brokers' samples a day", "GB", a_day * FLEET / 1e9);
}

fn scaled(value: Estimate, by: f64) -> Estimate {
    Estimate { value: value.value / by, low: value.low / by, high: value.high / by }
}

fn method(rounds: u32) -> Vec<String> {
    vec![
        "The targets are no brokers but processes that look like one to zctrace (`testkit::crowd`): so many partition \
         folders with one segment each, a `server.properties`, so many listeners; each partition is read once by `pread` and \
         sent once by `sendfile` before the scrapes."
            .to_owned(),
        format!(
            "A scrape is what a client waits for that takes gzip, as Prometheus does, from the connection to the last byte of \
             `/metrics`: {rounds} of each size, after three that are not counted. `--topics.limit` is as large as what is \
             watched."
        ),
        "Allocated: with everything counted that is counted by default, every byte that the process asks its allocator for \
         from the request to the answer's last byte, the web server's included, by a counting allocator in \
         `agent/examples/scrape_cost.rs` (growth of a buffer counts for what it grows by). All of it is given back after the \
         scrape; *most at once* is how much of it is in use at a time. A client that takes no gzip has its whole answer in \
         memory until it has read it."
            .to_owned(),
        "Resident is `VmRSS` between scrapes, after all of them; a part of it are pages of files (`RssFile`), the program's \
         own code and constants, which the kernel has once for all who run it. Maps are apart: the sum of `memlock` of the \
         maps' descriptors, memory of the kernel that is not in it."
            .to_owned(),
        "Processors are simulated, as the machine has few: for a scrape on n processors the maps are read and made a Report \
         n / 2 times, since a read brings the values of all processors. That is more than n processors cost: keys and names \
         are there once."
            .to_owned(),
        "Attaching is `zctrace_attach_duration_seconds` of seven starts. Idle is the processor time of all threads in 60 s \
         without a request, three times, half a minute after the start; it looks for processes every 5 s and samples for the ratios every 5 s \
         meanwhile, and looks every 30 s for files that lie still."
            .to_owned(),
        "Storage: Prometheus scrapes every 250 ms for a minute while the target goes on, writes a block \
         (`/api/v1/admin/tsdb/snapshot`), and the block's files are weighed. Every series of the topics grows at every scrape: \
         quiet ones take less."
            .to_owned(),
    ]
}

/// Lines of time by each axis.
pub(super) fn draw(record: &Record, dir: &Path) -> anyhow::Result<Vec<String>> {
    let tables = Axis::ALL.map(|axis| (axis.to_string(), axis.table())).into_iter();
    let tables: Vec<_> = tables.chain([("processors".to_owned(), PROCESSORS)]).collect();
    let mut names = Vec::new();
    let quantities = [("scrape", "ms"), ("resident", "MiB"), ("allocated a scrape", "KiB")];
    for (quantity, unit) in quantities {
        let lines: Lines = tables
            .iter()
            .map(|(axis, table)| {
                let measures = record.measures.iter().filter(|it| it.table == *table && it.column == quantity);
                let x = |row: &str| row.split(' ').nth(1).and_then(|number| number.parse().ok());
                (axis.clone(), measures.filter_map(|it| Some((x(&it.row)?, it.value))).collect::<Vec<_>>())
            })
            .filter(|(_, points)| points.len() > 1)
            .collect();
        let name = format!("serve-{}.svg", quantity.split(' ').next().unwrap_or(quantity));
        let title = format!("zctrace serve, {quantity}, Linux {}", record.machine.kernel);
        plot::lines(&dir.join(&name), &title, "partitions, listeners, targets or processors", unit, &lines)?;
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::growth::Costs, *};
    use crate::bench::record::Verdict;

    fn found() -> Found {
        let scrapes = |size: Size| Scrapes {
            times: vec![size.partitions as f64 / 250.0; 9],
            body: 1e6,
            samples: 3e4,
            resident: 30.0 * MIB,
            of_files: 9.0 * MIB,
            maps: 9.0 * MIB,
        };
        let costs = || Costs { allocated: vec![5e5; 9], peak: vec![4e5; 9] };
        let garbage = || Garbage {
            gzip: costs(),
            plain: costs(),
            metric_families_allocated: 16e6,
            metric_families_peak: 15e6,
            processors: vec![(2, vec![0.04; 5]), (8, vec![0.1; 5])],
        };
        let sizes = Axis::ALL.into_iter().flat_map(|axis| axis.sizes().into_iter().map(move |size| (axis, size)));
        Found {
            rounds: 9,
            sizes: sizes.map(|(axis, size)| (axis, size, scrapes(size), (size.targets == 1).then(garbage))).collect(),
            attach: vec![("raw", vec![0.09; 7])],
            idle: vec![0.02; 3],
            stored: Some(Stored { series: 3000.0, samples: 3e5, chunks: 6e5, index: 3e5 }),
        }
    }

    #[test]
    fn goals_and_growth_are_in_the_record() {
        let record = record(&found());
        let verdicts: Vec<_> = record.goals.iter().map(|goal| (goal.what.as_str(), goal.verdict())).collect();
        assert_eq!(
            verdicts,
            [
                ("a scrape, 10,000 partitions", Verdict::Met),
                ("allocated in a scrape, 10,000 partitions", Verdict::Met),
                ("resident memory without maps, 10,000 partitions", Verdict::Missed),
                ("attaching, --attach raw", Verdict::Met),
                ("idle, 10,000 partitions", Verdict::Met),
            ]
        );
        let day = record.measures.iter().find(|it| it.column.starts_with("a broker's")).unwrap();
        // 3,000 series, 5,760 times a day, 2 bytes.
        assert!((day.value.value - 34.56).abs() < 0.01, "{day:?}");
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            draw(&record, dir.path()).unwrap(),
            ["serve-scrape.svg", "serve-resident.svg", "serve-allocated.svg"]
        );
        let svg = std::fs::read_to_string(dir.path().join("serve-scrape.svg")).unwrap();
        for axis in ["partitions", "listeners", "targets", "processors"] {
            assert!(svg.lines().any(|line| line.trim() == axis), "{axis}");
        }
    }
}
