//! What the rounds say: tables, goals, picture.

use std::path::Path;

use super::{Accounted, Found, LISTENERS, Setup, Visit, Window, method};
use crate::{
    bench::{
        plot,
        record::{Measure, Record, exactly},
    },
    stats::{Estimate, bootstrap, mean, mean_of, median, median_of, paired_ratio},
};

const NAME: &str = "broker";
/// Fewer windows decide nothing: their interval is too narrow.
const ENOUGH: usize = 20;
/// The table of what is added.
const ADDED: &str = "What it adds to the broker's processor time for each GB";
const ADDED_OF_ALL: &str = "The same over all requests, those that were disturbed included";
const USED: &str = "Processor time of the broker for each GB served";
const BESIDE: &str = "Beside it";
const ACCOUNT: &str = "The kernel's own account of the programs";

fn visits(found: &Found, listener: usize, setup: Setup) -> impl Iterator<Item = &Visit> {
    found.samples.iter().filter(move |it| it.listener == listener && it.setup == setup).map(|it| &it.visit)
}

/// The windows of a set-up.
fn windows(found: &Found, listener: usize, setup: Setup) -> Vec<Window> {
    if setup == Setup::Nothing {
        let beside = found.samples.iter().filter(|it| it.listener == listener).map(|it| it.visit);
        return beside.flat_map(|visit| [visit.before, visit.after]).collect();
    }
    visits(found, listener, setup).map(|visit| visit.with).collect()
}

fn over(found: &Found, listener: usize, setup: Setup, value: impl Fn(&Window) -> f64) -> Vec<f64> {
    windows(found, listener, setup).iter().map(value).collect()
}

fn percent(ratio: Estimate) -> Estimate {
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    Estimate { value: percent(ratio.value), low: percent(ratio.low), high: percent(ratio.high) }
}

/// What a set-up adds, in percent, where nobody disturbs.
fn added(found: &Found, listener: usize, setup: Setup) -> Option<Estimate> {
    let logs: Vec<[f64; 2]> = visits(found, listener, setup).filter_map(Visit::log_ratios).collect();
    let median = bootstrap(&logs, |logs| median(logs.as_flattened()))?;
    Some(percent(Estimate { value: median.value.exp(), low: median.low.exp(), high: median.high.exp() }))
}

/// The same of all time.
fn added_of_all(found: &Found, listener: usize, setup: Setup) -> Option<Estimate> {
    let pair = |it: &Visit| (it.with.per_gb(), f64::midpoint(it.before.per_gb(), it.after.per_gb()));
    paired_ratio(&visits(found, listener, setup).map(pair).collect::<Vec<_>>()).map(percent)
}

/// What zctrace adds, as far as it is known.
pub(super) fn so_far(found: &Found) -> String {
    let told = |(listener, (name, _)): (usize, &(&str, f64))| {
        let added = added(found, listener, Setup::Zctrace)?;
        Some(format!("{name} {:.2} % ({:.2} to {:.2})", added.value, added.low, added.high))
    };
    LISTENERS.iter().enumerate().filter_map(told).collect::<Vec<_>>().join(", ")
}

pub(super) fn record(found: &Found) -> Record {
    let mut record = Record::new(NAME, "What hooks cost a real broker");
    record.method = method::method(found);
    let told = Setup::ALL.into_iter().filter(|setup| *setup != Setup::Nothing);
    for setup in told {
        for (listener, (name, _)) in LISTENERS.iter().enumerate() {
            record.measure([ADDED, setup.title(), name], "%", added(found, listener, setup));
            record.measure([ADDED_OF_ALL, setup.title(), name], "%", added_of_all(found, listener, setup));
        }
    }
    for setup in Setup::ALL {
        for (listener, (name, _)) in LISTENERS.iter().enumerate() {
            let undisturbed = over(found, listener, setup, |it| it.undisturbed * 1e3);
            record.measure([USED, setup.title(), name], "ms", median_of(&undisturbed));
            let all = over(found, listener, setup, |it| it.per_gb() * 1e3);
            record.measure([USED, setup.title(), &format!("{name}, all requests")], "ms", mean_of(&all));
        }
    }
    for setup in Setup::ALL {
        for (listener, (name, _)) in LISTENERS.iter().enumerate() {
            // A cost, as everything is that is compared with the last time.
            let time = over(found, listener, setup, |it| it.seconds * 1e3 / it.gigabytes);
            record.measure([BESIDE, setup.title(), &format!("{name}: a GB takes")], "ms", mean_of(&time));
            let tool: Vec<f64> = visits(found, listener, setup).map(|it| it.tool * 1e3 / it.with.gigabytes).collect();
            if !setup.is_baseline() {
                record.measure([BESIDE, setup.title(), &format!("{name}: the tool itself")], "ms/GB", mean_of(&tool));
            }
            #[allow(clippy::cast_precision_loss)] // some thousands
            let windows = time.len() as f64;
            let counted = (windows > 0.0).then(|| exactly(windows));
            record.measure([BESIDE, setup.title(), &format!("{name}: windows")], "", counted);
        }
    }
    for (listener, setup, accounted) in &found.accounted {
        account(&mut record, LISTENERS[*listener].0, *setup, accounted);
    }
    for (listener, (name, limit)) in LISTENERS.iter().enumerate() {
        for setup in [Setup::Zctrace, Setup::Serve, Setup::Bare] {
            let enough = visits(found, listener, setup).count() >= ENOUGH;
            let added = enough.then(|| added(found, listener, setup)).flatten();
            record.goal(format!("{}, {name}: added", setup.title()), "%", added, *limit);
        }
    }
    record.notes.extend(notes(found));
    record
}

fn account(record: &mut Record, listener: &str, setup: Setup, accounted: &Accounted) {
    let (runs, seconds) =
        accounted.programs.iter().fold((0.0, 0.0), |(runs, time), ran| (runs + ran.runs, time + ran.seconds));
    if runs == 0.0 || accounted.broker == 0.0 {
        return;
    }
    let mut add = |column: &str, unit: &str, value: f64| {
        record.measure([ACCOUNT, setup.title(), &format!("{listener}: {column}")], unit, Some(exactly(value.round())));
    };
    add("runs a GB", "", runs / accounted.gigabytes);
    add("a run", "ns", seconds * 1e9 / runs);
    let share = exactly((seconds / accounted.broker * 1e4).round() / 100.0);
    record.measure([ACCOUNT, setup.title(), &format!("{listener}: of the broker's time")], "%", Some(share));
}

/// What strace does to a broker, in a sentence.
fn notes(found: &Found) -> Vec<String> {
    let mut notes = Vec::new();
    for (listener, (name, _)) in LISTENERS.iter().enumerate() {
        let seconds = |setup| mean(&over(found, listener, setup, |it| it.seconds / it.gigabytes));
        if let Some((with, without)) = seconds(Setup::Strace).zip(seconds(Setup::Nothing)) {
            notes.push(format!(
                "strace makes {name} {:.1} times as slow: a GB takes {with:.1} s instead of {without:.2} s.",
                with / without
            ));
        }
    }
    notes
}

/// Bars of what is added, without strace, which would dwarf everything else.
pub(super) fn draw(record: &Record, dir: &Path) -> anyhow::Result<Vec<String>> {
    let shown = |it: &&Measure| it.table == ADDED && it.row != Setup::Strace.title();
    let setups: Vec<String> = Setup::ALL.iter().map(|setup| setup.title().to_owned()).collect();
    let group = |(name, limit): &(&str, f64)| {
        let here = |it: &&Measure| it.column == *name;
        let bars = record.measures.iter().filter(shown).filter(here).map(|it| (it.row.clone(), it.value)).collect();
        (format!("{name} (goal {limit} %)"), bars)
    };
    let groups = LISTENERS.iter().map(group).collect();
    let title =
        format!("Added processor time of the broker for each GB (strace not shown), Linux {}", record.machine.kernel);
    plot::bars(&dir.join("broker.svg"), &title, "%", &groups, &setups)?;
    Ok(vec!["broker.svg".to_owned()])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bench::{account::Ran, broker::Sample, record::Verdict};

    /// Windows that drift, in which a set-up costs so many times what nothing costs, and every third is disturbed.
    fn found(cost: impl Fn(Setup, usize) -> f64) -> Found {
        let mut found = Found { rounds: 32, megabytes: 600, warm_up: 5, ..Found::default() };
        let window = |drift: f64, undisturbed: f64, disturbed: f64| Window {
            gigabytes: 2.0,
            broker: 2.0 * drift * undisturbed * disturbed,
            seconds: 2.0,
            undisturbed: drift * undisturbed,
        };
        for round in 0..found.rounds {
            for setup in Setup::ALL.into_iter().filter(|setup| *setup != Setup::Nothing) {
                for listener in 0..LISTENERS.len() {
                    let drift = 1.0 + f64::from(u32::try_from(round % 5).unwrap()) / 8.0;
                    let disturbed = if round % 3 == 0 { 1.5 } else { 1.0 };
                    let visit = Visit {
                        before: window(drift, 1.0, 1.0),
                        with: window(1.1 * drift, cost(setup, listener), disturbed),
                        after: window(1.21 * drift, 1.0, 1.0),
                        tool: 0.1,
                    };
                    found.samples.push(Sample { listener, setup, visit });
                }
            }
        }
        found
    }

    fn measure(record: &Record, table: &str, setup: Setup, column: &str) -> Estimate {
        let at = |it: &&Measure| it.table == table && it.row == setup.title() && it.column == column;
        record.measures.iter().find(at).unwrap().value
    }

    #[test]
    fn what_is_added_is_told_against_the_windows_beside_it_whatever_drifts() {
        let found = found(|setup, listener| match (setup, listener) {
            (Setup::Zctrace | Setup::Serve, 0) => 1.005,
            (Setup::Zctrace, _) => 1.03,
            (Setup::Strace, _) => 20.0,
            _ => 1.0,
        });
        let record = record(&found);
        let added = |setup, listener| measure(&record, ADDED, setup, listener);
        assert!((added(Setup::Zctrace, "PLAINTEXT").value - 0.5).abs() < 1e-6);
        assert!((added(Setup::Zctrace, "SSL").value - 3.0).abs() < 1e-6);
        assert!(added(Setup::Zctrace, "SSL").margin() < 1e-6, "the drift is in both");
        assert!(added(Setup::NothingAgain, "SSL").value.abs() < 1e-6);
        let of_all = measure(&record, ADDED_OF_ALL, Setup::NothingAgain, "SSL");
        assert!(of_all.value > 10.0 && of_all.margin() > 5.0, "what disturbs is in it: {of_all:?}");
        assert!((added(Setup::Strace, "SSL").value - 1900.0).abs() < 1e-6);
        let verdicts: Vec<_> = record.goals.iter().map(|goal| (goal.what.as_str(), goal.verdict())).collect();
        assert!(verdicts.contains(&("zctrace, PLAINTEXT: added", Verdict::Met)), "{verdicts:?}");
        assert!(verdicts.contains(&("zctrace, SSL: added", Verdict::Missed)), "{verdicts:?}");
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(draw(&record, dir.path()).unwrap(), ["broker.svg"]);
    }

    #[test]
    fn what_was_not_measured_is_not_there() {
        let mut found = found(|_, _| 1.0);
        found.samples.retain(|sample| sample.setup != Setup::Serve);
        let record = record(&found);
        assert!(record.measures.iter().all(|it| it.row != Setup::Serve.title()));
        assert!(record.notes.iter().any(|note| note.ends_with("not measured")), "{:?}", record.notes);
    }

    #[test]
    fn the_kernels_account_is_of_all_programs_together() {
        let mut found = found(|_, _| 1.0);
        let ran = |runs, seconds| Ran { name: "p".to_owned(), runs, seconds, verified: None, code: 100 };
        let programs = vec![ran(1_000_000.0, 0.1), ran(1_000_000.0, 0.1)];
        found.accounted.push((1, Setup::Zctrace, Accounted { gigabytes: 4.0, broker: 8.0, programs }));
        let record = record(&found);
        let account = |column| measure(&record, ACCOUNT, Setup::Zctrace, column).value;
        assert!((account("SSL: runs a GB") - 500_000.0).abs() < 1e-6);
        assert!((account("SSL: a run") - 100.0).abs() < 1e-6);
        assert!((account("SSL: of the broker's time") - 2.5).abs() < 1e-6);
    }
}
