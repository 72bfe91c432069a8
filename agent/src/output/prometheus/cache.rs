//! What came into the page cache.

use super::{View, metrics, text::Text};
use crate::{fleet::key, report::PageCache};

pub(super) fn render(text: &mut Text<'_>, views: &[&View]) {
    text.begin(&metrics::TOPIC_FILLED);
    let mut buffer = String::new();
    for view in views.iter().filter(|view| view.report.page_cache.is_some()) {
        for topic in view.topics() {
            let partition = super::label(topic.partition, &mut buffer);
            for (kind, bytes) in [("asked", topic.asked_bytes), ("read_ahead", topic.read_ahead_bytes)] {
                text.count(&metrics::TOPIC_FILLED, &[&view.name, &topic.topic, partition, kind], bytes);
            }
        }
    }
    text.begin(&metrics::LISTENER_CACHE_READ);
    for_each_listener(views, |view, [listener, port], read, _| {
        text.count(&metrics::LISTENER_CACHE_READ, &[&view.name, listener, port], read);
    });
    text.begin(&metrics::LISTENER_FILLED);
    for_each_listener(views, |view, [listener, port], _, filled| {
        for (kind, bytes) in ["asked", "read_ahead"].into_iter().zip(filled) {
            text.count(&metrics::LISTENER_FILLED, &[&view.name, listener, port, kind], bytes);
        }
    });
    text.begin(&metrics::FILLED);
    for (view, cache) in caches(views) {
        for (kind, bytes) in [
            ("asked", cache.total.asked_bytes),
            ("read_ahead", cache.total.read_ahead_bytes),
            ("fault", cache.fault_bytes),
            ("other", cache.other_bytes),
        ] {
            text.count(&metrics::FILLED, &[&view.name, kind], bytes);
        }
    }
    text.begin(&metrics::DISK_READ);
    for (view, cache) in caches(views) {
        if let Some(bytes) = cache.disk_read_bytes {
            text.count(&metrics::DISK_READ, &[&view.name], bytes);
        }
    }
}

fn caches<'a>(views: &'a [&View]) -> impl Iterator<Item = (&'a View, &'a PageCache)> {
    views.iter().copied().filter_map(|view| Some((view, view.report.page_cache.as_ref()?)))
}

/// Listeners that were folded are one.
fn for_each_listener(views: &[&View], mut visit: impl FnMut(&View, [&str; 2], u64, [u64; 2])) {
    for (view, cache) in caches(views) {
        let mut sums: std::collections::BTreeMap<(String, String), (u64, [u64; 2])> = Default::default();
        for of in &cache.listeners {
            let labels = of.port.as_ref().map(|port| super::labels(&key(port, &view.report))).unwrap_or_default();
            let sum = sums.entry(labels).or_default();
            sum.0 += of.cache.read_bytes;
            sum.1[0] += of.cache.asked_bytes;
            sum.1[1] += of.cache.read_ahead_bytes;
        }
        for ((listener, port), (read, filled)) in &sums {
            visit(view, [listener, port], *read, *filled);
        }
    }
}
