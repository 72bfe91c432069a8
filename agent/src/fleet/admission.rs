//! How many series a target may have: which topics, partitions and listeners have one of their own. What was admitted
//! stays, and what was not never is, since a counter that moves from one series to another would go backwards in one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
}

/// Counts of [`TopicBytes`].
const COUNTS: usize = 5;

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
        ]
    }

    const fn bytes(&self) -> [u64; COUNTS] {
        [self.zero_copy_read_bytes, self.copied_read_bytes, self.written_bytes, self.asked_bytes, self.read_ahead_bytes]
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

/// What one target has series for.
#[derive(Clone, Debug)]
pub(super) struct Series {
    topics: Admission<TopicKey>,
    folded_topics: Folded<(Arc<str>, u32)>,
    listeners: Admission<LocalPort>,
    /// Those that have no series get none later: see [`Series::change`].
    folded_listeners: Folded<u16>,
    flows: Admission<(Arc<Key>, Arc<str>)>,
    policy: TopicPolicy,
    /// What is added to [`OTHER`] so that a change of the policy does not move it.
    offset: [u64; COUNTS],
}

/// A topic-partition, or a topic.
type TopicKey = (Arc<str>, Option<u32>);

impl Series {
    pub(super) fn new(policy: TopicPolicy, listeners: usize) -> Self {
        Self {
            topics: Admission::new(policy.limit),
            folded_topics: Folded(BTreeSet::new()),
            listeners: Admission::new(listeners),
            folded_listeners: Folded(BTreeSet::new()),
            flows: Admission::new(policy.limit),
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::report::{Attach, EndedBy, Window, build, tests::facts};
    use crate::snapshot::Snapshot;

    fn report(topics: &[(u8, u32, u64)]) -> Report {
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::StillRunning };
        let attach = Attach::default();
        let topic = |(topic, partition, bytes): &(u8, u32, u64)| Topic {
            topic: format!("topic-{topic}").into(),
            partition: *partition,
            zero_copy_read_bytes: *bytes,
            copied_read_bytes: 0,
            written_bytes: 0,
            cache: None,
        };
        let mut report = build(&Snapshot::default(), &facts(), window, attach);
        report.topics = topics.iter().map(topic).collect();
        report
    }

    fn shown(series: &mut Series, report: &Report) -> (Vec<TopicBytes>, u64) {
        let mut topics = Vec::new();
        let folded = series.topics(report, &mut topics);
        (topics, folded)
    }

    fn policy(limit: usize) -> TopicPolicy {
        TopicPolicy { limit, ..TopicPolicy::default() }
    }

    #[test]
    fn what_exceeds_the_limit_is_folded_and_stays_so() {
        let mut series = Series::new(policy(2), 64);
        let (topics, folded) = shown(&mut series, &report(&[(1, 0, 9), (2, 0, 8), (3, 0, 7)]));
        assert_eq!((topics.len(), folded), (3, 1));
        assert_eq!((&*topics[2].topic, topics[2].zero_copy_read_bytes), (OTHER, 7));
        // The third is the largest by now, and stays where it was.
        let (topics, folded) = shown(&mut series, &report(&[(3, 0, 700), (1, 0, 9), (2, 0, 8)]));
        assert_eq!((&*topics[2].topic, topics[2].zero_copy_read_bytes), (OTHER, 700));
        assert_eq!(folded, 1, "each is counted once");
    }

    #[test]
    fn what_was_folded_is_counted_once_and_never_less() {
        let all = report(&[(1, 0, 9), (1, 1, 8), (2, 0, 7)]);
        let mut series = Series::new(policy(1), 64);
        assert_eq!(shown(&mut series, &all).1, 2);
        // All have series now; the counter, and what `(other)` had, stay.
        series.change(policy(9), 64, &all);
        let (topics, folded) = shown(&mut series, &all);
        assert_eq!((topics.len(), folded, &*topics[3].topic, topics[3].zero_copy_read_bytes), (4, 2, OTHER, 15));
        series.change(TopicPolicy { deny: Some(Regex::new(".").unwrap()), ..policy(9) }, 64, &all);
        assert_eq!(shown(&mut series, &all).1, 3);
    }

    #[test]
    fn topics_are_allowed_denied_and_summed_up() {
        let regex = |text: &str| Some(Regex::new(text).unwrap());
        let all = report(&[(1, 0, 1), (1, 1, 2), (2, 0, 4)]);
        let names = |policy: TopicPolicy| -> Vec<_> {
            let topics = shown(&mut Series::new(policy, 64), &all).0;
            topics
                .into_iter()
                .map(|topic| (topic.topic.to_string(), topic.partition, topic.zero_copy_read_bytes))
                .collect()
        };
        let other = |bytes| (OTHER.to_owned(), None, bytes);
        let one = |partition, bytes| ("topic-1".to_owned(), partition, bytes);
        assert_eq!(
            names(TopicPolicy { allow: regex("-1$"), ..policy(9) }),
            [one(Some(0), 1), one(Some(1), 2), other(4)]
        );
        assert_eq!(
            names(TopicPolicy { deny: regex("-2$"), ..policy(9) }),
            [one(Some(0), 1), one(Some(1), 2), other(4)]
        );
        let summed = TopicPolicy { aggregate: true, deny: regex("-2$"), ..policy(9) };
        assert_eq!(names(summed), [one(None, 3), other(4)]);
    }

    #[test]
    fn listeners_without_series_are_one_and_their_transfers_too() {
        use agent_ebpf::{Endpoint, SIZE_BUCKETS, Syscall};
        let mut delta = Snapshot::default();
        for port in [50_001u32, 50_002, 33_901] {
            let (syscall, source, sink) = (Syscall::Sendfile, Endpoint::File, Endpoint::Socket);
            let id = crate::snapshot::TransferId {
                syscall,
                source,
                sink,
                port,
                msg_zerocopy: false,
                tls: false,
                of_file: false,
            };
            let mut sizes = [0; SIZE_BUCKETS];
            sizes[4] = 1;
            delta.transfers.push(crate::snapshot::Transfer { id, bytes: 20, carried_file_bytes: 0, sizes });
        }
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::StillRunning };
        let attach = Attach::default();
        let mut report = build(&delta, &facts(), window, attach);
        // Three are configured: they go before those that nobody named.
        let mut series = Series::new(policy(9), 3);
        let mut again = report.clone();
        assert_eq!(series.fold_listeners(&mut report), 2);
        assert_eq!(series.fold_listeners(&mut again), 2, "each is counted once");
        assert_eq!(report, again);
        let other = report.listeners.iter().find(|listener| listener.name.as_deref() == Some(OTHER)).unwrap();
        assert_eq!((other.egress.egress_bytes, other.egress.zero_copy_ratio), (40, Some(1.0)));
        let folded = report.transfers.iter().find(|t| t.local_port == Some(LocalPort::Entry(OTHER))).unwrap();
        assert_eq!((folded.calls, folded.bytes, folded.size_histogram.as_ref().unwrap()[0].calls), (2, 40, 2));
        assert_eq!(report.listeners.iter().map(|l| l.egress.egress_bytes).sum::<u64>(), 60);
    }

    #[test]
    fn flows_beyond_the_limit_are_the_listeners_other() {
        let flow = |topic: Option<&str>, copied_bytes| Flow {
            from: if topic.is_some() { "topic" } else { "none" },
            topic: topic.map(Into::into),
            zero_copy_bytes: 0,
            copied_bytes,
            read_bytes: 1,
            reason: None,
        };
        let mut all = report(&[]);
        all.listeners.truncate(1);
        all.listeners[0].flows = vec![flow(Some("a"), 1), flow(Some("b"), 2), flow(Some("c"), 4), flow(None, 8)];
        let mut series = Series::new(policy(1), 64);
        let mut told = |report: &Report| {
            let mut flows = Vec::new();
            series.flows(report, &mut flows);
            flows.into_iter().map(|flow| (flow.topic.to_string(), flow.copied)).collect::<Vec<_>>()
        };
        let expected = [("(none)", 8), ("(other)", 6), ("a", 1)].map(|(topic, bytes)| (topic.to_owned(), bytes));
        assert_eq!(told(&all), expected);
        all.listeners[0].flows.reverse();
        assert_eq!(told(&all), expected);
    }

    proptest! {
        /// However topics and policies come and go, no series that stays goes backwards, `(other)` least of all, and
        /// growth is never told twice.
        #[test]
        fn a_change_of_policy_moves_no_counter(
            rounds in prop::collection::vec(
                (prop::collection::btree_map((0u8..6, 0u32..3), 0u64..1000, 0..8), 0usize..8, any::<bool>(), 0u8..6), 1..8,
            ),
        ) {
            let mut series = Series::new(policy(3), 64);
            let mut counters: BTreeMap<(u8, u32), u64> = BTreeMap::new();
            let mut last: BTreeMap<TopicKey, u64> = BTreeMap::new();
            for (more, limit, aggregate, denied) in rounds {
                let growth: u64 = more.values().sum();
                for (key, more) in more {
                    *counters.entry(key).or_default() += more;
                }
                let all: Vec<_> = counters.iter().map(|((topic, partition), bytes)| (*topic, *partition, *bytes)).collect();
                let shown = |series: &mut Series| -> BTreeMap<_, _> {
                    let topics = shown(series, &report(&all)).0;
                    topics.into_iter().map(|t| ((t.topic, t.partition), t.zero_copy_read_bytes)).collect()
                };
                let before = shown(&mut series);
                let grown: u64 = before.iter().map(|(key, bytes)| bytes - last.get(key).copied().unwrap_or(0).min(*bytes)).sum();
                prop_assert!(last.is_empty() || grown >= growth);
                let deny = Some(Regex::new(&format!("-{denied}$")).unwrap());
                series.change(TopicPolicy { aggregate, deny, ..policy(limit) }, 64, &report(&all));
                let after = shown(&mut series);
                prop_assert!(after.len() <= limit + 1);
                for (key, bytes) in &after {
                    if let Some(before) = before.get(key) {
                        prop_assert_eq!(before, bytes, "{:?} stepped", key);
                    }
                }
                last = after;
            }
        }

        /// However topics come and go, no series ever goes backwards, and nothing is lost.
        #[test]
        fn no_series_goes_backwards(
            rounds in prop::collection::vec(prop::collection::btree_map((0u8..6, 0u32..3), 0u64..1000, 0..8), 1..8),
            limit in 0usize..8,
            aggregate: bool,
        ) {
            let mut series = Series::new(TopicPolicy { aggregate, ..policy(limit) }, 64);
            let mut counters: BTreeMap<(u8, u32), u64> = BTreeMap::new();
            let mut before: BTreeMap<TopicKey, u64> = BTreeMap::new();
            for round in rounds {
                for (key, more) in round {
                    *counters.entry(key).or_default() += more;
                }
                let all: Vec<_> = counters.iter().map(|((topic, partition), bytes)| (*topic, *partition, *bytes)).collect();
                let (topics, _) = shown(&mut series, &report(&all));
                prop_assert!(topics.len() <= limit + 1);
                prop_assert_eq!(topics.iter().map(|t| t.zero_copy_read_bytes).sum::<u64>(), counters.values().sum::<u64>());
                let now: BTreeMap<_, _> =
                    topics.into_iter().map(|t| ((t.topic, t.partition), t.zero_copy_read_bytes)).collect();
                for (key, bytes) in &before {
                    prop_assert!(now.get(key).is_some_and(|now| now >= bytes), "{:?} went backwards", key);
                }
                before = now;
            }
        }
    }
}
