//! Looks at what the targets run on and at their logs, now and then. No scrape waits for that.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
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
/// How often to go on looking how much of the logs is in memory, and for how long each time.
const LOGS: Duration = Duration::from_secs(1);
const LOGS_AT_A_TIME: Duration = Duration::from_millis(20);
/// A pause after everything was looked at is so many times as long as that took of a processor: looks at all targets take three
/// parts in ten thousand of one.
const PAUSE: u32 = 3000;
/// The shortest and the longest pause.
const PAUSES: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(86_400)];
/// While all pauses last: how often to see who is there.
const TARGETS: Duration = Duration::from_secs(5);

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

/// A target's logs as far as they were looked at.
struct Looking {
    life: Life,
    scanner: Scanner,
    /// When to go on.
    due: Instant,
}

/// For as long as it is awaited.
pub(super) async fn at_logs(fleet: &Arc<Mutex<Fleet>>) {
    let mut looking = HashMap::new();
    loop {
        let fleet = Arc::clone(fleet);
        let look = move || {
            let next = look_at_logs(&fleet, &mut looking);
            (looking, next)
        };
        let next;
        (looking, next) = match tokio::task::spawn_blocking(look).await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::error!(%error, "the targets' logs could not be looked at");
                (HashMap::new(), PAUSES[0])
            }
        };
        tokio::time::sleep(next).await;
    }
}

/// Goes on with those whose time has come. Returns when to look again.
fn look_at_logs(fleet: &Mutex<Fleet>, looking: &mut HashMap<String, Looking>) -> Duration {
    let mut brokers = if lock(fleet).looks().1 { lock(fleet).subjects() } else { Vec::new() };
    brokers.retain(|(_, _, subject)| !subject.places.is_empty());
    looking.retain(|name, of| brokers.iter().any(|(running, life, _)| (running, *life) == (name, of.life)));
    let count = u32::try_from(brokers.len().max(1)).unwrap_or(u32::MAX);
    let mut next = TARGETS;
    for (name, life, subject) in brokers {
        let now = Instant::now();
        if !looking.contains_key(&name) {
            let log_dirs = machine::log_dirs(&Sources::new(Path::new(PROC)), &subject);
            // What can't be seen now may be seen the next time.
            let Ok(scanner) = Scanner::new(Path::new(PROC), subject.pid, &log_dirs) else { continue };
            looking.insert(name.clone(), Looking { life, scanner, due: now });
        }
        let Some(of) = looking.get_mut(&name).filter(|of| of.due <= now) else { continue };
        match of.scanner.step(LOGS_AT_A_TIME / count) {
            Some(residency) => {
                of.due = now + pause(of.scanner.take_spent(), count);
                lock(fleet).note_residency(&name, life, residency);
            }
            None => next = LOGS,
        }
    }
    next
}

/// How long to wait after a look at all logs of one of so many targets.
fn pause(spent: Duration, targets: u32) -> Duration {
    spent.saturating_mul(PAUSE).saturating_mul(targets).clamp(PAUSES[0], PAUSES[1])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_as_long_as_a_look_is_dear() {
        assert_eq!(pause(Duration::from_millis(1), 1), PAUSES[0]);
        assert_eq!(pause(Duration::from_millis(60), 1), Duration::from_secs(180));
        // All together they may take what one may.
        assert_eq!(pause(Duration::from_millis(60), 2), Duration::from_secs(360));
        assert_eq!(pause(Duration::MAX, 2), PAUSES[1]);
    }
}
