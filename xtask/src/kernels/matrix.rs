//! Results in the repository: `docs/kernels.json`, `docs/kernels.md`, and a table in the README.

use std::fs;

use anyhow::{Context as _, bail};

use super::steps::{LEGS, OF_DISK, Result, Verdict};
use crate::command::root;

const JSON: &str = "docs/kernels.json";
const TEXT: &str = "docs/kernels.md";
const README: &str = "README.md";
const BEGIN: &str = "<!-- by `cargo xtask kernels` -->\n";
const END: &str = "<!-- end -->";

/// Puts results beside those of other kernels, in place of older ones of the same; those `of_some_steps` go into the results
/// of a whole run on the same kernel.
pub(super) fn save(new: &[Result], of_some_steps: bool) -> anyhow::Result<()> {
    let path = root().join(JSON);
    let mut all: Vec<Result> = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{JSON} is not what this command writes"))?,
        Err(_) => Vec::new(),
    };
    let key = |result: &Result| (result.architecture.clone(), result.series.clone());
    for new in new {
        let same = all.iter_mut().find(|old| key(old) == key(new) && old.release == new.release);
        match same.filter(|_| of_some_steps) {
            Some(same) => same.update(new),
            None if of_some_steps => {
                bail!("there is no whole run on {} in {JSON} that these steps belong to", new.release)
            }
            None => {
                all.retain(|old| key(old) != key(new));
                all.push(new.clone());
            }
        }
    }
    all.sort_by_key(|result| (result.architecture.clone(), super::order(&result.series)));
    fs::write(&path, serde_json::to_string_pretty(&all)? + "\n").with_context(|| format!("{JSON} can't be written"))?;
    fs::write(root().join(TEXT), page(&all)).with_context(|| format!("{TEXT} can't be written"))?;
    let readme = fs::read_to_string(root().join(README))?;
    if let Some(readme) = with_table(&readme, &table(&all)) {
        fs::write(root().join(README), readme).with_context(|| format!("{README} can't be written"))?;
    }
    println!("written to {JSON}, {TEXT} and {README}");
    Ok(())
}

/// A line for each kernel: what each leg did there, and what is told of its page cache and disks.
pub(super) fn table(results: &[Result]) -> String {
    let legs = LEGS.map(|leg| format!("`{leg}`")).join(" | ");
    let rest = OF_DISK.map(|(name, _)| name).join(" | ");
    let columns = "---|".repeat(LEGS.len() + OF_DISK.len());
    let mut text = format!("| kernel | {legs} | `auto` takes | {rest} |\n|---|{columns}---|\n");
    for result in results {
        let find = |of: &[(String, Verdict)], name: &str| {
            of.iter().find(|(known, _)| known == name).map_or("not tried", |(_, verdict)| cell(verdict))
        };
        let legs = LEGS.map(|leg| find(&result.legs, leg)).join(" | ");
        let rest = OF_DISK.map(|(name, _)| find(&result.others, name)).join(" | ");
        text += &format!("| {} {} | {legs} | `{}` | {rest} |\n", result.release, result.architecture, result.auto);
    }
    text
}

const fn cell(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Passed(_) => "exact",
        Verdict::Missed(_) => "misses calls, and says how many",
        Verdict::Impossible(_) => "not possible",
        Verdict::Failed(_) => "**failed**",
    }
}

fn page(results: &[Result]) -> String {
    let mut text = format!(
        "# Kernels\n\n`cargo xtask kernels` boots Debian's kernels under QEMU (software emulation, two processors) and runs the \
         exactness tests\n(`agent/tests/exact`) inside each, by each leg that it allows: known calls of every kind, counted to \
         the byte; and on an ext4 there,\nwhat comes into the page cache (`agent/tests/cache.rs`), in what order files are read \
         and written, and calls that wait for the disk\n(`agent/tests/order.rs`). This page is from its last run.\n\n{}",
        table(results)
    );
    for result in results {
        text += &format!("\n## {} {}\n", result.release, result.architecture);
        let legs = result.legs.iter().map(|(leg, verdict)| (format!("leg `{leg}`"), verdict));
        let others = result.others.iter().map(|(name, verdict)| (describe(name).to_owned(), verdict));
        for (name, verdict) in legs.chain(others) {
            text += &match verdict {
                Verdict::Passed(1) => format!("- {name}: passed\n"),
                Verdict::Passed(tests) => format!("- {name}: {tests} tests passed\n"),
                Verdict::Missed(tests) => format!(
                    "- {name}: {tests} passed, but for calls that this kernel missed: never more than zctrace says\n"
                ),
                Verdict::Impossible(reason) => format!("- {name}: not possible: {reason}\n"),
                Verdict::Failed(_) => format!("- {name}: **failed**\n"),
            };
        }
    }
    text
}

fn describe(step: &str) -> &str {
    match step {
        "page cache" => "what comes into the page cache, by each leg, on ext4",
        "order" => "in what order files are read and written, and what `sendfile` does not send",
        "syncs" => "calls that wait for the disk, by each leg",
        "half-way" => "hooks of functions refused half-way",
        "kernel-tls" => "what the kernel encrypts (kernel TLS), by each leg",
        "doctor" => "`zctrace doctor` and its self-test",
        "hotplug" => "a processor that goes and comes while calls are counted",
        other => other,
    }
}

/// The README with this table between its marks; `None` where it has none.
fn with_table(readme: &str, table: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> Result {
        Result {
            series: "5.10".to_owned(),
            architecture: "amd64".to_owned(),
            release: "5.10.0-46".to_owned(),
            auto: "fexit".to_owned(),
            legs: vec![
                ("fexit".to_owned(), Verdict::Passed(11)),
                ("raw".to_owned(), Verdict::Failed("no".to_owned())),
                ("tracepoint".to_owned(), Verdict::Impossible("it lacks".to_owned())),
            ],
            others: vec![
                ("page cache".to_owned(), Verdict::Impossible("it takes more".to_owned())),
                ("order".to_owned(), Verdict::Passed(9)),
                ("hotplug".to_owned(), Verdict::Passed(2)),
            ],
        }
    }

    #[test]
    fn a_line_for_each_kernel_and_a_reason_for_what_is_not_possible() {
        let line = "| 5.10.0-46 amd64 | exact | **failed** | not tried | not possible | `fexit` | not possible | exact \
                    | not tried |\n";
        assert!(table(&[result()]).ends_with(line));
        let page = page(&[result()]);
        assert!(page.contains("- leg `tracepoint`: not possible: it lacks\n"), "{page}");
        assert!(page.contains("goes and comes while calls are counted: 2 tests passed\n"), "{page}");
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let readme = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let new = with_table(&readme, "new\n");
        assert_eq!(new, Some(format!("before\n{BEGIN}new\n{END}\nafter\n")));
        assert_eq!(with_table("no marks", "new\n"), None);
    }
}
