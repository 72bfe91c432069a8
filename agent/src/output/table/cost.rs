//! What sending cost.

use super::{absent, listener_name, title};
use crate::{
    output::{
        Style,
        format::thousands,
        grid::{Column, Grid, explanation},
        text::tied,
    },
    report::{Cost, Estimate, Listener, Report},
};

/// By listener, the way of a byte, and what zero copy would save.
pub(super) fn section(report: &Report, style: &Style) -> String {
    let Some(process) = &report.cost else { return String::new() };
    let costs: Vec<_> =
        report.listeners.iter().filter_map(|listener| Some((listener, listener.cost.as_ref()?))).collect();
    if costs.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new(vec![
        Column::words("listener").breaks(),
        Column::numbers("threads").leaves(1),
        Column::numbers("CPU"),
        Column::numbers("of the\nprocess"),
        Column::numbers("user\nper GB"),
        Column::numbers("kernel\nper GB"),
        Column::numbers("calls\nper GB"),
        Column::numbers("copies\na byte"),
    ]);
    for (listener, cost) in &costs {
        grid.row(row(listener, cost, style).into_iter().map(Into::into).collect());
    }
    let plus_minus = if style.unicode { "±" } else { "+-" };
    let worst = costs.iter().map(|(_, cost)| cost.split_uncertainty_seconds).fold(0.0, f64::max);
    let mut sentences = vec![
        "CPU: seconds that the threads used which send through this listener, in user space and in the kernel. Per GB: for \
         each 10^9 bytes that left, whatever came in beside; less than 10 MB are too little to tell."
            .to_owned(),
        format!("The split into user and kernel is sampled: {plus_minus} {worst:.2} s at most, 95 % of the time."),
    ];
    if costs.iter().any(|(_, cost)| cost.shared_threads > 0) {
        sentences.push("Threads that send through several listeners are shared out by their sends.".to_owned());
    }
    sentences.push(format!(
        "The whole process used {:.2} s, of which {:.2} s were threads that send through no listener.",
        process.user_seconds + process.kernel_seconds,
        process.other_seconds
    ));
    title("What it cost", "processor time, calls and copies", style)
        + &Grid::render(&grid, &grid, style)
        + &explanation(&sentences.join(" "), style)
        + &ways(style)
        + &estimates(report, style)
}

fn row(listener: &Listener, cost: &Cost, style: &Style) -> Vec<String> {
    let seconds = |seconds: Option<f64>| seconds.map_or_else(absent, |seconds| format!("{seconds:.2} s"));
    let shared = if cost.shared_threads > 0 { format!(", {} shared", cost.shared_threads) } else { String::new() };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // shown without decimals
    let calls = cost.calls_per_gb.map_or_else(absent, |calls| thousands(calls.round() as u64));
    vec![
        listener_name(listener, style),
        format!("{}{shared}", thousands(cost.threads)),
        seconds(Some(cost.user_seconds + cost.kernel_seconds)),
        cost.share_of_process.map_or_else(absent, |share| format!("{:.1} %", share * 100.0)),
        seconds(cost.user_seconds_per_gb),
        seconds(cost.kernel_seconds_per_gb),
        calls,
        cost.copies_per_byte.map_or_else(absent, |copies| format!("{copies:.2}")),
    ]
}

/// The two pictures: a byte's way with and without user space.
fn ways(style: &Style) -> String {
    let [device, processor] = if style.unicode { ["─▶", "═▶"] } else { ["->", "=>"] };
    let ways = [
        ("zero copy, 2 copies", format!("disk {device} page cache {device} network")),
        ("read + write, 4", format!("disk {device} page cache {processor} broker {processor} socket {device} network")),
    ];
    let lines = ways.iter().map(|(name, way)| format!("  {name:<20} {}", tied(way)));
    let legend = format!("  {device} copied by a device  {processor} copied by the processor");
    lines.chain([legend]).fold(String::new(), |text, line| text + &super::paragraph(&line, style.width, "", "    "))
}

fn estimates(report: &Report, style: &Style) -> String {
    let Some(process) = &report.cost else { return String::new() };
    let name = |port: u16| {
        let listener = report.listeners.iter().find(|listener| listener.port == Some(port));
        listener.map_or_else(|| format!(":{port}"), |listener| listener_name(listener, style))
    };
    let plus_minus = if style.unicode { "±" } else { "+-" };
    let sentence = |estimate: &Estimate| {
        format!(
            "{} used {:.2} s. At the price of {} the same bytes would have cost {:.2} s by zero copy ({:.2} to {:.2} s). For \
             each GB it takes {:.2} s more in user space (encryption and handling) and {:.2} s more in the kernel (copies \
             and calls), each {plus_minus} {:.2} s.",
            name(estimate.port),
            estimate.seconds,
            name(estimate.reference_port),
            estimate.zero_copy_seconds,
            estimate.zero_copy_seconds_low,
            estimate.zero_copy_seconds_high,
            estimate.user_seconds_per_gb,
            estimate.kernel_seconds_per_gb,
            estimate.uncertainty_seconds_per_gb,
        )
    };
    let sentences: Vec<_> = match &process.no_estimate {
        Some(why) => vec![format!("What zero copy would save is not known: {}", lower(why))],
        None => process.estimates.iter().map(sentence).collect(),
    };
    super::bullets(sentences.iter().map(String::as_str), style)
}

fn lower(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
