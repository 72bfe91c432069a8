//! A real broker whose kernel refuses `sendfile`, as on a file system that can't do it: its JVM maps the segments and writes out
//! the mapping, which no read call shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use serde_json::Value;
use support::{Watching, ZCTRACE, alone, refuse};
use testkit::kafka::{Broker, BrokerOptions, Clients, Kafka, Produce};

const BYTES: u64 = 20_000_000;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn a_broker_that_may_not_send_by_sendfile_is_told_so() {
    let _alone = alone();
    let kafka = Kafka::install(&|step| eprintln!("{step}")).unwrap();
    // The kernel's hooks see such calls like those that a file system refuses.
    refuse(libc::SYS_sendfile, libc::EINVAL).unwrap();
    let broker = Broker::start(&kafka, &BrokerOptions::default()).unwrap();
    let clients = Clients::new(&kafka, &broker);
    clients.create_topic("orders", 1).unwrap();
    clients.produce(&Produce::new("orders", "PLAINTEXT", BYTES)).unwrap();
    let mut command = Command::new(ZCTRACE);
    let watching = Watching::start(command.args(["--pid", &broker.pid().to_string(), "--output", "json"]));
    let consumed = clients.consume("orders", "PLAINTEXT").unwrap();
    watching.process.signal(libc::SIGINT);
    let (status, out, err) = watching.finish();
    assert_eq!(status, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let plain = report["listeners"].as_array().unwrap().iter().find(|of| of["name"] == "PLAINTEXT").unwrap();
    assert_eq!((number(&plain["zero_copy_bytes"]), number(&plain["egress_bytes"])), (0, consumed.incoming_bytes));
    let errors = report["errors"].as_array().unwrap();
    assert!(errors.iter().any(|of| of["syscall"] == "sendfile" && of["errno"] == "EINVAL"), "{errors:#?}");
    // What a full socket took of the mapping can be as small as headers are; such writes can't be told from them.
    let reasons = plain["reasons"].as_array().unwrap();
    let codes: Vec<_> = reasons.iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert!(
        codes.contains(&"sendfile_refused") && codes.iter().all(|code| ["sendfile_refused", "headers"].contains(code))
    );
    let refused = reasons.iter().find(|reason| reason["code"] == "sendfile_refused").unwrap();
    assert!(number(&refused["bytes"]) >= consumed.bytes / 2, "{reasons:#?}");
    assert_eq!(reasons.iter().map(|reason| number(&reason["bytes"])).sum::<u64>(), number(&plain["copied_bytes"]));
    assert!(plain["why"].as_str().unwrap().contains("sendfile refused by the kernel"), "{plain:#}");
}
