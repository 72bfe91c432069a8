//! From recorded and invented snapshots to Reports.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use agent_ebpf::{
    Counter, Endpoint, FileBytes, FilePath, InodeKey, PORT_DATAGRAM, PORT_NONE, PORT_OUTBOUND, SIZE_BUCKETS, Syscall,
    Tally,
};
use proptest::prelude::*;

use super::*;
use crate::snapshot::{Directory, File, OtherTransfer, SentByPort, Snapshot, Transfer as Counted, TransferId};

/// What the kernel counted of Kafka 4.1.2 while `cargo xtask demo --megabytes 40` ran (`zctrace --record`).
const BROKER: &str = include_str!("recorded/broker.json");
/// Inode of its log directory, `.../data`.
const LOG_DIR: u64 = 9_994_321;

pub(crate) fn facts() -> Facts {
    let listener = |port, name: &str| KnownListener {
        port,
        name: name.to_owned(),
        protocol: Some(name.replace("CONTROLLER", "PLAINTEXT")),
        used_by: match name {
            "CONTROLLER" => UsedBy::Controllers,
            "PLAINTEXT" => UsedBy::BrokersAndClients,
            _ => UsedBy::Clients,
        },
    };
    Facts {
        slow: std::time::Duration::from_millis(10),
        target: Target {
            pid: 4711,
            name: "kafka broker 1".to_owned(),
            command: "kafka.Kafka".to_owned(),
            kafka: Some(KafkaTarget {
                node_id: Some(1),
                cluster_id: None,
                version: Some("4.1.2".to_owned()),
                config: None,
                log_dirs: vec!["/data".to_owned()],
                settings: Vec::new(),
            }),
        },
        listeners: vec![listener(33901, "PLAINTEXT"), listener(34335, "SSL"), listener(43811, "CONTROLLER")],
        log_dir_inodes: [LOG_DIR].into(),
        subject: Subject::default(),
        machine: None,
        disk_read_bytes: None,
        residency: None,
        io_uring: Some(false),
        kernel_tls: None,
        compat: Some(false),
        problems: Vec::new(),
    }
}

fn report(delta: &Snapshot, facts: &Facts) -> Report {
    let window = Window { start: "2026-11-23T21:49:16.325Z".to_owned(), seconds: 10.5, ended_by: EndedBy::Signal };
    build(delta, facts, window, Attach { leg: "raw".to_owned(), reason: "asked for".to_owned(), ..Attach::default() })
}

fn listener<'a>(report: &'a Report, name: &str) -> &'a Listener {
    report.listeners.iter().find(|listener| listener.name.as_deref() == Some(name)).unwrap()
}

#[test]
fn a_recorded_broker_is_told_by_listener_and_topic() {
    let recorded: Snapshot = serde_json::from_str(BROKER).unwrap();
    let report = report(&recorded, &facts());
    let plain = listener(&report, "PLAINTEXT");
    assert_eq!((plain.port, plain.protocol.as_deref()), (Some(33901), Some("PLAINTEXT")));
    assert_eq!(plain.egress.zero_copy_bytes, 44_204_482);
    assert_eq!(plain.ingress_bytes, 24_043_547);
    assert_eq!(plain.verdict, "PLAINTEXT :33901 sent 99.96 % by zero copy, the rest was copied through user space.");
    let ssl = listener(&report, "SSL");
    assert_eq!((ssl.egress.zero_copy_bytes, ssl.egress.zero_copy_ratio), (0, Some(0.0)));
    assert_eq!(ssl.egress.copied_bytes, ssl.egress.egress_bytes);
    assert!((1.9..2.1).contains(&ssl.egress.copy_amplification.unwrap()));
    assert!(ssl.verdict.contains("as on every listener that encrypts"), "{}", ssl.verdict);
    let topics: Vec<_> = report.topics.iter().map(|topic| (&*topic.topic, topic.partition)).collect();
    for partition in [("orders", 0), ("orders", 1), ("orders", 2), ("payments", 0)] {
        assert!(topics.contains(&partition), "{topics:?}");
    }
    assert!(report.files.iter().all(|file| file.directory.as_deref().is_none_or(|name| !name.starts_with("orders"))));
    assert_eq!(report.lost, Lost::default());
    assert_eq!(report.notes, []);
}

#[test]
fn segments_outside_of_the_log_directories_are_no_topics() {
    let recorded: Snapshot = serde_json::from_str(BROKER).unwrap();
    let elsewhere = Facts { log_dir_inodes: [LOG_DIR + 1].into(), ..facts() };
    assert_eq!(report(&recorded, &elsewhere).topics, []);
    // Where the log directories could not be looked at, names decide; of a process that is no broker they say nothing.
    let unknown = Facts { log_dir_inodes: [].into(), ..facts() };
    assert_eq!(report(&recorded, &unknown).topics.len(), report(&recorded, &facts()).topics.len());
    let mut other = facts();
    other.target.kafka = None;
    assert_eq!(report(&recorded, &other).topics, []);
}

fn counted(syscall: Syscall, source: Endpoint, sink: Endpoint, port: u32, bytes: u64) -> Counted {
    let mut sizes = [0; SIZE_BUCKETS];
    sizes[12] = 1;
    Counted {
        id: TransferId { syscall, source, sink, port, msg_zerocopy: false, tls: false, of_file: false },
        bytes,
        carried_file_bytes: 0,
        sizes,
    }
}

fn sent(syscall: Syscall, source: Endpoint, bytes: u64) -> Counted {
    counted(syscall, source, Endpoint::Socket, 33901, bytes)
}

#[test]
fn verdicts_claim_no_more_than_the_numbers() {
    let (sendfile, write) =
        (|bytes| sent(Syscall::Sendfile, Endpoint::File, bytes), |bytes| sent(Syscall::Write, Endpoint::Memory, bytes));
    let zerocopy = Counted { id: TransferId { msg_zerocopy: true, ..write(1).id }, ..write(10) };
    let received = counted(Syscall::Read, Endpoint::Socket, Endpoint::Memory, 33901, 7);
    let cases = [
        (vec![], "was idle: nothing came in, nothing left."),
        (vec![received], "only took bytes in: nothing left, so there is no zero-copy ratio."),
        (vec![sendfile(10)], "sent every byte by zero copy."),
        (vec![sent(Syscall::Splice, Endpoint::Pipe, 10)], "sent every byte by zero copy."),
        (vec![write(10)], "sent nothing by zero copy: every byte was copied through user space."),
        (vec![sendfile(1), write(2)], "sent 33.33 % by zero copy, all else was copied through user space."),
        (vec![sendfile(999_999), write(1)], "sent 99.99 % by zero copy, the rest was copied through user space."),
        (
            vec![sendfile(1), write(999_999)],
            "sent less than 0.01 % by zero copy, all else was copied through user space.",
        ),
        (vec![zerocopy], "sent with MSG_ZEROCOPY: which of it was copied cannot be told."),
    ];
    for (transfers, verdict) in cases {
        let report = report(&Snapshot { transfers, ..Snapshot::default() }, &facts());
        assert_eq!(listener(&report, "PLAINTEXT").verdict, format!("PLAINTEXT :33901 {verdict}"));
    }
}

#[test]
fn a_ratio_is_absent_where_nothing_left() {
    let report = report(&Snapshot::default(), &facts());
    for egress in report.listeners.iter().map(|listener| &listener.egress).chain([&report.total]) {
        assert_eq!((egress.zero_copy_ratio, egress.copy_ratio, egress.copy_amplification), (None, None, None));
    }
}

#[test]
fn what_was_sent_with_msg_zerocopy_is_neither_copied_nor_not() {
    let write = sent(Syscall::Sendto, Endpoint::Memory, 30);
    let zerocopy = Counted { id: TransferId { msg_zerocopy: true, ..write.id }, bytes: 70, ..write.clone() };
    let report = report(&Snapshot { transfers: vec![write, zerocopy], ..Snapshot::default() }, &facts());
    let egress = listener(&report, "PLAINTEXT").egress;
    assert_eq!((egress.egress_bytes, egress.copied_bytes, egress.undetermined_bytes), (100, 30, 70));
    assert_eq!(egress.copy_amplification, None);
    assert_eq!(report.notes[0].code, "msg_zerocopy");
    assert!(report.notes[0].text.starts_with("70 bytes"), "{}", report.notes[0].text);
}

#[test]
fn amplification_counts_the_read_and_the_write() {
    let write = Counted { carried_file_bytes: 100, ..sent(Syscall::Write, Endpoint::Memory, 100) };
    let report = report(&Snapshot { transfers: vec![write], ..Snapshot::default() }, &facts());
    assert_eq!(listener(&report, "PLAINTEXT").egress.copy_amplification, Some(2.0));
}

#[test]
fn entries_that_are_no_port_come_last_and_by_name() {
    let to = |port| counted(Syscall::Write, Endpoint::Memory, Endpoint::Socket, port, 5);
    let other = OtherTransfer {
        syscall: Syscall::Sendfile,
        source: Endpoint::File,
        sink: Endpoint::Socket,
        tally: Tally { calls: 2, bytes: 9 },
    };
    let delta = Snapshot {
        transfers: vec![
            to(PORT_OUTBOUND),
            to(PORT_DATAGRAM),
            to(9),
            counted(Syscall::Read, Endpoint::File, Endpoint::Memory, PORT_NONE, 5),
        ],
        other: vec![other],
        ..Snapshot::default()
    };
    let report = report(&delta, &facts());
    let names: Vec<_> = report.listeners.iter().map(|l| (l.port, l.name.as_deref())).collect();
    assert_eq!(names[0], (Some(9), None));
    assert_eq!(&names[4..], [(None, Some(OTHER)), (None, Some(DATAGRAM)), (None, Some(OUTBOUND))]);
    assert_eq!(report.total.egress_bytes, 24);
    assert_eq!((report.total.zero_copy_bytes, report.lost.other_bytes), (9, 9));
    let other = report.transfers.iter().find(|t| t.local_port == Some(LocalPort::Entry(OTHER))).unwrap();
    assert_eq!((other.calls, &other.size_histogram), (2, &None));
}

#[test]
fn each_limit_of_what_was_seen_has_its_note() {
    let code =
        |delta: &Snapshot, facts: &Facts| report(delta, facts).notes.iter().map(|note| note.code).collect::<Vec<_>>();
    let counter = |counter| Snapshot { counters: BTreeMap::from([(counter, 3)]), ..Snapshot::default() };
    let none = Snapshot::default();
    for (delta, word) in [
        (counter(Counter::IoUringEnters), "io_uring"),
        (counter(Counter::Compat), "compat"),
        (counter(Counter::X32), "x32"),
        (counter(Counter::CarriedDropped), "carried_dropped"),
    ] {
        assert_eq!(code(&delta, &facts()), [word]);
    }
    // With submission polling the process needs no call at all.
    assert_eq!(code(&none, &Facts { io_uring: Some(true), ..facts() }), ["io_uring"]);
    assert_eq!(code(&none, &Facts { kernel_tls: Some(1), ..facts() }), ["kernel_tls"]);
    assert_eq!(code(&none, &Facts { kernel_tls: Some(0), ..facts() }), [""; 0]);
    assert_eq!(code(&none, &Facts { problems: vec!["why".to_owned()], ..facts() }), ["facts"]);
}

#[test]
fn lost_adds_up_what_found_a_map_full() {
    let mut delta = Snapshot { files_other: FileBytes { bytes: [1, 2, 4], calls: [1, 1, 1] }, ..Snapshot::default() };
    delta.counters = BTreeMap::from([
        (Counter::TransfersFull, 10),
        (Counter::FilesFull, 3),
        (Counter::EndpointUnknown, 2),
        (Counter::EndpointUnknownBytes, 200),
        (Counter::LengthUnknown, 1),
    ]);
    delta.missed_calls = 3;
    let report = report(&delta, &facts());
    let lost = Lost {
        updates: 13,
        other_bytes: 7,
        unknown_endpoint_calls: 2,
        unknown_endpoint_bytes: 200,
        unknown_length_calls: 1,
        missed_calls: 3,
    };
    assert_eq!(report.lost, lost);
    assert_eq!((report.files[0].name.as_str(), report.files[0].written_bytes), (OTHER, 4));
}

fn any_transfer() -> impl Strategy<Value = Counted> {
    let ports = prop_oneof![1u32..65_536, Just(PORT_OUTBOUND), Just(PORT_DATAGRAM), Just(33901u32)];
    (0..Syscall::ALL.len(), 0..Endpoint::ALL.len(), 0..Endpoint::ALL.len(), ports, any::<bool>(), 1u64..1 << 40)
        .prop_map(|(syscall, source, sink, port, msg_zerocopy, bytes)| {
            let (source, sink) = (Endpoint::ALL[source], Endpoint::ALL[sink]);
            let is_socket = source == Endpoint::Socket || sink == Endpoint::Socket;
            let mut counted =
                counted(Syscall::ALL[syscall], source, sink, if is_socket { port } else { PORT_NONE }, bytes);
            counted.id.msg_zerocopy = msg_zerocopy;
            counted
        })
}

fn any_file() -> impl Strategy<Value = File> {
    (1u64..50, 0u64..4, prop::array::uniform3(0u64..1 << 40), any::<bool>()).prop_map(
        |(inode, directory, bytes, segment)| File {
            inode: InodeKey { inode, device: 1, generation: 0 },
            moved: FileBytes { bytes, calls: [1, 1, 1] },
            directory: InodeKey { inode: 100 + directory, device: 1, generation: 0 },
            name: if segment { "00000000000000000000.log".into() } else { "checkpoint".into() },
            sent: SentByPort::default(),
        },
    )
}

proptest! {
    /// Nothing is lost and nothing is counted twice on the way from the maps to the Report.
    #[test]
    fn every_byte_of_a_snapshot_is_in_the_report_once(
        transfers in prop::collection::vec(any_transfer(), 0..40),
        files in prop::collection::vec(any_file(), 0..40),
    ) {
        let directory = |n: u64, name: &str| Directory {
            inode: InodeKey { inode: 100 + n, device: 1, generation: 0 },
            parent: InodeKey { inode: LOG_DIR, device: 1, generation: 0 },
            name: name.into(),
        };
        let directories = vec![directory(0, "orders-0"), directory(1, "orders-1"), directory(2, "elsewhere")];
        let delta = Snapshot { transfers, files, directories, ..Snapshot::default() };
        let report = report(&delta, &facts());
        let sum = |matches: fn(&TransferId) -> bool| {
            delta.transfers.iter().filter(|transfer| matches(&transfer.id)).map(|transfer| transfer.bytes).sum::<u64>()
        };
        prop_assert_eq!(report.transfers.iter().map(|t| t.bytes).sum::<u64>(), sum(|_| true));
        let egress: u64 = report.listeners.iter().map(|l| l.egress.egress_bytes).sum();
        prop_assert_eq!(egress, sum(|id| id.sink == Endpoint::Socket));
        prop_assert_eq!(egress, report.total.egress_bytes);
        let ingress: u64 = report.listeners.iter().map(|l| l.ingress_bytes).sum();
        prop_assert_eq!(ingress, sum(|id| id.source == Endpoint::Socket));
        for egress in report.listeners.iter().map(|l| &l.egress).chain([&report.total]) {
            prop_assert_eq!(egress.zero_copy_bytes + egress.copied_bytes + egress.undetermined_bytes, egress.egress_bytes);
        }
        let moved = |path: FilePath| delta.files.iter().map(|file| file.moved.bytes[path as usize]).sum::<u64>();
        let told = |of_topic: fn(&Topic) -> u64, of_file: fn(&FileTraffic) -> u64| {
            report.topics.iter().map(of_topic).chain(report.files.iter().map(of_file)).sum::<u64>()
        };
        prop_assert_eq!(told(|t| t.written_bytes, |f| f.written_bytes), moved(FilePath::Written));
        prop_assert_eq!(told(|t| t.copied_read_bytes, |f| f.copied_read_bytes), moved(FilePath::CopiedRead));
        prop_assert_eq!(told(|t| t.zero_copy_read_bytes, |f| f.zero_copy_read_bytes), moved(FilePath::ZeroCopyRead));
    }

    /// What a builder remembers from one Report to the next changes none of them: directories that come, go, are renamed or
    /// moved to another place, files that come and go, log directories that become known, two lives.
    #[test]
    fn a_builder_gives_what_one_without_memory_would(
        rounds in prop::collection::vec(
            (
                prop::collection::btree_map(1u64..50, any_file(), 0..20),
                prop::collection::btree_map(0u64..6, (0usize..7, any::<bool>()), 0..6),
                prop::collection::btree_map(60u64..90, any_file(), 0..10),
                any::<bool>(),
            ),
            1..12,
        ),
    ) {
        const NAMES: [&str; 7] = [
            "orders-0", "orders-1", "orders-1.0123456789abcdef0123456789abcdef-delete", "orders-2", "payments-0",
            "elsewhere", "payments-10",
        ];
        let known = |inode| InodeKey { inode, device: 1, generation: 0 };
        let files = |files: BTreeMap<u64, File>| -> Vec<File> {
            files.into_iter().map(|(number, file)| File { inode: known(number), ..file }).collect()
        };
        let mut builder = Builder::default();
        let mut topics = Vec::new();
        for (present, directories, past, knows_log_dirs) in rounds {
            let directory = |(number, (name, in_log_dir)): (u64, (usize, bool))| Directory {
                inode: known(100 + number),
                parent: known(if in_log_dir { LOG_DIR } else { 7 }),
                name: NAMES[name].into(),
            };
            let mut facts = facts();
            if !knows_log_dirs {
                facts.log_dir_inodes.clear();
            }
            let directories: Vec<_> = directories.into_iter().map(directory).collect();
            let present = Snapshot { files: files(present), directories, ..Snapshot::default() };
            let past = Snapshot { files: files(past), directories: vec![directory((2, (3, true)))], ..Snapshot::default() };
            let (window, attach) = (
                Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::StillRunning },
                Attach::default(),
            );
            let built = builder.build(&[&present, &past], &facts, window.clone(), attach.clone(), topics);
            prop_assert_eq!(&built, &build(&present.plus(&past), &facts, window, attach));
            topics = builder.take_back(built);
        }
    }
}
