//! The part of the fleet's dashboard that is about zctrace itself.

use serde_json::json;

use super::{
    colour::{self, BAD, GOOD, UNKNOWN},
    panel::{Panel, unit},
    query::{self, OWN, sum},
    table::Table,
};

/// Whether the instances run, lose nothing, and answer quickly.
pub(super) fn zctrace() -> Vec<Panel> {
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
            {"id": "thresholds", "value": colour::thresholds(GOOD, &[(1.0, BAD)])}]))
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
             whose descriptor was closed meanwhile, calls whose length is not known, and calls of the host that the kernel did not run the hook for. Normal: 0, but for a few bytes of \
             connections that are just being closed. Totals are right even \
             then; raise --maps.files if updates are lost.",
            unit::COUNT,
        )
        .query(&lost("zctrace_lost_updates_total"), "lost updates/s")
        .query(&lost("zctrace_other_bytes_total"), "bytes in no listener or file, /s")
        .query(&lost("zctrace_unknown_endpoint_bytes_total"), "bytes of unknown endpoints, /s")
        .query(&lost("zctrace_unknown_length_calls_total"), "calls of unknown length/s")
        .query(&lost("zctrace_missed_calls_total"), "calls missed by the hook/s")
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

/// What else they say of themselves.
pub(super) fn details() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Processes and files turned away, clock set back, memory short",
            "Processes that could not be watched, ended targets that were forgotten, files that left a full map, how often \
             the clock was set back and memory was refused, a second. Normal: 0. The log of zctrace says which and why.",
            unit::COUNT,
        )
        .query(&sum("", "zctrace_targets_refused_total", OWN), "processes refused/s")
        .query(&sum("", "zctrace_targets_forgotten_total", OWN), "targets forgotten/s")
        .query(&sum("", "zctrace_files_evicted_total", OWN), "files evicted/s")
        .query(&sum("", "zctrace_clock_set_back_total", OWN), "clock set back/s")
        .query(&sum("", "zctrace_memory_short_total", OWN), "memory refused/s")
        .size(8, 8),
        Panel::lines(
            "Folded into (other)",
            "Listeners and topic-partitions that have no series of their own. Nothing is lost; raise --listeners.limit or \
             --topics.limit to see them apart.",
            unit::COUNT,
        )
        .query(&format!("sum(zctrace_folded_listeners_total{{{OWN}}})"), "listeners")
        .query(&format!("sum(zctrace_folded_topic_partitions_total{{{OWN}}})"), "topic-partitions")
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
