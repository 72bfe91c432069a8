//! How long calls took, where that is measured.

use super::{View, labels, metrics, text::Text};
use crate::{
    fleet::{TopicTook, key},
    report::{CallLatency, ENDS_NS, seconds},
};

pub(super) fn render(text: &mut Text<'_>, views: &[&View]) {
    let metric = &metrics::CALL_DURATION;
    text.begin(metric);
    for_each_call(views, |labels, call| {
        let [target, syscall, source, sink, listener, port] = labels;
        for end in ENDS_NS {
            // The largest duration in the bucket, so that the counts are exact.
            let le = seconds(end - 1).to_string();
            text.part(
                metric,
                "_bucket",
                &[target, syscall, source, sink, listener, port, &le],
                call.took.calls_within(seconds(end)),
            );
        }
        text.part(metric, "_bucket", &[target, syscall, source, sink, listener, port, "+Inf"], call.took.calls);
        text.part_number(metric, "_sum", &labels, call.took.total_seconds);
        text.part(metric, "_count", &labels, call.took.calls);
    });
    text.begin(&metrics::SLOW_CALLS);
    for_each_call(views, |labels, call| text.count(&metrics::SLOW_CALLS, &labels, call.took.slow_calls));
    text.begin(&metrics::TOPIC_CALLS);
    for_each_topic(views, |labels, took| text.count(&metrics::TOPIC_CALLS, &labels, took.calls));
    text.begin(&metrics::TOPIC_CALL_SECONDS);
    for_each_topic(views, |labels, took| text.number(&metrics::TOPIC_CALL_SECONDS, &labels, took.seconds));
    text.begin(&metrics::TOPIC_SLOW_CALLS);
    for_each_topic(views, |labels, took| text.count(&metrics::TOPIC_SLOW_CALLS, &labels, took.slow));
}

fn for_each_call(views: &[&View], mut visit: impl FnMut([&str; 6], &CallLatency)) {
    for view in views {
        for call in view.report.latency.iter().flat_map(|latency| &latency.calls) {
            let (listener, port) =
                call.local_port.as_ref().map(|port| labels(&key(port, &view.report))).unwrap_or_default();
            visit([&view.name, call.syscall, call.source, call.sink, &listener, &port], call);
        }
    }
}

fn for_each_topic(views: &[&View], mut visit: impl FnMut([&str; 3], &TopicTook)) {
    for view in views {
        for took in &view.took {
            visit([&view.name, &took.topic, took.path], took);
        }
    }
}
