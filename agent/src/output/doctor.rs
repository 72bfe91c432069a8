//! What the doctor found, for people.

use super::{
    Style,
    format::thousands,
    grid::{Cell, Column, Grid},
    table::title,
    text::{Ink, clean_sentence, paragraph, resolve},
};
use crate::doctor::{CallLine, Check, Diagnosis, SelfTest, State};

/// The diagnosis as text.
#[must_use]
pub fn render(diagnosis: &Diagnosis, style: &Style) -> String {
    let mut text = title("What this machine allows", "", style);
    for check in &diagnosis.checks {
        text += &line(check, style);
    }
    for test in &diagnosis.self_tests {
        text += "\n";
        text += &self_test(test, style);
    }
    text += "\n";
    text += &verdict(diagnosis, style);
    resolve(&text, style.color)
}

const fn mark(state: State, unicode: bool) -> &'static str {
    match (state, unicode) {
        (State::Ok, true) => "✓",
        (State::Ok, false) => "ok",
        (State::Limited, true) => "!",
        (State::Limited, false) => "! ",
        (State::Missing, true) => "✗",
        (State::Missing, false) => "X ",
        (State::Unknown, true) => "?",
        (State::Unknown, false) => "? ",
    }
}

const fn ink(state: State) -> Ink {
    match state {
        State::Ok | State::Unknown => Ink::Plain,
        State::Limited => Ink::Strong,
        State::Missing => Ink::Copied,
    }
}

fn line(check: &Check, style: &Style) -> String {
    let indent = "    ";
    let first = format!("{} {}: {}", mark(check.state, style.unicode), check.name, check.found);
    let mut text = paragraph(&clean_sentence(&first, style.unicode), style.width, "", indent)
        .lines()
        .fold(String::new(), |text, line| text + &ink(check.state).on(line) + "\n");
    let mut more = |word: &str, sentence: &str, ink: Ink| {
        let sentence = clean_sentence(&format!("{word}: {sentence}"), style.unicode);
        for line in paragraph(&sentence, style.width, indent, indent).lines() {
            text += &(ink.on(line) + "\n");
        }
    };
    more("for", check.purpose, Ink::Faint);
    if let Some(mend) = &check.mend {
        more("mend", mend, Ink::Plain);
    }
    text
}

fn self_test(test: &SelfTest, style: &Style) -> String {
    let heading = title(&format!("Self-test, leg {}", test.leg), "known calls and what was counted", style);
    if let Some(failure) = &test.failure {
        let sentence = clean_sentence(&format!("It could not be made: {failure}"), style.unicode);
        return heading + &paragraph(&sentence, style.width, "", "");
    }
    let columns = || {
        vec![
            Column::words("call"),
            Column::numbers("calls"),
            Column::numbers("bytes"),
            Column::numbers("failed or\nempty").leaves(1),
            Column::words("counted"),
        ]
    };
    let (mut full, mut short) = (Grid::new(columns()), Grid::new(columns()));
    for line in &test.calls {
        full.row(cells(line, "every call and byte"));
        short.row(cells(line, "all"));
    }
    let mut text = heading + &Grid::render(&full, &short, style);
    for difference in &test.differences {
        let sentence = format!(
            "{} ({}): {} calls and {} bytes were made, {} and {} counted.",
            difference.syscall.name(),
            difference.what,
            thousands(difference.made.0),
            thousands(difference.made.1),
            thousands(difference.counted.0),
            thousands(difference.counted.1)
        );
        text += &paragraph(&sentence, style.width, "", "  ");
    }
    text
}

fn cells(line: &CallLine, exact: &str) -> Vec<Cell> {
    let (word, ink) = if line.exact { (exact, Ink::Plain) } else { ("wrongly, see below", Ink::Copied) };
    vec![
        line.syscall.name().into(),
        thousands(line.calls).into(),
        thousands(line.bytes).into(),
        thousands(line.without_bytes).into(),
        Cell::inked(word, ink),
    ]
}

fn verdict(diagnosis: &Diagnosis, style: &Style) -> String {
    let missing: Vec<_> =
        diagnosis.checks.iter().filter(|check| check.state == State::Missing).map(|check| check.name).collect();
    let wrong: Vec<_> = diagnosis.self_tests.iter().filter(|test| test.failure.is_none() && !test.is_exact()).collect();
    let legs = wrong.iter().map(|test| test.leg).collect::<Vec<_>>().join(" and ");
    let failed = diagnosis.self_tests.iter().find_map(|test| Some((test.leg, test.failure.as_ref()?)));
    let sentence = if !missing.is_empty() {
        format!("zctrace can't watch a process here yet. Missing: {}.", missing.join(", "))
    } else if !wrong.is_empty() && wrong.iter().all(|test| test.misses_calls()) && diagnosis.has_exact_leg() {
        format!(
            "zctrace can watch processes here, and counts every byte by the leg that it takes by itself. By leg {legs} this kernel \
             misses calls where it preempts a thread in the hook."
        )
    } else if !wrong.is_empty() && wrong.iter().all(|test| test.misses_calls()) {
        format!(
            "zctrace works here, but this kernel misses calls by leg {legs} where it preempts a thread in the hook; a summary \
             counts them under \"Lost\". preempt=none or preempt=voluntary on its command line prevents that, where it \
             offers them."
        )
    } else if !wrong.is_empty() {
        format!("zctrace works here, but miscounts by leg {legs}: please report this output.")
    } else if let Some((leg, _)) = failed {
        let rest =
            if diagnosis.able { "zctrace works here by the other leg" } else { "zctrace can't watch a process here" };
        format!("The self-test of leg {leg} could not be made; {rest}.")
    } else if diagnosis.self_tests.is_empty() {
        "zctrace can watch processes here.".to_owned()
    } else {
        "zctrace can watch processes here, and counts every byte.".to_owned()
    };
    paragraph(&sentence, style.width, "", "")
        .lines()
        .fold(String::new(), |text, line| text + &Ink::Strong.on(line) + "\n")
}
