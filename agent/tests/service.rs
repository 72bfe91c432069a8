//! Bad days of `zctrace serve`: it keeps serving, keeps its counts, and says in a metric and a log line what happened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use support::{
    Running, ZCTRACE, alone, busy, need,
    service::{Service, free_address, get, wait_for},
};

/// A service whose log is a file.
fn logged(arguments: &[&str], log: &Path) -> Service {
    let log = File::create(log).unwrap();
    Service::run(free_address(), arguments, |command| {
        command.stderr(log);
    })
}

fn assert_logged(log: &Path, words: &[&str]) {
    wait_for(&format!("{words:?} in the log"), || {
        let text = fs::read_to_string(log).unwrap();
        text.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}

const UP: &str = "zctrace_target_up{target=\"dd\"}";
const READS: &str = "zctrace_transfers_total{target=\"dd\",syscall=\"read\"";

#[test]
fn every_page_is_where_it_was_asked_for_and_log_lines_are_objects() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let (log, second) = (dir.path().join("log"), free_address());
    let arguments = [
        "--match",
        "^no such process",
        "--log-format",
        "json",
        "--web.telemetry-path",
        "/own/path",
        "--web.listen-address",
    ];
    let mut service = logged(&[&arguments[..], &[&second.to_string()]].concat(), &log);
    for address in [service.address, second] {
        let page = |path: &str| get(address, path).unwrap();
        assert_eq!(page("/healthz"), (200, "ok\n".to_owned()));
        assert_eq!(page("/readyz"), (200, "ready\n".to_owned()));
        assert_eq!(page("/api/v1/report"), (200, "[]\n".to_owned()));
        let (status, html) = page("/");
        assert!(
            status == 200 && html.contains("No process was found yet") && html.contains("href=\"/own/path\""),
            "{html}"
        );
        let (status, metrics) = page("/own/path");
        assert!(status == 200 && metrics.contains("\nzctrace_build_info{"), "{metrics}");
        for missing in ["/metrics", "/api/v1/report/nobody", "/api/v1/", "/healthz/"] {
            assert_eq!(page(missing).0, 404, "{missing}");
        }
    }
    service.process.signal(libc::SIGTERM);
    assert_eq!(service.process.end().code(), Some(0));
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for message in ["attached", "listening", "ended"] {
        let is_it = |line: &serde_json::Value| line["message"] == message && line["level"] == "INFO";
        assert!(lines.iter().any(is_it), "{message}: {text}");
    }
}

#[test]
fn a_configuration_is_reloaded_and_a_broken_one_is_not_taken() {
    let _alone = alone();
    let target = busy();
    let dir = tempfile::tempdir().unwrap();
    let (config, log) = (dir.path().join("zctrace.yml"), dir.path().join("log"));
    fs::write(&config, format!("pid: {}\nwindow: 10s\n", target.pid())).unwrap();
    let service = logged(&["--config.file", config.to_str().unwrap()], &log);
    service.wait_for(UP, |up| up > 0.5);
    assert_eq!(service.sample("zctrace_window_seconds"), Some(10.0));
    assert_eq!(service.sample("zctrace_config_last_reload_successful"), Some(1.0));
    let since = service.sample("zctrace_config_last_reload_success_timestamp_seconds").unwrap();

    fs::write(&config, "pid: [nobody]\nwindow: 20s\n").unwrap();
    service.process.signal(libc::SIGHUP);
    service.wait_for("zctrace_config_last_reload_successful", |ok| ok < 0.5);
    assert_eq!(service.sample("zctrace_config_reloads_total{result=\"failed\"}"), Some(1.0));
    assert_logged(&log, &["ERROR", "zctrace.yml:1: `pid`", "stays in force"]);
    assert_eq!((service.sample("zctrace_window_seconds"), service.sample(UP)), (Some(10.0), Some(1.0)));

    fs::write(&config, format!("pid: {}\nwindow: 20s\nmaps.files: 1000\n", target.pid())).unwrap();
    service.process.signal(libc::SIGHUP);
    service.wait_for("zctrace_config_last_reload_successful", |ok| ok > 0.5);
    service.wait_for("zctrace_window_seconds", |seconds| seconds > 15.0);
    assert_eq!(service.sample("zctrace_config_restart_required{setting=\"maps.files\"}"), Some(1.0));
    assert_logged(&log, &["INFO", "changed", "window"]);
    assert_logged(&log, &["WARN", "maps.files", "started again"]);
    assert!(service.sample("zctrace_config_last_reload_success_timestamp_seconds").unwrap() >= since);
    assert_eq!(service.sample(UP), Some(1.0), "it is watched on");

    // Another process is asked for: the one before is let go and keeps its counts, the new one is found.
    let second = Running::start("sleep", &["1000"]);
    fs::write(&config, format!("pid: {}\n", second.pid())).unwrap();
    service.process.signal(libc::SIGHUP);
    service.wait_for(UP, |up| up < 0.5);
    service.wait_for("zctrace_target_up{target=\"sleep\"}", |up| up > 0.5);
    let last = service.sample(READS).unwrap();
    assert!(last > 0.0);
    assert_eq!(service.sample(READS), Some(last));
    assert_eq!(service.sample("zctrace_config_restart_required"), None);
    // And back: its counts go on from there.
    fs::write(&config, format!("pid: [{}, {}]\n", second.pid(), target.pid())).unwrap();
    service.process.signal(libc::SIGHUP);
    service.wait_for(READS, |reads| reads > last);
    assert_eq!(service.sample("zctrace_target_processes_total{target=\"dd\"}"), Some(2.0));
    let scans = service.sample("zctrace_discovery_scans_total").unwrap();
    service.wait_for("zctrace_discovery_scans_total", |now| now > scans + 1.5);
    assert_eq!(service.metrics().matches("zctrace_target_up{").count(), 2, "nothing is watched twice");
}

#[test]
fn a_hangup_while_it_starts_does_not_end_it() {
    let _alone = alone();
    let target = busy();
    let address = free_address();
    let mut command = Command::new(ZCTRACE);
    command.args(["serve", "--pid", &target.pid().to_string(), "--web.listen-address", &address.to_string()]);
    let service = Service { process: Running(command.stderr(Stdio::null()).spawn().unwrap()), address };
    // It listens before it loads anything.
    wait_for("it listens", || std::net::TcpStream::connect(address).ok());
    service.process.signal(libc::SIGHUP);
    service.is_ready();
    service.wait_for("zctrace_config_reloads_total{result=\"ok\"}", |reloads| reloads > 0.5);
}

#[test]
fn the_configuration_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("zctrace.yml");
    let check = |more: &[&str]| {
        let arguments = ["serve", "--check-config", "--config.file", config.to_str().unwrap()];
        let output = support::zctrace(&[&arguments[..], more].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::write(&config, "topics.limit: x\nweb.config.file: /nonexistent/web.yml\n").unwrap();
    let (status, said) = check(&[]);
    assert_eq!(status, Some(2));
    assert!(said.contains("zctrace.yml:1: `topics.limit`") && said.contains("/nonexistent/web.yml"), "{said}");
    fs::write(&config, "topics.limit: 5\n").unwrap();
    assert_eq!(check(&[]), (Some(0), "The configuration is fine.\n".to_owned()));
    // The example, too.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/zctrace.yml");
    fs::copy(example, &config).unwrap();
    assert_eq!(check(&[]).0, Some(0));
}

#[test]
fn a_full_disk_for_logs_stops_nothing() {
    let _alone = alone();
    let target = busy();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let service = Service::run(free_address(), &["--pid", &target.pid().to_string()], |command| {
        command.stderr(full);
    });
    service.wait_for(UP, |up| up > 0.5);
    let lost = service.wait_for("zctrace_log_lines_lost_total", |lost| lost > 0.0);
    service.process.signal(libc::SIGHUP);
    service.wait_for("zctrace_log_lines_lost_total", |now| now > lost);
    assert_eq!(service.sample(UP), Some(1.0));
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let _alone = alone();
    let target = busy();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut service = Service::run(free_address(), &["--pid", &target.pid().to_string()], |command| {
        command.stderr(writer).env("ZCTRACE_LOG", "trace");
    });
    // A SIGHUP brings some lines: a pipe holds 64 KiB, the queue some thousand lines.
    wait_for("lost lines", || {
        for _ in 0..50 {
            service.process.signal(libc::SIGHUP);
            get(service.address, "/healthz");
        }
        service.sample("zctrace_log_lines_lost_total").filter(|lost| *lost > 0.0)
    });
    service.process.signal(libc::SIGTERM);
    assert_eq!(service.process.end().code(), Some(0), "it ends although the log can't be written");
    drop(reader);
}

#[test]
fn a_target_that_restarts_in_a_tight_loop_is_one_target() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let service = logged(&["--match", "^dd if=/dev/zero of=/dev/null bs=777", "--discover.interval", "20ms"], &log);
    let mut lives = 0;
    let mut counted = 0.0;
    while lives < 30 {
        let mut target = Running::start("dd", &["if=/dev/zero", "of=/dev/null", "bs=777"]);
        lives += 1;
        service.wait_for("zctrace_target_processes_total{target=\"dd\"}", |n| n >= f64::from(lives));
        counted = service.wait_for(READS, |reads| reads >= counted);
        target.signal(libc::SIGKILL);
        target.end();
    }
    service.wait_for(UP, |up| up < 0.5);
    assert!(service.sample(READS).unwrap() >= counted);
    let metrics = service.metrics();
    assert_eq!(metrics.matches("zctrace_target_up{").count(), 1, "{metrics}");
    assert_eq!(service.sample("zctrace_map_entries{map=\"transfers\"}"), Some(0.0));
    assert_logged(&log, &["watching", "dd"]);
    assert_logged(&log, &["ended", "dd"]);
}

#[test]
fn ten_thousand_short_lived_processes_that_match_do_no_harm() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    // It matches as well as the ten thousand do.
    let target = busy();
    let service = logged(&["--pid", &target.pid().to_string(), "--match", "^sleep 0.0", "--targets.max", "4"], &log);
    service.wait_for(UP, |up| up > 0.5);
    let before = service.sample(READS).unwrap();
    let script = "i=0; while [ $i -lt 10000 ]; do sleep 0.0$i & i=$((i + 1)); done; wait";
    let mut storm = Running::start("sh", &["-c", script]);
    storm.end();
    wait_for("they are let go", || {
        let metrics = service.metrics();
        let up = metrics.lines().filter(|line| line.starts_with("zctrace_target_up{") && line.ends_with(" 1")).count();
        (up == 1).then_some(())
    });
    assert!(service.sample(READS).unwrap() > before, "the one that lasts is counted on");
    let metrics = service.metrics();
    assert!(metrics.matches("zctrace_target_up{").count() <= 256 + 4, "series are bounded");
    assert!(service.sample("zctrace_targets_refused_total").unwrap() > 0.0);
    assert_logged(&log, &["ERROR", "can't be watched"]);
    let lines = fs::read_to_string(&log).unwrap().lines().count();
    assert!(lines < 5000, "the log is bounded, too: {lines} lines");
}

#[test]
fn a_pid_that_another_process_gets_is_another_process() {
    let _alone = alone();
    need("unshare");
    let dir = tempfile::tempdir().unwrap();
    let (log, out) = (dir.path().join("log"), dir.path().join("metrics"));
    let address = free_address();
    // A PID namespace of its own, where the next PID can be chosen.
    let script = format!(
        "dd if=/dev/zero of=/dev/null bs=4096 count=100 2>/dev/null; sleep 1000 & first=$!
         {ZCTRACE} serve --match '^(sleep 1000|dd if)' --discover.interval 100ms --web.listen-address {address} 2>{log} & server=$!
         while ! grep -q watching {log}; do sleep 0.05; done
         kill -STOP $server
         kill -9 $first; wait $first 2>/dev/null
         echo $((first - 1)) >/proc/sys/kernel/ns_last_pid
         dd if=/dev/zero of=/dev/null bs=8192 & second=$!
         kill -CONT $server
         echo \"$first $second\" >{out}
         while [ $(grep -c watching {log}) -lt 2 ]; do sleep 0.05; done
         sleep 999",
        log = log.display(),
        out = out.display(),
    );
    let _inside = Running(
        Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let sample = |series: &str| {
        let (_, text) = get(address, "/metrics")?;
        let line = text.lines().find(|line| line.starts_with(series))?.to_owned();
        line.rsplit_once(' ')?.1.parse::<f64>().ok()
    };
    wait_for("the second is watched", || sample("zctrace_target_up{target=\"dd\"}").filter(|up| *up > 0.5));
    let numbers = fs::read_to_string(&out).unwrap();
    let (first, second) = numbers.trim().split_once(' ').unwrap();
    assert_eq!(first, second, "the second process got the first one's PID");
    wait_for("the first is let go", || sample("zctrace_target_up{target=\"sleep\"}").filter(|up| *up < 0.5));
    wait_for("it is counted", || sample("zctrace_transfers_total{target=\"dd\",syscall=\"read\"").filter(|n| *n > 0.0));
    assert_eq!(sample("zctrace_transfers_total{target=\"sleep\",syscall=\"read\",source=\"other\""), None);
}

/// The library that `faketime` sets, whose path is the distribution's.
fn faketime() -> String {
    // It fails where one that had the same PID has left its shared memory behind, as each of them does.
    for _ in 0..10 {
        let command =
            Command::new("faketime").args(["-f", "+0", "env"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let child = command.unwrap();
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        for left in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
            let _ = fs::remove_file(Path::new("/dev/shm").join(left));
        }
        let environment = String::from_utf8_lossy(&output.stdout);
        if let Some(library) = environment.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=")) {
            return library.trim().to_owned();
        }
    }
    panic!("faketime sets no library");
}

#[test]
fn a_clock_that_is_set_back_changes_no_count() {
    let _alone = alone();
    need("faketime");
    let dir = tempfile::tempdir().unwrap();
    let (log, clock) = (dir.path().join("log"), dir.path().join("clock"));
    fs::write(&clock, "+0").unwrap();
    let target = busy();
    let pid = target.pid().to_string();
    let stderr = File::create(&log).unwrap();
    let service = Service::run(free_address(), &["--pid", &pid, "--window", "2s"], |command| {
        command.env("LD_PRELOAD", faketime()).env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").stderr(stderr);
    });
    service.wait_for(UP, |up| up > 0.5);
    assert_eq!(service.sample("zctrace_clock_set_back_total"), Some(0.0));
    let before = service.sample(READS).unwrap();
    fs::write(&clock, "-1d").unwrap();
    service.wait_for("zctrace_clock_set_back_total", |times| times > 0.5);
    assert_logged(&log, &["WARN", "clock", "set back"]);
    service.wait_for(READS, |reads| reads > before);
    assert_eq!(service.sample(UP), Some(1.0));
    let (_, document) = get(service.address, "/api/v1/report/dd").unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let seconds = document["window"]["seconds"].as_f64().unwrap();
    assert!((0.0..3600.0).contains(&seconds), "{seconds}");
}

#[test]
fn with_little_memory_left_it_keeps_serving() {
    let _alone = alone();
    let target = busy();
    let service = Service::start(free_address(), &["--pid", &target.pid().to_string()]);
    service.wait_for(UP, |up| up > 0.5);
    // What it has now, and 48 MiB of addresses: what a thread of its own needs to start, and little else.
    let size = service.sample("process_virtual_memory_bytes").unwrap();
    let limit = format!("{:.0}", size + 48e6);
    let status =
        Command::new("prlimit").args(["--pid", &service.process.pid().to_string(), &format!("--as={limit}")]).status();
    assert!(status.unwrap().success());
    let before = service.sample(READS).unwrap();
    let clients: Vec<_> = (0..300)
        .map(|n| {
            let mut stream = std::net::TcpStream::connect(service.address).unwrap();
            let path = ["/metrics", "/", "/api/v1/report"][n % 3];
            // Nobody reads these answers.
            let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream
        })
        .collect();
    for _ in 0..20 {
        assert!(service.metrics().contains(UP));
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(clients);
    service.wait_for(READS, |reads| reads > before);
}

#[test]
fn memory_that_is_refused_is_told_and_ends_nothing() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let (log, files) = (dir.path().join("log"), dir.path().join("files"));
    // A target with many files, so that its document is large.
    fs::create_dir(&files).unwrap();
    (0..4000).for_each(|number| fs::write(files.join(format!("{number:030}")), "x").unwrap());
    let script = format!("read line; exec cat {}/* -", files.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut target = Running(command.spawn().unwrap());
    let service = logged(&["--pid", &target.pid().to_string()], &log);
    service.wait_for("zctrace_target_up", |up| up > 0.5);
    let mut input = target.0.stdin.take().unwrap();
    writeln!(input).unwrap();
    let document = || get(service.address, "/api/v1/report").unwrap().1;
    wait_for("all files are in the document", || (document().matches("\"inode\"").count() >= 4000).then_some(()));
    assert_eq!(service.sample("zctrace_memory_short_total"), Some(0.0));
    // Not one address more than it has now.
    let size = service.sample("process_virtual_memory_bytes").unwrap();
    let limit = format!("--as={size:.0}");
    let status = Command::new("prlimit").args(["--pid", &service.process.pid().to_string(), &limit]).status();
    assert!(status.unwrap().success());
    // Clients that do not read what they asked for: each answer stays in memory.
    let mut clients = Vec::new();
    wait_for("memory is refused", || {
        let mut stream = std::net::TcpStream::connect(service.address).unwrap();
        write!(stream, "GET /api/v1/report HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        clients.push(stream);
        service.sample("zctrace_memory_short_total").filter(|times| *times > 0.0)
    });
    assert_logged(&log, &["WARN", "memory is short"]);
    drop(clients);
    assert!(document().matches("\"inode\"").count() >= 4000, "it goes on");
    drop(input);
    service.wait_for("zctrace_target_up", |up| up < 0.5);
}
