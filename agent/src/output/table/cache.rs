//! How much of what was read was in the page cache.

use super::{absent, bullets, port_name, title};
use crate::{
    output::{
        Style,
        format::percent_at_least,
        grid::{Column, Grid, explanation},
        text::clean,
    },
    report::{CacheUse, PageCache, Report},
};

/// Topic-partitions shown unless all are.
const TOPICS: usize = 10;

pub(super) fn section(report: &Report, style: &Style) -> String {
    let Some(cache) = &report.page_cache else { return String::new() };
    let heading = title("Page cache", "what was read from files, and what had to be brought in for it", style);
    if cache.total.read_bytes == 0 && cache.total.brought_in() == 0 {
        return heading + "Nothing was read from files.\n";
    }
    let mut text = heading + &bullets(sentences(cache, style).iter().map(String::as_str), style);
    if !cache.listeners.is_empty() {
        let mut grid = grid("log segments read for");
        for of in &cache.listeners {
            let name = of.port.as_ref().map(|port| port_name(port, report, style));
            row(&mut grid, name.unwrap_or_else(|| "the broker itself".to_owned()), &of.cache, style);
        }
        text += &Grid::render(&grid, &grid, style);
    }
    let topics = report.topics_brought_in();
    let shown = if style.all { topics.len() } else { topics.len().min(TOPICS) };
    if shown > 0 {
        let mut grid = grid("topic-partition");
        for (topic, cache) in &topics[..shown] {
            row(&mut grid, format!("{}-{}", clean(&topic.topic, style.unicode), topic.partition), cache, style);
        }
        text += &Grid::render(&grid, &grid, style);
        if shown < topics.len() {
            text += &explanation("The topic-partitions of which most was brought in. --all shows every one.", style);
        }
    }
    text
}

fn sentences(cache: &PageCache, style: &Style) -> Vec<String> {
    let total = &cache.total;
    let mut sentences = Vec::new();
    if let Some(share) = from_cache(total) {
        sentences.push(format!(
            "Of {} that were read, {share} at least came from the page cache; {} had to be brought in, {} of that read ahead.",
            style.bytes(total.read_bytes),
            style.bytes(total.brought_in()),
            style.bytes(total.read_ahead_bytes)
        ));
    }
    if cache.fault_bytes > 0 {
        sentences
            .push(format!("{} more came in through memory-mapped files (indexes); room that a new one does not use yet is on no disk, and read from none.", style.bytes(cache.fault_bytes)));
    }
    if let Some(bytes) = cache.disk_read_bytes {
        sentences.push(format!("By the kernel's own account the process read {} from disks.", style.bytes(bytes)));
    }
    sentences
}

fn grid(name: &str) -> Grid {
    let columns = ["read", "brought in", "of that\nread ahead", "from the\ncache"].map(Column::numbers);
    Grid::new([Column::words(name).breaks()].into_iter().chain(columns).collect())
}

fn row(grid: &mut Grid, name: String, cache: &CacheUse, style: &Style) {
    let cells = [
        name,
        style.bytes(cache.read_bytes),
        style.bytes(cache.brought_in()),
        style.bytes(cache.read_ahead_bytes),
        from_cache(cache).unwrap_or_else(absent),
    ];
    grid.row(cells.into_iter().map(Into::into).collect());
}

/// A lower bound: some of what was read ahead may have been read, too.
fn from_cache(cache: &CacheUse) -> Option<String> {
    percent_at_least(cache.read_bytes.saturating_sub(cache.brought_in()), cache.read_bytes, 1)
}
