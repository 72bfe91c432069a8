//! How many series a target may have: which topics, partitions and listeners have one of their own. What was admitted
//! stays, and what was not never is, since a counter that moves from one series to another would go backwards in one.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::report::{Egress, Listener, LocalPort, OTHER, Report, Topic, Transfer};

/// First come, first served, up to a limit.
#[derive(Clone, Debug)]
struct Admission<K: Ord> {
    limit: usize,
    admitted: BTreeSet<K>,
    refused: BTreeSet<K>,
}

/// So many refused ones are known by name, so that they stay refused; beyond, every new one is.
const MOST_REFUSED: usize = 100_000;

impl<K: Ord + Clone> Admission<K> {
    const fn new(limit: usize) -> Self {
        Self { limit, admitted: BTreeSet::new(), refused: BTreeSet::new() }
    }

    fn admits(&mut self, key: &K) -> bool {
        if self.admitted.contains(key) {
            return true;
        }
        if self.admitted.len() < self.limit && !self.refused.contains(key) {
            self.admitted.insert(key.clone());
            return true;
        }
        if self.refused.len() < MOST_REFUSED {
            self.refused.insert(key.clone());
        }
        false
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
    pub topic: String,
    /// Partition; `None` for a whole topic and for [`OTHER`].
    pub partition: Option<u32>,
    /// Bytes out of its log inside the kernel.
    pub zero_copy_read_bytes: u64,
    /// Bytes out of its log into user memory.
    pub copied_read_bytes: u64,
    /// Bytes into its log.
    pub written_bytes: u64,
}

impl TopicBytes {
    const fn named(topic: String, partition: Option<u32>) -> Self {
        Self { topic, partition, zero_copy_read_bytes: 0, copied_read_bytes: 0, written_bytes: 0 }
    }

    const fn add(&mut self, topic: &Topic) {
        self.zero_copy_read_bytes += topic.zero_copy_read_bytes;
        self.copied_read_bytes += topic.copied_read_bytes;
        self.written_bytes += topic.written_bytes;
    }
}

/// What one target has series for.
#[derive(Clone, Debug)]
pub(super) struct Series {
    topics: Admission<(String, Option<u32>)>,
    listeners: Admission<LocalPort>,
    policy: TopicPolicy,
}

impl Series {
    pub(super) fn new(policy: TopicPolicy, listeners: usize) -> Self {
        Self { topics: Admission::new(policy.limit), listeners: Admission::new(listeners), policy }
    }

    /// Topics as they have series, and how many partitions were folded into [`OTHER`].
    pub(super) fn topics(&mut self, report: &Report) -> (Vec<TopicBytes>, u64) {
        let mut series: BTreeMap<(String, Option<u32>), TopicBytes> = BTreeMap::new();
        let mut other = TopicBytes::named(OTHER.to_owned(), None);
        let mut folded = 0;
        for topic in &report.topics {
            let key = (topic.topic.clone(), (!self.policy.aggregate).then_some(topic.partition));
            if self.wants(&topic.topic) && self.topics.admits(&key) {
                series.entry(key.clone()).or_insert_with(|| TopicBytes::named(key.0, key.1)).add(topic);
            } else {
                other.add(topic);
                folded += 1;
            }
        }
        let mut series: Vec<_> = series.into_values().collect();
        if folded > 0 {
            series.push(other);
        }
        (series, folded)
    }

    fn wants(&self, topic: &str) -> bool {
        self.policy.allow.as_ref().is_none_or(|allow| allow.is_match(topic))
            && !self.policy.deny.as_ref().is_some_and(|deny| deny.is_match(topic))
    }

    /// Folds listeners that have no series into [`OTHER`], in their own list and in the transfers. Returns how many.
    pub(super) fn fold_listeners(&mut self, report: &mut Report) -> u64 {
        // What the broker is configured with goes before whatever else listens.
        let mut ports: Vec<_> = report.listeners.iter().filter_map(|l| Some((l.name.is_none(), l.port?))).collect();
        ports.sort_unstable();
        let refused: BTreeSet<u16> = ports
            .into_iter()
            .map(|(_, port)| port)
            .filter(|port| !self.listeners.admits(&LocalPort::Port(*port)))
            .collect();
        if refused.is_empty() {
            return 0;
        }
        let is_refused = |port: Option<u16>| port.is_some_and(|port| refused.contains(&port));
        let (folded, mut kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut report.listeners).into_iter().partition(|listener| is_refused(listener.port));
        let count = folded.len();
        let position =
            kept.iter().position(|listener| listener.port.is_none() && listener.name.as_deref() == Some(OTHER));
        let position = position.unwrap_or_else(|| {
            let name = Some(OTHER.to_owned());
            let (egress, verdict) = (Egress::default(), String::new());
            kept.push(Listener { port: None, name, protocol: None, ingress_bytes: 0, egress, verdict });
            kept.len() - 1
        });
        for listener in folded {
            kept[position].ingress_bytes += listener.ingress_bytes;
            kept[position].egress.merge(&listener.egress);
        }
        kept[position].egress = kept[position].egress.with_ratios();
        report.listeners = kept;
        report.transfers = fold_transfers(std::mem::take(&mut report.transfers), &refused);
        u64::try_from(count).unwrap_or(u64::MAX)
    }
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
    folded.into_values().collect()
}
