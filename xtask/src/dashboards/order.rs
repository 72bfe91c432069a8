//! The part of the broker's dashboard that is about the order of reads and appends, and about what `sendfile` did not send.

use super::{
    colour::{COPIED, GOOD},
    panel::{Panel, unit},
    query::{LISTENER, TARGET, and, ratio, sum, top},
};

const ORDER: &str = "zctrace_topic_order_bytes_total";
const SHORT: &str = "zctrace_sendfile_short_calls_total";
const UNSENT: &str = "zctrace_sendfile_unsent_bytes_total";
const TRANSFERS: &str = "zctrace_transfers_total";
const NOT_COUNTED: &str = "Not counted";

/// Share of what was read or appended whose call began where the last one had ended.
fn sequential(operation: &str) -> String {
    let of = |order: &str| sum("", ORDER, &and(TARGET, &format!("operation=\"{operation}\"{order}")));
    ratio(&of(",order=\"sequential\""), &of(""))
}

/// Whether logs are read and written in sequence, and how far each call gets.
pub(super) fn order() -> Vec<Panel> {
    let random_reads = and(TARGET, "operation=\"read\",order=\"random\"");
    let by_operation = |metric: &str| sum("operation", metric, TARGET);
    let partial = sum("target, listener", SHORT, &and(LISTENER, "reason!=\"again\""));
    let sendfiles = sum("target, listener", TRANSFERS, &and(LISTENER, "syscall=\"sendfile\",sink=\"socket\""));
    vec![
        Panel::stat(
            "Read in sequence",
            "Share of what is read from logs whose call began where the last one of the same consumer had ended. Normal: close to \
             100 %. Lower: readers jump, and the kernel's read-ahead brings in what nobody wants.",
            unit::SHARE,
        )
        .query(&sequential("read"), "")
        .fixed(GOOD)
        .decimals(1)
        .nothing("Nothing read")
        .size(4, 4),
        Panel::stat(
            "Appended in sequence",
            "The same of what is written to logs. Normal: 100 %: Kafka only appends.",
            unit::SHARE,
        )
        .query(&sequential("append"), "")
        .fixed(GOOD)
        .decimals(1)
        .nothing("Nothing appended")
        .size(4, 4),
        Panel::lines(
            "Bytes a call, by operation",
            "Mean bytes that a call reads from a log or appends to it: the size of batches. Small batches cost a call each.",
            unit::BYTES,
        )
        .query(&per_call(&by_operation("zctrace_log_call_bytes_total"), &by_operation("zctrace_log_calls_total")), "{{operation}}")
        .nothing("No calls")
        .size(8, 8),
        Panel::lines(
            "Jumps in logs",
            "Calls a second that began elsewhere than where the last one had ended. Normal: a few, as consumers begin.",
            unit::CALLS_A_SECOND,
        )
        .query(&by_operation("zctrace_log_jumps_total"), "{{operation}}")
        .nothing(NOT_COUNTED)
        .size(8, 8),
        Panel::lines(
            "Topics read out of sequence",
            "Bytes a second of a topic's log that were read elsewhere than where the last call of the same consumer had ended, of \
             the ten topics with most.",
            unit::BYTES_A_SECOND,
        )
        .query(&top(10, "topic", ORDER, &random_reads), "{{topic}}")
        .nothing(NOT_COUNTED),
        Panel::lines(
            "sendfile calls cut short",
            "Share of the sendfile calls that sent something and less than was asked. Normal on a busy listener: most, since the send \
             buffer takes a part of each fetch. A larger socket.send.buffer.bytes makes them fewer.",
            unit::SHARE,
        )
        .query(&per_call(&partial, &sendfiles), "{{listener}} of {{target}}")
        .nothing("No sendfile"),
        Panel::lines(
            "Not sent by sendfile, by reason",
            "Bytes a second that calls were asked for and did not send: the send buffer was full (send_buffer), had no room at all \
             (again), the file ended (end_of_file), 2 GiB were reached (limit), a signal or an error (interrupted). What is asked for \
             again counts again.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("reason", UNSENT, LISTENER), "{{reason}}")
        .fixed(COPIED)
        .nothing("None"),
        Panel::lines(
            "Waits for the disk",
            "Calls a second that wait until what was written is on disk, by call. Kafka makes few: when a segment is rolled, and of \
             its checkpoints. Many: log.flush.interval.messages or .ms is set.",
            unit::CALLS_A_SECOND,
        )
        .query(&sum("syscall", "zctrace_sync_duration_seconds_count", TARGET), "{{syscall}}")
        .query(&sum("", "zctrace_sync_errors_total", TARGET), "failed")
        .nothing("Not measured: serve --syncs"),
        Panel::lines(
            "99 of 100 waits for the disk take no longer",
            "The 99th percentile of how long these calls take. Normal: some milliseconds; more on disks that turn or are busy.",
            unit::SECONDS,
        )
        .query(
            &format!("histogram_quantile(0.99, {})", sum("le, target, syscall", "zctrace_sync_duration_seconds_bucket", TARGET)),
            "{{syscall}} of {{target}}",
        )
        .nothing("Not measured: serve --syncs"),
    ]
}

/// A rate for each call of another one, where there are any: the floor of ratios is of bytes.
fn per_call(of: &str, calls: &str) -> String {
    format!("{of} / ({calls} > 0)")
}
