//! A real broker whose logs are not in memory: a consumer that lags, on file systems of two kinds, beside the kernel's account
//! of the process, the block device's own, and fincore.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use support::{Watching, ZCTRACE, alone, assert_nothing_left, need, volume::Volume};
use testkit::kafka::{Broker, BrokerOptions, Clients, Kafka, Produce};
use zctrace::exercise::drop_from_cache;

const TOPIC: &str = "lagging";
const BYTES: u64 = 30_000_000;
/// What may be read beside the log while it is watched: file systems' own blocks, parts of pages.
const BESIDE: u64 = 1 << 20;
/// The same of the whole process: classes and libraries that it needs for the first time.
const BESIDE_OF_PROCESS: u64 = 16 << 20;

fn segments(broker: &Broker) -> Vec<PathBuf> {
    let files = fs::read_dir(broker.log_dir().join(format!("{TOPIC}-0"))).unwrap();
    let mut segments: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments
}

/// What util-linux's fincore says: bytes in memory.
fn in_memory(paths: &[PathBuf]) -> u64 {
    let output = Command::new("fincore").args(["-b", "-n", "-o", "RES"]).args(paths).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(|bytes| bytes.parse::<u64>().unwrap()).sum()
}

/// Bytes that were read from the block device below a directory (Documentation/admin-guide/iostats.rst).
fn device_reads(path: &Path) -> u64 {
    let device = fs::metadata(path).unwrap().dev();
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{number}/stat")).unwrap();
    stat.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap() * 512
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn brought_in(cache: &Value) -> u64 {
    number(&cache["asked_bytes"]) + number(&cache["read_ahead_bytes"])
}

/// The report of the time in which the topic is read through a listener.
fn watch_reading(broker: &Broker, clients: &Clients<'_>, listener: &str) -> Value {
    watch(broker, || assert_eq!(clients.consume(TOPIC, listener).unwrap().bytes, BYTES))
}

/// The report of the time in which something is done.
fn watch(broker: &Broker, act: impl FnOnce()) -> Value {
    let pid = broker.pid().to_string();
    let watching = Watching::start(Command::new(ZCTRACE).args(["--pid", &pid, "--output", "json"]));
    act();
    watching.process.signal(libc::SIGINT);
    let (code, out, err) = watching.finish();
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str(&out).unwrap()
}

fn find<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|entry| entry[key] == value)
        .unwrap_or_else(|| panic!("no {value} in {list:#}"))
}

#[test]
fn a_lagging_consumer_reads_from_disk_once_and_then_from_memory() {
    let _alone = alone();
    need("fincore");
    let kafka = Kafka::install(&|step| eprintln!("{step}")).unwrap();
    for kind in ["ext4", "xfs"] {
        need(&format!("mkfs.{kind}"));
        let volume = Volume::new(kind, 1024);
        let options = BrokerOptions { dir: Some(volume.path().join("broker")), ..BrokerOptions::default() };
        let broker = Broker::start(&kafka, &options).unwrap();
        let clients = Clients::new(&kafka, &broker);
        clients.create_topic(TOPIC, 1).unwrap();
        let report = watch(&broker, || {
            assert_eq!(clients.produce(&Produce::new(TOPIC, "PLAINTEXT", BYTES)).unwrap().bytes, BYTES);
        });
        let appended = &find(&report["topics"], "topic", TOPIC)["order"]["written"];
        assert_eq!(
            (&appended["random_bytes"], appended["sequential_ratio"].as_f64()),
            (&0.into(), Some(1.0)),
            "{kind}: {appended}"
        );
        assert!(number(&appended["sequential_bytes"]) >= BYTES, "{kind}: {appended}");
        let segments = segments(&broker);
        let log: u64 = segments.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        for (listener, from_disk) in [("PLAINTEXT", true), ("PLAINTEXT", false), ("SSL", true)] {
            if from_disk {
                segments.iter().for_each(|path| drop_from_cache(&fs::File::open(path).unwrap()).unwrap());
                assert_eq!(in_memory(&segments), 0);
            }
            let before = device_reads(&volume.path());
            let report = watch_reading(&broker, &clients, listener);
            let of_device = device_reads(&volume.path()) - before;
            let context = format!("{kind}, {listener}, {from_disk}: {:#}", report["page_cache"]);
            let topic = &find(&report["topics"], "topic", TOPIC)["cache"];
            let of_listener = find(&report["page_cache"]["listeners"], "name", listener);
            assert!(number(&topic["read_bytes"]) >= log, "{context}");
            if from_disk {
                let came = brought_in(topic);
                assert!((log..log + BESIDE).contains(&came), "{log} {came} {context}");
                // The broker itself reads the heads of batches to find where the consumer is.
                assert!((came - BESIDE / 8..=came).contains(&brought_in(of_listener)), "{context}");
                assert!((came..came + BESIDE).contains(&of_device), "{came} {of_device} {context}");
                let of_process = number(&report["page_cache"]["disk_read_bytes"]);
                assert!((came..came + BESIDE_OF_PROCESS).contains(&of_process), "{came} {of_process} {context}");
            } else {
                assert_eq!((brought_in(topic), topic["hit_ratio"].as_f64()), (0, Some(1.0)), "{context}");
                assert!(of_device < BESIDE, "{of_device} {context}");
            }
            // A consumer reads in sequence, whatever the listener; the broker's look for a batch's head is all that jumps.
            let read = &find(&report["topics"], "topic", TOPIC)["order"]["read"];
            assert!(read["sequential_ratio"].as_f64().unwrap() > 0.99, "{listener}: {read}");
            let partition = find(&report["residency"]["partitions"], "topic", TOPIC);
            let resident = number(&partition["active_resident_bytes"]) + number(&partition["older_resident_bytes"]);
            // fincore tells whole pages, also of the last one.
            assert_eq!(resident, in_memory(&segments).min(log), "{context}");
            assert_eq!(resident, log, "all of it was read: {context}");
            assert_eq!(report["machine"]["log_dirs"][0]["file_system"], kind);
            assert!(report["machine"]["java"]["heap_used_bytes"].as_u64().unwrap() > 0);
        }
    }
    assert_nothing_left();
}
