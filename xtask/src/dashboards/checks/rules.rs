//! Rules: names, severities, runbook sections, and a test for each alert. `promtool` runs the tests themselves.

use std::path::PathBuf;

use serde::Deserialize;

use crate::command::root;

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: Option<String>,
    record: Option<String>,
    expr: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    #[serde(default)]
    alert_rule_test: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    alertname: String,
    exp_alerts: Vec<serde_json::Value>,
}

fn folder(name: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("dashboards/prometheus").join(name)).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

fn read<T: serde::de::DeserializeOwned>(path: &PathBuf) -> T {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rules() -> Vec<Rule> {
    let files = folder("rules");
    files.iter().flat_map(|path| read::<File>(path).groups).flat_map(|group| group.rules).collect()
}

/// Expressions of all rules.
pub(super) fn expressions() -> Vec<String> {
    rules().into_iter().map(|rule| rule.expr).collect()
}

/// GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept =
        heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-').collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn every_alert_says_what_to_do() {
    let runbook = include_str!("../../../../docs/runbook.md");
    let anchors: Vec<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let alerts: Vec<_> = rules().into_iter().filter(|rule| rule.alert.is_some()).collect();
    assert!(alerts.len() >= 6);
    for rule in &alerts {
        let name = rule.alert.as_deref().unwrap();
        assert!(name.starts_with("Zctrace"), "{name}: dashboards look for alerts of this name");
        let severity = rule.labels.get("severity").map(String::as_str);
        assert!(matches!(severity, Some("critical" | "warning" | "info")), "{name}: {severity:?}");
        assert!(rule.annotations.contains_key("summary") && rule.annotations.contains_key("description"), "{name}");
        let (page, section) = rule.annotations["runbook_url"].split_once('#').unwrap();
        assert!(page.ends_with("/docs/runbook.md"), "{name}: {page}");
        assert!(anchors.iter().any(|anchor| anchor == section), "{name}: docs/runbook.md has no section {section}");
    }
    let named =
        |anchor: &&String| alerts.iter().any(|rule| anchor.as_str() == rule.alert.as_deref().unwrap().to_lowercase());
    assert_eq!(anchors.iter().filter(named).count(), alerts.len(), "a section for an alert that is gone, or twice");
}

#[test]
fn recorded_names_say_level_metric_and_operation() {
    for name in rules().into_iter().filter_map(|rule| rule.record) {
        let parts: Vec<_> = name.split(':').collect();
        assert_eq!(parts.len(), 3, "{name}");
        assert!(["listener", "broker", "cluster"].contains(&parts[0]), "{name}");
        assert!(parts[2].ends_with("rate5m") || parts[2].ends_with("rate1h"), "{name}");
    }
}

#[test]
fn every_alert_is_seen_to_fire_and_to_be_quiet() {
    let tests = folder("tests").iter().flat_map(|path| read::<Tests>(path).tests).collect::<Vec<_>>();
    let expected: Vec<_> = tests.into_iter().flat_map(|test| test.alert_rule_test).collect();
    for alert in rules().into_iter().filter_map(|rule| rule.alert) {
        let seen = |fires: bool| expected.iter().any(|e| e.alertname == alert && e.exp_alerts.is_empty() != fires);
        assert!(seen(true), "no test in which {alert} fires");
        assert!(seen(false) || alert == "ZctraceScrapeSlow", "no test in which {alert} is quiet");
    }
}
