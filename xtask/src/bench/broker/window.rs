//! What the requests of a window say. Everything here is pure.

use std::{collections::BTreeMap, time::Duration};

use super::load::Request;
use crate::stats;

/// How long a window is, and each part of a longer one.
pub(super) const WINDOW: Duration = Duration::from_millis(250);

/// A shorter answer than this part of the longest is the topic's end: another amount of work for each byte.
const WHOLE: f64 = 0.9;

/// Some time with nothing attached or with a set-up, the same all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Window {
    /// Bytes that the client got, in units of 10^9.
    pub(super) gigabytes: f64,
    /// Processor time of the broker, all threads, in seconds.
    pub(super) broker: f64,
    /// Time that passed, in seconds.
    pub(super) seconds: f64,
    /// Processor seconds of the broker for each GB, in requests that nobody disturbed
    /// ([`stats::undisturbed`]).
    pub(super) undisturbed: f64,
}

impl Window {
    /// `None` where there is no request.
    #[allow(clippy::cast_precision_loss)] // some gigabytes
    pub(super) fn of(requests: &[Request]) -> Option<Self> {
        let first = requests.first()?.from;
        let longest = requests.iter().map(|it| it.bytes).max()? as f64;
        let mut parts: BTreeMap<u128, Vec<f64>> = BTreeMap::new();
        for request in requests.iter().filter(|it| it.bytes as f64 >= WHOLE * longest) {
            let part = (request.from - first).as_nanos() / WINDOW.as_nanos();
            parts.entry(part).or_default().push(request.broker.as_secs_f64() * 1e9 / request.bytes as f64);
        }
        // The more requests, the sooner a tenth of them was spared: as long as others' windows is each part.
        let parts: Vec<f64> = parts.values().filter_map(|part| stats::undisturbed(part)).collect();
        Some(Self {
            gigabytes: requests.iter().map(|it| it.bytes as f64).sum::<f64>() / 1e9,
            broker: requests.iter().map(|it| it.broker.as_secs_f64()).sum(),
            seconds: requests.iter().map(|it| (it.to - it.from).as_secs_f64()).sum(),
            undisturbed: stats::median(&parts)?,
        })
    }

    /// Processor seconds of the broker for each GB, all requests together.
    pub(super) fn per_gb(&self) -> f64 {
        self.broker / self.gigabytes
    }
}

/// A window with a set-up between two with nothing attached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Visit {
    pub(super) before: Window,
    pub(super) with: Window,
    pub(super) after: Window,
    /// Processor time that the tool itself took in its window, in seconds.
    pub(super) tool: f64,
}

impl Visit {
    /// The logarithms of how many times as much the set-up's window has, undisturbed, as the one before and the one after. Both
    /// apart: where what disturbs is rare and large, as here, the median of differences to a mean of two lies below nothing even
    /// where nothing differs. What drifts evenly is in the one as in the other, with its sign turned. `None` where one of them
    /// has nothing.
    pub(super) fn log_ratios(&self) -> Option<[f64; 2]> {
        let logs = [&self.before, &self.after].map(|it| (self.with.undisturbed / it.undisturbed).ln());
        logs.iter().all(|it| it.is_finite()).then_some(logs)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use super::*;

    fn requests(each: &[(u64, u64)]) -> Vec<Request> {
        let start = Instant::now();
        let request = |(at, (bytes, micros)): (u64, &(u64, u64))| Request {
            from: start + Duration::from_millis(at),
            to: start + Duration::from_millis(at + 1),
            bytes: *bytes,
            broker: Duration::from_micros(*micros),
        };
        (0..).zip(each).map(request).collect()
    }

    #[test]
    fn what_disturbs_some_requests_and_the_end_of_the_topic_are_not_in_what_is_undisturbed() {
        let mut each = [(4_000_000, 1000); 20].to_vec();
        each[3..8].fill((4_000_000, 9000));
        each[9] = (100, 500);
        each[10] = (1_000_000, 10);
        let window = Window::of(&requests(&each)).unwrap();
        assert!((window.undisturbed - 0.25).abs() < 1e-9, "{window:?}");
        assert!(window.per_gb() > 0.7, "{window:?}");
        assert!((window.seconds - 0.02).abs() < 1e-9);
        assert!(Window::of(&[]).is_none());
    }

    #[test]
    fn a_longer_window_is_the_median_of_its_parts() {
        let part = |micros| [(4_000_000, micros); 250];
        let window = Window::of(&requests(&[part(1000), part(2000), part(3000)].concat())).unwrap();
        assert!((window.undisturbed - 0.5).abs() < 1e-9, "{window:?}");
    }

    #[test]
    fn a_drift_is_in_both_with_its_sign_turned() {
        let window = |undisturbed| Window { undisturbed, ..Window::default() };
        let visit = Visit { before: window(1.0), with: window(2.2), after: window(4.0), tool: 0.0 };
        let logs = visit.log_ratios().unwrap();
        assert!((stats::median(&logs).unwrap().exp() - 1.1).abs() < 1e-9);
        assert_eq!(Visit { after: window(0.0), ..visit }.log_ratios(), None);
    }
}
