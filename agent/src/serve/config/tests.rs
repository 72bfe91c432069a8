#![allow(clippy::unwrap_used, clippy::panic)]
use std::{fs, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::cli::{Discover, LogFormat, Part};

/// The command line `zctrace serve --config.file FILE` with more behind it.
fn command_line(text: &str, more: &[&str]) -> (tempfile::TempDir, Vec<OsString>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zctrace.yml");
    fs::write(&path, text).unwrap();
    let mut arguments: Vec<OsString> = ["zctrace", "serve", "--config.file"].map(OsString::from).into();
    arguments.push(path.into());
    arguments.extend(more.iter().map(OsString::from));
    (dir, arguments)
}

fn settings(text: &str, more: &[&str]) -> Result<Settings, String> {
    let (dir, arguments) = command_line(text, more);
    let dir = format!("{}/", dir.path().display());
    resolve(&arguments).map_err(|error| error.to_string().replace(&dir, ""))
}

const EVERYTHING: &str = "\
discover: kafka
pid: [4711, 4712]
match:
  - nginx|envoy
  - '^java .*App'
discover.interval: 2s
targets.max: 4
window: 5m
topics.limit: 10
topics.allow: ^orders
topics.deny: '-internal$'
topics.aggregate: true
listeners.limit: 3
maps.files: 1000
web.listen-address: ['127.0.0.1:1', '[::1]:2']
web.telemetry-path: /m
web.config.file: web.yml
attach: raw
log-format: json
without: [machine]
latency: true
clients: 9
syncs: true
slow: 25ms
";

#[test]
fn every_flag_is_a_key() {
    let options = settings(EVERYTHING, &[]).unwrap().options;
    assert_eq!(options.discover, Some(Discover::Kafka));
    assert_eq!(options.pid, [4711, 4712]);
    assert_eq!(options.matches.iter().map(regex::Regex::as_str).collect::<Vec<_>>(), ["nginx|envoy", "^java .*App"]);
    assert_eq!((options.interval, options.window), (Duration::from_secs(2), Duration::from_secs(300)));
    assert_eq!((options.targets, options.topics, options.listeners, options.files), (4, 10, 3, 1000));
    assert_eq!(options.allow.unwrap().as_str(), "^orders");
    assert_eq!(options.deny.unwrap().as_str(), "-internal$");
    assert!(options.aggregate);
    assert_eq!(options.listen.len(), 2);
    assert_eq!((options.telemetry_path.as_str(), options.web_config), ("/m", Some("web.yml".into())));
    assert_eq!(options.log_format, LogFormat::Json);
    assert_eq!(options.without, [Part::Machine]);
    assert!(options.syncs);
    assert_eq!((options.latency, options.slow, options.clients), (true, Duration::from_millis(25), Some(9)));
    // No flag is forgotten above.
    for argument in file::flags().get_arguments().filter_map(|argument| argument.get_long()) {
        let is_key = EVERYTHING.lines().any(|line| line.starts_with(&format!("{argument}:")));
        assert_eq!(is_key, !["config.file", "check-config"].contains(&argument), "{argument}");
    }
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "# nothing\n", "---\n", "{}\n"] {
        assert_eq!(settings(text, &[]).unwrap().options.topics, 1000, "{text:?}");
    }
}

#[test]
fn flags_go_before_the_file() {
    let text = "topics.limit: 10\ntopics.aggregate: true\npid: [1, 2]\nlisteners.limit: 3\nlog-format: json\n";
    let more = ["--topics.limit", "20", "--topics.aggregate=false", "--pid", "9", "--log-format=text"];
    let options = settings(text, &more).unwrap().options;
    assert_eq!((options.topics, options.aggregate, options.listeners), (20, false, 3));
    assert_eq!((options.pid, options.log_format), (vec![9], LogFormat::Text));
    assert!(settings("", &["--topics.aggregate"]).unwrap().options.aggregate);
}

#[test]
fn everything_wrong_is_told_with_its_line_and_key() {
    let text = "\
topics.limit: many
topics.limt: 5

window: 0s
discover: everything
match: 'a('
pid: [1, 0]
topics.deny: [a, b]
topics.allow:
topics: {limit: 5}
web.telemetry-path: metrics
config.file: other.yml
listeners.limit: 1.5
web.listen-address: [localhost]
targets.max: 0
";
    let told = settings(text, &[]).unwrap_err();
    let lines: Vec<_> = told.lines().collect();
    let expected = [
        "zctrace.yml:1: `topics.limit`: it can't be `many`: invalid digit found in string",
        "zctrace.yml:2: `topics.limt`: there is no such flag; `zctrace serve --help` lists them",
        "zctrace.yml:4: `window`: it can't be `0s`: it must be longer than nothing",
        "zctrace.yml:5: `discover`: it can't be `everything`: there are kafka, none",
        "zctrace.yml:6: `match`: it can't be `a(`: unclosed group",
        "zctrace.yml:7: `pid`: it can't be `0`: 0 is not in 1..",
        "zctrace.yml:8: `topics.deny`: it takes one value, not a list",
        "zctrace.yml:9: `topics.allow`: it has no value: leave the line out",
        "zctrace.yml:10: `topics`: there is no such flag; `zctrace serve --help` lists them",
        "zctrace.yml:11: `web.telemetry-path`: it can't be `metrics`: it must begin with `/` and name a page",
        "zctrace.yml:12: `config.file`: this is for the command line alone",
        "zctrace.yml:13: `listeners.limit`: no flag takes such a number; if it is meant as text, put it in quotes",
        "zctrace.yml:14: `web.listen-address`: it can't be `localhost`: invalid socket address syntax",
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\nis not\n{expected}");
    }
    assert_eq!(lines.len(), expected.len() + 1, "{told}");
    assert!(lines[13].starts_with("zctrace.yml:15: `targets.max`: it can't be `0`"), "{}", lines[13]);
}

#[test]
fn what_is_no_map_or_no_yaml_is_told_with_its_place() {
    for text in ["- a\n", "just text\n", "a: [1\nb: 2\n", "a: 1\na: 2\n", "\ta: b\n", "a: *nobody\n"] {
        let told = settings(text, &[]).unwrap_err();
        assert!(told.starts_with("zctrace.yml:"), "{text:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    let (_dir, arguments) = command_line("", &[]);
    fs::remove_file(&arguments[3]).unwrap();
    assert!(resolve(&arguments).unwrap_err().to_string().contains("can't be read"));
}

#[test]
fn both_files_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let web = dir.path().join("web.yml");
    fs::write(&web, "tls_server_config: {cert_fil: x}\n").unwrap();
    let both = format!("window: never\nweb.config.file: {}\n", web.display());
    let (_dir, arguments) = command_line(&both, &[]);
    let wrong: Vec<_> = check(&arguments).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].contains("`window`") && wrong[1].contains("cert_fil"), "{wrong:?}");
    fs::write(&web, "").unwrap();
    assert_eq!(check(&arguments).unwrap_err().len(), 1);
    let (_dir, arguments) = command_line("window: 1m\n", &[]);
    assert!(check(&arguments).is_ok());
}

#[test]
fn a_change_is_told_by_the_flags_that_it_changes() {
    let before = settings("topics.limit: 10\nwindow: 60s\n", &[]).unwrap();
    let after = settings("window: 1m 30s\npid: 5\n", &["--config.file"]);
    assert!(after.is_err(), "--config.file twice");
    let after = settings("window: 1m 30s\npid: 5\n", &[]).unwrap();
    let names: Vec<_> = before.differences(&after).filter(|name| *name != "config.file").collect();
    assert_eq!(names, ["pid", "topics.limit", "window"]);
}

/// Lines that are nearly configurations.
fn texts() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "topics.limit",
        "window",
        "pid",
        "match",
        "topics.aggregate",
        "discover",
        "no.such",
        "config.file",
        "attach",
    ]);
    let value = prop_oneof![
        "[0-9]{1,6}",
        "[0-9]{1,3}(s|m|h)",
        "(true|false|null|~|kafka|none|raw)",
        "\\[[0-9, a-z]{0,8}\\]",
        "[ -~]{0,12}",
        "\\PC{0,8}",
    ];
    let line = (key, value).prop_map(|(key, value)| format!("{key}: {value}"));
    prop::collection::vec(prop_oneof![9 => line, 1 => "\\PC{0,20}"], 0..6).prop_map(|lines| lines.join("\n"))
}

proptest! {
    /// Any text is taken, or refused with the file's name and a reason; what is taken is what the flags would say.
    #[test]
    fn any_text_is_taken_or_refused(text in texts()) {
        match file::parse(&text) {
            Ok(file) => {
                for problem in &file.problems {
                    prop_assert!(problem.line >= 1 && !problem.reason.is_empty(), "{problem:?}");
                }
                if file.problems.is_empty() {
                    let line = ["zctrace", "serve"].map(str::to_owned).into_iter();
                    let line: Vec<_> = line.chain(file.settings.iter().flat_map(Setting::arguments)).collect();
                    prop_assert!(<Cli as clap::Parser>::try_parse_from(&line).is_ok(), "{line:?}");
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    /// Values come back as they were written.
    #[test]
    fn values_survive(
        limit in 0usize..1_000_000,
        pids in prop::collection::vec(1u32.., 1..5),
        regex in "[a-z0-9 .*+|-]{1,20}",
        seconds in 1u64..100_000,
        aggregate: bool,
    ) {
        prop_assume!(regex::Regex::new(&regex).is_ok());
        let text = format!(
            "topics.limit: {limit}\npid: {pids:?}\nmatch: '{regex}'\nwindow: {seconds}s\ntopics.aggregate: {aggregate}\n"
        );
        let options = settings(&text, &[]).unwrap().options;
        prop_assert_eq!((options.topics, options.pid, options.aggregate), (limit, pids, aggregate));
        prop_assert_eq!(options.matches[0].as_str(), regex);
        prop_assert_eq!(options.window, Duration::from_secs(seconds));
    }
}
