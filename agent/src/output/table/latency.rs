//! How long calls took.

use super::{absent, port_name, title};
use crate::{
    output::{
        Style,
        format::thousands,
        grid::{Cell, Column, Grid, explanation},
        text::clean,
    },
    report::{CallLatency, LocalPort, Report, Took},
};

/// Topics shown unless all are.
const TOPICS: usize = 10;

pub(super) fn section(report: &Report, style: &Style) -> String {
    let Some(latency) = &report.latency else { return String::new() };
    if latency.calls.is_empty() {
        return title("How long calls took", "", style) + "No counted call began and ended in this time.\n";
    }
    let arrow = if style.unicode { "→" } else { "->" };
    let listener = |port: &Option<LocalPort>| port.as_ref().map_or_else(absent, |port| port_name(port, report, style));
    let mut columns = vec![Column::words("call"), Column::words("from and to"), Column::words("listener").breaks()];
    columns.extend(durations());
    let mut calls = Grid::new(columns);
    for call in &latency.calls {
        let mut cells = vec![
            call.syscall.into(),
            format!("{} {arrow} {}", call.source, call.sink).into(),
            listener(&call.local_port).into(),
        ];
        cells.extend(took(&call.took, style));
        calls.row(cells);
    }
    let slow = time(latency.slow_seconds, style);
    let mut text = format!(
        "Of calls that moved bytes, waiting included; p50, p99, p99.9: so many of 100 took no longer, known to a quarter. \
         Slow: {slow} and more (--slow)."
    );
    let held: u64 = held_up(&latency.calls).map(|call| call.took.slow_calls).sum();
    if held > 0 {
        let calls = if held == 1 { "1 sendfile was".to_owned() } else { format!("{} sendfiles were", thousands(held)) };
        text += &format!(
            " {calls} slow: as a rule because the data were not in memory. Meanwhile the network thread serves none of its \
             clients."
        );
    }
    if latency.unmeasured_calls > 0 {
        let calls = thousands(latency.unmeasured_calls);
        text += &format!(" Calls without a duration, for they began earlier: {calls}.");
    }
    title("How long calls took", "", style)
        + &Grid::render(&calls, &calls, style)
        + &explanation(&text, style)
        + &topics(report, style)
}

/// Calls of `sendfile` into sockets.
fn held_up(calls: &[CallLatency]) -> impl Iterator<Item = &CallLatency> {
    calls.iter().filter(|call| call.syscall == "sendfile" && call.sink == "socket")
}

fn durations() -> Vec<Column> {
    vec![
        Column::numbers("calls").leaves(1),
        Column::numbers("in all"),
        Column::numbers("p50"),
        Column::numbers("p99"),
        Column::numbers("p99.9"),
        Column::numbers("longest"),
        Column::numbers("slow"),
    ]
}

fn took(took: &Took, style: &Style) -> [Cell; 7] {
    [
        thousands(took.calls).into(),
        time(took.total_seconds, style).into(),
        time(took.p50_seconds, style).into(),
        time(took.p99_seconds, style).into(),
        time(took.p999_seconds, style).into(),
        time(took.max_seconds, style).into(),
        thousands(took.slow_calls).into(),
    ]
}

fn topics(report: &Report, style: &Style) -> String {
    let Some(latency) = report.latency.as_ref().filter(|latency| !latency.topics.is_empty()) else {
        return String::new();
    };
    let mut columns = vec![Column::words("topic").breaks(), Column::words("log"), Column::words("listener").breaks()];
    columns.extend(durations());
    let mut grid = Grid::new(columns);
    let shown = if style.all { latency.topics.len() } else { latency.topics.len().min(TOPICS) };
    for topic in &latency.topics[..shown] {
        let listener = topic.local_port.as_ref().map_or_else(absent, |port| port_name(port, report, style));
        let path = match topic.path {
            "zero_copy" => "sent by zero copy",
            "copied" => "sent from memory",
            "read" => "read into memory",
            path => path,
        };
        let mut cells = vec![clean(&topic.topic, style.unicode).into(), path.into(), listener.into()];
        cells.extend(took(&topic.took, style));
        grid.row(cells);
    }
    let rest = latency.topics.len() - shown;
    let hint =
        if rest == 0 { String::new() } else { explanation(&format!("{rest} more: --all shows every one."), style) };
    let text = "Calls that moved bytes of a topic's log; sent from memory: what the thread had read there. Percentiles are \
                known to a half.";
    let text = explanation(text, style);
    format!("\n{}", title("How long calls took, by topic", "", style))
        + &Grid::render(&grid, &grid, style)
        + &hint
        + &text
}

/// Three digits that count.
pub(super) fn time(seconds: f64, style: &Style) -> String {
    let micro = if style.unicode { "µs" } else { "us" };
    let (value, unit) = match seconds {
        seconds if seconds >= 1.0 => (seconds, "s"),
        seconds if seconds >= 1e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, micro),
    };
    let digits = match value {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let style = Style::default();
        let told = [0.0, 1.234e-6, 45.67e-6, 0.000_999, 0.012_3, 0.5, 1.0, 123.4].map(|seconds| time(seconds, &style));
        let micro = if style.unicode { "µs" } else { "us" };
        let micros = |text: &str| format!("{text} {micro}");
        assert_eq!(told[..4], [micros("0.00"), micros("1.23"), micros("45.7"), micros("999")]);
        assert_eq!(told[4..], ["12.3 ms", "500 ms", "1.00 s", "123 s"]);
    }
}
