//! A result as Markdown.

use std::fmt::Write as _;

use super::{
    compare::Changes,
    record::{Measure, Record},
};
use crate::stats::Estimate;

/// Three digits that count: `0.123`, `1.23`, `12.3`, `123`, `12,300`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        return thousands(value);
    }
    let digits = match size {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    // No minus zero.
    if text.trim_start_matches('-').chars().all(|it| matches!(it, '0' | '.')) { text.replace('-', "") } else { text }
}

fn thousands(value: f64) -> String {
    let text = format!("{value:.0}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}")
}

/// `180 ± 4`, or only the number where it is exact.
pub(crate) fn estimate(value: &Estimate) -> String {
    if value.low >= value.high {
        number(value.value)
    } else {
        format!("{} ± {}", number(value.value), number(value.margin()))
    }
}

/// The whole file.
pub(crate) fn markdown(record: &Record, plots: &[String], changes: Option<(&Record, &Changes)>) -> String {
    let mut text = format!("# {}\n\n", record.title);
    let _ = writeln!(text, "{}, {}; {}.\n", record.zctrace, record.date, record.machine);
    for line in &record.method {
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(text, "- `a ± b`: half of a 95 % interval of confidence (bootstrap) is b.\n");
    for table in unique(record.measures.iter().map(|measure| &measure.table)) {
        let measures: Vec<&Measure> = record.measures.iter().filter(|measure| measure.table == *table).collect();
        let _ = writeln!(text, "## {table}\n\n{}", pivot(&measures));
    }
    for plot in plots {
        let _ = writeln!(text, "![{}]({plot})\n", record.title);
    }
    if !record.goals.is_empty() {
        let _ = writeln!(text, "## Goals\n\n| what | measured | at most | |\n|---|---:|---:|---|");
        for goal in &record.goals {
            let (unit, verdict) = (&goal.unit, goal.verdict());
            let measured = if goal.value.low >= goal.value.high {
                format!("{} {unit}", number(goal.value.value))
            } else {
                format!(
                    "{} {unit} ({} to {})",
                    number(goal.value.value),
                    number(goal.value.low),
                    number(goal.value.high)
                )
            };
            let _ = writeln!(text, "| {} | {measured} | {} {unit} | {verdict} |", goal.what, number(goal.limit));
        }
        text.push('\n');
    }
    if !record.notes.is_empty() {
        text.push_str("## Notes\n\n");
        for note in &record.notes {
            let _ = writeln!(text, "- {note}");
        }
        text.push('\n');
    }
    if let Some((last, changes)) = changes {
        let _ = writeln!(text, "## Since {} of {}\n", last.zctrace, last.date);
        for line in changes.lines() {
            let _ = writeln!(text, "- {line}");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// Rows and columns in the order in which they first came.
fn pivot(measures: &[&Measure]) -> String {
    let columns = unique(measures.iter().map(|measure| (&measure.column, &measure.unit)));
    let mut text = "|".to_owned();
    for (column, unit) in &columns {
        let _ = write!(text, " | {column}{}", if unit.is_empty() { String::new() } else { format!(" ({unit})") });
    }
    let _ = writeln!(text, " |\n|---{}|", "|---:".repeat(columns.len()));
    for row in unique(measures.iter().map(|measure| &measure.row)) {
        let _ = write!(text, "| {row}");
        for (column, unit) in &columns {
            let found = measures.iter().find(|it| it.row == *row && it.column == **column && it.unit == **unit);
            let _ = write!(text, " | {}", found.map_or_else(|| "-".to_owned(), |measure| estimate(&measure.value)));
        }
        text.push_str(" |\n");
    }
    text
}

pub(crate) fn unique<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut unique = Vec::new();
    for item in items {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::exactly;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let numbers = [0.0, -0.001, 0.12345, 1.999, 9.999, 12.345, 99.99, 123.4, 1234.5, 1_234_567.0, -26_000.4];
        let texts = ["0.00", "0.00", "0.12", "2.00", "10.0", "12.3", "100", "123", "1,234", "1,234,567", "-26,000"];
        assert_eq!(numbers.map(number), texts);
    }

    #[test]
    fn a_table_has_what_was_measured_in_its_place() {
        let mut record = Record::new("hooks", "What a hook adds");
        record.measure(["Added time", "empty program", "read"], "ns", Some(exactly(100.0)));
        record.measure(
            ["Added time", "zctrace, raw", "read"],
            "ns",
            Some(Estimate { value: 180.0, low: 176.0, high: 184.0 }),
        );
        record.measure(["Added time", "zctrace, raw", "write"], "ns", Some(exactly(190.0)));
        record.goal("a read, against the floor".to_owned(), "×", Some(exactly(1.8)), 2.0);
        record.notes.push("no leg fexit here".to_owned());
        let text = markdown(&record, &["hooks.svg".to_owned()], None);
        for line in [
            "# What a hook adds",
            "| | read (ns) | write (ns) |",
            "|---|---:|---:|",
            "| empty program | 100 | - |",
            "| zctrace, raw | 180 ± 4.00 | 190 |",
            "| a read, against the floor | 1.80 × | 2.00 × | met |",
            "- no leg fexit here",
            "![What a hook adds](hooks.svg)",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n---\n{text}");
        }
    }
}
