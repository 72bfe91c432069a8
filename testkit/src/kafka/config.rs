//! What a broker is started with, and its server.properties.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{KEY_PASSWORD, Keys};

/// Name of the controller's listener, which every broker here has.
pub(super) const CONTROLLER: &str = "CONTROLLER";
/// The cluster's id: 16 bytes in Kafka's form of Base64.
const CLUSTER_ID: &str = "zctraceTestkitClusterA";

/// A listener for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, such as `INTERNAL`.
    pub name: String,
    /// Protocol SSL, otherwise PLAINTEXT.
    pub tls: bool,
    /// More lines of server.properties for this listener alone, without their prefix.
    pub properties: Vec<(String, String)>,
    /// More lines of its clients' configuration.
    pub client_properties: Vec<(String, String)>,
}

impl Listener {
    /// A listener of protocol PLAINTEXT.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), tls: false, properties: Vec::new(), client_properties: Vec::new() }
    }

    /// A listener of protocol SSL.
    #[must_use]
    pub fn tls(name: &str) -> Self {
        Self { tls: true, ..Self::plain(name) }
    }

    /// A listener whose cipher suite of TLS 1.3 is this one.
    #[must_use]
    pub fn tls_with(name: &str, suite: &str) -> Self {
        let properties = [("ssl.enabled.protocols", "TLSv1.3"), ("ssl.cipher.suites", suite)];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        Self { properties, ..Self::tls(name) }
    }

    /// A listener that copies as one with TLS does, and encrypts nothing: `testkit/java/CopyEngineFactory.java`.
    #[must_use]
    pub fn copying(name: &str) -> Self {
        let engine = vec![("ssl.engine.factory.class".to_owned(), "CopyEngineFactory".to_owned())];
        Self { properties: engine.clone(), client_properties: engine, ..Self::tls(name) }
    }

    pub(super) fn protocol(&self) -> &'static str {
        if self.tls { "SSL" } else { "PLAINTEXT" }
    }
}

/// What a broker is started with. The default has the listeners `PLAINTEXT` and `SSL` and a folder of its own.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Folder for everything that the broker writes. `None`: a temporary one, removed with the broker. A folder that
    /// was used before is started again: same data, same ports for the same listeners, same keys.
    pub dir: Option<PathBuf>,
    /// The listeners for clients, each on a free port of 127.0.0.1. `CONTROLLER` comes by itself.
    pub listeners: Vec<Listener>,
    /// More lines of server.properties; a key said here wins.
    pub properties: Vec<(String, String)>,
    /// Lets topics have `remote.storage.enable`: their closed segments go into a folder of their own beside the data
    /// ([`super::Broker::remote_dir`]), at once. Takes [`super::Kafka::with_remote_storage`]. What the broker keeps about
    /// them goes through its first PLAINTEXT listener.
    pub remote_storage: bool,
    /// More flags of the JVM, after our own.
    pub jvm_flags: Vec<String>,
    /// How long a start may take.
    pub start_limit: Duration,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            dir: None,
            listeners: vec![Listener::plain("PLAINTEXT"), Listener::tls("SSL")],
            properties: Vec::new(),
            remote_storage: false,
            jvm_flags: Vec::new(),
            start_limit: Duration::from_secs(120),
        }
    }
}

/// A listener with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) listener: Listener,
    pub(super) port: u16,
}

/// Lines of server.properties for remote storage in a folder. Whether something can be moved or removed is looked at often.
pub(super) fn remote_storage(dir: &Path, clients: &[Bound]) -> Vec<(String, String)> {
    let own = clients.iter().find(|bound| !bound.listener.tls).map(|bound| bound.listener.name.clone());
    let dir = dir.display().to_string();
    [
        ("remote.log.storage.system.enable", "true"),
        ("remote.log.storage.manager.class.name", "org.apache.kafka.server.log.remote.storage.LocalTieredStorage"),
        ("rsm.config.dir", &dir),
        ("remote.log.metadata.manager.listener.name", &own.unwrap_or_default()),
        ("rlmm.config.remote.log.metadata.topic.replication.factor", "1"),
        ("rlmm.config.remote.log.metadata.topic.num.partitions", "1"),
        ("remote.log.manager.task.interval.ms", "500"),
        ("log.retention.check.interval.ms", "500"),
        ("log.initial.task.delay.ms", "500"),
        ("log.segment.delete.delay.ms", "100"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// The text of server.properties.
pub(super) fn server_properties(
    dir: &Path,
    clients: &[Bound],
    controller: u16,
    keys: Option<&Keys>,
    more: &[(String, String)],
) -> String {
    let join = |each: &dyn Fn(&Bound) -> String| clients.iter().map(each).collect::<Vec<_>>().join(",");
    let addresses = join(&|bound| format!("{}://127.0.0.1:{}", bound.listener.name, bound.port));
    let protocols = join(&|bound| format!("{}:{}", bound.listener.name, bound.listener.protocol()));
    let own = clients.iter().find(|bound| !bound.listener.tls).or(clients.first());
    let mut lines: Vec<(&str, String)> = vec![
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", "1".to_owned()),
        ("controller.quorum.bootstrap.servers", format!("127.0.0.1:{controller}")),
        ("controller.listener.names", CONTROLLER.to_owned()),
        ("listeners", format!("{addresses},{CONTROLLER}://127.0.0.1:{controller}")),
        ("listener.security.protocol.map", format!("{protocols},{CONTROLLER}:PLAINTEXT")),
        ("inter.broker.listener.name", own.map(|bound| bound.listener.name.clone()).unwrap_or_default()),
        ("log.dirs", dir.join("data").display().to_string()),
        // One broker: nothing can be replicated.
        ("offsets.topic.replication.factor", "1".to_owned()),
        ("transaction.state.log.replication.factor", "1".to_owned()),
        ("transaction.state.log.min.isr", "1".to_owned()),
        ("share.coordinator.state.topic.replication.factor", "1".to_owned()),
        ("share.coordinator.state.topic.min.isr", "1".to_owned()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        // 128 MiB by default, allocated at once.
        ("log.cleaner.dedupe.buffer.size", "2097152".to_owned()),
    ];
    if let Some(keys) = keys {
        lines.extend([
            ("ssl.keystore.type", "PKCS12".to_owned()),
            ("ssl.keystore.location", keys.store.display().to_string()),
            ("ssl.keystore.password", KEY_PASSWORD.to_owned()),
            ("ssl.key.password", KEY_PASSWORD.to_owned()),
            ("ssl.truststore.type", "PEM".to_owned()),
            ("ssl.truststore.location", keys.certificate.display().to_string()),
        ]);
    }
    let mut text = String::new();
    for bound in clients {
        let prefix = format!("listener.name.{}", bound.listener.name.to_lowercase());
        for (key, value) in &bound.listener.properties {
            let _ = writeln!(text, "{prefix}.{key}={value}");
        }
    }
    for (key, value) in lines.iter().filter(|(key, _)| !more.iter().any(|(over, _)| over == key)) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key}={value}");
    }
    for (key, value) in more {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

/// The text of a client's configuration for one listener.
pub(super) fn client_properties(bound: &Bound, keys: Option<&Keys>) -> String {
    let mut text =
        format!("bootstrap.servers=127.0.0.1:{}\nsecurity.protocol={}\n", bound.port, bound.listener.protocol());
    if let Some(keys) = keys.filter(|_| bound.listener.tls) {
        let _ = writeln!(text, "ssl.truststore.type=PEM\nssl.truststore.location={}", keys.certificate.display());
    }
    for (key, value) in &bound.listener.client_properties {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

/// Arguments of Kafka's StorageTool that format the data folder.
pub(super) fn format_arguments(properties: &Path) -> Vec<String> {
    let properties = properties.display().to_string();
    ["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c", &properties]
        .map(str::to_owned)
        .to_vec()
}

/// log4j2's configuration: warnings and errors only. A broker writes them to standard output, which is its log file; a
/// client to standard error, since its standard output is its result.
pub(super) fn log4j2(target: &str) -> String {
    format!(
        "status=error\n\
         appender.out.type=Console\n\
         appender.out.name=out\n\
         appender.out.target={target}\n\
         appender.out.layout.type=PatternLayout\n\
         appender.out.layout.pattern=[%d] %p %m (%c)%n\n\
         rootLogger.level=warn\n\
         rootLogger.appenderRef.out.ref=out\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn bound(listener: Listener, port: u16) -> Bound {
        Bound { listener, port }
    }

    #[test]
    fn every_listener_has_an_address_and_a_protocol() {
        let clients = [
            bound(Listener::tls("SSL"), 11),
            bound(Listener::plain("PLAINTEXT"), 12),
            bound(Listener::plain("INTERNAL"), 13),
        ];
        let text = server_properties(Path::new("/d"), &clients, 14, None, &[]);
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap().to_owned();
        assert_eq!(
            value("listeners"),
            "SSL://127.0.0.1:11,PLAINTEXT://127.0.0.1:12,INTERNAL://127.0.0.1:13,CONTROLLER://127.0.0.1:14"
        );
        assert_eq!(
            value("listener.security.protocol.map"),
            "SSL:SSL,PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
        );
        assert_eq!(value("inter.broker.listener.name"), "PLAINTEXT");
        assert_eq!(value("log.dirs"), "/d/data");
    }

    #[test]
    fn a_listeners_own_properties_have_its_prefix() {
        let listener = Listener::tls_with("AES", "TLS_AES_256_GCM_SHA384");
        let text = server_properties(Path::new("/d"), &[bound(listener, 1)], 2, None, &[]);
        assert!(text.contains("listener.name.aes.ssl.cipher.suites=TLS_AES_256_GCM_SHA384\n"), "{text}");
        let client = client_properties(&bound(Listener::copying("COPY"), 1), None);
        assert!(client.contains("ssl.engine.factory.class=CopyEngineFactory\n"), "{client}");
    }

    #[test]
    fn a_property_that_is_said_replaces_ours() {
        let more = [("node.id".to_owned(), "7".to_owned()), ("num.network.threads".to_owned(), "1".to_owned())];
        let text = server_properties(Path::new("/d"), &[bound(Listener::plain("P"), 1)], 2, None, &more);
        assert_eq!(text.matches("node.id=").count(), 1);
        assert!(text.contains("node.id=7\n") && text.contains("num.network.threads=1\n"));
    }
}
