//! Results in the repository: `docs/bench/NAME.json`, `.md` and pictures.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    compare::compare,
    machine,
    record::{Record, Verdict},
    table,
};
use crate::command::root;

/// What to do with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Keep {
    /// Only print the result; leave the one in the repository
    #[arg(long)]
    pub(crate) no_save: bool,
}

/// Where results lie.
pub(crate) fn dir() -> PathBuf {
    root().join("docs/bench")
}

/// Prints a result beside the committed one, and keeps it unless told otherwise. `draw` makes the pictures in a
/// folder and tells their names.
pub(crate) fn finish(
    record: &Record,
    keep: Keep,
    draw: impl FnOnce(&Record, &Path) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<()> {
    finish_in(&dir(), record, keep, draw)
}

/// The same in another folder.
pub(crate) fn finish_in(
    dir: &Path,
    record: &Record,
    keep: Keep,
    draw: impl FnOnce(&Record, &Path) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<()> {
    let mut record = record.clone();
    record
        .notes
        .extend(machine::busy(&fs::read_to_string("/proc/loadavg").unwrap_or_default(), record.machine.processors));
    let record = &record;
    let (json, text) = (dir.join(format!("{}.json", record.bench)), dir.join(format!("{}.md", record.bench)));
    let last: Option<Record> = machine::committed(&json).and_then(|text| serde_json::from_str(&text).ok());
    let changes = last.as_ref().map(|last| (last, compare(last, record)));
    let changes = changes.as_ref().map(|(last, changes)| (*last, changes));
    let pictures = if keep.no_save {
        Vec::new()
    } else {
        fs::create_dir_all(dir).with_context(|| format!("{} can't be made", dir.display()))?;
        draw(record, dir)?
    };
    let markdown = table::markdown(record, &pictures, changes);
    println!("{markdown}");
    if !keep.no_save {
        let write = |path: &PathBuf, text: String| {
            fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
        };
        write(&json, serde_json::to_string_pretty(record)? + "\n")?;
        write(&text, markdown)?;
        println!("written to {} and {}", json.display(), text.display());
    }
    let missed = record.goals.iter().filter(|goal| goal.verdict() == Verdict::Missed).count();
    println!("{} goals, {missed} missed", record.goals.len());
    Ok(())
}
