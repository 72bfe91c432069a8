//! Why bytes were copied, and whose they were.

use super::{absent, listener_name, sum, title};
use crate::{
    output::{
        Style,
        format::{percent, thousands},
        grid::{Cell, Column, Grid, explanation},
        text::{Ink, clean},
    },
    report::{Flow, Listener, Report},
};

/// Rows of one listener unless all are shown.
const FLOWS: usize = 5;

/// The copied bytes of each listener by reason.
pub(super) fn reasons(report: &Report, style: &Style) -> String {
    if report.listeners.iter().all(|listener| listener.reasons.is_empty()) {
        return String::new();
    }
    let mut grid = Grid::new(vec![
        Column::words("listener").breaks(),
        Column::words("reason"),
        Column::numbers("copied"),
        Column::numbers("share"),
    ]);
    let mut codes: Vec<&str> = Vec::new();
    for listener in &report.listeners {
        for reason in &listener.reasons {
            codes.push(reason.code);
            grid.row(vec![
                listener_name(listener, style).into(),
                reason.code.into(),
                Cell::inked(style.bytes(reason.bytes), Ink::Copied),
                percent(reason.bytes, listener.egress.copied_bytes, 2).unwrap_or_else(absent).into(),
            ]);
        }
    }
    codes.sort_unstable();
    codes.dedup();
    let sentences: Vec<_> = codes.into_iter().map(|code| format!("{code}: {}.", meaning(code))).collect();
    title("Why it was copied", "", style)
        + &Grid::render(&grid, &grid, style)
        + &explanation(&sentences.join(" "), style)
}

fn meaning(code: &str) -> &'static str {
    match code {
        "tls" => "encrypted in user space, as TLS records",
        "headers" => "response headers and small answers, no file's data",
        "log_read" => "a log was read by calls and sent without TLS, as conversion of old formats does",
        "file_read" => "the same with a file that is no topic's log",
        "sendfile_refused" => "large writes after the kernel refused sendfile",
        "remote_segments" => "large writes of remote (tiered) segments that other threads read",
        _ => "the numbers do not tell",
    }
}

/// What left through each listener, by whose data it was.
pub(super) fn flows(report: &Report, style: &Style) -> String {
    if report.listeners.iter().all(|listener| listener.flows.is_empty()) {
        return String::new();
    }
    let mut grid = Grid::new(vec![
        Column::words("listener").breaks(),
        Column::words("whose data").breaks(),
        Column::numbers("zero copy"),
        Column::numbers("copied"),
        Column::numbers("read\nbefore"),
        Column::words("reason").leaves(1),
    ]);
    let mut hidden = false;
    for listener in &report.listeners {
        let shown = if style.all || listener.flows.len() <= FLOWS + 1 { listener.flows.len() } else { FLOWS };
        for flow in &listener.flows[..shown] {
            let reason = flow.reason.map_or_else(String::new, str::to_owned);
            row(&mut grid, listener, whose(flow, style), &[flow], reason, style);
        }
        let rest: Vec<_> = listener.flows[shown..].iter().collect();
        if !rest.is_empty() {
            hidden = true;
            row(&mut grid, listener, format!("{} more", thousands(rest.len() as u64)), &rest, String::new(), style);
        }
    }
    let mut text = "Read before: file bytes that the thread had read into memory before it sent; what it sent until as many \
                    had left is taken for that file's. \"No file\": headers, answers, and what could be tied to no file."
        .to_owned();
    if report.unsent_read_bytes > 0 {
        text += &format!(
            " {} were read by threads that sent nothing after, and are in no line.",
            style.bytes(report.unsent_read_bytes)
        );
    }
    if hidden {
        text += " --all shows every one.";
    }
    title("Whose data left, by listener", "largest first", style)
        + &Grid::render(&grid, &grid, style)
        + &explanation(&text, style)
}

fn row(grid: &mut Grid, listener: &Listener, whose: String, flows: &[&Flow], reason: String, style: &Style) {
    let bytes = |of: fn(&Flow) -> u64| sum(flows.iter().map(|flow| of(flow)));
    grid.row(vec![
        listener_name(listener, style).into(),
        whose.into(),
        Cell::inked(style.bytes(bytes(|flow| flow.zero_copy_bytes)), Ink::ZeroCopy),
        Cell::inked(style.bytes(bytes(|flow| flow.copied_bytes)), Ink::Copied),
        style.bytes(bytes(|flow| flow.read_bytes)).into(),
        reason.into(),
    ]);
}

fn whose(flow: &Flow, style: &Style) -> String {
    match (&flow.topic, flow.from) {
        (Some(topic), _) => clean(topic, style.unicode),
        (None, "files") => "other files".to_owned(),
        (None, _) => "no file".to_owned(),
    }
}
