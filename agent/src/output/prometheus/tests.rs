//! The exposition of a recorded broker, and its table in the documentation.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use agent_ebpf::{Fill, FillWay, Runs, Short, ShortReason, SyncCall, Tally};

use super::*;
use crate::{
    fleet::{ClientSeries, FlowBytes, TopicSeries, TopicTook},
    report::{self, Attach, EndedBy, OTHER, Window},
    snapshot::{CallDurations, Durations, FileFill, Fills, LogOrder, Order, ShortSends, Snapshot, SyncCount},
    target::Surroundings,
};

/// The same with pages that came in while the first segment was sent.
fn with_fills(snapshot: &Snapshot) -> Snapshot {
    let fill = |asked, ahead| Fill { asked, ahead };
    let mut fills = Fills { faults: fill(8192, 0), others: fill(4096, 0), ..Fills::default() };
    for file in snapshot.files.iter().filter(|file| crate::kafka::is_segment(&file.name)).take(1) {
        for (port, _) in &file.sent {
            let (inode, way, port) = (file.inode, FillWay::ZeroCopy, *port);
            fills.files.push(FileFill { inode, way, port, fill: fill(65_536, 131_072) });
        }
    }
    Snapshot { fills: Some(fills), ..snapshot.clone() }
}

/// The same with durations of its first kind of call.
fn with_durations(snapshot: &Snapshot) -> Snapshot {
    let calls = snapshot.transfers.iter().take(1).map(|transfer| {
        let mut buckets = vec![0; agent_ebpf::LATENCY_BUCKETS];
        for ns in [900, 5_000, 5_100, 70_000_000] {
            buckets[agent_ebpf::latency_bucket(ns)] += 1;
        }
        CallDurations { id: transfer.id, ns: 70_011_000, max_ns: 70_000_000, slow: 1, buckets }
    });
    let durations = Durations { calls: calls.collect(), logs: Vec::new() };
    Snapshot { durations: Some(durations), ..snapshot.clone() }
}

/// The same with the order of its logs, and calls that were cut short.
fn with_order(snapshot: &Snapshot) -> Snapshot {
    let tally = |bytes: u64| Tally { calls: bytes / 100, bytes };
    let read = Runs { sequential: tally(3000), random: tally(200) };
    let written = Runs { sequential: tally(500), random: tally(0) };
    let log = |directory: &crate::snapshot::Directory| LogOrder { log: Some(directory.inode), read, written };
    let short = ShortSends {
        port: 33901,
        reason: ShortReason::SendBuffer,
        short: Short { calls: 4, asked: 4_000_000, sent: 400_000 },
    };
    let order = Order { logs: snapshot.directories.iter().map(log).collect(), short: vec![short] };
    let mut buckets = vec![0; agent_ebpf::LATENCY_BUCKETS];
    buckets[agent_ebpf::latency_bucket(5_000)] = 3;
    let sync = SyncCount { call: SyncCall::Fsync, errors: 1, ns: 15_000, max_ns: 6_000, buckets };
    Snapshot { order: Some(order), syncs: Some(vec![sync]), ..snapshot.clone() }
}

fn view(name: &str, snapshot: &Snapshot) -> View {
    let mut facts = report::Facts {
        disk_read_bytes: Some(200_704),
        residency: Some(std::sync::Arc::new(crate::output::sample::residency())),
        machine: Some(crate::output::sample::machine()),
        ..report::tests::facts()
    };
    let setting = report::Setting { key: "num.network.threads", value: "8".to_owned() };
    facts.target.kafka.iter_mut().for_each(|kafka| kafka.settings.push(setting.clone()));
    let snapshot = with_order(&with_durations(&with_fills(snapshot)));
    let window =
        Window { start: "2026-11-23T21:49:16.325Z".to_owned(), seconds: 10.5, ended_by: EndedBy::StillRunning };
    let report = report::build(&snapshot, &facts, window, Attach { leg: "raw".to_owned(), ..Attach::default() });
    let lately = report.listeners.iter().map(|l| ((l.port, l.name.clone()), l.egress)).collect();
    let series = TopicSeries::of_all(&report);
    let surroundings = Surroundings { java_version: Some("17.0.12".to_owned()), ..Surroundings::default() };
    View {
        name: name.to_owned(),
        running: true,
        processes: 1,
        report,
        series,
        folded_topics: 0,
        folded_listeners: 0,
        clients: vec![ClientSeries {
            listener: (Some(9092), Some("PLAINTEXT".to_owned())),
            address: "10.0.0.7".to_owned(),
            bytes: [7, 8, 0, 9],
        }],
        took: vec![TopicTook { topic: "orders".into(), path: "zero_copy", calls: 7, seconds: 0.25, slow: 1 }],
        flows: vec![flow("PLAINTEXT", 9092, "orders", [7, 0, 0]), flow("SSL", 9093, "orders", [0, 9, 8])],
        lately,
        surroundings,
    }
}

fn flow(listener: &str, port: u16, topic: &str, [zero_copy, copied, read]: [u64; 3]) -> FlowBytes {
    let listener = (Some(port), Some(listener.to_owned()));
    FlowBytes { listener: listener.into(), topic: topic.into(), zero_copy, copied, read }
}

const CUT: [(&str, u64); 5] = [("timeout", 0), ("malformed", 0), ("tls_handshake", 0), ("evicted", 0), ("accept", 0)];
const RELOADS: [(&str, u64); 2] = [("ok", 0), ("failed", 0)];

pub(crate) fn own() -> Own {
    Own {
        leg: "raw".to_owned(),
        reason: "asked for by --attach raw".to_owned(),
        attach: Duration::from_millis(85),
        scrape: Duration::from_millis(2),
        usage: vec![Usage { map: "transfers", entries: 17, capacity: 1024 }],
        window: Duration::from_secs(60),
        refused: 0,
        forgotten: 0,
        evicted: 0,
        scans: 3,
        web: Web { responses: [0, 2, 0, 0, 0], connections: 1, cut: CUT, reloads: RELOADS, ..Web::default() },
        config: Configuration {
            successful: true,
            taken: Duration::from_millis(1_790_000_000_500),
            reloads: RELOADS,
            restart: vec!["maps.files".to_owned()],
        },
        log_lines_lost: 0,
        clock_set_back: 0,
        memory_short: 0,
    }
}

fn recorded() -> Snapshot {
    serde_json::from_str(include_str!("../../report/recorded/broker.json")).unwrap()
}

pub(crate) fn exposition(views: &[View]) -> String {
    let mut out = Vec::new();
    render(&views.iter().collect::<Vec<_>>(), &own(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Samples by name and labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(samples.insert(series, value.parse().unwrap()).is_none(), "twice: {series}");
    }
    samples
}

#[test]
fn the_exposition_of_a_recorded_broker() {
    let text = exposition(&[view("kafka-1", &recorded())]).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!(text.replace(std::env::consts::ARCH, "ARCH"));
}

#[test]
fn counts_agree_with_each_other() {
    let text = exposition(&[view("a", &recorded()), view("b", &recorded())]);
    let samples = samples(&text);
    let sum = |name: &str| {
        let of = |series: &&str| series.split('{').next() == Some(name);
        samples.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum::<f64>()
    };
    let bytes = sum("zctrace_transfer_bytes_total");
    assert!(bytes > 0.0);
    assert!((sum("zctrace_transfer_size_bytes_sum") - bytes).abs() < 0.5);
    assert!((sum("zctrace_transfer_size_bytes_count") - sum("zctrace_transfers_total")).abs() < 0.5);
    let sent: f64 = samples
        .iter()
        .filter(|(s, _)| s.starts_with("zctrace_transfer_bytes_total") && s.contains("sink=\"socket\""))
        .map(|(_, v)| v)
        .sum();
    assert!((sum("zctrace_egress_bytes_total") - sent).abs() < 0.5);
}

#[test]
fn buckets_only_grow_and_end_with_the_count() {
    let text = exposition(&[view("a", &recorded())]);
    for histogram in ["zctrace_transfer_size_bytes", "zctrace_call_duration_seconds"] {
        buckets_of(histogram, &text);
    }
}

fn buckets_of(histogram: &str, text: &str) {
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with(&format!("{histogram}_"))) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let of = |suffix: &str| series.strip_prefix(&format!("{histogram}_{suffix}{{"));
        if let Some(labels) = of("bucket") {
            let series = labels.split(",le=").next().unwrap().to_owned();
            let before = last.insert(series, value).unwrap_or(0.0);
            assert!(value >= before, "{line}");
        } else if let Some(labels) = of("count") {
            assert!((last[labels.trim_end_matches('}')] - value).abs() < 0.5, "{line}");
        }
    }
    assert!(!last.is_empty());
}

#[test]
fn ratios_are_absent_where_nothing_left() {
    let text = exposition(&[view("a", &Snapshot::default())]);
    let samples = samples(&text);
    for name in ["zctrace_zero_copy_ratio{", "zctrace_copy_ratio{", "zctrace_copy_amplification{"] {
        assert!(!samples.keys().any(|series| series.starts_with(name)), "{name}");
    }
    assert!(
        samples.contains_key(r#"zctrace_egress_bytes_total{target="a",listener="SSL",port="34335",path="copied"}"#)
    );
}

#[test]
fn names_from_elsewhere_can_not_break_a_line() {
    let mut view = view("a", &recorded());
    view.report.listeners[0].name = Some("quo\"te\\ \n# TYPE x counter".to_owned());
    let text = exposition(&[view]);
    assert!(text.contains(r#"listener="quo\"te\\ \n# TYPE x counter""#), "{text}");
    samples(&text);
}

#[test]
fn what_found_a_map_full_is_in_the_last_bucket_alone() {
    let mut snapshot = recorded();
    let tally = Tally { calls: 5, bytes: 500 };
    let first = snapshot.transfers[0].id;
    snapshot.other =
        vec![crate::snapshot::OtherTransfer { syscall: first.syscall, source: first.source, sink: first.sink, tally }];
    let text = exposition(&[view("a", &snapshot)]);
    let samples = samples(&text);
    let of = |series: &str| {
        let labels = r#"target="a",syscall="sendfile",source="file",sink="socket""#;
        samples[format!("zctrace_transfer_size_bytes_{series}").replace("LABELS", labels).as_str()]
    };
    let within: u64 = recorded().transfers[0].sizes.iter().sum();
    assert!((of("bucket{LABELS,le=\"268435455\"}") - within as f64).abs() < 0.5);
    assert!((of("bucket{LABELS,le=\"+Inf\"}") - (within + 5) as f64).abs() < 0.5);
    assert!(text.contains(&format!("listener=\"{OTHER}\"")));
}

#[test]
fn the_documentation_lists_every_metric_as_it_is() {
    let documented = include_str!("../../../../docs/metrics.md");
    let rows: Vec<_> = documented.lines().filter(|line| line.starts_with("| `zctrace_")).collect();
    let expected: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} | {} |", metric.name, metric.kind.word(), labels.join(" "), metric.help)
        })
        .collect();
    assert_eq!(rows, expected, "docs/metrics.md should have these rows:\n{}", expected.join("\n"));
}

#[test]
fn the_exposition_has_every_metric_with_its_labels_and_no_other() {
    let text = exposition(&[view("a", &recorded())]);
    let typed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let expected: Vec<_> = METRICS.iter().map(|metric| format!("{} {}", metric.name, metric.kind.word())).collect();
    assert_eq!(typed, expected);
    for series in samples(&text).keys() {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of_histogram = |metric: &&Metric| {
            metric.kind == Kind::Histogram && name.strip_prefix(metric.name).is_some_and(|rest| rest.starts_with('_'))
        };
        let metric = METRICS.iter().find(|metric| metric.name == name || of_histogram(metric)).unwrap();
        let used: BTreeSet<_> =
            labels.split("\",").filter_map(|label| label.split("=\"").next()).filter(|l| !l.is_empty()).collect();
        assert!(used.iter().all(|label| metric.labels.contains(label)), "{series}: {used:?}");
    }
}
