//! What Grafana and Prometheus are given at their start fits together.

use crate::command::root;

fn read(path: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(root().join("dashboards").join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn the_data_source_knows_the_scrape_interval() {
    let source = read("grafana/provisioning/datasources/prometheus.yaml");
    let source = &source["datasources"][0];
    assert_eq!(source["type"], "prometheus");
    assert_eq!(source["jsonData"]["timeInterval"], read("prometheus/prometheus.yml")["global"]["scrape_interval"]);
}

#[test]
fn dashboards_are_mounted_where_they_are_looked_for() {
    let provider = read("grafana/provisioning/dashboards/zctrace.yaml");
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let compose = read("compose.yaml");
    let grafana = &compose["services"]["grafana"];
    let mounts: Vec<_> = grafana["volumes"].as_array().unwrap().iter().map(|mount| mount.as_str().unwrap()).collect();
    assert!(mounts.contains(&format!("./grafana:{path}:ro").as_str()), "{mounts:?}");
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    let file = home.strip_prefix(path).unwrap().trim_start_matches('/');
    assert!(root().join("dashboards/grafana").join(file).is_file(), "{file}");
}
