//! The part of the broker's dashboard that is about how long calls take: only where zctrace measures that.

use super::{
    colour::BAD,
    panel::{Panel, unit},
    query::{LISTENER, TARGET, and, sum, top},
};

const DURATION: &str = "zctrace_call_duration_seconds_bucket";
const SLOW: &str = "zctrace_slow_calls_total";
const TOPIC_CALLS: &str = "zctrace_topic_timed_calls_total";
const TOPIC_SECONDS: &str = "zctrace_topic_call_seconds_total";
const TOPIC_SLOW: &str = "zctrace_topic_slow_calls_total";
const NOT_MEASURED: &str = "Not measured: serve --latency";

/// Which calls wait, on which listener, for which topic.
pub(super) fn durations() -> Vec<Panel> {
    let quantile = |quantile: &str, condition: &str| {
        let rates = sum("le, target, listener, syscall", DURATION, &and(LISTENER, condition));
        format!("histogram_quantile({quantile}, {rates})")
    };
    vec![
        Panel::lines(
            "99 of 100 calls that send take no longer",
            "The 99th percentile of how long calls into sockets take, waiting included, by listener and call. Normal: some ten \
             to some hundred microseconds. A sendfile that takes milliseconds waits for a disk, and its network thread with it.",
            unit::SECONDS,
        )
        .query(&quantile("0.99", "sink=\"socket\""), "{{syscall}}, {{listener}} of {{target}}")
        .nothing(NOT_MEASURED)
        .size(8, 8),
        Panel::heatmap(
            "sendfile: how long a call takes",
            "How many calls of sendfile into sockets took how long. A second band far above the first is data that were not in \
             memory.",
            unit::SECONDS,
            "Blues",
        )
        .buckets(&format!(
            "sum by (le) (increase({DURATION}{{{TARGET},syscall=\"sendfile\",sink=\"socket\"}}[$__rate_interval]))"
        ))
        .nothing(NOT_MEASURED)
        .size(8, 8),
        Panel::lines(
            "Slow calls",
            "Calls a second that took as long as --slow says (10 ms unless it is set), by call and listener. Each held up a \
             thread of the broker, and a network thread's clients with it (KAFKA-7504).",
            unit::CALLS_A_SECOND,
        )
        .query(&format!("{} > 0", sum("syscall, listener", SLOW, TARGET)), "{{syscall}} {{listener}}")
        .nothing("None, or not measured")
        .size(8, 8),
        Panel::lines(
            "Topics that calls take longest for",
            "Seconds a second that calls spend which move bytes of a topic's log, of the ten topics with most. 1 is one thread \
             all the time.",
            unit::SECONDS,
        )
        .query(&top(10, "topic", TOPIC_SECONDS, TARGET), "{{topic}}")
        .nothing(NOT_MEASURED)
        .size(8, 8),
        Panel::lines(
            "Mean duration, by what is done with logs",
            "How long a call takes on average that moves bytes of logs: sent by zero copy, sent from memory (copied), read into \
             memory, written.",
            unit::SECONDS,
        )
        .query(&format!("{} / {}", sum("path", TOPIC_SECONDS, TARGET), sum("path", TOPIC_CALLS, TARGET)), "{{path}}")
        .nothing(NOT_MEASURED)
        .size(8, 8),
        Panel::bars(
            "Topics with slow calls",
            "Slow calls a second by topic, as of now. Somebody reads what is not in memory.",
            unit::CALLS_A_SECOND,
        )
        .query(&format!("sort_desc(topk(10, {}) > 0)", sum("topic", TOPIC_SLOW, TARGET)), "{{topic}}")
        .fixed(BAD)
        .nothing("None, or not measured")
        .size(8, 8),
    ]
}
