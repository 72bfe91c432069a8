//! What could not be kept apart: always said, also where it is nothing.

use super::{super::Style, bullets, paragraph};
use crate::{
    output::{format::thousands, text::Ink},
    report::{Lost, OTHER, Report},
};

/// What to do about missed calls.
const PREEMPTION: &str = "Booting with preempt=none or preempt=voluntary, where the kernel offers them, prevents it.";

pub(super) fn section(report: &Report, style: &Style) -> String {
    let sentences = sentences(&report.lost, style);
    if sentences.is_empty() {
        return paragraph("Lost: nothing, every byte is in its place.", style.width, "", "  ");
    }
    format!("{}\n{}", Ink::Strong.on("Lost:"), bullets(sentences.iter().map(String::as_str), style))
}

fn sentences(lost: &Lost, style: &Style) -> Vec<String> {
    let mut sentences = Vec::new();
    if lost.updates > 0 || lost.other_bytes > 0 {
        sentences.push(format!(
            "{} found a map in the kernel full, so {} are in {OTHER}: in every total, but not with their listener, file \
             or directory. A shorter window (--duration) has fewer of them to keep apart.",
            count(lost.updates, "update"),
            bytes(lost.other_bytes, style),
        ));
    }
    if lost.unknown_endpoint_calls > 0 || lost.unknown_endpoint_bytes > 0 {
        sentences.push(format!(
            "{} with {} had their descriptor closed by another thread before they returned: they are in the table by \
             system call with an end named \"other\", and in no listener or file. Connections that are broken off do \
             that; nothing is to be done unless they are many.",
            count(lost.unknown_endpoint_calls, "call"),
            bytes(lost.unknown_endpoint_bytes, style),
        ));
    }
    if lost.unknown_length_calls > 0 {
        sentences.push(format!(
            "{} of sendmmsg or recvmmsg had message lengths that could not be read: their bytes are missing, so the \
             numbers of these two are lower bounds. Kafka makes no such calls.",
            count(lost.unknown_length_calls, "call"),
        ));
    }
    if lost.missed_calls > 0 {
        sentences.push(format!(
            "The kernel did not run the hook for {} of any process of this host, since another thread was preempted in it: at \
             most so many of this process are in no number. {PREEMPTION}",
            count(lost.missed_calls, "call"),
        ));
    }
    sentences
}

fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

fn bytes(number: u64, style: &Style) -> String {
    match style.bytes(number) {
        text if text.ends_with('B') => text,
        text => format!("{text} bytes"),
    }
}
