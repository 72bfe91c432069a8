//! Every broker on one page, whether it is one or a thousand: nothing here draws a line for each broker.

use serde_json::{Value, json};

use super::{
    board::Board,
    broker,
    colour::{BAD, COPIED, GOOD, UNKNOWN, WATCH, ZERO_COPY},
    health,
    panel::{Panel, unit},
    query::{
        self, BROKER, CARRIED, EGRESS, FLEET, amplification, and, egress, largest, moved, ratio, rest, share,
        share_of_protocol, sum, sum_of, top,
    },
    table::Table,
    variable,
};

pub(super) const UID: &str = "zctrace-fleet";

/// Where nothing is sent, a share is not 0 %: there is none.
pub(super) const IDLE: &str = "Nothing sent";
const PLAIN: &str = "PLAINTEXT|SASL_PLAINTEXT";
const PROTOCOLS: &str = ".+";

pub(super) fn board() -> Board {
    Board {
        uid: UID,
        title: "zctrace: fleet",
        description: "Does zero copy hold on every Kafka broker, where was it lost, since when, and at what price?",
        variables: variable::of_fleet(),
        annotations: vec![],
        rows: vec![
            ("Does zero copy hold?", holds()),
            ("Where is it lost?", lost()),
            ("Since when, and at what price?", price()),
            ("Is zctrace itself well?", health::zctrace()),
            ("zctrace in detail", health::details()),
        ],
    }
}

fn holds() -> Vec<Panel> {
    let up = format!("zctrace_target_up{{{FLEET}}}");
    vec![
        Panel::stat(
            "Zero copy, plaintext",
            "Share of what listeners without encryption send that the kernel sends by itself (sendfile). Normal: above 90 % \
             while consumers read. Lower: look at the tables below for the listener that copies, and at the runbook.",
            unit::SHARE,
        )
        .query(&share_of_protocol("", FLEET, PLAIN), "")
        .thresholds(BAD, &[(0.5, WATCH), (0.9, GOOD)])
        .maximum(1.0)
        .decimals(1)
        .nothing(IDLE),
        Panel::stat(
            "Zero copy, all",
            "Share of everything that brokers send that leaves by zero copy. Listeners that encrypt in the broker copy \
             everything, so what is normal here depends on how many clients use them: watch for changes.",
            unit::SHARE,
        )
        .query(&share("", FLEET), "")
        .fixed(ZERO_COPY)
        .decimals(1)
        .nothing(IDLE),
        Panel::stat(
            "Sent",
            "Bytes a second that all brokers send through sockets, to consumers, followers and producers.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("", EGRESS, FLEET), "")
        .fixed(UNKNOWN),
        Panel::stat(
            "Copied",
            "Bytes a second that brokers send out of their own memory: each was copied by the processor at least once. \
             The part that comes from listeners without encryption is what can be won back.",
            unit::BYTES_A_SECOND,
        )
        .query(&egress("", FLEET, "copied"), "")
        .fixed(COPIED),
        Panel::stat(
            "Brokers watched, gone",
            "Brokers whose process runs and is watched, and those whose process has ended and did not come back. \
             Normal: none gone, but for the time of a restart.",
            unit::COUNT,
        )
        .query(&format!("sum({up})"), "watched")
        .query(&format!("count({up} == 0) or sum({up}) * 0"), "gone")
        .fixed(UNKNOWN)
        .field("gone", json!([{"id": "color", "value": {"mode": "thresholds"}},
            {"id": "thresholds", "value": super::colour::thresholds(GOOD, &[(1.0, BAD)])}]))
        .nothing("No broker yet"),
        Panel::stat(
            "Alerts of zctrace",
            "Alerts of dashboards/prometheus/rules that fire now; 0 also where the rules are not loaded. Each has a \
             section in docs/runbook.md.",
            unit::COUNT,
        )
        .query("count(ALERTS{alertname=~\"Zctrace.+\", alertstate=\"firing\"}) or vector(0)", "")
        .thresholds(GOOD, &[(1.0, BAD)]),
        Panel::lines(
            "Sent, by path",
            "Bytes a second that all brokers send: by zero copy, copied out of the broker's memory, and, rarely, by \
             MSG_ZEROCOPY, of which only the kernel knows. A change from blue to orange is zero copy that was lost.",
            unit::BYTES_A_SECOND,
        )
        .query(&egress("", FLEET, "zero_copy"), "Zero copy")
        .query(&egress("", FLEET, "copied"), "Copied")
        .query(&egress("", FLEET, "undetermined"), "Undetermined")
        .stacked(),
        Panel::lines(
            "Zero-copy share, by protocol",
            "Share of egress that leaves by zero copy, over listeners of the same protocol. Normal: PLAINTEXT close to \
             100 % while consumers read, SSL at 0 %. A gap means that next to nothing was sent.",
            unit::SHARE,
        )
        .query(&share_of_protocol("protocol", FLEET, PROTOCOLS), "{{protocol}}")
        .query(&share("", FLEET), "all egress")
        .dashed("all egress")
        .minimum(0.0)
        .maximum(1.0)
        .nothing(IDLE),
    ]
}

fn lost() -> Vec<Panel> {
    let copied = and(FLEET, "path=\"copied\"");
    let worst = |by: &str| largest(20, by, EGRESS, &copied);
    let of_worst = |by: &str, expr: &str| format!("{expr} and on ({by}) {}", worst(by));
    let listeners = "instance, target, listener, port";
    let plain = query::with_protocol(&query::rate(EGRESS, &copied), PLAIN);
    let plain_all = query::with_protocol(&query::rate(EGRESS, FLEET), PLAIN);
    let plain_zero = query::with_protocol(&query::rate(EGRESS, &and(FLEET, "path=\"zero_copy\"")), PLAIN);
    let worst_plain = format!("topk(20, {})", sum_of(listeners, &plain));
    let of_plain = |expr: &str| format!("{expr} and on ({listeners}) {worst_plain}");
    let to_broker = [("instance", "Instance"), ("target", "Broker")];
    vec![
        Table::new(
            "Brokers that copy most",
            "The 20 brokers that copied most in the time shown, with what they send now. A click on a broker opens it. \
             Copying is what a listener with encryption does; for the others see the table beside.",
            &[("target", "Broker"), ("instance", "Instance")],
        )
        .column("Copied", unit::BYTES_A_SECOND, &of_worst(BROKER, &egress(BROKER, FLEET, "copied")))
        .column("Sent", unit::BYTES_A_SECOND, &of_worst(BROKER, &sum(BROKER, EGRESS, FLEET)))
        .column_with("Zero copy", unit::SHARE, &of_worst(BROKER, &format!("({})", share(BROKER, FLEET))), &gauge())
        .link("Broker", "Open this broker", broker::UID, &to_broker)
        .size(12, 9)
        .or("No broker yet"),
        Table::new(
            "Plaintext listeners that copy most",
            "Listeners without encryption, where zero copy is possible, by what they copy now. Normal: a share above \
             90 % or next to nothing sent. A low share means old message formats, compression by the broker, tiered \
             storage, or a Java whose transferTo does not reach sendfile: see the runbook.",
            &[("target", "Broker"), ("instance", "Instance"), ("listener", "Listener"), ("port", "Port")],
        )
        .column("Copied", unit::BYTES_A_SECOND, &worst_plain)
        .column_with(
            "Zero copy",
            unit::SHARE,
            &of_plain(&format!("({})", ratio(&sum_of(listeners, &plain_zero), &sum_of(listeners, &plain_all)))),
            &gauge(),
        )
        .link("Broker", "Open this broker", broker::UID, &to_broker)
        .link("Listener", "Open this listener", broker::UID, &[to_broker[0], to_broker[1], ("listener", "Listener")])
        .size(12, 9)
        .or("No listener whose protocol is known"),
        Panel::lines(
            "Copied, the ten largest brokers",
            "Bytes a second that the ten brokers that copy most send out of their own memory, and all others together. \
             When one of them leaves the rest, something changed there.",
            unit::BYTES_A_SECOND,
        )
        .query(&top(10, BROKER, EGRESS, &copied), "{{target}} at {{instance}}")
        .query(&rest(10, BROKER, EGRESS, &copied), "all others")
        .dashed("all others")
        .link("Open this broker", broker::UID, &["instance", "target"]),
        Panel::bars(
            "Copied, by listener name",
            "Bytes a second that are copied, over all listeners of the same name, the ten largest. Listeners with \
             encryption belong here, as far as their clients need it.",
            unit::BYTES_A_SECOND,
        )
        .query(&format!("sort_desc(topk(10, {}))", egress("listener", FLEET, "copied")), "{{listener}}")
        .fixed(COPIED)
        .size(12, 8),
    ]
}

/// A share as a bar in a cell of a table.
pub(super) fn gauge() -> [(&'static str, Value); 4] {
    [
        ("custom.cellOptions", json!({"type": "gauge", "mode": "basic", "valueDisplayMode": "text"})),
        ("color", super::colour::fixed(ZERO_COPY)),
        ("min", json!(0)),
        ("max", json!(1)),
    ]
}

fn price() -> Vec<Panel> {
    let copied = and(FLEET, "path=\"copied\"");
    let last_week = |expr: String| expr.replace("[$__rate_interval]", "[$__rate_interval] offset 1w");
    vec![
        Panel::lines(
            "Copied, now and a week ago",
            "What all brokers copy, beside the same hour a week before. Normal: alike, or both grow with the traffic. \
             Growth of this line alone is clients that moved to encryption, or zero copy that was lost.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("", EGRESS, &copied), "Copied")
        .query(&last_week(sum("", EGRESS, &copied)), "a week ago")
        .colour("a week ago", UNKNOWN)
        .dashed("a week ago"),
        Panel::lines(
            "Moved through the broker's memory for what was sent",
            "Bytes a second that processors moved between kernel and broker so that something could be sent: once out \
             for all that is copied, and once in for file data before it. Zero copy moves none. This is the price.",
            unit::BYTES_A_SECOND,
        )
        .query(&egress("", FLEET, "copied"), "Copied")
        .query(&sum("", CARRIED, FLEET), "read from files before")
        .colour("read from files before", "#56B4E9")
        .stacked(),
        Panel::lines(
            "Copy amplification, the ten largest brokers",
            "Bytes moved between kernel and broker for each byte sent: 0 with zero copy, 2 with read and write, 1 for \
             data that came from no file. Shown for the ten brokers that copied most.",
            unit::TIMES,
        )
        .query(
            &format!("({}) and on ({BROKER}) {}", amplification(BROKER, FLEET), largest(10, BROKER, EGRESS, &copied)),
            "{{target}} at {{instance}}",
        )
        .decimals(2)
        .nothing(IDLE)
        .link("Open this broker", broker::UID, &["instance", "target"]),
        Panel::stat(
            "Copy amplification now",
            "Bytes moved between kernel and brokers for each byte sent, over the whole fleet. 0: everything leaves by \
             zero copy. 2: everything is read and written.",
            unit::TIMES,
        )
        .query(&amplification("", FLEET), "")
        .fixed(COPIED)
        .decimals(2)
        .nothing(IDLE)
        .size(6, 8),
        Panel::stat(
            "Moved through memory now",
            "Bytes a second that processors move between kernel and brokers for what is sent.",
            unit::BYTES_A_SECOND,
        )
        .query(&moved("", FLEET), "")
        .fixed(COPIED)
        .size(6, 8),
    ]
}
