//! What happened lately: egress by listener now, less what it was a window ago.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::report::{Egress, LocalPort, Report};

/// Egress since counting began, by listener.
type Sums = BTreeMap<Key, Egress>;
/// Port and name, as in [`crate::report::Listener`].
pub type Key = (Option<u16>, Option<String>);

/// Samples of the last while. They hold a few numbers a listener, not the counters.
#[derive(Clone, Debug)]
pub(super) struct Lately {
    span: Duration,
    samples: VecDeque<(Instant, Sums)>,
}

/// Samples in a window: it is as long as was asked to within one part in so many.
const SAMPLES: u32 = 12;

impl Lately {
    pub(super) const fn new(span: Duration) -> Self {
        Self { span, samples: VecDeque::new() }
    }

    /// Another window from now on. A longer one grows from what is remembered.
    pub(super) const fn set_span(&mut self, span: Duration) {
        self.span = span;
    }

    /// How often to [`Self::sample`].
    pub(super) fn interval(&self) -> Duration {
        self.span / SAMPLES
    }

    /// Remembers how it stands, if the last time was long enough ago.
    pub(super) fn sample(&mut self, now: Instant, report: &Report) {
        let is_due = self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= self.interval());
        if is_due {
            self.samples.push_back((now, sums(report)));
        }
        // One that is as old as the window or older stays: it is what the window begins with.
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= self.span) {
            self.samples.pop_front();
        }
    }

    /// Egress by listener since the beginning of the window, with ratios.
    pub(super) fn egress(&self, report: &Report) -> Vec<(Key, Egress)> {
        let before = self.samples.front().map(|(_, sums)| sums);
        sums(report)
            .into_iter()
            .map(|(key, now)| {
                let before = before.and_then(|sums| sums.get(&key)).copied().unwrap_or_default();
                (key, now.since(&before).with_ratios())
            })
            .collect()
    }
}

fn sums(report: &Report) -> Sums {
    report.listeners.iter().map(|listener| ((listener.port, listener.name.clone()), listener.egress)).collect()
}

/// The key of a transfer's port.
pub(crate) fn key(port: &LocalPort, report: &Report) -> Key {
    match port {
        LocalPort::Port(port) => {
            let listener = report.listeners.iter().find(|listener| listener.port == Some(*port));
            (Some(*port), listener.and_then(|listener| listener.name.clone()))
        }
        LocalPort::Entry(entry) => (None, Some((*entry).to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::{Attach, EndedBy, Window, build, tests::facts};
    use crate::snapshot::Snapshot;

    /// A Report in which PLAINTEXT has sent this much by zero copy, and this much not.
    fn report(zero_copy: u64, copied: u64) -> Report {
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::StillRunning };
        let attach = Attach::default();
        let mut report = build(&Snapshot::default(), &facts(), window, attach);
        let listener = report.listeners.iter_mut().find(|l| l.name.as_deref() == Some("PLAINTEXT")).unwrap();
        let egress = Egress {
            egress_bytes: zero_copy + copied,
            zero_copy_bytes: zero_copy,
            copied_bytes: copied,
            ..Egress::default()
        };
        listener.egress = egress.with_ratios();
        report
    }

    fn ratio(lately: &Lately, report: &Report) -> Option<f64> {
        let egress = lately.egress(report);
        egress.iter().find(|(key, _)| key.1.as_deref() == Some("PLAINTEXT")).unwrap().1.zero_copy_ratio
    }

    #[test]
    fn a_ratio_is_over_the_window_and_absent_where_nothing_left() {
        let mut lately = Lately::new(Duration::from_secs(60));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        lately.sample(at(0), &report(0, 0));
        assert_eq!(ratio(&lately, &report(0, 0)), None);
        assert_eq!(ratio(&lately, &report(75, 25)), Some(0.75));
        for second in (5..=60).step_by(5) {
            lately.sample(at(second), &report(100, 0));
        }
        // Copied since then: all of the last minute, but for what the first five seconds brought.
        lately.sample(at(65), &report(100, 50));
        assert_eq!(ratio(&lately, &report(100, 50)), Some(0.0));
        for second in (70..=200).step_by(5) {
            lately.sample(at(second), &report(100, 50));
        }
        assert_eq!(ratio(&lately, &report(100, 50)), None);
        assert!(lately.samples.len() <= usize::try_from(SAMPLES).unwrap() + 2, "{}", lately.samples.len());
    }

    #[test]
    fn scrapes_in_quick_succession_add_no_samples() {
        let mut lately = Lately::new(Duration::from_secs(60));
        let start = Instant::now();
        for scrape in 0..1000 {
            lately.sample(start + Duration::from_millis(scrape), &report(scrape, 0));
        }
        assert_eq!(lately.samples.len(), 1);
    }
}
