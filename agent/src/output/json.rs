//! One document for programs. `docs/json.md` explains it, `docs/report.schema.json` describes it.

use std::io::{Result, Write};

use serde::{Serialize, ser::Error};
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::report::Report;

/// The Report as a JSON document: indented by two spaces, ending with a line end.
///
/// Byte counts are integers, exact up to 2^64 - 1: a reader that takes every number for a double (JavaScript) rounds those
/// above 2^53. Invisible and control characters in names are written as `\u....`, so that the document is safe to print.
///
/// # Errors
/// None is known of: the Report has only types that JSON has.
pub fn render(report: &Report) -> std::result::Result<String, serde_json::Error> {
    let mut document = Vec::new();
    report.serialize(&mut Serializer::with_formatter(&mut document, Printable(PrettyFormatter::new())))?;
    document.push(b'\n');
    String::from_utf8(document).map_err(serde_json::Error::custom)
}

/// Indented, and with nothing in it that a terminal could take for an order. JSON itself allows DEL, the C1 control
/// characters and those that turn the direction of writing to stand as they are.
struct Printable<'a>(PrettyFormatter<'a>);

impl Formatter for Printable<'_> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> Result<()> {
        for c in fragment.chars() {
            // What needs a backslash in JSON was taken out of the fragment before.
            if matches!(c, '\'' | '"' | '\\') || c.escape_debug().len() == 1 {
                writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::*;
    use crate::output::sample;

    const GOLDEN: &str = include_str!("../../tests/golden/report.json");
    const SCHEMA: &str = include_str!("../../../docs/report.schema.json");
    const DOCUMENTATION: &str = include_str!("../../../docs/json.md");

    fn schema() -> Value {
        serde_json::from_str(SCHEMA).unwrap()
    }

    fn errors(document: &Value) -> Vec<String> {
        let validator = jsonschema::options().should_validate_formats(true).build(&schema()).unwrap();
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path)).collect()
    }

    fn parse(report: &Report) -> Value {
        serde_json::from_str(&render(report).unwrap()).unwrap()
    }

    /// `UPDATE_GOLDEN=1 cargo test -p zctrace golden` writes it anew.
    #[test]
    fn the_golden_document_is_held_byte_for_byte() {
        let document = render(&sample::everything()).unwrap();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/report.json"), &document).unwrap();
            return;
        }
        assert!(document == GOLDEN, "the document changed: see this test on how to accept that\n{document}");
    }

    #[test]
    fn every_report_is_as_the_schema_says() {
        for report in [sample::broker(), sample::everything(), sample::idle(), sample::hostile()] {
            assert_eq!(errors(&parse(&report)), Vec::<String>::new());
        }
    }

    #[test]
    fn the_schema_refuses_what_is_no_report() {
        let golden: Value = serde_json::from_str(GOLDEN).unwrap();
        for (pointer, wrong) in [
            ("/schema_version", json!(2)),
            ("/window/seconds", json!(-1)),
            ("/window/start", json!("yesterday")),
            ("/window/ended_by", json!("boredom")),
            ("/attach/leg", json!("kprobe")),
            ("/transfers/0/source", json!("disk")),
            ("/transfers/0/bytes", json!(1.5)),
            ("/transfers/0/bytes", json!(-1)),
            ("/transfers/0/local_port", json!("9092")),
            ("/transfers/0/local_port", json!(65_536)),
            ("/listeners/0/zero_copy_ratio", json!(1.01)),
            ("/listeners/0/egress_bytes", json!("12")),
            ("/topics/0/partition", Value::Null),
            ("/lost/updates", Value::Null),
        ] {
            let mut document = golden.clone();
            *document.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = wrong;
            assert_eq!(errors(&document).len(), 1, "{pointer}");
        }
    }

    type Fields = BTreeMap<String, BTreeSet<String>>;

    /// Every object in a document by its path, with its fields.
    fn fields(value: &Value, path: &str, all: &mut Fields) {
        match value {
            Value::Object(object) => {
                all.entry(path.to_owned()).or_default().extend(object.keys().cloned());
                object.iter().for_each(|(key, value)| fields(value, &format!("{path}/{key}"), all));
            }
            Value::Array(values) => values.iter().for_each(|value| fields(value, &format!("{path}[]"), all)),
            _ => {}
        }
    }

    /// Every object in the schema by its path, with its properties; all are described, required, and all there are.
    fn properties(schema: &Value, root: &Value, path: &str, all: &mut Fields) {
        let target = schema["$ref"].as_str().map(|target| root.pointer(&target[1..]).unwrap());
        let schema = target.unwrap_or(schema);
        schema["anyOf"].as_array().into_iter().flatten().for_each(|any| properties(any, root, path, all));
        if schema["items"].is_object() {
            properties(&schema["items"], root, &format!("{path}[]"), all);
        }
        let Some(object) = schema["properties"].as_object() else { return };
        assert_eq!(schema["additionalProperties"], json!(false), "{path}");
        let required: BTreeSet<_> =
            schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(required, object.keys().map(String::as_str).collect(), "required: {path}");
        all.entry(path.to_owned()).or_default().extend(object.keys().cloned());
        for (name, property) in object {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{path}/{name} is not described");
            assert!(!name.ends_with("_bytes") || description.contains("ytes"), "{path}/{name} has no unit");
            properties(property, root, &format!("{path}/{name}"), all);
        }
    }

    #[test]
    fn the_schema_has_the_fields_of_the_document_and_no_others() {
        let (mut written, mut described) = (Fields::new(), Fields::new());
        fields(&parse(&sample::everything()), "", &mut written);
        properties(&schema(), &schema(), "", &mut described);
        assert_eq!(written, described);
    }

    #[test]
    fn the_documentation_names_every_field() {
        let mut described = Fields::new();
        properties(&schema(), &schema(), "", &mut described);
        for (path, names) in described {
            for name in names {
                assert!(DOCUMENTATION.contains(&format!("| `{name}` |")), "{path}/{name} is not in docs/json.md");
            }
        }
        let example = DOCUMENTATION.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        assert_eq!(errors(&serde_json::from_str(example).unwrap()), Vec::<String>::new());
    }

    #[test]
    fn the_version_is_the_schemas() {
        assert_eq!(schema()["properties"]["schema_version"]["const"], json!(crate::report::SCHEMA_VERSION));
    }

    #[test]
    fn counts_that_no_double_holds_are_exact() {
        let document = render(&sample::everything()).unwrap();
        assert!(document.contains("\"zero_copy_bytes\": 9007199254740993,"), "{document}");
        let mut report = sample::broker();
        report.lost.other_bytes = u64::MAX;
        assert!(render(&report).unwrap().contains("\"other_bytes\": 18446744073709551615,"));
    }

    #[test]
    fn what_is_not_known_is_null_and_an_entry_is_a_word() {
        let document = parse(&sample::everything());
        assert_eq!(document["listeners"][2]["zero_copy_ratio"], Value::Null);
        assert_eq!(document["listeners"][2]["egress_bytes"], json!(0));
        assert_eq!(document["transfers"][0]["local_port"], json!(19092));
        let ports: Vec<_> = document["transfers"].as_array().unwrap().iter().map(|t| &t["local_port"]).collect();
        assert!(
            [json!("outbound"), json!("datagram"), json!("(other)"), Value::Null].iter().all(|p| ports.contains(&p))
        );
    }

    #[test]
    fn names_come_back_whole_and_reach_no_terminal_raw() {
        let report = sample::hostile();
        let document = render(&report).unwrap();
        assert!(document.chars().all(|c| c == '\n' || !c.is_control()));
        assert!(!document.contains('\u{202e}') && document.ends_with("}\n"));
        let read: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(read["target"]["name"].as_str().unwrap(), report.target.name);
        let mut report = sample::idle();
        report.target.name = "Größe 日本 \"C:\\x\" 🦀\u{e0001}".to_owned();
        let document = render(&report).unwrap();
        assert!(document.contains(r#""name": "Größe 日本 \"C:\\x\" 🦀\udb40\udc01""#), "{document}");
        assert_eq!(parse(&report)["target"]["name"].as_str().unwrap(), report.target.name);
    }
}
