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
