//! Bad input and bad days of `zctrace --pid`: one clear error with what to do and the documented exit status each
//! time, what was counted is printed, and nothing stays in the kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
    time::Duration,
};

use support::{Running, Watching, ZCTRACE, alone, assert_nothing_left, busy, need, refuse, zctrace};

/// Fails unless `output` is that of an error: this status, nothing on stdout, one error with these words on stderr.
fn assert_refused(output: &Output, status: i32, words: &[&str]) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{err}");
    assert_eq!(out, "");
    assert_eq!(err.matches("zctrace: ").count(), 1, "one error: {err}");
    for word in words {
        assert!(err.contains(word), "`{word}` is missing in: {err}");
    }
}

/// Runs `zctrace` with `arguments` after `script` in a shell with namespaces of its own.
fn in_namespaces(unshare: &[&str], script: &str, arguments: &str) -> Output {
    need("unshare");
    Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", &format!("{script}\nexec {ZCTRACE} {arguments}")])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_pid_that_does_not_exist() {
    let _alone = alone();
    assert_refused(&zctrace(&["--pid", "4194304"]), 3, &["4194304"]);
    let mut ended = Running::start("true", &[]);
    ended.end();
    assert_refused(&zctrace(&["--pid", &ended.pid().to_string()]), 3, &["no process"]);
}

#[test]
fn a_kernel_thread() {
    let _alone = alone();
    assert_refused(&zctrace(&["--pid", "2"]), 3, &["kernel thread"]);
}

#[test]
fn zctrace_itself() {
    let _alone = alone();
    let output = Command::new("sh").args(["-c", &format!("exec {ZCTRACE} --pid $$")]).output().unwrap();
    assert_refused(&output, 3, &["itself"]);
}

#[test]
fn a_thread_that_is_no_process() {
    let _alone = alone();
    let (send, receive) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        send.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        std::thread::park();
    });
    let tid = receive.recv().unwrap();
    let output = zctrace(&["--pid", &tid.to_string()]);
    thread.thread().unpark();
    thread.join().unwrap();
    assert_refused(&output, 3, &["thread", &std::process::id().to_string()]);
}

#[test]
fn wrong_usage() {
    for arguments in [&["--pid", "0"][..], &["--pid", "x"], &["--pid", "1", "--duration", "3 parsecs"], &["--no"]] {
        assert_eq!(zctrace(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn no_privilege_at_all() {
    let _alone = alone();
    need("setpriv");
    let target = busy();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"])
        .args([ZCTRACE, "--pid", &target.pid().to_string(), "--duration", "1s"])
        .output()
        .unwrap();
    // Without privilege the process may already be closed to us, or the kernel is.
    assert_refused(&output, 4, &["CAP_"]);
}

#[test]
fn only_some_capabilities() {
    let _alone = alone();
    need("setpriv");
    let target = busy();
    for (kept, missing) in [("+bpf", "CAP_PERFMON"), ("+perfmon", "CAP_BPF")] {
        let set = format!("-all,{kept},+sys_ptrace,+dac_read_search");
        let output = Command::new("setpriv")
            .args([&format!("--bounding-set={set}"), &format!("--inh-caps={set}")])
            .args([ZCTRACE, "--pid", &target.pid().to_string(), "--duration", "1s"])
            .output()
            .unwrap();
        assert_refused(&output, 4, &[missing, "zctrace doctor"]);
    }
}

#[test]
fn bpf_and_perfmon_are_enough() {
    let _alone = alone();
    need("setpriv");
    let target = busy();
    let set = "-all,+bpf,+perfmon";
    let output = Command::new("setpriv")
        .args([&format!("--bounding-set={set}"), &format!("--inh-caps={set}")])
        .args([ZCTRACE, "--pid", &target.pid().to_string(), "--duration", "300ms", "--output", "json"])
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"syscall\": \"read\""));
}

#[test]
fn no_btf() {
    let _alone = alone();
    let target = busy();
    let output = in_namespaces(
        &["--mount"],
        "mount -t tmpfs none /sys/kernel/btf",
        &format!("--pid {} --duration 1s", target.pid()),
    );
    assert_refused(&output, 5, &["BTF", "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"]);
}

#[test]
fn tracefs_not_mounted() {
    let _alone = alone();
    let target = busy();
    let hide = "umount -l /sys/kernel/tracing 2>/dev/null; umount -l /sys/kernel/debug 2>/dev/null; true";
    let run = |leg| {
        let arguments = format!("--pid {} --duration 300ms --attach {leg} --output json", target.pid());
        in_namespaces(&["--mount"], hide, &arguments)
    };
    assert_refused(&run("tracepoint"), 5, &["mount -t tracefs none /sys/kernel/tracing"]);
    for leg in ["auto", "raw"] {
        let output = run(leg);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("\"leg\": \"raw\""));
    }
}

#[test]
fn threads_whose_processor_time_cannot_be_read() {
    let _alone = alone();
    let target = busy();
    let pid = target.pid();
    let output = in_namespaces(
        &["--mount"],
        &format!("mount -t tmpfs none /proc/{pid}/task || exit 77"),
        &format!("--pid {pid} --duration 300ms --output json"),
    );
    assert_counted(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["cost"], serde_json::Value::Null);
    let notes = report["notes"].to_string();
    let why = format!("the threads of process {pid} can't be looked at: processor time by listener is not known");
    assert!(notes.contains(&why), "{notes}");
}

#[test]
fn a_tracepoint_that_is_missing() {
    let _alone = alone();
    let target = busy();
    let hide = "mount -t tracefs none /sys/kernel/tracing 2>/dev/null; \
                mount -t tmpfs none /sys/kernel/tracing/events/syscalls/sys_exit_vmsplice || exit 77";
    let arguments = format!("--pid {} --duration 300ms --attach tracepoint --output json", target.pid());
    let output = in_namespaces(&["--mount"], hide, &arguments);
    assert_counted(&output);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("this kernel has no sys_exit_vmsplice"), "{out}");
}

#[test]
fn bpf_forbidden_by_seccomp() {
    let _alone = alone();
    let target = busy();
    let mut command = Command::new(ZCTRACE);
    command.args(["--pid", &target.pid().to_string(), "--duration", "1s"]).stdin(Stdio::null());
    // SAFETY: only system calls between fork and exec.
    unsafe { command.pre_exec(forbid_bpf) };
    assert_refused(&command.output().unwrap(), 4, &["seccomp"]);
}

/// A filter as container engines' default one.
fn forbid_bpf() -> std::io::Result<()> {
    refuse(libc::SYS_bpf, libc::EPERM)
}

#[test]
fn the_target_ends_in_the_middle() {
    let _alone = alone();
    let mut target = busy();
    let watching = Watching::start(Command::new(ZCTRACE).args([
        "--pid",
        &target.pid().to_string(),
        "--duration",
        "1h",
        "--output",
        "json",
    ]));
    std::thread::sleep(Duration::from_millis(200));
    target.signal(libc::SIGKILL);
    target.end();
    let (status, out, err) = watching.finish();
    assert_eq!(status, Some(6), "{err}");
    assert!(err.contains("ended after"), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["window"]["ended_by"], "target_exit");
    assert!(report["transfers"].as_array().unwrap().iter().any(|transfer| transfer["syscall"] == "read"));
    assert_nothing_left();
}

#[test]
fn ctrl_c_prints_the_summary() {
    let _alone = alone();
    let target = busy();
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let watching =
            Watching::start(Command::new(ZCTRACE).args(["--pid", &target.pid().to_string(), "--output", "json"]));
        std::thread::sleep(Duration::from_millis(100));
        watching.process.signal(signal);
        let (status, out, err) = watching.finish();
        assert_eq!(status, Some(0), "{err}");
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["window"]["ended_by"], "signal");
        assert_eq!(report["schema_version"], 1);
    }
    assert_nothing_left();
}

#[test]
fn kill_9_leaves_nothing_in_the_kernel() {
    let _alone = alone();
    let target = busy();
    for leg in ["raw", "tracepoint"] {
        let mut watching =
            Watching::start(Command::new(ZCTRACE).args(["--pid", &target.pid().to_string(), "--attach", leg]));
        assert!(!support::loaded_programs().is_empty(), "the test sees what is loaded");
        watching.process.signal(libc::SIGKILL);
        watching.process.end();
        assert_nothing_left();
    }
}

#[test]
fn another_process_with_the_same_pid_is_not_counted() {
    let _alone = alone();
    // A PID namespace of its own, where the next PID can be chosen: the first `dd` is watched, ends, and another one
    // gets its number at once.
    need("unshare");
    let script = format!(
        "dd if=/dev/zero of=/dev/null bs=4096 2>/dev/null & first=$!
         {ZCTRACE} --pid $first --output json >/tmp/zctrace-reuse.$$ 2>/tmp/zctrace-reuse.err & watcher=$!
         while ! grep -qi watching /tmp/zctrace-reuse.err; do sleep 0.05; done
         kill -STOP $watcher
         kill -9 $first; wait $first 2>/dev/null
         echo $((first - 1)) >/proc/sys/kernel/ns_last_pid
         dd if=/dev/zero of=/dev/null bs=8192 count=100000 2>/dev/null & second=$!
         echo \"first $first second $second\" >&2
         wait $second
         kill -CONT $watcher; wait $watcher; echo \"status $?\" >&2
         cat /tmp/zctrace-reuse.$$; rm -f /tmp/zctrace-reuse.$$ /tmp/zctrace-reuse.err"
    );
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "bash", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let numbers: Vec<_> = err.lines().find(|line| line.starts_with("first")).unwrap().split(' ').collect();
    assert_eq!(numbers[1], numbers[3], "the second process got the first one's PID: {err}");
    assert!(err.contains("status 6"), "{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}"));
    for transfer in report["transfers"].as_array().unwrap() {
        for bucket in transfer["size_histogram"].as_array().unwrap() {
            assert_ne!(bucket["min"], 8192, "a call of the second process was counted: {transfer}");
        }
    }
}

#[test]
fn pid_namespaces_on_either_side() {
    let _alone = alone();
    need("unshare");
    // zctrace inside, with its target.
    let script = format!(
        "dd if=/dev/zero of=/dev/null bs=4096 2>/dev/null & exec {ZCTRACE} --pid $! --duration 300ms --output json"
    );
    let inside = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_counted(&inside);
    // Thread ids are other numbers there, so their time is nobody's, and that is said.
    let report: serde_json::Value = serde_json::from_slice(&inside.stdout).unwrap();
    assert_eq!(report["cost"], serde_json::Value::Null);
    assert!(report["notes"].to_string().contains("processor time by listener is not known"), "{}", report["notes"]);
    // The target inside, zctrace outside.
    let outer = Running::start("unshare", &["--pid", "--fork", "--kill-child", "dd", "if=/dev/zero", "of=/dev/null"]);
    let children = format!("/proc/{0}/task/{0}/children", outer.pid());
    let mut child = String::new();
    while child.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
        child = std::fs::read_to_string(&children).unwrap().trim().to_owned();
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_counted(&zctrace(&["--pid", &child, "--duration", "300ms", "--output", "json"]));
}

fn assert_counted(output: &Output) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let read = report["transfers"].as_array().unwrap().iter().find(|transfer| transfer["syscall"] == "read").unwrap();
    assert!(read["calls"].as_u64().unwrap() > 100, "{read}");
}
