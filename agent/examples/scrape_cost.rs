//! What one scrape allocates: `scrape_cost PID ROUNDS` watches a process, answers itself for `/metrics` as `zctrace serve`
//! does, and prints a JSON object. `cargo xtask bench serve` runs it. Every allocation of the process goes through the
//! counting allocator below: those of the web server, too, from the request to the answer's last byte. The client's part
//! allocates nothing.
#![allow(clippy::print_stdout)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prometheus::{Registry, TextEncoder, proto};
use tokio::net::TcpListener;
use zctrace::{
    error::Error,
    fleet::{Fleet, Limits, TopicPolicy, View},
    machine::{self, Sources},
    probe::{Capacity, LegChoice, Parts, Probe},
    residency::Scanner,
    serve::{
        Pages, Stats,
        web::{self, WebHandle, WebStats},
    },
    target,
};

/// Counts what it hands out.
struct Counting;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

fn count(bytes: usize) {
    let bytes = bytes as u64;
    ALLOCATED.fetch_add(bytes, Relaxed);
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: everything is the system's allocator's; the counters are apart from it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // What grows in its place is counted by what it grows.
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        count(size);
        ALLOCATED.fetch_sub(layout.size().min(size) as u64, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What something took.
struct Cost {
    allocated: u64,
    peak: u64,
    seconds: f64,
}

fn cost<T>(what: impl FnOnce() -> T) -> (Cost, T) {
    let (allocated, live) = (ALLOCATED.load(Relaxed), LIVE.load(Relaxed));
    PEAK.store(live, Relaxed);
    let started = Instant::now();
    let result = what();
    let seconds = started.elapsed().as_secs_f64();
    let cost = Cost { allocated: ALLOCATED.load(Relaxed) - allocated, peak: PEAK.load(Relaxed) - live, seconds };
    (cost, result)
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().and_then(|text| text.parse::<u32>().ok());
    let (Some(pid), Some(rounds)) = (number(), number()) else {
        return Err(Error::Usage("usage: scrape_cost PID ROUNDS".to_owned()));
    };
    let topics = TopicPolicy { limit: 100_000, ..TopicPolicy::default() };
    // What `zctrace serve` counts unless it is told otherwise.
    let parts = Parts { page_cache: true, order: true, ..Parts::default() };
    let probe = Probe::attach_with(LegChoice::Auto, Capacity::default(), parts)?;
    if let Some(missing) = probe.missing().first() {
        return Err(Error::Other(missing.clone()));
    }
    let mut fleet = Fleet::new(probe, "/proc".into(), Limits { topics, ..Limits::default() });
    fleet.admit("kafka-1", &target::inspect(Path::new("/proc"), pid)?)?;
    look(&mut fleet)?;
    let pages = Arc::new(Pages {
        fleet: Arc::new(Mutex::new(fleet)),
        stats: Arc::new(Stats::default()),
        web: Arc::new(WebHandle::new(None, Arc::new(WebStats::default()))?),
        registry: Registry::new(),
        telemetry_path: "/metrics".to_owned(),
        attach: Duration::ZERO,
    });
    let mut client = Client::new(serve(&pages).map_err(|error| Error::Other(error.to_string()))?)?;
    // The target moves its bytes now: a line on standard input says that it has.
    println!("watching");
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let mut scrapes = |headers: &str| -> io::Result<(Vec<Cost>, usize)> {
        // What is made once, at the first scrape, is no garbage.
        let mut bytes = client.get(headers)?;
        let mut costs = Vec::new();
        for _ in 0..rounds {
            let (cost, body) = cost(|| client.get(headers));
            (bytes, _) = (body?, costs.push(cost));
        }
        Ok((costs, bytes))
    };
    let (gzip, gzip_body) = scrapes("Accept-Encoding: gzip\r\n")?;
    let (plain, plain_body) = scrapes("")?;
    let processors: Vec<_> = [2, 8, 32]
        .map(|processors| (processors, (0..5).map(|_| simulated(&pages, &mut client, processors)).collect::<Vec<_>>()))
        .into();
    let fleet = pages.fleet.lock().map_err(|error| Error::Other(error.to_string()))?;
    let (crate_cost, _) = cost(|| as_metric_families(fleet.views()));
    drop(fleet);
    let list = |costs: &[Cost], of: fn(&Cost) -> f64| costs.iter().map(of).collect::<Vec<_>>();
    let of = |costs: &[Cost], body: usize| {
        serde_json::json!({
            "allocated": list(costs, |cost| cost.allocated as f64),
            "peak": list(costs, |cost| cost.peak as f64),
            "seconds": list(costs, |cost| cost.seconds),
            "body": body,
        })
    };
    let result = serde_json::json!({
        "gzip": of(&gzip, gzip_body),
        "plain": of(&plain, plain_body),
        "metric_families_allocated": crate_cost.allocated,
        "metric_families_peak": crate_cost.peak,
        "processors": processors,
    });
    println!("{result}");
    Ok(())
}

/// Looks at what the targets run on, and how much of their logs is in memory, as the service does.
fn look(fleet: &mut Fleet) -> Result<(), Error> {
    let (proc, sources) = (Path::new("/proc"), Sources::new(Path::new("/proc")));
    for (name, life, subject) in fleet.subjects() {
        let scanner = Scanner::new(proc, subject.pid, &machine::log_dirs(&sources, &subject));
        let scanner = scanner.map_err(|error| Error::Other(format!("the logs can't be seen: {error}")))?;
        fleet.note_residency(&name, life, scanner.finish(Duration::from_secs(60)));
        fleet.note_machine(&name, life, machine::look(&sources, &subject));
    }
    Ok(())
}

/// Answers as the service does, on a thread of its own.
fn serve(pages: &Arc<Pages>) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (site, web) = (Arc::clone(pages), Arc::clone(&pages.web));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener)?;
            let never = std::future::pending();
            web::serve(vec![listener], web, site, web::Limits::default(), never).await.map_err(io::Error::other)
        })
    });
    Ok(address)
}

/// A client that keeps its connection and its buffer.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address)?, buffer: vec![0; 1 << 16] })
    }

    /// Reads `/metrics` to its end; returns the length of its body.
    fn get(&mut self, headers: &str) -> io::Result<usize> {
        let broken = || io::Error::other("no answer");
        let mut request = io::Cursor::new(&mut self.buffer[..]);
        write!(request, "GET /metrics HTTP/1.1\r\nHost: x\r\n{headers}\r\n")?;
        let length = usize::try_from(request.position()).map_err(io::Error::other)?;
        self.stream.write_all(&self.buffer[..length])?;
        let mut read = 0;
        let end = loop {
            let more = self.stream.read(&mut self.buffer[read..])?;
            read += more;
            let end = self.buffer[..read].windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break end;
            } else if more == 0 {
                return Err(broken());
            }
        };
        let head = std::str::from_utf8(&self.buffer[..end]).map_err(io::Error::other)?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).ok_or_else(broken)?;
        let length: usize = length.parse().map_err(io::Error::other)?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other("an answer that is no 200"));
        }
        let mut left = length.saturating_sub(read - end - 4);
        while left > 0 {
            let more = self.stream.read(&mut self.buffer)?;
            if more == 0 {
                return Err(broken());
            }
            left = left.saturating_sub(more);
        }
        Ok(length)
    }
}

/// Seconds of a scrape for which the maps are read as often as would bring the values of so many processors, if this
/// machine had two.
fn simulated(pages: &Pages, client: &mut Client, processors: u32) -> f64 {
    let (cost, _) = cost(|| {
        for _ in 1..processors / 2 {
            let mut fleet = pages.fleet.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = fleet.read();
        }
        client.get("Accept-Encoding: gzip\r\n")
    });
    cost.seconds
}

/// The topics alone as a Collector of the `prometheus` crate would give them, and their text.
fn as_metric_families<'a>(views: impl Iterator<Item = &'a View>) -> usize {
    let label = |name: &str, value: &str| {
        let mut label = proto::LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value.to_owned());
        label
    };
    let mut metrics = Vec::new();
    for view in views {
        for topic in view.topics() {
            let partition = topic.partition.map(|partition| partition.to_string()).unwrap_or_default();
            for (path, bytes) in [
                ("zero_copy_read", topic.zero_copy_read_bytes),
                ("copied_read", topic.copied_read_bytes),
                ("written", topic.written_bytes),
            ] {
                let labels = vec![
                    label("target", &view.name),
                    label("topic", &topic.topic),
                    label("partition", &partition),
                    label("path", path),
                ];
                let mut metric = proto::Metric::from_label(labels);
                let mut counter = proto::Counter::default();
                counter.set_value(bytes as f64);
                metric.set_counter(counter);
                metrics.push(metric);
            }
        }
    }
    let mut family = proto::MetricFamily::default();
    family.set_name("zctrace_topic_bytes_total".to_owned());
    family.set_help("Bytes of log segments by path.".to_owned());
    family.set_field_type(proto::MetricType::COUNTER);
    family.set_metric(metrics);
    let mut text = String::new();
    TextEncoder::new().encode_utf8(&[family], &mut text).map_or(0, |()| text.len())
}
