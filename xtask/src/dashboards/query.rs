//! PromQL: the pieces that queries are made of.
//!
//! Only the counters of zctrace are used, no recording rules: a dashboard works wherever zctrace is scraped.

/// What a panel of the fleet is about.
pub(super) const FLEET: &str = r#"job=~"$job",instance=~"$instance""#;
/// What a panel of zctrace itself is about: instances that watch nothing yet, too.
pub(super) const OWN: &str = r#"job=~"$job""#;
/// What a panel of brokers is about.
pub(super) const TARGET: &str = r#"job=~"$job",instance=~"$instance",target=~"$target""#;
/// The same, of some listeners.
pub(super) const LISTENER: &str = r#"job=~"$job",instance=~"$instance",target=~"$target",listener=~"$listener""#;
/// Topics of brokers.
pub(super) const TOPIC: &str = r#"job=~"$job",instance=~"$instance",target=~"$target",topic=~"$topic""#;

pub(super) const EGRESS: &str = "zctrace_egress_bytes_total";
pub(super) const CARRIED: &str = "zctrace_carried_file_bytes_total";
pub(super) const TOPIC_BYTES: &str = "zctrace_topic_bytes_total";

/// Labels that name a broker.
pub(super) const BROKER: &str = "instance, target";
/// Labels by which metrics of a listener are joined.
const OF_LISTENER: &str = "job, instance, target, listener, port";

/// Increase a second of a counter.
pub(super) fn rate(metric: &str, selector: &str) -> String {
    format!("rate({metric}{{{selector}}}[$__rate_interval])")
}

/// Sum of the increases a second, by labels (all together without any).
pub(super) fn sum(by: &str, metric: &str, selector: &str) -> String {
    sum_of(by, &rate(metric, selector))
}

pub(super) fn sum_of(by: &str, what: &str) -> String {
    if by.is_empty() { format!("sum({what})") } else { format!("sum by ({by}) ({what})") }
}

/// A selector and one more condition.
pub(super) fn and(selector: &str, more: &str) -> String {
    format!("{selector},{more}")
}

/// Egress by one path.
pub(super) fn egress(by: &str, selector: &str, path: &str) -> String {
    sum(by, EGRESS, &and(selector, &format!("path=\"{path}\"")))
}

/// `part / whole`, where the whole is above the floor: an idle broker's heartbeats make no ratio.
pub(super) fn ratio(part: &str, whole: &str) -> String {
    format!("{part} / ({whole} > $floor)")
}

/// Zero-copy share of egress.
pub(super) fn share(by: &str, selector: &str) -> String {
    ratio(&egress(by, selector, "zero_copy"), &sum(by, EGRESS, selector))
}

/// Bytes that moved between kernel and user memory for the egress.
pub(super) fn moved(by: &str, selector: &str) -> String {
    format!("({} + {})", egress(by, selector, "copied"), sum(by, CARRIED, selector))
}

/// Bytes moved for each byte sent.
pub(super) fn amplification(by: &str, selector: &str) -> String {
    ratio(&moved(by, selector), &sum(by, EGRESS, selector))
}

/// Rates of a listener's metric with its protocol joined; `protocol` is a regular expression.
pub(super) fn with_protocol(rates: &str, protocol: &str) -> String {
    format!("{rates} * on ({OF_LISTENER}) group_left (protocol) zctrace_listener_info{{protocol=~\"{protocol}\"}}")
}

/// Zero-copy share by labels, `protocol` among them if wanted, of listeners with such a protocol.
pub(super) fn share_of_protocol(by: &str, selector: &str, protocol: &str) -> String {
    let all = with_protocol(&rate(EGRESS, selector), protocol);
    let part = with_protocol(&rate(EGRESS, &and(selector, "path=\"zero_copy\"")), protocol);
    ratio(&sum_of(by, &part), &sum_of(by, &all))
}

/// The `k` largest of a sum over the whole time shown, so that a graph has `k` lines and not `k` at each of its points.
pub(super) fn largest(k: u32, by: &str, metric: &str, selector: &str) -> String {
    format!("topk({k}, sum by ({by}) (rate({metric}{{{selector}}}[$__range] @ end())))")
}

/// Lines of the `k` largest.
pub(super) fn top(k: u32, by: &str, metric: &str, selector: &str) -> String {
    format!("{} and on ({by}) {}", sum(by, metric, selector), largest(k, by, metric, selector))
}

/// All that are not among the `k` largest, as one line: nothing where there are no more.
pub(super) fn rest(k: u32, by: &str, metric: &str, selector: &str) -> String {
    format!("sum({} unless on ({by}) {})", sum(by, metric, selector), largest(k, by, metric, selector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_over_what_is_above_the_floor() {
        assert_eq!(
            share("listener", "a=\"b\""),
            "sum by (listener) (rate(zctrace_egress_bytes_total{a=\"b\",path=\"zero_copy\"}[$__rate_interval])) / \
             (sum by (listener) (rate(zctrace_egress_bytes_total{a=\"b\"}[$__rate_interval])) > $floor)"
        );
    }
}
