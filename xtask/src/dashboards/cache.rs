//! The part of the broker's dashboard that is about the page cache.

use super::{
    colour::{COPIED, GOOD},
    panel::{Panel, unit},
    query::{LISTENER, TARGET, TOPIC_BYTES, and, ratio, sum, top},
};

const FILLED: &str = "zctrace_page_cache_filled_bytes_total";
const LISTENER_FILLED: &str = "zctrace_listener_page_cache_filled_bytes_total";
const LISTENER_READ: &str = "zctrace_listener_log_read_bytes_total";
const TOPIC_FILLED: &str = "zctrace_topic_page_cache_filled_bytes_total";
const NOT_COUNTED: &str = "Not counted";

/// Share of what was read that did not come in meanwhile.
fn cached(read: &str, filled: &str) -> String {
    format!("clamp_min(1 - {}, 0)", ratio(filled, read))
}

/// Whether consumers read from memory or from disks, and whose reads those are.
pub(super) fn cache() -> Vec<Panel> {
    let reads = and(TARGET, "path=~\"zero_copy_read|copied_read\"");
    let topics = sum("", TOPIC_FILLED, TARGET);
    vec![
        Panel::stat(
            "Reads from memory",
            "Share of what is read from log segments that was in memory, at least: what the kernel reads ahead counts as \
             read from disk. Normal: close to 100 %. Lower: consumers lag, or the page cache has too little room.",
            unit::SHARE,
        )
        .query(&cached(&sum("", TOPIC_BYTES, &reads), &topics), "")
        .fixed(GOOD)
        .decimals(1)
        .nothing("Nothing read")
        .size(4, 8),
        Panel::lines(
            "Brought into the page cache",
            "Bytes a second of pages that came in: asked for by a call, read ahead, by memory-mapped indexes, by other \
             calls; beside them what the kernel's own account has the broker read from disks.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("kind", FILLED, TARGET), "{{kind}}")
        .query(&sum("", "zctrace_disk_read_bytes_total", TARGET), "read from disks")
        .nothing(NOT_COUNTED)
        .size(10, 8),
        Panel::lines(
            "Log reads from the page cache, by listener",
            "Share of what is read from log segments for each listener that was in memory, at least. The listener whose \
             line falls has the consumers that lag.",
            unit::SHARE,
        )
        .query(
            &cached(&sum("target, listener", LISTENER_READ, LISTENER), &sum("target, listener", LISTENER_FILLED, LISTENER)),
            "{{listener}} of {{target}}",
        )
        .minimum(0.0)
        .maximum(1.0)
        .nothing("Nothing read")
        .size(10, 8),
        Panel::lines(
            "Topics read from disks",
            "Bytes a second that came into the page cache while the log of a topic was read, of the ten topics with most. \
             Somebody reads what was written long ago.",
            unit::BYTES_A_SECOND,
        )
        .query(&top(10, "topic", TOPIC_FILLED, TARGET), "{{topic}}")
        .nothing(NOT_COUNTED),
        Panel::lines(
            "Logs in memory",
            "Share of the log segments that is in memory, of those that are written to and of older ones. Normal: the former \
             are nearly all in memory; consumers that lag further than the latter reach read from disk.",
            unit::SHARE,
        )
        .query(
            &format!(
                "sum by (segments) (zctrace_log_resident_bytes{{{TARGET}}}) / (sum by (segments) (zctrace_log_size_bytes{{{TARGET}}}) > 0)"
            ),
            "{{segments}}",
        )
        .minimum(0.0)
        .maximum(1.0)
        .nothing("Not looked at yet"),
        Panel::bars(
            "Least in memory",
            "The ten topics of which most bytes are on disk alone, of those with series. Who reads these from the beginning \
             reads from disk.",
            unit::BYTES,
        )
        .query(
            &format!(
                "sort_desc(topk(10, sum by (topic) (zctrace_topic_log_size_bytes{{{TARGET}}} - zctrace_topic_log_resident_bytes{{{TARGET}}})))"
            ),
            "{{topic}}",
        )
        .fixed(COPIED)
        .nothing("Not looked at yet"),
        Panel::bars(
            "Listeners read from disks for",
            "Bytes a second that came into the page cache for each listener's connections, as of now.",
            unit::BYTES_A_SECOND,
        )
        .query(&format!("sort_desc({} > 0)", sum("target, listener", LISTENER_FILLED, LISTENER)), "{{listener}} of {{target}}")
        .fixed(COPIED)
        .nothing("None"),
    ]
}
