//! The result: tables, notes, picture.

use std::path::Path;

use super::part::{self, NOTHING, PARTS};
use crate::{
    bench::{
        hooks::{CELLS, Found, Row},
        plot,
        record::{OURS, Record},
    },
    stats,
};

const ADDED: &str = "Added time a call";
const PRICE: &str = "The price of each part: what it adds to zctrace without any";

fn title(variant: &str) -> String {
    format!("{OURS}, {variant}")
}

pub(super) fn record(rounds: u64, found: &Found) -> Record {
    let mut record = Record::new("options", "The price of each part of zctrace");
    record.method = method(rounds);
    let variants = part::variants(&PARTS);
    let rows = || variants.iter().filter_map(|variant| Some((variant.name.as_str(), found.rows.get(&variant.name)?)));
    for (name, row) in rows() {
        if let Some(absent) = &row.absent {
            record.notes.push(format!("{name} is not possible here: {}", absent.lines().next().unwrap_or_default()));
        }
        for (index, cell) in CELLS.iter().enumerate() {
            record.measure([ADDED, &title(name), cell.name], "ns", stats::median_of(&row.samples(index)));
        }
    }
    let nothing = found.rows.get(NOTHING);
    for (name, row) in rows().filter(|(name, _)| *name != NOTHING) {
        for (index, cell) in CELLS.iter().enumerate() {
            // Values of one round stand at the same place, since what can't be attached has none at all.
            let prices: Option<Vec<f64>> = nothing.map(|nothing| {
                row.samples(index).iter().zip(nothing.samples(index)).map(|(with, without)| with - without).collect()
            });
            let price = prices.and_then(|prices| stats::median_of(&prices));
            record.measure([PRICE, &title(name), cell.name], "ns", price);
        }
    }
    for (name, row) in rows() {
        for program in &row.programs {
            program.note(&mut record, &title(name));
        }
    }
    if let Some(nothing) = nothing {
        record.notes.extend(rows().filter_map(|(name, row)| same_program(name, row, nothing)));
    }
    record
}

/// Whether a part changes the program at all, where it does not: such a part costs a call nothing, whatever a clock says.
fn same_program(name: &str, row: &Row, nothing: &Row) -> Option<String> {
    let size =
        |row: &Row| -> Vec<_> { row.programs.iter().map(|it| (it.name.clone(), it.verified, it.jitted)).collect() };
    let same = name != NOTHING && !nothing.programs.is_empty() && size(row) == size(nothing);
    same.then(|| {
        format!(
            "{name}: the programs that run at calls are those without it, to the instruction: it works in zctrace itself, and \
             costs a call nothing."
        )
    })
}

fn method(rounds: u64) -> Vec<String> {
    vec![
        format!(
            "{rounds} rounds, each with processes of its own. In each, `zctrace --pid` is attached once without any part, once \
             with each part alone, and as by default, in another order each round; before it the same calls are timed without. \
             The calls and the clock are those of [hooks.md](hooks.md)."
        ),
        "Price: what a part adds, less what zctrace without any part adds in the same round; the median of the rounds.".to_owned(),
        "What is off costs nothing: the program without a part is another program, which has none of the part's instructions (the \
         verifier removes them). Its counts of instructions and bytes stand below, and every change of them is told against \
         the last run."
            .to_owned(),
    ]
}

pub(super) fn draw(record: &Record, dir: &Path) -> anyhow::Result<Vec<String>> {
    let title = format!("Added nanoseconds a call, by part, Linux {}", record.machine.kernel);
    plot::table(record, |it| it.table == ADDED, dir, "options.svg", &title)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bench::{hooks::Program, record::Measure};

    fn row(nanoseconds: f64, instructions: u32) -> Row {
        let added = (0..9).map(|round| [nanoseconds + f64::from(round * 10); CELLS.len()]).collect();
        let program = Program {
            name: "raw_sys_exit".to_owned(),
            verified: Some(instructions),
            jitted: instructions,
            nanoseconds: [Some(50.0); CELLS.len()],
        };
        Row { added, programs: vec![program], absent: None }
    }

    #[test]
    fn a_price_is_a_difference_within_a_round() {
        let mut found = Found::default();
        found.rows.insert(NOTHING.to_owned(), row(100.0, 500));
        found.rows.insert("machine".to_owned(), row(100.0, 500));
        found.rows.insert("page cache".to_owned(), row(107.0, 600));
        let record = record(9, &found);
        let price = |name: &str| {
            let at = |it: &&Measure| it.table == PRICE && it.row == title(name);
            record.measures.iter().find(at).unwrap().value
        };
        assert!((price("page cache").value - 7.0).abs() < 1e-9 && price("page cache").margin() < 1e-9);
        assert!(price("machine").value.abs() < 1e-9);
        let notes = record.notes.join("\n");
        assert!(notes.starts_with("machine: the programs") && !notes.contains("page cache"), "{notes}");
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(draw(&record, dir.path()).unwrap(), ["options.svg"]);
    }
}
