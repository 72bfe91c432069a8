//! What of a file left through sockets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What of a file left through the sockets of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Bytes of the file, inside the kernel.
    pub zero_copy: u64,
    /// Bytes of the file that a thread had read into memory before it sent from memory.
    pub carried: u64,
    /// What those threads then sent: with TLS, more than they had read.
    pub copied: u64,
    /// Calls that read what they carried.
    #[serde(default)]
    pub read_calls: u64,
}

impl Sent {
    pub(super) fn minus(self, before: Self) -> Self {
        Self {
            zero_copy: self.zero_copy - before.zero_copy,
            carried: self.carried - before.carried,
            copied: self.copied - before.copied,
            read_calls: self.read_calls - before.read_calls,
        }
    }
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, more: Self) {
        self.zero_copy += more.zero_copy;
        self.carried += more.carried;
        self.copied += more.copied;
        self.read_calls += more.read_calls;
    }
}

/// What of a file left through sockets, by port. Nearly always there is one port: a list takes a tenth of a tree's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentByPort(Vec<(u32, Sent)>);

impl SentByPort {
    /// Whether nothing left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What left through this port.
    #[must_use]
    pub fn get(&self, port: u32) -> Option<Sent> {
        self.place(port).ok().and_then(|place| self.0.get(place)).map(|(_, sent)| *sent)
    }

    /// Adds what left through this port.
    pub fn add(&mut self, port: u32, more: Sent) {
        match self.place(port) {
            Ok(place) => self.0[place].1 += more,
            Err(place) => {
                // By itself a list takes room for four, of each of ten thousand files.
                self.0.reserve_exact(1);
                self.0.insert(place, (port, more));
            }
        }
    }

    /// Ports in their order, and what left through each.
    pub fn iter(&self) -> std::slice::Iter<'_, (u32, Sent)> {
        self.0.iter()
    }

    /// Forgets what left, and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn place(&self, port: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&port, |(port, _)| *port)
    }
}

impl<'a> IntoIterator for &'a SentByPort {
    type Item = &'a (u32, Sent);
    type IntoIter = std::slice::Iter<'a, (u32, Sent)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<(u32, Sent)> for SentByPort {
    fn from_iter<I: IntoIterator<Item = (u32, Sent)>>(sent: I) -> Self {
        let mut all = Self::default();
        sent.into_iter().for_each(|(port, sent)| all.add(port, sent));
        all
    }
}

impl Serialize for SentByPort {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(port, sent)| (port, sent)))
    }
}

impl<'de> Deserialize<'de> for SentByPort {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<u32, Sent>::deserialize(deserializer)?.into_iter().collect())
    }
}
