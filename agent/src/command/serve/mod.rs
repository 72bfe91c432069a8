//! `zctrace serve`: finds processes, follows them, and answers Prometheus.

mod follow;
mod look;
mod reload;

use std::{
    ffi::OsString,
    path::PathBuf,
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
    cli,
    error::{Error, Status},
    fleet::{Fleet, Limits, TopicPolicy},
    log::{self, Lost},
    privileges,
    probe::{Capacity, Parts, Probe, ProbeError},
    serve::{
        Pages, Stats,
        clock::Clocks,
        config::{self, Settings},
        memory,
        web::{self, Troubles, WebHandle, WebStats},
    },
};
use follow::Search;
use reload::Reload;

const PROC: &str = "/proc";
/// How often to look how full the maps are: counting a map's entries means to read them all.
const LOOK_AT_MAPS: Duration = Duration::from_secs(30);
/// How often to say in the log what clients did wrong.
const TELL_TROUBLES: Duration = Duration::from_secs(10);
/// Samples in the window of the ratios.
const SAMPLES: u32 = 12;

/// Serves until SIGTERM or Ctrl-C, as the command line says.
///
/// # Errors
/// What kept it from starting: nothing that happens later ends it.
pub fn run(arguments: Vec<OsString>) -> Result<Status, Error> {
    let settings = match config::resolve(&arguments) {
        Ok(settings) if !settings.options.check_config => settings,
        Err(error) if !is_check(&arguments) => return Err(error.into()),
        _ => return check(&arguments),
    };
    // Before any thread starts.
    memory::one_heap();
    memory::put_by();
    let dropped = privileges::drop_all_but_needed();
    let log = log::of_service(settings.options.log_format);
    match dropped {
        Ok(kept) => tracing::info!(kept = kept.join(" "), "all other capabilities are dropped"),
        Err(error) => tracing::warn!(%error, "capabilities that are not needed could not be dropped"),
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // What blocks: two answers in the making, a password, the configurations, a look for processes, a sample.
        .max_blocking_threads(8)
        // A thread that is there needs no memory to start when that is short.
        .thread_keep_alive(Duration::MAX)
        .build()
        .map_err(|error| Error::Other(format!("the runtime could not be started: {error}")))?
        .block_on(run_service(arguments, settings, log.lost.clone()))
}

fn is_check(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| argument == "--check-config")
}

fn check(arguments: &[OsString]) -> Result<Status, Error> {
    match config::check(arguments) {
        Ok(()) => {
            log::say("The configuration is fine.");
            Ok(Status::Done)
        }
        Err(mut wrong) => {
            let last = wrong.pop();
            wrong.iter().for_each(|error| log::say(&format!("zctrace: {error}")));
            last.map_or(Ok(Status::Usage), Err)
        }
    }
}

async fn run_service(arguments: Vec<OsString>, settings: Settings, lost: Lost) -> Result<Status, Error> {
    let options = &settings.options;
    // What comes while it starts is answered when it runs, and does not end it.
    let hangup = signals(SignalKind::hangup())?;
    // Listening comes first: what fails for want of an address fails before anything is in the kernel.
    let listeners = listen(options).await?;
    let web = Arc::new(WebHandle::new(options.web_config.as_deref(), Arc::new(WebStats::default()))?);
    let started = Instant::now();
    let parts = Parts {
        page_cache: !options.without.contains(&cli::Part::PageCache),
        syncs: options.syncs,
        order: !options.without.contains(&cli::Part::Order),
        latency: options.latency.then_some(options.slow),
        clients: options.clients.filter(|clients| *clients > 0),
    };
    let probe = Probe::attach_with(options.attach, capacity(options), parts)?;
    let attach = started.elapsed();
    // The kernel's types took some fifty megabytes while they were read.
    memory::give_back();
    memory::give_back_code();
    tracing::info!(leg = %probe.leg(), reason = probe.reason(), milliseconds = attach.as_millis(), "attached");
    let fleet = Arc::new(Mutex::new(Fleet::new(probe, PathBuf::from(PROC), limits(options))));
    let stats = Arc::new(Stats::new(lost));
    let site = Arc::new(Pages {
        fleet: Arc::clone(&fleet),
        stats: Arc::clone(&stats),
        web: Arc::clone(&web),
        registry: own_process(),
        telemetry_path: options.telemetry_path.clone(),
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
    let (searches, search) = watch::channel(Search::of(options));
    let reload = Arc::new(Reload::new(arguments, settings, searches, Arc::clone(&fleet), Arc::clone(&stats)));
    tokio::select! {
        () = follow::follow(search.clone(), &fleet, &stats) => {}
        () = sample(search, &fleet, &stats) => {}
        () = regularly(LOOK_AT_MAPS, &fleet, |fleet| fleet.make_room_in_maps(Instant::now())) => {}
        () = look::at_machines(&fleet) => {}
        () = look::at_logs(&fleet) => {}
        () = tell_troubles(&web) => {}
        () = hangups(hangup, &reload, &web) => {}
        ended = end() => ended?,
    }
    drop(stop);
    if let Ok(result) = server.await {
        result?;
    }
    drop(reload);
    let started = Instant::now();
    drop(fleet);
    tracing::info!(detached_in_milliseconds = started.elapsed().as_millis(), "ended");
    Ok(Status::Done)
}

async fn listen(options: &cli::Serve) -> Result<Vec<TcpListener>, Error> {
    let mut listeners = Vec::new();
    for address in &options.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::Other(format!("{address} can't be listened on: {error}. Choose another by --web.listen-address"))
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
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
    let with = |part| !options.without.contains(&part);
    let (machine, residency) = (with(cli::Part::Machine), with(cli::Part::Residency));
    Limits { topics, listeners: options.listeners, window: options.window, machine, residency, ..Limits::default() }
}

/// Metrics of zctrace's own process.
fn own_process() -> Registry {
    let registry = Registry::new();
    if let Err(error) = registry.register(Box::new(ProcessCollector::for_self())) {
        tracing::warn!(%error, "there will be no metrics of zctrace's own process");
    }
    registry
}

/// Says in the log what clients did wrong, and that memory was short, now and then, for as long as it is awaited.
async fn tell_troubles(web: &WebHandle) {
    let (mut tick, mut troubles) = (interval(TELL_TROUBLES), Troubles::default());
    let mut short = 0;
    loop {
        tick.tick().await;
        let times = memory::shortages();
        if times > short {
            memory::give_back();
            let reserve = memory::put_by();
            tracing::warn!(times = times - short, reserve, "memory is short: it was refused, and a reserve was used");
            short = times;
        }
        if let Some(news) = troubles.news(web.stats()) {
            tracing::warn!(news, "clients had trouble or made it");
        }
    }
}

fn signals(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|error| Error::Other(format!("signals can't be waited for: {error}")))
}

/// On SIGHUP all configurations are read again, for as long as it is awaited.
async fn hangups(mut hangup: Signal, reload: &Arc<Reload>, web: &Arc<WebHandle>) {
    while hangup.recv().await.is_some() {
        let (reload, web) = (Arc::clone(reload), Arc::clone(web));
        let again = move || {
            reload.again();
            web.reload()
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(again).await {
            tracing::error!(%error, "the web configuration in force is kept");
        }
    }
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

/// Takes the samples that the window needs, and looks whether the host's clock still goes forward.
async fn sample(mut search: watch::Receiver<Search>, fleet: &Arc<Mutex<Fleet>>, stats: &Arc<Stats>) {
    loop {
        let every = (search.borrow_and_update().window / SAMPLES).max(Duration::from_millis(100));
        let clocks = Mutex::new(Clocks::now());
        let what = Arc::new((clocks, Arc::clone(stats)));
        tokio::select! {
            () = regularly(every, fleet, move |fleet| { look_at_clock(&what.0, &what.1); fleet.sample() }) => {}
            // Without a sender there is no change any more, and no service.
            changed = search.changed() => if changed.is_err() { return },
        }
    }
}

fn look_at_clock(last: &Mutex<Clocks>, stats: &Stats) {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Clocks::now();
    if let Some(step) = last.set_back(&now) {
        stats.clock_set_back.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            seconds = step.as_secs_f64(),
            "the host's clock was set back; counts and windows do not go by it"
        );
    }
    *last = now;
}

/// Does something to the fleet again and again, for as long as it is awaited.
async fn regularly(
    every: Duration,
    fleet: &Arc<Mutex<Fleet>>,
    what: impl Fn(&mut Fleet) -> Result<(), ProbeError> + Clone + Send + 'static,
) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (fleet, what) = (Arc::clone(fleet), what.clone());
        let result = tokio::task::spawn_blocking(move || what(&mut lock(&fleet))).await;
        if let Ok(Err(error)) = result {
            if matches!(error, ProbeError::NoMemory { .. }) {
                memory::is_short();
            }
            tracing::error!(%error, "the maps could not be read");
        }
    }
}
