//! Colours: the same thing has the same colour on every panel. They are those of Okabe and Ito, which people see as
//! different whatever colours they can tell apart.

use serde_json::{Value, json};

/// Sent by zero copy: blue.
pub(super) const ZERO_COPY: &str = "#0072B2";
/// Copied through user memory: orange.
pub(super) const COPIED: &str = "#E69F00";
/// Not known: grey.
pub(super) const UNKNOWN: &str = "#999999";
/// Received, written: sky blue and purple, which say nothing about copying.
pub(super) const RECEIVED: &str = "#CC79A7";
/// As it should be.
pub(super) const GOOD: &str = "#009E73";
/// Worth a look.
pub(super) const WATCH: &str = "#F0E442";
/// Wrong.
pub(super) const BAD: &str = "#D55E00";

/// Names that series have in legends, with their colours: paths, and the protocols that make for them.
pub(super) const BY_NAME: [(&str, &str); 11] = [
    ("Zero copy", ZERO_COPY),
    ("Copied", COPIED),
    ("Undetermined", UNKNOWN),
    ("Read by zero copy", ZERO_COPY),
    ("Read by copying", COPIED),
    ("Received", RECEIVED),
    ("Written", RECEIVED),
    ("PLAINTEXT", ZERO_COPY),
    ("SASL_PLAINTEXT", "#56B4E9"),
    ("SSL", COPIED),
    ("SASL_SSL", "#D55E00"),
];

/// A colour that stays whatever the value is.
pub(super) fn fixed(colour: &str) -> Value {
    json!({"mode": "fixed", "fixedColor": colour})
}

/// Thresholds: from each value on, a colour; the first one has no value.
pub(super) fn thresholds(first: &str, steps: &[(f64, &str)]) -> Value {
    let rest = steps.iter().map(|(from, colour)| json!({"value": from, "color": colour}));
    let steps: Vec<Value> = std::iter::once(json!({"value": null, "color": first})).chain(rest).collect();
    json!({"mode": "absolute", "steps": steps})
}
