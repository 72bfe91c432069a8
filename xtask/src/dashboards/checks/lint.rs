//! A linter for the dashboards, and faults that it must find.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{panels, queries};
use crate::dashboards::all;

/// Variables that Grafana itself has.
const BUILT_IN: [&str; 4] = ["__rate_interval", "__range", "__interval", "__url_time_range"];

/// Everything that is wrong with a dashboard.
fn findings(board: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            wrong.push(what);
        }
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ours = |value: &Value| value["uid"] == "${datasource}" && value["type"] == "prometheus";
    let variables: BTreeSet<_> =
        board["templating"]["list"].as_array().unwrap().iter().map(|variable| text(&variable["name"])).collect();

    for variable in board["templating"]["list"].as_array().unwrap() {
        let name = text(&variable["name"]);
        check(text(&variable["description"]).len() > 10, format!("${name} has no description"));
        if variable["type"] == "query" {
            check(ours(&variable["datasource"]), format!("${name} has a data source of its own"));
            check(
                variable["multi"] == true && variable["includeAll"] == true,
                format!("of ${name} one can't choose several or all"),
            );
        }
    }
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        let title = text(&panel["title"]);
        check(!title.is_empty(), "a panel has no title".into());
        check(ids.insert(panel["id"].as_u64()), format!("{title}: its id is taken"));
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or(99);
        check(at("x") + at("w") <= 24, format!("{title}: sticks out on the right"));
        for x in at("x")..at("x") + at("w").min(24) {
            for y in at("y")..at("y") + at("h") {
                check(cells.insert((x, y)), format!("{title}: lies on another panel"));
            }
        }
    }
    for panel in panels(board) {
        let title = text(&panel["title"]);
        let defaults = &panel["fieldConfig"]["defaults"];
        let description = text(&panel["description"]);
        check(description.len() > 40, format!("{title}: no description"));
        check(!text(&defaults["unit"]).is_empty(), format!("{title}: no unit"));
        check(!text(&defaults["noValue"]).is_empty(), format!("{title}: no text for no data"));
        check(ours(&panel["datasource"]), format!("{title}: a data source of its own"));
        let targets = panel["targets"].as_array().unwrap();
        check(!targets.is_empty(), format!("{title}: no query"));
        let references: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
        check(references.len() == targets.len(), format!("{title}: two queries with the same letter"));
        for target in targets {
            check(ours(&target["datasource"]), format!("{title}: a query with a data source of its own"));
            let many = text(&target["expr"]).contains(" by (") || targets.len() > 1;
            let graph = ["timeseries", "bargauge"].contains(&panel["type"].as_str().unwrap());
            check(!graph || !many || !text(&target["legendFormat"]).is_empty(), format!("{title}: no legend"));
        }
    }
    for query in queries(board) {
        for range in query.split('[').skip(1).filter_map(|rest| rest.split(']').next()) {
            check(["$__rate_interval", "$__range"].contains(&range), format!("a fixed interval [{range}] in {query}"));
        }
        check(!query.contains("$__interval]"), format!("$__interval in a range in {query}"));
        for call in ["rate(", "increase("] {
            check(
                query.matches(call).count() <= query.matches('[').count(),
                format!("{call}) without a range in {query}"),
            );
        }
    }
    // Wherever a variable is named, in queries and links, it exists.
    let whole = board.to_string();
    for name in whole.split('$').skip(1).map(|rest| rest.trim_start_matches('{')) {
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        let name = &name[..end];
        let known =
            variables.contains(name) || BUILT_IN.contains(&name) || ["__all", "__data", "__field"].contains(&name);
        check(known, format!("${name} is no variable"));
    }
    wrong
}

#[test]
fn the_dashboards_are_tidy() {
    for board in all() {
        let wrong = findings(&board);
        assert!(wrong.is_empty(), "{}:\n{}", board["title"], wrong.join("\n"));
    }
}

#[test]
fn seeded_faults_are_found() {
    let faults: [(&str, &str, Value); 14] = [
        ("no description", "/panels/1/description", json!("")),
        ("no unit", "/panels/1/fieldConfig/defaults/unit", json!("")),
        ("no text for no data", "/panels/1/fieldConfig/defaults/noValue", Value::Null),
        ("no title", "/panels/1/title", json!("")),
        ("a data source of its own", "/panels/1/datasource/uid", json!("P1234")),
        ("a query with a data source of its own", "/panels/1/targets/0/datasource/uid", json!("P1234")),
        ("its id is taken", "/panels/2/id", json!(2)),
        ("sticks out", "/panels/1/gridPos/x", json!(22)),
        ("lies on another", "/panels/2/gridPos/x", json!(1)),
        ("a fixed interval", "/panels/1/targets/0/expr", json!("rate(zctrace_ingress_bytes_total[5m])")),
        ("no query", "/panels/1/targets", json!([])),
        ("is no variable", "/panels/1/targets/0/expr", json!("up{job=\"$jobs\"}")),
        ("has a data source of its own", "/templating/list/1/datasource/uid", json!("P1234")),
        ("can't choose several", "/templating/list/1/multi", json!(false)),
    ];
    for (finding, place, value) in faults {
        let [mut board, ..] = all();
        *board.pointer_mut(place).unwrap() = value;
        let found = findings(&board);
        assert!(found.iter().any(|found| found.contains(finding)), "{place}: {found:?}");
    }
}

#[test]
fn a_name_has_the_same_colour_everywhere() {
    let mut colours: BTreeMap<String, String> = BTreeMap::new();
    for board in all() {
        for field in panels(&board).flat_map(|panel| panel["fieldConfig"]["overrides"].as_array().unwrap()) {
            let name = field["matcher"]["options"].as_str().unwrap().to_owned();
            let fixed = field["properties"].as_array().unwrap().iter().find_map(|p| p["value"]["fixedColor"].as_str());
            if let Some(colour) = fixed {
                let before = colours.entry(name.clone()).or_insert_with(|| colour.to_owned());
                assert_eq!(before, colour, "{name}");
            }
        }
    }
    assert_eq!(colours["Zero copy"], "#0072B2");
    assert_eq!(colours["Copied"], "#E69F00");
}

#[test]
fn links_lead_to_dashboards_that_exist() {
    let boards = all();
    let uids: BTreeSet<_> = boards.iter().map(|board| board["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), boards.len());
    let mut followed = BTreeSet::new();
    for board in &boards {
        let whole = board.to_string();
        for link in whole.split("\"/d/").skip(1) {
            let (uid, rest) = link.split_once('?').unwrap();
            assert!(uids.contains(uid), "{uid}");
            assert!(rest.starts_with("${__url_time_range}&${datasource:queryparam}&${job:queryparam}"), "{rest}");
            followed.insert(uid.to_owned());
        }
    }
    assert!(followed.contains("zctrace-broker") && followed.contains("zctrace-topic"), "{followed:?}");
}
