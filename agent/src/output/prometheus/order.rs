//! In what order logs were read and written, and what `sendfile` did not send.

use super::{View, labels, metrics, text::Text};
use crate::{
    fleet::key,
    report::{SendfileUse, ShortCalls},
};

pub(super) fn render(text: &mut Text<'_>, views: &[&View]) {
    text.begin(&metrics::TOPIC_ORDER);
    let mut buffer = String::new();
    for view in views.iter().filter(|view| view.report.order.is_some()) {
        for topic in view.topics() {
            let partition = super::label(topic.partition, &mut buffer);
            for (operation, order, bytes) in [
                ("read", "sequential", topic.read_sequential_bytes),
                ("read", "random", topic.read_random_bytes),
                ("append", "sequential", topic.written_sequential_bytes),
                ("append", "random", topic.written_random_bytes),
            ] {
                let labels = [&view.name, &*topic.topic, partition, operation, order];
                text.count(&metrics::TOPIC_ORDER, &labels, bytes);
            }
        }
    }
    text.begin(&metrics::LOG_CALLS);
    for (view, order) in views.iter().filter_map(|view| Some((view, view.report.order.as_ref()?))) {
        for (operation, of) in [("read", &order.logs.read), ("append", &order.logs.written)] {
            text.count(&metrics::LOG_CALLS, &[&view.name, operation], of.calls);
        }
    }
    text.begin(&metrics::LOG_CALL_BYTES);
    for (view, order) in views.iter().filter_map(|view| Some((view, view.report.order.as_ref()?))) {
        for (operation, of) in [("read", &order.logs.read), ("append", &order.logs.written)] {
            text.count(&metrics::LOG_CALL_BYTES, &[&view.name, operation], of.bytes());
        }
    }
    text.begin(&metrics::LOG_JUMPS);
    for (view, order) in views.iter().filter_map(|view| Some((view, view.report.order.as_ref()?))) {
        for (operation, of) in [("read", &order.logs.read), ("append", &order.logs.written)] {
            text.count(&metrics::LOG_JUMPS, &[&view.name, operation], of.jumps);
        }
    }
    text.begin(&metrics::SHORT_SENDS);
    for_each_short(views, |labels, short| text.count(&metrics::SHORT_SENDS, &labels, short.calls));
    text.begin(&metrics::SHORT_SEND_BYTES);
    for_each_short(views, |labels, short| {
        text.count(&metrics::SHORT_SEND_BYTES, &labels, short.asked_bytes.saturating_sub(short.sent_bytes));
    });
}

fn for_each_short(views: &[&View], mut visit: impl FnMut([&str; 4], &ShortCalls)) {
    for view in views {
        let sendfile = view.report.order.iter().flat_map(|order| &order.sendfile);
        for SendfileUse { port, short, .. } in sendfile {
            let (listener, port) = port.as_ref().map(|port| labels(&key(port, &view.report))).unwrap_or_default();
            for short in short {
                visit([&view.name, &listener, &port, short.reason], short);
            }
        }
    }
}
