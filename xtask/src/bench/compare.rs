//! A result beside the last one.

use super::{
    record::{Measure, OURS, Record},
    table::number,
};
use crate::stats::Estimate;

/// Smaller differences are not told, even where the intervals lie apart: another build lays code out differently.
const NOTICEABLE: f64 = 0.05;

/// What changed beyond the noise, slower things first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) worse: Vec<String>,
    pub(crate) better: Vec<String>,
    /// Why not everything can be compared.
    pub(crate) caveat: Option<String>,
}

/// Compares what is ours: the goals (ratios within one run) always, the plain numbers where the machine is the same.
/// Everything here is a cost: more is worse.
pub(crate) fn compare(last: &Record, now: &Record) -> Changes {
    let mut changes = Changes::default();
    for goal in &now.goals {
        if let Some(before) = last.goals.iter().find(|before| before.what == goal.what) {
            changes.note(&goal.what, &goal.unit, &before.value, &goal.value);
        }
    }
    if last.machine != now.machine {
        changes.caveat = Some(format!("only ratios are compared: the last run was on {}", last.machine));
        return changes;
    }
    for measure in now.measures.iter().filter(|measure| measure.row.starts_with(OURS)) {
        let same = |before: &&Measure| {
            (&before.table, &before.row, &before.column) == (&measure.table, &measure.row, &measure.column)
        };
        if let Some(before) = last.measures.iter().find(same) {
            let what = format!("{}: {}, {}", measure.table, measure.row, measure.column);
            changes.note(&what, &measure.unit, &before.value, &measure.value);
        }
    }
    changes
}

impl Changes {
    fn note(&mut self, what: &str, unit: &str, before: &Estimate, now: &Estimate) {
        // A count is exact: every difference is one.
        let exact = before.low >= before.high && now.low >= now.high;
        let noticeable = exact || (now.value - before.value).abs() > NOTICEABLE * before.value.abs();
        if !before.is_apart_from(now) || !noticeable {
            return;
        }
        let line = format!("{what}: {} -> {} {unit}", number(before.value), number(now.value));
        if now.value > before.value { self.worse.push(line) } else { self.better.push(line) }
    }

    /// Lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.caveat.iter().cloned().collect();
        lines.extend(self.worse.iter().map(|line| format!("worse: {line}")));
        lines.extend(self.better.iter().map(|line| format!("better: {line}")));
        if self.worse.is_empty() && self.better.is_empty() {
            lines.push("nothing changed beyond the noise".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(value: f64) -> Option<Estimate> {
        Some(Estimate { value, low: value * 0.97, high: value * 1.03 })
    }

    fn record(ours: f64, theirs: f64, code: f64, ratio: f64) -> Record {
        let mut record = Record::new("hooks", "");
        record.measure(["times", "zctrace, raw", "read"], "ns", around(ours));
        record.measure(["times", "bpftrace", "read"], "ns", around(theirs));
        let code = Estimate { value: code, low: code, high: code };
        record.measure(["programs", "zctrace, raw", "code"], "bytes", Some(code));
        record.goal("a read against the floor".to_owned(), "×", around(ratio), 2.0);
        record
    }

    #[test]
    fn what_is_slower_beyond_the_noise_is_told() {
        let changes = compare(&record(180.0, 400.0, 900.0, 1.8), &record(220.0, 600.0, 900.0, 1.79));
        assert_eq!(changes.worse, ["times: zctrace, raw, read: 180 -> 220 ns"]);
        assert!(changes.better.is_empty() && changes.caveat.is_none(), "{changes:?}");
    }

    #[test]
    fn noise_is_no_change() {
        let changes = compare(&record(180.0, 400.0, 900.0, 1.8), &record(183.0, 300.0, 900.0, 1.83));
        assert_eq!(changes.lines(), ["nothing changed beyond the noise"]);
    }

    #[test]
    fn a_count_is_compared_exactly() {
        let changes = compare(&record(180.0, 400.0, 900.0, 1.8), &record(180.0, 400.0, 896.0, 1.8));
        assert_eq!(changes.better, ["programs: zctrace, raw, code: 900 -> 896 bytes"]);
    }

    #[test]
    fn on_another_machine_only_ratios_are_compared() {
        let last = record(180.0, 400.0, 900.0, 1.8);
        let mut now = record(300.0, 400.0, 900.0, 2.3);
        now.machine.kernel.push_str("-other");
        let changes = compare(&last, &now);
        assert_eq!(changes.worse, ["a read against the floor: 1.80 -> 2.30 ×"]);
        assert!(changes.caveat.is_some());
    }
}
