//! What happens on SIGHUP: the configuration file is read again, and what can change while it runs is changed.

use std::{
    ffi::OsString,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::SystemTime,
};

use tokio::sync::watch;

use super::{follow::Search, limits, lock};
use crate::{
    fleet::Fleet,
    serve::{
        Stats,
        config::{self, Settings},
    },
};

/// Flags whose values can change while it runs. All others are about what is made at the start: maps, hooks, sockets.
const CHANGEABLE: [&str; 10] = [
    "discover",
    "pid",
    "match",
    "discover.interval",
    "window",
    "topics.limit",
    "topics.allow",
    "topics.deny",
    "topics.aggregate",
    "listeners.limit",
];

/// The configuration in force, and whom its changes go to.
pub(super) struct Reload {
    arguments: Vec<OsString>,
    /// What it started with: what can't change is still so.
    started: Settings,
    in_force: Mutex<Settings>,
    searches: watch::Sender<Search>,
    fleet: Arc<Mutex<Fleet>>,
    stats: Arc<Stats>,
}

impl Reload {
    pub(super) fn new(
        arguments: Vec<OsString>,
        settings: Settings,
        searches: watch::Sender<Search>,
        fleet: Arc<Mutex<Fleet>>,
        stats: Arc<Stats>,
    ) -> Self {
        stats.config.taken(SystemTime::now());
        Self { arguments, started: settings.clone(), in_force: Mutex::new(settings), searches, fleet, stats }
    }

    /// Reads everything again. A file that can't be used changes nothing.
    pub(super) fn again(&self) {
        tracing::info!("SIGHUP: reading the configurations again");
        lock(&self.fleet).refresh();
        let stats = &self.stats.config;
        let new = match config::resolve(&self.arguments) {
            Ok(new) => new,
            Err(error) => {
                stats.refused();
                tracing::error!(%error, "the changed configuration can't be used; the one before stays in force");
                return;
            }
        };
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let changed: Vec<&str> = in_force.differences(&new).filter(|name| CHANGEABLE.contains(name)).collect();
        let for_later: Vec<&str> = self.started.differences(&new).filter(|name| !CHANGEABLE.contains(name)).collect();
        if !changed.is_empty() {
            if let Err(error) = lock(&self.fleet).change(limits(&new.options)) {
                // The limits count all the same; only what `(other)` goes on from could not be read.
                tracing::error!(%error, "the maps could not be read");
            }
            // Where nobody receives it the service is about to end.
            let _ = self.searches.send(Search::of(&new.options));
            tracing::info!(settings = changed.join(" "), "changed");
        }
        if !for_later.is_empty() {
            tracing::warn!(settings = for_later.join(" "), "these settings change when zctrace is started again");
        }
        *stats.restart.lock().unwrap_or_else(PoisonError::into_inner) =
            for_later.into_iter().map(str::to_owned).collect();
        stats.reloads.fetch_add(1, Ordering::Relaxed);
        stats.taken(SystemTime::now());
        *in_force = new;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documentation_says_what_changes_when() {
        let text = include_str!("../../../../docs/serve.md");
        let mut lines = text.lines().skip_while(|line| !line.starts_with("| changes on SIGHUP"));
        let row = lines.nth(2).unwrap();
        let columns: Vec<BTreeSet<&str>> = row
            .trim_matches(['|', ' '])
            .split(" | ")
            .map(|column| column.split(' ').map(|name| name.trim_matches('`')).collect())
            .collect();
        assert_eq!(columns[0], CHANGEABLE.into_iter().collect());
        let all: BTreeSet<&str> = columns.iter().flatten().copied().collect();
        assert_eq!(all, config::names().iter().map(String::as_str).collect());
    }
}
