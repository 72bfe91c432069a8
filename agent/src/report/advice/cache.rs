//! Rules about what is read from memory and what from disk.

use super::Advice;
use crate::{
    report::{CacheUse, ListenerCache, LocalPort, Report, Topic},
    units::human_bytes as human,
};

/// Everything that the use of the page cache gives reason for.
#[must_use]
pub(super) fn advise(report: &Report) -> Vec<Advice> {
    lagging_consumers(report).into_iter().chain(random_reads(report)).collect()
}

/// Below this much read, one fetch of an old segment would make a share.
const LEAST_READ: u64 = 64 << 20;
/// At least this part of it must have come from disk, in percent.
const FROM_DISK_PERCENT: u64 = 25;
/// Topics that are named.
const TOPICS: usize = 3;

fn is_from_disk(cache: &CacheUse) -> bool {
    cache.read_bytes >= LEAST_READ && cache.brought_in() >= cache.read_bytes / 100 * FROM_DISK_PERCENT
}

fn lagging_consumers(report: &Report) -> Option<Advice> {
    let listeners = report.page_cache.as_ref()?.listeners.iter();
    let mut evidence: Vec<String> =
        listeners.filter(|of| of.port.is_some() && is_from_disk(&of.cache)).map(listener).collect();
    if evidence.is_empty() {
        return None;
    }
    evidence.extend(most_of(&report.topics_brought_in()));
    Some(Advice {
        id: "consumers_read_from_disk",
        text: "Consumers read logs from disk: they lag further behind than the page cache reaches. While a network thread \
               waits for the disk, every other client of that thread waits with it."
            .to_owned(),
        evidence,
        remedy: "Find the groups that lag (kafka-consumer-groups.sh --describe --all-groups) and help them keep up, or \
                 leave the page cache more room; more network threads keep one from holding up the others."
            .to_owned(),
    })
}

/// The first of some topics, and what of them came from disk.
fn most_of<'a>(topics: &'a [(&'a Topic, &'a CacheUse)]) -> impl Iterator<Item = String> + 'a {
    topics.iter().take(TOPICS).map(|(topic, cache)| {
        format!("{}-{}: {} came from disk.", topic.topic, topic.partition, human(cache.brought_in()))
    })
}

/// A topic-partition of which less came from disk is not read there by anybody in earnest.
const LEAST_OF_A_TOPIC: u64 = 1 << 20;
/// So many logs read at once keep a disk that turns on the move, even where each is read in sequence.
const MANY_LOGS: usize = 16;
/// At least this part of what was read of logs on disk must have been jumped to, in percent.
const JUMPED_TO_PERCENT: u64 = 25;

/// Reads that the disk sees as random: because readers jump, or because many of them read at once from a disk that turns.
fn random_reads(report: &Report) -> Option<Advice> {
    report.order.as_ref()?;
    let mut topics = report.topics_brought_in();
    topics.retain(|(_, cache)| cache.brought_in() >= LEAST_OF_A_TOPIC);
    let from_disk: u64 = topics.iter().map(|(_, cache)| cache.brought_in()).sum();
    if from_disk < LEAST_READ {
        return None;
    }
    let reads = || topics.iter().filter_map(|(topic, _)| Some(topic.order.as_ref()?.read));
    let (jumped, jumps) = reads().fold((0, 0), |(bytes, jumps), read| (bytes + read.random_bytes, jumps + read.jumps));
    let known = jumped + reads().map(|read| read.sequential_bytes).sum::<u64>();
    let turning = turning_disk(report);
    let is_jumping = jumps > 0 && jumped >= known / 100 * JUMPED_TO_PERCENT;
    if !is_jumping && (turning.is_none() || topics.len() < MANY_LOGS) {
        return None;
    }
    let logs = if topics.len() == 1 {
        "the log of one topic-partition".to_owned()
    } else {
        format!("the logs of {} topic-partitions", topics.len())
    };
    let mut evidence = vec![format!("{} came from disk: {logs}.", human(from_disk))];
    if is_jumping {
        let run = human(known.checked_div(jumps)?);
        let (jumped, known) = (human(jumped), human(known));
        evidence.push(format!(
            "Of {known} that were read of them, {jumped} were jumped to: {jumps} jumps, {run} from one to the next."
        ));
    }
    evidence.extend(turning);
    evidence.extend(most_for(report));
    evidence.extend(most_of(&topics));
    Some(Advice {
        id: "random_reads_from_disk",
        text: "The disk is read in many places at once: by consumers that lag, each somewhere else, or that jump. It then \
               moves or waits more than it reads, and what the kernel reads ahead is often for nobody."
            .to_owned(),
        evidence,
        remedy: "Help the groups that lag to keep up, a few at a time; let those that read old data read more at once \
                 (max.partition.fetch.bytes), and put logs that are read so on disks without moving parts."
            .to_owned(),
    })
}

/// A log directory on a disk that turns.
fn turning_disk(report: &Report) -> Option<String> {
    let dirs = report.machine.iter().flat_map(|machine| &machine.log_dirs);
    let mut turning = dirs.filter(|dir| dir.block.iter().any(|device| device.rotational == Some(true)));
    turning.next().map(|dir| format!("{} lies on a disk that turns.", dir.path))
}

/// The listener for whose connections most came from disk.
fn most_for(report: &Report) -> Option<String> {
    let mut listeners = report.page_cache.as_ref()?.listeners.iter();
    listeners.find(|of| of.port.is_some() && of.cache.brought_in() > 0).map(listener)
}

fn listener(of: &ListenerCache) -> String {
    let port = match &of.port {
        Some(LocalPort::Port(port)) => format!(" :{port}"),
        _ => String::new(),
    };
    let name = of.name.as_deref().unwrap_or("the listener");
    let (read, brought_in) = (human(of.cache.read_bytes), human(of.cache.brought_in()));
    format!("{name}{port}: of {read} that were read for it, {brought_in} had to be brought in.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        report::{self, Attach, EndedBy, PageCache, Window},
        snapshot::Snapshot,
    };

    fn report(read: u64, asked: u64, port: Option<u16>) -> Report {
        let cache = CacheUse { read_bytes: read, asked_bytes: asked, read_ahead_bytes: 0, hit_ratio: None };
        let window = Window { start: String::new(), seconds: 10.0, ended_by: EndedBy::Signal };
        let recorded: Snapshot = serde_json::from_str(include_str!("../recorded/broker.json")).unwrap();
        let mut report = report::build(&recorded, &report::tests::facts(), window, Attach::default());
        report.topics[0].cache = Some(cache);
        let of = ListenerCache { port: port.map(LocalPort::Port), name: port.map(|_| "SSL".to_owned()), cache };
        report.page_cache = Some(PageCache { total: cache, listeners: vec![of], ..PageCache::default() });
        report
    }

    #[test]
    fn consumers_that_read_from_disk_are_told_with_listener_and_topic() {
        let report = report(1 << 30, 1 << 29, Some(9093));
        let advice = advise(&report);
        assert_eq!(advice[0].id, "consumers_read_from_disk");
        assert_eq!(
            advice[0].evidence[0],
            "SSL :9093: of 1.00 GiB that were read for it, 512 MiB had to be brought in."
        );
        assert!(advice[0].evidence[1].ends_with(": 512 MiB came from disk."), "{advice:?}");
    }

    #[test]
    fn little_from_disk_little_read_and_the_brokers_own_reads_are_no_reason() {
        for (read, asked, port) in
            [(1 << 30, 1 << 20, Some(9093)), (1 << 20, 1 << 20, Some(9093)), (1 << 30, 1 << 30, None)]
        {
            assert_eq!(advise(&report(read, asked, port)), [], "{read} {asked} {port:?}");
        }
        let mut uncounted = report(1 << 30, 1 << 30, Some(1));
        uncounted.page_cache = None;
        assert_eq!(advise(&uncounted), []);
    }

    /// The same report with `logs` partitions, each read from disk, of which so much was read in sequence and jumped to.
    fn read_from_disk(logs: u32, from_disk: u64, sequential: u64, jumped: u64, rotational: bool) -> Report {
        use crate::{
            machine::{BlockDevice, LogDir, Machine},
            report::{LogUse, Order, Sequence, Topic},
        };
        let mut report = report(from_disk, from_disk, Some(9093));
        let read =
            Order { sequential_bytes: sequential, random_bytes: jumped, jumps: jumped >> 16, ..Order::default() };
        let mut topic = report.topics[0].clone();
        topic.order = Some(LogUse { read, ..LogUse::default() });
        report.topics = (0..logs).map(|partition| Topic { partition, ..topic.clone() }).collect();
        report.order = Some(Sequence::default());
        let block = vec![BlockDevice { rotational: Some(rotational), ..BlockDevice::default() }];
        let dir = LogDir { path: "/var/lib/kafka".to_owned(), block, ..LogDir::default() };
        report.machine = Some(Machine { log_dirs: vec![dir], ..Machine::default() });
        report
    }

    fn told(report: &Report) -> Option<Advice> {
        advise(report).into_iter().find(|advice| advice.id == "random_reads_from_disk")
    }

    #[test]
    fn readers_that_jump_on_disk_are_told_with_their_jumps() {
        let advice = told(&read_from_disk(1, 100 << 20, 60 << 20, 40 << 20, false)).unwrap();
        assert_eq!(advice.evidence[0], "100 MiB came from disk: the log of one topic-partition.");
        assert_eq!(
            advice.evidence[1],
            "Of 100 MiB that were read of them, 40.0 MiB were jumped to: 640 jumps, 160 KiB from one to the next."
        );
        assert!(advice.evidence[2].starts_with("SSL :9093: of 100 MiB"), "{advice:?}");
    }

    #[test]
    fn many_logs_read_at_once_matter_on_a_disk_that_turns_only() {
        let advice = told(&read_from_disk(20, 10 << 20, 10 << 20, 0, true)).unwrap();
        assert!(advice.evidence[0].starts_with("200 MiB came from disk: the logs of 20 topic-partitions"));
        assert_eq!(advice.evidence[1], "/var/lib/kafka lies on a disk that turns.");
        assert_eq!(told(&read_from_disk(20, 10 << 20, 10 << 20, 0, false)), None);
        assert_eq!(told(&read_from_disk(15, 10 << 20, 10 << 20, 0, true)), None);
    }

    #[test]
    fn few_jumps_and_little_from_disk_are_no_random_reads() {
        assert_eq!(told(&read_from_disk(1, 100 << 20, 90 << 20, 10 << 20, true)), None);
        assert_eq!(told(&read_from_disk(1, 10 << 20, 0, 10 << 20, true)), None);
        let mut uncounted = read_from_disk(1, 100 << 20, 0, 100 << 20, true);
        uncounted.order = None;
        assert_eq!(told(&uncounted), None);
    }
}
