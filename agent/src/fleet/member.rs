//! One target, over all its processes.

use std::time::{Instant, SystemTime};

use super::{
    admission::{ClientSeries, FlowBytes, Series, TopicBytes, TopicSeries, TopicTook},
    reasons::Reasons,
    window::{Key, Lately},
};
use crate::{
    cpu::Account,
    probe::Slot,
    report::{self, Attach, EndedBy, Facts, Report, Window},
    snapshot::Snapshot,
    target::Surroundings,
};

/// One target at one moment: what the outputs of a service show.
#[derive(Clone, Debug)]
pub struct View {
    /// Its stable name.
    pub name: String,
    /// Whether a process of it runs.
    pub running: bool,
    /// Processes of it that were watched.
    pub processes: u64,
    /// Everything since it is watched.
    pub report: Report,
    /// Which topics have series: see [`Self::topics`].
    pub(crate) series: TopicSeries,
    /// Topic-partitions that have or had no series of their own.
    pub folded_topics: u64,
    /// Listeners that have none.
    pub folded_listeners: u64,
    /// What left by listener and topic, as it has series.
    pub flows: Vec<FlowBytes>,
    /// How long calls took by topic, as it has series; empty where that is not measured.
    pub took: Vec<TopicTook>,
    /// Traffic by listener and client, as it has series; empty where clients are not told apart.
    pub clients: Vec<ClientSeries>,
    /// Egress by listener in the window, with ratios.
    pub lately: Vec<(Key, report::Egress)>,
    /// Where its process runs, or ran.
    pub surroundings: Surroundings,
}

impl View {
    /// Its topics, as they have series.
    pub fn topics(&self) -> impl Iterator<Item = TopicBytes> {
        self.series.of(&self.report)
    }

    /// Topics that have series.
    #[must_use]
    pub const fn topic_count(&self) -> usize {
        self.series.len()
    }
}

/// A process of a target, told from every other that has been or will be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(pub(super) u64);

pub(super) struct Member {
    pub(super) past: Snapshot,
    pub(super) life: Option<(Slot, u32)>,
    /// What the process that runs has done, as it was last read.
    pub(super) present: Snapshot,
    pub(super) builder: report::Builder,
    /// How it looked at the last [`Fleet::read`].
    pub(super) view: Option<View>,
    /// Number of the life that runs, or ran.
    pub(super) number: u64,
    pub(super) processes: u64,
    pub(super) facts: Facts,
    pub(super) surroundings: Surroundings,
    pub(super) series: Series,
    pub(super) reasons: Reasons,
    /// Processor time of the process that runs.
    pub(super) account: Option<Account>,
    pub(super) lately: Lately,
    pub(super) disk_reads: DiskReads,
    pub(super) since: SystemTime,
    pub(super) started: Instant,
    pub(super) ended: Option<Instant>,
}

/// What the kernel's account has the processes of a target read from disks, from life to life.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DiskReads {
    /// Of the lives before, as they were last seen.
    earlier: u64,
    /// Of this life: before it was watched, and as it was last seen.
    life: Option<(u64, u64)>,
}

impl DiskReads {
    pub(super) fn begin(&mut self, now: Option<u64>) {
        self.earlier += self.life.map_or(0, |(before, last)| last.saturating_sub(before));
        self.life = now.map(|now| (now, now));
    }

    /// While a process ends its account is gone before it is: then what was last seen stands.
    pub(super) fn so_far(&mut self, now: Option<u64>) -> Option<u64> {
        let (before, last) = self.life.as_mut()?;
        *last = now.unwrap_or(*last).max(*last);
        Some(self.earlier + last.saturating_sub(*before))
    }
}

impl Member {
    /// Everything since it is watched.
    pub(super) fn window(&self, now: Instant) -> Window {
        Window {
            start: humantime::format_rfc3339_millis(self.since).to_string(),
            seconds: now.duration_since(self.started).as_secs_f64(),
            ended_by: if self.life.is_some() { EndedBy::StillRunning } else { EndedBy::TargetExit },
        }
    }

    pub(super) fn look(&mut self, name: &str, attach: Attach, now: Instant) {
        let (before, mut series, mut flows) = match self.view.take() {
            Some(view) => (self.builder.take_back(view.report), view.series, view.flows),
            None => Default::default(),
        };
        let parts = [&self.present, &self.past];
        let parts = if self.life.is_some() { &parts[..] } else { &parts[1..] };
        let mut report = self.builder.build(parts, &self.facts, self.window(now), attach, before);
        let folded_topics = self.series.topics(&report, &mut series);
        let folded_listeners = self.series.fold_listeners(&mut report);
        self.series.flows(&report, &mut flows);
        let took = self.series.took(&report);
        let clients = self.series.clients(&report);
        self.reasons.add(&mut report);
        self.lately.sample(now, &report);
        let lately = self.lately.egress(&report);
        self.view = Some(View {
            name: name.to_owned(),
            running: self.life.is_some(),
            processes: self.processes,
            report,
            series,
            folded_topics,
            folded_listeners,
            flows,
            took,
            clients,
            lately,
            surroundings: self.surroundings.clone(),
        });
    }
}
