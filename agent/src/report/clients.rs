//! Traffic of a listener by remote address.

use std::net::Ipv6Addr;

use agent_ebpf::{CLIENT_PATHS, ClientPath};
use serde::Serialize;

use super::{Listener, OTHER};
use crate::snapshot::Clients;

/// What one remote address of a listener sent and was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientTraffic {
    /// The address, or [`OTHER`] for all that are not told apart.
    pub address: String,
    /// Bytes that left to it by `sendfile` and `splice`.
    pub zero_copy_bytes: u64,
    /// Bytes that left to it from user memory.
    pub copied_bytes: u64,
    /// Bytes that left to it from user memory with MSG_ZEROCOPY.
    pub undetermined_bytes: u64,
    /// Bytes that came in from it.
    pub ingress_bytes: u64,
}

impl ClientTraffic {
    const fn new(address: String, bytes: [u64; CLIENT_PATHS]) -> Self {
        Self {
            address,
            zero_copy_bytes: bytes[ClientPath::ZeroCopy as usize],
            copied_bytes: bytes[ClientPath::Copied as usize],
            undetermined_bytes: bytes[ClientPath::Undetermined as usize],
            ingress_bytes: bytes[ClientPath::Received as usize],
        }
    }

    /// Bytes that left to it.
    #[must_use]
    pub const fn egress_bytes(&self) -> u64 {
        self.zero_copy_bytes + self.copied_bytes + self.undetermined_bytes
    }

    /// Bytes by [`ClientPath`].
    pub(crate) const fn bytes(&self) -> [u64; CLIENT_PATHS] {
        [self.zero_copy_bytes, self.copied_bytes, self.undetermined_bytes, self.ingress_bytes]
    }
}

/// Gives each listener that has a port its clients, largest first, and at last those that are not told apart.
pub(super) fn add(listeners: &mut [Listener], counted: Option<&Clients>) {
    let Some(counted) = counted else { return };
    for listener in listeners {
        let Some(port) = listener.port else { continue };
        let of_port = counted.iter().filter(|(client, _)| client.port == port);
        let mut clients: Vec<_> =
            of_port.map(|(client, bytes)| ClientTraffic::new(told(client.address), *bytes)).collect();
        clients.sort_by(|a, b| {
            let all = |client: &ClientTraffic| client.egress_bytes() + client.ingress_bytes;
            let order = (a.address == OTHER).cmp(&(b.address == OTHER)).then_with(|| all(b).cmp(&all(a)));
            order.then_with(|| a.address.cmp(&b.address))
        });
        listener.clients = Some(clients);
    }
}

impl Listener {
    /// Takes the clients of another listener into those that are not told apart: it has no series of its own.
    pub(crate) fn fold_clients(&mut self, folded: &Self) {
        let Some(clients) = &folded.clients else { return };
        let sum = self.clients.get_or_insert_default().iter().chain(clients).fold([0; CLIENT_PATHS], |sum, client| {
            let bytes = client.bytes();
            std::array::from_fn(|path| sum[path] + bytes[path])
        });
        self.clients = Some(vec![ClientTraffic::new(OTHER.to_owned(), sum)]);
    }
}

/// An IPv4 address as such.
fn told(address: Ipv6Addr) -> String {
    if address.is_unspecified() { OTHER.to_owned() } else { address.to_canonical().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Client;

    fn counted() -> Clients {
        let mut clients = Clients::default();
        for (port, address, bytes) in [
            (9092, "::", [900, 0, 0, 0]),
            (9092, "::ffff:10.0.0.7", [600, 0, 0, 10]),
            (9092, "2001:db8::1", [300, 1000, 0, 0]),
            (9093, "::ffff:10.0.0.7", [0, 5, 0, 0]),
        ] {
            let address = address.parse().unwrap_or(Ipv6Addr::LOCALHOST);
            clients.add(Client { port, address }, bytes);
        }
        clients
    }

    fn listeners() -> Vec<Listener> {
        let ports = [Some(9092), Some(9093), Some(1), None];
        let mut listeners: Vec<_> = ports.map(|port| Listener { port, ..Listener::default() }).into();
        add(&mut listeners, Some(&counted()));
        listeners
    }

    #[test]
    fn the_largest_comes_first_and_the_rest_last() {
        let listeners = listeners();
        let clients = listeners[0].clients.as_deref().unwrap_or_default();
        let told: Vec<_> = clients.iter().map(|client| (client.address.as_str(), client.bytes())).collect();
        assert_eq!(told, [("2001:db8::1", [300, 1000, 0, 0]), ("10.0.0.7", [600, 0, 0, 10]), (OTHER, [900, 0, 0, 0])]);
        assert_eq!((listeners[2].clients.as_deref(), listeners[3].clients.as_deref()), (Some(&[][..]), None));
    }

    #[test]
    fn clients_of_listeners_without_series_are_one() {
        let listeners = listeners();
        let mut other = Listener::default();
        listeners.iter().for_each(|listener| other.fold_clients(listener));
        assert_eq!(other.clients, Some(vec![ClientTraffic::new(OTHER.to_owned(), [1800, 1005, 0, 10])]));
        let mut uncounted = Listener::default();
        uncounted.fold_clients(&Listener::default());
        assert_eq!(uncounted.clients, None);
    }
}
