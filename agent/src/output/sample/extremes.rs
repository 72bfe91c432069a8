//! Reports of days that are not ordinary.

use super::*;

/// The same with everything that is not there on an ordinary day: what cannot be told, was lost, or is no Kafka broker's.
pub(in crate::output) fn everything() -> Report {
    let mut report = broker();
    report.window.ended_by = EndedBy::Signal;
    report
        .transfers
        .insert(0, transfer("splice", ["pipe", "socket"], Some(LocalPort::Port(19092)), HUGE, &[(31, 4_194_304)]));
    report.transfers.push(Transfer {
        msg_zerocopy: true,
        ..transfer("sendmsg", ["memory", "socket"], Some(LocalPort::Entry(DATAGRAM)), 65_536, &[(16, 1)])
    });
    report.transfers.push(Transfer {
        size_histogram: None,
        calls: 12,
        ..transfer("write", ["memory", "socket"], Some(LocalPort::Entry(OTHER)), 3_145_728, &[])
    });
    report.errors.push(error("recvmsg", "restarted", 2));
    report.errors.push(error("write", "ECONNRESET", 7));
    report.errors.push(error("write", "133", 1));
    report.listeners.insert(
        3,
        listener(Some(19092), None, None, 0, egress(HUGE, 0, 0, 0), "Port 19092 sent every byte by zero copy."),
    );
    report.listeners.push(listener(
        None,
        Some(DATAGRAM),
        None,
        512,
        egress(0, 0, 65_536, 0),
        "Datagram sockets sent with MSG_ZEROCOPY: which of it was copied cannot be told.",
    ));
    report.listeners.push(listener(
        None,
        Some(OTHER),
        None,
        0,
        egress(0, 3_145_728, 0, 0),
        "(other) sent nothing by zero copy: every byte was copied through user space.",
    ));
    report.total = egress(LOG + 98_000_000 + HUGE, HEADERS + TLS + 81_920 + 3_145_728, 65_536, TLS_READ + 83_886_080);
    report
        .files
        .extend((0..12).map(|i| file(Some("kafka-logs"), &format!("file-{i}.tmp"), Some(77 + i), [0, 13, 100 - i])));
    report.files.push(file(None, "cut-off-from-its-directory", Some(9), [0, 7, 0]));
    report.files.insert(0, file(None, OTHER, None, [4096, 8_388_608, 0]));
    report.cost = report.cost.map(|cost| ProcessCost {
        estimates: vec![Estimate {
            port: 9093,
            reference_port: 9092,
            seconds: 10.1,
            zero_copy_seconds: 3.09,
            zero_copy_seconds_low: 3.06,
            zero_copy_seconds_high: 3.12,
            user_seconds_per_gb: 4.86,
            kernel_seconds_per_gb: 2.03,
            uncertainty_seconds_per_gb: 0.42,
            method: "Processor time of the network threads of each listener for each byte that left.",
        }],
        no_estimate: None,
        ..cost
    });
    report.latency = Some(latency());
    clients(&mut report.listeners);
    report.unsent_read_bytes = 32_768;
    report.listeners[3].flows.push(Flow {
        from: "files",
        topic: None,
        zero_copy_bytes: HUGE,
        copied_bytes: 0,
        read_bytes: 0,
        reason: None,
    });
    report.lost = Lost {
        updates: 1_204,
        other_bytes: 11_538_432,
        unknown_endpoint_calls: 3,
        unknown_endpoint_bytes: 49_152,
        unknown_length_calls: 1,
        missed_calls: 3,
    };
    report.residency = Some(Arc::new(residency()));
    report.machine = Some(machine());
    report.topics[0].cache = Some(cache_use(LOG + TLS_READ, 409_600, 131_072));
    report.topics[1].cache = Some(cache_use(83_886_080, 83_886_080, 4096));
    report.page_cache = Some(PageCache {
        total: cache_use(LOG + TLS_READ + 83_886_080, 84_295_680, 135_168),
        listeners: vec![
            listener_cache(Some(LocalPort::Port(9093)), Some("SSL"), cache_use(TLS_READ, 84_000_000, 135_168)),
            listener_cache(Some(LocalPort::Port(9092)), Some("PLAINTEXT"), cache_use(LOG, 4096, 0)),
            listener_cache(None, None, cache_use(0, 4096, 0)),
        ],
        fault_bytes: 8192,
        other_bytes: 4096,
        unknown_bytes: 16_384,
        disk_read_bytes: Some(84_451_328),
    });
    order(&mut report);
    report.syncs = Some(vec![
        SyncUse {
            syscall: "fsync",
            errors: 2,
            took: report.latency.iter().flat_map(|all| &all.calls).map(|of| of.took.clone()).next().unwrap_or_default(),
        },
        SyncUse { syscall: "msync", ..SyncUse::default() },
    ]);
    report.advice = vec![Advice {
        id: "log_dir_on_network",
        text: "Logs lie on a network file system.".to_owned(),
        evidence: vec!["/var/lib/kafka/b is on nfs4, store:/kafka".to_owned()],
        remedy: "Put log.dirs on local disks.".to_owned(),
    }];
    report.notes = vec![
        note(
            "msg_zerocopy",
            "65536 bytes were sent with MSG_ZEROCOPY. Whether the kernel copied them is not known when the call returns: \
             they are in the egress, but neither in its zero-copy nor in its copied part.",
        ),
        note(
            "io_uring",
            "The process uses io_uring (7 io_uring_enter calls were seen): what it moves that way is in no number here.",
        ),
    ];
    report
}

/// Who uses the listeners, and from where.
fn clients(listeners: &mut [Listener]) {
    for listener in &mut *listeners {
        listener.used_by = match listener.name.as_deref() {
            Some("PLAINTEXT") => Some("brokers"),
            Some("SSL") => Some("clients"),
            Some("CONTROLLER") => Some("controllers"),
            _ => None,
        };
        listener.clients = listener.port.map(|_| Vec::new());
    }
    let client = |address: &str, zero_copy_bytes, copied_bytes, ingress_bytes| ClientTraffic {
        address: address.to_owned(),
        zero_copy_bytes,
        copied_bytes,
        ingress_bytes,
        ..ClientTraffic::default()
    };
    let plaintext = listeners.iter_mut().filter(|listener| listener.port == Some(9092));
    plaintext.for_each(|listener| {
        listener.clients = Some(vec![
            client("10.0.0.7", LOG - 1000, 36_000, 4096),
            client("2001:db8:85a3:1234:5678:8a2e:370:7334", 1000, 412, 0),
            client(OTHER, 98_000_000, 0, 81_920),
        ])
    });
}

/// A topic that is read in sequence, one that is not, and calls that were cut short.
fn order(report: &mut Report) {
    let of = |sequential_bytes, random_bytes, unknown_bytes, jumps, calls, mean, ratio| Order {
        sequential_bytes,
        random_bytes,
        unknown_bytes,
        sequential_ratio: Some(ratio),
        jumps,
        calls,
        mean_call_bytes: Some(mean),
    };
    let written = of(210_763_776, 0, 0, 0, 12_864, 16_384, 1.0);
    let none = Order::default();
    report.topics[0].order = Some(LogUse { read: of(LOG, 0, TLS_READ, 0, 39_864, 32_768, 1.0), written });
    report.topics[1].order =
        Some(LogUse { read: of(20_971_520, 62_914_560, 0, 960, 2_560, 32_768, 0.25), written: none });
    let short = |reason, calls, asked_bytes, sent_bytes| ShortCalls { reason, calls, asked_bytes, sent_bytes };
    let plaintext = SendfileUse {
        port: Some(LocalPort::Port(9092)),
        name: Some("PLAINTEXT".to_owned()),
        calls: 4_454,
        bytes: LOG + 98_000_000,
        short: vec![
            short("send_buffer", 4_090, 4_288_675_840, 409_000_000),
            short("again", 1_204, 1_262_485_504, 0),
            short("limit", 1, 2_147_483_647, 2_147_479_552),
        ],
    };
    let logs = LogUse { read: of(LOG + 20_971_520, 62_914_560, TLS_READ, 960, 42_424, 32_768, 0.87), written };
    report.order = Some(Sequence { logs, sendfile: vec![plaintext] });
}

fn latency() -> Latency {
    let took = |calls, total_seconds, max_seconds, slow_calls| Took {
        calls,
        total_seconds,
        p50_seconds: 0.000_128,
        p99_seconds: 0.001_28,
        p999_seconds: 0.016,
        max_seconds,
        slow_calls,
        histogram: vec![
            DurationBucket { min_seconds: 0.0, end_seconds: Some(0.000_128), calls: calls - 1 },
            DurationBucket { min_seconds: 240.518, end_seconds: None, calls: 1 },
        ],
    };
    let call = |syscall, [source, sink]: [&'static str; 2], local_port, took| CallLatency {
        syscall,
        source,
        sink,
        local_port,
        took,
    };
    let plaintext = Some(LocalPort::Port(9092));
    let topic = |topic: &str, path, local_port: &Option<LocalPort>, took| TopicLatency {
        topic: topic.into(),
        path,
        local_port: local_port.clone(),
        took,
    };
    Latency {
        slow_seconds: 0.01,
        unmeasured_calls: 12,
        calls: vec![
            call("sendfile", ["file", "socket"], plaintext.clone(), took(4_454, 1.31, 0.048, 7)),
            call("pread64", ["file", "memory"], None, took(4_454, 0.21, 0.000_9, 0)),
        ],
        topics: vec![
            topic("orders", "zero_copy", &plaintext, took(4_000, 1.25, 0.048, 7)),
            topic("orders", "read", &None, took(4_000, 0.125, 0.048, 0)),
        ],
    }
}

/// A process that is no broker and did nothing.
pub(in crate::output) fn idle() -> Report {
    Report {
        target: Target { pid: 7, name: "sleep".to_owned(), command: "/usr/bin/sleep".to_owned(), kafka: None },
        transfers: Vec::new(),
        errors: Vec::new(),
        empty: Vec::new(),
        listeners: Vec::new(),
        total: egress(0, 0, 0, 0),
        topics: Vec::new(),
        files: Vec::new(),
        cost: None,
        ..broker()
    }
}

/// Names from an enemy who can create files, topics and processes.
pub(in crate::output) fn hostile() -> Report {
    const EVIL: &str = "\u{1b}]0;owned\u{7}\u{9b}2J\u{7f}\u{202e}\n\r\u{2062}x";
    let mut report = everything();
    report.target.name = EVIL.to_owned();
    report.target.command = EVIL.to_owned();
    if let Some(kafka) = &mut report.target.kafka {
        kafka.version = Some(EVIL.to_owned());
        kafka.log_dirs.push(EVIL.to_owned());
    }
    report.attach.reason = EVIL.to_owned();
    report.errors.push(error("read", EVIL, 1));
    for listener in report.order.iter_mut().flat_map(|order| &mut order.sendfile) {
        listener.name = Some(EVIL.to_owned());
    }
    for topic in report.latency.iter_mut().flat_map(|latency| &mut latency.topics) {
        topic.topic = EVIL.into();
    }
    for client in report.listeners.iter_mut().flat_map(|listener| listener.clients.iter_mut().flatten()) {
        client.address = EVIL.to_owned();
    }
    for listener in &mut report.listeners {
        listener.name = Some(EVIL.to_owned());
        listener.protocol = Some(EVIL.to_owned());
        listener.verdict = format!("{EVIL} was idle");
        listener.why = Some(EVIL.to_owned());
        for flow in &mut listener.flows {
            flow.topic = Some(EVIL.into());
        }
    }
    report.topics[0].topic = EVIL.into();
    report.files[1] = file(Some(EVIL), EVIL, Some(1), [1, 1, 1]);
    if let Some(machine) = &mut report.machine {
        machine.log_dirs[0].source = Some(EVIL.to_owned());
        machine.log_dirs[0].block[0].name = EVIL.to_owned();
    }
    let evil = |of: &mut Residency| (of.partitions[0].topic, of.skipped) = (EVIL.into(), vec![EVIL.to_owned()]);
    report.residency = report.residency.map(|of| {
        Arc::new({
            let mut of = Residency::clone(&of);
            evil(&mut of);
            of
        })
    });
    report.advice[0].evidence.push(EVIL.to_owned());
    report.notes.push(note("facts", EVIL));
    report
}
