//! Traffic by remote address.

use std::{collections::BTreeMap, net::Ipv6Addr};

use agent_ebpf::CLIENT_PATHS;
use serde::{Deserialize, Serialize};

/// A remote address of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Client {
    /// The listener's port.
    pub port: u16,
    /// The address; an IPv4 address as IPv6 maps it; the unspecified one (`::`) for all that are not told apart.
    pub address: Ipv6Addr,
}

/// Bytes of clients, by [`agent_ebpf::ClientPath`]: of the first that came, as many as the table took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients(BTreeMap<Client, [u64; CLIENT_PATHS]>);

impl Clients {
    /// Adds what was counted of a client.
    pub fn add(&mut self, client: Client, bytes: [u64; CLIENT_PATHS]) {
        add(self.0.entry(client).or_default(), &bytes);
    }

    /// Clients in the order of their ports and addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&Client, &[u64; CLIENT_PATHS])> {
        self.0.iter()
    }

    /// What was counted since `earlier`; clients of which nothing was are left out.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before = |client| earlier.0.get(client).copied().unwrap_or_default();
        let since = self.0.iter().map(|(client, now)| {
            let before = before(client);
            (*client, std::array::from_fn(|path| now[path] - before[path]))
        });
        Self(since.filter(|(_, bytes)| *bytes != [0; CLIENT_PATHS]).collect())
    }

    /// This and `other` together.
    pub(super) fn plus(mut self, other: &Self) -> Self {
        for (client, bytes) in &other.0 {
            add(self.0.entry(*client).or_default(), bytes);
        }
        self
    }

    /// Where there would be more than `most`, newcomers are not told apart; those that `known` has are none.
    pub(crate) fn bounded(&self, known: &Self, most: usize) -> Self {
        let mut room = most.saturating_sub(known.0.len());
        let mut bounded = Self::default();
        for (client, bytes) in &self.0 {
            let is_known = known.0.contains_key(client);
            let address = if is_known || room > 0 { client.address } else { Ipv6Addr::UNSPECIFIED };
            room = room.saturating_sub(usize::from(!is_known));
            bounded.add(Client { address, ..*client }, *bytes);
        }
        bounded
    }
}

fn add(sum: &mut [u64; CLIENT_PATHS], more: &[u64; CLIENT_PATHS]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

impl Serialize for Clients {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de> Deserialize<'de> for Clients {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Vec::deserialize(deserializer)?.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(all: &[(u16, u64)]) -> Clients {
        let mut clients = Clients::default();
        for (last, bytes) in all {
            let address = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x0a00, *last);
            clients.add(Client { port: 9092, address }, [*bytes, 1, 0, 0]);
        }
        clients
    }

    fn sums(clients: &Clients) -> Vec<u64> {
        clients.iter().map(|(_, bytes)| bytes[0]).collect()
    }

    #[test]
    fn two_lives_are_added_up_and_taken_apart() {
        let (one, other) = (clients(&[(1, 5), (3, 7)]), clients(&[(1, 10), (2, 20)]));
        let both = one.clone().plus(&other);
        assert_eq!(sums(&both), [15, 20, 7]);
        assert_eq!(sums(&both.since(&one)), [10, 20]);
    }

    #[test]
    fn newcomers_are_not_told_apart_where_there_is_no_room() {
        let (known, all) = (clients(&[(5, 1), (3, 1)]), clients(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]));
        assert_eq!(sums(&all.bounded(&known, 3)), [2 + 4, 1, 3, 5]);
        assert_eq!(sums(&all.bounded(&known, 1)), [1 + 2 + 4, 3, 5]);
        assert_eq!(sums(&all.bounded(&known, 9)), [1, 2, 3, 4, 5]);
    }
}
