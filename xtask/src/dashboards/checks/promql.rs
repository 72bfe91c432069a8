//! As much of PromQL as the checks need: which metrics a query names, with which labels.

/// A metric in a query, and the labels that it is selected by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) metric: String,
    pub(super) labels: Vec<String>,
}

const PREFIXES: [&str; 4] = ["zctrace_", "process_", "up", "ALERTS"];

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Metrics of zctrace that a query names. What recording rules made has a `:` and is not among them.
pub(super) fn uses(query: &str) -> Vec<Use> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(|c| is_name(c) || c == '"') {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = text.find('"').map_or("", |end| &text[end + 1..]);
            continue;
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        rest = &rest[end..];
        let ours = PREFIXES[..2].iter().any(|prefix| name.starts_with(prefix)) || PREFIXES[2..].contains(&name);
        if ours && !name.contains(':') {
            let selector =
                rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
            found.push(Use { metric: name.to_owned(), labels: labels(selector) });
        }
    }
    found
}

fn labels(selector: &str) -> Vec<String> {
    // Values hold no commas here.
    selector.split(',').filter_map(|one| Some(one.split_once(['=', '!'])?.0.trim().to_owned())).collect()
}

#[test]
fn metrics_and_their_labels_are_found() {
    let query = r#"sum by (x) (rate(zctrace_a_total{job=~"$job",path!="b"}[5m])) / level:zctrace_b:rate5m + up{c="zctrace_no"}"#;
    let found = uses(query);
    let of = |metric: &str, labels: &[&str]| Use {
        metric: metric.to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    assert_eq!(found, [of("zctrace_a_total", &["job", "path"]), of("up", &["c"])]);
}
