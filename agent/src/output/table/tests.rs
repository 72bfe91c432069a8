//! The whole summary, at several widths.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::output::sample;

const WIDTHS: [usize; 5] = [40, 60, 80, 120, 200];

fn style(width: usize) -> Style {
    Style { width, color: false, bytes: Bytes::Human, unicode: true, all: false }
}

/// Held by a file that a person has read: `INSTA_UPDATE=always cargo test` writes it anew.
fn golden(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn a_broker_at_every_width() {
    for width in WIDTHS {
        golden(&format!("broker-{width}"), &render(&sample::broker(), &style(width)));
    }
}

#[test]
fn a_broker_in_exact_bytes_and_ascii() {
    let style = Style { bytes: Bytes::Exact, unicode: false, all: true, ..style(120) };
    golden("broker-exact-ascii-all", &render(&sample::broker(), &style));
}

#[test]
fn everything_that_can_be_there() {
    golden("everything-80", &render(&sample::everything(), &style(80)));
    golden("everything-120", &render(&sample::everything(), &style(120)));
}

#[test]
fn a_process_that_did_nothing() {
    golden("idle-80", &render(&sample::idle(), &style(80)));
}

#[test]
fn the_colours() {
    golden("colors-120", &render(&sample::everything(), &Style { color: true, ..style(120) }).replace('\u{1b}', "ESC"));
}

/// Every form of the tables, at every width.
fn every_style() -> impl Iterator<Item = Style> {
    (40..=200).flat_map(|width| {
        [Bytes::Human, Bytes::Exact].into_iter().flat_map(move |bytes| {
            [(false, false), (true, true)].map(|(unicode, all)| Style { bytes, unicode, all, ..style(width) })
        })
    })
}

#[test]
fn nothing_is_wider_than_the_terminal_and_no_number_is_broken() {
    let report = sample::everything();
    for style in every_style() {
        let text = render(&report, &style);
        for line in text.lines() {
            assert!(width(line) <= style.width, "{style:?}\n{line}");
        }
        let numbers = report
            .listeners
            .iter()
            .flat_map(|listener| [listener.egress.egress_bytes, listener.ingress_bytes])
            .chain(report.transfers.iter().map(|transfer| transfer.bytes))
            .map(|bytes| style.bytes(bytes))
            .chain(report.transfers.iter().map(|transfer| crate::output::format::thousands(transfer.calls)));
        for number in numbers {
            let holds = text.lines().any(|line| {
                line.match_indices(&number).any(|(at, _)| {
                    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit() || c == ',' || c == '.');
                    !digit(line[..at].chars().next_back())
                        && !line[at + number.len()..].starts_with(|c: char| c.is_ascii_digit())
                })
            });
            assert!(holds, "{number} is missing or broken: {style:?}\n{text}");
        }
    }
}

#[test]
fn a_file_gets_no_escape_and_ascii_where_asked() {
    for report in [sample::broker(), sample::everything(), sample::idle(), sample::hostile()] {
        for style in every_style() {
            let text = render(&report, &style);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
            assert!(style.unicode || text.is_ascii(), "{text:?}");
            assert!(text.ends_with('\n') && !text.contains("\n\n\n") && !text.contains(" \n"), "{text:?}");
        }
    }
}

#[test]
fn names_from_elsewhere_reach_no_terminal_raw() {
    let colored = Style { color: true, ..style(120) };
    let text = render(&sample::hostile(), &colored);
    // The only escape sequences are our own.
    let own = ["[0m", "[1m", "[2m", "[38;5;32m", "[38;5;166m"];
    for (at, _) in text.match_indices('\u{1b}') {
        assert!(own.iter().any(|own| text[at + 1..].starts_with(own)), "{:?}", &text[at..at + 12]);
    }
    for bad in ['\u{7}', '\u{9b}', '\u{7f}', '\r', '\u{202e}', '\u{2062}'] {
        assert!(!text.contains(bad), "{bad:?}");
    }
    assert!(text.contains("\\u{1b}]0;owned\\u{7}\\u{9b}2J\\u{7f}\\u{202e}"), "{text}");
}

#[test]
fn colours_are_for_the_two_paths_only() {
    let text = render(&sample::broker(), &Style { color: true, ..style(120) });
    let in_ink = |ink: &str| -> Vec<String> {
        text.split(ink).skip(1).map(|rest| rest.split('\u{1b}').next().unwrap_or_default().to_owned()).collect()
    };
    let (blue, orange) = (in_ink("\u{1b}[38;5;32m"), in_ink("\u{1b}[38;5;166m"));
    assert!(blue.contains(&"1.03 GiB".to_owned()) && !blue.contains(&"969 MiB".to_owned()), "{blue:?}");
    assert!(orange.contains(&"969 MiB".to_owned()) && !orange.contains(&"1.03 GiB".to_owned()), "{orange:?}");
    assert_eq!(
        text.replace("\u{1b}[0m", "")
            .replace("\u{1b}[1m", "")
            .replace("\u{1b}[2m", "")
            .replace("\u{1b}[38;5;32m", "")
            .replace("\u{1b}[38;5;166m", ""),
        render(&sample::broker(), &style(120))
    );
}

#[test]
fn what_was_lost_is_always_said() {
    let mut report = sample::broker();
    assert!(render(&report, &style(120)).contains("\nLost: nothing, every byte is in its place.\n"));
    report.lost.unknown_length_calls = 2;
    let text = render(&report, &style(120));
    assert!(text.contains("\nLost:\n• 2 calls of sendmmsg or recvmmsg") && !text.contains("Lost: nothing"), "{text}");
}

#[test]
fn the_rest_is_summed_and_says_how_many_unless_all_are_asked_for() {
    let few = render(&sample::broker(), &style(120));
    assert!(few.contains("6 more partitions") && few.contains("clicks-17 ") && !few.contains("clicks-18 "), "{few}");
    let all = render(&sample::broker(), &Style { all: true, ..style(120) });
    assert!(!all.contains(" more ") && all.contains("clicks-23 "), "{all}");
    // The same total either way.
    let total =
        |text: &str| text.lines().filter(|line| line.starts_with("total")).map(str::to_owned).collect::<Vec<_>>();
    let squeeze = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(squeeze(total(&few)), squeeze(total(&all)));
    // One alone is shown and not summed up.
    let mut report = sample::broker();
    report.topics.truncate(21);
    assert!(render(&report, &style(120)).contains("clicks-18 "));
}
