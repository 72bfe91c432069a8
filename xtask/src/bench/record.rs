//! What a benchmark found, as it is kept in the repository.

use serde::{Deserialize, Serialize};

use super::machine::{Machine, Subject};
use crate::stats::Estimate;

/// Rows of this name measure nothing of ours: their changes are the machine's.
pub(crate) const OURS: &str = "zctrace";

/// A benchmark's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Name of the benchmark, and of its files.
    pub(crate) bench: String,
    /// What it is, in one line.
    pub(crate) title: String,
    /// When it was made, UTC.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) zctrace: Subject,
    /// How it was measured.
    pub(crate) method: Vec<String>,
    pub(crate) measures: Vec<Measure>,
    pub(crate) goals: Vec<Goal>,
    /// What could not be measured, and other things to know.
    pub(crate) notes: Vec<String>,
}

/// A number, in a row and a column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measure {
    /// The table.
    pub(crate) table: String,
    pub(crate) row: String,
    pub(crate) column: String,
    /// The unit, where the column does not say it.
    pub(crate) unit: String,
    pub(crate) value: Estimate,
}

/// Something that should be at most so much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) value: Estimate,
    pub(crate) limit: f64,
}

/// What an interval says about a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// The limit lies in the interval.
    Undecided,
}

impl Goal {
    pub(crate) fn verdict(&self) -> Verdict {
        if self.value.high <= self.limit {
            Verdict::Met
        } else if self.value.low > self.limit {
            Verdict::Missed
        } else {
            Verdict::Undecided
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Undecided => "within the noise",
        })
    }
}

impl Record {
    pub(crate) fn new(bench: &str, title: &str) -> Self {
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        Self {
            bench: bench.to_owned(),
            title: title.to_owned(),
            date: now,
            machine: Machine::here(),
            zctrace: Subject::here(),
            method: Vec::new(),
            measures: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a number; one that could not be measured is not there.
    pub(crate) fn measure(&mut self, at: [&str; 3], unit: &str, value: Option<Estimate>) {
        let [table, row, column] = at.map(str::to_owned);
        self.measures.extend(value.map(|value| Measure { table, row, column, unit: unit.to_owned(), value }));
    }

    /// Adds a goal; one whose value could not be measured is a note.
    pub(crate) fn goal(&mut self, what: String, unit: &str, value: Option<Estimate>, limit: f64) {
        match value {
            Some(value) => self.goals.push(Goal { what, unit: unit.to_owned(), value, limit }),
            None => self.notes.push(format!("{what}: not measured")),
        }
    }
}

/// A number that is exact, such as a count.
pub(crate) const fn exactly(value: f64) -> Estimate {
    Estimate { value, low: value, high: value }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn goal(low: f64, high: f64) -> Goal {
        let value = Estimate { value: f64::midpoint(low, high), low, high };
        Goal { what: "a read".to_owned(), unit: "×".to_owned(), value, limit: 2.0 }
    }

    #[test]
    fn a_goal_is_met_only_when_the_whole_interval_is_below_it() {
        assert_eq!(goal(1.0, 2.0).verdict(), Verdict::Met);
        assert_eq!(goal(1.9, 2.1).verdict(), Verdict::Undecided);
        assert_eq!(goal(2.1, 2.2).verdict(), Verdict::Missed);
    }

    #[test]
    fn a_record_comes_back_from_its_json() {
        let mut record = Record::new("hooks", "What a hook adds");
        record.measure(["times", "zctrace, raw", "read"], "ns", Some(exactly(180.0)));
        record.measure(["times", "zctrace, raw", "write"], "ns", None);
        record.goal("a read".to_owned(), "×", Some(exactly(1.5)), 2.0);
        record.goal("a write".to_owned(), "×", None, 2.0);
        assert_eq!((record.measures.len(), record.goals.len(), record.notes.len()), (1, 1, 1));
        let text = serde_json::to_string(&record).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Record>(&text).ok(), Some(record));
    }
}
