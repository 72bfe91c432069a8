//! How much of the logs is in memory.

use super::{Of, View, metrics, text::Text};
use crate::residency::{Partition, Residency};

pub(super) fn render(text: &mut Text<'_>, views: &[&View]) {
    let kinds: [Of<Partition, [u64; 2]>; 2] = [
        (&metrics::LOG_SIZE, |of| [of.active_bytes, of.older_bytes]),
        (&metrics::LOG_RESIDENT, |of| [of.active_resident_bytes, of.older_resident_bytes]),
    ];
    for (metric, bytes) in kinds {
        text.begin(metric);
        for (view, residency) in residencies(views) {
            for (segments, bytes) in ["active", "older"].into_iter().zip(bytes(&residency.total())) {
                text.count(metric, &[&view.name, segments], bytes);
            }
        }
    }
    let kinds: [Of<Partition, u64>; 2] =
        [(&metrics::TOPIC_LOG_SIZE, |of| of.bytes().0), (&metrics::TOPIC_LOG_RESIDENT, |of| of.bytes().1)];
    let mut buffer = String::new();
    for (metric, bytes) in kinds {
        text.begin(metric);
        for (view, residency) in residencies(views) {
            // Those that have series: (other) is no topic.
            for topic in view.topics() {
                let mut of = residency.of(&topic.topic, topic.partition).map(bytes).peekable();
                if of.peek().is_some() {
                    let partition = super::label(topic.partition, &mut buffer);
                    text.count(metric, &[&view.name, &topic.topic, partition], of.sum());
                }
            }
        }
    }
    text.begin(&metrics::LOG_LOOKED_AT);
    for (view, residency) in residencies(views) {
        text.count(&metrics::LOG_LOOKED_AT, &[&view.name], residency.at_unix_seconds);
    }
}

fn residencies<'a>(views: &'a [&View]) -> impl Iterator<Item = (&'a View, &'a Residency)> {
    views.iter().filter_map(|view| Some((*view, view.report.residency.as_deref()?)))
}
