//! Queries of a dashboard, asked over a span of time.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Chosen, Prometheus};

/// The time that a dashboard shows, in seconds since 1970, and how finely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) step: u64,
    /// Scrape interval, as the data source in Grafana says it.
    pub(crate) scrape: u64,
}

impl Span {
    /// The last seconds until now, with the scrape interval of the [`super::Stack`].
    pub(crate) fn last(seconds: u64, step: u64) -> Result<Self> {
        let end = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        Ok(Self { start: end - seconds, end, step, scrape: super::prometheus::SCRAPE })
    }

    /// Grafana's own variables of time.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match name {
            // https://grafana.com/blog/2020/09/28/new-in-grafana-7.2-__rate_interval-for-prometheus-rate-queries-that-just-work/
            "__rate_interval" => Some(format!("{}s", (self.step + self.scrape).max(4 * self.scrape))),
            "__interval" => Some(format!("{}s", self.step)),
            "__range" => Some(format!("{}s", self.end - self.start)),
            _ => None,
        }
    }
}

/// A query of a dashboard and what Prometheus said to it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Panel or annotation.
    pub(crate) title: String,
    /// Number of the panel; 0 for an annotation.
    pub(crate) panel: u64,
    pub(crate) letter: String,
    pub(crate) legend: String,
    /// With variables substituted.
    pub(crate) query: String,
    /// `resultType` and `result`, or why there is none.
    pub(crate) data: Result<Value>,
}

impl Answer {
    /// Whether there is at least one series.
    pub(crate) fn has_data(&self) -> bool {
        !self.series().is_empty()
    }

    /// The series that came.
    pub(crate) fn series(&self) -> &[Value] {
        self.data.as_ref().ok().and_then(|data| data["result"].as_array()).map_or(&[], Vec::as_slice)
    }

    /// For the program that draws.
    pub(crate) fn json(&self) -> Value {
        let data = self.data.as_ref().ok();
        json!({"panel": self.panel, "refId": self.letter, "legend": self.legend, "data": data})
    }

    /// The one number of an instant query.
    pub(crate) fn number(&self) -> Option<f64> {
        self.series().first()?.pointer("/value/1")?.as_str()?.parse().ok()
    }
}

/// Asks every query of a dashboard's panels and annotations.
pub(crate) fn ask_all(board: &Value, prometheus: &Prometheus, chosen: &Chosen, span: &Span) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let panels = board["panels"].as_array().context("no panels")?.iter();
    let of_panels = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (&panel["title"], panel["id"].as_u64(), target))
    });
    let marks = board["annotations"]["list"].as_array().context("no annotations")?.iter();
    let of_marks = marks.map(|mark| (&mark["name"], None, &mark["target"]));
    for (title, panel, target) in of_panels.chain(of_marks) {
        let query = chosen.put_into(target["expr"].as_str().context("a query without an expression")?, span);
        let data = if target["instant"] == true {
            prometheus.api("query", &[("query", query.clone()), ("time", span.end.to_string())])
        } else {
            let form = [
                ("query", query.clone()),
                ("start", span.start.to_string()),
                ("end", span.end.to_string()),
                ("step", span.step.to_string()),
            ];
            prometheus.api("query_range", &form)
        };
        answers.push(Answer {
            title: text(title),
            panel: panel.unwrap_or(0),
            letter: text(&target["refId"]),
            legend: text(&target["legendFormat"]),
            query,
            data,
        });
    }
    Ok(answers)
}
