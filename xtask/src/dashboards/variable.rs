//! Variables, and links that carry them from one dashboard to the next.

use serde_json::{Value, json};

/// The data source that the reader chose.
pub(super) fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Choice of the data source.
pub(super) fn choose_datasource() -> Value {
    json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "",
        "hide": 0, "multi": false, "includeAll": false, "options": [], "refresh": 1, "skipUrlSync": false,
        "description": "Any source that speaks Prometheus's language and has zctrace's metrics.",
    })
}

/// Values of a label: several can be chosen, and all of them.
pub(super) fn label(name: &str, title: &str, description: &str, series: &str, of: &str) -> Value {
    let query = format!("label_values({series}, {of})");
    json!({
        "name": name, "label": title, "description": description, "type": "query", "datasource": datasource(),
        "definition": query, "query": {"query": query, "refId": "StandardVariableQuery", "qryType": 1},
        "multi": true, "includeAll": true, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2, "sort": 7, "regex": "", "hide": 0, "options": [], "skipUrlSync": false,
    })
}

/// A label whose "all" is only what the variables before it leave: chosen values narrow it.
fn narrowed(mut variable: Value) -> Value {
    if let Some(fields) = variable.as_object_mut() {
        fields.remove("allValue");
    }
    variable
}

fn job() -> Value {
    // Not `.*`: other jobs' targets are not zctrace's.
    narrowed(label("job", "Job", "Scrape job of zctrace.", "zctrace_build_info", "job"))
}

fn cluster() -> Value {
    let series = r#"zctrace_target_info{job=~"$job"}"#;
    label("cluster", "Cluster", "Kafka cluster, by its cluster id.", series, "cluster_id")
}

fn instance() -> Value {
    let series = r#"zctrace_target_info{job=~"$job",cluster_id=~"$cluster"}"#;
    narrowed(label("instance", "Instance", "Address of a zctrace: one for each host.", series, "instance"))
}

fn target() -> Value {
    let series = r#"zctrace_target_info{job=~"$job",cluster_id=~"$cluster",instance=~"$instance"}"#;
    label("target", "Broker", "A watched process, such as kafka-1 for node.id=1.", series, "target")
}

fn listener() -> Value {
    let series = r#"zctrace_egress_bytes_total{job=~"$job",instance=~"$instance",target=~"$target"}"#;
    let what = "Name of a listener in the broker's configuration; outbound is what the broker itself connected to.";
    label("listener", "Listener", what, series, "listener")
}

fn topic() -> Value {
    let series = r#"zctrace_topic_bytes_total{job=~"$job",instance=~"$instance",target=~"$target"}"#;
    label("topic", "Topic", "A topic; (other) is what has no series of its own.", series, "topic")
}

/// Below so many bytes a second, shares are not shown: what is left are answers to heartbeats.
fn floor() -> Value {
    json!({
        "name": "floor", "label": "Idle below (B/s)", "type": "textbox", "query": "10000", "hide": 0,
        "current": {"text": "10000", "value": "10000"}, "options": [{"text": "10000", "value": "10000", "selected": true}],
        "skipUrlSync": false,
        "description": "A share of next to nothing means nothing: where fewer bytes a second are sent, none is shown.",
    })
}

pub(super) fn of_fleet() -> Vec<Value> {
    vec![choose_datasource(), job(), cluster(), instance(), floor()]
}

pub(super) fn of_broker() -> Vec<Value> {
    vec![choose_datasource(), job(), cluster(), instance(), target(), listener(), floor()]
}

pub(super) fn of_topic() -> Vec<Value> {
    vec![choose_datasource(), job(), cluster(), instance(), target(), topic(), floor()]
}

/// A link to another dashboard: time range, source and job stay, and each variable is set to what is beside it.
fn link(title: &str, uid: &str, set: impl Iterator<Item = (String, String)>) -> Value {
    let mut url = format!("/d/{uid}?${{__url_time_range}}&${{datasource:queryparam}}&${{job:queryparam}}");
    for (variable, value) in set {
        url += &format!("&var-{variable}=${{{value}:percentencode}}");
    }
    json!({"title": title, "url": url, "targetBlank": false})
}

/// From a row of a table: variables are set to the row's columns of such titles.
pub(super) fn from_row(title: &str, uid: &str, columns: &[(&str, &str)]) -> Value {
    let value = |column: &str| format!("__data.fields[\"{column}\"]");
    link(title, uid, columns.iter().map(|(variable, column)| ((*variable).to_owned(), value(column))))
}

/// From a line or bar: variables are set to its labels of the same names.
pub(super) fn from_series(title: &str, uid: &str, labels: &[&str]) -> Value {
    link(title, uid, labels.iter().map(|label| ((*label).to_owned(), format!("__field.labels.{label}"))))
}
