//! What grows, and how far.

use std::fmt;

use testkit::worker::{Call, Clock, Order};

/// Batches of a time, of which [`crate::stats::undisturbed`] is its value.
const BATCHES: u32 = 60;
/// The same of calls at a rate, which take a twentieth of a second each.
const PACED: u32 = 20;

/// What grows while everything else stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Targets,
    Partitions,
    Connections,
    /// Calls a second.
    Rate,
}

/// A size on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) axis: Axis,
    pub(super) size: u32,
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Targets => "targets",
            Self::Partitions => "partitions",
            Self::Connections => "connections",
            Self::Rate => "calls a second",
        })
    }
}

impl Axis {
    pub(super) const ALL: [Self; 4] = [Self::Targets, Self::Partitions, Self::Connections, Self::Rate];

    const fn sizes(self) -> &'static [u32] {
        match self {
            Self::Targets => &[1, 4, 16, 64],
            Self::Partitions => &[1, 10, 100, 1000, 10_000],
            Self::Connections => &[1, 10, 100, 1000],
            Self::Rate => &[1000, 10_000, 100_000, 1_000_000],
        }
    }

    pub(super) fn points(self) -> impl Iterator<Item = Point> {
        self.sizes().iter().map(move |size| Point { axis: self, size: *size })
    }

    /// The call that is timed.
    pub(super) const fn call(self) -> &'static str {
        match self {
            Self::Connections => "a write of 512 bytes to each connection in turn",
            Self::Partitions => "a read of 512 bytes from each partition's segment in turn",
            Self::Targets | Self::Rate => "a read of 512 bytes",
        }
    }
}

impl Point {
    /// How it is called in tables.
    pub(super) fn row(self) -> String {
        let Self { axis, size } = self;
        let size = crate::bench::table::number(f64::from(size));
        let axis = axis.to_string();
        let axis = if self.size == 1 { axis.trim_end_matches('s') } else { &axis };
        // A number that counts has no decimals.
        format!("{} {axis}", size.trim_end_matches(".00").trim_end_matches(".0"))
    }

    fn on(self, axis: Axis) -> usize {
        if self.axis == axis { usize::try_from(self.size).unwrap_or(usize::MAX) } else { 1 }
    }

    pub(super) fn targets(self) -> usize {
        self.on(Axis::Targets)
    }

    pub(super) fn files(self) -> usize {
        self.on(Axis::Partitions)
    }

    pub(super) fn connections(self) -> usize {
        self.on(Axis::Connections)
    }

    /// The calls that are timed.
    pub(super) fn order(self) -> Order {
        let order = Order { call: Call::Read, calls: 1000, batches: BATCHES, clock: Clock::Thread, rate: None };
        match self.axis {
            Axis::Targets => order,
            // A batch has each connection and each of many files at least once, or a part of them all alike.
            Axis::Partitions => Order { calls: 2000, ..order },
            Axis::Connections => Order { call: Call::Write, calls: 2000, ..order },
            // A twentieth of a second; the clock that is read beside each burst must be no call that is hooked.
            Axis::Rate => {
                let calls = (self.size / 20).max(50);
                Order { calls, batches: PACED, clock: Clock::Wall, rate: Some(self.size), ..order }
            }
        }
    }

    /// Every file and every connection, more than once.
    pub(super) fn everything(self) -> Order {
        let most = u32::try_from(self.files().max(self.connections())).unwrap_or(u32::MAX);
        Order { calls: (2 * most).max(1000), batches: 1, rate: None, ..self.order() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_grows_at_a_time() {
        for point in Axis::ALL.into_iter().flat_map(Axis::points) {
            let sizes = [point.targets(), point.files(), point.connections()];
            assert!(sizes.iter().filter(|size| **size > 1).count() <= 1, "{point:?}");
            assert!(point.everything().calls as usize >= 2 * point.files().max(point.connections()), "{point:?}");
        }
    }

    #[test]
    fn every_axis_reaches_what_the_goal_says() {
        let largest = Axis::ALL.map(|axis| axis.points().map(|point| point.size).max());
        assert_eq!(largest, [Some(64), Some(10_000), Some(1000), Some(1_000_000)]);
    }

    #[test]
    fn rows_are_named() {
        let point = |axis, size| Point { axis, size }.row();
        assert_eq!(point(Axis::Targets, 1), "1 target");
        assert_eq!(point(Axis::Targets, 16), "16 targets");
        assert_eq!(point(Axis::Partitions, 10_000), "10,000 partitions");
    }
}
