//! The one-shot: attach, watch, report.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    cli::{Output, Part, Watch},
    cpu::{self, Account},
    error::{Error, Status},
    facts,
    output::{self, Bytes, Progress, Style},
    probe::{Capacity, Parts, Probe, Slot},
    report::{self, Attach, Egress, EndedBy, Facts, Report, Window},
    snapshot::Snapshot,
    target::{self, Pidfd},
};

/// How long to look how much of the logs is in memory, at most.
const LOOK_AT_LOGS: Duration = Duration::from_secs(5);
/// How often the progress line is made new. Reading the maps costs the target nothing.
const PROGRESS: Duration = Duration::from_millis(250);

/// How often threads are looked at: what one used since the last time is lost where it ends.
const LOOK: Duration = Duration::from_secs(5);

/// Watches the process that `options` names, and prints its summary.
///
/// # Errors
/// What kept it from watching. A target that ends in the middle is none: its summary is printed.
pub async fn run(options: &Watch) -> Result<Status, Error> {
    let Some(pid) = options.pid else {
        return Err(Error::Usage("which process? Say `--pid PID`, or `zctrace --help`".to_owned()));
    };
    let report = watch(pid, options).await?;
    let text = match options.output {
        Output::Json => output::json::render(&report)?,
        Output::Table => {
            let bytes = if options.bytes { Bytes::Exact } else { Bytes::Human };
            output::table::render(&report, &Style { bytes, all: options.all, ..Style::detect() })
        }
    };
    output::print(&text)?;
    Ok(match report.window.ended_by {
        EndedBy::TargetExit => {
            eprintln!(
                "zctrace: process {pid} ended after {:.1} s; what it did until then is above",
                report.window.seconds
            );
            Status::TargetEnded
        }
        EndedBy::Duration | EndedBy::Signal | EndedBy::StillRunning => Status::Done,
    })
}

async fn watch(pid: u32, options: &Watch) -> Result<Report, Error> {
    let proc = Path::new("/proc");
    // The descriptor comes first: while it says that the process lives, its PID names no other one.
    let process = target::inspect(proc, pid)?;
    let pidfd = Pidfd::open(pid)?;
    let mut facts = facts::gather(proc, &process);
    let with = |part| !options.without.contains(&part);
    if with(Part::Machine) {
        facts::look_at_machine(proc, &mut facts);
    }
    let latency = options.latency.then_some(options.slow);
    let parts = Parts {
        page_cache: with(Part::PageCache),
        latency,
        clients: options.clients,
        order: with(Part::Order),
        syncs: options.syncs,
    };
    let mut probe = Probe::attach_with(options.attach, Capacity::default(), parts)?;
    facts.problems.extend(probe.missing());
    facts.slow = probe.slow().unwrap_or_default();
    let mut unknown_listeners = None;
    let slot = probe.watch(pid, || {
        target::listening_ports(proc, pid).unwrap_or_else(|error| {
            unknown_listeners = Some(format!("{error} Connections of listeners opened before are shown as outbound."));
            Default::default()
        })
    })?;
    let disk_reads = facts::disk_read_bytes(proc, pid);
    let (start, started) = (SystemTime::now(), Instant::now());
    facts.problems.extend(unknown_listeners);
    let mut account = account(&probe, slot, proc, pid, &mut facts);
    let ended_by = wait(&probe, slot, &pidfd, options.duration, &facts.target.name, started, account.as_mut()).await?;
    probe.stop(slot)?;
    // The kernel's account goes with the process.
    facts.disk_read_bytes =
        facts::disk_read_bytes(proc, pid).zip(disk_reads).map(|(now, then)| now.saturating_sub(then));
    let seconds = started.elapsed().as_secs_f64();
    if let Some(account) = &mut account {
        account.look(|tids| probe.sends(slot, tids))?;
    }
    let mut delta = probe.snapshot(slot)?.since(&Snapshot::default());
    delta.cpu = account.map(|account| account.cpu().clone());
    if let Some(path) = &options.record {
        std::fs::write(path, serde_json::to_string(&delta)?)?;
    }
    // Of a process that is gone, what was seen when it began.
    if with(Part::Residency) && ended_by != EndedBy::TargetExit {
        facts::look_at_logs(proc, &mut facts, LOOK_AT_LOGS);
    }
    if with(Part::Machine) && ended_by != EndedBy::TargetExit {
        facts::look_at_machine(proc, &mut facts);
    }
    if facts.io_uring != Some(true) {
        facts.io_uring = target::io_uring_in_use(proc, pid).or(facts.io_uring);
    }
    facts.kernel_tls = facts.kernel_tls.max(target::kernel_tls_connections(proc, pid));
    let window = Window { start: humantime::format_rfc3339_millis(start).to_string(), seconds, ended_by };
    let attach = detached(probe);
    Ok(report::build(&delta, &facts, window, attach))
}

/// Takes the hooks away, and says how they were.
fn detached(probe: Probe) -> Attach {
    let attach = facts::attach(&probe);
    let started = Instant::now();
    drop(probe);
    Attach { detach_seconds: Some(started.elapsed().as_secs_f64()), ..attach }
}

/// Begins to add up the processor time of the process; `None`, with a problem noted, where it can't be told.
fn account(probe: &Probe, slot: Slot, proc: &Path, pid: u32, facts: &mut Facts) -> Option<Account> {
    let account = cpu::begin(probe.is_called(slot, pid), proc, pid, facts.has_remote_storage());
    account.map_err(|problem| facts.problems.push(problem.to_string())).ok()
}

async fn wait(
    probe: &Probe,
    slot: Slot,
    pidfd: &Pidfd,
    duration: Option<Duration>,
    name: &str,
    started: Instant,
    mut account: Option<&mut Account>,
) -> Result<EndedBy, Error> {
    let signals = |kind| signal(kind).map_err(|error| Error::Other(format!("signals can't be waited for: {error}")));
    let (mut interrupt, mut terminate) = (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
    let progress = Progress::start(duration, name);
    let mut tick = interval(PROGRESS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let over = sleep(duration.unwrap_or(Duration::MAX));
    tokio::pin!(over);
    let ended_by = loop {
        tokio::select! {
            biased;
            () = pidfd.ended() => break EndedBy::TargetExit,
            _ = interrupt.recv() => break EndedBy::Signal,
            _ = terminate.recv() => break EndedBy::Signal,
            () = &mut over => break EndedBy::Duration,
            _ = look.tick(), if account.is_some() => {
                if let Some(account) = &mut account {
                    account.look(|tids| probe.sends(slot, tids))?;
                }
            }
            _ = tick.tick(), if progress.is_shown() => {
                progress.update(started.elapsed(), &egress(&probe.transfers(slot)?));
            }
        }
    };
    progress.finish();
    Ok(ended_by)
}

/// Egress so far.
fn egress(snapshot: &Snapshot) -> Egress {
    report::total_egress(snapshot)
}
