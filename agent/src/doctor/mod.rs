//! What this machine allows, what is missing and how to mend it, and a test that every byte is counted.
//!
//! Facts are gathered once ([`Machine`]), judged by pure functions ([`checks`]), and rendered by
//! [`output::doctor`](crate::output::doctor).

mod checks;
mod machine;
mod self_test;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use checks::{Check, State, checks};
pub use machine::{BpfCall, Found, Machine};
pub use self_test::{CallLine, Difference, SelfTest, compare};
use serde::Serialize;

use crate::error::Status;

/// Everything that the doctor found.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// Version of this document; grows when a field changes its meaning or goes.
    pub schema_version: u32,
    /// Whether `zctrace --pid` works here.
    pub able: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// One for each leg, unless it was not wanted or can't be made.
    pub self_tests: Vec<SelfTest>,
}

impl Diagnosis {
    /// The status that the doctor ends with: what is missing decides, then what was miscounted. A leg that this kernel misses
    /// calls by is no failure where another one is exact: `--attach auto` takes that.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut missing = self.checks.iter().filter(|check| check.state == State::Missing).peekable();
        if missing.peek().is_some() {
            return if missing.all(|check| check.is_privilege) { Status::Privilege } else { Status::Kernel };
        }
        if !self.able {
            return Status::Kernel;
        }
        let is_fine = |test: &SelfTest| test.is_exact() || self.has_exact_leg() && test.misses_calls();
        if self.self_tests.iter().all(is_fine) { Status::Done } else { Status::Failed }
    }

    /// Whether the self-test by some leg counted everything.
    pub(crate) fn has_exact_leg(&self) -> bool {
        self.self_tests.iter().any(SelfTest::is_exact)
    }
}

/// Looks at this machine, and makes the self-tests if they are `wanted` and nothing is missing.
#[must_use]
pub fn diagnose(wanted: bool) -> Diagnosis {
    let checks = checks(&Machine::gather(Path::new("/")));
    let able = checks::is_able(&checks);
    let self_tests = if able && wanted { self_test::run() } else { Vec::new() };
    // What the kernel does tells more than what its files say.
    let able = able && self_tests.first().is_none_or(|test| test.failure.is_none());
    Diagnosis { schema_version: 1, able, checks, self_tests }
}
