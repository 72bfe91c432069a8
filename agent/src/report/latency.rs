//! How long calls took: histograms and percentiles by call and listener, by topic, and those that were slow.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use agent_ebpf::{FILE_LATENCY_MERGED, FileWay, InodeKey, PORT_NONE, latency_least};
use serde::Serialize;

use super::LocalPort;
use crate::snapshot::{CallDurations, Durations, LogDurations};

/// How long calls took. Durations are of whole calls, waiting included, seen from the kernel's entry to its exit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// A call that takes at least so long is slow, in seconds.
    pub slow_seconds: f64,
    /// Calls that moved bytes and whose duration is not known: they began before it was watched, or their thread's entry was
    /// another's.
    pub unmeasured_calls: u64,
    /// By call, endpoints and listener, those that took longest in all first.
    pub calls: Vec<CallLatency>,
    /// By topic, path and listener, those that took longest in all first.
    pub topics: Vec<TopicLatency>,
}

/// Durations of one kind of call that moved bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallLatency {
    /// Kernel name of the call.
    pub syscall: &'static str,
    /// Kind of endpoint the bytes came from.
    pub source: &'static str,
    /// Kind of endpoint they went to.
    pub sink: &'static str,
    /// Whose socket it was; `None` where neither end is an inet socket.
    pub local_port: Option<LocalPort>,
    /// How long they took.
    #[serde(flatten)]
    pub took: Took,
}

/// Durations of the calls that moved bytes of a topic's log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopicLatency {
    /// The topic.
    pub topic: Arc<str>,
    /// `zero_copy`: out of the log through a socket, inside the kernel; `copied`: through a socket, from memory, what the thread
    /// had read out of the log; `read`: out of the log into memory, or anywhere but a socket; `written`: into the log.
    pub path: &'static str,
    /// The listener that it was sent through; `None` for `read` and `written`.
    pub local_port: Option<LocalPort>,
    /// How long they took.
    #[serde(flatten)]
    pub took: Took,
}

/// How long some calls took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Took {
    /// Calls whose duration is known.
    pub calls: u64,
    /// All durations together, in seconds.
    pub total_seconds: f64,
    /// Half of the calls took no longer, in seconds: the end of the histogram's bucket.
    pub p50_seconds: f64,
    /// 99 of 100 took no longer.
    pub p99_seconds: f64,
    /// 999 of 1,000 took no longer.
    pub p999_seconds: f64,
    /// The longest.
    pub max_seconds: f64,
    /// Calls that were slow.
    pub slow_calls: u64,
    /// Calls by duration. Empty buckets are left out.
    pub histogram: Vec<DurationBucket>,
}

/// One bucket of a histogram of durations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DurationBucket {
    /// Shortest duration in it, in seconds.
    pub min_seconds: f64,
    /// Where the next one begins, in seconds; `None` of the last, open one.
    pub end_seconds: Option<f64>,
    /// Calls.
    pub calls: u64,
}

/// Nanoseconds in seconds.
#[allow(clippy::cast_precision_loss)] // nanoseconds of less than a hundred days
pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// What a kind of call is told apart by here.
type Kind = (&'static str, &'static str, &'static str, Option<LocalPort>);

/// `counted` calls moved bytes; `topic` tells whose log lies in a directory.
pub(super) fn latency(
    durations: &Durations,
    slow: Duration,
    counted: u64,
    topic: impl Fn(&InodeKey) -> Option<Arc<str>>,
) -> Latency {
    let mut kinds: BTreeMap<Kind, CallDurations> = BTreeMap::new();
    let mut measured = 0;
    for counted in &durations.calls {
        let id = &counted.id;
        measured += counted.calls();
        let kind = (id.syscall.name(), id.source.name(), id.sink.name(), LocalPort::from_code(id.port));
        kinds.entry(kind).and_modify(|sum| sum.merge(counted)).or_insert_with(|| counted.clone());
    }
    let mut calls: Vec<_> = kinds
        .into_iter()
        .map(|((syscall, source, sink, local_port), sum)| {
            let took = took(sum.ns, sum.max_ns, sum.slow, &sum.buckets, 1);
            CallLatency { syscall, source, sink, local_port, took }
        })
        .collect();
    calls.sort_by(|a, b| b.took.total_seconds.total_cmp(&a.took.total_seconds));
    let topics = topics(&durations.logs, topic);
    let unmeasured_calls = counted.saturating_sub(measured);
    Latency { slow_seconds: slow.as_secs_f64(), unmeasured_calls, calls, topics }
}

fn topics(logs: &[LogDurations], topic: impl Fn(&InodeKey) -> Option<Arc<str>>) -> Vec<TopicLatency> {
    let mut sums: BTreeMap<(Arc<str>, &'static str, Option<LocalPort>), LogDurations> = BTreeMap::new();
    for log in logs {
        let Some(topic) = log.log.as_ref().and_then(&topic) else { continue };
        let path = match (log.way, log.port) {
            (FileWay::Out, PORT_NONE) => "read",
            (FileWay::Out, _) => "zero_copy",
            (FileWay::FromMemory, PORT_NONE) => "written",
            (FileWay::FromMemory, _) => "copied",
        };
        let key = (topic, path, LocalPort::from_code(log.port));
        sums.entry(key).and_modify(|sum| sum.merge(log)).or_insert_with(|| log.clone());
    }
    let mut topics: Vec<_> = sums
        .into_iter()
        .map(|((topic, path, local_port), sum)| {
            let took = took(sum.ns, sum.max_ns, sum.slow, &sum.buckets, FILE_LATENCY_MERGED);
            TopicLatency { topic, path, local_port, took }
        })
        .collect();
    topics.sort_by(|a, b| b.took.total_seconds.total_cmp(&a.took.total_seconds));
    topics
}

/// Of a histogram each bucket of which is so many of the finest ones `merged`.
pub(super) fn took(ns: u64, max_ns: u64, slow_calls: u64, buckets: &[u64], merged: usize) -> Took {
    let least = |bucket: usize| latency_least(bucket * merged);
    let end = |bucket: usize| (bucket + 1 < buckets.len()).then(|| seconds(least(bucket + 1)));
    let histogram = buckets.iter().enumerate().filter(|(_, calls)| **calls > 0).map(|(bucket, calls)| DurationBucket {
        min_seconds: seconds(least(bucket)),
        end_seconds: end(bucket),
        calls: *calls,
    });
    let took = Took {
        total_seconds: seconds(ns),
        max_seconds: seconds(max_ns),
        slow_calls,
        histogram: histogram.collect(),
        ..Took::default()
    };
    took.with_percentiles()
}

impl Took {
    fn with_percentiles(mut self) -> Self {
        self.calls = self.histogram.iter().map(|bucket| bucket.calls).sum();
        // Two calls that end at once may leave the shorter as the longest; the histogram knows better.
        self.max_seconds = self.histogram.last().map_or(0.0, |last| last.min_seconds).max(self.max_seconds);
        self.p50_seconds = self.percentile(500);
        self.p99_seconds = self.percentile(990);
        self.p999_seconds = self.percentile(999);
        self
    }

    /// What so many of 1,000 calls took no longer than.
    fn percentile(&self, thousandths: u64) -> f64 {
        let rank = (u128::from(self.calls) * u128::from(thousandths)).div_ceil(1000);
        let mut seen = 0;
        let bucket = self.histogram.iter().find(|bucket| {
            seen += u128::from(bucket.calls);
            seen >= rank
        });
        bucket.and_then(|bucket| bucket.end_seconds).map_or(self.max_seconds, |end| end.min(self.max_seconds))
    }

    /// Calls that took less than a time at which a bucket ends.
    pub(crate) fn calls_within(&self, end_seconds: f64) -> u64 {
        let within = self.histogram.iter().filter(|bucket| bucket.end_seconds.is_some_and(|end| end <= end_seconds));
        within.map(|bucket| bucket.calls).sum()
    }

    pub(crate) fn merge(&mut self, more: &Self) {
        self.total_seconds += more.total_seconds;
        self.max_seconds = self.max_seconds.max(more.max_seconds);
        self.slow_calls += more.slow_calls;
        self.histogram.extend(&more.histogram);
        self.histogram.sort_by(|a, b| a.min_seconds.total_cmp(&b.min_seconds));
        self.histogram.dedup_by(|next, sum| {
            let is_same = next.min_seconds.total_cmp(&sum.min_seconds).is_eq();
            if is_same {
                sum.calls += next.calls;
            }
            is_same
        });
        *self = std::mem::take(self).with_percentiles();
    }
}

impl Latency {
    /// Calls with other ports: those that are the same then are one.
    pub(crate) fn rename(&mut self, port: impl Fn(&LocalPort) -> LocalPort) {
        for call in &mut self.calls {
            call.local_port = call.local_port.as_ref().map(&port);
        }
        for topic in &mut self.topics {
            topic.local_port = topic.local_port.as_ref().map(&port);
        }
        let kind = |call: &CallLatency| (call.syscall, call.source, call.sink, call.local_port.clone());
        self.calls.sort_by_key(kind);
        self.calls.dedup_by(|next, sum| {
            kind(next) == kind(sum) && {
                sum.took.merge(&next.took);
                true
            }
        });
        let whose = |topic: &TopicLatency| (Arc::clone(&topic.topic), topic.path, topic.local_port.clone());
        self.topics.sort_by_key(whose);
        self.topics.dedup_by(|next, sum| {
            whose(next) == whose(sum) && {
                sum.took.merge(&next.took);
                true
            }
        });
        self.calls.sort_by(|a, b| b.took.total_seconds.total_cmp(&a.took.total_seconds));
        self.topics.sort_by(|a, b| b.took.total_seconds.total_cmp(&a.took.total_seconds));
    }
}

/// Where buckets of [`CallLatency`] end, in nanoseconds: from 4 µs to 4.3 s, each four times the one before.
pub(crate) const ENDS_NS: [u64; 11] =
    [1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30, 1 << 32];

#[cfg(test)]
mod tests {
    use agent_ebpf::{Endpoint, FILE_LATENCY_BUCKETS, LATENCY_BUCKETS, Syscall, latency_bucket};
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::TransferId;

    const SLOW: Duration = Duration::from_millis(10);

    fn counted(port: u32, of_file: bool, durations: &[u64]) -> CallDurations {
        let mut buckets = vec![0; LATENCY_BUCKETS];
        durations.iter().for_each(|ns| buckets[latency_bucket(*ns)] += 1);
        let (syscall, source, sink) = (Syscall::Write, Endpoint::Memory, Endpoint::Socket);
        let slow = durations.iter().filter(|ns| **ns >= 10_000_000).count();
        CallDurations {
            id: TransferId { syscall, source, sink, port, msg_zerocopy: false, tls: false, of_file },
            ns: durations.iter().sum(),
            max_ns: durations.iter().copied().max().unwrap_or(0),
            slow: u64::try_from(slow).unwrap_or(0),
            buckets,
        }
    }

    #[test]
    fn kinds_that_differ_only_in_what_they_sent_are_one() {
        let calls = vec![counted(9092, false, &[2_000; 98]), counted(9092, true, &[3_000, 30_000_000])];
        let told = latency(&Durations { calls, logs: Vec::new() }, SLOW, 103, |_| None);
        assert_eq!((told.calls.len(), told.unmeasured_calls, told.slow_seconds), (1, 3, 0.01));
        let took = &told.calls[0].took;
        assert_eq!((took.calls, took.slow_calls, took.max_seconds), (100, 1, 0.03));
        assert!(took.p50_seconds >= 2e-6 && took.p50_seconds < 2.6e-6, "{took:?}");
        assert!(took.p99_seconds >= 3e-6 && took.p99_seconds < 4e-6, "{took:?}");
        assert_eq!(took.p999_seconds, 0.03);
        assert_eq!(took.histogram.iter().map(|bucket| bucket.calls).collect::<Vec<_>>(), [98, 1, 1]);
        assert!(took.histogram.iter().all(|bucket| bucket.end_seconds.is_some_and(|end| end > bucket.min_seconds)));
    }

    #[test]
    fn listeners_without_a_series_are_one() {
        let calls = vec![counted(1, false, &[2_000; 98]), counted(2, false, &[2_000, 30_000_000])];
        let both = latency(
            &Durations {
                calls: vec![{
                    let mut sum = calls[0].clone();
                    sum.merge(&calls[1]);
                    sum
                }],
                logs: Vec::new(),
            },
            SLOW,
            100,
            |_| None,
        );
        let mut told = latency(&Durations { calls, logs: Vec::new() }, SLOW, 100, |_| None);
        told.rename(|_| LocalPort::Port(1));
        let round =
            |told: &Latency| format!("{:.9} {:?}", told.calls[0].took.total_seconds, told.calls[0].took.histogram);
        assert_eq!((told.calls.len(), round(&told)), (1, round(&both)));
        let percentiles = |told: &Latency| [told.calls[0].took.p50_seconds, told.calls[0].took.p999_seconds];
        assert_eq!(percentiles(&told), percentiles(&both));
        assert_eq!(told.calls[0].took.calls_within(seconds(ENDS_NS[0])), 99);
    }

    #[test]
    fn a_longest_call_that_another_hid_is_told_by_its_bucket() {
        let hidden = CallDurations { max_ns: 2_000, ..counted(9092, false, &[2_000, 30_000_000]) };
        let told = latency(&Durations { calls: vec![hidden], logs: Vec::new() }, SLOW, 2, |_| None);
        let took = &told.calls[0].took;
        assert!(took.max_seconds > 0.024 && took.max_seconds <= 0.03, "{took:?}");
    }

    #[test]
    fn topics_are_summed_up_by_path_and_other_files_left_out() {
        let log = |inode, port, way, slow| LogDurations {
            log: Some(InodeKey { inode, ..InodeKey::default() }),
            port,
            way,
            ns: 5_000_000_000,
            max_ns: 3_000_000_000,
            slow,
            buckets: std::iter::once(2).chain(std::iter::repeat_n(0, FILE_LATENCY_BUCKETS - 1)).collect(),
        };
        let none = LogDurations { log: None, ..log(1, 9092, FileWay::Out, 9) };
        let logs = vec![
            log(1, 9092, FileWay::Out, 1),
            log(2, 9092, FileWay::Out, 2),
            log(1, 9093, FileWay::FromMemory, 0),
            log(1, PORT_NONE, FileWay::Out, 0),
            log(1, PORT_NONE, FileWay::FromMemory, 4),
            none,
        ];
        let told = latency(&Durations { calls: Vec::new(), logs }, SLOW, 0, |_| Some("orders".into()));
        let sums: Vec<_> =
            told.topics.iter().map(|t| (t.path, t.local_port.clone(), t.took.calls, t.took.slow_calls)).collect();
        let (plain, tls) = (Some(LocalPort::Port(9092)), Some(LocalPort::Port(9093)));
        assert_eq!(sums[0], ("zero_copy", plain, 4, 3));
        assert_eq!(sums[1..], [("copied", tls, 2, 0), ("read", None, 2, 0), ("written", None, 2, 4)]);
        assert_eq!((told.topics[0].took.total_seconds, told.topics[0].took.max_seconds), (10.0, 3.0));
    }

    proptest! {
        /// Every duration lies in its bucket, and a bucket is at most a quarter wide.
        #[test]
        fn buckets_hold_what_they_say(ns in 0u64..1 << 38) {
            let bucket = latency_bucket(ns);
            prop_assert!(latency_least(bucket) <= ns);
            if bucket + 1 < LATENCY_BUCKETS {
                prop_assert!(ns < latency_least(bucket + 1));
            }
            if bucket > 0 && bucket + 1 < LATENCY_BUCKETS {
                prop_assert!(latency_least(bucket + 1) * 4 <= latency_least(bucket) * 5);
            }
        }

        /// What a percentile says is never shorter than the call that it is about, and at most a quarter longer.
        #[test]
        fn percentiles_bound_the_calls(mut durations in proptest::collection::vec(2_000u64..1 << 37, 1..300)) {
            let told = latency(&Durations { calls: vec![counted(1, false, &durations)], logs: Vec::new() }, SLOW, 0, |_| None);
            durations.sort_unstable();
            let took = &told.calls[0].took;
            for (told, thousandths) in [(took.p50_seconds, 500), (took.p99_seconds, 990), (took.p999_seconds, 999)] {
                let exact = seconds(durations[(durations.len() * thousandths).div_ceil(1000) - 1]);
                prop_assert!(told >= exact && told <= exact * 1.25 + 1e-9, "{} for {}", told, exact);
            }
            prop_assert_eq!(took.max_seconds, seconds(durations[durations.len() - 1]));
        }
    }
}
