//! The line that shows, while watching, that something happens.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    format::{human, percent},
    text::clean,
};
use crate::report::Egress;

/// One line on stderr: kept up to date on a terminal, otherwise written once. Gone when it is finished or dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    duration: Option<Duration>,
}

impl Progress {
    /// Says that `target_name` is watched from now on, for `duration` or until Ctrl-C.
    #[must_use]
    pub fn start(duration: Option<Duration>, target_name: &str) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if std::io::stderr().is_terminal() && !dumb {
            return Self::on(ProgressDrawTarget::stderr(), duration, target_name);
        }
        // A closed stderr must not end the watch.
        let _ = writeln!(std::io::stderr(), "{}", first_line(duration, target_name));
        Self::on(ProgressDrawTarget::hidden(), duration, target_name)
    }

    fn on(target: ProgressDrawTarget, duration: Option<Duration>, target_name: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        // Cut, not wrapped, where the terminal is narrow.
        bar.set_style(ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(first_line(duration, target_name));
        bar.tick();
        Self { bar, duration }
    }

    /// Whether [`Self::update`] shows anything: without a terminal nobody needs to find out what happened so far.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows what was counted so far. Call it about four times a second.
    pub fn update(&self, elapsed: Duration, egress: &Egress) {
        self.bar.set_message(line(elapsed, self.duration, egress));
        self.bar.tick();
    }

    /// Takes the line away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn first_line(duration: Option<Duration>, target_name: &str) -> String {
    let name = clean(target_name, false);
    match duration {
        Some(duration) => format!("Watching {name} for {}, or until Ctrl-C.", time(duration, false)),
        None => format!("Watching {name} until Ctrl-C."),
    }
}

fn line(elapsed: Duration, duration: Option<Duration>, egress: &Egress) -> String {
    let of = duration.map(|duration| format!(" of {}", time(duration, false))).unwrap_or_default();
    let egress = match percent(egress.zero_copy_bytes, egress.egress_bytes, 1) {
        Some(share) => format!("egress {}, {share} zero copy", human(egress.egress_bytes.into())),
        None => "no egress yet".to_owned(),
    };
    format!("{}{of}  {egress}  (Ctrl-C ends)", time(elapsed, true))
}

/// A time, to the tenth of a second below 100 seconds if asked.
fn time(time: Duration, tenths: bool) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, seconds) {
        (0, 0..100) if tenths => format!("{seconds}.{} s", time.subsec_millis() / 100),
        (0, 0..100) => {
            let text = format!("{seconds}.{:03}", time.subsec_millis());
            format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
        }
        (0, _) => format!("{minutes} min {:02} s", seconds % 60),
        _ => format!("{hours} h {minutes:02} min {:02} s", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn egress(zero_copy_bytes: u64, egress_bytes: u64) -> Egress {
        Egress { egress_bytes, zero_copy_bytes, copied_bytes: egress_bytes - zero_copy_bytes, ..Egress::default() }
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_line_says_how_far_it_is_and_what_was_seen() {
        let ten = Some(millis(10_000));
        assert_eq!(
            line(millis(3_299), ten, &egress(404 * MIB, 812 * MIB)),
            "3.2 s of 10 s  egress 812 MiB, 49.8 % zero copy  (Ctrl-C ends)"
        );
        assert_eq!(line(millis(0), None, &Egress::default()), "0.0 s  no egress yet  (Ctrl-C ends)");
        assert!(line(millis(1), None, &egress(MIB * MIB - 1, MIB * MIB)).contains(">99.9 % zero copy"));
    }

    #[test]
    fn times() {
        for (millis, tenths, text) in [
            (1_500, false, "1.5 s"),
            (10_000, false, "10 s"),
            (99_990, true, "99.9 s"),
            (100_000, true, "1 min 40 s"),
            (300_500, false, "5 min 00 s"),
            (3_723_000, true, "1 h 02 min 03 s"),
        ] {
            assert_eq!(time(Duration::from_millis(millis), tenths), text);
        }
    }

    #[test]
    fn names_are_clean() {
        let first = first_line(Some(millis(500)), "evil\u{1b}[2J");
        assert_eq!(first, "Watching evil\\u{1b}[2J for 0.5 s, or until Ctrl-C.");
        assert_eq!(first_line(None, "kafka broker 1"), "Watching kafka broker 1 until Ctrl-C.");
    }

    #[test]
    fn on_a_terminal_it_is_one_line_that_changes_and_goes_away() {
        let terminal = InMemoryTerm::new(5, 60);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let progress = Progress::on(target, Some(millis(10_000)), "kafka broker 1");
        assert!(progress.is_shown());
        assert_eq!(terminal.contents(), "Watching kafka broker 1 for 10 s, or until Ctrl-C.");
        std::thread::sleep(millis(100)); // it draws no more often than it can be read
        progress.update(millis(3_200), &egress(404 * MIB, 812 * MIB));
        // Cut at the width of the terminal.
        assert_eq!(terminal.contents(), "3.2 s of 10 s  egress 812 MiB, 49.8 % zero copy  (Ctrl-C end");
        progress.finish();
        assert_eq!(terminal.contents(), "");
    }

    #[test]
    fn without_a_terminal_nothing_is_shown() {
        let progress = Progress::on(ProgressDrawTarget::hidden(), None, "kafka broker 1");
        assert!(!progress.is_shown());
        progress.update(millis(1), &Egress::default());
        progress.finish();
    }
}
