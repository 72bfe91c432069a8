//! The tables by topic-partition and by other files.

use super::{sum, title};
use crate::{
    output::{
        Style,
        format::thousands,
        grid::{Column, Grid, explanation},
        text::clean,
    },
    report::{FileTraffic, OTHER, Report, Topic},
};

/// Topic-partitions shown unless all are.
const TOPICS: usize = 20;
/// Other files shown unless all are.
const FILES: usize = 10;

/// Bytes of one thing by path: out inside the kernel, out into user memory, in.
type Moved = [u64; 3];

/// By topic-partition.
pub(super) fn topics(report: &Report, style: &Style) -> String {
    let heading = "By topic-partition";
    if report.topics.is_empty() {
        let why = match report.target.kafka {
            Some(_) => "No log segment was read or written in this time.",
            None => "None: this process is not known to be a Kafka broker. Its files are below.",
        };
        return title(heading, "", style) + &super::paragraph(why, style.width, "", "");
    }
    let mut grid = grid("topic-partition", false);
    let shown = shown(report.topics.len(), TOPICS, style);
    for topic in &report.topics[..shown] {
        let name = format!("{}-{}", clean(&topic.topic, style.unicode), topic.partition);
        grid.row(
            [name].into_iter().chain(moved_topic(topic).map(|bytes| style.bytes(bytes))).map(Into::into).collect(),
        );
    }
    sums(&mut grid, &report.topics.iter().map(moved_topic).collect::<Vec<_>>(), shown, "partitions", false, style);
    title(heading, "bytes of its log segments, largest first", style)
        + &Grid::render(&grid, &grid, style)
        + &all_hint(report.topics.len(), shown, style)
}

/// Files that are no topic's.
pub(super) fn others(report: &Report, style: &Style) -> String {
    let heading = if report.target.kafka.is_some() { "Files outside of topics" } else { "Files" };
    if report.files.is_empty() {
        return title(heading, "", style) + "None was read or written.\n";
    }
    let mut grid = grid("file", true);
    let shown = shown(report.files.len(), FILES, style);
    for file in &report.files[..shown] {
        let identity = match (&file.device, file.inode) {
            (Some(device), Some(inode)) => format!("{} {inode}", clean(device, style.unicode)),
            _ => super::absent(),
        };
        let cells = [file_name(file, style), identity].into_iter();
        grid.row(cells.chain(moved_file(file).map(|bytes| style.bytes(bytes))).map(Into::into).collect());
    }
    sums(&mut grid, &report.files.iter().map(moved_file).collect::<Vec<_>>(), shown, "files", true, style);
    let mut text = title(heading, "directory and name, largest first", style) + &Grid::render(&grid, &grid, style);
    if report.files[..shown].iter().any(|file| file.inode.is_none()) {
        text += &explanation(
            &format!(
                "{OTHER}: files that found no more room in the kernel's map, all in one line, so without device and inode (\"-\")."
            ),
            style,
        );
    }
    text + &all_hint(report.files.len(), shown, style)
}

fn grid(name: &str, with_identity: bool) -> Grid {
    let mut columns = vec![Column::words(name).breaks()];
    if with_identity {
        columns.push(Column::words("device, inode").leaves(1));
    }
    columns.extend(["zero-copy\nread", "copied\nread", "written"].map(Column::numbers));
    Grid::new(columns)
}

/// How many of `there` are shown. One alone is not summed up: its line says as much.
fn shown(there: usize, most: usize, style: &Style) -> usize {
    if style.all || there <= most + 1 { there } else { most }
}

/// One line for what is not shown, and one for everything.
fn sums(grid: &mut Grid, moved: &[Moved], shown: usize, what: &str, with_identity: bool, style: &Style) {
    let mut line = |name: String, moved: &[Moved]| {
        let identity = with_identity.then(String::new);
        let sums = (0..3).map(|path| style.bytes(sum(moved.iter().map(|moved| moved[path]))));
        grid.sums([name].into_iter().chain(identity).chain(sums).map(Into::into).collect());
    };
    let rest = &moved[shown..];
    if !rest.is_empty() {
        line(format!("{} more {what}", thousands(rest.len() as u64)), rest);
    }
    if moved.len() > 1 {
        line("total".to_owned(), moved);
    }
}

fn all_hint(there: usize, shown: usize, style: &Style) -> String {
    if there == shown { String::new() } else { explanation("--all shows every one.", style) }
}

const fn moved_topic(topic: &Topic) -> Moved {
    [topic.zero_copy_read_bytes, topic.copied_read_bytes, topic.written_bytes]
}

const fn moved_file(file: &FileTraffic) -> Moved {
    [file.zero_copy_read_bytes, file.copied_read_bytes, file.written_bytes]
}

fn file_name(file: &FileTraffic, style: &Style) -> String {
    let name = clean(&file.name, style.unicode);
    match &file.directory {
        Some(directory) => format!("{}/{name}", clean(directory, style.unicode)),
        None if file.inode.is_none() => name,
        // Its directory could not be kept: what is known is the name.
        None => format!("?/{name}"),
    }
}
