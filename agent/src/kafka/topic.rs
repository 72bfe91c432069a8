//! Names of Kafka's log directories and files (`LogFileUtils`, `UnifiedLog`, `Topic`).

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic.
    pub topic: String,
    /// Partition, from 0.
    pub partition: u32,
}

/// Longest name of a topic (`Topic.MAX_NAME_LENGTH`).
const LONGEST_TOPIC: usize = 249;
/// What Kafka appends, behind a unique id, to the directory of a partition that is deleted, moved between log
/// directories, or no longer this broker's.
const SUFFIXES: [&str; 3] = ["-delete", "-future", "-stray"];
/// Length of the unique id: a UUID without dashes.
const UNIQUE_ID: usize = 32;
/// Digits of a segment's base offset.
const OFFSET_DIGITS: usize = 20;

impl TopicPartition {
    /// From the name of a directory: `topic-partition`, or that with a unique id and a suffix.
    #[must_use]
    pub fn from_directory(name: &str) -> Option<Self> {
        let name = without_suffix(name).unwrap_or(name);
        let (topic, partition) = name.rsplit_once('-')?;
        let canonical = partition == "0" || !partition.starts_with('0');
        let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
        if !canonical || !digits || !is_topic(topic) {
            return None;
        }
        // A partition is a Java int.
        let partition = partition.parse::<u32>().ok().filter(|partition| i32::try_from(*partition).is_ok())?;
        Some(Self { topic: topic.to_owned(), partition })
    }
}

/// `topic-0.0123456789abcdef0123456789abcdef-delete` without its tail. Kafka cuts the topic where the whole would be
/// longer than a file name may be, so the topic of such a directory can be cut short.
fn without_suffix(name: &str) -> Option<&str> {
    let name = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix))?;
    let (name, id) = name.rsplit_once('.')?;
    (id.len() == UNIQUE_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(name)
}

/// `Topic.validate`.
fn is_topic(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= LONGEST_TOPIC
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether a file holds records of a log: `00000000000000000042.log`, also while it is deleted or compacted.
#[must_use]
pub fn is_segment(name: &str) -> bool {
    let name = [".deleted", ".cleaned", ".swap"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    name.strip_suffix(".log")
        .is_some_and(|offset| offset.len() == OFFSET_DIGITS && offset.bytes().all(|byte| byte.is_ascii_digit()))
}
