//! Rules about what is read from memory and what from disk.

use super::Advice;
use crate::{
    report::{CacheUse, ListenerCache, LocalPort, Report},
    units::human_bytes as human,
};

/// Everything that the use of the page cache gives reason for.
#[must_use]
pub(super) fn advise(report: &Report) -> Vec<Advice> {
    lagging_consumers(report).into_iter().collect()
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
    evidence.extend(report.topics_brought_in().iter().take(TOPICS).map(|(topic, cache)| {
        format!("{}-{}: {} came from disk.", topic.topic, topic.partition, human(cache.brought_in()))
    }));
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
}
