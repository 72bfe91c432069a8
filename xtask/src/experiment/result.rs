//! What the rounds say, as a record, a table and a picture.

use std::path::Path;

use anyhow::Result;

use super::{
    Setup, WARM_UP,
    run::{Run, Used},
};
use crate::{
    bench::{
        plot,
        record::Record,
        save::{self, Keep},
    },
    command::root,
    stats::{Estimate, bootstrap, mean},
};

const NAME: &str = "experiment";
const PER_GB: &str = "s";

/// The table of the set-ups.
const BY_SETUP: &str = "Processor time of the broker for each GB read";
/// The table of differences.
const BY_CAUSE: &str = "What TLS costs for each GB, and what of it is the lost zero copy";
/// The table of zctrace's own numbers.
const BESIDE: &str = "zctrace's split beside the experiment's, for each GB";

type Round = [Run; 4];

fn of(round: &Round, setup: Setup) -> &Run {
    &round[setup as usize]
}

/// A mean over rounds with its interval. A round is drawn whole: what all set-ups of it share cancels out.
fn over(rounds: &[Round], value: impl Fn(&Round) -> f64) -> Option<Estimate> {
    let values: Vec<f64> = rounds.iter().map(value).collect();
    bootstrap(&values, mean)
}

fn per_gb(run: &Run, of: impl Fn(Used) -> f64) -> f64 {
    of(run.broker) / run.gigabytes
}

fn zctrace_per_gb(run: &Run, of: impl Fn(Used) -> f64) -> f64 {
    of(run.zctrace) / run.gigabytes
}

/// The part of TLS's price that is the lost zero copy, in percent: of all rounds together.
fn share_of_copy(rounds: &[Round], tls: Setup) -> Option<Estimate> {
    let pairs: Vec<(f64, f64)> = rounds
        .iter()
        .map(|round| {
            let price = |setup| per_gb(of(round, setup), Used::both);
            (price(Setup::Copy) - price(Setup::Plaintext), price(tls) - price(Setup::Plaintext))
        })
        .collect();
    bootstrap(&pairs, |pairs| {
        let (copy, all) = pairs.iter().fold((0.0, 0.0), |(a, b), (copy, all)| (a + copy, b + all));
        (all > 0.0).then(|| 100.0 * copy / all)
    })
}

fn record(rounds: &[Round], megabytes: u64) -> Record {
    let mut record = Record::new(NAME, "TLS or zero copy: what each costs a broker");
    record.method = vec![
        format!(
            "One Kafka broker with a listener for each set-up, {megabytes} MB of one topic read by one consumer through each \
             in turn, in another order each round; {} rounds after {WARM_UP} to warm up. Loopback, page cache warm.",
            rounds.len()
        ),
        "Processor time: `utime` and `stime` of the whole broker in `/proc/PID/stat`, before and after each reading. GB: 10^9 \
         bytes of records."
            .to_owned(),
        "\"copied, not encrypted\": an `ssl.engine.factory.class` that frames as TLS does and copies instead of encrypting \
         (`testkit/java/CopyEngineFactory.java`), so it takes all of the way that TLS takes but for the cryptography."
            .to_owned(),
        "zctrace was attached in all readings, and its own numbers are from the same ones.".to_owned(),
    ];
    for setup in Setup::ALL {
        let mut cell = |column: &str, unit: &str, value: &dyn Fn(&Run) -> f64| {
            record.measure([BY_SETUP, setup.title(), column], unit, over(rounds, |round| value(of(round, setup))));
        };
        cell("user", PER_GB, &|run| per_gb(run, |used| used.user));
        cell("kernel", PER_GB, &|run| per_gb(run, |used| used.kernel));
        cell("both", PER_GB, &|run| per_gb(run, Used::both));
        cell("client's speed", "MB/s", &|run| run.gigabytes * 1e3 / run.seconds);
    }
    let difference = |above: Setup, below: Setup, of_used: fn(Used) -> f64| {
        over(rounds, move |round| per_gb(of(round, above), of_used) - per_gb(of(round, below), of_used))
    };
    for (row, above, below) in [
        ("the lost zero copy (copied - plaintext)", Setup::Copy, Setup::Plaintext),
        ("AES-256-GCM (TLS - copied)", Setup::Aes, Setup::Copy),
        ("ChaCha20-Poly1305 (TLS - copied)", Setup::Chacha, Setup::Copy),
        ("TLS with AES in all (TLS - plaintext)", Setup::Aes, Setup::Plaintext),
        ("TLS with ChaCha20 in all (TLS - plaintext)", Setup::Chacha, Setup::Plaintext),
    ] {
        record.measure([BY_CAUSE, row, "user"], PER_GB, difference(above, below, |used| used.user));
        record.measure([BY_CAUSE, row, "kernel"], PER_GB, difference(above, below, |used| used.kernel));
        record.measure([BY_CAUSE, row, "both"], PER_GB, difference(above, below, Used::both));
        if below == Setup::Plaintext && above != Setup::Copy {
            record.measure([BY_CAUSE, row, "lost zero copy"], "%", share_of_copy(rounds, above));
        }
    }
    for (row, tls) in [("TLS, AES-256-GCM", Setup::Aes), ("TLS, ChaCha20-Poly1305", Setup::Chacha)] {
        let zctrace = |of_used: fn(Used) -> f64| {
            over(rounds, move |round| {
                zctrace_per_gb(of(round, tls), of_used) - zctrace_per_gb(of(round, Setup::Plaintext), of_used)
            })
        };
        record.measure([BESIDE, row, "zctrace: user"], PER_GB, zctrace(|used| used.user));
        record.measure([BESIDE, row, "experiment: user"], PER_GB, difference(tls, Setup::Plaintext, |used| used.user));
        record.measure([BESIDE, row, "zctrace: kernel"], PER_GB, zctrace(|used| used.kernel));
        record.measure(
            [BESIDE, row, "experiment: kernel"],
            PER_GB,
            difference(tls, Setup::Plaintext, |used| used.kernel),
        );
        record.measure([BESIDE, row, "zctrace: both"], PER_GB, zctrace(Used::both));
        record.measure([BESIDE, row, "experiment: both"], PER_GB, difference(tls, Setup::Plaintext, Used::both));
    }
    record.notes = agreement(rounds);
    record
}

/// Whether zctrace's split and the experiment's agree, in sentences.
fn agreement(rounds: &[Round]) -> Vec<String> {
    let mut notes = Vec::new();
    for (what, of_used) in [
        ("user space", (|used: Used| used.user) as fn(Used) -> f64),
        ("the kernel", |used| used.kernel),
        ("both together", Used::both),
    ] {
        let off = over(rounds, |round| {
            let more =
                |of_run: &dyn Fn(&Run) -> f64| of_run(of(round, Setup::Aes)) - of_run(of(round, Setup::Plaintext));
            more(&|run| zctrace_per_gb(run, of_used)) - more(&|run| per_gb(run, of_used))
        });
        let Some(off) = off else { continue };
        let verdict = if off.low <= 0.0 && off.high >= 0.0 {
            "within the interval: they agree"
        } else {
            "beyond the interval: the rest of the broker (garbage collection, other threads) is in the experiment's"
        };
        notes.push(format!(
            "What TLS with AES takes more in {what}: zctrace's number less the experiment's is {:.3} s a GB ({:.3} to {:.3}), {verdict}.",
            off.value, off.low, off.high
        ));
    }
    let handling = over(rounds, |round| {
        per_gb(of(round, Setup::Copy), |used| used.user) - per_gb(of(round, Setup::Plaintext), |used| used.user)
    });
    if let Some(handling) = handling {
        notes.push(format!(
            "zctrace takes all that is more in user space for \"encryption and handling\". The experiment tells the two apart: \
             {:.3} s a GB ({:.3} to {:.3}) of it are the handling of copied bytes, which encrypts nothing.",
            handling.value, handling.low, handling.high
        ));
    }
    notes
}

fn draw(record: &Record, dir: &Path) -> Result<Vec<String>> {
    let file = format!("{NAME}.svg");
    let parts = ["user", "kernel"];
    let groups = Setup::ALL
        .map(|setup| {
            let of_part = |part: &&str| {
                let at = |measure: &&crate::bench::record::Measure| {
                    measure.table == BY_SETUP && measure.row == setup.title() && measure.column == **part
                };
                record.measures.iter().find(at).map(|measure| ((*part).to_owned(), measure.value))
            };
            (setup.title().to_owned(), parts.iter().filter_map(of_part).collect())
        })
        .to_vec();
    plot::bars(
        &dir.join(&file),
        "Processor seconds of the broker for each GB read",
        "seconds",
        &groups,
        &parts.map(str::to_owned),
    )?;
    Ok(vec![file])
}

pub(super) fn finish(rounds: &[Round], megabytes: u64, keep: Keep) -> Result<()> {
    let record = record(rounds, megabytes);
    save::finish_in(&root().join("docs/experiment"), &record, keep, draw)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Rounds with known prices and noise that all set-ups of a round share.
    fn rounds() -> Vec<Round> {
        let prices = [(0.1, 0.3), (0.4, 0.8), (1.0, 0.8), (2.0, 0.8)];
        (0..8)
            .map(|round| {
                let noise = f64::from(round % 3) * 0.01;
                prices.map(|(user, kernel)| {
                    let used = Used { user: (user + noise) * 2.0, kernel: kernel * 2.0 };
                    Run { gigabytes: 2.0, broker: used, zctrace: used, seconds: 1.0 }
                })
            })
            .collect()
    }

    fn measure(record: &Record, table: &str, row: &str, column: &str) -> f64 {
        let at = |measure: &&crate::bench::record::Measure| {
            measure.table == table && measure.row.starts_with(row) && measure.column == column
        };
        record.measures.iter().find(at).unwrap().value.value
    }

    #[test]
    fn prices_come_apart_by_differences() {
        let record = record(&rounds(), 2_000);
        let close = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value} for {expected}");
        close(measure(&record, BY_CAUSE, "the lost zero copy", "both"), 0.8);
        close(measure(&record, BY_CAUSE, "AES", "both"), 0.6);
        close(measure(&record, BY_CAUSE, "ChaCha20", "both"), 1.6);
        close(measure(&record, BY_CAUSE, "TLS with AES in all", "lost zero copy"), 100.0 * 0.8 / 1.4);
        close(measure(&record, BESIDE, "TLS, AES", "zctrace: kernel"), 0.5);
        assert!(record.notes.iter().take(3).all(|note| note.ends_with("they agree.")), "{:#?}", record.notes);
    }

    #[test]
    fn a_disagreement_is_said() {
        let mut rounds = rounds();
        rounds.iter_mut().for_each(|round| round[Setup::Aes as usize].zctrace.user += 1.0);
        let notes = record(&rounds, 2_000).notes;
        assert!(notes[0].contains("is 0.500 s a GB") && notes[0].contains("beyond the interval"), "{}", notes[0]);
    }
}
