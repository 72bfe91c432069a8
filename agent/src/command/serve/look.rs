//! Looks at what the targets run on and at their logs, now and then. No scrape waits for that.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use super::{PROC, lock};
use crate::{
    fleet::{Fleet, Life},
    machine::{self, Sources},
    residency::Scanner,
};

/// How often to look at what the targets run on.
const MACHINES: Duration = Duration::from_secs(10);
/// How often to go on looking how much of the logs is in memory, and for how long each time: two hundredths of one
/// processor for all targets together, at most.
const LOGS: Duration = Duration::from_secs(1);
const LOGS_AT_A_TIME: Duration = Duration::from_millis(20);
/// How long to wait after everything was looked at before it is looked at again.
const ROUNDS: Duration = Duration::from_secs(15);

/// For as long as it is awaited.
pub(super) async fn at_machines(fleet: &Arc<Mutex<Fleet>>) {
    regularly(MACHINES, fleet, |fleet| {
        let sources = Sources::new(Path::new(PROC));
        let subjects = if lock(fleet).looks().0 { lock(fleet).subjects() } else { Vec::new() };
        for (name, life, subject) in subjects {
            let machine = machine::look(&sources, &subject);
            lock(fleet).note_machine(&name, life, machine);
        }
    })
    .await;
}

/// A target's logs as far as they were looked at, and ticks to wait before they are looked at again.
type Looking = HashMap<String, (Life, Scanner, u64)>;

/// For as long as it is awaited.
pub(super) async fn at_logs(fleet: &Arc<Mutex<Fleet>>) {
    let looking: Arc<Mutex<Looking>> = Arc::default();
    regularly(LOGS, fleet, move |fleet| {
        let mut looking = looking.lock().unwrap_or_else(PoisonError::into_inner);
        let subjects = if lock(fleet).looks().1 { lock(fleet).subjects() } else { Vec::new() };
        let brokers: Vec<_> = subjects.into_iter().filter(|(_, _, subject)| !subject.places.is_empty()).collect();
        looking.retain(|name, (life, ..)| brokers.iter().any(|(running, now, _)| (running, now) == (name, life)));
        let time = LOGS_AT_A_TIME / u32::try_from(brokers.len().max(1)).unwrap_or(u32::MAX);
        for (name, life, subject) in brokers {
            if !looking.contains_key(&name) {
                let log_dirs = machine::log_dirs(&Sources::new(Path::new(PROC)), &subject);
                // What can't be seen now may be seen the next time.
                let Ok(scanner) = Scanner::new(Path::new(PROC), subject.pid, &log_dirs) else { continue };
                looking.insert(name.clone(), (life, scanner, 0));
            }
            let Some((_, scanner, wait)) = looking.get_mut(&name) else { continue };
            if *wait > 0 {
                *wait -= 1;
            } else if let Some(residency) = scanner.step(time) {
                *wait = ROUNDS.as_secs() / LOGS.as_secs();
                lock(fleet).note_residency(&name, life, residency);
            }
        }
    })
    .await;
}

async fn regularly(every: Duration, fleet: &Arc<Mutex<Fleet>>, what: impl Fn(&Mutex<Fleet>) + Clone + Send + 'static) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (fleet, what) = (Arc::clone(fleet), what.clone());
        if let Err(error) = tokio::task::spawn_blocking(move || what(&fleet)).await {
            tracing::error!(%error, "what the targets run on could not be looked at");
        }
    }
}
