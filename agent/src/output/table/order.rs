//! In what order logs were read and written, and what `sendfile` did not send.

use super::{absent, bullets, port_name, title};
use crate::{
    output::{
        Style,
        format::{percent_at_least, thousands},
        grid::{Column, Grid, explanation},
        text::clean,
    },
    report::{LogUse, Order, Report, SendfileUse},
};

/// Topic-partitions shown unless all are.
const TOPICS: usize = 10;

pub(super) fn section(report: &Report, style: &Style) -> String {
    let Some(order) = &report.order else { return String::new() };
    let mut text = String::new();
    if order.logs.read.calls > 0 || order.logs.written.calls > 0 {
        text += &title("Order", "of the reads and appends of log segments", style);
        text += &bullets(sentences(&order.logs, style).iter().map(String::as_str), style);
        text += &topics(report, style);
    }
    let sent: Vec<&SendfileUse> = order.sendfile.iter().filter(|of| !of.short.is_empty()).collect();
    if !sent.is_empty() {
        if !text.is_empty() {
            text += "\n";
        }
        text += &title("What sendfile did not send", "calls that sent less than was asked", style);
        text += &cut_short(&sent, report, style);
    }
    text
}

fn sentences(logs: &LogUse, style: &Style) -> Vec<String> {
    let sentence = |what, order: &Order| {
        let share = sequential(order)?;
        let known = style.bytes(order.sequential_bytes + order.random_bytes);
        let elsewhere = match order.jumps {
            0 => "no call".to_owned(),
            1 => "1 call".to_owned(),
            jumps => format!("{} calls", thousands(jumps)),
        };
        Some(format!("Of {known} {what}, {share} in sequence; {elsewhere} began elsewhere."))
    };
    [("that were read from logs", &logs.read), ("that were appended", &logs.written)]
        .into_iter()
        .filter_map(|(what, order)| sentence(what, order))
        .collect()
}

fn topics(report: &Report, style: &Style) -> String {
    let mut topics: Vec<_> = report.topics.iter().filter_map(|topic| Some((topic, topic.order.as_ref()?))).collect();
    // Those that jump come first, then the largest, as they are.
    topics.sort_by_key(|(_, order)| std::cmp::Reverse(order.read.random_bytes + order.written.random_bytes));
    let shown = if style.all { topics.len() } else { topics.len().min(TOPICS) };
    if shown == 0 {
        return String::new();
    }
    let columns = ["read in\nsequence", "jumps", "bytes\na read", "appended\nin sequence", "bytes\nan append"];
    let columns = columns.map(Column::numbers);
    let mut grid = Grid::new([Column::words("topic-partition").breaks()].into_iter().chain(columns).collect());
    for (topic, order) in &topics[..shown] {
        let mean = |order: &Order| order.mean_call_bytes.map_or_else(absent, |bytes| style.bytes(bytes));
        let share = |order: &Order| sequential(order).unwrap_or_else(absent);
        let cells = [
            format!("{}-{}", clean(&topic.topic, style.unicode), topic.partition),
            share(&order.read),
            thousands(order.read.jumps),
            mean(&order.read),
            share(&order.written),
            mean(&order.written),
        ];
        grid.row(cells.into_iter().map(Into::into).collect());
    }
    let mut text = Grid::render(&grid, &grid, style);
    if shown < topics.len() {
        text += &explanation("The topic-partitions that jump most, then the largest. --all shows every one.", style);
    }
    text
}

fn cut_short(sent: &[&SendfileUse], report: &Report, style: &Style) -> String {
    let columns = ["calls", "of all\nthat sent", "bytes\nnot sent"].map(Column::numbers);
    let words = [Column::words("listener").breaks(), Column::words("because of").breaks()];
    let mut grid = Grid::new(words.into_iter().chain(columns).collect());
    for of in sent {
        let name = of.port.as_ref().map_or_else(absent, |port| port_name(port, report, style));
        for short in &of.short {
            let share = if short.sent_bytes > 0 { percent_at_least(short.calls, of.calls, 1) } else { None };
            let cells = [
                name.clone(),
                because(short.reason).to_owned(),
                thousands(short.calls),
                share.unwrap_or_else(absent),
                style.bytes(short.asked_bytes.saturating_sub(short.sent_bytes)),
            ];
            grid.row(cells.into_iter().map(Into::into).collect());
        }
    }
    let again = "Not sent: what each call was asked for and did not send. The next call asks again for what is still to be sent: \
                 that is no loss, and counts each time.";
    Grid::render(&grid, &grid, style) + &explanation(again, style)
}

/// What a reason means.
fn because(reason: &'static str) -> &'static str {
    match reason {
        "send_buffer" => "send buffer full",
        "again" => "no room at all (EAGAIN)",
        "end_of_file" => "end of the file",
        "limit" => "2 GiB limit",
        "interrupted" => "signal or error",
        other => other,
    }
}

fn sequential(order: &Order) -> Option<String> {
    percent_at_least(order.sequential_bytes, order.sequential_bytes + order.random_bytes, 1)
}
