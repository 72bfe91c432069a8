//! Calls that wait until what was written is on disk, where that is asked for.

use super::{View, metrics, text::Text};
use crate::report::{ENDS_NS, SyncUse, seconds};

pub(super) fn render(text: &mut Text<'_>, views: &[&View]) {
    let metric = &metrics::SYNC_DURATION;
    text.begin(metric);
    for_each(views, |[target, syscall], of| {
        for end in ENDS_NS {
            // The largest duration in the bucket, so that the counts are exact.
            let le = seconds(end - 1).to_string();
            text.part(metric, "_bucket", &[target, syscall, &le], of.took.calls_within(seconds(end)));
        }
        text.part(metric, "_bucket", &[target, syscall, "+Inf"], of.took.calls);
        text.part_number(metric, "_sum", &[target, syscall], of.took.total_seconds);
        text.part(metric, "_count", &[target, syscall], of.took.calls);
    });
    text.begin(&metrics::SYNC_ERRORS);
    for_each(views, |labels, of| text.count(&metrics::SYNC_ERRORS, &labels, of.errors));
}

fn for_each(views: &[&View], mut visit: impl FnMut([&str; 2], &SyncUse)) {
    for view in views {
        for of in view.report.syncs.iter().flatten() {
            visit([&view.name, of.syscall], of);
        }
    }
}
