//! Copied bytes by reason as counters. A ruling over all time may move bytes from one reason to another when more is seen; so
//! each stretch between two looks is ruled on its own, and what it was ruled stays.

use std::collections::BTreeMap;

use super::window::Key;
use crate::report::{REASONS, Reason, Report, Seen, reasons};

/// What was ruled so far, by listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons(BTreeMap<Key, (Seen, [u64; REASONS.len()])>);

impl Reasons {
    /// Rules what came since the last time, and puts the sums in the place of the Report's own.
    pub(super) fn add(&mut self, report: &mut Report) {
        for listener in &mut report.listeners {
            let (before, sums) = self.0.entry((listener.port, listener.name.clone())).or_default();
            for reason in reasons(&listener.seen.since(before)) {
                if let Some(at) = REASONS.iter().position(|code| *code == reason.code) {
                    sums[at] += reason.bytes;
                }
            }
            *before = listener.seen.clone();
            let text = |code: &str| {
                let now = listener.reasons.iter().find(|reason| reason.code == code);
                now.map_or_else(|| "So it was ruled earlier, while it was watched.".to_owned(), |now| now.text.clone())
            };
            let mut ruled: Vec<_> = REASONS
                .into_iter()
                .zip(*sums)
                .filter(|(_, bytes)| *bytes > 0)
                .map(|(code, bytes)| Reason { code, bytes, text: text(code) })
                .collect();
            ruled.sort_by_key(|reason| std::cmp::Reverse(reason.bytes));
            listener.set_reasons(ruled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{Attach, EndedBy, Listener, Window, build, tests::facts},
        snapshot::Snapshot,
    };

    fn report(seen: Seen) -> Report {
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::StillRunning };
        let attach = Attach::default();
        let mut report = build(&Snapshot::default(), &facts(), window, attach);
        let mut listener = Listener { port: Some(9), ..Listener::default() };
        listener.set_seen(seen);
        report.listeners = vec![listener];
        report
    }

    #[test]
    fn what_was_ruled_stays_so() {
        let mut reasons = Reasons::default();
        let mut told = |seen: Seen| {
            let mut report = report(seen);
            reasons.add(&mut report);
            report.listeners[0].reasons.iter().map(|reason| (reason.code, reason.bytes)).collect::<Vec<_>>()
        };
        let plain = Seen { copied: 100, of_file: 60, of_log: 60, ..Seen::default() };
        assert_eq!(told(plain.clone()), [("log_read", 60), ("headers", 40)]);
        // The port is opened anew with TLS, which is by far the most of everything now.
        let tls = Seen { copied: 10_100, tls: 9_000, of_file: 100, of_log: 9_060, ..plain };
        assert_eq!(told(tls.clone()), [("tls", 10_000), ("log_read", 60), ("headers", 40)]);
        assert_eq!(told(tls), [("tls", 10_000), ("log_read", 60), ("headers", 40)]);
    }
}
