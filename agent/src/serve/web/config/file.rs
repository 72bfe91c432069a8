//! The text of the file. Nothing in here shows a value of a secret: what holds one is looked at before serde is, whose
//! errors quote what they find.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// A file's sections.
#[derive(Default)]
pub(super) struct File {
    pub(super) tls: Option<Tls>,
    pub(super) http: Http,
    pub(super) users: BTreeMap<String, String>,
    pub(super) rate: Rate,
}

/// `tls_server_config`. Empty text is as good as none.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) client_auth_type: Option<String>,
    pub(super) client_ca_file: Option<PathBuf>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    pub(super) cipher_suites: Option<Vec<String>>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) curve_preferences: Option<Vec<String>>,
}

/// `http_server_config`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http {
    pub(super) http2: Option<bool>,
    /// Numbers and words like `true` stand for their text.
    pub(super) headers: Option<BTreeMap<String, Value>>,
}

/// `rate_limit`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rate {
    pub(super) interval: Option<Value>,
    pub(super) burst: Option<u32>,
}

/// Why a text is no web configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not YAML: where, and more if that shows no value.
    Syntax { place: String, reason: String },
    /// It is, but says what can't be.
    Invalid(String),
}

const SECTIONS: [&str; 4] = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];

/// Reads the text of a file.
pub(super) fn parse(text: &str) -> Result<File, Fault> {
    let sections = match serde_saphyr::from_str(text).map_err(|error| syntax(&error))? {
        Value::Null => return Ok(File::default()),
        Value::Object(sections) => sections,
        _ => return Err(Fault::Invalid(format!("it must be a map with any of {}", SECTIONS.join(", ")))),
    };
    let mut file = File::default();
    for (name, value) in sections {
        let Some(name) = SECTIONS.into_iter().find(|section| *section == name) else {
            return Err(Fault::Invalid(format!("unknown key `{name}`: there are {}", SECTIONS.join(", "))));
        };
        let section = match value {
            Value::Null => continue,
            Value::Object(section) => section,
            _ => return Err(Fault::Invalid(format!("{name} must be a map"))),
        };
        match name {
            "tls_server_config" if section.is_empty() => {}
            "tls_server_config" => {
                only_text(name, &section, &["key"])?;
                file.tls = Some(typed(name, section)?);
            }
            "http_server_config" => file.http = typed(name, section)?,
            "rate_limit" => file.rate = typed(name, section)?,
            _ => {
                only_text(name, &section, &[])?;
                file.users = typed(name, section)?;
            }
        }
    }
    Ok(file)
}

/// Fails where one of `keys` (none: any key) has a value that is no text, without showing it.
fn only_text(section: &str, map: &Map<String, Value>, keys: &[&str]) -> Result<(), Fault> {
    let secret = |key: &str| keys.is_empty() || keys.contains(&key);
    let optional = |value: &Value| !keys.is_empty() && value.is_null();
    match map.iter().find(|(key, value)| secret(key) && !value.is_string() && !optional(value)) {
        Some((key, _)) => {
            Err(Fault::Invalid(format!("{section}: the value of `{key}` must be text; put it in quotes")))
        }
        None => Ok(()),
    }
}

fn typed<T: DeserializeOwned>(section: &str, map: Map<String, Value>) -> Result<T, Fault> {
    serde_json::from_value(Value::Object(map)).map_err(|error| Fault::Invalid(format!("{section}: {error}")))
}

fn syntax(error: &serde_saphyr::Error) -> Fault {
    let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
    // Other messages may quote the line.
    let reason = match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => format!(": `{key}` is said twice"),
        _ => String::new(),
    };
    Fault::Syntax { place, reason }
}
