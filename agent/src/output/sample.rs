//! A Report with everything in it that one can hold, for the tests of every output.

mod extremes;
mod machine;

pub(super) use extremes::{everything, hostile, idle};
use machine::{cache_use, listener_cache};
pub(super) use machine::{machine, residency};

use crate::report::{
    Advice, Attach, CacheUse, CallLatency, ClientTraffic, Cost, DATAGRAM, DurationBucket, Egress, EmptyCount, EndedBy,
    ErrorCount, Estimate, FileTraffic, Flow, KafkaTarget, Latency, Listener, ListenerCache, LocalPort, LogUse, Lost,
    Note, OTHER, OUTBOUND, Order, PageCache, ProcessCost, Reason, Report, SCHEMA_VERSION, SendfileUse, Sequence,
    Setting, ShortCalls, SizeBucket, SyncUse, Target, Took, Topic, TopicLatency, Transfer, Window,
};
use std::sync::Arc;

use crate::{
    machine::{BlockDevice, Cgroup, Java, LogDir, Machine, Memory, OwnMemory},
    residency::{Partition, Residency},
};

/// What leaves a log segment by sendfile.
const LOG: u64 = 1_012_133_831;
/// What the SSL listener writes for the same log.
const TLS: u64 = 1_015_743_950;
/// What it reads before.
const TLS_READ: u64 = 1_012_217_175;
/// Headers of fetch responses on the PLAINTEXT listener.
const HEADERS: u64 = 36_412;
/// One more than a double holds.
pub(super) const HUGE: u64 = (1 << 53) + 1;

#[allow(clippy::cast_precision_loss)]
fn egress(zero_copy: u64, copied: u64, undetermined: u64, carried: u64) -> Egress {
    let egress_bytes = zero_copy + copied + undetermined;
    let of_egress = |bytes: u64| (egress_bytes > 0).then(|| bytes as f64 / egress_bytes as f64);
    Egress {
        egress_bytes,
        zero_copy_bytes: zero_copy,
        copied_bytes: copied,
        undetermined_bytes: undetermined,
        zero_copy_ratio: of_egress(zero_copy),
        copy_ratio: of_egress(copied),
        carried_file_bytes: carried,
        copy_amplification: of_egress(copied + carried).filter(|_| undetermined == 0),
    }
}

fn listener(
    port: Option<u16>,
    name: Option<&str>,
    protocol: Option<&str>,
    ingress: u64,
    egress: Egress,
    verdict: &str,
) -> Listener {
    Listener {
        port,
        name: name.map(str::to_owned),
        protocol: protocol.map(str::to_owned),
        ingress_bytes: ingress,
        egress,
        verdict: verdict.to_owned(),
        ..Listener::default()
    }
}

/// A listener's reasons and flows: of whom, bytes by zero copy, copied, read before, and why.
fn why(listener: &mut Listener, sentence: &str, reasons: &[(&'static str, &str)], flows: &[(&str, [u64; 3])]) {
    listener.why = Some(sentence.to_owned());
    let copied = listener.egress.copied_bytes;
    let code = reasons.first().map(|(code, _)| *code);
    listener.reasons =
        reasons.iter().map(|(code, text)| Reason { code, bytes: copied, text: (*text).to_owned() }).collect();
    listener.flows = flows
        .iter()
        .map(|(whose, [zero_copy_bytes, copied_bytes, read_bytes])| Flow {
            from: match *whose {
                "files" => "files",
                "none" => "none",
                _ => "topic",
            },
            topic: (!["files", "none"].contains(whose)).then(|| (*whose).into()),
            zero_copy_bytes: *zero_copy_bytes,
            copied_bytes: *copied_bytes,
            read_bytes: *read_bytes,
            reason: code.filter(|_| *copied_bytes > 0),
        })
        .collect();
}

fn transfer(
    syscall: &'static str,
    ends: [&'static str; 2],
    local_port: Option<LocalPort>,
    bytes: u64,
    sizes: &[(u32, u64)],
) -> Transfer {
    Transfer {
        syscall,
        source: ends[0],
        sink: ends[1],
        local_port: local_port.clone(),
        msg_zerocopy: false,
        calls: sizes.iter().map(|(_, calls)| calls).sum(),
        bytes,
        tls_bytes: if local_port == Some(LocalPort::Port(9093)) && ends[0] == "memory" { bytes } else { 0 },
        size_histogram: Some(
            sizes
                .iter()
                .map(|(exponent, calls)| SizeBucket {
                    min: 1 << exponent,
                    max: (*exponent < 31).then(|| (2 << exponent) - 1),
                    calls: *calls,
                })
                .collect(),
        ),
    }
}

fn error(syscall: &'static str, errno: &str, calls: u64) -> ErrorCount {
    ErrorCount { syscall, errno: errno.to_owned(), calls }
}

fn topic(topic: &str, partition: u32, moved: [u64; 3]) -> Topic {
    let [zero_copy_read_bytes, copied_read_bytes, written_bytes] = moved;
    Topic {
        topic: topic.into(),
        partition,
        zero_copy_read_bytes,
        copied_read_bytes,
        written_bytes,
        cache: None,
        order: None,
    }
}

fn file(directory: Option<&str>, name: &str, inode: Option<u64>, moved: [u64; 3]) -> FileTraffic {
    let [zero_copy_read_bytes, copied_read_bytes, written_bytes] = moved;
    FileTraffic {
        directory: directory.map(str::to_owned),
        name: name.to_owned(),
        device: inode.map(|_| "254:1".to_owned()),
        inode,
        zero_copy_read_bytes,
        copied_read_bytes,
        written_bytes,
    }
}

fn note(code: &'static str, text: &str) -> Note {
    Note { code, text: text.to_owned() }
}

/// A Kafka broker with a PLAINTEXT, an SSL and an idle listener that copies as much as it sends by zero copy: what a
/// reader sees on an ordinary day.
pub(super) fn broker() -> Report {
    let (plaintext, ssl) = (Some(LocalPort::Port(9092)), Some(LocalPort::Port(9093)));
    let outbound = Some(LocalPort::Entry(OUTBOUND));
    let produced = 210_763_776;
    let mut topics = vec![
        topic("orders", 0, [LOG, TLS_READ, produced]),
        topic("com.example.payments.settlements.v2", 11, [0, 83_886_080, 41_943_040]),
    ];
    topics.extend((0..24).map(|i| topic("clicks", i, [4_194_304 - 4096 * u64::from(i), 0, 1_048_576])));
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        target: Target {
            pid: 4242,
            name: "kafka broker 1".to_owned(),
            command: "kafka.Kafka".to_owned(),
            kafka: Some(KafkaTarget {
                node_id: Some(1),
                cluster_id: Some("MkU3OEVBNTcwNTJENDM2Qg".to_owned()),
                version: Some("4.1.2".to_owned()),
                config: Some("/opt/kafka/config/server.properties".to_owned()),
                log_dirs: vec!["/var/lib/kafka/a".to_owned(), "/var/lib/kafka/b".to_owned()],
                settings: vec![Setting { key: "num.network.threads", value: "8".to_owned() }],
            }),
        },
        window: Window { start: "2026-10-03T12:00:00.000Z".to_owned(), seconds: 10.004, ended_by: EndedBy::Duration },
        attach: Attach {
            leg: "raw".to_owned(),
            reason: "the kernel has BTF: typed raw tracepoint, lowest price for the target, no tracefs needed"
                .to_owned(),
            seconds: 0.164,
            detach_seconds: Some(0.021),
        },
        transfers: vec![
            transfer("write", ["memory", "socket"], ssl.clone(), TLS, &[(6, 31), (13, 65_010), (14, 28_959)]),
            transfer(
                "pread64",
                ["file", "memory"],
                None,
                TLS_READ + 83_886_080,
                &[(9, 310), (14, 4_500), (15, 30_600)],
            ),
            transfer(
                "sendfile",
                ["file", "socket"],
                plaintext.clone(),
                LOG + 98_000_000,
                &[(11, 4), (17, 1_710), (18, 2_740)],
            ),
            transfer(
                "read",
                ["socket", "memory"],
                plaintext.clone(),
                211_023_770,
                &[(2, 880), (13, 20_011), (14, 2_500)],
            ),
            transfer("writev", ["memory", "file"], None, 278_000_000, &[(13, 17_000), (14, 3_000)]),
            transfer("read", ["socket", "memory"], ssl, 4_183_411, &[(5, 3_000), (12, 900)]),
            transfer("write", ["memory", "socket"], outbound.clone(), 81_920, &[(7, 512)]),
            transfer("writev", ["memory", "socket"], plaintext, HEADERS, &[(5, 650)]),
            transfer("read", ["socket", "memory"], outbound, 40_960, &[(6, 512)]),
            transfer("read", ["pipe", "memory"], None, 77, &[(0, 77)]),
        ],
        errors: vec![
            error("read", "EAGAIN", 12_409),
            error("sendfile", "EAGAIN", 2_206),
            error("write", "EAGAIN", 1_911),
            error("read", "ECONNRESET", 3),
            error("sendfile", "EPIPE", 1),
        ],
        empty: vec![EmptyCount { syscall: "read", calls: 31 }],
        listeners: vec![
            listener(
                Some(9092),
                Some("PLAINTEXT"),
                Some("PLAINTEXT"),
                211_023_770,
                egress(LOG + 98_000_000, HEADERS, 0, 0),
                "PLAINTEXT :9092 sent nearly everything by zero copy, the rest was copied through user space.",
            ),
            listener(
                Some(9093),
                Some("SSL"),
                Some("SSL"),
                4_183_411,
                egress(0, TLS, 0, TLS_READ + 83_886_080),
                "SSL :9093 sent nothing by zero copy: every byte was copied through user space, as on every listener that \
                 encrypts in the broker.",
            ),
            listener(
                Some(9094),
                Some("CONTROLLER"),
                Some("PLAINTEXT"),
                0,
                egress(0, 0, 0, 0),
                "CONTROLLER :9094 was idle: nothing came in, nothing left.",
            ),
            listener(
                None,
                Some(OUTBOUND),
                None,
                40_960,
                egress(0, 81_920, 0, 0),
                "Connections that it opened itself (outbound) sent nothing by zero copy: every byte was copied through \
                 user space.",
            ),
        ],
        total: egress(LOG + 98_000_000, HEADERS + TLS + 81_920, 0, TLS_READ + 83_886_080),
        topics,
        files: vec![
            file(Some("orders-0"), "00000000000000000000.timeindex", Some(1_312_010), [0, 0, 24_576]),
            file(Some("a"), "recovery-point-offset-checkpoint.tmp", Some(1_312_002), [0, 0, 812]),
        ],
        latency: None,
        syncs: None,
        order: None,
        cost: None,
        unsent_read_bytes: 0,
        lost: Lost::default(),
        page_cache: None,
        residency: None,
        machine: None,
        advice: Vec::new(),
        notes: Vec::new(),
    };
    why(
        &mut report.listeners[0],
        "Copied because of: small answers and response headers.",
        &[("headers", "Response headers and answers of the protocol: writes below 16 KiB of no file's data.")],
        &[("orders", [LOG, 0, 0]), ("clicks", [98_000_000, 0, 0]), ("none", [0, HEADERS, 0])],
    );
    why(
        &mut report.listeners[1],
        "Copied because of: TLS in user space.",
        &[(
            "tls",
            "TLS in user space: 1015743950 bytes left in writes that begin with the header of a TLS record (of a thread's the \
             first 64 are looked at, then one in 16 while they agree).",
        )],
        &[
            ("orders", [0, TLS - 84_177_000, TLS_READ]),
            ("com.example.payments.settlements.v2", [0, 84_176_000, 83_886_080]),
            ("none", [0, 1_000, 0]),
        ],
    );
    why(
        &mut report.listeners[3],
        "Copied because of: small answers and response headers.",
        &[("headers", "Response headers and answers of the protocol: writes below 16 KiB of no file's data.")],
        &[("none", [0, 81_920, 0])],
    );
    report.listeners[0].cost = Some(cost(3, [1.31, 2.07], 4_455 + 650 + 23_391, report.listeners[0].egress));
    report.listeners[1].cost = Some(cost(3, [6.14, 3.96], 94_000 + 35_410 + 3_900, report.listeners[1].egress));
    report.cost = Some(ProcessCost {
        user_seconds: 11.02,
        kernel_seconds: 7.91,
        other_seconds: 5.45,
        estimates: Vec::new(),
        no_estimate: Some(
            "No listener sent 100 MB by zero copy and took in little, so there is no price to compare with.".to_owned(),
        ),
    });
    report
}

#[allow(clippy::cast_precision_loss)]
fn cost(threads: u64, [user_seconds, kernel_seconds]: [f64; 2], calls: u64, egress: Egress) -> Cost {
    let gigabytes = egress.egress_bytes as f64 / 1e9;
    Cost {
        threads,
        shared_threads: 0,
        user_seconds,
        kernel_seconds,
        uncertainty_seconds: 0.03,
        split_uncertainty_seconds: 0.32,
        share_of_process: Some((user_seconds + kernel_seconds) / 18.93),
        user_seconds_per_gb: Some(user_seconds / gigabytes),
        kernel_seconds_per_gb: Some(kernel_seconds / gigabytes),
        calls,
        calls_per_gb: Some(calls as f64 / gigabytes),
        copies_per_byte: egress.copy_amplification.map(|moved| 2.0 + moved),
    }
}

#[test]
fn it_could_be_true() {
    for transfer in everything().transfers {
        let Some(histogram) = &transfer.size_histogram else { continue };
        let least: u64 = histogram.iter().map(|bucket| bucket.min * bucket.calls).sum();
        let most: u64 = histogram.iter().map(|bucket| bucket.max.unwrap_or(1 << 33) * bucket.calls).sum();
        assert!((least..=most).contains(&transfer.bytes), "{transfer:?}");
    }
}
