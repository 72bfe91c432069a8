//! How much of the logs is in memory.

use std::time::{Duration, UNIX_EPOCH};

use super::{bullets, title};
use crate::{
    output::{
        Style,
        format::{percent, thousands},
        grid::{Column, Grid, explanation},
        text::clean,
    },
    report::Report,
    residency::{Partition, Residency},
};

/// Topic-partitions shown unless all are.
const PARTITIONS: usize = 10;

pub(super) fn section(report: &Report, style: &Style) -> String {
    let Some(residency) = &report.residency else { return String::new() };
    let at = UNIX_EPOCH + Duration::from_secs(residency.at_unix_seconds);
    let heading =
        title("Logs in memory", &format!("at {}, largest first", humantime::format_rfc3339_seconds(at)), style);
    let mut text = heading + &bullets(sentences(residency, style).iter().map(String::as_str), style);
    let mut partitions: Vec<&Partition> = residency.partitions.iter().collect();
    partitions.sort_by_key(|partition| std::cmp::Reverse(partition.bytes().0));
    let shown = if style.all { partitions.len() } else { partitions.len().min(PARTITIONS) };
    if shown > 0 {
        let numbers = ["active", "in memory", "older", "in\nmemory"].map(Column::numbers);
        let mut grid = Grid::new([Column::words("topic-partition").breaks()].into_iter().chain(numbers).collect());
        for of in &partitions[..shown] {
            let cells = [
                format!("{}-{}", clean(&of.topic, style.unicode), of.partition),
                style.bytes(of.active_bytes),
                share(of.active_resident_bytes, of.active_bytes),
                style.bytes(of.older_bytes),
                share(of.older_resident_bytes, of.older_bytes),
            ];
            grid.row(cells.into_iter().map(Into::into).collect());
        }
        text += &Grid::render(&grid, &grid, style);
        if shown < partitions.len() {
            text += &explanation("--all shows every one.", style);
        }
    }
    text
}

fn share(part: u64, whole: u64) -> String {
    percent(part, whole, 1).unwrap_or_else(super::absent)
}

fn sentences(residency: &Residency, style: &Style) -> Vec<String> {
    let total = residency.total();
    let (bytes, resident) = total.bytes();
    let mut sentences = vec![format!(
        "Of {} in {} segments, {} are in memory ({}): {} of the segments that are written to, {} of older ones.",
        style.bytes(bytes),
        thousands(total.segments),
        style.bytes(resident),
        share(resident, bytes),
        style.bytes(total.active_resident_bytes),
        style.bytes(total.older_resident_bytes)
    )];
    if !residency.complete {
        sentences.push("There was no time to look at all of them.".to_owned());
    }
    if residency.unreadable > 0 {
        sentences.push(format!("{} could not be looked at.", thousands(residency.unreadable)));
    }
    for dir in &residency.skipped {
        sentences.push(format!("{dir} was left out: it is on a network file system."));
    }
    sentences
}
