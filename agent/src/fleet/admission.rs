//! How many series a target may have: which topics, partitions and listeners have one of their own. What was admitted
//! stays, and what was not never is, since a counter that moves from one series to another would go backwards in one.

mod listeners;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use agent_ebpf::CLIENT_PATHS;
use regex::Regex;
use values::COUNTS;
pub(crate) use values::TopicSeries;
pub use values::{ClientSeries, FlowBytes, TopicBytes, TopicTook};

use super::window::Key;
use crate::report::{LocalPort, OTHER, Report, Topic};

/// First come, first served, up to a limit.
#[derive(Clone, Debug)]
pub(super) struct Admission<K: Ord> {
    limit: usize,
    admitted: BTreeSet<K>,
}

impl<K: Ord + Clone> Admission<K> {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, admitted: BTreeSet::new() }
    }

    pub(super) fn admits(&mut self, key: &K) -> bool {
        if self.admitted.contains(key) {
            return true;
        }
        let is_room = self.admitted.len() < self.limit;
        if is_room {
            self.admitted.insert(key.clone());
        }
        is_room
    }
}

/// Topic-partitions, or topics, each once: a broker has a hundred thousand of the former, which share the latter's names.
#[derive(Clone, Debug, Default)]
struct Topics {
    count: usize,
    /// Partitions in their order; `None` stands for the topic.
    partitions: HashMap<Arc<str>, Vec<Option<u32>>>,
}

impl Topics {
    fn contains(&self, (topic, partition): &TopicKey) -> bool {
        self.partitions.get(topic).is_some_and(|all| all.binary_search(partition).is_ok())
    }

    /// Takes one in, unless there are so many.
    fn insert(&mut self, (topic, partition): &TopicKey, limit: usize) -> bool {
        if self.count >= limit {
            return false;
        }
        let all = self.partitions.entry(Arc::clone(topic)).or_default();
        if let Err(place) = all.binary_search(partition) {
            all.insert(place, *partition);
            self.count += 1;
        }
        true
    }

    /// The same, unless it is there.
    fn admits(&mut self, key: &TopicKey, limit: usize) -> bool {
        self.contains(key) || self.insert(key, limit)
    }
}

/// So many without series of their own are known by name; what comes beyond is folded, but not counted.
const MOST_FOLDED: usize = 100_000;

/// Which topics have series of their own.
#[derive(Clone, Debug)]
pub struct TopicPolicy {
    /// The most series a target may have: topic-partitions, or topics.
    pub limit: usize,
    /// Only those that match.
    pub allow: Option<Regex>,
    /// None that matches.
    pub deny: Option<Regex>,
    /// One series for all partitions of a topic.
    pub aggregate: bool,
}

impl Default for TopicPolicy {
    fn default() -> Self {
        Self { limit: 1000, allow: None, deny: None, aggregate: false }
    }
}

/// Stands for files that are no topic's log.
const FILES: &str = "(files)";
/// Stands for what is no file's data.
const NONE: &str = "(none)";

/// What one target has series for.
#[derive(Clone, Debug)]
pub(super) struct Series {
    topics: Topics,
    /// Topic-partitions that have or had none.
    folded_topics: Topics,
    listeners: Admission<LocalPort>,
    /// Those that have no series get none later: see [`Series::change`].
    folded_listeners: BTreeSet<u16>,
    flows: Admission<(Arc<Key>, Arc<str>)>,
    took: Admission<Arc<str>>,
    clients: Admission<(Key, String)>,
    policy: TopicPolicy,
    /// What is added to [`OTHER`] so that a change of the policy does not move it.
    offset: [u64; COUNTS],
}

/// A topic-partition, or a topic.
type TopicKey = (Arc<str>, Option<u32>);

impl Series {
    pub(super) fn new(policy: TopicPolicy, listeners: usize, clients: usize) -> Self {
        Self {
            topics: Topics::default(),
            folded_topics: Topics::default(),
            listeners: Admission::new(listeners),
            folded_listeners: BTreeSet::new(),
            flows: Admission::new(policy.limit),
            took: Admission::new(policy.limit),
            clients: Admission::new(clients),
            policy,
            offset: [0; COUNTS],
        }
    }

    /// Another policy from now on. Topics that have series and still may have them come first, and go on. What is in
    /// [`OTHER`] goes on from where it stands. Listeners keep what they have, a series or none; the limit is for those that
    /// come. One that left [`OTHER`] would take its past out of three metrics there, one of them by call and endpoints, and
    /// of each it would have to be known what it was at that moment: topics are worth that, since their limit is met by
    /// ordinary brokers, and the listeners' is not.
    pub(super) fn change(&mut self, policy: TopicPolicy, listeners: usize, report: &Report) {
        let before = self.split(report, &mut TopicSeries::default()).bytes();
        let had = std::mem::take(&mut self.topics);
        self.policy = policy;
        for topic in &report.topics {
            let key = self.key(topic);
            if had.contains(&key) && self.wants(&topic.topic) {
                self.topics.admits(&key, self.policy.limit);
            }
        }
        let after = self.split(report, &mut TopicSeries::default()).bytes();
        for (offset, (before, after)) in self.offset.iter_mut().zip(before.into_iter().zip(after)) {
            *offset = offset.wrapping_add(before.wrapping_sub(after));
        }
        self.listeners.limit = listeners;
    }

    fn key(&self, topic: &Topic) -> TopicKey {
        (Arc::clone(&topic.topic), (!self.policy.aggregate).then_some(topic.partition))
    }

    /// Topics as they have series, into `series`, whose memory is used again. Returns how many partitions have been folded
    /// into [`OTHER`] so far.
    pub(super) fn topics(&mut self, report: &Report, series: &mut TopicSeries) -> u64 {
        let other = self.split(report, series);
        let folded = self.folded_topics.count;
        if folded > 0 {
            series.sums.push(other);
        }
        u64::try_from(folded).unwrap_or(u64::MAX)
    }

    fn split(&mut self, report: &Report, series: &mut TopicSeries) -> TopicBytes {
        series.own.clear();
        series.sums.clear();
        let mut other = TopicBytes::named(OTHER.into(), None);
        for (place, topic) in (0u32..).zip(&report.topics) {
            let key = self.key(topic);
            if !(self.wants(&topic.topic) && self.topics.admits(&key, self.policy.limit)) {
                other.add(topic);
                self.folded_topics.admits(&(key.0, Some(topic.partition)), MOST_FOLDED);
            } else if self.policy.aggregate {
                let mut bytes = TopicBytes::named(key.0, None);
                bytes.add(topic);
                series.sums.push(bytes);
            } else {
                if series.own.is_empty() {
                    series.own.reserve_exact(report.topics.len());
                }
                series.own.push(place);
            }
        }
        let name = |place: &u32| report.topics.get(*place as usize).map(|topic| (&topic.topic, topic.partition));
        series.own.sort_unstable_by(|a, b| name(a).cmp(&name(b)));
        // One series for the partitions of a topic that are summed up.
        series.sums.sort_unstable_by(|a, b| a.topic.cmp(&b.topic));
        series.sums.dedup_by(|next, sum| {
            let is_same = next.topic == sum.topic;
            if is_same {
                sum.merge(next);
            }
            is_same
        });
        other.offset(self.offset);
        other
    }

    /// What left by listener and topic, as it has series: as many as topics may have, first come, first served; then
    /// [`OTHER`] of the listener. A topic that may have no series has none here. A policy that changes ends no series.
    /// They are put into `series`, whose memory is used again.
    pub(super) fn flows(&mut self, report: &Report, series: &mut Vec<FlowBytes>) {
        series.clear();
        let [files, none, other]: [Arc<str>; 3] = [FILES.into(), NONE.into(), OTHER.into()];
        for listener in &report.listeners {
            let of: Arc<Key> = Arc::new((listener.port, listener.name.clone()));
            for flow in &listener.flows {
                let whose = match (&flow.topic, flow.from) {
                    (Some(topic), _) => topic,
                    (None, "files") => &files,
                    (None, _) => &none,
                };
                let key = (Arc::clone(&of), Arc::clone(whose));
                let has_series = flow.topic.is_none() || self.flows.admitted.contains(&key);
                let admitted = has_series || (self.wants(whose) && self.flows.admits(&key));
                let (listener, topic) = if admitted { key } else { (key.0, Arc::clone(&other)) };
                let (zero_copy, copied, read) = (flow.zero_copy_bytes, flow.copied_bytes, flow.read_bytes);
                series.push(FlowBytes { listener, topic, zero_copy, copied, read });
            }
        }
        series.sort_unstable_by(|a, b| (&a.listener, &a.topic).cmp(&(&b.listener, &b.topic)));
        series.dedup_by(|next, sum| {
            let is_same = (&next.listener, &next.topic) == (&sum.listener, &sum.topic);
            if is_same {
                sum.zero_copy += next.zero_copy;
                sum.copied += next.copied;
                sum.read += next.read;
            }
            is_same
        });
    }

    /// Clients as they have series: as many as are told apart, first come, first served; then [`OTHER`] of the listener.
    pub(super) fn clients(&mut self, report: &Report) -> Vec<ClientSeries> {
        let mut series = Vec::new();
        for listener in &report.listeners {
            let Some(clients) = &listener.clients else { continue };
            let key: Key = (listener.port, listener.name.clone());
            let mut other = [0; CLIENT_PATHS];
            for client in clients {
                let bytes = client.bytes();
                if client.address != OTHER && self.clients.admits(&(key.clone(), client.address.clone())) {
                    series.push(ClientSeries { listener: key.clone(), address: client.address.clone(), bytes });
                } else {
                    other.iter_mut().zip(bytes).for_each(|(sum, bytes)| *sum += bytes);
                }
            }
            series.push(ClientSeries { listener: key, address: OTHER.to_owned(), bytes: other });
        }
        series
    }

    /// How long calls took by topic and path, as it has series: topics as many as may have some, first come, first served; then
    /// [`OTHER`]. A policy that changes ends no series.
    pub(super) fn took(&mut self, report: &Report) -> Vec<TopicTook> {
        let mut sums: BTreeMap<(Arc<str>, &'static str), TopicTook> = BTreeMap::new();
        for of in report.latency.iter().flat_map(|latency| &latency.topics) {
            let has_series = self.took.admitted.contains(&of.topic);
            let admitted = has_series || (self.wants(&of.topic) && self.took.admits(&of.topic));
            let topic = if admitted { Arc::clone(&of.topic) } else { OTHER.into() };
            let sum = sums.entry((Arc::clone(&topic), of.path)).or_insert_with(|| {
                let path = of.path;
                TopicTook { topic, path, calls: 0, seconds: 0.0, slow: 0 }
            });
            sum.calls += of.took.calls;
            sum.seconds += of.took.total_seconds;
            sum.slow += of.took.slow_calls;
        }
        sums.into_values().collect()
    }

    fn wants(&self, topic: &str) -> bool {
        self.policy.allow.as_ref().is_none_or(|allow| allow.is_match(topic))
            && !self.policy.deny.as_ref().is_some_and(|deny| deny.is_match(topic))
    }
}

#[cfg(test)]
mod tests;
