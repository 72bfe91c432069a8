//! `zctrace serve` and its clients.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Instant,
};

use super::{PATIENCE, Running, ZCTRACE};

/// An address that nobody listens on now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Status and body of a GET.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let body =
        if head.to_lowercase().contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
    Some((head.split(' ').nth(1)?.parse().ok()?, body))
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        whole.push_str(rest.get(..size).unwrap_or_default());
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}

/// Waits until `ready` gives something.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: in vain");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// `zctrace serve`.
pub struct Service {
    pub process: Running,
    pub address: SocketAddr,
}

impl Service {
    /// Starts it and waits until it has looked for processes.
    pub fn start(address: SocketAddr, arguments: &[&str]) -> Self {
        Self::run(address, arguments, |_| {})
    }

    /// The same, started another way.
    pub fn run(address: SocketAddr, arguments: &[&str], more: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(ZCTRACE);
        command.args(["serve", "--web.listen-address", &address.to_string()]);
        if !arguments.contains(&"--discover.interval") {
            command.args(["--discover.interval", "200ms"]);
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        more(&mut command);
        let service = Self { process: Running(command.spawn().unwrap()), address };
        service.is_ready();
        service
    }

    /// Waits until it has looked for processes.
    pub fn is_ready(&self) {
        wait_for("ready", || get(self.address, "/readyz").filter(|(status, _)| *status == 200));
    }

    /// Waits until a sample is as wanted.
    pub fn wait_for(&self, series: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        wait_for(series, || self.sample(series).filter(|value| wanted(*value)))
    }

    pub fn metrics(&self) -> String {
        let (status, body) = get(self.address, "/metrics").unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The value of the first sample that begins so.
    pub fn sample(&self, series: &str) -> Option<f64> {
        let metrics = self.metrics();
        let line = metrics.lines().find(|line| line.starts_with(series))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}
