//! What the demo is doing: a spinner on a terminal, plain lines elsewhere. All on standard error.

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The steps of one demo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    terminal: bool,
}

/// One step under way. Dropped before it is done, it goes without a word: the error speaks.
#[derive(Debug)]
pub(super) struct Step {
    spinner: Option<ProgressBar>,
    start: Instant,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal() }
    }

    /// Begins a step.
    pub(super) fn begin(self, doing: impl Into<Cow<'static, str>>) -> Step {
        let doing = doing.into();
        let spinner = if self.terminal {
            let spinner = ProgressBar::new_spinner().with_message(doing);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            Some(spinner)
        } else {
            eprintln!("{doing} ...");
            None
        };
        Step { spinner, start: Instant::now() }
    }

    /// A line of its own.
    pub(super) fn say(self, line: &str) {
        eprintln!("{line}");
    }
}

impl Step {
    /// What the step is at now.
    pub(super) fn at(&self, detail: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(detail.to_owned()),
            None => eprintln!("  {detail}"),
        }
    }

    /// Ends the step and says what it brought.
    pub(super) fn done(self, result: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        eprintln!("✓ {result} ({:.1} s)", self.start.elapsed().as_secs_f64());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
