//! Every broker on one page, whether it is one or a thousand: nothing here draws a line for each broker.

use serde_json::{Value, json};

use super::{
    board::Board,
    broker,
    colour::{BAD, COPIED, GOOD, UNKNOWN, WATCH, ZERO_COPY},
    panel::{Panel, unit},
    query::{
        self, BROKER, CARRIED, EGRESS, FLEET, OWN, amplification, and, egress, largest, moved, ratio, rest, share,
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
            ("Is zctrace itself well?", zctrace()),
            ("zctrace in detail", details()),
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

fn zctrace() -> Vec<Panel> {
    let lost = |metric: &str| sum("", metric, OWN);
    let of = |metric: &str| format!("{metric}{{{OWN}}}");
    vec![
        Panel::stat(
            "zctrace: up, down",
            "Instances of zctrace that Prometheus reaches, and those it does not. Normal: none down.",
            unit::COUNT,
        )
        .query("sum(up{job=~\"$job\"})", "up")
        .query("count(up{job=~\"$job\"} == 0) or sum(up{job=~\"$job\"}) * 0", "down")
        .fixed(UNKNOWN)
        .field("down", json!([{"id": "color", "value": {"mode": "thresholds"}},
            {"id": "thresholds", "value": super::colour::thresholds(GOOD, &[(1.0, BAD)])}]))
        .nothing("No zctrace is scraped")
        .size(4, 8),
        Panel::bars(
            "Versions",
            "Instances by version of zctrace. More than one for longer than a roll-out takes: somebody was left behind.",
            unit::COUNT,
        )
        .query(&format!("count by (version, arch) ({})", of("zctrace_build_info")), "{{version}} {{arch}}")
        .fixed(UNKNOWN)
        .size(4, 8),
        Panel::bars(
            "Ways into the kernel",
            "Instances by the leg that hooks their kernel. fexit and raw are cheap; tracepoint costs brokers more.",
            unit::COUNT,
        )
        .query(&format!("count by (leg) ({})", of("zctrace_attach_info")), "{{leg}}")
        .fixed(UNKNOWN)
        .size(4, 8),
        Panel::lines(
            "Lost and unknown",
            "Updates a second that found a map full, bytes that are therefore in no listener or file, bytes of calls \
             whose descriptor was closed meanwhile, and calls whose length is not known. Normal: 0, but for a few bytes of \
             connections that are just being closed. Totals are right even \
             then; raise --maps.files if updates are lost.",
            unit::COUNT,
        )
        .query(&lost("zctrace_lost_updates_total"), "lost updates/s")
        .query(&lost("zctrace_other_bytes_total"), "bytes in no listener or file, /s")
        .query(&lost("zctrace_unknown_endpoint_bytes_total"), "bytes of unknown endpoints, /s")
        .query(&lost("zctrace_unknown_length_calls_total"), "calls of unknown length/s")
        .size(12, 8),
        Panel::lines(
            "Time that a scrape takes",
            "How long zctrace takes to read its maps, the slowest instance and the middle one. Normal: milliseconds. An \
             alert fires above one second.",
            unit::SECONDS,
        )
        .query(&format!("max({})", of("zctrace_scrape_duration_seconds")), "slowest")
        .query(&format!("quantile(0.5, {})", of("zctrace_scrape_duration_seconds")), "middle"),
        Panel::lines(
            "How full the maps are",
            "Entries over capacity of each map in the kernel, of the fullest instance. Files leave a full map and their \
             counts are kept; an alert fires at 90 % of the others.",
            unit::SHARE,
        )
        .query(
            &format!("max by (map) ({} / {})", of("zctrace_map_entries"), of("zctrace_map_capacity")),
            "{{map}}",
        )
        .minimum(0.0)
        .maximum(1.0),
        Table::new(
            "Instances, slowest first",
            "The 50 instances of zctrace whose scrapes take longest, with their versions, ways into the kernel, and the \
             time that their own ratios are over.",
            &[("instance", "Instance")],
        )
        .column("Scrape", unit::SECONDS, &format!("topk(50, {})", slowest("zctrace_scrape_duration_seconds")))
        .column("Attaching took", unit::SECONDS, &of_slowest("zctrace_attach_duration_seconds"))
        .column("Window", unit::SECONDS, &of_slowest("zctrace_window_seconds"))
        .column("Memory", unit::BYTES, &of_slowest("process_resident_memory_bytes"))
        .info(
            &format!("group by (instance, version) ({}) and on (instance) topk(50, {})", of("zctrace_build_info"),
                slowest("zctrace_scrape_duration_seconds")),
            &[("version", "Version")],
        )
        .info(
            &format!("group by (instance, leg, reason) ({}) and on (instance) topk(50, {})", of("zctrace_attach_info"),
                slowest("zctrace_scrape_duration_seconds")),
            &[("leg", "Leg"), ("reason", "Why this leg")],
        )
        .size(24, 8)
        .or("No zctrace is scraped"),
    ]
}

fn slowest(metric: &str) -> String {
    format!("max by (instance) ({metric}{{{OWN}}})")
}

fn of_slowest(metric: &str) -> String {
    format!("{} and on (instance) topk(50, {})", slowest(metric), slowest("zctrace_scrape_duration_seconds"))
}

fn changes(metric: &str) -> String {
    format!("sum by (result) (increase({metric}{{{OWN}}}[$__rate_interval]))")
}

fn details() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Processes and files turned away, clock set back",
            "Processes that could not be watched, ended targets that were forgotten, files that left a full map, and how \
             often the clock was set back, a second. Normal: 0. The log of zctrace says which and why.",
            unit::COUNT,
        )
        .query(&sum("", "zctrace_targets_refused_total", OWN), "processes refused/s")
        .query(&sum("", "zctrace_targets_forgotten_total", OWN), "targets forgotten/s")
        .query(&sum("", "zctrace_files_evicted_total", OWN), "files evicted/s")
        .query(&sum("", "zctrace_clock_set_back_total", OWN), "clock set back/s")
        .size(8, 8),
        Panel::lines(
            "Folded into (other)",
            "Listeners and topic-partitions that have no series of their own. Nothing is lost; raise --listeners.limit or \
             --topics.limit to see them apart.",
            unit::COUNT,
        )
        .query(&format!("sum(zctrace_folded_listeners{{{OWN}}})"), "listeners")
        .query(&format!("sum(zctrace_folded_topic_partitions{{{OWN}}})"), "topic-partitions")
        .size(8, 8),
        Panel::lines(
            "Looks for processes",
            "How often a second all instances look for brokers. 0 while instances are up: discovery hangs.",
            unit::CALLS_A_SECOND,
        )
        .query(&sum("", "zctrace_discovery_scans_total", OWN), "looks")
        .size(8, 8),
        Panel::lines(
            "HTTP answers",
            "Requests that zctrace answered, by class of the status, and those without a right password. Normal: only 2xx.",
            unit::CALLS_A_SECOND,
        )
        .query(&format!("{} > 0", sum("code", "zctrace_http_responses_total", OWN)), "{{code}}")
        .query(&sum("", "zctrace_http_requests_denied_total", OWN), "denied")
        .size(8, 8),
        Panel::lines(
            "HTTP connections",
            "Connections accepted, and those that were cut or never came to be, by why. Cut ones are clients that are too \
             slow, speak no HTTP, or fail in TLS.",
            unit::CALLS_A_SECOND,
        )
        .query(&sum("", "zctrace_http_connections_total", OWN), "accepted")
        .query(&sum("reason", "zctrace_http_connections_cut_total", OWN), "cut: {{reason}}")
        .size(8, 8),
        Panel::lines(
            "Configuration changes, by outcome",
            "How often the configuration, and the file with TLS and users, were read anew, by what became of it. failed: \
             the file is wrong, and the one before is still in use; the log says what is wrong.",
            unit::COUNT,
        )
        .query(&changes("zctrace_config_reloads_total"), "configuration: {{result}}")
        .query(&changes("zctrace_web_config_reloads_total"), "web configuration: {{result}}")
        .size(8, 8),
        Table::new(
            "Configuration to look after",
            "Instances whose last configuration was refused, and settings that were changed in the file but need a start of \
             zctrace. Normal: no row.",
            &[("instance", "Instance")],
        )
        .column(
            "Age",
            unit::SECONDS,
            &format!(
                "(time() - max by (instance) (zctrace_config_last_reload_success_timestamp_seconds{{{OWN}}} > 0)) and on \
                 (instance) (zctrace_config_last_reload_successful{{{OWN}}} == 0 or zctrace_config_restart_required{{{OWN}}})"
            ),
        )
        .column(
            "Refused",
            unit::COUNT,
            &format!("sum by (instance) (zctrace_config_last_reload_successful{{{OWN}}} == bool 0) > 0"),
        )
        .info(
            &format!("group by (instance, setting) (zctrace_config_restart_required{{{OWN}}} == 1)"),
            &[("setting", "Needs a start")],
        )
        .size(12, 6)
        .or("All is in force"),
        Panel::lines(
            "Log lines lost",
            "Lines a second that zctrace could not write to its log, because nobody took them. Normal: 0.",
            unit::COUNT,
        )
        .query(&sum("", "zctrace_log_lines_lost_total", OWN), "lines/s")
        .size(12, 6),
        Panel::lines(
            "Processor time of zctrace",
            "Processor time that zctrace itself takes, of the busiest instance and the middle one, as a share of one \
             processor. The program in the kernel is not in it: it runs in the broker's calls.",
            unit::SHARE,
        )
        .query(&format!("max({})", query::rate("process_cpu_seconds_total", OWN)), "busiest")
        .query(&format!("quantile(0.5, {})", query::rate("process_cpu_seconds_total", OWN)), "middle"),
        Panel::lines(
            "Memory of zctrace",
            "Resident memory of zctrace itself, of the largest instance and the middle one. Maps in the kernel are not \
             in it.",
            unit::BYTES,
        )
        .query(&format!("max(process_resident_memory_bytes{{{OWN}}})"), "largest")
        .query(&format!("quantile(0.5, process_resident_memory_bytes{{{OWN}}})"), "middle"),
    ]
}
