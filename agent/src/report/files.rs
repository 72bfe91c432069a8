//! File traffic: which files are a topic's log, and the sums by topic-partition.

use std::collections::BTreeMap;

use agent_ebpf::{FileBytes, FilePath, InodeKey};

use super::{Facts, FileTraffic, OTHER, Topic};
use crate::{
    kafka::{TopicPartition, is_segment},
    snapshot::{Directory, File, Snapshot},
};

pub(super) struct Files {
    pub(super) topics: Vec<Topic>,
    pub(super) files: Vec<FileTraffic>,
}

/// Log segments by topic-partition, every other file on its own.
pub(super) fn files(delta: &Snapshot, facts: &Facts) -> Files {
    let directories: BTreeMap<InodeKey, &Directory> =
        delta.directories.iter().map(|directory| (directory.inode, directory)).collect();
    let mut topics: BTreeMap<(String, u32), FileBytes> = BTreeMap::new();
    let mut files = Vec::new();
    for file in &delta.files {
        let directory = directories.get(&file.directory).copied();
        match directory.and_then(|directory| topic_of(file, directory, facts)) {
            Some(topic) => add(topics.entry((topic.topic, topic.partition)).or_default(), &file.moved),
            None => files.push(traffic(file, directory)),
        }
    }
    if delta.files_other.calls.iter().any(|calls| *calls > 0) {
        let [zero_copy_read_bytes, copied_read_bytes, written_bytes] = delta.files_other.bytes;
        files.push(FileTraffic {
            directory: None,
            name: OTHER.to_owned(),
            device: None,
            inode: None,
            zero_copy_read_bytes,
            copied_read_bytes,
            written_bytes,
        });
    }
    let mut topics: Vec<_> = topics
        .into_iter()
        .map(|((topic, partition), moved)| Topic {
            topic,
            partition,
            zero_copy_read_bytes: moved.bytes[FilePath::ZeroCopyRead as usize],
            copied_read_bytes: moved.bytes[FilePath::CopiedRead as usize],
            written_bytes: moved.bytes[FilePath::Written as usize],
        })
        .collect();
    topics.sort_by_key(|t| std::cmp::Reverse(t.zero_copy_read_bytes + t.copied_read_bytes + t.written_bytes));
    files.sort_by_key(|f| std::cmp::Reverse(f.zero_copy_read_bytes + f.copied_read_bytes + f.written_bytes));
    Files { topics, files }
}

/// A log segment of a partition's directory under one of the broker's log directories. A log directory is recognised
/// by its inode; where that could not be read, the names decide.
fn topic_of(file: &File, directory: &Directory, facts: &Facts) -> Option<TopicPartition> {
    let kafka = facts.target.kafka.as_ref()?;
    if !is_segment(&file.name) {
        return None;
    }
    let under_log_dir = kafka.log_dirs.is_empty()
        || facts.log_dir_inodes.len() < kafka.log_dirs.len()
        || facts.log_dir_inodes.contains(&directory.parent.inode);
    if under_log_dir { TopicPartition::from_directory(&directory.name) } else { None }
}

fn add(sum: &mut FileBytes, moved: &FileBytes) {
    for i in 0..sum.bytes.len() {
        sum.bytes[i] += moved.bytes[i];
        sum.calls[i] += moved.calls[i];
    }
}

fn traffic(file: &File, directory: Option<&Directory>) -> FileTraffic {
    // include/linux/kdev_t.h: 20 bits minor.
    let device = file.inode.device;
    FileTraffic {
        directory: directory.map(|directory| directory.name.clone()),
        name: file.name.clone(),
        device: Some(format!("{}:{}", device >> 20, device & 0xf_ffff)),
        inode: Some(file.inode.inode),
        zero_copy_read_bytes: file.moved.bytes[FilePath::ZeroCopyRead as usize],
        copied_read_bytes: file.moved.bytes[FilePath::CopiedRead as usize],
        written_bytes: file.moved.bytes[FilePath::Written as usize],
    }
}
