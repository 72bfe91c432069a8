//! How many series a target may have: which topics, partitions and listeners have one of their own. What was admitted
//! stays, and what was not never is, since a counter that moves from one series to another would go backwards in one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use agent_ebpf::CLIENT_PATHS;
use regex::Regex;

use super::window::Key;
use crate::report::{Egress, Flow, Listener, LocalPort, OTHER, Report, Topic, Transfer};

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

/// What has or had no series of its own, each once.
#[derive(Clone, Debug)]
struct Folded<K: Ord>(BTreeSet<K>);

/// So many are known by name; what comes beyond is folded, but not counted.
const MOST_FOLDED: usize = 100_000;

impl<K: Ord> Folded<K> {
    fn note(&mut self, key: K) {
        if self.0.len() < MOST_FOLDED {
            self.0.insert(key);
        }
    }

    fn count(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }
}

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

/// Bytes of a topic-partition, of a topic, or of everything that has no series of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicBytes {
    /// Topic, or [`OTHER`].
    pub topic: Arc<str>,
    /// Partition; `None` for a whole topic and for [`OTHER`].
    pub partition: Option<u32>,
    /// Bytes out of its log inside the kernel.
    pub zero_copy_read_bytes: u64,
    /// Bytes out of its log into user memory.
    pub copied_read_bytes: u64,
    /// Bytes into its log.
    pub written_bytes: u64,
    /// Bytes that came into the page cache while it was read: asked for.
    pub asked_bytes: u64,
    /// The same: read ahead.
    pub read_ahead_bytes: u64,
    /// Bytes read in sequence.
    pub read_sequential_bytes: u64,
    /// Bytes read elsewhere than where the last call of the reader had ended.
    pub read_random_bytes: u64,
    /// Bytes appended in sequence.
    pub written_sequential_bytes: u64,
    /// Bytes written elsewhere.
    pub written_random_bytes: u64,
}

/// Counts of [`TopicBytes`].
const COUNTS: usize = 9;

impl TopicBytes {
    pub(crate) const fn named(topic: Arc<str>, partition: Option<u32>) -> Self {
        Self {
            topic,
            partition,
            zero_copy_read_bytes: 0,
            copied_read_bytes: 0,
            written_bytes: 0,
            asked_bytes: 0,
            read_ahead_bytes: 0,
            read_sequential_bytes: 0,
            read_random_bytes: 0,
            written_sequential_bytes: 0,
            written_random_bytes: 0,
        }
    }

    /// As a counter that wraps, from which [`Series::change`] makes one that does not.
    fn offset(&mut self, offset: [u64; COUNTS]) {
        self.counts().into_iter().zip(offset).for_each(|(count, offset)| *count = count.wrapping_add(offset));
    }

    const fn counts(&mut self) -> [&mut u64; COUNTS] {
        [
            &mut self.zero_copy_read_bytes,
            &mut self.copied_read_bytes,
            &mut self.written_bytes,
            &mut self.asked_bytes,
            &mut self.read_ahead_bytes,
            &mut self.read_sequential_bytes,
            &mut self.read_random_bytes,
            &mut self.written_sequential_bytes,
            &mut self.written_random_bytes,
        ]
    }

    const fn bytes(&self) -> [u64; COUNTS] {
        [
            self.zero_copy_read_bytes,
            self.copied_read_bytes,
            self.written_bytes,
            self.asked_bytes,
            self.read_ahead_bytes,
            self.read_sequential_bytes,
            self.read_random_bytes,
            self.written_sequential_bytes,
            self.written_random_bytes,
        ]
    }

    fn merge(&mut self, other: &Self) {
        self.counts().into_iter().zip(other.bytes()).for_each(|(count, more)| *count += more);
    }

    pub(crate) fn add(&mut self, topic: &Topic) {
        self.zero_copy_read_bytes += topic.zero_copy_read_bytes;
        self.copied_read_bytes += topic.copied_read_bytes;
        self.written_bytes += topic.written_bytes;
        if let Some(cache) = &topic.cache {
            self.asked_bytes += cache.asked_bytes;
            self.read_ahead_bytes += cache.read_ahead_bytes;
        }
        if let Some(order) = &topic.order {
            self.read_sequential_bytes += order.read.sequential_bytes;
            self.read_random_bytes += order.read.random_bytes;
            self.written_sequential_bytes += order.written.sequential_bytes;
            self.written_random_bytes += order.written.random_bytes;
        }
    }
}

/// Stands for files that are no topic's log.
const FILES: &str = "(files)";
/// Stands for what is no file's data.
const NONE: &str = "(none)";

/// What left through a listener of a topic, or of what stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowBytes {
    /// The listener.
    pub listener: Arc<Key>,
    /// Topic, `(files)`, `(none)`, or [`OTHER`].
    pub topic: Arc<str>,
    /// Bytes that left inside the kernel.
    pub zero_copy: u64,
    /// Bytes that left from memory.
    pub copied: u64,
    /// Bytes that had been read for it.
    pub read: u64,
}

/// How long calls took that moved bytes of a topic's log, of all its partitions and through all listeners.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicTook {
    /// Topic, or [`OTHER`].
    pub topic: Arc<str>,
    /// As [`crate::report::TopicLatency::path`].
    pub path: &'static str,
    /// Calls.
    pub calls: u64,
    /// All durations together, in seconds.
    pub seconds: f64,
    /// Calls that were slow.
    pub slow: u64,
}

/// What one client of a listener sent and was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSeries {
    /// The listener.
    pub listener: Key,
    /// Its address, or [`OTHER`].
    pub address: String,
    /// Bytes by [`agent_ebpf::ClientPath`].
    pub bytes: [u64; CLIENT_PATHS],
}

/// What one target has series for.
#[derive(Clone, Debug)]
pub(super) struct Series {
    topics: Admission<TopicKey>,
    folded_topics: Folded<(Arc<str>, u32)>,
    listeners: Admission<LocalPort>,
    /// Those that have no series get none later: see [`Series::change`].
    folded_listeners: Folded<u16>,
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
            topics: Admission::new(policy.limit),
            folded_topics: Folded(BTreeSet::new()),
            listeners: Admission::new(listeners),
            folded_listeners: Folded(BTreeSet::new()),
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
        let before = self.split(report, &mut Vec::new()).bytes();
        let had = std::mem::replace(&mut self.topics, Admission::new(policy.limit)).admitted;
        self.policy = policy;
        for topic in &report.topics {
            let key = self.key(topic);
            if had.contains(&key) && self.wants(&topic.topic) {
                self.topics.admits(&key);
            }
        }
        let after = self.split(report, &mut Vec::new()).bytes();
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
    pub(super) fn topics(&mut self, report: &Report, series: &mut Vec<TopicBytes>) -> u64 {
        let other = self.split(report, series);
        let folded = self.folded_topics.count();
        if folded > 0 {
            series.push(other);
        }
        folded
    }

    fn split(&mut self, report: &Report, series: &mut Vec<TopicBytes>) -> TopicBytes {
        series.clear();
        series.reserve_exact(report.topics.len());
        let mut other = TopicBytes::named(OTHER.into(), None);
        for topic in &report.topics {
            let key = self.key(topic);
            if self.wants(&topic.topic) && self.topics.admits(&key) {
                let mut bytes = TopicBytes::named(key.0, key.1);
                bytes.add(topic);
                series.push(bytes);
            } else {
                other.add(topic);
                self.folded_topics.note((key.0, topic.partition));
            }
        }
        series.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        // One series for the partitions of a topic that are summed up.
        series.dedup_by(|next, sum| {
            let is_same = (&next.topic, next.partition) == (&sum.topic, sum.partition);
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

    /// Folds listeners that have no series into [`OTHER`], in their own list and in the transfers. Returns how many have
    /// been folded so far.
    pub(super) fn fold_listeners(&mut self, report: &mut Report) -> u64 {
        // What the broker is configured with goes before whatever else listens.
        let mut ports: Vec<_> = report.listeners.iter().filter_map(|l| Some((l.name.is_none(), l.port?))).collect();
        ports.sort_unstable();
        let refused: BTreeSet<u16> = ports
            .into_iter()
            .map(|(_, port)| port)
            .filter(|port| self.folded_listeners.0.contains(port) || !self.listeners.admits(&LocalPort::Port(*port)))
            .collect();
        refused.iter().for_each(|port| self.folded_listeners.note(*port));
        if refused.is_empty() {
            return self.folded_listeners.count();
        }
        let is_refused = |port: Option<u16>| port.is_some_and(|port| refused.contains(&port));
        let (folded, mut kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut report.listeners).into_iter().partition(|listener| is_refused(listener.port));
        let position =
            kept.iter().position(|listener| listener.port.is_none() && listener.name.as_deref() == Some(OTHER));
        let position = position.unwrap_or_else(|| {
            let name = Some(OTHER.to_owned());
            let (egress, verdict) = (Egress::default(), String::new());
            kept.push(Listener { name, egress, verdict, ..Listener::default() });
            kept.len() - 1
        });
        for listener in folded {
            kept[position].fold_clients(&listener);
            kept[position].ingress_bytes += listener.ingress_bytes;
            kept[position].egress.merge(&listener.egress);
            let mut seen = kept[position].seen.clone();
            seen.merge(&listener.seen);
            kept[position].set_seen(seen);
            kept[position].flows.extend(listener.flows);
        }
        kept[position].flows = merge_flows(std::mem::take(&mut kept[position].flows));
        kept[position].egress = kept[position].egress.with_ratios();
        report.listeners = kept;
        for of in report.page_cache.iter_mut().flat_map(|cache| &mut cache.listeners) {
            if matches!(&of.port, Some(LocalPort::Port(port)) if refused.contains(port)) {
                (of.port, of.name) = (Some(LocalPort::Entry(OTHER)), Some(OTHER.to_owned()));
            }
        }
        let renamed = |port: &LocalPort| match port {
            LocalPort::Port(port) if refused.contains(port) => LocalPort::Entry(OTHER),
            port => port.clone(),
        };
        if let Some(latency) = &mut report.latency {
            latency.rename(renamed);
        }
        if let Some(order) = &mut report.order {
            order.rename(renamed);
        }
        report.transfers = fold_transfers(std::mem::take(&mut report.transfers), &refused);
        self.folded_listeners.count()
    }
}

/// Flows of several listeners as those of one.
fn merge_flows(flows: Vec<Flow>) -> Vec<Flow> {
    let mut merged: BTreeMap<(&str, Option<Arc<str>>), Flow> = BTreeMap::new();
    for flow in flows {
        match merged.get_mut(&(flow.from, flow.topic.clone())) {
            Some(sum) => {
                sum.zero_copy_bytes += flow.zero_copy_bytes;
                sum.copied_bytes += flow.copied_bytes;
                sum.read_bytes += flow.read_bytes;
                // By two listeners for two reasons.
                sum.reason = match (sum.reason, flow.reason) {
                    (Some(ours), Some(theirs)) if ours != theirs => Some("unknown"),
                    (ours, theirs) => ours.or(theirs),
                };
            }
            None => drop(merged.insert((flow.from, flow.topic.clone()), flow)),
        }
    }
    let mut flows: Vec<_> = merged.into_values().collect();
    flows.sort_by_key(|flow| std::cmp::Reverse(flow.zero_copy_bytes + flow.copied_bytes));
    flows
}

fn fold_transfers(transfers: Vec<Transfer>, refused: &BTreeSet<u16>) -> Vec<Transfer> {
    let mut folded: BTreeMap<(&str, &str, &str, Option<LocalPort>, bool), Transfer> = BTreeMap::new();
    for mut transfer in transfers {
        if matches!(&transfer.local_port, Some(LocalPort::Port(port)) if refused.contains(port)) {
            transfer.local_port = Some(LocalPort::Entry(OTHER));
        }
        let key =
            (transfer.syscall, transfer.source, transfer.sink, transfer.local_port.clone(), transfer.msg_zerocopy);
        match folded.get_mut(&key) {
            Some(sum) => sum.merge(&transfer),
            None => {
                folded.insert(key, transfer);
            }
        }
    }
    let mut transfers: Vec<_> = folded.into_values().collect();
    transfers.sort_by_key(|transfer| std::cmp::Reverse(transfer.bytes));
    transfers
}

#[cfg(test)]
mod tests;
