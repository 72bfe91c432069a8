//! Sentences and tables for people.

mod advice;
mod cache;
mod calls;
mod clients;
mod cost;
mod files;
mod latency;
mod listeners;
mod lost;
mod machine;
mod order;
mod residency;
mod sync;
#[cfg(test)]
mod tests;
mod why;

use super::{
    Bytes, Style,
    text::{Ink, clean, clean_sentence, paragraph, resolve, width},
};
use crate::report::{EndedBy, Listener, LocalPort, Report};

/// The summary: verdicts, tables, what was lost, notes. It ends with a line end.
#[must_use]
pub fn render(report: &Report, style: &Style) -> String {
    let sections = [
        header(report, style),
        verdicts(report, style),
        listeners::section(report, style),
        clients::section(report, style),
        why::reasons(report, style),
        why::flows(report, style),
        cost::section(report, style),
        latency::section(report, style),
        calls::transfers(report, style),
        calls::results(report, style),
        files::topics(report, style),
        files::others(report, style),
        order::section(report, style),
        sync::section(report, style),
        cache::section(report, style),
        residency::section(report, style),
        machine::section(report, style),
        advice::section(report, style),
        lost::section(report, style),
        notes(report, style),
    ];
    let sections: Vec<_> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    resolve(&sections.join("\n"), style.color)
}

/// Who was watched, for how long, and how.
fn header(report: &Report, style: &Style) -> String {
    let (target, window) = (&report.target, &report.window);
    let clean = |name: &str| clean(name, style.unicode);
    let mut who = vec![format!("PID {}", target.pid)];
    match &target.kafka {
        Some(kafka) => who.extend(kafka.version.as_ref().map(|version| format!("Kafka {}", clean(version)))),
        None if target.command != target.name => who.push(clean(&target.command)),
        None => {}
    }
    let ended_by = match window.ended_by {
        EndedBy::Duration => "",
        EndedBy::Signal => " (until it was interrupted)",
        EndedBy::TargetExit => " (until the process ended)",
        EndedBy::StillRunning => " (and it goes on)",
    };
    let header = format!(
        "{} ({}), {:.2} s from {}{ended_by}, leg {}",
        clean(&target.name),
        who.join(", "),
        window.seconds,
        clean(&window.start),
        clean(&report.attach.leg)
    );
    let header = paragraph(&header, style.width, "", "  ");
    let reason = format!("Leg {}: {}", clean(&report.attach.leg), clean_sentence(&report.attach.reason, style.unicode));
    inked(&header, Ink::Strong) + &inked(&paragraph(&reason, style.width, "", "  "), Ink::Faint)
}

/// What the numbers of each listener say.
fn verdicts(report: &Report, style: &Style) -> String {
    let sentences: Vec<_> = report
        .listeners
        .iter()
        .map(|listener| {
            [Some(&listener.verdict), listener.why.as_ref()].into_iter().flatten().cloned().collect::<Vec<_>>()
        })
        .map(|sentences| sentences.join(" "))
        .collect();
    bullets(sentences.iter().map(String::as_str), style)
}

fn notes(report: &Report, style: &Style) -> String {
    if report.notes.is_empty() {
        return String::new();
    }
    title("Notes", "", style) + &bullets(report.notes.iter().map(|note| note.text.as_str()), style)
}

fn bullets<'a>(sentences: impl Iterator<Item = &'a str>, style: &Style) -> String {
    let bullet = if style.unicode { "• " } else { "* " };
    sentences.fold(String::new(), |text, sentence| {
        text + &paragraph(&clean_sentence(sentence, style.unicode), style.width, bullet, "  ")
    })
}

/// Heading of a section, with what its numbers are.
pub(super) fn title(title: &str, of_what: &str, style: &Style) -> String {
    let of_what = match (of_what, style.bytes) {
        ("", _) => String::new(),
        (of_what, Bytes::Human) => format!(" ({of_what})"),
        (of_what, Bytes::Exact) => format!(" ({of_what}, in bytes)"),
    };
    if width(title) + width(&of_what) <= style.width {
        return format!("{}{}\n", Ink::Strong.on(title), Ink::Faint.on(&of_what));
    }
    format!("{}\n{}", Ink::Strong.on(title), inked(&paragraph(of_what.trim_start(), style.width, "", ""), Ink::Faint))
}

/// Each line in the ink.
fn inked(lines: &str, ink: Ink) -> String {
    lines.lines().fold(String::new(), |text, line| text + &ink.on(line) + "\n")
}

/// What an absent number looks like. A sentence below the table says why.
fn absent() -> String {
    "-".to_owned()
}

/// `SSL :9093`, `:9093`, `outbound`.
fn listener_name(listener: &Listener, style: &Style) -> String {
    match (&listener.name, listener.port) {
        (Some(name), Some(port)) => format!("{} :{port}", clean(name, style.unicode)),
        (None, Some(port)) => format!(":{port}"),
        (Some(name), None) => clean(name, style.unicode),
        (None, None) => absent(),
    }
}

/// The same for the port of a transfer.
fn port_name(port: &LocalPort, report: &Report, style: &Style) -> String {
    match port {
        LocalPort::Port(port) => report
            .listeners
            .iter()
            .find(|listener| listener.port == Some(*port))
            .map_or_else(|| format!(":{port}"), |listener| listener_name(listener, style)),
        LocalPort::Entry(entry) => (*entry).to_owned(),
    }
}

fn sum(numbers: impl Iterator<Item = u64>) -> u128 {
    numbers.map(u128::from).sum()
}
