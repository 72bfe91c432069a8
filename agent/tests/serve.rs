//! `zctrace serve` beside a real broker and a real Prometheus, and with clients that mean it no good.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use support::{
    Running, ZCTRACE, alone, assert_nothing_left, busy, need,
    service::{Service, free_address, get, wait_for},
};
use testkit::kafka::{Broker, BrokerOptions, Clients, Kafka, Moved, Produce};

struct Prometheus {
    _process: Running,
    _dir: tempfile::TempDir,
    address: SocketAddr,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        need("prometheus");
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yml");
        let job = format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n- job_name: zctrace\n  static_configs:\n  - targets: ['{target}']\n"
        );
        std::fs::write(&config, job).unwrap();
        let address = free_address();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self { _process: Running(child), _dir: dir, address };
        wait_for("Prometheus scrapes", || prometheus.query("up").filter(|up| (up - 1.0).abs() < 0.1));
        prometheus
    }

    /// What it says to a query that gives one number.
    fn query(&self, query: &str) -> Option<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (_, body) = get(self.address, &format!("/api/v1/query?query={encoded}"))?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        answer.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
    }

    /// The same, once a scrape has brought this much at least; what it settles at.
    fn settled(&self, query: &str, at_least: f64) -> f64 {
        wait_for(query, || self.query(query).filter(|value| *value >= at_least));
        // Two more scrapes: nothing comes late.
        std::thread::sleep(Duration::from_millis(1200));
        self.query(query).unwrap()
    }
}

const BYTES: u64 = 20_000_011;
const EGRESS: &str = "sum(zctrace_egress_bytes_total{listener=\"PLAINTEXT\"})";
const ZERO_COPY: &str = "zctrace_egress_bytes_total{listener=\"PLAINTEXT\",path=\"zero_copy\"}";

/// Produces and consumes through PLAINTEXT; returns what the clients got from the broker.
fn traffic(clients: &Clients<'_>, topic: &str) -> f64 {
    clients.create_topic(topic, 2).unwrap();
    let produced = clients.produce(&Produce::new(topic, "PLAINTEXT", BYTES)).unwrap();
    let consumed = clients.consume(topic, "PLAINTEXT").unwrap();
    assert_eq!(consumed.bytes, BYTES);
    let incoming = |moved: &Moved| f64::from(u32::try_from(moved.incoming_bytes).unwrap());
    incoming(&produced) + incoming(&consumed)
}

/// How much less than counted the clients' own count may be: the client that makes the topic does not tell what it got.
const UNTOLD: f64 = 20_000.0;

fn assert_agrees(counted: f64, clients: f64) {
    assert!(counted >= clients && counted <= clients + UNTOLD, "{counted} counted, the clients got {clients}");
}

#[test]
fn prometheus_stores_what_the_clients_got_over_restarts_of_both() {
    let _alone = alone();
    let kafka = Kafka::install(&|step| eprintln!("{step}")).unwrap();
    let mut broker = Broker::start(&kafka, &BrokerOptions::default()).unwrap();
    // Its clients have the folder on their command lines, too.
    let dir = format!("kafka.Kafka {}", broker.dir().display());
    let address = free_address();
    let mut service = Service::start(address, &["--match", &dir]);
    let prometheus = Prometheus::start(address);
    let processes = |count: f64| {
        wait_for("a process is watched", || prometheus.query("zctrace_target_processes_total").filter(|n| *n >= count));
        wait_for("it runs", || prometheus.query("zctrace_target_up").filter(|up| *up > 0.5));
    };
    processes(1.0);
    let before = prometheus.query(EGRESS).unwrap();
    let got = traffic(&Clients::new(&kafka, &broker), "first");
    let first = prometheus.settled(EGRESS, before + got);
    assert_agrees(first - before, got);
    let metrics = service.metrics();
    check_with_promtool(&metrics);
    let info = metrics.lines().find(|line| line.starts_with("zctrace_target_info{")).unwrap();
    for label in ["target=\"kafka-1\"", "broker_id=\"1\"", "version=\"4.", "cluster_id=", "java_version=\""] {
        assert!(info.contains(label), "{label} is missing in {info}");
    }

    // The broker restarts with another PID: the same target, whose counters go on.
    broker.restart().unwrap();
    processes(2.0);
    let before = prometheus.query(EGRESS).unwrap();
    assert!(before >= first);
    let got = traffic(&Clients::new(&kafka, &broker), "second");
    assert_agrees(prometheus.settled(EGRESS, before + got) - before, got);
    assert_eq!(prometheus.query(&format!("sum(resets({ZERO_COPY}[10m]))")), Some(0.0));
    assert_eq!(prometheus.query("count(zctrace_target_up)"), Some(1.0), "a restart makes no new series");
    // Both topics are there, the first one from the process that has ended.
    for topic in ["first", "second"] {
        let written = format!("sum(zctrace_topic_bytes_total{{topic=\"{topic}\",path=\"written\"}})");
        let bytes = prometheus.query(&written).unwrap();
        assert!((20_000_011.0..20_300_000.0).contains(&bytes), "{topic}: {bytes}");
    }

    // zctrace is killed and started again: counters begin anew, which Prometheus sees as a reset.
    service.process.signal(libc::SIGKILL);
    service.process.end();
    assert_nothing_left();
    service = Service::start(address, &["--match", &dir]);
    wait_for("the new zctrace is scraped", || prometheus.query("zctrace_target_processes_total").filter(|n| *n < 1.5));
    wait_for("the target is up again", || service.sample("zctrace_target_up").filter(|up| *up > 0.5));
    let got = traffic(&Clients::new(&kafka, &broker), "third");
    assert_agrees(prometheus.settled(EGRESS, got), got);
    assert_eq!(prometheus.query(&format!("sum(resets({ZERO_COPY}[10m]))")), Some(1.0));

    // A listener that is renamed has its new name after SIGHUP.
    let config = broker.config();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("SSL", "INTERNET").replace("INTERNET:INTERNET", "INTERNET:SSL")).unwrap();
    service.process.signal(libc::SIGHUP);
    wait_for("the new name", || service.sample("zctrace_ingress_bytes_total{target=\"kafka-1\",listener=\"INTERNET\""));

    service.process.signal(libc::SIGTERM);
    assert_eq!(service.process.end().code(), Some(0));
    assert_nothing_left();
}

fn check_with_promtool(metrics: &str) {
    need("promtool");
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn a_target_that_ends_keeps_its_last_counts() {
    let _alone = alone();
    let mut target = busy();
    let pid = target.pid().to_string();
    let service = Service::start(free_address(), &["--pid", &pid]);
    wait_for("it is watched", || service.sample("zctrace_target_up{target=\"dd\"}").filter(|up| *up > 0.5));
    target.signal(libc::SIGKILL);
    target.end();
    wait_for("it is let go", || service.sample("zctrace_target_up{target=\"dd\"}").filter(|up| *up < 0.5));
    let read = "zctrace_transfers_total{target=\"dd\",syscall=\"read\"";
    let last = service.sample(read).unwrap();
    assert!(last > 0.0);
    assert_eq!(service.sample(read), Some(last));
    assert_eq!(service.sample("zctrace_map_entries{map=\"transfers\"}"), Some(0.0), "its place in the maps is free");
    let (_, page) = get(service.address, "/").unwrap();
    assert!(page.contains("<h2>dd</h2>"), "{page}");
    let (_, document) = get(service.address, "/api/v1/report/dd").unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["window"]["ended_by"], "target_exit");
}

#[test]
fn hostile_clients_do_not_keep_others_from_their_answer() {
    let _alone = alone();
    let target = busy();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let stderr = std::fs::File::create(&log).unwrap();
    let service = Service::run(free_address(), &["--pid", &target.pid().to_string()], |command| {
        command.stderr(stderr);
    });
    let connect = || TcpStream::connect(service.address).unwrap();
    // Some say nothing, some begin and do not end, some speak no HTTP, some never read what they asked for.
    let mut clients: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let said = match n % 4 {
            0 => "",
            1 => "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ",
            2 => "\0\0\0 what is this\r\n\r\n",
            _ => "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        // The server may have had enough already.
        let _ = client.write_all(said.as_bytes());
    }
    let mut huge = connect();
    let _ = huge.write_all(format!("GET / HTTP/1.1\r\nX-Huge: {}\r\n\r\n", "x".repeat(1 << 20)).as_bytes());
    assert!(service.metrics().contains("zctrace_target_up{target=\"dd\"}"));
    assert_eq!(get(service.address, "/nothing").unwrap().0, 404);
    let mut post = connect();
    post.write_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
        .unwrap();
    let mut answer = String::new();
    post.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    // Those that were cut off are counted.
    wait_for("slow clients are cut off", || {
        service.sample("zctrace_http_connections_cut_total{reason=\"timeout\"}").filter(|cut| *cut >= 30.0)
    });
    wait_for("it is in the log", || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().any(|line| line.contains("WARN") && line.contains("too slow: ")).then_some(())
    });
    assert!(service.sample("process_resident_memory_bytes").unwrap() < 100e6);
}

#[test]
fn an_address_in_use_is_one_clear_error() {
    let _alone = alone();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = support::zctrace(&["serve", "--web.listen-address", &address]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--web.listen-address"), "{said}");
}

#[test]
fn it_runs_with_four_capabilities_and_no_others() {
    let _alone = alone();
    let target = busy();
    let service = Service::start(free_address(), &["--pid", &target.pid().to_string()]);
    wait_for("it is watched", || service.sample("zctrace_target_up{target=\"dd\"}").filter(|up| *up > 0.5));
    let dir = format!("/proc/{}/task", service.process.pid());
    // CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF.
    let allowed: u64 = 1 << 2 | 1 << 19 | 1 << 38 | 1 << 39;
    for thread in std::fs::read_dir(dir).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        for set in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
            let bits = u64::from_str_radix(&field(set), 16).unwrap();
            assert_eq!(bits & !allowed, 0, "{set} {bits:x}");
        }
        assert_eq!(field("NoNewPrivs:"), "1");
    }
}

#[test]
fn users_and_passwords_come_from_the_web_configuration_and_follow_it() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("web.yml");
    let users = |password: &str| format!("basic_auth_users:\n  prometheus: {}\n", bcrypt::hash(password, 4).unwrap());
    std::fs::write(&config, users("first")).unwrap();
    let address = free_address();
    let target = busy();
    let child = Command::new(ZCTRACE)
        .args(["serve", "--pid", &target.pid().to_string(), "--web.listen-address", &address.to_string()])
        .arg("--web.config.file")
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let service = Running(child);
    // "prometheus:first" and "prometheus:second", as a browser sends them.
    let (first, second) = ("cHJvbWV0aGV1czpmaXJzdA==", "cHJvbWV0aGV1czpzZWNvbmQ=");
    let status = |credentials: Option<&str>| {
        let mut stream = TcpStream::connect(address).ok()?;
        let header = credentials.map_or_else(String::new, |pair| format!("Authorization: Basic {pair}\r\n"));
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse::<u16>().ok()
    };
    wait_for("it answers", || status(Some(first)).filter(|status| *status == 200));
    assert_eq!((status(None), status(Some(second))), (Some(401), Some(401)));
    // A broken file changes nothing.
    std::fs::write(&config, "basic_auth_users: [what is this\n").unwrap();
    service.signal(libc::SIGHUP);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(status(Some(first)), Some(200));
    std::fs::write(&config, users("second")).unwrap();
    wait_for("the new password", || status(Some(second)).filter(|status| *status == 200));
    assert_eq!(status(Some(first)), Some(401));
    let check = |text: &str| {
        std::fs::write(&config, text).unwrap();
        support::zctrace(&["serve", "--check-config", "--web.config.file", config.to_str().unwrap()])
    };
    assert_eq!(check(&users("third")).status.code(), Some(0));
    let refused = check("tls_server_config:\n  cert_fil: x\n");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cert_fil"));
}
