//! What dashboards and rules must be like, without a server: in step with the code, tidy, and only with metrics that
//! exist.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lint;
mod metrics;
mod promql;
mod provisioning;
mod rules;

use serde_json::Value;

#[test]
fn the_committed_dashboards_are_what_the_code_gives() {
    super::run(&super::Options { check: true }).unwrap();
}

/// Every panel but the titles of rows.
fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

/// Every query: of panels, variables and annotations.
fn queries(board: &Value) -> Vec<String> {
    let of_panels = panels(board).flat_map(|panel| panel["targets"].as_array().unwrap()).map(|target| &target["expr"]);
    let of_variables = board["templating"]["list"].as_array().unwrap().iter().map(|variable| &variable["definition"]);
    let of_marks = board["annotations"]["list"].as_array().unwrap().iter().map(|mark| &mark["expr"]);
    of_panels.chain(of_variables).chain(of_marks).filter_map(|query| Some(query.as_str()?.to_owned())).collect()
}
