//! The result: tables, goals, picture.

use std::path::Path;

use super::{
    Measured,
    axis::{Axis, Point},
};
use crate::{
    bench::{
        plot,
        record::{Measure, OURS, Record, exactly},
    },
    stats,
};

/// What the largest size may cost, at most so many times what the smallest does, to be called flat.
const FLAT: f64 = 1.25;
const ADDED: &str = "added a call";

pub(super) fn record(rounds: u64, points: &[Point], found: &[Measured]) -> Record {
    let mut record = Record::new("scale", "Whether a call's cost stays the same");
    record.method = method(rounds);
    for (point, measured) in points.iter().zip(found) {
        let (table, row) = (table(point.axis), row(*point));
        let mut add = |column: &str, unit: &str, value| record.measure([&table, &row, column], unit, value);
        add(ADDED, "ns", stats::median_of(&measured.added));
        if let Some(ran) = &measured.program {
            add("run by the kernel's account", "ns", Some(exactly((ran.seconds * 1e9 / ran.runs).round())));
            if let Some(verified) = ran.verified {
                add("verified instructions", "", Some(exactly(f64::from(verified))));
            }
            add("machine code", "bytes", Some(exactly(f64::from(ran.code))));
        }
        add("calls made a second", "", stats::median_of(&measured.rates).map(|rate| exactly(rate.value.round())));
    }
    for (point, measured) in points.iter().zip(found) {
        record.measure(
            ["The calls themselves", &point.row(), "nothing attached"],
            "ns",
            stats::median_of(&measured.base),
        );
    }
    for axis in Axis::ALL {
        let of_axis: Vec<_> = points.iter().zip(found).filter(|(point, _)| point.axis == axis).collect();
        let Some(((smallest, few), (largest, many))) = of_axis.first().zip(of_axis.last()) else { continue };
        let what = format!("zctrace: {}, against {}", largest.row(), smallest.row());
        record.goal(what, "×", stats::ratio_of(&many.added, &few.added, stats::median), FLAT);
    }
    record
}

fn table(axis: Axis) -> String {
    let name = axis.to_string();
    let mut letters = name.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}: {}", letters.as_str(), axis.call())
}

fn row(point: Point) -> String {
    format!("{OURS}, {}", point.row())
}

fn method(rounds: u64) -> Vec<String> {
    vec![
        format!(
            "{rounds} rounds, each with processes of its own. In each, every size has its turn, in another order each round: calls \
             are timed without, and with zctrace attached as it is by default. What it adds is the difference, a value a round; \
             shown is the median of the rounds."
        ),
        "One thing grows at a time; everything else is one. Targets: `zctrace serve` with so many processes, of which one \
         makes the calls. Partitions: files, each in a topic-partition's folder. Connections: accepted on one port."
            .to_owned(),
        "A value is that below which a tenth of 60 batches lies, since whoever else wants the processor only makes a batch slower; \
         by the thread's own processor time. Calls at a rate are made in bursts, a thousand a second, with sleep between them, \
         and timed by the time that passes, in 20 batches."
            .to_owned(),
        format!(
            "The kernel's own account: BPF_ENABLE_STATS, its two clock readings for each run included. Flat: the largest size \
             costs at most {FLAT} times what the smallest does."
        ),
    ]
}

pub(super) fn draw(record: &Record, dir: &Path) -> anyhow::Result<Vec<String>> {
    let lines = Axis::ALL
        .into_iter()
        .map(|axis| {
            let at = |point: Point| {
                let here = |it: &&Measure| it.table == table(axis) && it.row == row(point) && it.column == ADDED;
                record.measures.iter().find(here).map(|it| (f64::from(point.size), it.value))
            };
            (axis.to_string(), axis.points().filter_map(at).collect())
        })
        .collect();
    let title = format!("Added nanoseconds a call, Linux {}", record.machine.kernel);
    plot::lines(&dir.join("scale.svg"), &title, "how many", "ns", &lines)?;
    Ok(vec!["scale.svg".to_owned()])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bench::{account::Ran, record::Verdict};

    #[test]
    fn what_grows_is_no_more_than_flat() {
        let points: Vec<Point> = Axis::ALL.into_iter().flat_map(Axis::points).collect();
        let found: Vec<Measured> = points
            .iter()
            .map(|point| {
                let cost = if point.axis == Axis::Partitions { 100.0 + f64::from(point.size) / 50.0 } else { 100.0 };
                let program =
                    Ran { name: "p".to_owned(), runs: 1000.0, seconds: cost / 1e6, verified: Some(50), code: 900 };
                Measured {
                    base: vec![300.0; 5],
                    added: [0.0, 1.0, 2.0].map(|noise| cost + noise).to_vec(),
                    rates: if point.axis == Axis::Rate { vec![f64::from(point.size)] } else { Vec::new() },
                    program: Some(program),
                }
            })
            .collect();
        let record = record(3, &points, &found);
        let verdicts: Vec<Verdict> = record.goals.iter().map(|goal| goal.verdict()).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::Missed, Verdict::Met, Verdict::Met]);
        let of_row = |row: &str| record.measures.iter().filter(|it| it.row == row).count();
        assert_eq!((of_row("zctrace, 64 targets"), of_row("zctrace, 1,000 calls a second")), (4, 5));
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(draw(&record, dir.path()).unwrap(), ["scale.svg"]);
    }
}
