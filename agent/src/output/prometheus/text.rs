//! The text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>), written from the Report as it is read: a
//! broker with ten thousand partitions has thirty thousand lines, of which a few are in memory at a time. As metric families
//! of the `prometheus` crate, which own a name and a value for each label, their topics alone took 16 MiB of allocations a
//! scrape before the first line was written (`cargo xtask bench serve`, docs/bench/serve.md).

use std::{fmt::Write as _, io};

use super::metrics::Metric;

/// Bytes that are handed on at a time.
const PIECE: usize = 16 << 10;

/// Writes one metric after the other.
pub(super) struct Text<'a> {
    out: &'a mut dyn io::Write,
    /// What has not been handed on.
    piece: String,
    result: io::Result<()>,
}

impl<'a> Text<'a> {
    pub(super) fn new(out: &'a mut dyn io::Write) -> Self {
        // A line more than a piece.
        Self { out, piece: String::with_capacity(PIECE + (4 << 10)), result: Ok(()) }
    }

    /// Hands on what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.hand_on();
        self.result
    }

    fn hand_on(&mut self) {
        if self.result.is_ok() {
            self.result = self.out.write_all(self.piece.as_bytes());
        }
        self.piece.clear();
    }

    /// Begins a metric: everything of it follows at once, as the format asks.
    pub(super) fn begin(&mut self, metric: &Metric) {
        // Writing to a String can't fail.
        let _ = writeln!(
            self.piece,
            "# HELP {} {}\n# TYPE {} {}",
            metric.name,
            metric.help,
            metric.name,
            metric.kind.word()
        );
    }

    /// A sample that is a count.
    pub(super) fn count(&mut self, metric: &Metric, values: &[&str], count: u64) {
        self.part(metric, "", values, count);
    }

    /// A sample that is a number.
    pub(super) fn number(&mut self, metric: &Metric, values: &[&str], number: f64) {
        self.part_number(metric, "", values, number);
    }

    /// A sample of a histogram: `_bucket`, `_sum` or `_count`.
    pub(super) fn part(&mut self, metric: &Metric, suffix: &str, values: &[&str], count: u64) {
        self.name(metric.name, suffix, metric.labels, values);
        self.piece.push(' ');
        self.piece.push_str(itoa::Buffer::new().format(count));
        self.piece.push('\n');
        if self.piece.len() >= PIECE {
            self.hand_on();
        }
    }

    /// A part of a histogram that is a number.
    pub(super) fn part_number(&mut self, metric: &Metric, suffix: &str, values: &[&str], number: f64) {
        self.name(metric.name, suffix, metric.labels, values);
        let _ = writeln!(self.piece, " {number}");
    }

    /// Labels without a value are left out: to Prometheus they are the same.
    fn name(&mut self, name: &str, suffix: &str, labels: &[&str], values: &[&str]) {
        self.piece.push_str(name);
        self.piece.push_str(suffix);
        let mut open = '{';
        for (label, value) in labels.iter().zip(values).filter(|(_, value)| !value.is_empty()) {
            self.piece.push(open);
            open = ',';
            self.piece.push_str(label);
            self.piece.push_str("=\"");
            self.escaped(value);
            self.piece.push('"');
        }
        if open == ',' {
            self.piece.push('}');
        }
    }

    fn escaped(&mut self, value: &str) {
        if memchr::memchr3(b'\\', b'"', b'\n', value.as_bytes()).is_none() {
            self.piece.push_str(value);
            return;
        }
        for c in value.chars() {
            match c {
                '\\' => self.piece.push_str("\\\\"),
                '"' => self.piece.push_str("\\\""),
                '\n' => self.piece.push_str("\\n"),
                c => self.piece.push(c),
            }
        }
    }
}
