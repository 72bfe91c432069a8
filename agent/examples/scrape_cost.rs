//! What one scrape allocates: `scrape_cost PID ROUNDS` watches a process, makes its `/metrics` as `zctrace serve` does, and
//! prints a JSON object. `cargo xtask bench serve` runs it. Every allocation of the process goes through the counting
//! allocator below, so that it needs privileges, but no service and no client.
#![allow(clippy::print_stdout)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prometheus::{Registry, TextEncoder, proto};
use zctrace::{
    error::Error,
    fleet::{Fleet, Limits, TopicPolicy, View},
    probe::{Capacity, LegChoice, Probe},
    serve::{
        Pages, Stats,
        web::{Site, WebHandle, WebStats},
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
    let probe = Probe::attach(LegChoice::Auto, Capacity::default())?;
    let mut fleet = Fleet::new(probe, "/proc".into(), Limits { topics, ..Limits::default() });
    fleet.admit("kafka-1", &target::inspect(Path::new("/proc"), pid)?)?;
    let pages = Pages {
        fleet: Arc::new(Mutex::new(fleet)),
        stats: Arc::new(Stats::default()),
        web: Arc::new(WebHandle::new(None, Arc::new(WebStats::default()))?),
        registry: Registry::new(),
        telemetry_path: "/metrics".to_owned(),
        attach: Duration::ZERO,
    };
    // The target moves its bytes now: a line on standard input says that it has.
    println!("watching");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    // What is made once, at the first scrape, is no garbage.
    let _ = pages.get("/metrics");
    let mut scrapes = Vec::new();
    let mut bytes = 0;
    for _ in 0..rounds {
        let (cost, response) = cost(|| pages.get("/metrics"));
        bytes = response.map_or(0, |response| response.body.len());
        scrapes.push(cost);
    }
    let processors: Vec<_> = [2, 8, 32]
        .map(|processors| (processors, (0..5).map(|_| simulated(&pages, processors)).collect::<Vec<_>>()))
        .into();
    let views = pages.fleet.lock().map_err(|error| Error::Other(error.to_string()))?.views()?;
    let (crate_cost, _) = cost(|| as_metric_families(&views));
    let list = |of: fn(&Cost) -> f64| scrapes.iter().map(of).collect::<Vec<_>>();
    let result = serde_json::json!({
        "allocated": list(|cost| cost.allocated as f64),
        "peak": list(|cost| cost.peak as f64),
        "seconds": list(|cost| cost.seconds),
        "body": bytes,
        "metric_families_allocated": crate_cost.allocated,
        "metric_families_peak": crate_cost.peak,
        "processors": processors,
    });
    println!("{result}");
    Ok(())
}

/// Seconds of a scrape for which the maps are read as often as would bring the values of so many processors, if this
/// machine had two.
fn simulated(pages: &Pages, processors: u32) -> f64 {
    let (cost, _) = cost(|| {
        for _ in 1..processors / 2 {
            let mut fleet = pages.fleet.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = fleet.views();
        }
        pages.get("/metrics")
    });
    cost.seconds
}

/// The topics alone as a Collector of the `prometheus` crate would give them, and their text.
fn as_metric_families(views: &[View]) -> usize {
    let label = |name: &str, value: &str| {
        let mut label = proto::LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value.to_owned());
        label
    };
    let mut metrics = Vec::new();
    for view in views {
        for topic in &view.topics {
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
