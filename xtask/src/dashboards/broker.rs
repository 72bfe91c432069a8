//! One broker, by listener and system call.

use serde_json::json;

use super::{
    board::{Board, annotation},
    cache,
    colour::{BAD, COPIED, GOOD, RECEIVED, UNKNOWN, ZERO_COPY},
    fleet::{IDLE, gauge},
    latency, machine, order,
    panel::{Panel, unit},
    query::{
        CARRIED, EGRESS, LISTENER, TARGET, TOPIC_BYTES, amplification, and, egress, rate, ratio, share, sum, sum_of,
        top,
    },
    table::Table,
    topic, variable,
};

pub(super) const UID: &str = "zctrace-broker";

/// A broker restarted where its info has another PID than a while before.
fn restarts() -> String {
    let info = format!("zctrace_target_info{{{TARGET}}}");
    let before = format!("{info} offset $__rate_interval");
    format!("({info} unless on (job, instance, target, pid) {before}) and on (job, instance, target) {before}")
}

pub(super) fn board() -> Board {
    Board {
        uid: UID,
        title: "zctrace: broker",
        description: "One Kafka broker: what leaves by which listener and path, in which system calls, and what comes in.",
        variables: variable::of_broker(),
        annotations: vec![annotation(
            "Restarts",
            &restarts(),
            BAD,
            "{{target}} restarted",
            "PID {{pid}}, Kafka {{version}}, Java {{java_version}}",
        )],
        rows: vec![
            ("How does this broker send?", now()),
            ("Which listener copies?", listeners()),
            ("What does it cost?", cost()),
            ("In which system calls?", calls()),
            ("How large are the calls?", sizes()),
            ("How long do calls take?", latency::durations()),
            ("What comes in?", ingress()),
            ("From memory or from disk?", cache::cache()),
            ("In what order?", order::order()),
            ("What does it run on?", machine::machine()),
            ("Which process is it?", process()),
        ],
    }
}

fn now() -> Vec<Panel> {
    vec![
        Panel::stat(
            "Zero-copy share",
            "Share of what the chosen listeners send that leaves by zero copy. Normal: above 90 % for plaintext \
             listeners that serve consumers, 0 % for those that encrypt.",
            unit::SHARE,
        )
        .query(&share("", LISTENER), "")
        .fixed(ZERO_COPY)
        .decimals(1)
        .nothing(IDLE),
        Panel::stat("Sent", "Bytes a second that the chosen listeners send.", unit::BYTES_A_SECOND)
            .query(&sum("", EGRESS, LISTENER), "")
            .fixed(UNKNOWN),
        Panel::stat("Copied", "Bytes a second that are sent out of the broker's memory.", unit::BYTES_A_SECOND)
            .query(&egress("", LISTENER, "copied"), "")
            .fixed(COPIED),
        Panel::stat(
            "Copy amplification",
            "Bytes moved between kernel and broker for each byte sent: 0 with zero copy, 2 with read and write.",
            unit::TIMES,
        )
        .query(&amplification("", LISTENER), "")
        .fixed(COPIED)
        .decimals(2)
        .nothing(IDLE),
        Panel::stat("Received", "Bytes a second that the chosen listeners receive.", unit::BYTES_A_SECOND)
            .query(&sum("", "zctrace_ingress_bytes_total", LISTENER), "")
            .fixed(RECEIVED),
        Panel::stat("Running", "Whether the process runs and is watched, for each chosen broker.", unit::NONE)
            .query(&format!("zctrace_target_up{{{TARGET}}}"), "{{target}}")
            .thresholds(BAD, &[(1.0, GOOD)])
            .mapped(&[("0", "gone"), ("1", "runs")])
            .nothing("Not seen yet"),
        Panel::lines(
            "Sent, by path",
            "Bytes a second by zero copy, copied, and by MSG_ZEROCOPY, of which only the kernel knows. Restarts are \
             marked: a change of colour after one is a change of configuration or version.",
            unit::BYTES_A_SECOND,
        )
        .query(&egress("", LISTENER, "zero_copy"), "Zero copy")
        .query(&egress("", LISTENER, "copied"), "Copied")
        .query(&egress("", LISTENER, "undetermined"), "Undetermined")
        .stacked(),
        Panel::lines(
            "Zero-copy share, by listener",
            "Share of each listener's egress that leaves by zero copy. A gap means that next to nothing was sent.",
            unit::SHARE,
        )
        .query(&share("target, listener", LISTENER), "{{listener}} of {{target}}")
        .minimum(0.0)
        .maximum(1.0)
        .nothing(IDLE),
    ]
}

fn listeners() -> Vec<Panel> {
    let by = "target, listener, port";
    let last = |metric: &str| format!("max by ({by}) ({metric}{{{LISTENER}}})");
    vec![
        Table::new(
            "Listeners",
            "Each listener with what it sends now, and the ratios that zctrace itself reports over its window. PLAINTEXT \
             should be close to 100 % zero copy where consumers read, SSL is at 0 %. A ratio is absent where nothing was \
             sent.",
            &[("target", "Broker"), ("listener", "Listener"), ("port", "Port")],
        )
        .column("Sent", unit::BYTES_A_SECOND, &sum(by, EGRESS, LISTENER))
        .column("Copied", unit::BYTES_A_SECOND, &egress(by, LISTENER, "copied"))
        .column_with("Zero copy", unit::SHARE, &last("zctrace_zero_copy_ratio"), &gauge())
        .column_with("Copied share", unit::SHARE, &last("zctrace_copy_ratio"), &[("decimals", json!(1))])
        .column_with("Amplification", unit::TIMES, &last("zctrace_copy_amplification"), &[("decimals", json!(2))])
        .info(
            &format!("group by ({by}, protocol, used_by) (zctrace_listener_info{{{LISTENER}}})"),
            &[("protocol", "Protocol"), ("used_by", "Used by")],
        )
        .or("No listener yet"),
        Panel::lines(
            "Copied, by listener",
            "Bytes a second that each listener sends out of the broker's memory.",
            unit::BYTES_A_SECOND,
        )
        .query(&egress("target, listener", LISTENER, "copied"), "{{listener}} of {{target}}"),
        Panel::lines(
            "Why it was copied",
            "Copied bytes a second by reason. tls: encrypted in the broker. headers: and small answers, the rest of \
             every plaintext listener. log_read: logs read by calls without TLS, as for consumers of an old format. \
             sendfile_refused: the kernel can't send from this file system. remote_segments: read from tiered storage.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("target, listener, reason", "zctrace_copied_bytes_total", LISTENER), "{{reason}}: {{listener}} of {{target}}")
        .nothing("Nothing was copied"),
        Panel::lines(
            "Copy amplification, by listener",
            "Bytes moved between kernel and broker for each byte sent: 0 with sendfile, 2 with read and write, 1 for \
             answers that came from no file.",
            unit::TIMES,
        )
        .query(&amplification("target, listener", LISTENER), "{{listener}} of {{target}}")
        .decimals(2)
        .nothing(IDLE),
        Panel::lines(
            "Read from files before it was sent",
            "File bytes a second that threads read into memory and then sent: the read half of read and write. On a \
             plaintext listener this is data that sendfile could have sent.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("target, listener", CARRIED, LISTENER), "{{listener}} of {{target}}"),
        Panel::lines(
            "Sent, by listener",
            "Bytes a second that each listener sends, whatever the path.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("target, listener", EGRESS, LISTENER), "{{listener}} of {{target}}"),
        Panel::lines(
            "Clients that are sent most",
            "Bytes a second by the remote address of the ten that are sent most; behind a proxy they are one. (other): those that \
             have no series of their own.",
            unit::BYTES_A_SECOND,
        )
        .query(&top(10, "client", "zctrace_client_bytes_total", &and(LISTENER, "path!=\"received\"")), "{{client}}")
        .nothing("Not told apart: serve --clients"),
    ]
}

fn cost() -> Vec<Panel> {
    let (listener, target) = ("zctrace_listener_cpu_seconds_total", "zctrace_target_cpu_seconds_total");
    let by = "target, listener";
    let per_gb = |mode: &str| {
        let used = sum(by, listener, &and(LISTENER, &format!("mode=\"{mode}\"")));
        format!("{} * 1e9", ratio(&used, &sum(by, EGRESS, LISTENER)))
    };
    vec![
        Panel::lines(
            "Processor seconds for each GB sent",
            "What the threads of each listener use for each gigabyte that leaves, in user space and in the kernel. Where one \
             listener encrypts and another does not, the difference in user space is what encryption costs, that in the \
             kernel what the lost zero copy costs. Listeners that take in much use time for that, too.",
            unit::SECONDS,
        )
        .query(&per_gb("user"), "user: {{listener}} of {{target}}")
        .query(&per_gb("kernel"), "kernel: {{listener}} of {{target}}")
        .decimals(2)
        .nothing(IDLE),
        Panel::lines(
            "Share of the broker's processor time",
            "Processor time of the threads that send through each listener, over that of the whole process. The rest is what \
             handles requests, compacts, collects garbage.",
            unit::SHARE,
        )
        .query(
            &format!(
                "{} / on (target) group_left () {}",
                sum(by, listener, LISTENER),
                sum("target", target, TARGET)
            ),
            "{{listener}} of {{target}}",
        )
        .minimum(0.0)
        .nothing(IDLE),
    ]
}

fn calls() -> Vec<Panel> {
    let (calls, bytes) = ("zctrace_transfers_total", "zctrace_transfer_bytes_total");
    let sending = and(LISTENER, "sink=\"socket\"");
    let (eagain, faults) = (and(TARGET, "errno=\"EAGAIN\""), and(TARGET, "errno!=\"EAGAIN\""));
    let all_calls = sum_of("", &rate(calls, TARGET));
    vec![
        Panel::lines(
            "System calls a second",
            "Calls that moved bytes, by call and what they connect. Few calls for many bytes is what batching is for.",
            unit::CALLS_A_SECOND,
        )
        .query(&sum("syscall, source, sink", calls, TARGET), "{{syscall}} {{source}} → {{sink}}"),
        Panel::lines(
            "Calls for each GB sent",
            "Calls that move bytes, for each gigabyte that leaves through sockets. About 4,000 with sendfile, 130,000 \
             with read and write of TLS records; small fetches make more.",
            unit::COUNT,
        )
        .query(&format!("{} * 1e9", ratio(&sum_of("", &rate(calls, &sending)), &sum("", EGRESS, LISTENER))), "sending")
        .query(&format!("{all_calls} * 1e9 / ({} > $floor)", sum("", EGRESS, TARGET)), "all calls")
        .nothing(IDLE),
        Panel::lines(
            "Bytes a call",
            "Mean size of the calls that send and read, by call. Small ones cost more for the same data.",
            unit::BYTES,
        )
        .query(
            &format!("{} / {}", sum("syscall, source, sink", bytes, TARGET), sum("syscall, source, sink", calls, TARGET)),
            "{{syscall}} {{source}} → {{sink}}",
        ),
        Panel::lines(
            "Bytes moved, by call",
            "Bytes a second that each kind of call moves, in whatever direction.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("syscall, source, sink", bytes, TARGET), "{{syscall}} {{source}} → {{sink}}"),
        Panel::lines(
            "Errors",
            "Calls a second that failed, by errno, without EAGAIN. Normal: now and then EPIPE and ECONNRESET, when clients \
             go away. EINVAL of sendfile: the kernel can't send from that file system.",
            unit::CALLS_A_SECOND,
        )
        .query(&sum("syscall, errno", "zctrace_syscall_errors_total", &faults), "{{syscall}}: {{errno}}")
        .nothing("No errors")
        .size(8, 8),
        Panel::lines(
            "No room, nothing there",
            "Calls a second that gave EAGAIN. On sending calls: the client or the network is slower than the broker. On \
             reads: nothing had come yet. Neither is a fault.",
            unit::CALLS_A_SECOND,
        )
        .query(&sum("syscall", "zctrace_syscall_errors_total", &eagain), "{{syscall}}")
        .nothing("No EAGAIN")
        .size(8, 8),
        Panel::lines(
            "Empty calls",
            "Calls a second that succeeded and moved nothing, as at the end of a file or of a connection.",
            unit::CALLS_A_SECOND,
        )
        .query(&sum("syscall", "zctrace_syscall_empty_total", TARGET), "{{syscall}}")
        .nothing("No empty calls")
        .size(8, 8),
    ]
}

fn sizes() -> Vec<Panel> {
    let heat = |title: &str, description: &str, scheme: &str, condition: &str| {
        let selector = and(TARGET, condition);
        let buckets =
            format!("sum by (le) (increase(zctrace_transfer_size_bytes_bucket{{{selector}}}[$__rate_interval]))");
        Panel::heatmap(title, description, unit::BYTES, scheme).buckets(&buckets).nothing("No such calls")
    };
    vec![
        heat(
            "Sent by zero copy: bytes a call",
            "How many calls sent how much from file to socket (sendfile). Normal: around the socket's send buffer, 100 KiB \
             and more. Much below 16 KiB: consumers fetch too little at a time.",
            "Blues",
            "source=~\"file|pipe\",sink=\"socket\"",
        )
        .size(8, 9),
        heat(
            "Sent from memory: bytes a call",
            "How many calls sent how much from the broker's memory. With TLS at most 16 KiB, a record each.",
            "Oranges",
            "source=\"memory\",sink=\"socket\"",
        )
        .size(8, 9),
        heat(
            "Read from files: bytes a call",
            "How many calls read how much from files into memory. The broker reads 32 KiB at a time to encrypt.",
            "Oranges",
            "source=\"file\",sink=\"memory\"",
        )
        .size(8, 9),
    ]
}

fn ingress() -> Vec<Panel> {
    let appends = and(TARGET, "source=\"memory\",sink=\"file\"");
    let written = and(TARGET, "path=\"written\"");
    vec![
        Panel::lines(
            "Received, by listener",
            "Bytes a second that come in through each listener: what producers send, and requests.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("target, listener", "zctrace_ingress_bytes_total", LISTENER), "{{listener}} of {{target}}")
        .size(8, 8),
        Panel::lines(
            "Written to files",
            "Bytes a second that the broker writes to files, and of these to log segments. The difference are indexes, \
             snapshots and logs of the program.",
            unit::BYTES_A_SECOND,
        )
        .query(&sum("", "zctrace_transfer_bytes_total", &appends), "all files")
        .query(&sum("", TOPIC_BYTES, &written), "Written")
        .size(8, 8),
        Panel::bars(
            "Topics whose data is copied",
            "The ten topics of which most is read by copying, in bytes a second. A click opens the topic.",
            unit::BYTES_A_SECOND,
        )
        .query(
            &format!("sort_desc(topk(10, {} > 0))", sum("topic", TOPIC_BYTES, &and(TARGET, "path=\"copied_read\""))),
            "{{topic}}",
        )
        .fixed(COPIED)
        .nothing("No topic is copied")
        .link("Open this topic", topic::UID, &["topic"])
        .size(8, 8),
    ]
}

fn process() -> Vec<Panel> {
    let info = "instance, target, command, broker_id, version, java_version, pid, cluster_id, container, pod";
    vec![
        Table::new(
            "Processes",
            "The watched processes with their versions, and how many processes of the target zctrace has seen: one more \
             after each restart.",
            &[("target", "Broker"), ("instance", "Instance")],
        )
        .column("Seen", unit::COUNT, &format!("sum by (instance, target) (zctrace_target_processes_total{{{TARGET}}})"))
        .info(
            &format!("group by ({info}) (zctrace_target_info{{{TARGET}}})"),
            &[
                ("broker_id", "Id"),
                ("version", "Kafka"),
                ("java_version", "Java"),
                ("pid", "PID"),
                ("cluster_id", "Cluster"),
                ("command", "Program"),
                ("container", "Container"),
                ("pod", "Pod"),
            ],
        )
        .size(24, 6)
        .or("No broker yet"),
    ]
}
