//! The pages: what the fleet looks like now.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use prometheus::{Encoder, Registry, TextEncoder};

use super::{
    memory,
    web::{Head, Site, WebHandle},
};
use crate::{
    fleet::{Fleet, View},
    log::Lost,
    output::{
        self, Style,
        prometheus::{Configuration, Own, Web, render},
    },
    probe::ProbeError,
};

/// What happened beside the counts.
#[derive(Debug, Default)]
pub struct Stats {
    /// Processes that could not be watched.
    pub refused: AtomicU64,
    /// Scans for processes.
    pub scans: AtomicU64,
    /// Times that the host's clock was found set back.
    pub clock_set_back: AtomicU64,
    /// See [`ConfigStats`].
    pub config: ConfigStats,
    /// Log lines that were lost.
    pub lost: Lost,
    /// Topics with series at the last scrape.
    topics: AtomicUsize,
}

/// What became of the configuration.
#[derive(Debug, Default)]
pub struct ConfigStats {
    /// Readings after the first that were taken.
    pub reloads: AtomicU64,
    /// Readings that were not.
    pub failed: AtomicU64,
    /// Whether the last reading failed.
    last_failed: AtomicBool,
    /// When it was last taken, in milliseconds since 1970.
    taken: AtomicU64,
    /// Flags that change only when zctrace is started again.
    pub restart: Mutex<Vec<String>>,
}

impl Stats {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(lost: Lost) -> Self {
        Self { lost, ..Self::default() }
    }
}

impl ConfigStats {
    /// A configuration was read and taken.
    pub fn taken(&self, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.taken.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.last_failed.store(false, Ordering::Relaxed);
    }

    /// A configuration was read and can't be used.
    pub fn refused(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.last_failed.store(true, Ordering::Relaxed);
    }

    fn seen(&self) -> Configuration {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Configuration {
            successful: !self.last_failed.load(Ordering::Relaxed),
            taken: Duration::from_millis(of(&self.taken)),
            reloads: [("ok", of(&self.reloads)), ("failed", of(&self.failed))],
            restart: self.restart.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Everything that a request can ask for.
pub struct Pages {
    /// The targets.
    pub fleet: Arc<Mutex<Fleet>>,
    /// See [`Stats`].
    pub stats: Arc<Stats>,
    /// The web configuration, and what the server has seen.
    pub web: Arc<WebHandle>,
    /// zctrace's own process metrics.
    pub registry: Registry,
    /// Path of the metrics.
    pub telemetry_path: String,
    /// Time that attaching took.
    pub attach: Duration,
}

/// More topics than this with series, or fewer, than at the last scrape are worth a look at what is free.
const MANY: usize = 500;
/// Width of the tables on the page.
const PAGE_WIDTH: usize = 120;

impl Site for Pages {
    fn get(&self, path: &str, body: &mut dyn Write) -> Option<Head> {
        let answer = match path {
            path if path == self.telemetry_path => self.metrics(body),
            "/" => self.page(body),
            "/healthz" => say(body, "ok\n", 200),
            "/readyz" => self.ready(body),
            "/api/v1/report" => self.reports(body),
            _ => self.report(path.strip_prefix("/api/v1/report/")?, body).transpose()?,
        };
        Some(answer.unwrap_or_else(|error| {
            if matches!(error, PageError::Probe(ProbeError::NoMemory { .. })) {
                memory::is_short();
            }
            tracing::error!(%error, path, "an answer could not be made");
            // Nothing has been written where the maps could not be read.
            let _ = writeln!(body, "{error}");
            Head { status: 500, content_type: PLAIN }
        }))
    }
}

/// What keeps an answer from being made: the maps could not be read, or the text not be written.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("the answer could not be written: {0}")]
    Write(#[from] io::Error),
}

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

fn say(body: &mut dyn Write, text: &str, status: u16) -> Result<Head, PageError> {
    body.write_all(text.as_bytes())?;
    Ok(Head { status, content_type: PLAIN })
}

impl Pages {
    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        // A panic elsewhere left counters that are still right: they are in the kernel.
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics(&self, body: &mut dyn Write) -> Result<Head, PageError> {
        let started = Instant::now();
        let mut fleet = self.fleet();
        fleet.read()?;
        let (leg, reason) = fleet.attach();
        let own = Own {
            leg: leg.to_owned(),
            reason: reason.to_owned(),
            attach: self.attach,
            scrape: started.elapsed(),
            usage: fleet.last_usage().to_vec(),
            window: fleet.window(),
            refused: self.stats.refused.load(Ordering::Relaxed),
            forgotten: fleet.forgotten(),
            evicted: fleet.evicted(),
            scans: self.stats.scans.load(Ordering::Relaxed),
            web: self.seen(),
            config: self.stats.config.seen(),
            log_lines_lost: self.stats.lost.lines(),
            clock_set_back: self.stats.clock_set_back.load(Ordering::Relaxed),
            memory_short: memory::shortages(),
        };
        // Written while the fleet is held: the views are its memory, not a copy.
        let views: Vec<&View> = fleet.views().collect();
        render(&views, &own, body)?;
        let topics = views.iter().map(|view| view.topic_count()).sum();
        drop(views);
        drop(fleet);
        // What is kept has grown, which leaves a lot of smaller pieces behind.
        if self.stats.topics.swap(topics, Ordering::Relaxed).abs_diff(topics) > MANY {
            memory::give_back();
        }
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut &mut *body) {
            tracing::warn!(%error, "the metrics of zctrace's own process are missing");
        }
        Ok(Head { status: 200, content_type: "text/plain; version=0.0.4; charset=utf-8" })
    }

    /// What the server has seen.
    fn seen(&self) -> Web {
        let stats = self.web.stats();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Web {
            responses: stats.responses.each_ref().map(of),
            denied: of(&stats.denied),
            connections: of(&stats.connections),
            cut: [
                ("timeout", of(&stats.timeouts)),
                ("malformed", of(&stats.malformed)),
                ("tls_handshake", of(&stats.tls_failures)),
                ("evicted", of(&stats.connections_evicted)),
                ("accept", of(&stats.accept_errors)),
            ],
            reloads: [("ok", of(&stats.reloads)), ("failed", of(&stats.reloads_failed))],
        }
    }

    fn ready(&self, body: &mut dyn Write) -> Result<Head, PageError> {
        match self.stats.scans.load(Ordering::Relaxed) {
            0 => say(body, "the first look for processes is not over\n", 503),
            _ => say(body, "ready\n", 200),
        }
    }

    fn reports(&self, body: &mut dyn Write) -> Result<Head, PageError> {
        let mut fleet = self.fleet();
        fleet.read()?;
        let mut before = "[";
        for view in fleet.views() {
            write!(body, "{before}{}", document(view))?;
            before = ",";
        }
        body.write_all(if before == "[" { b"[]\n" } else { b"]\n" })?;
        Ok(Head { status: 200, content_type: JSON })
    }

    /// The document of one target; `None` where there is no such target.
    fn report(&self, name: &str, body: &mut dyn Write) -> Result<Option<Head>, PageError> {
        let mut fleet = self.fleet();
        fleet.read()?;
        let Some(view) = fleet.views().find(|view| view.name == name) else { return Ok(None) };
        body.write_all(document(view).as_bytes())?;
        Ok(Some(Head { status: 200, content_type: JSON }))
    }

    fn page(&self, body: &mut dyn Write) -> Result<Head, PageError> {
        let style = Style { width: PAGE_WIDTH, unicode: true, ..Style::default() };
        let mut fleet = self.fleet();
        fleet.read()?;
        body.write_all(
            b"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
              <title>zctrace</title></head><body><h1>zctrace</h1>\n",
        )?;
        let metrics = escaped(&self.telemetry_path);
        writeln!(body, "<p><a href=\"{metrics}\">{metrics}</a> · <a href=\"/api/v1/report\">JSON</a></p>")?;
        if fleet.views().next().is_none() {
            writeln!(body, "<p>No process was found yet. It looks for them every few seconds.</p>")?;
        }
        for view in fleet.views() {
            let table = output::table::render(&view.report, &style);
            writeln!(body, "<h2>{}</h2>\n<pre>{}</pre>", escaped(&view.name), escaped(&table))?;
        }
        writeln!(body, "</body></html>")?;
        Ok(Head { status: 200, content_type: "text/html; charset=utf-8" })
    }
}

fn document(view: &View) -> String {
    output::json::render(&view.report).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
}

/// Text that no browser takes for markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
