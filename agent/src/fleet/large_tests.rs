//! A broker with ten thousand partitions and 64 listeners, without a kernel.
#![allow(clippy::unwrap_used)]

use agent_ebpf::{Endpoint, FileBytes, InodeKey, SIZE_BUCKETS, Syscall};

use super::{
    TopicPolicy, View,
    admission::{Series, TopicSeries},
};
use crate::{
    output::{self, Style, prometheus},
    report::{self, Attach, EndedBy, Facts, KnownListener, OTHER, Report, Window},
    snapshot::{Directory, File, SentByPort, Snapshot, Transfer, TransferId},
    target::Surroundings,
};

const PARTITIONS: u64 = 10_000;
const LISTENERS: u16 = 64;
const FIRST_PORT: u16 = 20_000;
const SENT: u64 = 1000;

fn inode(number: u64) -> InodeKey {
    InodeKey { inode: number, ..InodeKey::default() }
}

/// Each partition has one segment, of which as many bytes were read by zero copy as its number says.
fn snapshot(log_dir: InodeKey) -> Snapshot {
    let mut sizes = [0; SIZE_BUCKETS];
    sizes[9] = 1;
    let transfer = |port: u16| Transfer {
        id: TransferId {
            syscall: Syscall::Sendfile,
            source: Endpoint::File,
            sink: Endpoint::Socket,
            port: port.into(),
            msg_zerocopy: false,
            tls: false,
            of_file: false,
        },
        bytes: SENT,
        carried_file_bytes: 0,
        sizes,
    };
    let file = |number: u64| File {
        inode: inode(2_000_000 + number),
        moved: FileBytes { bytes: [number, 0, 0], calls: [1, 0, 0] },
        directory: inode(1_000_000 + number),
        name: "00000000000000000000.log".into(),
        sent: SentByPort::default(),
    };
    let directory = |number: u64| Directory {
        inode: inode(1_000_000 + number),
        parent: log_dir,
        name: format!("topic-{}-{}", number / 10, number % 10).into(),
    };
    Snapshot {
        transfers: (FIRST_PORT..FIRST_PORT + LISTENERS).map(transfer).collect(),
        files: (1..=PARTITIONS).map(file).collect(),
        directories: (1..=PARTITIONS).map(directory).collect(),
        ..Snapshot::default()
    }
}

fn report() -> Report {
    let mut facts: Facts = report::tests::facts();
    facts.listeners = (FIRST_PORT..FIRST_PORT + LISTENERS)
        .map(|port| KnownListener {
            port,
            name: format!("L{port}"),
            protocol: Some("PLAINTEXT".to_owned()),
            used_by: crate::kafka::UsedBy::Clients,
        })
        .collect();
    let log_dir = inode(*facts.log_dir_inodes.iter().next().unwrap());
    let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::StillRunning };
    report::build(&snapshot(log_dir), &facts, window, Attach { leg: "raw".to_owned(), ..Attach::default() })
}

fn exposition(topics: usize, listeners: usize) -> String {
    let mut report = report();
    let mut series = Series::new(TopicPolicy { limit: topics, ..TopicPolicy::default() }, listeners, 0);
    let mut shown = TopicSeries::default();
    let folded_topics = series.topics(&report, &mut shown);
    let folded_listeners = series.fold_listeners(&mut report);
    let lately = report.listeners.iter().map(|l| ((l.port, l.name.clone()), l.egress)).collect();
    let view = View {
        name: "kafka-1".to_owned(),
        running: true,
        processes: 1,
        report,
        series: shown,
        folded_topics,
        folded_listeners,
        flows: Vec::new(),
        took: Vec::new(),
        clients: Vec::new(),
        lately,
        surroundings: Surroundings::default(),
    };
    prometheus::tests::exposition(&[view])
}

fn samples<'a>(text: &'a str, name: &str) -> Vec<(&'a str, u64)> {
    let lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, value)| (series, value.parse().unwrap())).collect()
}

fn sum(samples: &[(&str, u64)]) -> u64 {
    samples.iter().map(|(_, value)| value).sum()
}

const READ: u64 = PARTITIONS * (PARTITIONS + 1) / 2;

#[test]
fn all_of_it_has_series_where_the_limits_allow() {
    let text = exposition(100_000, 64);
    let topics = samples(&text, "zctrace_topic_bytes_total");
    assert_eq!((topics.len() as u64, sum(&topics)), (3 * PARTITIONS, READ));
    let egress = samples(&text, "zctrace_egress_bytes_total");
    assert_eq!((egress.len(), sum(&egress)), (2 * usize::from(LISTENERS), u64::from(LISTENERS) * SENT));
    assert_eq!(
        samples(&text, "zctrace_folded_topic_partitions_total"),
        [("zctrace_folded_topic_partitions_total{target=\"kafka-1\"}", 0)]
    );
    assert!(!text.contains(&format!("\"{OTHER}\"")));
    assert!(text.len() < 5 << 20, "{} bytes", text.len());
}

#[test]
fn limits_fold_the_rest_and_lose_nothing() {
    let text = exposition(1000, 8);
    let topics = samples(&text, "zctrace_topic_bytes_total");
    assert_eq!((topics.len(), sum(&topics)), (3 * 1001, READ));
    let other: Vec<_> = topics.iter().filter(|(series, _)| series.contains("topic=\"(other)\"")).copied().collect();
    // The largest thousand came first.
    assert_eq!((other.len(), sum(&other)), (3, 9000 * 9001 / 2));
    assert_eq!(samples(&text, "zctrace_folded_topic_partitions_total")[0].1, PARTITIONS - 1000);
    let egress = samples(&text, "zctrace_egress_bytes_total");
    assert_eq!((egress.len(), sum(&egress)), (2 * 9, u64::from(LISTENERS) * SENT));
    assert_eq!(samples(&text, "zctrace_folded_listeners_total")[0].1, u64::from(LISTENERS) - 8);
    let transfers = samples(&text, "zctrace_transfer_bytes_total");
    assert_eq!((transfers.len(), sum(&transfers)), (9, u64::from(LISTENERS) * SENT));
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
}

#[test]
fn the_page_shows_the_largest_and_the_document_everything() {
    let report = report();
    let page = output::table::render(&report, &Style { width: 120, ..Style::default() });
    assert!(page.contains("topic-1000-0") && page.len() < 64 << 10, "{} bytes", page.len());
    let document: serde_json::Value = serde_json::from_str(&output::json::render(&report).unwrap()).unwrap();
    assert_eq!(document["topics"].as_array().unwrap().len() as u64, PARTITIONS);
}
