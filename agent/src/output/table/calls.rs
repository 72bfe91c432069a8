//! The tables by system call.

use std::collections::BTreeMap;

use super::{absent, port_name, sum, title};
use crate::{
    output::{
        Style,
        format::thousands,
        grid::{Cell, Column, Grid, explanation},
        text::{Ink, clean, tied},
    },
    report::{LocalPort, OTHER, Report, Transfer, sizes::percentile},
};

/// By call and endpoints.
pub(super) fn transfers(report: &Report, style: &Style) -> String {
    if report.transfers.is_empty() {
        return title("By system call and endpoints", "", style) + "No counted call moved a byte.\n";
    }
    let table = Grid::render(&transfer_grid(report, false, style), &transfer_grid(report, true, style), style);
    let mut sentences =
        vec!["p50, p99: the sizes that 50 and 99 of 100 calls stay within, known to a power of two.".to_owned()];
    if report.transfers.iter().any(|transfer| transfer.local_port.is_none()) {
        sentences.push("A listener is \"-\" where neither end is a network socket.".to_owned());
    }
    if report.transfers.iter().any(|transfer| transfer.size_histogram.is_none()) {
        sentences.push(format!("p50 and p99 are \"-\" for {OTHER}, of which only sums are kept."));
    }
    title("By system call and endpoints", "largest first", style) + &table + &explanation(&sentences.join(" "), style)
}

fn transfer_grid(report: &Report, short: bool, style: &Style) -> Grid {
    let mut grid = Grid::new(vec![
        Column::words("call"),
        Column::words("from and to"),
        Column::words("listener"),
        Column::numbers("calls"),
        Column::numbers("bytes"),
        Column::numbers(if short { "mean" } else { "mean\na call" }).leaves(1),
        Column::numbers("p50"),
        Column::numbers("p99"),
    ]);
    for transfer in &report.transfers {
        let listener = match &transfer.local_port {
            None => absent(),
            Some(LocalPort::Port(port)) if short => format!(":{port}"),
            Some(port) => port_name(port, report, style),
        };
        let mean = style.mean(transfer.bytes, transfer.calls).unwrap_or_else(absent);
        grid.row(vec![
            call(transfer).into(),
            endpoints(transfer, short, style).into(),
            listener.into(),
            thousands(transfer.calls).into(),
            Cell::inked(style.bytes(transfer.bytes), ink(transfer)),
            mean.into(),
            bound(transfer, 50, style).into(),
            bound(transfer, 99, style).into(),
        ]);
    }
    grid
}

fn call(transfer: &Transfer) -> String {
    if transfer.msg_zerocopy { format!("{}, MSG_ZEROCOPY", transfer.syscall) } else { transfer.syscall.to_owned() }
}

fn endpoints(transfer: &Transfer, short: bool, style: &Style) -> String {
    let arrow = match (style.unicode, short) {
        (true, true) => "→",
        (true, false) => " → ",
        (false, true) => "->",
        (false, false) => " -> ",
    };
    format!("{}{arrow}{}", transfer.source, transfer.sink)
}

/// Egress has a colour, other traffic none.
fn ink(transfer: &Transfer) -> Ink {
    match (transfer.source, transfer.sink) {
        (_, "socket") if transfer.msg_zerocopy => Ink::Plain,
        ("memory", "socket") => Ink::Copied,
        (_, "socket") => Ink::ZeroCopy,
        _ => Ink::Plain,
    }
}

fn bound(transfer: &Transfer, percent: u8, style: &Style) -> String {
    let bucket = transfer.size_histogram.as_deref().and_then(|histogram| percentile(histogram, percent));
    bucket.map_or_else(absent, |bucket| style.bucket(&bucket))
}

/// What the calls of one name gave that moved nothing.
#[derive(Default)]
struct Results {
    again: u64,
    empty: u64,
    other: Vec<(String, u64)>,
}

impl Results {
    fn calls(&self) -> u128 {
        sum(self.other.iter().map(|(_, calls)| *calls).chain([self.again, self.empty]))
    }
}

/// Calls that moved nothing: errors by errno, and empty ones.
pub(super) fn results(report: &Report, style: &Style) -> String {
    let mut by_call: BTreeMap<&str, Results> = BTreeMap::new();
    for error in &report.errors {
        let results = by_call.entry(error.syscall).or_default();
        match error.errno.as_str() {
            "EAGAIN" => results.again += error.calls,
            // One that has no name here.
            number if number.parse::<u32>().is_ok() => results.other.push((format!("errno {number}"), error.calls)),
            errno => results.other.push((clean(errno, style.unicode), error.calls)),
        }
    }
    for empty in &report.empty {
        by_call.entry(empty.syscall).or_default().empty += empty.calls;
    }
    let heading = "Calls that moved nothing";
    if by_call.is_empty() {
        return title(heading, "", style) + "None.\n";
    }
    let mut by_call: Vec<_> = by_call.into_iter().collect();
    by_call.sort_by_key(|(_, results)| std::cmp::Reverse(results.calls()));
    let mut grid = Grid::new(vec![
        Column::words("call"),
        Column::numbers("EAGAIN"),
        Column::numbers("empty"),
        Column::words("other errors").breaks(),
    ]);
    for (call, results) in &by_call {
        let other: Vec<_> =
            results.other.iter().map(|(errno, calls)| tied(&format!("{errno}: {}", thousands(*calls)))).collect();
        grid.row(vec![
            (*call).into(),
            thousands(results.again).into(),
            thousands(results.empty).into(),
            (if other.is_empty() { "none".to_owned() } else { other.join(", ") }).into(),
        ]);
    }
    let mut sentences = vec![
        "EAGAIN: there was nothing to take or no room yet, and the call comes again; no fault. Empty: it returned 0, as at \
         the end of a file or of a connection.",
    ];
    if report.errors.iter().any(|error| error.errno == "restarted") {
        sentences.push("Restarted: a signal came in between, and the kernel makes the call again; no fault.");
    }
    title(heading, "", style) + &Grid::render(&grid, &grid, style) + &explanation(&sentences.join(" "), style)
}
