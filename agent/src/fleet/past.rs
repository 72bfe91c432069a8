//! What ended processes of a target did, and what moved in files that nobody uses any more: counts with their files
//! folded, so that a target that restarts and rolls segments for years takes no more room than its topics do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use agent_ebpf::{FileBytes, InodeKey};

use crate::{
    kafka::is_segment,
    snapshot::{Directory, File, SentByPort, Snapshot},
};

/// Name that stands for all log segments of a directory: a segment's, so that they count for its topic.
const SEGMENTS: &str = "00000000000000000000.log";
/// Name that stands for all other files.
const EARLIER: &str = "(earlier files)";
/// Directories whose segments are kept apart, at most: what exceeds it counts as `(other)`.
const MOST_DIRECTORIES: usize = 100_000;

/// Clients that ended processes had, at most: what exceeds it counts as `(other)`.
pub(super) const MOST_CLIENTS: usize = 10_000;

/// The same counts, with one file for the segments of each directory and one for everything else.
pub(super) fn fold(snapshot: &Snapshot) -> Snapshot {
    let mut segments: BTreeMap<InodeKey, File> = BTreeMap::new();
    let nowhere = InodeKey::default();
    let name_of_segments: Arc<str> = SEGMENTS.into();
    let stand_in =
        |inode, name| File { inode, moved: FileBytes::default(), directory: inode, name, sent: SentByPort::default() };
    let mut others = stand_in(nowhere, EARLIER.into());
    let mut overflow = File { moved: snapshot.files_other, ..stand_in(nowhere, "".into()) };
    for file in &snapshot.files {
        if !is_segment(&file.name) {
            others.add(file);
        } else if segments.len() < MOST_DIRECTORIES || segments.contains_key(&file.directory) {
            // No file has its directory's inode number, so these never meet a file of a later process.
            let name = Arc::clone(&name_of_segments);
            segments.entry(file.directory).or_insert_with(|| stand_in(file.directory, name)).add(file);
        } else {
            overflow.add(file);
        }
    }
    let directories: Vec<Directory> =
        snapshot.directories.iter().filter(|directory| segments.contains_key(&directory.inode)).cloned().collect();
    let mut files: Vec<File> = segments.into_values().collect();
    if others.moved.calls.iter().any(|calls| *calls > 0) || !others.sent.is_empty() {
        files.push(others);
    }
    files.sort_by_key(|file| file.inode);
    let fills = snapshot.fills.as_ref().map(|fills| {
        let directory = |inode| {
            let file =
                snapshot.files.binary_search_by_key(&inode, |file| file.inode).map(|place| &snapshot.files[place]);
            file.ok().filter(|file| is_segment(&file.name)).map_or(nowhere, |file| file.directory)
        };
        fills.renamed(directory)
    });
    let kept: BTreeSet<InodeKey> = directories.iter().map(|directory| directory.inode).collect();
    let durations = snapshot.durations.as_ref();
    let durations = durations.map(|durations| durations.folded(|log| kept.contains(log)));
    let order = snapshot.order.as_ref().map(|order| order.folded(|log| kept.contains(log)));
    Snapshot { files, directories, files_other: overflow.moved, fills, durations, order, ..snapshot.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::{self, Attach, EndedBy, Window};

    const BROKER: &str = include_str!("../report/recorded/broker.json");

    fn topics(snapshot: &Snapshot) -> Vec<report::Topic> {
        let facts = report::tests::facts();
        let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::Signal };
        report::build(snapshot, &facts, window, Attach::default()).topics
    }

    #[test]
    fn folding_keeps_every_byte_with_its_topic() {
        let recorded: Snapshot = serde_json::from_str(BROKER).unwrap();
        let folded = fold(&recorded);
        assert_eq!(topics(&folded), topics(&recorded));
        assert!(folded.files.len() < recorded.files.len());
        let sum = |snapshot: &Snapshot| {
            let files = snapshot.files.iter().map(|file| file.moved).chain([snapshot.files_other]);
            files.fold([0; 3], |sum, moved| std::array::from_fn(|path| sum[path] + moved.bytes[path]))
        };
        assert_eq!(sum(&folded), sum(&recorded));
        assert_eq!(folded.transfers, recorded.transfers);
    }

    #[test]
    fn a_second_life_adds_to_the_first_and_takes_no_more_room() {
        let recorded: Snapshot = serde_json::from_str(BROKER).unwrap();
        let mut past = Snapshot::default();
        for _ in 0..3 {
            past = fold(&past.plus(&recorded));
        }
        assert_eq!(past.files.len(), fold(&recorded).files.len());
        for (topic, once) in topics(&past).iter().zip(topics(&recorded)) {
            assert_eq!((&topic.topic, topic.written_bytes), (&once.topic, 3 * once.written_bytes));
        }
        // While the third process runs, its files stand beside the folded ones.
        for (topic, once) in topics(&past.plus(&recorded)).iter().zip(topics(&recorded)) {
            assert_eq!((&topic.topic, topic.written_bytes), (&once.topic, 4 * once.written_bytes));
        }
    }
}
