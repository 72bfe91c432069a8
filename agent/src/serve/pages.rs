//! The pages: what the fleet looks like now.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use prometheus::{Registry, TextEncoder};

use super::{
    memory,
    web::{Response, Site, WebHandle},
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
    /// Bytes of the last exposition.
    last_exposition: AtomicUsize,
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

/// An exposition of more bytes leaves so much free memory behind that it is worth to give it back to the system.
const LARGE: usize = 1 << 20;
/// Width of the tables on the page.
const PAGE_WIDTH: usize = 120;

impl Site for Pages {
    fn get(&self, path: &str) -> Option<Response> {
        let answer = match path {
            path if path == self.telemetry_path => self.metrics(),
            "/" => self.page(),
            "/healthz" => Ok(text("text/plain; charset=utf-8", "ok\n".to_owned())),
            "/readyz" => Ok(self.ready()),
            "/api/v1/report" => self.reports(),
            _ => self.report(path.strip_prefix("/api/v1/report/")?)?,
        };
        Some(answer.unwrap_or_else(|error| {
            tracing::error!(%error, path, "the maps could not be read");
            Response { status: 500, ..text("text/plain; charset=utf-8", format!("{error}\n")) }
        }))
    }
}

impl Pages {
    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        // A panic elsewhere left counters that are still right: they are in the kernel.
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics(&self) -> Result<Response, ProbeError> {
        let started = Instant::now();
        let mut fleet = self.fleet();
        let views = fleet.views()?;
        let usage = fleet.last_usage().to_vec();
        let (leg, reason) = fleet.attach();
        let own = Own {
            leg: leg.to_owned(),
            reason: reason.to_owned(),
            attach: self.attach,
            scrape: started.elapsed(),
            usage,
            window: fleet.window(),
            refused: self.stats.refused.load(Ordering::Relaxed),
            forgotten: fleet.forgotten(),
            evicted: fleet.evicted(),
            scans: self.stats.scans.load(Ordering::Relaxed),
            web: self.seen(),
            config: self.stats.config.seen(),
            log_lines_lost: self.stats.lost.lines(),
            clock_set_back: self.stats.clock_set_back.load(Ordering::Relaxed),
        };
        drop(fleet);
        // As long as the last one: a buffer that grows is copied again and again.
        let mut body = String::with_capacity(self.stats.last_exposition.load(Ordering::Relaxed) + (4 << 10));
        render(&views, &own, &mut body);
        self.stats.last_exposition.store(body.len(), Ordering::Relaxed);
        // Before the process says how much memory it has.
        drop(views);
        if body.len() > LARGE {
            memory::give_back();
        }
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut body) {
            tracing::warn!(%error, "the metrics of zctrace's own process are missing");
        }
        Ok(text("text/plain; version=0.0.4; charset=utf-8", body))
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

    fn ready(&self) -> Response {
        let scans = self.stats.scans.load(Ordering::Relaxed);
        if scans > 0 {
            return text("text/plain; charset=utf-8", "ready\n".to_owned());
        }
        Response {
            status: 503,
            ..text("text/plain; charset=utf-8", "the first look for processes is not over\n".to_owned())
        }
    }

    fn reports(&self) -> Result<Response, ProbeError> {
        let documents: Vec<_> = self.fleet().views()?.iter().map(document).collect();
        Ok(text("application/json", format!("[{}]\n", documents.join(","))))
    }

    /// The document of one target; `None` where there is no such target.
    fn report(&self, name: &str) -> Option<Result<Response, ProbeError>> {
        let views = match self.fleet().views() {
            Ok(views) => views,
            Err(error) => return Some(Err(error)),
        };
        let view = views.iter().find(|view| view.name == name)?;
        Some(Ok(text("application/json", document(view))))
    }

    fn page(&self) -> Result<Response, ProbeError> {
        let style = Style { width: PAGE_WIDTH, unicode: true, ..Style::default() };
        let views = self.fleet().views()?;
        let mut body = String::from(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
             <title>zctrace</title></head><body><h1>zctrace</h1>\n",
        );
        body += &format!(
            "<p><a href=\"{0}\">{0}</a> · <a href=\"/api/v1/report\">JSON</a></p>\n",
            escaped(&self.telemetry_path)
        );
        if views.is_empty() {
            body += "<p>No process was found yet. It looks for them every few seconds.</p>\n";
        }
        for view in &views {
            let table = output::table::render(&view.report, &style);
            body += &format!("<h2>{}</h2>\n<pre>{}</pre>\n", escaped(&view.name), escaped(&table));
        }
        body += "</body></html>\n";
        Ok(text("text/html; charset=utf-8", body))
    }
}

fn document(view: &View) -> String {
    output::json::render(&view.report).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
}

fn text(content_type: &'static str, body: String) -> Response {
    Response { status: 200, content_type, body }
}

/// Text that no browser takes for markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
