//! What an operator could change, with the evidence: each rule is a pure function of the Report.
//!
//! | module | rules about |
//! |---|---|
//! | [`sending`] | how it sends: what makes it copy, or make many calls of few bytes |
//! | [`latency`] | how long calls take |
//! | [`cache`] | what is read from memory and what from disk |
//! | [`machine`] | what the broker runs on: memory, file systems, disks |

mod cache;
mod latency;
mod machine;
mod sending;

use serde::Serialize;

use crate::report::Report;

/// Something that could be better, and what says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Stable word for programs: `log_dir_on_network`, ...
    pub id: &'static str,
    /// What is so and what it costs: a sentence or two.
    pub text: String,
    /// What was measured or read that shows it, a short sentence each.
    pub evidence: Vec<String>,
    /// What to do about it, in a sentence.
    pub remedy: String,
}

/// All advice that a Report gives reason for, in the order of the rules.
#[must_use]
pub(super) fn advise(report: &Report) -> Vec<Advice> {
    let mut advice = sending::advise(report);
    advice.extend(latency::advise(report));
    advice.extend(cache::advise(report));
    advice.extend(machine::advise(report));
    advice
}
