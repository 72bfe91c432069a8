//! `listeners` and `listener.security.protocol.map`, as Kafka reads them (`SocketServerConfigs`, `AbstractKafkaConfig`).

use std::collections::BTreeMap;

use super::config::Config;

/// Kafka's default.
const DEFAULT: &str = "PLAINTEXT://:9092";
/// The names that are protocols themselves, used where there is no map.
const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// A listener of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in capitals as Kafka makes it.
    pub name: String,
    /// Its security protocol; `None` if the configuration maps the name to none.
    pub protocol: Option<String>,
    /// The address it is bound to; empty for every address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who connects to it.
    pub used_by: UsedBy,
}

/// Who connects to a listener, as far as the configuration tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedBy {
    /// Producers and consumers.
    Clients,
    /// Other brokers: followers replicate through it. Clients have another listener, though they may use this one, too.
    Brokers,
    /// Both: nothing tells them apart here.
    BrokersAndClients,
    /// Controllers, and brokers that ask them.
    Controllers,
}

impl UsedBy {
    /// The word used in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Brokers => "brokers",
            Self::BrokersAndClients => "brokers_and_clients",
            Self::Controllers => "controllers",
        }
    }
}

/// The listeners whose port the configuration tells.
pub(super) fn listeners(config: &Config, problems: &mut Vec<String>) -> Vec<Listener> {
    if config.path.is_none() && config.get("listeners").is_none() {
        return Vec::new();
    }
    let protocols = protocols(config);
    let mut listeners = Vec::new();
    for text in config.get("listeners").unwrap_or(DEFAULT).split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let Some((name, host, port)) = parse(text) else {
            problems.push("An entry of the key `listeners` is not of the form NAME://host:port.".to_owned());
            continue;
        };
        if port == 0 {
            problems.push(format!("The listener {name} takes any free port: the configuration does not tell which."));
            continue;
        }
        let protocol = protocols.get(&name).cloned();
        listeners.push(Listener { name, protocol, host, port, used_by: UsedBy::Clients });
    }
    find_users(config, &mut listeners);
    listeners
}

/// The listener of the brokers is the one that `inter.broker.listener.name` names, or else that of the protocol that
/// `security.inter.broker.protocol` names, PLAINTEXT unless it is set (`AbstractKafkaConfig`,
/// `interBrokerListenerNameAndSecurityProtocol`). It is for them alone only where it is named and clients have another.
fn find_users(config: &Config, listeners: &mut [Listener]) {
    let mut of_controllers = config.list("controller.listener.names");
    of_controllers.extend(config.list("control.plane.listener.name"));
    let is_controllers = |name: &str| of_controllers.iter().any(|other| other.eq_ignore_ascii_case(name));
    let named = config.get("inter.broker.listener.name");
    let of_brokers =
        named.or_else(|| config.get("security.inter.broker.protocol")).unwrap_or("PLAINTEXT").to_uppercase();
    let others = listeners.iter().any(|listener| !is_controllers(&listener.name) && listener.name != of_brokers);
    for listener in listeners {
        listener.used_by = match &listener.name {
            name if is_controllers(name) => UsedBy::Controllers,
            name if *name != of_brokers => UsedBy::Clients,
            _ if named.is_some() && others => UsedBy::Brokers,
            _ => UsedBy::BrokersAndClients,
        };
    }
}

/// Name to protocol.
fn protocols(config: &Config) -> BTreeMap<String, String> {
    let map = config.list("listener.security.protocol.map");
    if map.is_empty() {
        let mut map: BTreeMap<_, _> = PROTOCOLS.map(|protocol| (protocol.to_owned(), protocol.to_owned())).into();
        // KRaft: without a map, controllers' listeners are PLAINTEXT (KafkaConfig.effectiveListenerSecurityProtocolMap).
        for name in config.list("controller.listener.names") {
            map.entry(name.to_uppercase()).or_insert_with(|| "PLAINTEXT".to_owned());
        }
        return map;
    }
    map.iter()
        .filter_map(|pair| pair.rsplit_once(':'))
        .map(|(name, protocol)| (name.trim().to_uppercase(), protocol.trim().to_uppercase()))
        .filter(|(_, protocol)| PROTOCOLS.contains(&protocol.as_str()))
        .collect()
}

/// `NAME://host:port`, host in brackets for IPv6.
fn parse(text: &str) -> Option<(String, String, u16)> {
    let (name, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
        return None;
    }
    Some((name.to_uppercase(), host.to_owned(), port.parse().ok()?))
}
