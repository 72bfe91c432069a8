//! The text of the file.

use std::{error::Error as _, fmt, path::Path};

use clap::{
    Args, Command,
    error::{ContextKind, ContextValue},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::{
    super::small_file,
    error::{ConfigError, Problem},
};
use crate::cli::Serve;

/// Flags that are about the file, or no settings.
pub(super) const NOT_IN_FILE: [&str; 4] = ["config.file", "check-config", "help", "version"];

/// A key of the file that is a flag, with values that the flag takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) flag: String,
    /// What the flag's value is called within this program.
    pub(super) id: String,
    pub(super) values: Vec<String>,
}

impl Setting {
    /// As the command line would have them.
    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|value| format!("--{}={value}", self.flag))
    }
}

/// What a file says, and what is wrong in it.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) settings: Vec<Setting>,
    pub(super) problems: Vec<Problem>,
}

impl File {
    pub(super) fn sound(self, path: &Path) -> Result<Vec<Setting>, ConfigError> {
        if self.problems.is_empty() {
            return Ok(self.settings);
        }
        Err(ConfigError::Invalid { path: path.to_owned(), problems: self.problems })
    }
}

/// The flags of the service.
pub(super) fn flags() -> Command {
    Serve::augment_args(Command::new("zctrace"))
}

pub(super) fn read(path: &Path) -> Result<File, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    let text = String::from_utf8(small_file::read(path).map_err(unreadable)?)
        .map_err(|_| unreadable(std::io::Error::other("it is not UTF-8 text")))?;
    parse(&text).map_err(|error| {
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        let reason = error.without_snippet().to_string();
        // The place is said once.
        let reason = reason.split(" at line ").next().unwrap_or(&reason).to_owned();
        ConfigError::Syntax { path: path.to_owned(), place, reason }
    })
}

pub(super) fn parse(text: &str) -> Result<File, serde_saphyr::Error> {
    let Lines(lines) = serde_saphyr::from_str::<Option<Lines>>(text)?.unwrap_or_default();
    let flags = flags();
    let mut file = File::default();
    for (key, line, value) in lines {
        match setting(&flags, &key, value) {
            Ok(setting) => file.settings.push(setting),
            Err(reason) => file.problems.push(Problem { line, key, reason }),
        }
    }
    Ok(file)
}

fn setting(flags: &Command, key: &str, value: Value) -> Result<Setting, String> {
    let flag = flags.get_arguments().find(|argument| argument.get_long() == Some(key));
    let flag = flag.ok_or("there is no such flag; `zctrace serve --help` lists them")?;
    if NOT_IN_FILE.contains(&key) {
        return Err("this is for the command line alone".to_owned());
    }
    let takes_many = matches!(flag.get_action(), clap::ArgAction::Append);
    let values = match value {
        Value::One(value) => vec![value],
        Value::Many(values) if takes_many => values,
        Value::Many(_) => return Err("it takes one value, not a list".to_owned()),
        Value::Wrong(reason) => return Err(reason.to_owned()),
    };
    let setting = Setting { flag: key.to_owned(), id: flag.get_id().to_string(), values };
    let line = std::iter::once("zctrace".to_owned()).chain(setting.arguments());
    flags.clone().try_get_matches_from(line).map_err(|error| reason(&error))?;
    Ok(setting)
}

/// What a flag's parser has against a value.
fn reason(error: &clap::Error) -> String {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.clone()),
        Some(ContextValue::Strings(values)) => Some(values.join(", ")),
        _ => None,
    };
    let value = of(ContextKind::InvalidValue).unwrap_or_default();
    if let Some(valid) = of(ContextKind::ValidValue).filter(|valid| !valid.is_empty()) {
        return format!("it can't be `{value}`: there are {valid}");
    }
    let why = error.source().map(ToString::to_string).unwrap_or_default();
    // A regular expression is shown with what is wrong below it: the last line says it.
    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    format!("it can't be `{value}`{}{why}", if why.is_empty() { "" } else { ": " })
}

/// Key, line and value, in the file's order.
#[derive(Default)]
struct Lines(Vec<(String, u64, Value)>);

/// What stands behind a key.
enum Value {
    One(String),
    Many(Vec<String>),
    Wrong(&'static str),
}

const NO_VALUE: &str = "it has no value: leave the line out";

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Lines;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of flags and their values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lines, A::Error> {
                let mut lines = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let line = key.referenced.line();
                    lines.push((key.value, line, map.next_value()?));
                }
                Ok(Lines(lines))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl<'de> Visitor<'de> for Scalar {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::One(text.to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::One(value.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value::One(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(Value::One(number.to_string()))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Wrong("no flag takes such a number; if it is meant as text, put it in quotes"))
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Wrong(NO_VALUE))
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Wrong(NO_VALUE))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
                Ok(Value::Wrong("it takes a value, not a map: a key is a flag's whole name, dots included"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                let mut wrong = None;
                while let Some(value) = seq.next_element()? {
                    match value {
                        Value::One(value) => values.push(value),
                        Value::Many(_) => wrong = Some("a list in a list is none of its values"),
                        Value::Wrong(reason) => wrong = Some(reason),
                    }
                }
                let nothing = || values.is_empty().then_some(NO_VALUE);
                Ok(wrong.or_else(nothing).map_or_else(|| Value::Many(values), Value::Wrong))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}
