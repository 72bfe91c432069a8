//! Calls that wait until what was written is on disk.

use super::{latency::time, title};
use crate::{
    output::{
        Style,
        format::thousands,
        grid::{Column, Grid},
    },
    report::Report,
};

pub(super) fn section(report: &Report, style: &Style) -> String {
    let Some(syncs) = &report.syncs else { return String::new() };
    let heading = title("Waiting for the disk", "calls that return when what was written is there", style);
    if syncs.is_empty() {
        return heading + "No such call began and ended in this time.\n";
    }
    let columns = ["calls", "failed", "in all", "p50", "p99", "longest"].map(Column::numbers);
    let mut grid = Grid::new([Column::words("call")].into_iter().chain(columns).collect());
    for of in syncs {
        let took = &of.took;
        let cells = [
            of.syscall.to_owned(),
            thousands(took.calls),
            thousands(of.errors),
            time(took.total_seconds, style),
            time(took.p50_seconds, style),
            time(took.p99_seconds, style),
            time(took.max_seconds, style),
        ];
        grid.row(cells.into_iter().map(Into::into).collect());
    }
    heading + &Grid::render(&grid, &grid, style)
}
