//! `zctrace serve`: finds processes, follows them, and answers Prometheus.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use prometheus::{Registry, process_collector::ProcessCollector};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    cli::{self, Discover},
    discover::{self, Discovery, Found, Rule},
    error::{Error, Status},
    fleet::{Fleet, Limits, TopicPolicy},
    privileges,
    probe::{Capacity, Probe, ProbeError},
    serve::{
        Pages, Stats,
        web::{self, WebHandle, WebStats},
    },
    target::Pidfd,
};

const PROC: &str = "/proc";
/// How often to look how full the maps are: counting a map's entries means to read them all.
const LOOK_AT_MAPS: Duration = Duration::from_secs(30);

/// Serves until SIGTERM or Ctrl-C.
///
/// # Errors
/// What kept it from starting: nothing that happens later ends it.
pub fn run(options: &cli::Serve) -> Result<Status, Error> {
    if options.check_config {
        if let Some(path) = &options.web_config {
            web::check(path)?;
        }
        eprintln!("The configuration is fine.");
        return Ok(Status::Done);
    }
    // Before any thread starts.
    if let Err(error) = privileges::drop_all_but_needed() {
        tracing::warn!(%error, "capabilities that are not needed could not be dropped");
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // What blocks: two answers in the making, a password, the web configuration, a look for processes, a sample.
        .max_blocking_threads(8)
        .build()
        .map_err(|error| Error::Other(format!("the runtime could not be started: {error}")))?
        .block_on(run_service(options))
}

async fn run_service(options: &cli::Serve) -> Result<Status, Error> {
    // Listening comes first: what fails for want of an address fails before anything is in the kernel.
    let mut listeners = Vec::new();
    for address in &options.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::Other(format!("{address} can't be listened on: {error}. Choose another by --web.listen-address"))
        })?;
        listeners.push(listener);
    }
    let web = Arc::new(WebHandle::new(options.web_config.as_deref(), Arc::new(WebStats::default()))?);
    let started = Instant::now();
    let probe = Probe::attach(options.attach, capacity(options))?;
    let attach = started.elapsed();
    give_memory_back();
    tracing::info!(leg = %probe.leg(), reason = probe.reason(), milliseconds = attach.as_millis(), "attached");
    let fleet = Arc::new(Mutex::new(Fleet::new(probe, PathBuf::from(PROC), limits(options))));
    let stats = Arc::new(Stats::default());
    let site = Arc::new(Pages {
        fleet: Arc::clone(&fleet),
        stats: Arc::clone(&stats),
        web: Arc::clone(&web),
        registry: own_process(),
        telemetry_path: options.telemetry_path.clone(),
        window: options.window,
        attach,
    });
    let (stop, stopped) = watch::channel(());
    for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        tracing::info!(%address, path = options.telemetry_path, "listening");
    }
    let stopped = async move {
        let mut stopped = stopped;
        drop(stopped.changed().await);
    };
    let server = tokio::spawn(web::serve(listeners, Arc::clone(&web), site, web::Limits::default(), stopped));
    let follow = follow(Discovery::new(PathBuf::from(PROC), rules(options)), &fleet, &stats, options.interval);
    let sample_every = (options.window / 12).max(Duration::from_millis(100));
    tokio::select! {
        () = follow => {}
        () = regularly(sample_every, &fleet, Fleet::sample) => {}
        () = regularly(LOOK_AT_MAPS, &fleet, |fleet| fleet.make_room_in_maps(Instant::now())) => {}
        failed = refresh(&fleet, &web) => failed?,
        ended = end() => ended?,
    }
    drop(stop);
    if let Ok(result) = server.await {
        result?;
    }
    tracing::info!("ended");
    Ok(Status::Done)
}

/// The kernel's types took some fifty megabytes while they were read. The C library would keep them for later.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a call without arguments that matter; what is in use stays.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn capacity(options: &cli::Serve) -> Capacity {
    let transfers = u32::from(options.targets) * 512;
    Capacity { targets: options.targets, transfers, files: options.files, directories: (options.files / 2).max(1) }
}

fn limits(options: &cli::Serve) -> Limits {
    let topics = TopicPolicy {
        limit: options.topics,
        allow: options.allow.clone(),
        deny: options.deny.clone(),
        aggregate: options.aggregate,
    };
    Limits { topics, listeners: options.listeners, window: options.window, ..Limits::default() }
}

fn rules(options: &cli::Serve) -> Vec<Rule> {
    let named = options.pid.iter().map(|pid| Rule::Pid(*pid)).chain(options.matches.iter().cloned().map(Rule::Match));
    let mut rules: Vec<_> = named.collect();
    let discover = options.discover.unwrap_or(if rules.is_empty() { Discover::Kafka } else { Discover::None });
    if discover == Discover::Kafka {
        rules.push(Rule::Kafka);
    }
    rules
}

/// Metrics of zctrace's own process.
fn own_process() -> Registry {
    let registry = Registry::new();
    if let Err(error) = registry.register(Box::new(ProcessCollector::for_self())) {
        tracing::warn!(%error, "there will be no metrics of zctrace's own process");
    }
    registry
}

fn signals(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|error| Error::Other(format!("signals can't be waited for: {error}")))
}

/// On SIGHUP the brokers' configurations and the web configuration are read again. Ends only where the signal can't be waited for.
async fn refresh(fleet: &Arc<Mutex<Fleet>>, web: &Arc<WebHandle>) -> Result<(), Error> {
    let mut hangup = signals(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: reading the configurations of all targets again");
        let (fleet, web) = (Arc::clone(fleet), Arc::clone(web));
        let refresh = move || {
            lock(&fleet).refresh();
            web.reload()
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(refresh).await {
            tracing::error!(%error, "the web configuration in force is kept");
        }
    }
    Ok(())
}

async fn end() -> Result<(), Error> {
    let (mut interrupt, mut terminate) = (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn lock(fleet: &Mutex<Fleet>) -> MutexGuard<'_, Fleet> {
    fleet.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something to the fleet again and again, for as long as it is awaited.
async fn regularly(
    every: Duration,
    fleet: &Arc<Mutex<Fleet>>,
    what: impl Fn(&mut Fleet) -> Result<(), ProbeError> + Copy + Send + 'static,
) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let fleet = Arc::clone(fleet);
        let result = tokio::task::spawn_blocking(move || what(&mut lock(&fleet))).await;
        if let Ok(Err(error)) = result {
            tracing::error!(%error, "the maps could not be read");
        }
    }
}

/// Looks for processes, and follows each until it ends.
async fn follow(discovery: Discovery, fleet: &Arc<Mutex<Fleet>>, stats: &Arc<Stats>, every: Duration) {
    let discovery = Arc::new(Mutex::new(discovery));
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (discovery, fleet, stats) = (Arc::clone(&discovery), Arc::clone(fleet), Arc::clone(stats));
        let found = tokio::task::spawn_blocking({
            let fleet = Arc::clone(&fleet);
            move || scan(&discovery, &fleet, &stats)
        });
        for (name, pidfd) in found.await.unwrap_or_default() {
            tokio::spawn(until_its_end(name, pidfd, Arc::clone(&fleet)));
        }
    }
}

fn scan(discovery: &Mutex<Discovery>, fleet: &Mutex<Fleet>, stats: &Stats) -> Vec<(String, Pidfd)> {
    let mut discovery = discovery.lock().unwrap_or_else(PoisonError::into_inner);
    let running: BTreeSet<String> = lock(fleet).running().map(|(name, _)| name.to_owned()).collect();
    let mut admitted = Vec::new();
    for found in discovery.scan(&running) {
        let pid = found.process.pid;
        match admit(&found, fleet) {
            Ok(Some(pidfd)) => admitted.push((found.name, pidfd)),
            // It has ended already.
            Ok(None) => {}
            Err(error) => {
                stats.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(target_name = found.name, pid, %error, "it can't be watched; it is tried again");
                discovery.forget(pid);
            }
        }
    }
    stats.scans.fetch_add(1, Ordering::Relaxed);
    admitted
}

/// Begins to count for a process, if it is still the one that was found.
fn admit(found: &Found, fleet: &Mutex<Fleet>) -> Result<Option<Pidfd>, Error> {
    let Ok(pidfd) = Pidfd::open(found.process.pid) else { return Ok(None) };
    // From here on the PID can't be given to another process unnoticed: the descriptor would tell of this one's end.
    if !discover::is_same(Path::new(PROC), found) {
        return Ok(None);
    }
    lock(fleet).admit(&found.name, &found.process)?;
    Ok(Some(pidfd))
}

async fn until_its_end(name: String, pidfd: Pidfd, fleet: Arc<Mutex<Fleet>>) {
    pidfd.ended().await;
    let retired = tokio::task::spawn_blocking(move || (lock(&fleet).retire(&name), name)).await;
    if let Ok((Err(error), name)) = retired {
        tracing::error!(target_name = name, %error, "its last counts could not be read");
    }
}
