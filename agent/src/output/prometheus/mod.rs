//! The exposition: every target's Report as Prometheus reads it.

mod cache;
mod clients;
mod latency;
mod machine;
mod metrics;
mod order;
mod residency;
mod sync;
#[cfg(test)]
pub(crate) mod tests;
mod text;

use std::{fmt::Write as _, io, time::Duration};

pub use metrics::{Kind, METRICS, Metric};
use text::Text;

use crate::{
    fleet::{Key, View, key},
    probe::Usage,
    report::{Egress, Listener, SizeBucket, Transfer},
};

/// What zctrace says of itself.
#[derive(Clone, Debug)]
pub struct Own {
    /// Leg in use.
    pub leg: String,
    /// Why this leg.
    pub reason: String,
    /// Time that attaching took.
    pub attach: Duration,
    /// Time that reading the maps took.
    pub scrape: Duration,
    /// How full the maps are.
    pub usage: Vec<Usage>,
    /// Length of the window of the ratios.
    pub window: Duration,
    /// Processes that could not be watched.
    pub refused: u64,
    /// Targets that were forgotten.
    pub forgotten: u64,
    /// Files that left a map that filled up.
    pub evicted: u64,
    /// Looks for processes.
    pub scans: u64,
    /// What the HTTP server has seen.
    pub web: Web,
    /// What became of the configuration.
    pub config: Configuration,
    /// Log lines that could not be written.
    pub log_lines_lost: u64,
    /// Times that the host's clock was found set back.
    pub clock_set_back: u64,
    /// Times that memory was refused to it.
    pub memory_short: u64,
}

/// What became of the configuration file.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Whether the last reading was taken.
    pub successful: bool,
    /// When one was taken last, since 1970.
    pub taken: Duration,
    /// Readings after the first, by what became of them.
    pub reloads: [(&'static str, u64); 2],
    /// Flags that change only when zctrace is started again.
    pub restart: Vec<String>,
}

/// What the HTTP server has seen since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Web {
    /// Answers by the first digit of their status, from 1.
    pub responses: [u64; 5],
    /// Requests without a right user and password.
    pub denied: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections that were cut or never came to be, by why.
    pub cut: [(&'static str, u64); 5],
    /// Changes of the web configuration, by what became of them.
    pub reloads: [(&'static str, u64); 2],
}

/// A metric, and the value of it that a thing has.
type Of<T, V> = (&'static Metric, fn(&T) -> V);

/// Upper bounds of the size histogram. Each is the largest size in one of the kernel's buckets, so that the counts are
/// exact.
const BOUNDS: [u64; 14] = [
    63,
    255,
    1023,
    4095,
    8191,
    16_383,
    32_767,
    65_535,
    131_071,
    262_143,
    1_048_575,
    4_194_303,
    16_777_215,
    268_435_455,
];

/// Writes the exposition of all targets.
///
/// # Errors
/// Those of `out`.
pub fn render(views: &[&View], own: &Own, out: &mut dyn io::Write) -> io::Result<()> {
    let mut text = Text::new(out);
    targets(&mut text, views);
    transfers(&mut text, views);
    calls_without_bytes(&mut text, views);
    egress(&mut text, views);
    ratios(&mut text, views, own);
    topics(&mut text, views);
    cache::render(&mut text, views);
    clients::render(&mut text, views);
    latency::render(&mut text, views);
    order::render(&mut text, views);
    sync::render(&mut text, views);
    residency::render(&mut text, views);
    machine::render(&mut text, views);
    losses(&mut text, views);
    zctrace(&mut text, own);
    text.finish()
}

fn targets(text: &mut Text<'_>, views: &[&View]) {
    text.begin(&metrics::TARGET_INFO);
    for view in views {
        let target = &view.report.target;
        let kafka = target.kafka.as_ref();
        let id = kafka.and_then(|kafka| kafka.node_id).map(|id| id.to_string()).unwrap_or_default();
        let of_kafka = |value: Option<&Option<String>>| value.and_then(Clone::clone).unwrap_or_default();
        let or_none = |value: &Option<String>| value.clone().unwrap_or_default();
        let values = [
            view.name.clone(),
            target.command.clone(),
            id,
            of_kafka(kafka.map(|kafka| &kafka.cluster_id)),
            of_kafka(kafka.map(|kafka| &kafka.version)),
            target.pid.to_string(),
            or_none(&view.surroundings.container),
            or_none(&view.surroundings.pod),
            or_none(&view.surroundings.java_version),
        ];
        text.count(&metrics::TARGET_INFO, &values.each_ref().map(String::as_str), 1);
    }
    each(text, &metrics::TARGET_UP, views, |view| u64::from(view.running));
    each(text, &metrics::TARGET_PROCESSES, views, |view| view.processes);
}

/// A metric with one sample for each target.
fn each(text: &mut Text<'_>, metric: &Metric, views: &[&View], count: impl Fn(&View) -> u64) {
    text.begin(metric);
    for view in views {
        text.count(metric, &[&view.name], count(view));
    }
}

/// Listener and port as labels.
fn labels(key: &Key) -> (String, String) {
    let port = key.0.map(|port| port.to_string()).unwrap_or_default();
    (key.1.clone().unwrap_or_default(), port)
}

fn transfers(text: &mut Text<'_>, views: &[&View]) {
    let kinds: [Of<Transfer, u64>; 2] =
        [(&metrics::TRANSFERS, |transfer| transfer.calls), (&metrics::TRANSFER_BYTES, |transfer| transfer.bytes)];
    for (metric, count) in kinds {
        text.begin(metric);
        for view in views {
            for sum in merged(view, |transfer| transfer.local_port.as_ref().map(|port| key(port, &view.report))) {
                let (listener, port) = sum.1.as_ref().map(labels).unwrap_or_default();
                let transfer = &sum.0;
                let values = [&view.name, transfer.syscall, transfer.source, transfer.sink, &listener, &port];
                text.count(metric, &values, count(transfer));
            }
        }
    }
    sizes(text, views);
}

/// Transfers of a target summed up over everything that is neither call nor endpoint nor what `kind` tells apart.
fn merged<K: PartialEq>(view: &View, kind: impl Fn(&Transfer) -> K) -> Vec<(Transfer, K)> {
    let mut sums: Vec<(Transfer, K)> = Vec::new();
    for transfer in &view.report.transfers {
        let kind = kind(transfer);
        let same = |sum: &&mut (Transfer, K)| {
            (sum.0.syscall, sum.0.source, sum.0.sink) == (transfer.syscall, transfer.source, transfer.sink)
                && sum.1 == kind
        };
        match sums.iter_mut().find(same) {
            Some((sum, _)) => sum.merge(transfer),
            None => sums.push((transfer.clone(), kind)),
        }
    }
    sums.sort_by(|(a, _), (b, _)| {
        let key = |transfer: &Transfer| (transfer.syscall, transfer.source, transfer.sink, transfer.local_port.clone());
        key(a).cmp(&key(b))
    });
    sums
}

fn sizes(text: &mut Text<'_>, views: &[&View]) {
    let metric = &metrics::TRANSFER_SIZE;
    text.begin(metric);
    for view in views {
        for (transfer, buckets) in histograms(view) {
            let at = [view.name.as_str(), transfer.syscall, transfer.source, transfer.sink];
            for bound in BOUNDS {
                let within = buckets.iter().filter(|bucket| bucket.max.is_some_and(|max| max <= bound));
                let le = bound.to_string();
                let values = [at[0], at[1], at[2], at[3], le.as_str()];
                text.part(metric, "_bucket", &values, within.map(|bucket| bucket.calls).sum());
            }
            text.part(metric, "_bucket", &[at[0], at[1], at[2], at[3], "+Inf"], transfer.calls);
            text.part(metric, "_sum", &at, transfer.bytes);
            text.part(metric, "_count", &at, transfer.calls);
        }
    }
}

/// Sums over listeners, with the buckets of those of which sizes are known: the rest is in `+Inf` alone.
fn histograms(view: &View) -> Vec<(Transfer, Vec<SizeBucket>)> {
    let sums = merged(view, |_| ());
    sums.into_iter()
        .map(|(sum, ())| {
            let same = |transfer: &&Transfer| {
                (transfer.syscall, transfer.source, transfer.sink) == (sum.syscall, sum.source, sum.sink)
            };
            let known =
                view.report.transfers.iter().filter(same).filter_map(|transfer| transfer.size_histogram.as_ref());
            let buckets = known.fold(Vec::new(), |sum, more| crate::report::sizes::sum(&sum, more));
            (sum, buckets)
        })
        .collect()
}

fn calls_without_bytes(text: &mut Text<'_>, views: &[&View]) {
    text.begin(&metrics::ERRORS);
    for view in views {
        for error in &view.report.errors {
            text.count(&metrics::ERRORS, &[&view.name, error.syscall, &error.errno], error.calls);
        }
    }
    text.begin(&metrics::EMPTY);
    for view in views {
        for empty in &view.report.empty {
            text.count(&metrics::EMPTY, &[&view.name, empty.syscall], empty.calls);
        }
    }
}

fn egress(text: &mut Text<'_>, views: &[&View]) {
    text.begin(&metrics::EGRESS);
    for_each_listener(views, |view, listener, port, of| {
        let egress = &of.egress;
        for (path, bytes) in [
            ("zero_copy", egress.zero_copy_bytes),
            ("copied", egress.copied_bytes),
            ("undetermined", egress.undetermined_bytes),
        ] {
            // MSG_ZEROCOPY is rare: no series where there was none.
            if path != "undetermined" || bytes > 0 {
                text.count(&metrics::EGRESS, &[&view.name, listener, port, path], bytes);
            }
        }
    });
    text.begin(&metrics::COPIED_REASON);
    for_each_listener(views, |view, listener, port, of| {
        for reason in &of.reasons {
            text.count(&metrics::COPIED_REASON, &[&view.name, listener, port, reason.code], reason.bytes);
        }
    });
    text.begin(&metrics::FLOW);
    for view in views {
        for flow in &view.flows {
            let (listener, port) = labels(&flow.listener);
            for (path, bytes) in [("zero_copy", flow.zero_copy), ("copied", flow.copied), ("read", flow.read)] {
                // Both paths, so that a share can be computed of every pair; what was read before only where there was something.
                if bytes > 0 || path != "read" {
                    text.count(&metrics::FLOW, &[&view.name, &listener, &port, &flow.topic, path], bytes);
                }
            }
        }
    }
    text.begin(&metrics::LISTENER_CPU);
    for_each_listener(views, |view, listener, port, of| {
        if let Some(cost) = &of.cost {
            for (mode, seconds) in [("user", cost.user_seconds), ("kernel", cost.kernel_seconds)] {
                text.number(&metrics::LISTENER_CPU, &[&view.name, listener, port, mode], seconds);
            }
        }
    });
    text.begin(&metrics::TARGET_CPU);
    for view in views {
        if let Some(cost) = &view.report.cost {
            for (mode, seconds) in [("user", cost.user_seconds), ("kernel", cost.kernel_seconds)] {
                text.number(&metrics::TARGET_CPU, &[&view.name, mode], seconds);
            }
        }
    }
    text.begin(&metrics::LISTENER_INFO);
    for_each_listener(views, |view, listener, port, of| {
        if let Some(protocol) = &of.protocol {
            let used_by = of.used_by.unwrap_or_default();
            text.count(&metrics::LISTENER_INFO, &[&view.name, listener, port, protocol, used_by], 1);
        }
    });
    text.begin(&metrics::INGRESS);
    for_each_listener(views, |view, listener, port, of| {
        text.count(&metrics::INGRESS, &[&view.name, listener, port], of.ingress_bytes);
    });
    text.begin(&metrics::CARRIED);
    for_each_listener(views, |view, listener, port, of| {
        text.count(&metrics::CARRIED, &[&view.name, listener, port], of.egress.carried_file_bytes);
    });
}

fn for_each_listener(views: &[&View], mut visit: impl FnMut(&View, &str, &str, &Listener)) {
    for view in views {
        for of in &view.report.listeners {
            let (listener, port) = labels(&(of.port, of.name.clone()));
            visit(view, &listener, &port, of);
        }
    }
}

fn ratios(text: &mut Text<'_>, views: &[&View], own: &Own) {
    let kinds: [Of<Egress, Option<f64>>; 3] = [
        (&metrics::ZERO_COPY_RATIO, |egress| egress.zero_copy_ratio),
        (&metrics::COPY_RATIO, |egress| egress.copy_ratio),
        (&metrics::COPY_AMPLIFICATION, |egress| egress.copy_amplification),
    ];
    for (metric, ratio) in kinds {
        text.begin(metric);
        for view in views {
            for (key, egress) in &view.lately {
                if let Some(ratio) = ratio(egress) {
                    let (listener, port) = labels(key);
                    text.number(metric, &[&view.name, &listener, &port], ratio);
                }
            }
        }
    }
    text.begin(&metrics::WINDOW);
    text.number(&metrics::WINDOW, &[], own.window.as_secs_f64());
}

fn topics(text: &mut Text<'_>, views: &[&View]) {
    let metric = &metrics::TOPIC_BYTES;
    text.begin(metric);
    let mut buffer = String::new();
    for view in views {
        for topic in view.topics() {
            let partition = label(topic.partition, &mut buffer);
            for (path, bytes) in [
                ("zero_copy_read", topic.zero_copy_read_bytes),
                ("copied_read", topic.copied_read_bytes),
                ("written", topic.written_bytes),
            ] {
                text.count(metric, &[&view.name, &topic.topic, partition, path], bytes);
            }
        }
    }
    each(text, &metrics::FOLDED_TOPICS, views, |view| view.folded_topics);
    each(text, &metrics::FOLDED_LISTENERS, views, |view| view.folded_listeners);
}

/// The label of a partition: there are tens of thousands, so none takes memory of its own.
fn label(partition: Option<u32>, buffer: &mut String) -> &str {
    buffer.clear();
    if let Some(number) = partition {
        // Writing to a String can't fail.
        let _ = write!(buffer, "{number}");
    }
    buffer
}

fn losses(text: &mut Text<'_>, views: &[&View]) {
    each(text, &metrics::LOST_UPDATES, views, |view| view.report.lost.updates);
    each(text, &metrics::OTHER_BYTES, views, |view| view.report.lost.other_bytes);
    each(text, &metrics::UNKNOWN_ENDPOINT, views, |view| view.report.lost.unknown_endpoint_bytes);
    each(text, &metrics::UNKNOWN_LENGTH, views, |view| view.report.lost.unknown_length_calls);
    each(text, &metrics::MISSED_CALLS, views, |view| view.report.lost.missed_calls);
}

fn zctrace(text: &mut Text<'_>, own: &Own) {
    for (metric, count) in
        [(&metrics::MAP_ENTRIES, |usage| usage.entries), (&metrics::MAP_CAPACITY, |usage| usage.capacity)]
            as [Of<Usage, u32>; 2]
    {
        text.begin(metric);
        for usage in &own.usage {
            text.count(metric, &[usage.map], count(usage).into());
        }
    }
    text.begin(&metrics::FILES_EVICTED);
    text.count(&metrics::FILES_EVICTED, &[], own.evicted);
    text.begin(&metrics::ATTACH_INFO);
    text.count(&metrics::ATTACH_INFO, &[&own.leg, &own.reason], 1);
    for (metric, time) in [(&metrics::ATTACH_SECONDS, own.attach), (&metrics::SCRAPE_SECONDS, own.scrape)] {
        text.begin(metric);
        text.number(metric, &[], time.as_secs_f64());
    }
    for (metric, count) in [
        (&metrics::TARGETS_REFUSED, own.refused),
        (&metrics::TARGETS_FORGOTTEN, own.forgotten),
        (&metrics::DISCOVERY_SCANS, own.scans),
    ] {
        text.begin(metric);
        text.count(metric, &[], count);
    }
    web(text, &own.web);
    configuration(text, &own.config);
    for (metric, count) in [
        (&metrics::LOG_LINES_LOST, own.log_lines_lost),
        (&metrics::CLOCK_SET_BACK, own.clock_set_back),
        (&metrics::MEMORY_SHORT, own.memory_short),
    ] {
        text.begin(metric);
        text.count(metric, &[], count);
    }
    text.begin(&metrics::BUILD_INFO);
    text.count(&metrics::BUILD_INFO, &[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH], 1);
}

fn web(text: &mut Text<'_>, web: &Web) {
    text.begin(&metrics::HTTP_RESPONSES);
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(web.responses) {
        text.count(&metrics::HTTP_RESPONSES, &[class], count);
    }
    for (metric, count) in [(&metrics::HTTP_DENIED, web.denied), (&metrics::HTTP_CONNECTIONS, web.connections)] {
        text.begin(metric);
        text.count(metric, &[], count);
    }
    text.begin(&metrics::HTTP_CUT);
    for (reason, count) in web.cut {
        text.count(&metrics::HTTP_CUT, &[reason], count);
    }
    text.begin(&metrics::WEB_RELOADS);
    for (result, count) in web.reloads {
        text.count(&metrics::WEB_RELOADS, &[result], count);
    }
}

fn configuration(text: &mut Text<'_>, config: &Configuration) {
    text.begin(&metrics::CONFIG_SUCCESSFUL);
    text.count(&metrics::CONFIG_SUCCESSFUL, &[], config.successful.into());
    text.begin(&metrics::CONFIG_TAKEN);
    text.number(&metrics::CONFIG_TAKEN, &[], config.taken.as_secs_f64());
    text.begin(&metrics::CONFIG_RELOADS);
    for (result, count) in config.reloads {
        text.count(&metrics::CONFIG_RELOADS, &[result], count);
    }
    text.begin(&metrics::CONFIG_RESTART);
    for setting in &config.restart {
        text.count(&metrics::CONFIG_RESTART, &[setting], 1);
    }
}
