//! The calls that are timed, and who makes them.

use std::path::Path;

use anyhow::Context as _;
use testkit::worker::{Call, Clock, Order, Place, Worker};

use crate::stats;

/// Batches of a cell, of which [`stats::undisturbed`] is its value.
const BATCHES: u32 = 100;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Who {
    Traced,
    Another,
}

/// A kind of call by somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Cell {
    pub(in crate::bench) name: &'static str,
    pub(in crate::bench) who: Who,
    pub(in crate::bench) call: Call,
}

pub(in crate::bench) const TRACED_READ: &str = "traced read";
pub(in crate::bench) const ANOTHER_READ: &str = "another's read";
pub(in crate::bench) const ANOTHER_OTHER: &str = "another's other call";

pub(in crate::bench) const CELLS: [Cell; 6] = [
    Cell { name: TRACED_READ, who: Who::Traced, call: Call::Read },
    Cell { name: "traced other call", who: Who::Traced, call: Call::Other },
    Cell { name: ANOTHER_READ, who: Who::Another, call: Call::Read },
    Cell { name: ANOTHER_OTHER, who: Who::Another, call: Call::Other },
    Cell { name: "traced socket write", who: Who::Traced, call: Call::Write },
    Cell { name: "traced sendfile", who: Who::Traced, call: Call::Sendfile },
];

/// Nanoseconds a call, in the order of [`CELLS`].
pub(in crate::bench) type Times = [f64; CELLS.len()];

/// The traced process and the other one. Both run on the same processor, one after the other, so that both find the
/// same caches; what hooks them runs elsewhere.
pub(in crate::bench) struct Workers {
    traced: Worker,
    another: Worker,
}

impl Workers {
    pub(in crate::bench) fn start(program: &Path, cpu: usize, dir: &Path) -> anyhow::Result<Self> {
        let start = |name: &str| {
            let place = Place { cpu, files: 1, connections: 1, dir: dir.join(name) };
            Worker::start(program, &place).context("a process to measure could not be started")
        };
        Ok(Self { traced: start("traced")?, another: start("another")? })
    }

    pub(in crate::bench) fn traced(&self) -> u32 {
        self.traced.pid()
    }

    /// Every cell once; `slow` for a hook that takes tens of microseconds.
    pub(in crate::bench) fn measure(&mut self, slow: bool) -> anyhow::Result<Times> {
        let mut times = Times::default();
        for (time, cell) in times.iter_mut().zip(CELLS) {
            *time = self.cell(cell, if slow { 50 } else { 1 })?;
        }
        Ok(times)
    }

    fn cell(&mut self, cell: Cell, divisor: u32) -> anyhow::Result<f64> {
        let calls = match cell.call {
            Call::Other => 1000,
            Call::Read => 500,
            Call::Write | Call::Sendfile => 320,
        };
        let batches = if divisor > 1 { 15 } else { BATCHES };
        // A tracer that stops the caller makes it sleep: only there does the time that passes say more.
        let clock = if divisor > 1 { Clock::Wall } else { Clock::Thread };
        let order = Order { call: cell.call, calls: calls / divisor, batches, clock, rate: None };
        let times = self.make(cell.who, &order)?;
        stats::undisturbed(&times).context("a worker measured nothing")
    }

    /// Makes calls without a look at their time; says how many.
    pub(in crate::bench) fn run(&mut self, cell: Cell, calls: u32) -> anyhow::Result<()> {
        self.make(cell.who, &Order { call: cell.call, calls, batches: 1, clock: Clock::Thread, rate: None }).map(drop)
    }

    fn make(&mut self, who: Who, order: &Order) -> anyhow::Result<Vec<f64>> {
        let worker = match who {
            Who::Traced => &mut self.traced,
            Who::Another => &mut self.another,
        };
        worker.measure(order).context("a process to measure failed")
    }
}
