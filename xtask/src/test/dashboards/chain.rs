//! The real chain: every query of every dashboard, on data of a real broker under load.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    dashboards::{
        all,
        live::{Answer, Span, Stack, ask_all, choose_all},
    },
    test::tally::Tally,
};

/// Load before the first query, and the time that queries are over: enough for some scrapes each second.
const WARM_UP: Duration = Duration::from_secs(40);
const SHOWN: u64 = 120;
const STEP: u64 = 5;

/// After so long a scrape has seen what was before.
const SCRAPED: Duration = Duration::from_secs(8);

/// Queries that can't have data here (panel, legend), and why.
const EXCUSED: [(&str, &str, &str); 16] = [
    ("Sent, by path", "Undetermined", "Kafka does not use MSG_ZEROCOPY"),
    ("Copied, now and a week ago", "a week ago", "it began a minute ago"),
    ("Copied, the ten largest brokers", "all others", "there is one broker"),
    ("Read by copying, the ten largest topics", "all others", "there are fewer than ten topics"),
    ("Read by copying, the ten largest partitions", "all others", "there may be fewer than ten partitions"),
    ("Errors", "{{syscall}}: {{errno}}", "nothing need fail"),
    ("No room, nothing there", "{{syscall}}", "clients may be quick enough"),
    ("Empty calls", "{{syscall}}", "whether a call moves nothing depends on who closes a connection"),
    ("Configuration changes, by outcome", "configuration: {{result}}", "there is no configuration file"),
    ("Configuration changes, by outcome", "web configuration: {{result}}", "there is no web configuration"),
    ("Listeners read from disks for", "{{listener}} of {{target}}", "everything may be in the page cache"),
    ("Slow calls", "{{syscall}} {{listener}}", "nothing need be slow"),
    ("Topics with slow calls", "{{topic}}", "nothing need be slow"),
    ("What could be better", "{{id}}", "the machine may give no reason for advice"),
    (
        "Heap, limit, and room for the page cache",
        "group {{kind}} of {{target}}",
        "there may be no memory control group",
    ),
    ("Configuration to look after", "", "there is no configuration file"),
];

fn excuse(answer: &Answer) -> Option<&'static str> {
    EXCUSED
        .iter()
        .find(|(title, legend, _)| *title == answer.title && *legend == answer.legend)
        .map(|excused| excused.2)
}

/// Every query of every panel and variable; then the numbers.
pub(in crate::test) fn chain() -> Result<Tally> {
    let stack = Stack::start()?;
    let mut tally = stack.under_load(WARM_UP, || queries(&stack))?;
    // What the last clients did has been scraped.
    std::thread::sleep(SCRAPED);
    numbers(&stack)?;
    tally.passed += 1;
    Ok(tally)
}

fn queries(stack: &Stack) -> Result<Tally> {
    let span = Span::last(SHOWN, STEP)?;
    let mut tally = Tally::default();
    for board in all() {
        let (everything, lists) = choose_all(&board, &stack.prometheus, &span)?;
        for (name, values) in &lists {
            judge(!values.is_empty(), &format!("${name} has no values"), &mut tally);
        }
        for answer in ask_all(&board, &stack.prometheus, &everything, &span)? {
            let what = format!("{} {}: {}\n{:?}", answer.title, answer.letter, answer.query, answer.data);
            let good = answer.data.is_ok() && (answer.has_data() || excuse(&answer).is_some());
            judge(good, &what, &mut tally);
        }
        // Several values, one value: other forms of the same queries.
        for count in [2, 1] {
            let mut some = everything.clone();
            for (name, values) in
                lists.iter().filter(|(name, _)| ["listener", "topic", "target"].contains(&name.as_str()))
            {
                let busy = |value: &&String| {
                    !["CONTROLLER", "outbound", "(other)"].contains(&value.as_str()) && !value.starts_with("__")
                };
                some.set(name, &values.iter().filter(busy).take(count).map(String::as_str).collect::<Vec<_>>());
            }
            for answer in ask_all(&board, &stack.prometheus, &some, &span)? {
                let what = format!("{count} chosen: {}: {}\n{:?}", answer.title, answer.query, answer.data);
                judge(answer.data.is_ok(), &what, &mut tally);
                if answer.title == "Sent, by path" || answer.title == "Reads and writes, by path" {
                    judge(answer.has_data() || excuse(&answer).is_some(), &what, &mut tally);
                }
            }
        }
    }
    Ok(tally)
}

fn judge(good: bool, what: &str, tally: &mut Tally) {
    if good {
        tally.passed += 1;
    } else {
        println!("{what}");
        tally.failed += 1;
    }
}

/// What Prometheus has is what zctrace reports: heartbeats go on, so it lies between two reports.
fn numbers(stack: &Stack) -> Result<()> {
    let before = stack.report()?;
    std::thread::sleep(SCRAPED);
    let stored = |listener: &str, path: &str| {
        let query = format!("zctrace_egress_bytes_total{{listener=\"{listener}\",path=\"{path}\"}}");
        stack.prometheus.number(&query).with_context(|| format!("no {query}"))
    };
    let counted = |report: &Value, listener: &str, field: &str| {
        let listeners = report["listeners"].as_array().into_iter().flatten();
        listeners
            .clone()
            .find(|one| one["name"] == listener)
            .and_then(|one| one[field].as_f64())
            .context("not reported")
    };
    for listener in ["PLAINTEXT", "SSL"] {
        let mut sums = Vec::new();
        for (path, field) in [("zero_copy", "zero_copy_bytes"), ("copied", "copied_bytes")] {
            let value = stored(listener, path)?;
            let (low, high) = (counted(&before, listener, field)?, counted(&stack.report()?, listener, field)?);
            println!("{listener} {path}: {low} <= {value} <= {high}");
            ensure!(low <= value && value <= high, "{listener} {path}: {value} is not from {low} to {high}");
            sums.push(value);
        }
        let whole: f64 = sums.iter().sum();
        let plain = listener == "PLAINTEXT";
        ensure!(whole > 1e7 && (sums[0] / whole > 0.9) == plain, "{listener}: {sums:?}");
        // The share that panels and rules show is the report's, but for what was sent before the first scrape.
        let share = counted(&before, listener, "zero_copy_ratio")?;
        let rule = format!("listener:zctrace_zero_copy_egress:ratio_rate1h{{listener=\"{listener}\"}}");
        let ruled = stack.prometheus.number(&rule).with_context(|| format!("no {rule}"))?;
        println!("{listener}: {share} reported, {ruled} by the recording rule");
        ensure!((ruled - share).abs() < 0.01, "{listener}: {share} and {ruled}");
    }
    panels_agree(stack, &before)?;
    // Not even pending.
    let alerts = stack.prometheus.number("count(ALERTS{alertname=~\"Zctrace.+\"})");
    ensure!(alerts.is_none(), "{alerts:?} alerts on a broker that is well");
    Ok(())
}

/// What panels show over all the time there was is what the report says of it.
fn panels_agree(stack: &Stack, report: &Value) -> Result<()> {
    // `$__rate_interval` becomes the whole time.
    let span = Span { scrape: 60, ..Span::last(SHOWN, STEP)? };
    let plain = report["listeners"].as_array().into_iter().flatten().find(|one| one["name"] == "PLAINTEXT");
    for (board, title, expected) in [
        (0, "Zero copy, plaintext", plain.and_then(|one| one["zero_copy_ratio"].as_f64())),
        (1, "Zero-copy share", report["total"]["zero_copy_ratio"].as_f64()),
        (1, "Copy amplification", report["total"]["copy_amplification"].as_f64()),
    ] {
        let board = &all()[board];
        let (chosen, _) = choose_all(board, &stack.prometheus, &span)?;
        let answers = ask_all(board, &stack.prometheus, &chosen, &span)?;
        let shown = answers.iter().find(|answer| answer.title == title).and_then(Answer::number);
        println!("{title}: {shown:?} shown, {expected:?} reported");
        let (shown, expected) = shown.zip(expected).context("nothing to compare")?;
        ensure!((shown - expected).abs() < 0.02, "{title}: {shown} is shown and {expected} reported");
    }
    Ok(())
}
