#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::report::{Attach, EndedBy, Flow, Window, build, tests::facts};
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
        order: None,
    };
    let mut report = build(&Snapshot::default(), &facts(), window, attach);
    report.topics = topics.iter().map(topic).collect();
    report
}

fn shown(series: &mut Series, report: &Report) -> (Vec<TopicBytes>, u64) {
    let mut topics = TopicSeries::default();
    let folded = series.topics(report, &mut topics);
    (topics.of(report).collect(), folded)
}

fn policy(limit: usize) -> TopicPolicy {
    TopicPolicy { limit, ..TopicPolicy::default() }
}

#[test]
fn what_exceeds_the_limit_is_folded_and_stays_so() {
    let mut series = Series::new(policy(2), 64, 2);
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
    let mut series = Series::new(policy(1), 64, 2);
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
        let topics = shown(&mut Series::new(policy, 64, 2), &all).0;
        topics.into_iter().map(|topic| (topic.topic.to_string(), topic.partition, topic.zero_copy_read_bytes)).collect()
    };
    let other = |bytes| (OTHER.to_owned(), None, bytes);
    let one = |partition, bytes| ("topic-1".to_owned(), partition, bytes);
    assert_eq!(names(TopicPolicy { allow: regex("-1$"), ..policy(9) }), [one(Some(0), 1), one(Some(1), 2), other(4)]);
    assert_eq!(names(TopicPolicy { deny: regex("-2$"), ..policy(9) }), [one(Some(0), 1), one(Some(1), 2), other(4)]);
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
    let mut series = Series::new(policy(9), 3, 2);
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
    let mut series = Series::new(policy(1), 64, 2);
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
        let mut series = Series::new(policy(3), 64, 2);
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
        let mut series = Series::new(TopicPolicy { aggregate, ..policy(limit) }, 64, 2);
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
