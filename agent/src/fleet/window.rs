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
