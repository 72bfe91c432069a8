//! A real broker with remote (tiered) storage: a thread of its own reads what left the log directory, a network thread sends it
//! from memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Watching, ZCTRACE, alone};
use testkit::kafka::{Broker, BrokerOptions, Clients, Kafka, Listener, Produce};

const BYTES: u64 = 20_000_000;
/// A segment that is closed and the one that is written to.
const LOCAL_BYTES: u64 = 2 << 20;
/// What is at least remote then: a part of a batch may be local, and there is more in a log than values.
const REMOTE_BYTES: u64 = BYTES - LOCAL_BYTES;
/// How long the broker may take to move segments away.
const PATIENCE: Duration = Duration::from_secs(120);

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn wait_until_most_is_remote(broker: &Broker) {
    let started = Instant::now();
    // While segments are deleted the folder's listing may be out of date.
    while !broker.log_bytes("orders").is_ok_and(|bytes| bytes <= LOCAL_BYTES) {
        assert!(started.elapsed() < PATIENCE, "segments stay in the log directory:\n{}", broker.log_tail());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn remote_segments_are_told_from_what_is_sent_by_zero_copy() {
    let _alone = alone();
    let kafka = Kafka::install(&|step| eprintln!("{step}")).unwrap();
    let kafka = kafka.with_remote_storage(&|step| eprintln!("{step}")).unwrap();
    // What the broker itself reads and writes about remote segments goes through the first one.
    let listeners = vec![Listener::plain("INTERNAL"), Listener::plain("PLAINTEXT")];
    let broker =
        Broker::start(&kafka, &BrokerOptions { listeners, remote_storage: true, ..Default::default() }).unwrap();
    let clients = Clients::new(&kafka, &broker);
    let tiered =
        [("remote.storage.enable", "true"), ("segment.bytes", "1048576"), ("local.retention.bytes", "1048576")];
    clients.create_topic_with("orders", 1, &tiered).unwrap();
    clients.create_topic("payments", 1).unwrap();
    for topic in ["orders", "payments"] {
        clients.produce(&Produce::new(topic, "PLAINTEXT", BYTES)).unwrap();
    }
    wait_until_most_is_remote(&broker);
    let mut command = Command::new(ZCTRACE);
    let watching = Watching::start(command.args(["--pid", &broker.pid().to_string(), "--output", "json"]));
    let consumed = ["orders", "payments"].map(|topic| clients.consume(topic, "PLAINTEXT").unwrap());
    watching.process.signal(libc::SIGINT);
    let (status, out, err) = watching.finish();
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(consumed.map(|moved| moved.bytes), [BYTES; 2]);
    let report: Value = serde_json::from_str(&out).unwrap();
    let plain = report["listeners"].as_array().unwrap().iter().find(|of| of["name"] == "PLAINTEXT").unwrap();
    assert_eq!(number(&plain["egress_bytes"]), consumed.iter().map(|moved| moved.incoming_bytes).sum::<u64>());
    assert_eq!(number(&plain["zero_copy_bytes"]) + number(&plain["copied_bytes"]), number(&plain["egress_bytes"]));
    assert!(number(&plain["copied_bytes"]) >= REMOTE_BYTES, "{plain:#}");
    // What was local left by zero copy, of a topic that has no remote segments all of it.
    let flow = |topic: Option<&str>| plain["flows"].as_array().unwrap().iter().find(|of| of["topic"].as_str() == topic);
    assert!(number(&flow(Some("payments")).unwrap()["zero_copy_bytes"]) >= BYTES, "{plain:#}");
    assert!(flow(Some("payments")).unwrap()["reason"].is_null(), "{plain:#}");
    assert_eq!(flow(None).unwrap()["reason"], "remote_segments", "{plain:#}");
    // What a full socket took of a segment can be as small as headers are.
    let reasons = plain["reasons"].as_array().unwrap();
    let codes: Vec<_> = reasons.iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!(codes[0], "remote_segments", "{plain:#}");
    assert!(codes.iter().all(|code| ["remote_segments", "headers"].contains(code)), "{plain:#}");
    assert!(number(&reasons[0]["bytes"]) >= REMOTE_BYTES / 2, "{plain:#}");
    assert_eq!(reasons.iter().map(|reason| number(&reason["bytes"])).sum::<u64>(), number(&plain["copied_bytes"]));
    assert!(plain["why"].as_str().unwrap().contains("remote (tiered) segments"), "{plain:#}");
    let advice = report["advice"].as_array().unwrap();
    assert!(advice.iter().any(|advice| advice["id"] == "remote_segments_read"), "{advice:#?}");
    assert!(advice.iter().all(|advice| advice["id"] != "log_read_without_tls"), "{advice:#?}");
    // Threads that sent nothing read the segments as they lie in the remote storage.
    let folder = std::fs::read_dir(broker.remote_dir().join("kafka-tiered-storage")).unwrap().filter_map(Result::ok);
    let folder =
        folder.map(|entry| entry.file_name().into_string().unwrap()).find(|name| name.starts_with("orders-0-"));
    let files = report["files"].as_array().unwrap().iter();
    let remote = files.filter(|of| of["directory"].as_str() == folder.as_deref());
    let read: u64 = remote.map(|of| number(&of["copied_read_bytes"])).sum();
    assert!(folder.is_some() && read >= REMOTE_BYTES, "{folder:?} {:#}", report["files"]);
    assert!(number(&report["unsent_read_bytes"]) >= read, "{:#}", report["unsent_read_bytes"]);
}
