#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::os::unix::fs::symlink;

use super::*;

/// A /proc with one process in it.
struct Proc(tempfile::TempDir);

impl Proc {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        symlink(std::process::id().to_string(), dir.path().join("self")).unwrap();
        Self(dir)
    }

    fn process(self, pid: u32, status: &str, flags: u64, command_line: &[u8], exe: &str) -> Self {
        let dir = self.0.path().join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("status"), status).unwrap();
        fs::write(dir.join("stat"), format!("{pid} (a ) name) S 1 1 1 0 -1 {flags} 0 0\n")).unwrap();
        fs::write(dir.join("cmdline"), command_line).unwrap();
        symlink(exe, dir.join("exe")).unwrap();
        self
    }

    fn inspect(&self, pid: u32) -> Result<Process, TargetError> {
        inspect(self.0.path(), pid)
    }
}

const RUNNING: &str = "Name:\tjava\nState:\tS (sleeping)\nTgid:\t77\nPid:\t77\n";

#[test]
fn a_jvm_is_known_by_its_main_class() {
    let line = b"java\0-Xmx1G\0-cp\0/opt/a.jar:/opt/b.jar\0--add-opens\0a/b=c\0kafka.Kafka\0config/server.properties\0";
    let process = Proc::new().process(77, RUNNING, 0, line, "/usr/lib/jvm/bin/java").inspect(77).unwrap();
    assert_eq!((process.command.as_str(), process.is_jvm), ("kafka.Kafka", true));
    let line = b"java\0-jar\0/srv/app.jar\0--flag\0";
    let process = Proc::new().process(77, RUNNING, 0, line, "/usr/bin/java").inspect(77).unwrap();
    assert_eq!(process.command, "app.jar");
}

#[test]
fn another_program_is_known_by_its_executable_even_if_that_was_replaced() {
    let process = Proc::new().process(77, RUNNING, 0, b"nginx: worker\0", "/usr/sbin/nginx (deleted)").inspect(77);
    let process = process.unwrap();
    assert_eq!((process.command.as_str(), process.is_jvm, process.compat), ("nginx", false, None));
}

#[test]
fn arguments_that_are_no_text_do_no_harm_and_secrets_are_not_shown() {
    let line = b"java\0kafka.Kafka\0--override\0ssl.key.password=hunter2\0\xff\xfe\0";
    let process = Proc::new().process(77, RUNNING, 0, line, "/usr/bin/java").inspect(77).unwrap();
    assert_eq!(process.command_line.arguments().len(), 5);
    assert!(!format!("{process:?}").contains("hunter2"));
}

#[test]
fn each_reason_not_to_watch_is_told_apart() {
    let proc = Proc::new()
        .process(2, "Name:\tkthreadd\nState:\tS\nTgid:\t2\n", PF_KTHREAD, b"", "nothing")
        .process(9, "Name:\tx\nState:\tZ (zombie)\nTgid:\t9\n", 0, b"", "/bin/x")
        .process(78, "Name:\tjava\nState:\tS\nTgid:\t77\n", 0, b"java\0", "/bin/java");
    assert_eq!(proc.inspect(1), Err(TargetError::NoProcess(1)));
    assert_eq!(proc.inspect(2), Err(TargetError::KernelThread { pid: 2, comm: "kthreadd".to_owned() }));
    assert_eq!(proc.inspect(9), Err(TargetError::Zombie(9)));
    assert_eq!(proc.inspect(78), Err(TargetError::Thread { tid: 78, pid: 77 }));
    assert_eq!(proc.inspect(std::process::id()), Err(TargetError::Zctrace));
}

#[test]
fn a_proc_of_another_namespace_is_refused() {
    let proc = tempfile::tempdir().unwrap();
    symlink("1", proc.path().join("self")).unwrap();
    assert_eq!(inspect(proc.path(), 77), Err(TargetError::OtherNamespace));
    assert!(matches!(inspect(&proc.path().join("nothing"), 77), Err(TargetError::NoProc(_))));
}

#[test]
fn every_other_process_of_this_machine_is_looked_at_without_panic() {
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        if let Ok(pid) = entry.file_name().to_string_lossy().parse() {
            let _ = inspect(Path::new("/proc"), pid);
        }
    }
}

#[test]
fn an_io_uring_is_seen_by_its_descriptor() {
    let proc = Proc::new();
    let fds = proc.0.path().join("77/fd");
    assert_eq!(io_uring_in_use(proc.0.path(), 77), None);
    fs::create_dir_all(&fds).unwrap();
    symlink("socket:[1]", fds.join("0")).unwrap();
    assert_eq!(io_uring_in_use(proc.0.path(), 77), Some(false));
    symlink("anon_inode:[io_uring]", fds.join("1")).unwrap();
    assert_eq!(io_uring_in_use(proc.0.path(), 77), Some(true));
}

#[test]
fn connections_that_the_kernel_encrypts_are_told_by_its_own_count() {
    let proc = Proc::new();
    let dir = proc.0.path().join("77/net");
    assert_eq!(kernel_tls_connections(proc.0.path(), 77), None);
    fs::create_dir_all(&dir).unwrap();
    let text = "TlsCurrTxSw                     \t3\nTlsCurrRxSw                     \t9\nTlsCurrTxDevice                 \t2\n\
                TlsTxSw                         \t70\n";
    fs::write(dir.join("tls_stat"), text).unwrap();
    assert_eq!(kernel_tls_connections(proc.0.path(), 77), Some(5));
}

#[test]
fn listening_ports_of_both_families_up_to_the_first_connection() {
    let proc = tempfile::tempdir().unwrap();
    let net = proc.path().join("77/net");
    fs::create_dir_all(&net).unwrap();
    let head = "  sl  local_address rem_address   st tx_queue rx_queue\n";
    let tcp = "   0: 0100007F:2384 00000000:0000 0A 0:0\n   1: 0100007F:2385 0100007F:9999 01 0:0\n   \
               2: 0100007F:2386 00000000:0000 0A 0:0\n";
    fs::write(net.join("tcp"), format!("{head}{tcp}")).unwrap();
    assert_eq!(listening_ports(proc.path(), 77).unwrap(), [9092].into());
    let tcp6 = "   0: 00000000000000000000000000000000:2387 00000000000000000000000000000000:0000 0A 0:0\n";
    fs::write(net.join("tcp6"), format!("{head}{tcp6}")).unwrap();
    assert_eq!(listening_ports(proc.path(), 77).unwrap(), [9092, 9095].into());
    assert_eq!(listening_ports(proc.path(), 78), Err(TargetError::NoProcess(78)));
}

#[test]
fn a_live_listener_is_seen() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = listening_ports(Path::new("/proc"), std::process::id()).unwrap();
    assert!(ports.contains(&listener.local_addr().unwrap().port()));
}

#[tokio::test(flavor = "current_thread")]
async fn the_end_of_a_process_is_told() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pidfd = Pidfd::open(child.id()).unwrap();
    assert!(!pidfd.has_ended());
    child.kill().unwrap();
    pidfd.ended().await;
    assert!(pidfd.has_ended());
    child.wait().unwrap();
    assert!(matches!(Pidfd::open(child.id()), Err(TargetError::NoProcess(_))));
}
