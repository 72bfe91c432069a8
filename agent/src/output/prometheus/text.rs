//! The text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>), written from the Report straight into one
//! buffer: a broker with ten thousand partitions has thirty thousand lines. As metric families of the `prometheus` crate,
//! which own a name and a value for each label, their topics alone took 16 MiB of allocations a scrape before the first line
//! was written (`cargo xtask bench serve`, docs/bench/serve.md).

use std::fmt::Write;

use super::metrics::Metric;

/// Writes one metric after the other.
#[derive(Debug)]
pub(super) struct Text<'a> {
    out: &'a mut String,
}

impl<'a> Text<'a> {
    pub(super) const fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    /// Begins a metric: everything of it follows at once, as the format asks.
    pub(super) fn begin(&mut self, metric: &Metric) {
        // Writing to a String can't fail.
        let _ =
            writeln!(self.out, "# HELP {} {}\n# TYPE {} {}", metric.name, metric.help, metric.name, metric.kind.word());
    }

    /// A sample that is a count.
    pub(super) fn count(&mut self, metric: &Metric, values: &[&str], count: u64) {
        self.name(metric.name, "", metric.labels, values);
        let _ = writeln!(self.out, " {count}");
    }

    /// A sample that is a number.
    pub(super) fn number(&mut self, metric: &Metric, values: &[&str], number: f64) {
        self.name(metric.name, "", metric.labels, values);
        let _ = writeln!(self.out, " {number}");
    }

    /// A sample of a histogram: `_bucket`, `_sum` or `_count`.
    pub(super) fn part(&mut self, metric: &Metric, suffix: &str, values: &[&str], count: u64) {
        self.name(metric.name, suffix, metric.labels, values);
        let _ = writeln!(self.out, " {count}");
    }

    /// Labels without a value are left out: to Prometheus they are the same.
    fn name(&mut self, name: &str, suffix: &str, labels: &[&str], values: &[&str]) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        let mut open = '{';
        for (label, value) in labels.iter().zip(values).filter(|(_, value)| !value.is_empty()) {
            self.out.push(open);
            open = ',';
            self.out.push_str(label);
            self.out.push_str("=\"");
            self.escaped(value);
            self.out.push('"');
        }
        if open == ',' {
            self.out.push('}');
        }
    }

    fn escaped(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '"' => self.out.push_str("\\\""),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            }
        }
    }
}
