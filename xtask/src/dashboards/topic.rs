//! Whose data leaves copied: topics and partitions.

use serde_json::json;

use super::{
    board::Board,
    colour::{COPIED, RECEIVED, UNKNOWN, ZERO_COPY},
    fleet::gauge,
    panel::{Panel, unit},
    query::{TARGET, TOPIC, TOPIC_BYTES, and, largest, ratio, rest, sum, top},
    table::Table,
    variable,
};

pub(super) const UID: &str = "zctrace-topic";
const UNREAD: &str = "Nothing read";

pub(super) fn board() -> Board {
    Board {
        uid: UID,
        title: "zctrace: topic",
        description: "Whose data leaves copied: log segments of topics and partitions, by the way in which they are read.",
        variables: variable::of_topic(),
        annotations: vec![],
        rows: vec![
            ("How are these topics read?", now()),
            ("Which topics are copied?", topics()),
            ("Which partitions?", partitions()),
        ],
    }
}

fn path(by: &str, path: &str) -> String {
    sum(by, TOPIC_BYTES, &and(TOPIC, &format!("path=\"{path}\"")))
}

fn read_share(by: &str) -> String {
    ratio(&path(by, "zero_copy_read"), &sum(by, TOPIC_BYTES, &and(TOPIC, "path=~\"zero_copy_read|copied_read\"")))
}

fn now() -> Vec<Panel> {
    let other = format!("{TARGET},topic=\"(other)\"");
    let not_written = "path!=\"written\"";
    vec![
        Panel::stat(
            "Zero-copy share of reads",
            "Share of what is read from these topics' segments that goes to sockets by zero copy. Normal: that of the \
             listeners whose consumers read the topic.",
            unit::SHARE,
        )
        .query(&read_share(""), "")
        .fixed(ZERO_COPY)
        .decimals(1)
        .nothing(UNREAD),
        Panel::stat(
            "Read by copying",
            "Bytes a second that are read from these topics' segments into the broker's memory: for listeners with \
             encryption, for old message formats, and by the broker itself when it compacts.",
            unit::BYTES_A_SECOND,
        )
        .query(&path("", "copied_read"), "")
        .fixed(COPIED),
        Panel::stat(
            "Written",
            "Bytes a second that are written to these topics' segments.",
            unit::BYTES_A_SECOND,
        )
        .query(&path("", "written"), "")
        .fixed(RECEIVED),
        Panel::stat(
            "In (other)",
            "Share of all log reads that are in topic-partitions without a series of their own. More than a little: raise \
             --topics.limit, or choose topics by --topics.allow and --topics.deny.",
            unit::SHARE,
        )
        .query(
            &ratio(
                &format!("({} or vector(0))", sum("", TOPIC_BYTES, &and(&other, not_written))),
                &sum("", TOPIC_BYTES, &and(TARGET, not_written)),
            ),
            "",
        )
        .fixed(UNKNOWN)
        .decimals(1)
        .nothing(UNREAD),
        Panel::stat(
            "Folded partitions",
            "Topic-partitions without a series of their own, on the chosen brokers. Their bytes are in (other).",
            unit::COUNT,
        )
        .query(&format!("sum(zctrace_folded_topic_partitions_total{{{TARGET}}})"), "")
        .fixed(UNKNOWN),
        Panel::stat(
            "Topics",
            "Topics with series on the chosen brokers, among those chosen.",
            unit::COUNT,
        )
        .query(&format!("count(group by (topic) ({TOPIC_BYTES}{{{TOPIC}}}))"), "")
        .fixed(UNKNOWN)
        .nothing("No topic yet"),
        Panel::lines(
            "Reads and writes, by path",
            "Bytes a second from and to these topics' segments. Orange is what the broker's memory saw.",
            unit::BYTES_A_SECOND,
        )
        .query(&path("", "zero_copy_read"), "Read by zero copy")
        .query(&path("", "copied_read"), "Read by copying")
        .query(&path("", "written"), "Written"),
        Panel::lines(
            "Zero-copy share, the ten largest topics",
            "Share of each topic's reads that go by zero copy, for the ten topics of which most is copied. A gap means \
             that next to nothing was read.",
            unit::SHARE,
        )
        .query(
            &format!("({}) and on (topic) {}", read_share("topic"), worst(10, "topic")),
            "{{topic}}",
        )
        .minimum(0.0)
        .maximum(1.0)
        .nothing(UNREAD),
    ]
}

fn worst(k: u32, by: &str) -> String {
    largest(k, by, TOPIC_BYTES, &copied())
}

fn copied() -> String {
    and(TOPIC, "path=\"copied_read\"")
}

fn topics() -> Vec<Panel> {
    let of_worst = |expr: &str| format!("{expr} and on (topic) {}", worst(50, "topic"));
    vec![
        Table::new(
            "Topics, most copied first",
            "The 50 topics of which most was read by copying in the time shown. A click chooses the topic. To win zero \
             copy back, move its heaviest consumers to a listener without encryption, where the network allows it.",
            &[("topic", "Topic")],
        )
        .column("Copied", unit::BYTES_A_SECOND, &of_worst(&path("topic", "copied_read")))
        .column("Zero copy", unit::BYTES_A_SECOND, &of_worst(&path("topic", "zero_copy_read")))
        .column("Written", unit::BYTES_A_SECOND, &of_worst(&path("topic", "written")))
        .column_with("Share", unit::SHARE, &of_worst(&format!("({})", read_share("topic"))), &gauge())
        .link("Topic", "Choose this topic", UID, &[("topic", "Topic")])
        .size(12, 10)
        .or("No topic yet"),
        Panel::lines(
            "Read by copying, the ten largest topics",
            "Bytes a second that are read into the broker's memory, of the ten topics of which most is copied, and all \
             others together.",
            unit::BYTES_A_SECOND,
        )
        .query(&top(10, "topic", TOPIC_BYTES, &copied()), "{{topic}}")
        .query(&rest(10, "topic", TOPIC_BYTES, &copied()), "all others")
        .dashed("all others")
        .link("Choose this topic", UID, &["topic"])
        .size(12, 10),
        Table::new(
            "Which listener copies whose data?",
            "The 50 pairs of listener and topic by which most left copied in the time shown. Consumers that may use a \
             listener without encryption should come off the first of them.",
            &[("target", "Broker"), ("listener", "Listener"), ("topic", "Topic")],
        )
        .column("Copied", unit::BYTES_A_SECOND, &through("copied"))
        .column("Zero copy", unit::BYTES_A_SECOND, &through("zero_copy"))
        .column("Read before", unit::BYTES_A_SECOND, &through("read"))
        .link("Topic", "Choose this topic", UID, &[("topic", "Topic")])
        .size(24, 10)
        .or("Nothing left yet"),
    ]
}

/// What left by one path, of the pairs of listener and topic by which most left copied.
fn through(path: &str) -> String {
    const BYTES: &str = "zctrace_listener_topic_bytes_total";
    let by = "target, listener, topic";
    let of = |path: &str| and(TOPIC, &format!("path=\"{path}\""));
    format!("{} and on ({by}) {}", sum(by, BYTES, &of(path)), largest(50, by, BYTES, &of("copied")))
}

fn partitions() -> Vec<Panel> {
    let by = "target, topic, partition";
    let of_worst = |expr: &str| format!("{expr} and on ({by}) {}", worst(50, by));
    vec![
        Table::new(
            "Partitions, most copied first",
            "The 50 topic-partitions of which most was read by copying in the time shown, and the broker that has them. \
             Where topics are added up (--topics.aggregate) there is no partition.",
            &[("topic", "Topic"), ("partition", "Partition"), ("target", "Broker")],
        )
        .column("Copied", unit::BYTES_A_SECOND, &of_worst(&path(by, "copied_read")))
        .column("Zero copy", unit::BYTES_A_SECOND, &of_worst(&path(by, "zero_copy_read")))
        .column_with("Written", unit::BYTES_A_SECOND, &of_worst(&path(by, "written")), &[("decimals", json!(1))])
        .link("Topic", "Choose this topic", UID, &[("topic", "Topic")])
        .link("Broker", "Open this broker", super::broker::UID, &[("target", "Broker")])
        .size(12, 10)
        .or("No topic yet"),
        Panel::lines(
            "Read by copying, the ten largest partitions",
            "Bytes a second that are read into the broker's memory. One partition far above its siblings: one key or one \
             consumer makes most of the load.",
            unit::BYTES_A_SECOND,
        )
        .query(&top(10, by, TOPIC_BYTES, &copied()), "{{topic}}-{{partition}} on {{target}}")
        .query(&rest(10, by, TOPIC_BYTES, &copied()), "all others")
        .dashed("all others")
        .size(12, 10),
    ]
}
