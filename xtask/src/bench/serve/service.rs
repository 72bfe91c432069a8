//! A `zctrace serve` and what it can be asked.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use testkit::process::Guarded;

/// Longest time that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look at its threads.
const LOOK: Duration = Duration::from_millis(500);

/// A running service.
pub(in crate::bench) struct Service {
    process: Guarded,
    pub(in crate::bench) address: SocketAddr,
}

/// An address that nobody listens on now.
pub(in crate::bench) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Service {
    /// Starts it and waits until so many targets are watched.
    pub(in crate::bench) fn start(zctrace: &Path, targets: usize, arguments: &[&str]) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(zctrace);
        command
            .args(["serve", "--topics.limit", "100000", "--web.listen-address", &address.to_string()])
            .args(arguments)
            .env("ZCTRACE_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let service = Self { process: Guarded::spawn(command)?, address };
        wait_for("all targets are watched", || {
            let text = get(address, "/metrics").ok()?;
            let up = text.lines().filter(|line| line.starts_with("zctrace_target_up{") && line.ends_with(" 1"));
            (up.count() == targets).then_some(())
        })?;
        Ok(service)
    }

    pub(in crate::bench) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(in crate::bench) fn scrape(&self) -> anyhow::Result<String> {
        get(self.address, "/metrics")
    }

    /// Milliseconds from the connection to the last byte, of each scrape as Prometheus makes it.
    pub(in crate::bench) fn times(&self, scrapes: u32) -> anyhow::Result<Vec<f64>> {
        // The first ones make caches warm and buffers large.
        for _ in 0..3 {
            self.compressed()?;
        }
        (0..scrapes)
            .map(|_| {
                let started = Instant::now();
                self.compressed()?;
                Ok(started.elapsed().as_secs_f64() * 1e3)
            })
            .collect()
    }

    /// A scrape that takes gzip.
    fn compressed(&self) -> anyhow::Result<()> {
        let answer = exchange(self.address, "GET", "/metrics", "Accept-Encoding: gzip\r\n")?;
        let is_it =
            answer.starts_with(b"HTTP/1.1 200") && answer.windows(8).any(|bytes| bytes == b"\r\n\r\n\x1f\x8b\x08\0");
        if is_it { Ok(()) } else { bail!("/metrics does not come compressed") }
    }

    /// The value of the first sample that begins so.
    pub(in crate::bench) fn sample(&self, series: &str) -> anyhow::Result<f64> {
        let text = self.scrape()?;
        let line = text.lines().find(|line| line.starts_with(series)).with_context(|| format!("no {series}"))?;
        let value = line.rsplit(' ').next().unwrap_or_default();
        value.parse().with_context(|| format!("{line} is no sample"))
    }

    /// Resident memory between scrapes, in bytes: `VmRSS` of `/proc/PID/status`.
    pub(in crate::bench) fn resident(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// What of it are pages of files, nearly all of them the program's own: `RssFile` there.
    pub(in crate::bench) fn resident_of_files(&self) -> anyhow::Result<f64> {
        self.status("RssFile:")
    }

    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
        kib.map(|kib: f64| kib * 1024.0).with_context(|| format!("no {name}"))
    }

    /// What its maps take in the kernel, in bytes: `memlock` in the descriptors' `fdinfo`.
    pub(in crate::bench) fn maps(&self) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", self.process.id()))? {
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            if field("map_type:").is_some() {
                sum += field("memlock:").unwrap_or(0.0);
            }
        }
        Ok(sum)
    }

    /// Processor time that all its threads take in a while, in seconds.
    pub(in crate::bench) fn processor_time(&self, time: Duration) -> anyhow::Result<f64> {
        let before = self.threads()?;
        let mut after = before.clone();
        let started = Instant::now();
        while started.elapsed() < time {
            std::thread::sleep(LOOK);
            // A thread for blocking work that had nothing to do for ten seconds ends: what it was seen with last counts.
            after.extend(self.threads()?);
        }
        Ok(after.iter().map(|(thread, now)| now - before.get(thread).copied().unwrap_or(0.0)).sum::<f64>() / 1e9)
    }

    /// Processor time of each thread since it started, in nanoseconds.
    fn threads(&self) -> anyhow::Result<BTreeMap<OsString, f64>> {
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let thread = thread?;
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            if let Some(time) = text.split(' ').next().and_then(|text| text.parse().ok()) {
                threads.insert(thread.file_name(), time);
            }
        }
        Ok(threads)
    }
}

/// Waits until `ready` gives something.
pub(in crate::bench) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(value) = ready() {
            return Ok(value);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("waited in vain until {what}")
}

/// The body of a page.
pub(in crate::bench) fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    request(address, "GET", path)
}

/// The body of an answer.
pub(in crate::bench) fn request(address: SocketAddr, method: &str, path: &str) -> anyhow::Result<String> {
    let answer = String::from_utf8(exchange(address, method, path, "")?)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{path}: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

fn exchange(address: SocketAddr, method: &str, path: &str, headers: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
