//! Metrics used are metrics that exist, and every metric is shown somewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    promql::{Use, uses},
    queries, rules,
};
use crate::dashboards::all;

/// Metrics that no dashboard shows, and why.
const NOT_FOR_DASHBOARDS: [(&str, &str); 2] = [
    (
        "zctrace_log_residency_timestamp_seconds",
        "logs fall out of memory by the hour: a look some minutes ago is as good as one now",
    ),
    (
        "zctrace_broker_setting_info",
        "settings change when a broker restarts: they are looked up and compared between brokers, not watched",
    ),
];

/// Labels that Prometheus adds, or the shipped scrape job.
const OF_PROMETHEUS: [&str; 4] = ["job", "instance", "host", "le"];

/// Labels by metric, from the documented table.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = include_str!("../../../../docs/metrics.md");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| `zctrace_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        (quoted(cells[1]).remove(0), quoted(cells[3]).into_iter().collect())
    })
    .collect()
}

fn plain(metric: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|part| metric.strip_suffix(part)).unwrap_or(metric)
}

/// What is wrong with the use of a metric.
fn wrong(used: &Use, table: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    if !used.metric.starts_with("zctrace_") {
        return None;
    }
    let Some(known) = table.get(plain(&used.metric)) else {
        return Some(format!("{} is not in docs/metrics.md", used.metric));
    };
    let unknown =
        used.labels.iter().find(|label| !known.contains(*label) && !OF_PROMETHEUS.contains(&label.as_str()))?;
    Some(format!("{} has no label {unknown}", used.metric))
}

#[test]
fn every_metric_that_is_used_exists_with_its_labels() {
    let table = table();
    assert!(table.len() > 30);
    let queries = all().iter().flat_map(queries).chain(rules::expressions()).collect::<Vec<_>>();
    let wrong: Vec<_> = queries.iter().flat_map(|query| uses(query)).filter_map(|used| wrong(&used, &table)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_does_not_exist_is_found() {
    let table = table();
    let is_wrong = |query: &str| uses(query).iter().any(|used| wrong(used, &table).is_some());
    assert!(is_wrong("rate(zctrace_egress_byte_total[5m])"));
    assert!(is_wrong("zctrace_target_up{listener=\"PLAINTEXT\"}"));
    assert!(!is_wrong("zctrace_target_up{target=\"kafka-1\",job=\"zctrace\"}"));
    assert!(!is_wrong("zctrace_transfer_size_bytes_bucket{le=\"63\"}"));
}

#[test]
fn every_metric_is_shown_or_said_not_to_be() {
    let used: Vec<_> = all().iter().flat_map(queries).flat_map(|query| uses(&query)).collect();
    let shown: BTreeSet<_> = used.iter().map(|used| plain(&used.metric)).collect();
    let excused: BTreeSet<_> = NOT_FOR_DASHBOARDS.iter().map(|(metric, _)| *metric).collect();
    let table = table();
    let wrong: Vec<_> =
        table.keys().filter(|metric| shown.contains(metric.as_str()) == excused.contains(metric.as_str())).collect();
    assert!(wrong.is_empty(), "shown nowhere and not said to be so, or shown all the same: {wrong:#?}");
}
