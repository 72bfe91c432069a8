//! What the reader must know to read the numbers rightly.

use agent_ebpf::Counter;

use super::{EndedBy, Facts, Note, Report};
use crate::snapshot::Snapshot;

pub(super) fn notes(report: &Report, delta: &Snapshot, facts: &Facts) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |code, text: String| notes.push(Note { code, text });
    if report.window.ended_by == EndedBy::TargetExit {
        note("target_exit", "The process ended while it was watched: these are its numbers until then.".to_owned());
    }
    let enters = delta.counter(Counter::IoUringEnters);
    if enters > 0 || facts.io_uring == Some(true) {
        note(
            "io_uring",
            format!(
                "The process uses io_uring ({enters} io_uring_enter calls were seen): what it moves that way is in no \
                 number here."
            ),
        );
    }
    if report.total.undetermined_bytes > 0 {
        note(
            "msg_zerocopy",
            format!(
                "{} bytes were sent with MSG_ZEROCOPY. Whether the kernel copied them is not known when the call \
                 returns: they are in the egress, but neither in its zero-copy nor in its copied part.",
                report.total.undetermined_bytes
            ),
        );
    }
    let compat = delta.counter(Counter::Compat);
    if compat > 0 {
        note("compat", format!("{compat} calls came through the 32-bit system-call table; they are counted."));
    }
    if facts.compat == Some(true) && report.attach.leg != "raw" {
        note(
            "compat_unseen",
            "This is a 32-bit program, whose calls the leg `tracepoint` does not see: use `--attach raw`.".to_owned(),
        );
    }
    let x32 = delta.counter(Counter::X32);
    if x32 > 0 {
        note("x32", format!("{x32} calls came through the x32 system-call table, which zctrace does not count."));
    }
    let dropped = delta.counter(Counter::CarriedDropped);
    if dropped > 0 {
        note(
            "carried_dropped",
            format!(
                "{dropped} file bytes read into memory could not be tied to what their thread sent: copy \
                 amplification is that much too low."
            ),
        );
    }
    for listener in report.listeners.iter().filter(|listener| listener.seen.encrypts && listener.seen.zero_copy > 0) {
        note(
            "kernel_tls",
            format!(
                "{} bytes left by sendfile or splice through {}, which encrypts by its configuration: only kernel TLS can \
                 do that.",
                listener.seen.zero_copy,
                listener.name.as_deref().unwrap_or("a listener"),
            ),
        );
    }
    if let Some(connections) = facts.kernel_tls.filter(|connections| *connections > 0) {
        note(
            "kernel_tls",
            format!(
                "The kernel encrypts {connections} connections of the process's network namespace (kernel TLS), its own or \
                 another process's: what sendfile and splice send through such a one is zero copy here, and encrypted \
                 behind the call."
            ),
        );
    }
    for problem in &facts.problems {
        note("facts", problem.clone());
    }
    notes
}
