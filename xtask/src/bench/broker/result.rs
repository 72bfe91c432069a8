//! What the rounds say: tables, goals, picture.

use std::path::Path;

use super::{Accounted, Found, LISTENERS, Reading, Sample, Setup};
use crate::{
    bench::{
        plot,
        record::{Measure, Record, exactly},
    },
    stats::{Estimate, bootstrap, mean, mean_of, paired_ratio},
};

const NAME: &str = "broker";
/// Fewer rounds decide nothing: their interval is too narrow.
const ENOUGH: usize = 8;
/// The table of what is added.
const ADDED: &str = "What it adds to the broker's processor time for each GB";
const USED: &str = "Processor time of the broker for each GB served";
const BESIDE: &str = "Beside it";
const ACCOUNT: &str = "The kernel's own account of the programs";

/// The readings of a set-up, each with what the broker took without in the same round.
fn pairs(found: &Found, listener: usize, setup: Setup) -> Vec<(f64, f64)> {
    let of_round = |round: u64, wanted: &dyn Fn(Setup) -> bool| {
        let here = |it: &&Sample| it.round == round && it.listener == listener && wanted(it.setup);
        mean(&found.samples.iter().filter(here).map(|it| it.reading.per_gb()).collect::<Vec<_>>())
    };
    let without = |it: Setup| it.is_baseline() && it != setup;
    (0..found.rounds)
        .filter_map(|round| Some((of_round(round, &|it| it == setup)?, of_round(round, &without)?)))
        .collect()
}

/// What a set-up adds, in percent.
fn added(found: &Found, listener: usize, setup: Setup) -> Option<Estimate> {
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    paired_ratio(&pairs(found, listener, setup)).map(|ratio| Estimate {
        value: percent(ratio.value),
        low: percent(ratio.low),
        high: percent(ratio.high),
    })
}

/// Of all readings of a set-up.
fn over(found: &Found, listener: usize, setup: Setup, value: impl Fn(&Reading) -> f64) -> Vec<f64> {
    let here = |it: &&Sample| it.listener == listener && it.setup == setup;
    found.samples.iter().filter(here).map(|it| value(&it.reading)).collect()
}

pub(super) fn record(found: &Found) -> Record {
    let mut record = Record::new(NAME, "What hooks cost a real broker");
    record.method = method(found);
    for setup in Setup::ALL.into_iter().filter(|setup| *setup != Setup::Nothing) {
        for (listener, (name, _)) in LISTENERS.iter().enumerate() {
            record.measure([ADDED, setup.title(), name], "%", added(found, listener, setup));
        }
    }
    for setup in Setup::ALL {
        for (listener, (name, _)) in LISTENERS.iter().enumerate() {
            let used = over(found, listener, setup, Reading::per_gb);
            record.measure([USED, setup.title(), name], "s", mean_of(&used));
        }
    }
    for setup in Setup::ALL {
        for (listener, (name, _)) in LISTENERS.iter().enumerate() {
            let speed = over(found, listener, setup, |it| it.gigabytes * 1e3 / it.seconds);
            record.measure([BESIDE, setup.title(), &format!("{name}: client's speed")], "MB/s", mean_of(&speed));
            let tool = over(found, listener, setup, |it| it.tool / it.gigabytes);
            if !setup.is_baseline() {
                record.measure([BESIDE, setup.title(), &format!("{name}: the tool itself")], "s/GB", mean_of(&tool));
            }
            #[allow(clippy::cast_precision_loss)] // a few hundred
            let readings = tool.len() as f64;
            let counted = (readings > 0.0).then(|| exactly(readings));
            record.measure([BESIDE, setup.title(), &format!("{name}: readings")], "", counted);
        }
    }
    for (listener, setup, accounted) in &found.accounted {
        account(&mut record, LISTENERS[*listener].0, *setup, accounted);
    }
    for (listener, (name, limit)) in LISTENERS.iter().enumerate() {
        for setup in [Setup::Zctrace, Setup::Serve, Setup::Bare] {
            let enough = pairs(found, listener, setup).len() >= ENOUGH;
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

fn method(found: &Found) -> Vec<String> {
    vec![
        format!(
            "A Kafka broker alone on one processor; everything else (clients, zctrace, bpftrace) on another one, strace on the \
             broker's (across processors it costs far more). A topic of {} MB is read by one consumer for each listener, again \
             and again through the same connections, from the page cache. {} rounds after {} readings of each listener to warm \
             up.",
            found.megabytes, found.rounds, found.warm_up
        ),
        "In each round the listeners are read with nothing attached, with nothing again, and with zctrace, in another order each \
         round; the other set-ups have every third round, strace every sixteenth and a tenth of the bytes. Each reading attaches, \
         reads the topic once and detaches."
            .to_owned(),
        "Processor time: of all the broker's threads, in user space and in the kernel, what programs take in them included, by \
         the scheduler's own account (CLOCK_PROCESS_CPUTIME_ID of the broker), before and after each reading. GB: 10^9 bytes of \
         Kafka's protocol as the consumer counts them."
            .to_owned(),
        "What a set-up adds: its readings' sum over that of the readings without in the same rounds, less one; rounds are drawn \
         whole for the interval. \"nothing attached, again\" is the same for the second reading without: what the noise adds."
            .to_owned(),
        "The kernel's own account: readings apart, in which the kernel measures how long programs run (BPF_ENABLE_STATS), its two \
         clock readings for each run and the runs for other processes' calls included: an upper limit of what the programs take \
         from the broker."
            .to_owned(),
    ]
}

/// What strace does to a broker, in a sentence.
fn notes(found: &Found) -> Vec<String> {
    let mut notes = Vec::new();
    for (listener, (name, _)) in LISTENERS.iter().enumerate() {
        let seconds = |setup| over(found, listener, setup, |it| it.seconds / it.gigabytes);
        let slower = bootstrap(&seconds(Setup::Strace), mean).zip(mean(&seconds(Setup::Nothing)));
        if let Some((with, without)) = slower.filter(|(_, without)| *without > 0.0) {
            notes.push(format!(
                "strace makes {name} {:.1} times as slow: a GB takes {:.1} s instead of {without:.2} s.",
                with.value / without,
                with.value
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
    use crate::bench::{account::Ran, record::Verdict};

    /// Rounds that drift by half, in which a set-up costs so many times what nothing costs.
    fn found(cost: impl Fn(Setup, usize) -> f64) -> Found {
        let mut found = Found { rounds: 32, megabytes: 600, warm_up: 5, ..Found::default() };
        for round in 0..found.rounds {
            for setup in Setup::ALL.into_iter().filter(|setup| setup.has_its_turn(round)) {
                for listener in 0..LISTENERS.len() {
                    let drift = 1.0 + f64::from(u32::try_from(round % 5).unwrap()) / 8.0;
                    let seconds = drift * cost(setup, listener);
                    let reading = Reading { gigabytes: 2.0, broker: 2.0 * seconds, tool: 0.1, seconds: 2.0 };
                    found.samples.push(Sample { round, listener, setup, reading });
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
    fn what_is_added_is_told_against_the_same_round_whatever_drifts() {
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
