//! Variables as Grafana fills and substitutes them.
//!
//! Source of the rules: Grafana's documentation of Prometheus template variables, and what its data source does with
//! chosen values (Grafana 11, packages/grafana-prometheus, `prometheusSpecialRegexEscape`).

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Prometheus, Span};

/// What is chosen for each variable, as it is put into a query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen(BTreeMap<String, String>);

impl Chosen {
    /// Puts the chosen values and the time into a query.
    pub(crate) fn put_into(&self, query: &str, span: &Span) -> String {
        let mut whole = String::new();
        let mut rest = query;
        while let Some((before, after)) = rest.split_once('$') {
            whole.push_str(before);
            let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, behind) = after.split_at(end);
            match (self.0.get(name), span.variable(name)) {
                (Some(value), _) => whole.push_str(value),
                (None, Some(value)) => whole.push_str(&value),
                (None, None) => {
                    whole.push('$');
                    whole.push_str(name);
                }
            }
            rest = behind;
        }
        whole + rest
    }

    /// Sets a variable to values that were chosen from its list.
    pub(crate) fn set(&mut self, name: &str, values: &[&str]) {
        let escaped: Vec<_> = values.iter().map(|value| escape(value)).collect();
        let value = if let [one] = escaped.as_slice() { one.clone() } else { format!("({})", escaped.join("|")) };
        self.0.insert(name.to_owned(), value);
    }
}

/// A value within a regular expression within a string of PromQL.
fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str(r"\\\\"),
            '$' | '^' | '*' | '{' | '}' | '[' | ']' | '\'' | '+' | '?' | '.' | '(' | ')' | '|' => {
                escaped.push_str(r"\\");
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Fills a dashboard's variables in their order, each with all that it has; also the values by name, for choosing.
pub(crate) fn choose_all(
    board: &Value,
    prometheus: &Prometheus,
    span: &Span,
) -> Result<(Chosen, BTreeMap<String, Vec<String>>)> {
    let mut chosen = Chosen::default();
    let mut lists = BTreeMap::new();
    for variable in board["templating"]["list"].as_array().context("a dashboard without variables")? {
        let name = variable["name"].as_str().context("a variable without a name")?;
        if variable["type"] == "textbox" {
            chosen.0.insert(name.to_owned(), variable["query"].as_str().unwrap_or_default().to_owned());
        }
        let Some(definition) = variable["definition"].as_str() else { continue };
        let (series, label) = definition
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
            .with_context(|| format!("${name} is no label_values(series, label)"))?;
        let values = prometheus
            .label_values(&chosen.put_into(series, span), label)
            .with_context(|| format!("the list of ${name}"))?;
        match variable["allValue"].as_str() {
            Some(all) => drop(chosen.0.insert(name.to_owned(), all.to_owned())),
            None => chosen.set(name, &values.iter().map(String::as_str).collect::<Vec<_>>()),
        }
        lists.insert(name.to_owned(), values);
    }
    Ok((chosen, lists))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_values_are_escaped_and_joined() {
        let mut chosen = Chosen::default();
        chosen.set("topic", &["a.b", "(other)"]);
        chosen.set("job", &["zctrace"]);
        let span = Span { start: 0, end: 3600, step: 15, scrape: 15 };
        let query = r#"rate(x{t=~"$topic",j=~"$job"}[$__rate_interval]) > $unknown"#;
        let expected = r#"rate(x{t=~"(a\\.b|\\(other\\))",j=~"zctrace"}[60s]) > $unknown"#;
        assert_eq!(chosen.put_into(query, &span), expected);
        assert_eq!(chosen.put_into("x[$__range]", &span), "x[3600s]");
    }
}
