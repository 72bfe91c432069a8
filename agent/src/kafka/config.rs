//! A broker's configuration: the few keys that zctrace reads, and nothing else of it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::target::Root;

/// A line of a broker's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key: one of a short list, none of which is a secret's.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// The only keys that are kept. A configuration holds passwords: what is not listed here is dropped as it is parsed,
/// and no text of the file is ever part of a message.
const KEPT: &[&str] = &[
    "listeners",
    "listener.security.protocol.map",
    "controller.listener.names",
    "inter.broker.listener.name",
    "security.inter.broker.protocol",
    "control.plane.listener.name",
    "log.dir",
    "log.dirs",
    "node.id",
    "broker.id",
    "process.roles",
    "num.network.threads",
    "num.io.threads",
    "num.replica.fetchers",
    "socket.send.buffer.bytes",
    "socket.receive.buffer.bytes",
    "fetch.max.bytes",
    "replica.fetch.max.bytes",
    "message.max.bytes",
    "compression.type",
    "log.segment.bytes",
    "log.preallocate",
    "log.flush.interval.messages",
    "log.flush.interval.ms",
    "log.flush.scheduler.interval.ms",
    REMOTE_STORAGE,
    "log.local.retention.ms",
    "log.local.retention.bytes",
];
/// Whether logs may have segments in remote storage (`RemoteLogManagerConfig`).
pub(crate) const REMOTE_STORAGE: &str = "remote.log.storage.system.enable";
/// Of these, those that bear on how the broker moves bytes: they are shown.
const SHOWN_FROM: &str = "num.network.threads";

/// Commands of `KafkaDockerWrapper`, which is also the main class of the native image: it makes a configuration, or starts
/// the broker with one.
pub(super) const SETUP: &str = "setup";
const START: &str = "start";

/// The configuration's path: the first argument of `kafka.Kafka`, an option of `KafkaDockerWrapper start`.
fn path(arguments: &[String]) -> Option<&String> {
    if arguments.first()? != START {
        return arguments.iter().find(|argument| !argument.starts_with('-'));
    }
    let option = arguments.iter().position(|argument| ["--config", "-C"].contains(&argument.as_str()))?;
    arguments.get(option + 1)
}

/// `--config=PATH` as two arguments.
fn apart(arguments: &[String]) -> Vec<String> {
    let split = |argument: &String| match argument.split_once('=') {
        Some(("--config", path)) => vec!["--config".to_owned(), path.to_owned()],
        _ => vec![argument.clone()],
    };
    arguments.iter().flat_map(split).collect()
}

/// The kept keys of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// Where it was read from; `None` if it was not found.
    pub(super) path: Option<String>,
    values: BTreeMap<&'static str, String>,
}

impl Config {
    /// Reads the file that the arguments after the main class name, and applies their `--override key=value`.
    pub(super) fn read(root: &Root, arguments: &[String], problems: &mut Vec<String>) -> Self {
        let mut config = Self::default();
        let arguments = &apart(arguments);
        let Some(path) = path(arguments) else {
            problems.push(
                "The broker's command line names no configuration file: its listeners have no names here.".to_owned(),
            );
            return config;
        };
        match root.read(path) {
            Ok(bytes) => {
                config.path = Some(path.clone());
                if config.parse(&bytes).is_err() {
                    problems.push(format!(
                        "The configuration {path} is not in the format of Java properties to its end: what stands \
                         behind the fault is not known here."
                    ));
                }
            }
            Err(error) => problems.push(format!(
                "The configuration {path} can't be read ({error}), so listeners have no names. It takes the \
                 capabilities CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; `zctrace doctor` shows how to grant them."
            )),
        }
        config.override_by(arguments);
        config.drop_references(problems);
        config
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<(), ()> {
        // The parser's own error quotes the file: it is dropped here.
        java_properties::PropertiesIter::new(bytes).read_into(|key, value| self.keep(&key, &value)).map_err(|_| ())
    }

    fn keep(&mut self, key: &str, value: &str) {
        if let Some(kept) = KEPT.iter().find(|kept| **kept == key) {
            self.values.insert(kept, value.to_owned());
        }
    }

    /// `--override key=value`, also with `=` for the space (joptsimple, as `kafka.Kafka` parses it).
    fn override_by(&mut self, arguments: &[String]) {
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let pair = match argument.strip_prefix("--override") {
                Some("") => arguments.next().map(String::as_str),
                Some(rest) => rest.strip_prefix('='),
                None => None,
            };
            if let Some((key, value)) = pair.and_then(|pair| pair.split_once('=')) {
                self.keep(key.trim(), value.trim());
            }
        }
    }

    /// Kafka's configuration providers fill in `${file:...}` from outside.
    fn drop_references(&mut self, problems: &mut Vec<String>) {
        self.values.retain(|key, value| {
            let refers = value.contains("${");
            if refers {
                problems.push(format!(
                    "The key `{key}` is filled in by a configuration provider when the broker starts: its value can't be \
                     known from outside."
                ));
            }
            !refers
        });
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// What is set of the settings that are shown, in the order of [`KEPT`].
    pub(super) fn shown(&self) -> Vec<Setting> {
        let shown = KEPT.iter().skip_while(|key| **key != SHOWN_FROM);
        shown.filter_map(|key| Some(Setting { key, value: self.get(key)?.to_owned() })).collect()
    }

    /// A comma-separated value.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let items = self.get(key).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }
}

/// `cluster.id` in a log directory's `meta.properties` (`MetaProperties`).
pub(super) fn cluster_id(root: &Root, log_dir: &str) -> Option<String> {
    let bytes = root.read(&format!("{log_dir}/meta.properties")).ok()?;
    let mut id = None;
    let _ = java_properties::PropertiesIter::new(bytes.as_slice()).read_into(|key, value| {
        if key == "cluster.id" {
            id = Some(value);
        }
    });
    id
}

#[cfg(test)]
pub(super) fn of(text: &str, arguments: &[&str], problems: &mut Vec<String>) -> Config {
    let mut config = Config { path: Some("test".to_owned()), ..Config::default() };
    if config.parse(text.as_bytes()).is_err() {
        problems.push("malformed".to_owned());
    }
    config.override_by(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>());
    config.drop_references(problems);
    config
}
