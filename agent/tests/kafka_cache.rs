//! A real broker whose logs are not in memory: a consumer that lags, on file systems of two kinds, one for all logs or several
//! at once, beside the kernel's account of the process, the block devices' own, and fincore; and a consumer that jumps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use support::{
    Watching, ZCTRACE, alone, assert_nothing_left, need,
    volume::{Volume, while_the_cache_lasts},
};
use testkit::kafka::{Broker, BrokerOptions, Clients, Kafka, Produce};
use zctrace::exercise::drop_from_cache;

const TOPIC: &str = "lagging";
const BYTES: u64 = 30_000_000;
/// What may be read beside the log while it is watched: file systems' own blocks, parts of pages.
const BESIDE: u64 = 1 << 20;
/// The same of the whole process: classes and libraries that it needs for the first time.
const BESIDE_OF_PROCESS: u64 = 16 << 20;

fn segments(partition: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(partition).unwrap();
    let mut segments: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments
}

fn bytes(segments: &[PathBuf]) -> u64 {
    segments.iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn drop_all(segments: &[PathBuf]) {
    segments.iter().for_each(|path| drop_from_cache(&fs::File::open(path).unwrap()).unwrap());
    assert_eq!(in_memory(segments), 0);
}

/// What util-linux's fincore says: bytes in memory.
fn in_memory(paths: &[PathBuf]) -> u64 {
    let output = Command::new("fincore").args(["-b", "-n", "-o", "RES"]).args(paths).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(|bytes| bytes.parse::<u64>().unwrap()).sum()
}

/// Number of the block device below a directory, `major:minor`.
fn device(path: &Path) -> String {
    let device = fs::metadata(path).unwrap().dev();
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

/// Bytes that were read from the block device below a directory (Documentation/admin-guide/iostats.rst).
fn device_reads(path: &Path) -> u64 {
    let stat = fs::read_to_string(format!("/sys/dev/block/{}/stat", device(path))).unwrap();
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
    while_the_cache_lasts(|| {
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
            let segments = segments(&broker.log_dir().join(format!("{TOPIC}-0")));
            let log = bytes(&segments);
            for (listener, from_disk) in [("PLAINTEXT", true), ("PLAINTEXT", false), ("SSL", true)] {
                if from_disk {
                    drop_all(&segments);
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
    });
}

/// A log directory on a volume of its own, and the segments of each partition of [`SPREAD`] that the broker put there.
struct Place<'a> {
    volume: &'a Volume,
    dir: PathBuf,
    partitions: Vec<(u64, Vec<PathBuf>)>,
}

const SPREAD: &str = "spread";
const PARTITIONS: u32 = 9;
const SPREAD_BYTES: u64 = 54_000_000;

impl<'a> Place<'a> {
    fn new(volume: &'a Volume) -> Self {
        let dir = volume.path().join("logs");
        let folders = fs::read_dir(&dir).unwrap().map(|folder| folder.unwrap().path());
        let partitions = folders.filter_map(|folder| {
            let number = folder.file_name()?.to_str()?.strip_prefix(SPREAD)?.strip_prefix('-')?.parse().ok()?;
            Some((number, segments(&folder)))
        });
        Self { partitions: partitions.collect(), volume, dir }
    }

    /// What the report says of its partitions agrees with what fincore and its own block device say; returns what came
    /// from disk.
    fn check(&self, report: &Value, from_disk: bool, of_device: u64) -> u64 {
        let of = |list: &Value, index: u64| {
            let partition = |of: &&Value| of["topic"] == SPREAD && of["partition"] == index;
            list.as_array().unwrap().iter().find(partition).unwrap_or_else(|| panic!("{index}: {list:#}")).clone()
        };
        let mut came = 0;
        for (index, segments) in &self.partitions {
            let (log, cache) = (bytes(segments), of(&report["topics"], *index)["cache"].clone());
            let resident = of(&report["residency"]["partitions"], *index);
            let resident = number(&resident["active_resident_bytes"]) + number(&resident["older_resident_bytes"]);
            // fincore tells whole pages, also of a last one that is not full.
            let in_memory = in_memory(segments);
            assert!((resident..resident + 4096).contains(&in_memory), "{index}: {resident} {in_memory} of {log}");
            assert!(resident > log / 2, "{index}: all of it was read just now");
            assert!(number(&cache["read_bytes"]) >= log, "{index}: {cache}");
            let brought_in = brought_in(&cache);
            let expected = if from_disk { log..log + BESIDE } else { 0..log / 10 };
            assert!(expected.contains(&brought_in), "{index}: {log} {cache}");
            came += brought_in;
        }
        let kind = self.volume.name();
        assert!((came..came + BESIDE).contains(&of_device), "{kind}: {came} {of_device} {from_disk}");
        came
    }

    /// The report says what it lies on.
    fn check_machine(&self, report: &Value, summary: &str) {
        let path = self.dir.display().to_string();
        let dir = find(&report["machine"]["log_dirs"], "path", &path);
        let home = fs::canonicalize(format!("/sys/dev/block/{}", device(&self.dir))).unwrap();
        let name = home.file_name().unwrap().to_str().unwrap();
        let image = fs::read_to_string(home.join("loop/backing_file")).unwrap();
        let (kind, source) = (self.volume.name(), format!("/dev/{name}"));
        assert_eq!((&dir["file_system"], &dir["source"]), (&kind.into(), &source.clone().into()), "{dir}");
        assert_eq!(dir["device"], device(&self.dir), "{dir}");
        let options = dir["mount_options"].as_str().unwrap();
        assert!(options.split(',').any(|option| option == "rw"), "{options}");
        let block = &dir["block"][0];
        assert_eq!((&block["name"], &block["backing_file"]), (&name.into(), &image.trim().into()), "{dir}");
        let sentence = format!("{path}: {kind} on {source} ({options}); {name}: a loop over {}", image.trim());
        assert!(summary.contains(&sentence), "{sentence}\n{summary}");
    }
}

/// Two of a kind, so that inode numbers of one are those of the other, too.
#[test]
fn log_directories_on_several_devices_are_each_told_and_counted() {
    let _alone = alone();
    need("fincore");
    let kafka = Kafka::install(&|step| eprintln!("{step}")).unwrap();
    let volumes = ["ext4", "xfs", "ext4"].map(|kind| Volume::new(kind, 512));
    let dirs: Vec<_> = volumes.iter().map(|volume| volume.path().join("logs").display().to_string()).collect();
    let options =
        BrokerOptions { properties: vec![("log.dirs".to_owned(), dirs.join(","))], ..BrokerOptions::default() };
    let broker = Broker::start(&kafka, &options).unwrap();
    let clients = Clients::new(&kafka, &broker);
    clients.create_topic(SPREAD, PARTITIONS).unwrap();
    clients.produce(&Produce::new(SPREAD, "PLAINTEXT", SPREAD_BYTES)).unwrap();
    let places = volumes.each_ref().map(Place::new);
    assert!(places.iter().all(|place| place.partitions.len() > 1), "the broker spreads them");
    let all = || places.iter().flat_map(|place| &place.partitions).map(|(_, segments)| segments);
    assert_eq!(all().count(), PARTITIONS as usize);
    for (listener, from_disk) in [("PLAINTEXT", true), ("PLAINTEXT", false), ("SSL", true)] {
        if from_disk {
            all().for_each(|segments| drop_all(segments));
        }
        let before = places.each_ref().map(|place| device_reads(&place.dir));
        let report = watch(&broker, || {
            assert_eq!(clients.consume(SPREAD, listener).unwrap().bytes, SPREAD_BYTES);
        });
        let came: u64 = std::iter::zip(&places, before)
            .map(|(place, before)| place.check(&report, from_disk, device_reads(&place.dir) - before))
            .sum();
        let of_process = number(&report["page_cache"]["disk_read_bytes"]);
        assert!((came..came + BESIDE_OF_PROCESS).contains(&of_process), "{came} {of_process}");
        let pid = broker.pid().to_string();
        let summary = support::zctrace(&["--pid", &pid, "--duration", "1ms"]);
        // It breaks its lines.
        let summary = String::from_utf8(summary.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        places.iter().for_each(|place| place.check_machine(&report, &summary));
    }
    drop(broker);
    assert_nothing_left();
}

#[test]
fn a_consumer_that_jumps_is_told_from_one_that_reads_on() {
    const JUMPS: u32 = 200;
    const JUMPED: &str = "jumped";
    let _alone = alone();
    let kafka = Kafka::install(&|step| eprintln!("{step}")).unwrap();
    let broker = Broker::start(&kafka, &BrokerOptions::default()).unwrap();
    let clients = Clients::new(&kafka, &broker);
    for topic in [TOPIC, JUMPED] {
        clients.create_topic(topic, 1).unwrap();
        // Several records in a batch, and several batches in the distance of a jump.
        let small = Produce { record_bytes: 2000, batch_bytes: 16_384, ..Produce::new(topic, "PLAINTEXT", BYTES) };
        clients.produce(&small).unwrap();
    }
    for listener in ["PLAINTEXT", "SSL"] {
        let report = watch(&broker, || {
            std::thread::scope(|threads| {
                let jumping = threads.spawn(|| clients.jump(JUMPED, listener, JUMPS).unwrap());
                assert_eq!(clients.consume(TOPIC, listener).unwrap().bytes, BYTES);
                assert_eq!(jumping.join().unwrap().records, u64::from(JUMPS));
            });
        });
        let read = |topic| find(&report["topics"], "topic", topic)["order"]["read"].clone();
        let (on, jumped) = (read(TOPIC), read(JUMPED));
        assert!(on["sequential_ratio"].as_f64().unwrap() > 0.99, "{listener}: {on}");
        assert!(jumped["sequential_ratio"].as_f64().unwrap() < 0.5, "{listener}: {jumped}");
        // The first begins at the beginning, or nothing is known of what came before.
        assert!(number(&jumped["jumps"]) >= u64::from(JUMPS) - 1, "{listener}: {jumped}");
        let whole = number(&on["sequential_bytes"]);
        assert!(whole > BYTES / 100 * 99, "{listener}: {on}");
    }
    drop(broker);
    assert_nothing_left();
}
