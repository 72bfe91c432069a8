//! A real broker and its clients, end to end. Needs Java 17, Maven and, the first time, Maven Central.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpStream;
use std::path::Path;

use testkit::kafka::{Broker, BrokerOptions, Clients, Fetcher, Kafka, KafkaError, Listener, Moved, Produce};

fn kafka() -> Kafka {
    Kafka::install(&|step| eprintln!("{step}")).unwrap()
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// What a client moved beyond the values themselves stays small, and is never less than nothing.
fn assert_overhead(moved: u64, useful: u64, most_percent: u64) {
    assert!(moved >= useful, "{moved} of {useful}");
    assert!(moved - useful <= useful * most_percent / 100, "{moved} of {useful}");
}

#[test]
fn what_is_produced_is_consumed_through_every_listener() {
    const BYTES: u64 = 40_000_123;
    let kafka = kafka();
    let mut options = BrokerOptions::default();
    options.listeners.push(Listener::plain("INTERNAL"));
    options.properties.push(("num.network.threads".into(), "2".into()));
    let mut broker = Broker::start(&kafka, &options).unwrap();
    let (pid, dir) = (broker.pid(), broker.dir().to_owned());
    assert!(std::fs::read_to_string(broker.config()).unwrap().contains("num.network.threads=2"));

    let clients = Clients::new(&kafka, &broker);
    clients.create_topic("orders", 3).unwrap();
    let produced = clients.produce(&Produce::new("orders", "SSL", BYTES)).unwrap();
    eprintln!("produced through SSL: {produced:?}");
    assert_eq!((produced.records, produced.bytes), (4001, BYTES));
    assert_overhead(produced.outgoing_bytes, BYTES, 2);
    let segments = broker.log_bytes("orders").unwrap();
    assert_overhead(segments, BYTES, 1);
    for listener in ["PLAINTEXT", "SSL", "INTERNAL"] {
        let Moved { records, bytes, incoming_bytes, .. } = clients.consume("orders", listener).unwrap();
        eprintln!("consumed through {listener}: {incoming_bytes} bytes came, {segments} bytes lie in segments");
        assert_eq!((records, bytes), (4001, BYTES), "{listener}");
        assert_overhead(incoming_bytes, segments, 1);
        let mut fetcher = Fetcher::connect(&broker, listener, "orders", 3).unwrap();
        // A MiB of each partition; the end, and the beginning again, are among them.
        let fetched: Vec<u64> = (0..30).map(|_| fetcher.fetch().unwrap()).collect();
        assert!(fetched.iter().filter(|bytes| (3_000_000..3_200_000).contains(*bytes)).count() > 20, "{fetched:?}");
        assert!(fetched.iter().any(|bytes| *bytes < 2_900_000), "{fetched:?}");
    }

    let port = broker.port("PLAINTEXT").unwrap();
    broker.restart().unwrap();
    assert_ne!(broker.pid(), pid);
    assert!(!alive(pid));
    assert_eq!(broker.port("PLAINTEXT").unwrap(), port);
    assert_eq!(Clients::new(&kafka, &broker).consume("orders", "PLAINTEXT").unwrap().bytes, BYTES);

    let pid = broker.pid();
    drop(broker);
    assert!(!alive(pid));
    assert!(!dir.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_folder_is_started_again_with_its_data() {
    let kafka = kafka();
    let dir = tempfile::tempdir().unwrap();
    let options = BrokerOptions {
        dir: Some(dir.path().to_owned()),
        listeners: vec![Listener::plain("PLAINTEXT")],
        ..BrokerOptions::default()
    };
    let mut broker = Broker::start(&kafka, &options).unwrap();
    let clients = Clients::new(&kafka, &broker);
    clients.create_topic("kept", 1).unwrap();
    clients.produce(&Produce::new("kept", "PLAINTEXT", 1_000_000)).unwrap();
    // The hard way: what was acknowledged is there all the same.
    broker.kill().unwrap();
    drop(broker);
    let again = Broker::start(&kafka, &options).unwrap();
    let clients = Clients::new(&kafka, &again);
    assert_eq!(clients.consume("kept", "PLAINTEXT").unwrap().bytes, 1_000_000);
}

#[test]
fn errors_say_what_the_broker_said() {
    let kafka = kafka();
    let wrong = BrokerOptions {
        properties: vec![("num.network.threads".into(), "none".into())],
        listeners: vec![Listener::plain("PLAINTEXT")],
        ..BrokerOptions::default()
    };
    let error = Broker::start(&kafka, &wrong).unwrap_err();
    assert!(matches!(error, KafkaError::Failed { .. }));
    assert!(error.to_string().contains("num.network.threads"), "{error}");
}
