//! What is known of a Kafka broker without asking it: from its command line, its configuration, its log directories.
//! Of the configuration only the keys listed in `config` are ever kept, none of which holds a secret.

mod config;
mod listeners;
mod topic;
mod version;

use std::path::Path;

use config::Config;
pub(crate) use config::REMOTE_STORAGE;
pub use config::Setting;
pub use listeners::{Listener, UsedBy};
pub use topic::{TopicPartition, is_segment};

use crate::target::{Process, Root, java_main};

/// Main classes of brokers and controllers: Apache Kafka (and Strimzi, which runs it), its Docker image, Confluent's.
const MAIN_CLASSES: [&str; 3] =
    ["kafka.Kafka", "kafka.docker.KafkaDockerWrapper", "io.confluent.support.metrics.SupportedKafka"];

/// What is known of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// `node.id`, or `broker.id` before KRaft.
    pub node_id: Option<i64>,
    /// `cluster.id` of a log directory's `meta.properties`.
    pub cluster_id: Option<String>,
    /// Version, from the names of the jars on its class path.
    pub version: Option<String>,
    /// Path of its configuration, as it sees it.
    pub config: Option<String>,
    /// `process.roles`: `broker`, `controller`.
    pub roles: Vec<String>,
    /// Its listeners whose port the configuration tells.
    pub listeners: Vec<Listener>,
    /// Its log directories.
    pub log_dirs: Vec<LogDir>,
    /// Settings that bear on how it moves bytes.
    pub settings: Vec<Setting>,
    /// What could not be found out, why, and what to do: a sentence each.
    pub problems: Vec<String>,
}

/// A directory that holds the logs of partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    /// Its path, as the broker sees it.
    pub path: String,
    /// Its inode number; `None` if it can't be looked at.
    pub inode: Option<u64>,
    /// Number of the mount that it lies in; `None` if it can't be looked at.
    pub mount_id: Option<u64>,
}

/// Whether a process is a Kafka broker or controller, by what it runs.
#[must_use]
pub fn detect(process: &Process) -> bool {
    // The native image of the project's own container is an executable named like the main class.
    let is_broker = |class: &str| MAIN_CLASSES.contains(&class);
    (is_broker(&process.command) || process.jar_main.as_deref().is_some_and(is_broker))
        && after_main(process).first().is_none_or(|first| first != config::SETUP)
}

/// What follows the main class, the jar or the native image on the command line.
fn after_main(process: &Process) -> &[String] {
    let arguments = process.command_line.arguments();
    let main = if process.is_jvm { java_main(arguments) } else { Some(0) };
    main.and_then(|main| arguments.get(main + 1..)).unwrap_or_default()
}

/// Finds out about a broker. What can't be found out is a problem, not an error: a broker is watched all the same.
#[must_use]
pub fn broker(proc: &Path, process: &Process) -> Broker {
    let mut broker = Broker::default();
    let root = match Root::of(proc, process.pid) {
        Ok(root) => root,
        Err(error) => {
            broker.problems.push(format!(
                "The broker's files can't be read ({error}), so its listeners have no names and its topics are told by \
                 the names of directories alone. Reading them takes the capabilities CAP_SYS_PTRACE and \
                 CAP_DAC_READ_SEARCH; `zctrace doctor` shows how to grant them."
            ));
            return broker;
        }
    };
    let config = Config::read(&root, after_main(process), &mut broker.problems);
    broker.version = version::version(&root, proc, process);
    broker.listeners = listeners::listeners(&config, &mut broker.problems);
    broker.node_id = config.get("node.id").or_else(|| config.get("broker.id")).and_then(|id| id.trim().parse().ok());
    broker.roles = config.list("process.roles");
    broker.log_dirs = log_dirs(&root, &config, &mut broker.problems);
    broker.cluster_id = broker.log_dirs.iter().find_map(|dir| config::cluster_id(&root, &dir.path));
    broker.settings = config.shown();
    broker.config = config.path;
    broker
}

/// `log.dirs`, else `log.dir`, else Kafka's default (`ServerLogConfigs`).
fn log_dirs(root: &Root, config: &Config, problems: &mut Vec<String>) -> Vec<LogDir> {
    if config.path.is_none() {
        return Vec::new();
    }
    let mut paths = config.list("log.dirs");
    if paths.is_empty() {
        paths = vec![config.get("log.dir").unwrap_or("/tmp/kafka-logs").to_owned()];
    }
    paths
        .into_iter()
        .map(|path| {
            let inode = root.inode(&path).map_err(|error| {
                problems.push(format!(
                    "The log directory {path} can't be looked at ({error}): topics are told by the names of \
                     directories alone."
                ));
            });
            let mount_id = root.mount_id(&path).ok();
            LogDir { path, inode: inode.ok(), mount_id }
        })
        .collect()
}

#[cfg(test)]
mod tests;
