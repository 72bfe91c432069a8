//! A broker: start, ports, restart, end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::config::{self, Bound, BrokerOptions, CONTROLLER, Listener};
use super::keys::{self, Keys};
use super::{Kafka, KafkaError, ready, run, write};
use crate::process::Guarded;

/// A broker that gets SIGTERM is given this long to end: it hands its leaderships over and closes its logs.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Its folder for segments that left its log directory.
const REMOTE: &str = "remote";
/// How often a start is tried again when somebody else took a port in between.
const ATTEMPTS: u32 = 3;

/// A running broker with its controller: one node, one JVM. It ends, and its temporary folder goes, when this is
/// dropped; when this program is killed, the kernel ends it.
#[derive(Debug)]
pub struct Broker {
    // Before the folder: the process must be gone when the folder is removed.
    process: Guarded,
    command: Launch,
    clients: Vec<Bound>,
    controller: u16,
    keys: Option<Keys>,
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

/// What starts the JVM, kept for a restart.
#[derive(Clone, Debug)]
struct Launch {
    java: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    limit: Duration,
}

impl Broker {
    /// Starts a broker and waits until it answers: 4 to 6 seconds on 2 cores, 300 to 600 MB of memory.
    ///
    /// # Errors
    /// What its log says where it does not come up; failures of keytool and of the formatting of its data folder.
    pub fn start(kafka: &Kafka, options: &BrokerOptions) -> Result<Self, KafkaError> {
        let mut attempt = 1;
        loop {
            match Self::start_once(kafka, options) {
                // Between choosing a port and listening on it somebody else may take it.
                Err(error) if attempt < ATTEMPTS && options.dir.is_none() && lost_a_port(&error) => attempt += 1,
                result => return result,
            }
        }
    }

    fn start_once(kafka: &Kafka, options: &BrokerOptions) -> Result<Self, KafkaError> {
        let (dir, temporary) = folder(options)?;
        let used_before = dir.join("data/meta.properties").exists();
        let ports = choose_ports(&dir, &options.listeners)?;
        let clients: Vec<Bound> = options
            .listeners
            .iter()
            .filter_map(|listener| Some(Bound { listener: listener.clone(), port: *ports.get(&listener.name)? }))
            .collect();
        let controller = ports.get(CONTROLLER).copied().unwrap_or_default();
        let with_tls = clients.iter().any(|bound| bound.listener.tls);
        let keys = if with_tls { Some(keys::ensure(kafka, &dir)?) } else { None };

        let mut more = options.properties.clone();
        if options.remote_storage {
            more.extend(config::remote_storage(&dir.join(REMOTE), &clients));
        }
        let properties = config::server_properties(&dir, &clients, controller, keys.as_ref(), &more);
        let properties = write(dir.join("server.properties"), &properties)?;
        let log4j2 = write(dir.join("log4j2.properties"), &config::log4j2("SYSTEM_OUT"))?;
        write(dir.join("log4j2-client.properties"), &config::log4j2("SYSTEM_ERR"))?;
        for bound in &clients {
            write(client_config(&dir, &bound.listener), &config::client_properties(bound, keys.as_ref()))?;
        }
        let log4j2 = format!("-Dlog4j2.configurationFile={}", log4j2.display());
        if !used_before {
            let mut format = Command::new(&kafka.java);
            format.args(["-Xmx128m", "-XX:TieredStopAtLevel=1", &log4j2, "-cp", &kafka.class_path]);
            format.args(config::format_arguments(&properties));
            run::run("formatting the broker's data folder", format, &|_| ())?;
        }

        let mut arguments: Vec<String> = ["-Xms256m", "-Xmx512m", "-XX:+UseG1GC"].map(str::to_owned).to_vec();
        arguments.extend(["-XX:+ExitOnOutOfMemoryError".to_owned(), log4j2]);
        arguments.extend(options.jvm_flags.iter().cloned());
        let class_path = format!("{}:{}", kafka.class_path, kafka.load_classes.display());
        arguments.extend(["-cp".to_owned(), class_path, "kafka.Kafka".to_owned()]);
        arguments.push(properties.display().to_string());
        let log = dir.join("broker.log");
        let command = Launch { java: kafka.java.clone(), arguments, log, limit: options.start_limit };
        let process = command.run(&clients)?;
        Ok(Self { process, command, clients, controller, keys, dir, _temporary: temporary })
    }

    /// PID of the JVM itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Port of a listener on 127.0.0.1, by its name; `CONTROLLER` too.
    ///
    /// # Errors
    /// [`KafkaError::NoListener`].
    pub fn port(&self, name: &str) -> Result<u16, KafkaError> {
        if name == CONTROLLER { Ok(self.controller) } else { Ok(self.bound(name)?.port) }
    }

    /// The folder with server.properties, broker.log and the data.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of its server.properties. It holds [`super::KEY_PASSWORD`] where there is an SSL listener.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    /// Its one log directory (`log.dirs`).
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where [`BrokerOptions::remote_storage`] keeps segments; it may not exist yet.
    #[must_use]
    pub fn remote_dir(&self) -> PathBuf {
        self.dir.join(REMOTE)
    }

    /// The certificate of its SSL listeners, as PEM; `None` where it has none.
    #[must_use]
    pub fn certificate(&self) -> Option<&Path> {
        self.keys.as_ref().map(|keys| keys.certificate.as_path())
    }

    /// Bytes of a topic's segments (`*.log`), all partitions: exactly the record batches that a consumer fetches.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn log_bytes(&self, topic: &str) -> Result<u64, KafkaError> {
        let sum = || -> std::io::Result<u64> {
            let mut bytes = 0;
            for folder in fs::read_dir(self.log_dir())? {
                let folder = folder?;
                let name = folder.file_name().to_string_lossy().into_owned();
                if name.rsplit_once('-').is_none_or(|(of, _)| of != topic) {
                    continue;
                }
                for file in fs::read_dir(folder.path())? {
                    let file = file?;
                    if file.path().extension().is_some_and(|kind| kind == "log") {
                        bytes += file.metadata()?.len();
                    }
                }
            }
            Ok(bytes)
        };
        sum().map_err(KafkaError::io(format!("cannot measure the segments in {}", self.log_dir().display())))
    }

    /// Stops it and starts it again on the same data and the same ports. The PID is another one.
    ///
    /// # Errors
    /// Those of a start.
    pub fn restart(&mut self) -> Result<(), KafkaError> {
        self.stop()?;
        self.process = self.command.run(&self.clients)?;
        Ok(())
    }

    /// Ends it: SIGTERM, and SIGKILL if that does not do. The folder stays until this is dropped.
    ///
    /// # Errors
    /// A signal that cannot be sent.
    pub fn stop(&mut self) -> Result<(), KafkaError> {
        self.process.stop(STOP_PATIENCE).map(drop).map_err(KafkaError::io("cannot stop the broker"))
    }

    /// Ends it at once, by SIGKILL.
    ///
    /// # Errors
    /// A signal that cannot be sent.
    pub fn kill(&mut self) -> Result<(), KafkaError> {
        self.process.kill().map(drop).map_err(KafkaError::io("cannot kill the broker"))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        run::tail_of(&self.command.log)
    }

    /// Where the configuration of clients for this listener lies.
    pub(super) fn client_config(&self, name: &str) -> Result<PathBuf, KafkaError> {
        Ok(client_config(&self.dir, &self.bound(name)?.listener))
    }

    /// Whether a listener speaks TLS.
    pub(super) fn has_tls(&self, name: &str) -> bool {
        self.bound(name).is_ok_and(|bound| bound.listener.tls)
    }

    /// Name of its first listener.
    pub(super) fn first_listener(&self) -> &str {
        self.clients.first().map_or(CONTROLLER, |bound| &bound.listener.name)
    }

    fn bound(&self, name: &str) -> Result<&Bound, KafkaError> {
        self.clients.iter().find(|bound| bound.listener.name == name).ok_or_else(|| KafkaError::NoListener {
            name: name.to_owned(),
            known: self.clients.iter().map(|bound| bound.listener.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

impl Launch {
    /// Starts the JVM and waits until every listener answers.
    fn run(&self, clients: &[Bound]) -> Result<Guarded, KafkaError> {
        let unable = || KafkaError::io(format!("cannot start the broker with its log at {}", self.log.display()));
        let log = File::options().create(true).append(true).open(&self.log).map_err(unable())?;
        let mut command = Command::new(&self.java);
        command.args(&self.arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(unable())?).stderr(log);
        let mut process = Guarded::spawn(command).map_err(unable())?;
        let start = Instant::now();
        let mut waiting_for = String::new();
        while start.elapsed() < self.limit {
            if let Some(status) = process.try_wait().map_err(unable())? {
                let tail = run::tail_of(&self.log);
                return Err(KafkaError::Failed { what: "the broker".into(), status: status.to_string(), tail });
            }
            let pid = process.id();
            let mut silent = clients.iter().filter_map(|bound| Some((bound, ready::probe(bound, pid).err()?)));
            let Some((bound, error)) = silent.next() else {
                return Ok(process);
            };
            waiting_for = format!("{} on port {}: {error}", bound.listener.name, bound.port);
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(KafkaError::NotReady { seconds: self.limit.as_secs(), waiting_for, tail: run::tail_of(&self.log) })
    }
}

fn folder(options: &BrokerOptions) -> Result<(PathBuf, Option<TempDir>), KafkaError> {
    if let Some(dir) = &options.dir {
        fs::create_dir_all(dir).map_err(KafkaError::io(format!("cannot make {}", dir.display())))?;
        return Ok((dir.clone(), None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("zctrace-kafka-")
        .tempdir()
        .map_err(KafkaError::io("cannot make a temporary folder"))?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

/// Ports by the listeners' names: those of an earlier start in this folder, otherwise free ones.
fn choose_ports(dir: &Path, listeners: &[Listener]) -> Result<BTreeMap<String, u16>, KafkaError> {
    let file = dir.join("ports.json");
    let mut ports: BTreeMap<String, u16> =
        fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let names = listeners.iter().map(|listener| listener.name.as_str()).chain([CONTROLLER]);
    let new: Vec<&str> = names.filter(|name| !ports.contains_key(*name)).collect();
    let free = ready::free_ports(new.len()).map_err(KafkaError::io("cannot find free ports on 127.0.0.1"))?;
    ports.extend(new.into_iter().map(str::to_owned).zip(free));
    write(file, &serde_json::to_string(&ports).unwrap_or_default())?;
    Ok(ports)
}

fn client_config(dir: &Path, listener: &Listener) -> PathBuf {
    dir.join(format!("client-{}.properties", listener.name))
}

fn lost_a_port(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Failed { tail, .. } if tail.contains("Address already in use"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_second_start_keeps_its_ports() {
        let dir = tempfile::tempdir().unwrap();
        let first = choose_ports(dir.path(), &[Listener::plain("PLAINTEXT")]).unwrap();
        let second = choose_ports(dir.path(), &[Listener::plain("PLAINTEXT"), Listener::tls("SSL")]).unwrap();
        assert_eq!(first.len(), 2);
        assert_eq!(second.len(), 3);
        assert!(first.iter().all(|(name, port)| second[name] == *port));
    }
}
