//! A real broker that converts messages for a consumer of an old format: it reads the log and sends what it made of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use serde_json::Value;
use support::{Watching, ZCTRACE, alone, need};
use testkit::kafka::{Broker, BrokerOptions, Clients, KAFKA_VERSION_THAT_CONVERTS, Kafka, Listener, Produce};

const BYTES: u64 = 20_000_000;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// What a consumer of Kafka 0.9 gets, whose fetches ask for messages as they were then: bytes of values.
fn consume_as_of_old(port: u16, topic: &str) -> u64 {
    let output = Command::new("kcat")
        .args(["-C", "-e", "-q", "-u", "-o", "beginning", "-D", "", "-t", topic, "-b", &format!("127.0.0.1:{port}")])
        .args(["-X", "api.version.request=false", "-X", "broker.version.fallback=0.9.0.1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.len().try_into().unwrap()
}

#[test]
fn data_converted_for_an_old_client_are_told_by_topic() {
    let _alone = alone();
    need("kcat");
    let kafka = Kafka::install_version(KAFKA_VERSION_THAT_CONVERTS, &|step| eprintln!("{step}")).unwrap();
    let options = BrokerOptions { listeners: vec![Listener::plain("PLAINTEXT")], ..BrokerOptions::default() };
    let broker = Broker::start(&kafka, &options).unwrap();
    let clients = Clients::new(&kafka, &broker);
    for topic in ["orders", "payments"] {
        clients.create_topic(topic, 1).unwrap();
        clients.produce(&Produce::new(topic, "PLAINTEXT", BYTES)).unwrap();
    }
    let mut command = Command::new(ZCTRACE);
    let watching = Watching::start(command.args(["--pid", &broker.pid().to_string(), "--output", "json"]));
    let port = broker.port("PLAINTEXT").unwrap();
    assert_eq!(consume_as_of_old(port, "orders"), BYTES);
    // A client of today reads the other topic by the same listener.
    assert_eq!(clients.consume("payments", "PLAINTEXT").unwrap().bytes, BYTES);
    watching.process.signal(libc::SIGINT);
    let (status, out, err) = watching.finish();
    assert_eq!(status, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let plain = report["listeners"].as_array().unwrap().iter().find(|of| of["name"] == "PLAINTEXT").unwrap();
    let flow = |topic: &str| plain["flows"].as_array().unwrap().iter().find(|flow| flow["topic"] == topic).unwrap();
    let (old, new) = (flow("orders"), flow("payments"));
    assert_eq!(old["reason"], "log_read", "{plain:#}");
    assert!(number(&old["copied_bytes"]) >= BYTES / 2, "{plain:#}");
    assert!(number(&new["zero_copy_bytes"]) >= BYTES && new["reason"].is_null(), "{plain:#}");
    let reasons = plain["reasons"].as_array().unwrap();
    assert_eq!(reasons[0]["code"], "log_read", "{reasons:#?}");
    assert_eq!(reasons.iter().map(|reason| number(&reason["bytes"])).sum::<u64>(), number(&plain["copied_bytes"]));
    assert!(plain["why"].as_str().unwrap().contains("reads of the log without TLS"), "{plain:#}");
    let advice = report["advice"].as_array().unwrap();
    assert!(advice.iter().any(|advice| advice["id"] == "log_read_without_tls"), "{advice:#?}");
}
