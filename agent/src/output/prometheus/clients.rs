//! Traffic by remote address, where that is counted.

use super::{View, labels, metrics, text::Text};

pub(super) fn render(text: &mut Text<'_>, views: &[&View]) {
    let metric = &metrics::CLIENT_BYTES;
    text.begin(metric);
    for view in views {
        for client in &view.clients {
            let (listener, port) = labels(&client.listener);
            for (path, bytes) in ["zero_copy", "copied", "undetermined", "received"].into_iter().zip(client.bytes) {
                if bytes > 0 || path != "undetermined" {
                    text.count(metric, &[&view.name, &listener, &port, &client.address, path], bytes);
                }
            }
        }
    }
}
