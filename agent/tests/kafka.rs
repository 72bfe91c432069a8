//! Exactness on a real Kafka broker: beside the kernel's own account of it, the clients' count, and strace's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{PATIENCE, Running, Watching, ZCTRACE, alone, assert_nothing_left, need};
use testkit::kafka::{Broker, BrokerOptions, Clients, Kafka, Moved, Produce};

/// Calls whose bytes the kernel adds to `rchar`, and those whose bytes it adds to `wchar` (fs/read_write.c: what goes
/// through `vfs_read`, `vfs_write` and their vectored forms, `do_sendfile` and `vfs_copy_file_range` to both).
const READ_LIKE: [&str; 7] = ["read", "pread64", "readv", "preadv", "preadv2", "sendfile", "copy_file_range"];
const WRITE_LIKE: [&str; 7] = ["write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range"];

const BYTES: u64 = 60_000_123;

/// What moved through both listeners while it was watched.
struct Traffic {
    plain: [Moved; 2],
    ssl: [Moved; 2],
}

/// Produces and consumes through both listeners.
fn traffic(clients: &Clients<'_>, topic: &str, bytes: u64) -> Traffic {
    let [plain, ssl] = ["PLAINTEXT", "SSL"].map(|listener| {
        let produced = clients.produce(&Produce::new(topic, listener, bytes)).unwrap();
        assert_eq!(produced.bytes, bytes);
        produced
    });
    let [plain_read, ssl_read] = ["PLAINTEXT", "SSL"].map(|listener| {
        let consumed = clients.consume(topic, listener).unwrap();
        assert_eq!(consumed.bytes, 2 * bytes, "every value of both producers through {listener}");
        consumed
    });
    Traffic { plain: [plain, plain_read], ssl: [ssl, ssl_read] }
}

/// Stops every thread of a process, so that what is counted of it can be compared to the byte. A call that is under way
/// ends before its thread stops, with its bytes both in the kernel's account and in zctrace's.
struct Stopped<'a>(&'a Broker);

impl<'a> Stopped<'a> {
    fn new(broker: &'a Broker) -> Self {
        signal(broker, libc::SIGSTOP);
        let started = Instant::now();
        while !all_threads_stopped(broker.pid()) {
            assert!(started.elapsed() < PATIENCE, "the broker does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(broker)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        signal(self.0, libc::SIGCONT);
    }
}

fn signal(broker: &Broker, signal: i32) {
    // SAFETY: a signal to the broker's process, which its owner has not waited for.
    unsafe { libc::kill(i32::try_from(broker.pid()).unwrap(), signal) };
}

fn all_threads_stopped(pid: u32) -> bool {
    let stopped = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // T: by a signal; t: by a tracer, which strace is.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't']))
    };
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|thread| stopped(thread.unwrap()))
}

/// The kernel's own account of a process.
#[derive(Clone, Copy)]
struct Io {
    rchar: u64,
    wchar: u64,
    syscr: u64,
    syscw: u64,
}

impl Io {
    fn of(pid: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap().parse::<u64>().unwrap()
        };
        Self { rchar: field("rchar"), wchar: field("wchar"), syscr: field("syscr"), syscw: field("syscw") }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Sum of a field over an array's elements for these calls.
fn sum(report: &Value, array: &str, field: &str, syscalls: &[&str]) -> u64 {
    let elements = report[array].as_array().unwrap().iter();
    elements.filter(|e| syscalls.contains(&e["syscall"].as_str().unwrap())).map(|e| number(&e[field])).sum()
}

/// Calls of these names, however they ended.
fn all_calls(report: &Value, syscalls: &[&str]) -> u64 {
    ["transfers", "errors", "empty"].iter().map(|array| sum(report, array, "calls", syscalls)).sum()
}

fn listener<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["listeners"].as_array().unwrap().iter().find(|listener| listener["name"] == name).unwrap()
}

fn broker() -> (Kafka, Broker) {
    let kafka = Kafka::install(&|step| eprintln!("{step}")).unwrap();
    let broker = Broker::start(&kafka, &BrokerOptions::default()).unwrap();
    (kafka, broker)
}

fn watch(broker: &Broker, leg: &str, more: &[&str]) -> Watching {
    let mut command = Command::new(ZCTRACE);
    Watching::start(command.args(["--pid", &broker.pid().to_string(), "--attach", leg, "--output", "json"]).args(more))
}

fn finish(watching: Watching) -> Value {
    watching.process.signal(libc::SIGINT);
    let (status, out, err) = watching.finish();
    assert_eq!(status, Some(0), "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_real_broker_is_counted_as_the_kernel_and_the_clients_count() {
    let _alone = alone();
    let (kafka, broker) = broker();
    let clients = Clients::new(&kafka, &broker);
    for (leg, more) in [("raw", &[][..]), ("tracepoint", &["--latency", "--clients"])] {
        let topic = format!("orders-{leg}");
        clients.create_topic(&topic, 3).unwrap();
        let stopped = Stopped::new(&broker);
        let before = Io::of(broker.pid());
        let watching = watch(&broker, leg, more);
        drop(stopped);
        let traffic = traffic(&clients, &topic, BYTES);
        let stopped = Stopped::new(&broker);
        let after = Io::of(broker.pid());
        let report = finish(watching);
        drop(stopped);
        assert_eq!(report["attach"]["leg"], leg);
        assert_eq!(report["lost"]["updates"], 0, "{:#}", report["lost"]);
        assert_eq!(report["notes"], serde_json::json!([]));
        assert_like_the_kernel(&report, before, after);
        assert_like_the_clients(&report, &traffic);
        assert_topics(&report, &broker, &topic);
        assert_why(&report, &topic);
        assert_cost(&report);
        assert_eq!(report["latency"].is_null(), more.is_empty());
        if !more.is_empty() {
            assert_latency(&report, &topic);
            assert_clients(&report);
        }
        for (name, used_by) in [("PLAINTEXT", "brokers"), ("SSL", "clients"), ("CONTROLLER", "controllers")] {
            assert_eq!(listener(&report, name)["used_by"], used_by, "{name}");
        }
    }
    assert_nothing_left();
}

fn assert_like_the_kernel(report: &Value, before: Io, after: Io) {
    assert_eq!(sum(report, "transfers", "bytes", &READ_LIKE), after.rchar - before.rchar, "rchar");
    assert_eq!(sum(report, "transfers", "bytes", &WRITE_LIKE), after.wchar - before.wchar, "wchar");
    assert_eq!(all_calls(report, &READ_LIKE), after.syscr - before.syscr, "syscr");
    assert_eq!(all_calls(report, &WRITE_LIKE), after.syscw - before.syscw, "syscw");
}

fn assert_like_the_clients(report: &Value, traffic: &Traffic) {
    let incoming = |moved: &[Moved; 2]| moved.iter().map(|moved| moved.incoming_bytes).sum::<u64>();
    let outgoing = |moved: &[Moved; 2]| moved.iter().map(|moved| moved.outgoing_bytes).sum::<u64>();

    // On PLAINTEXT the clients' count is that of the bytes on the socket: equal, to the byte.
    let plain = listener(report, "PLAINTEXT");
    assert_eq!(number(&plain["egress_bytes"]), incoming(&traffic.plain));
    assert_eq!(number(&plain["ingress_bytes"]), outgoing(&traffic.plain));
    // What the consumer got are the segments' bytes by sendfile, and for each answer a header by writev: less than 1 %.
    let zero_copy = number(&plain["zero_copy_bytes"]);
    let consumed = &traffic.plain[1];
    assert!(zero_copy >= consumed.bytes, "{zero_copy} of {}", consumed.bytes);
    assert!(zero_copy <= consumed.incoming_bytes && zero_copy >= consumed.incoming_bytes / 100 * 99, "{zero_copy}");
    assert!(plain["zero_copy_ratio"].as_f64().unwrap() > 0.99);
    assert!(plain["copy_amplification"].as_f64().unwrap() < 0.02);

    // On SSL the clients count what is inside of TLS. Outside come 38 bytes a record (header 5, tag 16, type 1, Java's
    // padding 16) of at most 16 KiB, in practice 0.35 %, and the handshakes of at most eight connections of 4 KiB.
    let ssl = listener(report, "SSL");
    let (inside, outside) = (incoming(&traffic.ssl), number(&ssl["egress_bytes"]));
    assert!(outside > inside && outside <= inside + inside / 100 + 8 * 4096, "{outside} around {inside}");
    let (inside, outside) = (outgoing(&traffic.ssl), number(&ssl["ingress_bytes"]));
    assert!(outside > inside && outside <= inside + inside / 100 + 8 * 4096, "{outside} around {inside}");
    assert_eq!(ssl["zero_copy_bytes"], 0);
    assert_eq!(ssl["zero_copy_ratio"], 0.0);
    assert_eq!(ssl["copied_bytes"], ssl["egress_bytes"]);
    // Each byte is read from the page cache and written to the socket.
    let amplification = ssl["copy_amplification"].as_f64().unwrap();
    assert!((1.9..=2.05).contains(&amplification), "{amplification}");
}

fn assert_topics(report: &Value, broker: &Broker, topic: &str) {
    let partitions: Vec<_> =
        report["topics"].as_array().unwrap().iter().filter(|entry| entry["topic"] == topic).collect();
    assert_eq!(partitions.len(), 3, "{:#}", report["topics"]);
    let sum = |field: &str| partitions.iter().map(|partition| number(&partition[field])).sum::<u64>();
    let segments = broker.log_bytes(topic).unwrap();
    assert_eq!(sum("written_bytes"), segments, "every byte of the segments was written while it was watched");
    // Read once by zero copy, once copied; a batch that an answer cuts is read again.
    for field in ["zero_copy_read_bytes", "copied_read_bytes"] {
        let read = sum(field);
        assert!(read >= segments && read <= segments + segments / 50, "{field}: {read} of {segments}");
    }
}

/// Whose data left by which listener and why: the margins are the totals, and both listeners have their reason.
fn assert_why(report: &Value, topic: &str) {
    for listener in report["listeners"].as_array().unwrap() {
        let sum = |list: &str, field: &str| -> u64 {
            listener[list].as_array().unwrap().iter().map(|part| number(&part[field])).sum()
        };
        assert_eq!(sum("flows", "zero_copy_bytes"), number(&listener["zero_copy_bytes"]), "{listener:#}");
        assert_eq!(sum("flows", "copied_bytes"), number(&listener["copied_bytes"]), "{listener:#}");
        assert_eq!(sum("reasons", "bytes"), number(&listener["copied_bytes"]), "{listener:#}");
    }
    let of_topic = |listener: &Value, field: &str| -> u64 {
        let flows = listener["flows"].as_array().unwrap().iter().filter(|flow| flow["topic"] == topic);
        flows.map(|flow| number(&flow[field])).sum()
    };
    let topic_sum = |field: &str| -> u64 {
        let topics = report["topics"].as_array().unwrap().iter().filter(|entry| entry["topic"] == topic);
        topics.map(|entry| number(&entry[field])).sum()
    };
    let (plain, ssl) = (listener(report, "PLAINTEXT"), listener(report, "SSL"));
    assert_eq!(plain["reasons"][0]["code"], "headers");
    assert_eq!(plain["reasons"].as_array().unwrap().len(), 1, "{:#}", plain["reasons"]);
    assert_eq!(ssl["reasons"][0]["code"], "tls");
    assert_eq!(ssl["reasons"].as_array().unwrap().len(), 1, "{:#}", ssl["reasons"]);
    // One topic was read, once by each listener: what left of it is what was read of it.
    assert_eq!(of_topic(plain, "zero_copy_bytes"), topic_sum("zero_copy_read_bytes"));
    // Other threads read a little of it, headers of batches, and send nothing.
    let (sent, read) = (of_topic(ssl, "read_bytes"), topic_sum("copied_read_bytes"));
    assert!(sent <= read && sent >= read - read / 1000, "{sent} of {read}");
    // TLS adds its records' headers and tags to what was read. What was sent beyond as many bytes as were read has no topic.
    let (copied, read) = (of_topic(ssl, "copied_bytes"), of_topic(ssl, "read_bytes"));
    assert!(copied > read - read / 50 && copied < read + read / 50, "{copied} of {read}");
}

/// Times are not known beforehand; that they are there, and are parts of the whole, is.
fn assert_cost(report: &Value) {
    let seconds = |cost: &Value| cost["user_seconds"].as_f64().unwrap() + cost["kernel_seconds"].as_f64().unwrap();
    let process = seconds(&report["cost"]);
    let mut listeners = 0.0;
    for name in ["PLAINTEXT", "SSL"] {
        let cost = &listener(report, name)["cost"];
        assert!(number(&cost["threads"]) >= 1 && cost["shared_threads"] == 0, "{cost:#}");
        assert!(seconds(cost) > 0.0, "{cost:#}");
        listeners += seconds(cost);
    }
    let other = report["cost"]["other_seconds"].as_f64().unwrap();
    assert!(listeners + other <= process + 0.01, "{listeners} and {other} of {process}");
    // Without TLS the log is sent, headers are written and requests are read; with it, each 32 KiB is read and written, too.
    let calls = |name: &str| listener(report, name)["cost"]["calls_per_gb"].as_f64().unwrap();
    assert!(calls("SSL") > 2.0 * calls("PLAINTEXT"), "{} and {}", calls("SSL"), calls("PLAINTEXT"));
}

/// How long calls take is not known beforehand; that each has a duration, and what they have to do with each other, is.
fn assert_latency(report: &Value, topic: &str) {
    let latency = &report["latency"];
    let calls = |list: &str| latency[list].as_array().unwrap().iter().map(|of| number(&of["calls"])).sum::<u64>();
    let counted: u64 = report["transfers"].as_array().unwrap().iter().map(|of| number(&of["calls"])).sum();
    // All of its threads were stopped when the watch began: hardly one of them in a counted call.
    let unmeasured = number(&latency["unmeasured_calls"]);
    assert_eq!(calls("calls") + unmeasured, counted);
    assert!(unmeasured <= 8, "{unmeasured}");
    for took in ["calls", "topics"].iter().flat_map(|list| latency[*list].as_array().unwrap()) {
        let seconds = |field: &str| took[field].as_f64().unwrap();
        let rising = ["p50_seconds", "p99_seconds", "p999_seconds", "max_seconds", "total_seconds"].map(seconds);
        assert!(rising.is_sorted() && rising[0] > 0.0, "{took:#}");
        let histogram: u64 = took["histogram"].as_array().unwrap().iter().map(|bucket| number(&bucket["calls"])).sum();
        assert_eq!(histogram, number(&took["calls"]));
    }
    let plain = &listener(report, "PLAINTEXT")["port"];
    let of_topic = |path: &str| {
        let mut of = latency["topics"].as_array().unwrap().iter();
        of.find(|of| of["topic"] == topic && of["path"] == path).unwrap_or_else(|| panic!("{path}: {latency:#}"))
    };
    assert_eq!(&of_topic("zero_copy")["local_port"], plain);
    assert_eq!(of_topic("copied")["local_port"], listener(report, "SSL")["port"]);
    assert!(number(&of_topic("read")["calls"]) > 0 && number(&of_topic("written")["calls"]) > 0);
}

/// All of the clients are on this host: together they are the listener.
fn assert_clients(report: &Value) {
    for name in ["PLAINTEXT", "SSL"] {
        let listener = listener(report, name);
        let clients = listener["clients"].as_array().unwrap();
        assert!(
            clients.iter().all(|client| client["address"] == "127.0.0.1" || client["address"] == "::1"),
            "{clients:#?}"
        );
        for field in ["zero_copy_bytes", "copied_bytes", "ingress_bytes"] {
            let sum: u64 = clients.iter().map(|client| number(&client[field])).sum();
            assert_eq!(sum, number(&listener[field]), "{name}: {field}");
        }
    }
}

#[test]
fn strace_counts_the_same_run_alike() {
    let _alone = alone();
    need("strace");
    let (kafka, broker) = broker();
    let clients = Clients::new(&kafka, &broker);
    clients.create_topic("orders", 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("strace.log");
    let stopped = Stopped::new(&broker);
    let mut strace = strace(broker.pid(), &log);
    let watching = watch(&broker, "raw", &[]);
    drop(stopped);
    // Under strace the broker is many times slower: less of it.
    traffic(&clients, "orders", BYTES / 20);
    let stopped = Stopped::new(&broker);
    let report = finish(watching);
    strace.signal(libc::SIGTERM);
    strace.end();
    drop(stopped);
    let theirs = straced(&fs::read_to_string(&log).unwrap());
    let mut ours: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for transfer in report["transfers"].as_array().unwrap() {
        let sum = ours.entry(transfer["syscall"].as_str().unwrap().to_owned()).or_default();
        *sum = (sum.0 + number(&transfer["calls"]), sum.1 + number(&transfer["bytes"]));
    }
    eprintln!("calls and bytes by strace: {theirs:?}");
    assert!(theirs["sendfile"].1 > BYTES / 20);
    assert_eq!(ours, theirs);
}

const TRACED: &str = "trace=sendfile,splice,tee,vmsplice,copy_file_range,read,pread64,readv,preadv,preadv2,write,pwrite64,\
                      writev,pwritev,pwritev2,recvfrom,recvmsg,sendto,sendmsg";

/// Attaches strace to all threads of a process.
fn strace(pid: u32, log: &Path) -> Running {
    let child = Command::new("strace")
        .args(["-f", "-q", "-s", "0", "-e", TRACED, "-e", "signal=none", "-o"])
        .arg(log)
        .args(["-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let strace = Running(child);
    let started = Instant::now();
    let traced = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    };
    while !fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|thread| traced(thread.unwrap())) {
        assert!(started.elapsed() < PATIENCE, "strace does not attach");
        std::thread::sleep(Duration::from_millis(20));
    }
    strace
}

/// Calls that moved bytes, and the bytes, by name: `12 read(5, ""..., 8192) = 100` and `12 <... read resumed>...) = 100`.
fn straced(log: &str) -> BTreeMap<String, (u64, u64)> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for line in log.lines() {
        let Some((call, result)) = line.rsplit_once(" = ") else { continue };
        let Ok(bytes) = result.split(' ').next().unwrap_or_default().parse::<u64>() else { continue };
        let call = call.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let name = call.strip_prefix("<... ").unwrap_or(call).split(['(', ' ']).next().unwrap_or_default();
        if bytes > 0 {
            let sum = sums.entry(name.to_owned()).or_default();
            *sum = (sum.0 + 1, sum.1 + bytes);
        }
    }
    sums
}
