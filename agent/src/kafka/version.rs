//! The version of a broker, from the names of its jars.

use std::{fs, path::Path};

use crate::target::Process;
use crate::target::Root;

/// Jars whose name ends in Kafka's own version; `kafka_2.13-4.1.2.jar` has Scala's before it.
const JARS: [&str; 4] = ["kafka_2.13-", "kafka_2.12-", "kafka-server-", "kafka-clients-"];

/// Looks through the class path on the command line, or in the environment of the process.
pub(super) fn version(root: &Root, proc: &Path, process: &Process) -> Option<String> {
    let arguments = process.command_line.arguments();
    let option = arguments.iter().position(|a| ["-cp", "-classpath", "--class-path"].contains(&a.as_str()));
    let class_path = match option.and_then(|option| arguments.get(option + 1)) {
        Some(path) => path.clone(),
        None => from_environment(proc, process.pid)?,
    };
    let mut jars: Vec<String> = Vec::new();
    for entry in class_path.split(':') {
        match entry.strip_suffix('*') {
            Some(directory) => jars.extend(root.names(directory).unwrap_or_default()),
            None => jars.extend(entry.rsplit('/').next().map(str::to_owned)),
        }
    }
    JARS.iter().find_map(|prefix| jars.iter().find_map(|jar| version_of(jar, prefix)))
}

fn version_of(jar: &str, prefix: &str) -> Option<String> {
    let version = jar.strip_prefix(prefix)?.strip_suffix(".jar")?;
    // Not `kafka-server-common-4.1.2.jar`.
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
}

/// `CLASSPATH`, and no other variable: an environment holds secrets.
fn from_environment(proc: &Path, pid: u32) -> Option<String> {
    let environment = fs::read(proc.join(pid.to_string()).join("environ")).ok()?;
    let value = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"CLASSPATH="))?;
    Some(String::from_utf8_lossy(value).into_owned())
}
