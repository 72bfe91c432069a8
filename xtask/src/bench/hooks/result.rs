//! The result: tables, goals, picture.

use std::{collections::BTreeMap, path::Path};

use super::{
    Row,
    cells::{self, CELLS, Times},
    hook::Hook,
};
use crate::{
    bench::{
        plot,
        record::{Measure, Record},
    },
    stats,
};

/// The table of times.
const ADDED: &str = "Added time a call";

/// The goals: zctrace's added time, at most so many times that of something else.
const GOALS: [(&str, Hook, f64); 7] = [
    (cells::TRACED_READ, Hook::Empty, 2.0),
    (cells::TRACED_READ, Hook::Bpftrace, 0.5),
    (cells::TRACED_READ, Hook::Bare, 1.0),
    (cells::TRACED_READ, Hook::BareHash, 1.0),
    (cells::TRACED_READ, Hook::BareUntyped, 1.0),
    (cells::ANOTHER_READ, Hook::Empty, 1.0),
    (cells::ANOTHER_OTHER, Hook::Empty, 1.0),
];

pub(super) fn record(rounds: u64, hooks: &[Hook], rows: &BTreeMap<String, Row>, base: &[Times]) -> Record {
    let mut record = Record::new("hooks", "What a hook adds to a system call");
    record.method = method(rounds);
    for (index, cell) in CELLS.iter().enumerate() {
        let base: Vec<f64> = base.iter().filter_map(|times| times.get(index).copied()).collect();
        record.measure(["The call itself", "nothing attached", cell.name], "ns", stats::median_of(&base));
    }
    let measured = || hooks.iter().filter_map(|hook| Some((hook, rows.get(&hook.key())?)));
    for (hook, row) in measured() {
        if let Some(absent) = &row.absent {
            record.notes.push(format!("{hook} is not possible here: {}", absent.lines().next().unwrap_or_default()));
        }
        for (index, cell) in CELLS.iter().enumerate() {
            record.measure([ADDED, &hook.to_string(), cell.name], "ns", stats::median_of(&row.samples(index)));
        }
    }
    for (hook, row) in measured() {
        for program in &row.programs {
            program.note(&mut record, &hook.to_string());
        }
    }
    for hook in hooks.iter().filter(|hook| matches!(hook, Hook::Zctrace(_))) {
        for (cell, against, limit) in &GOALS {
            let what = format!("{hook}: {cell}, against {against}");
            if let Some((ours, theirs)) = samples(rows, hook, cell).zip(samples(rows, against, cell)) {
                record.goal(what, "×", stats::ratio_of(&ours, &theirs, stats::median), *limit);
            }
        }
    }
    record
}

fn method(rounds: u64) -> Vec<String> {
    vec![
        format!(
            "{rounds} rounds, each with processes of its own. In each, every hook is attached once, in another order each round, \
             and detached; before it the same calls are timed without. What it adds is the difference, a value a round; shown is \
             the median of the rounds."
        ),
        "A value is that below which a tenth of 100 batches lies (500 reads, 1,000 other calls, 320 writes or sendfiles), since \
         whoever else wants the processor, guests of the same host among them, only makes a batch slower; by the thread's own \
         processor time (strace, which makes the caller sleep: 15 short batches by the time that passes)."
            .to_owned(),
        "Read: `pread64` of 512 bytes of a small file in the page cache. Other call: `getppid`, which nobody counts. \
         Socket write: 512 bytes to an accepted, corked TCP connection. Sendfile: 4 KiB from a file to such a one."
            .to_owned(),
        "The traced process and the other one (`another`) run on the same processor, in turn; zctrace, bpftrace and this \
         benchmark run on another one, strace on that of the traced process (across processors it costs far more)."
            .to_owned(),
        "Empty program: a raw tracepoint program at `sys_exit` that returns at once. Bare counter: the same, adding up \
         returned bytes by call number for one process, without endpoints, files or listeners, in an array a processor; \
         *hash map*: in the map that most tools take; *untyped* reads the registers by a helper, as programs without BTF \
         must. zctrace: as by default, and without the order of reads and writes in their files. bpftrace, exit: `sys_exit_X /pid == P/ { count(); \
         sum(args->ret); }`; enter and exit: by file descriptor."
            .to_owned(),
    ]
}

fn samples(rows: &BTreeMap<String, Row>, hook: &Hook, cell: &str) -> Option<Vec<f64>> {
    let index = CELLS.iter().position(|it| it.name == cell)?;
    rows.get(&hook.key()).map(|row| row.samples(index))
}

/// Bars of what is added, without what would dwarf everything else.
pub(super) fn draw(record: &Record, dir: &Path) -> anyhow::Result<Vec<String>> {
    let shown = |it: &Measure| it.table == ADDED && it.row != Hook::Strace.to_string();
    let title = format!("Added nanoseconds a call (strace: thousands, not shown), Linux {}", record.machine.kernel);
    plot::table(record, shown, dir, "hooks.svg", &title)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bench::record::Verdict;

    /// Rounds in which a hook adds about so much to every call.
    fn row(nanoseconds: f64) -> Row {
        let added = (0..9).map(|round| [nanoseconds + f64::from(round % 3); CELLS.len()]).collect();
        Row { added, ..Row::default() }
    }

    #[test]
    fn goals_are_ratios_of_what_is_added_in_one_run() {
        let raw = Hook::leg("raw");
        let hooks = [Hook::Empty, Hook::Bpftrace, raw.clone(), Hook::leg("fexit")];
        let mut rows: BTreeMap<String, Row> = [(Hook::Empty, 100.0), (Hook::Bpftrace, 400.0), (raw, 150.0)]
            .map(|(hook, it)| (hook.key(), row(it)))
            .into();
        let absent = Some("forbidden\nlog".to_owned());
        rows.insert("fexit".to_owned(), Row { absent, ..Row::default() });
        let record = record(9, &hooks, &rows, &[[500.0; CELLS.len()]]);
        let verdicts: Vec<_> = record.goals.iter().map(|goal| (goal.what.as_str(), goal.verdict())).collect();
        assert_eq!(
            verdicts,
            [
                ("zctrace, raw: traced read, against empty program", Verdict::Met),
                ("zctrace, raw: traced read, against bpftrace, exit", Verdict::Met),
                ("zctrace, raw: another's read, against empty program", Verdict::Missed),
                ("zctrace, raw: another's other call, against empty program", Verdict::Missed),
            ]
        );
        assert!(
            record.notes.contains(&"zctrace, fexit is not possible here: forbidden".to_owned()),
            "{:?}",
            record.notes
        );
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(draw(&record, dir.path()).unwrap(), ["hooks.svg"]);
    }
}
