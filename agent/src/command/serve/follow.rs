//! Looks for processes, and follows each until it ends.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{PROC, lock};
use crate::{
    cli::{self, Discover},
    discover::{self, Discovery, Found, Rule},
    error::Error,
    fleet::{Fleet, Life},
    serve::{Stats, memory},
    target::{Pidfd, TargetError},
};

/// What is looked for, and how often: what a change of the configuration may change.
#[derive(Clone, Debug)]
pub(super) struct Search {
    rules: Vec<Rule>,
    every: Duration,
    pub(super) window: Duration,
}

impl Search {
    pub(super) fn of(options: &cli::Serve) -> Self {
        Self { rules: rules(options), every: options.interval, window: options.window }
    }
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

/// A process that is watched from now on.
type Admitted = (String, Life, Pidfd);

pub(super) async fn follow(mut search: watch::Receiver<Search>, fleet: &Arc<Mutex<Fleet>>, stats: &Arc<Stats>) {
    let first = search.borrow_and_update().clone();
    let discovery = Arc::new(Mutex::new(Discovery::new(PathBuf::from(PROC), first.rules)));
    let mut every = first.every;
    loop {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => look(&discovery, fleet, stats).await,
                changed = search.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
            }
        }
        let now = search.borrow_and_update().clone();
        every = now.every;
        let (discovery, fleet) = (Arc::clone(&discovery), Arc::clone(fleet));
        let change = move || look_for(&discovery, &fleet, now.rules);
        drop(tokio::task::spawn_blocking(change).await);
    }
}

async fn look(discovery: &Arc<Mutex<Discovery>>, fleet: &Arc<Mutex<Fleet>>, stats: &Arc<Stats>) {
    let (discovery, stats) = (Arc::clone(discovery), Arc::clone(stats));
    let found = tokio::task::spawn_blocking({
        let fleet = Arc::clone(fleet);
        move || scan(&discovery, &fleet, &stats)
    });
    for (name, life, pidfd) in found.await.unwrap_or_default() {
        tokio::spawn(until_its_end(name, life, pidfd, Arc::clone(fleet)));
    }
}

/// Looks for something else from now on, and lets go what nobody asks for any more.
fn look_for(discovery: &Mutex<Discovery>, fleet: &Mutex<Fleet>, rules: Vec<Rule>) {
    let mut discovery = discovery.lock().unwrap_or_else(PoisonError::into_inner);
    discovery.look_for(rules);
    let mut fleet = lock(fleet);
    let unwanted: Vec<_> =
        fleet.running().filter(|(_, pid)| !discovery.wants(*pid)).map(|(name, pid)| (name.to_owned(), pid)).collect();
    for (name, pid) in unwanted {
        tracing::info!(target_name = name, pid, "nobody asks for it any more");
        if let Err(error) = fleet.retire(&name) {
            tracing::error!(target_name = name, %error, "its last counts could not be read");
        }
    }
}

fn scan(discovery: &Mutex<Discovery>, fleet: &Mutex<Fleet>, stats: &Stats) -> Vec<Admitted> {
    let mut discovery = discovery.lock().unwrap_or_else(PoisonError::into_inner);
    let running = let_go_of_ended(fleet);
    let mut admitted = Vec::new();
    let mut refused = 0;
    for found in discovery.scan(&running) {
        let pid = found.process.pid;
        match admit(&found, fleet) {
            Ok(Some((life, pidfd))) => admitted.push((found.name, life, pidfd)),
            // It has ended already.
            Ok(None) => {}
            Err(error) => {
                // There may be thousands: one is told in full.
                if refused == 0 {
                    tracing::error!(target_name = found.name, pid, %error, "it can't be watched; it is tried again");
                }
                refused += 1;
                discovery.forget(pid);
            }
        }
    }
    if refused > 1 {
        tracing::error!(processes = refused, "so many in all can't be watched; they are tried again");
    }
    stats.refused.fetch_add(refused, Ordering::Relaxed);
    if stats.scans.fetch_add(1, Ordering::Relaxed) == 0 {
        // The first look is the end of the start.
        memory::give_back();
        memory::give_back_code();
    }
    admitted
}

/// Lets go of those whose end is not yet noticed: what comes in the place of one of them is to have its name. Returns who runs.
fn let_go_of_ended(fleet: &Mutex<Fleet>) -> BTreeSet<String> {
    let has_ended = |pid: u32| match Pidfd::open(pid) {
        Ok(pidfd) => pidfd.has_ended(),
        Err(error) => error == TargetError::NoProcess(pid),
    };
    let mut fleet = lock(fleet);
    let running: Vec<_> = fleet.running().map(|(name, pid)| (name.to_owned(), pid)).collect();
    let (ended, running): (Vec<_>, Vec<_>) = running.into_iter().partition(|(_, pid)| has_ended(*pid));
    for (name, _) in ended {
        if let Err(error) = fleet.retire(&name) {
            tracing::error!(target_name = name, %error, "its last counts could not be read");
        }
    }
    running.into_iter().map(|(name, _)| name).collect()
}

/// Begins to count for a process, if it is still the one that was found.
fn admit(found: &Found, fleet: &Mutex<Fleet>) -> Result<Option<(Life, Pidfd)>, Error> {
    let Ok(pidfd) = Pidfd::open(found.process.pid) else { return Ok(None) };
    // From here on the PID can't be given to another process unnoticed: the descriptor would tell of this one's end.
    if !discover::is_same(Path::new(PROC), found) {
        return Ok(None);
    }
    let life = lock(fleet).admit(&found.name, &found.process)?;
    Ok(Some((life, pidfd)))
}

async fn until_its_end(name: String, life: Life, pidfd: Pidfd, fleet: Arc<Mutex<Fleet>>) {
    pidfd.ended().await;
    let retired = tokio::task::spawn_blocking(move || (lock(&fleet).end(&name, life), name)).await;
    if let Ok((Err(error), name)) = retired {
        tracing::error!(target_name = name, %error, "its last counts could not be read");
    }
}
