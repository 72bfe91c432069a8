//! The built-in server as a process of its own.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::sendfile_server::{Server, read_all};

const BYTES: u64 = 5_000_001;

fn start() -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sendfile-server"));
    command.arg(BYTES.to_string());
    Server::start(command).unwrap()
}

/// `rchar` and `wchar` of /proc/PID/io: bytes of all read-like and write-like calls.
fn io(pid: u32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let fields: HashMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect();
    (fields["rchar"], fields["wchar"])
}

#[test]
fn both_ports_send_the_whole_file_and_nothing_else() {
    let server = start();
    let before = io(server.pid());
    for port in [server.ports().zero_copy, server.ports().copied] {
        assert_eq!(read_all(port).unwrap(), BYTES);
    }
    let after = io(server.pid());
    assert_eq!((after.0 - before.0, after.1 - before.1), (2 * BYTES, 2 * BYTES));
}

#[test]
fn many_clients_at_a_time_are_served() {
    let server = start();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| read_all(server.ports().zero_copy).unwrap())).collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap() == BYTES));
    });
}

#[test]
fn it_ends_with_its_owner() {
    let server = start();
    let (pid, port) = (server.pid(), server.ports().copied);
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(read_all(port).is_err());
}
